/* What a policy may say, and yet is a mistake as a rule. */
#include <stdlib.h>

#include "policy/internal.h"

#define COMPARE_MAX 10000000 /* pairs of filters: half a second; a thousand models have fewer */
/* The shortest variable with its level's slash has 8 bytes, and a name stands in its place. */
#define FILLED_MAX (RULES_FILTER_MAX + (RULES_FILTER_MAX / 8 + 1) * RULES_NAME_MAX)
#define SHOWN(s)   (int)((s).len < 48 ? (s).len : 48), (const char *)(s).data

/* A filter as it is written, and with the names of one device or of another in it. */
struct filled {
    struct slice filter, one, other;
    bool has_device; /* each device has its own there */
};

struct entity { /* a model or a group */
    struct slice name;
    unsigned line;
    bool is_group;
    struct filled *filters[2]; /* subscribe, publish */
    size_t len[2];
};

struct run {
    const struct policy *policy;
    struct arena *arena;
    struct entity *entities;
    size_t entities_len;
    struct policy_complaint *warnings;
    size_t len, pairs;
};

#define WARN(r, line, ...)                                                                         \
    do {                                                                                           \
        if ((r)->len < POLICY_WARNINGS_MAX - 1)                                                    \
            (void)policy_complain(&(r)->warnings[(r)->len++], line, 1, ERR_NONE, __VA_ARGS__);     \
    } while (0)

/* ---- whether two filters have a topic in common ---- */

static struct slice level(struct slice *left)
{
    size_t n = 0;
    while (n < left->len && left->data[n] != '/')
        n++;
    struct slice one = slice_of(left->data, n);
    *left = n < left->len ? slice_of(left->data + n + 1, left->len - n - 1) : slice_of(NULL, 0);
    return one;
}

static bool overlap(struct slice a, struct slice b)
{
    static const struct slice all = {(const uint8_t *)"#", 1}, one = {(const uint8_t *)"+", 1};
    while (a.data != NULL && b.data != NULL) {
        struct slice x = level(&a), y = level(&b);
        if (slice_equal(x, all) || slice_equal(y, all))
            return true;
        if (!slice_equal(x, one) && !slice_equal(y, one) && !slice_equal(x, y))
            return false;
    }
    /* "a/#" has its parent "a", too */
    struct slice rest = a.data != NULL ? a : b;
    return rest.data == NULL || slice_equal(rest, all);
}

/* ---- filters with names in them ---- */

/* Which variable stands at the start of it; policy_variables_len: none. */
static size_t variable_at(struct slice text)
{
    size_t v = 0;
    while (v < policy_variables_len && !slice_starts_with(text, slice_of_text(policy_variables[v])))
        v++;
    return v;
}

/* One level. Which group a model's device is in, and which model one of a group is of, may be any:
 * a level with such a variable stands for all. */
static void fill_level(struct slice text, const struct entity *e, struct slice device,
                       struct writer *w, bool *has_device)
{
    size_t start = w->len;
    for (size_t i = 0; i < text.len;) {
        size_t v = variable_at(slice_of(text.data + i, text.len - i));
        if (v == policy_variables_len) {
            writer_u8(w, text.data[i++]);
            continue;
        }
        bool is_any = v == VARIABLE_TENANT || (v == VARIABLE_MODEL && e->is_group) ||
                      (v == VARIABLE_GROUP && !e->is_group);
        if (is_any) {
            w->len = start;
            writer_u8(w, '+');
            return;
        }
        *has_device = *has_device || v == VARIABLE_DEVICE;
        writer_put(w, v == VARIABLE_DEVICE ? device : e->name);
        i += slice_of_text(policy_variables[v]).len;
    }
}

