/* What a policy may say, and yet is a mistake as a rule. */
#include <stdlib.h>

#include "core/topic.h"
#include "policy/internal.h"

#define FILLED_MAX  (RULES_FILTER_MAX + TOPIC_LEVELS_MAX * RULES_NAME_MAX)
#define COMPARE_MAX 2000000 /* pairs of filters: a second or two; a thousand models have fewer */
#define SHOWN(s)    (int)((s).len < 48 ? (s).len : 48), (const char *)(s).data

struct entity { /* a model or a group */
    struct slice name;
    unsigned line;
    bool is_group;
    const struct policy_topics *topics;
};

struct run {
    const struct policy *policy;
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

static struct slice fill(struct slice filter, const struct slice values[4], uint8_t *buffer)
{
    struct writer w = writer_over(buffer, FILLED_MAX);
    for (size_t i = 0; i < filter.len;) {
        struct slice left = slice_of(filter.data + i, filter.len - i);
        size_t v = 0;
        while (v < policy_variables_len &&
               !slice_starts_with(left, slice_of_text(policy_variables[v])))
            v++;
        if (v < policy_variables_len) {
            writer_put(&w, values[v]);
            i += slice_of_text(policy_variables[v]).len;
        } else {
            writer_u8(&w, filter.data[i++]);
        }
    }
    return writer_bytes(&w);
}

static bool names_device(struct slice filter)
{
    for (size_t i = 0; i < filter.len; i++)
        if (slice_starts_with(slice_of(filter.data + i, filter.len - i), SLICE_LITERAL("{device}")))
            return true;
    return false;
}

/* One device's filter and another's, who are in the same group and tenant where they can be. Their
 * names are such as no filter holds. */
static bool meets(const struct entity *mine, struct slice filter, const struct entity *theirs,
                  struct slice other)
{
    static uint8_t a[FILLED_MAX], b[FILLED_MAX];
    struct slice model = !mine->is_group     ? mine->name
                         : !theirs->is_group ? theirs->name
                                             : SLICE_LITERAL("model");
    struct slice group = mine->is_group     ? mine->name
                         : theirs->is_group ? theirs->name
                                            : SLICE_LITERAL("group");
    const struct slice my[] = {SLICE_LITERAL("tenant"), SLICE_LITERAL("\1"), model, group};
    const struct slice other_values[] = {SLICE_LITERAL("tenant"), SLICE_LITERAL("\2"),
                                         theirs->is_group ? model : theirs->name,
                                         theirs->is_group ? theirs->name : group};
    return overlap(fill(filter, my, a), fill(other, other_values, b));
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

static const struct slice *filters_of(const struct entity *e, bool publish, size_t *ret_len)
{
    *ret_len = publish ? e->topics->publish_len : e->topics->subscribe_len;
    return publish ? e->topics->publish : e->topics->subscribe;
}

/* The first of theirs that mine meets, as the one warning there is of that kind. */
static bool warn_pair(struct run *r, const struct concern *c, const struct entity *mine,
                      const struct entity *theirs)
{
    size_t n = 0, m = 0;
    const struct slice *a = filters_of(mine, c->mine_publish, &n);
    const struct slice *b = filters_of(theirs, c->theirs_publish, &m);
    bool is_same = mine->topics == theirs->topics;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m && r->pairs < COMPARE_MAX; k++, r->pairs++) {
            if (!names_device(b[k]) || !meets(mine, a[i], theirs, b[k]))
                continue;
            WARN(r, mine->line, "every device of %s '%.*s' %s%s '%.*s' %s: '%.*s' meets '%.*s'",
                 mine->is_group ? "group" : "model", SHOWN(mine->name), c->what,
                 is_same ? " other" : "", SHOWN(theirs->name),
                 c->theirs_publish ? "publishes" : "listens to", SHOWN(a[i]), SHOWN(b[k]));
            return true;
        }
    return false;
}

static struct entity entity_of(const struct policy *p, size_t i)
{
    if (i < p->models_len)
        return (struct entity){p->models[i].name, p->models[i].line, false, &p->models[i].topics};
    const struct policy_group *g = &p->groups[i - p->models_len];
    return (struct entity){g->name, g->line, true, &g->topics};
}

static void warn_topics(struct run *r)
{
    size_t n = r->policy->models_len + r->policy->groups_len;
    for (size_t i = 0; i < n; i++) {
        const struct entity mine = entity_of(r->policy, i);
        for (size_t c = 0; c < ARRAY_LEN(concerns); c++) {
            bool warned = false;
            for (size_t k = 0; k < n && !warned; k++) {
                const struct entity theirs = entity_of(r->policy, k);
                warned = warn_pair(r, &concerns[c], &mine, &theirs);
            }
        }
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

static void warn_untested(struct run *r, const struct policy_model *m)
{
    for (size_t i = 0; i < r->policy->tests_len; i++)
        if (slice_equal(r->policy->tests[i].subject.model, m->name))
            return;
    WARN(r, m->line, "no test is about '%.*s'", SHOWN(m->name));
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
                    .warnings = arena_alloc(arena, POLICY_WARNINGS_MAX * sizeof *r.warnings)};
    if (r.warnings == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < policy->models_len; i++) {
        warn_reach(&r, &policy->models[i]);
        warn_limits(&r, &policy->models[i]);
        warn_untested(&r, &policy->models[i]);
    }
    warn_topics(&r);
    qsort(r.warnings, r.len, sizeof *r.warnings, compare_lines);
    if (r.pairs == COMPARE_MAX || r.len == POLICY_WARNINGS_MAX - 1)
        (void)policy_complain(&r.warnings[r.len++], 0, 0, ERR_NONE,
                              "this policy is too large to show all that may be wrong with it");
    *ret_warnings = r.warnings;
    *ret_len = r.len;
    return ERR_NONE;
}