static enum err fill(struct run *r, struct slice filter, const struct entity *e,
                     struct slice device, bool *has_device, struct slice *ret_filled)
{
    uint8_t bytes[FILLED_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    for (struct slice left = filter; left.data != NULL;) {
        fill_level(level(&left), e, device, &w, has_device);
        if (left.data != NULL)
            writer_u8(&w, '/');
    }
    return w.err == ERR_NONE ? arena_copy(r->arena, writer_bytes(&w), ret_filled) : w.err;
}

static enum err fill_all(struct run *r, struct entity *e, bool publish, const struct slice *filters,
                         size_t len)
{
    struct filled *to = arena_alloc(r->arena, (len + 1) * sizeof *to);
    enum err err = to == NULL ? ERR_NO_MEMORY : ERR_NONE;
    for (size_t i = 0; i < len && err == ERR_NONE; i++) {
        to[i].filter = filters[i];
        /* names that no filter holds */
        err = fill(r, filters[i], e, SLICE_LITERAL("\1"), &to[i].has_device, &to[i].one);
        if (err == ERR_NONE)
            err = fill(r, filters[i], e, SLICE_LITERAL("\2"), &to[i].has_device, &to[i].other);
    }
    e->filters[publish] = to;
    e->len[publish] = len;
    return err;
}

static enum err add_entity(struct run *r, struct slice name, unsigned line, bool is_group,
                           const struct policy_topics *topics)
{
    struct entity *e = &r->entities[r->entities_len++];
    *e = (struct entity){.name = name, .line = line, .is_group = is_group};
    enum err err = fill_all(r, e, true, topics->publish, topics->publish_len);
    if (err == ERR_NONE)
        err = fill_all(r, e, false, topics->subscribe, topics->subscribe_len);
    return err;
}

static enum err add_entities(struct run *r)
{
    const struct policy *p = r->policy;
    enum err err = ERR_NONE;
    r->entities = arena_alloc(r->arena, (p->models_len + p->groups_len + 1) * sizeof *r->entities);
    if (r->entities == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < p->models_len && err == ERR_NONE; i++)
        err = add_entity(r, p->models[i].name, p->models[i].line, false, &p->models[i].topics);
    for (size_t i = 0; i < p->groups_len && err == ERR_NONE; i++)
        err = add_entity(r, p->groups[i].name, p->groups[i].line, true, &p->groups[i].topics);
    return err;
}

/* ---- topics ---- */

struct concern {
    bool mine_publish, theirs_publish;
    const char *what;
};
static const struct concern concerns[] = {
    {false, true, "reads what every"},
    {true, true, "publishes in the name of every"},
    {true, false, "publishes to what every"},
};

/* The first of theirs that mine meets, as the one warning there is of that kind. */
static bool warn_pair(struct run *r, const struct concern *c, const struct entity *mine,
                      const struct entity *theirs)
{
    const struct filled *a = mine->filters[c->mine_publish];
    const struct filled *b = theirs->filters[c->theirs_publish];
    for (size_t i = 0; i < mine->len[c->mine_publish]; i++)
        for (size_t k = 0; k < theirs->len[c->theirs_publish] && r->pairs < COMPARE_MAX; k++) {
            r->pairs++;
            if (!b[k].has_device || !overlap(a[i].one, b[k].other))
                continue;
            WARN(r, mine->line, "every device of %s '%.*s' %s%s '%.*s' %s: '%.*s' meets '%.*s'",
                 mine->is_group ? "group" : "model", SHOWN(mine->name), c->what,
                 mine == theirs ? " other" : "", SHOWN(theirs->name),
                 c->theirs_publish ? "publishes" : "listens to", SHOWN(a[i].filter),
                 SHOWN(b[k].filter));
            return true;
        }
    return false;
}

static void warn_topics(struct run *r)
{
    for (size_t i = 0; i < r->entities_len; i++)
        for (size_t c = 0; c < ARRAY_LEN(concerns); c++) {
            bool warned = false;
            for (size_t k = 0; k < r->entities_len && !warned; k++)
                warned = warn_pair(r, &concerns[c], &r->entities[i], &r->entities[k]);
        }
}

/* ---- states and limits ---- */

static void warn_reach(struct run *r, const struct policy_model *m)
{
    static const uint8_t beyond = RULES_REACH_API | RULES_REACH_MQTT;
    const uint8_t *reach = m->rules.reach;
    if ((reach[DEVICE_QUARANTINED] & beyond) != 0)
        WARN(r, m->line, "a quarantined '%.*s' still reaches more than its own enrolment",
             SHOWN(m->name));
    if ((reach[DEVICE_ENROLLED] & beyond) != 0)
        WARN(r, m->line, "a '%.*s' that has not proven itself reaches more than its enrolment",
             SHOWN(m->name));
    if ((reach[DEVICE_TRUSTED] & RULES_REACH_ENROLMENT) == 0)
        WARN(r, m->line,
             "a trusted '%.*s' can't renew its certificate: it does not reach enrolment",
             SHOWN(m->name));
}

static void warn_limits(struct run *r, const struct policy_model *m)
{
    const struct rules_limits *l = &m->rules.limits;
    const struct {
        uint32_t limit;
        const char *name;
    } limits[] = {{l->messages_per_minute, "messages"},
                  {l->bytes_per_minute, "bytes"},
                  {l->payload_max, "payload"},
                  {l->subscriptions_max, "subscriptions"},
                  {l->connects_per_minute, "connects"}};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i].limit == 0)
            WARN(r, m->line, "'%.*s' has no limit of '%s': one device can flood the broker",
                 SHOWN(m->name), limits[i].name);
}

static bool is_had(const struct policy *p, const struct policy_model *m)
{
    for (size_t i = 0; i < p->tenants_len; i++)
        if (policy_tenant_has(&p->tenants[i], (size_t)(m - p->models)))
            return true;
    return false;
}

static void warn_untested(struct run *r, const struct policy_model *m)
{
    if (!is_had(r->policy, m)) {
        WARN(r, m->line, "no tenant may have devices of the model '%.*s'", SHOWN(m->name));
        return; /* and none can be tested */
    }
    for (size_t i = 0; i < r->policy->tests_len; i++)
        if (slice_equal(r->policy->tests[i].subject.model, m->name))
            return;
    WARN(r, m->line, "no test is about '%.*s'", SHOWN(m->name));
}

static bool has_test(const struct policy *p, struct slice tenant)
{
    for (size_t i = 0; i < p->tests_len; i++)
        if (slice_equal(p->tests[i].subject.tenant, tenant))
            return true;
    return false;
}

static void warn_tenants(struct run *r)
{
    const struct policy *p = r->policy;
    for (size_t i = 0; i < p->tenants_len; i++)
        if (p->tenants[i].line != 0 && !has_test(p, p->tenants[i].name))
            WARN(r, p->tenants[i].line, "no test is about the tenant '%.*s'",
                 SHOWN(p->tenants[i].name));
}

static int compare_lines(const void *a, const void *b)
{
    const struct policy_complaint *x = a, *y = b;
    return (x->line > y->line) - (x->line < y->line);
}

enum err policy_warn(const struct policy *policy, struct arena *arena,
                     struct policy_complaint **ret_warnings, size_t *ret_len)
{
    struct run r = {.policy = policy,
                    .arena = arena,
                    .warnings = arena_alloc(arena, POLICY_WARNINGS_MAX * sizeof *r.warnings)};
    enum err err = r.warnings == NULL ? ERR_NO_MEMORY : add_entities(&r);
    if (err != ERR_NONE)
        return err;
    for (size_t i = 0; i < policy->models_len; i++) {
        warn_reach(&r, &policy->models[i]);
        warn_limits(&r, &policy->models[i]);
        warn_untested(&r, &policy->models[i]);
    }
    warn_tenants(&r);
    warn_topics(&r);
    qsort(r.warnings, r.len, sizeof *r.warnings, compare_lines);
    if (r.pairs == COMPARE_MAX || r.len == POLICY_WARNINGS_MAX - 1)
        (void)policy_complain(&r.warnings[r.len++], 0, 0, ERR_NONE,
                              "this policy is too large to show all that may be wrong with it");
    *ret_warnings = r.warnings;
    *ret_len = r.len;
    return ERR_NONE;
}
