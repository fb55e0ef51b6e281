/* What a change of policy means, in words. Whoever signs for a loosening relies on this: what is
 * not plainly a loss is a gain. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/spki.h"
#include "core/topic.h"
#include "policy/policy.h"
#include "policy/quantity.h"

#define DIFFERENCES_MAX 65536
#define TEST_TEXT_MAX   1536                 /* bytes of a test in words */
#define WORDS_MAX       (TEST_TEXT_MAX + 32) /* of one difference */

/* Whoever adds a field says in here what it means when it changes. */
#define IS_64_BIT (sizeof(void *) == 8)
_Static_assert(sizeof(struct rules_limits) == 6 * sizeof(uint32_t), "another limit");
_Static_assert(!IS_64_BIT || offsetof(struct rules_model, publish) == 40, "another rule");
_Static_assert(!IS_64_BIT || sizeof(struct policy_identity) == 104, "more of identities");
_Static_assert(!IS_64_BIT || sizeof(struct policy_changes) == 208, "another demand");

struct run {
    struct arena *arena;
    struct policy_difference *list;
    size_t len, max;
    bool is_group;
    struct slice name; /* of whom is being spoken */
    enum err err;
};

static struct policy_difference *next_entry(struct run *r)
{
    if (r->len < r->max)
        return &r->list[r->len];
    size_t max = r->max == 0 ? 64 : r->max * 2;
    struct policy_difference *list =
        max > DIFFERENCES_MAX ? NULL : arena_alloc(r->arena, max * sizeof *list);
    if (list == NULL) {
        r->err = max > DIFFERENCES_MAX ? ERR_LIMIT : ERR_NO_MEMORY;
        return NULL;
    }
    if (r->len > 0)
        memcpy(list, r->list, r->len * sizeof *list);
    r->list = list;
    r->max = max;
    return &list[r->len];
}

PRINTF_LIKE(3, 4)
static void add(struct run *r, enum policy_effect effect, const char *format, ...)
{
    char words[WORDS_MAX];
    struct policy_difference *d = r->err == ERR_NONE ? next_entry(r) : NULL;
    if (d == NULL)
        return;
    va_list values;
    va_start(values, format);
    int n = vsnprintf(words, sizeof words, format, values);
    va_end(values);
    *d = (struct policy_difference){.effect = effect, .is_group = r->is_group, .name = r->name};
    r->err = n < 0 ? ERR_INTERNAL : arena_copy(r->arena, slice_of_text(words), &d->what);
    r->len += r->err == ERR_NONE;
}

/* Gained where it came, lost where it went. */
#define ADD_TOGGLE(r, came, ...) add(r, (came) ? POLICY_GAINS : POLICY_LOSES, __VA_ARGS__)

/* ---- quantities ---- */

enum zero { ZERO_IS_LEAST, ZERO_IS_UNLIMITED, ZERO_IS_LATEST };
static const char *const zero_texts[] = {"none", "unlimited", "two-thirds"};

static void quantity_text(char text[32], enum quantity kind, enum zero zero, int64_t value)
{
    struct writer w = writer_over(text, 31);
    if (value == 0 && kind != QUANTITY_COUNT)
        writer_text(&w, zero_texts[zero]);
    else if (value == 0 && zero == ZERO_IS_UNLIMITED)
        writer_text(&w, zero_texts[zero]);
    else
        quantity_write(&w, kind, value);
    text[w.len] = '\0';
}

/* More of it is a gain. */
static void compare_quantity(struct run *r, const char *what, enum quantity kind, enum zero zero,
                             int64_t old, int64_t new)
{
    char from[32], to[32];
    if (old == new)
        return;
    quantity_text(from, kind, zero, old);
    quantity_text(to, kind, zero, new);
    bool grows = new > old;
    if (zero != ZERO_IS_LEAST && (old == 0 || new == 0))
        grows = new == 0;
    ADD_TOGGLE(r, grows, "%s: %s, was %s", what, to, from);
}

/* ---- topics ---- */

static const struct slice *covering(const struct slice *filters, size_t len, struct slice filter)
{
    for (size_t i = 0; i < len; i++)
        if (slice_equal(filters[i], filter))
            return &filters[i];
    for (size_t i = 0; i < len; i++)
        if (topic_filter_covers(filters[i], filter))
            return &filters[i];
    return NULL;
}

#define TEXT(s) (int)(s).len, (const char *)(s).data

/* What stands in `those` and not in `others`: it came with them, or went. */
static void compare_filters(struct run *r, bool came, const char *verb, const struct slice *those,
                            size_t len, const struct slice *others, size_t others_len)
{
    for (size_t i = 0; i < len; i++) {
        const struct slice *by = covering(others, others_len, those[i]);
        if (by == NULL)
            ADD_TOGGLE(r, came, "%s '%.*s'", verb, TEXT(those[i]));
        else if (!slice_equal(*by, those[i]))
            add(r, POLICY_CHANGES, "%s '%.*s' is %s; '%.*s' covers it", verb, TEXT(those[i]),
                came ? "written, too" : "no longer written", TEXT(*by));
    }
}

static void compare_topics(struct run *r, const struct policy_topics *old,
                           const struct policy_topics *new)
{
    static const char publish[] = "publish to", subscribe[] = "subscribe to";
    compare_filters(r, true, publish, new->publish, new->publish_len, old->publish,
                    old->publish_len);
    compare_filters(r, false, publish, old->publish, old->publish_len, new->publish,
                    new->publish_len);
    compare_filters(r, true, subscribe, new->subscribe, new->subscribe_len, old->subscribe,
                    old->subscribe_len);
    compare_filters(r, false, subscribe, old->subscribe, old->subscribe_len, new->subscribe,
                    new->subscribe_len);
}

/* ---- models ---- */

static void compare_identity(struct run *r, const struct policy_identity *old,
                             const struct policy_identity *new)
{
    if (!slice_equal(slice_of_text(old->maker), slice_of_text(new->maker))) {
        add(r, POLICY_GAINS, "devices made by '%s'", new->maker);
        add(r, POLICY_LOSES, "devices made by '%s'", old->maker);
    }
    if (old->by_manifest != new->by_manifest)
        ADD_TOGGLE(r, new->by_manifest, "trust by the manifest alone, without a person's approval");
    for (enum key_kind k = 0; k < KEY_KIND_COUNT; k++) {
        unsigned bit = 1U << k;
        if ((old->key_kinds & bit) != (new->key_kinds &bit))
            ADD_TOGGLE(r, (new->key_kinds &bit) != 0, "%s keys", key_kind_text(k));
    }
    compare_quantity(r, "lifetime of certificates", QUANTITY_DURATION, ZERO_IS_LEAST, old->lifetime,
                     new->lifetime);
    compare_quantity(r, "lifetime of certificates while enrolled", QUANTITY_DURATION, ZERO_IS_LEAST,
                     old->enrolled_lifetime, new->enrolled_lifetime);
    compare_quantity(r, "age of certificates that are replaced", QUANTITY_DURATION, ZERO_IS_LATEST,
                     old->renewal, new->renewal);
    compare_quantity(r, "grace", QUANTITY_DURATION, ZERO_IS_LEAST, old->grace, new->grace);
}

static void compare_reach(struct run *r, const struct rules_model *old,
                          const struct rules_model *new)
{
    static const char *const states[DEVICE_STATE_COUNT] = {
        [DEVICE_EXPECTED] = "expected", [DEVICE_ENROLLED] = "enrolled",
        [DEVICE_TRUSTED] = "trusted",   [DEVICE_QUARANTINED] = "quarantined",
        [DEVICE_REVOKED] = "revoked",   [DEVICE_RETIRED] = "retired"};
    static const struct {
        uint8_t bit;
        const char *name;
    } reaches[] = {{RULES_REACH_ENROLMENT, "enrolment"},
                   {RULES_REACH_API, "the API"},
                   {RULES_REACH_MQTT, "MQTT brokers"}};
    for (size_t s = 0; s < DEVICE_STATE_COUNT; s++)
        for (size_t i = 0; i < ARRAY_LEN(reaches); i++)
            if ((old->reach[s] & reaches[i].bit) != (new->reach[s] & reaches[i].bit))
                ADD_TOGGLE(r, (new->reach[s] & reaches[i].bit) != 0, "reach of %s while %s",
                           reaches[i].name, states[s]);
}

static void compare_limits(struct run *r, const struct rules_limits *old,
                           const struct rules_limits *new)
{
    compare_quantity(r, "messages", QUANTITY_RATE, ZERO_IS_UNLIMITED, old->messages_per_minute,
                     new->messages_per_minute);
    compare_quantity(r, "bytes", QUANTITY_SIZE_RATE, ZERO_IS_UNLIMITED, old->bytes_per_minute,
                     new->bytes_per_minute);
    compare_quantity(r, "payload", QUANTITY_SIZE, ZERO_IS_UNLIMITED, old->payload_max,
                     new->payload_max);
    compare_quantity(r, "subscriptions", QUANTITY_COUNT, ZERO_IS_UNLIMITED, old->subscriptions_max,
                     new->subscriptions_max);
    compare_quantity(r, "connects", QUANTITY_RATE, ZERO_IS_UNLIMITED, old->connects_per_minute,
                     new->connects_per_minute);
    compare_quantity(r, "service by a broker without a hub", QUANTITY_DURATION, ZERO_IS_LEAST,
                     old->stale_seconds, new->stale_seconds);
}

static void compare_cut(struct run *r, uint8_t old, uint8_t new)
{
    unsigned changed = old ^ new;
    if ((changed & RULES_CUT_SEND_WILL) != 0)
        ADD_TOGGLE(r, (new &RULES_CUT_SEND_WILL) != 0, "its last will is sent when it is cut off");
    if ((changed & RULES_CUT_CLEAR_RETAINED) != 0)
        ADD_TOGGLE(r, (new &RULES_CUT_CLEAR_RETAINED) == 0,
                   "what it published to be retained stays when it is cut off");
    if ((changed & RULES_CUT_KEEP_QUEUE) != 0)
        ADD_TOGGLE(r, (new &RULES_CUT_KEEP_QUEUE) != 0,
                   "its subscriptions and waiting messages stay when it is cut off");
}

/* Whoever is cut off later, or not at all, has gained. */
static void compare_respond(struct run *r, const struct policy_respond *old,
                            const struct policy_respond *new)
{
    compare_quantity(r, "refused topics until the hub quarantines it", QUANTITY_RATE,
                     ZERO_IS_UNLIMITED, old->topics, new->topics);
    compare_quantity(r, "refused floods until the hub quarantines it", QUANTITY_RATE,
                     ZERO_IS_UNLIMITED, old->floods, new->floods);
    if (old->copies != new->copies)
        ADD_TOGGLE(r, !new->copies, "a copy of its identity seen, without quarantine");
}

static void compare_model(struct run *r, const struct policy_model *old,
                          const struct policy_model *new)
{
    compare_identity(r, &old->identity, &new->identity);
    compare_reach(r, &old->rules, &new->rules);
    compare_topics(r, &old->topics, &new->topics);
    compare_limits(r, &old->rules.limits, &new->rules.limits);
    if (old->rules.password_ok != new->rules.password_ok)
        ADD_TOGGLE(r, new->rules.password_ok, "a password in place of a certificate");
    compare_cut(r, old->rules.cut, new->rules.cut);
    compare_respond(r, &old->respond, &new->respond);
}

/* One that came or went, whole. */
static void tell_model(struct run *r, bool came, const struct policy_model *m)
{
    static const struct policy_topics no_topics = {.publish_len = 0};
    static const struct rules_model no_rules = {.cut = 0};
    char lifetime[32];
    quantity_text(lifetime, QUANTITY_DURATION, ZERO_IS_LEAST, m->identity.lifetime);
    ADD_TOGGLE(r, came, "identities: made by '%s', trusted by %s, certificates of %s%s",
               m->identity.maker, m->identity.by_manifest ? "the manifest" : "a person's approval",
               lifetime, m->rules.password_ok ? ", or a password" : "");
    compare_reach(r, came ? &no_rules : &m->rules, came ? &m->rules : &no_rules);
    compare_topics(r, came ? &no_topics : &m->topics, came ? &m->topics : &no_topics);
}

/* ---- groups ---- */

static void tell_group(struct run *r, bool came, const struct policy_group *g)
{
    static const struct policy_topics no_topics = {.publish_len = 0};
    ADD_TOGGLE(r, came, "a place in the policy");
    compare_topics(r, came ? &no_topics : &g->topics, came ? &g->topics : &no_topics);
}

/* ---- all of them, side by side ---- */

static int compare_names(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static void diff_models(struct run *r, const struct policy *old, const struct policy *new)
{
    size_t i = 0, k = 0, old_len = old == NULL ? 0 : old->models_len;
    for (;;) {
        const struct policy_model *a = i < old_len ? &old->models[i] : NULL;
        const struct policy_model *b = k < new->models_len ? &new->models[k] : NULL;
        if (a == NULL && b == NULL)
            return;
        int order = a == NULL ? 1 : b == NULL ? -1 : compare_names(a->name, b->name);
        r->name = order <= 0 ? a->name : b->name;
        if (order == 0)
            compare_model(r, a, b);
        else
            tell_model(r, order > 0, order > 0 ? b : a);
        i += order <= 0;
        k += order >= 0;
    }
}

static void diff_groups(struct run *r, const struct policy *old, const struct policy *new)
{
    size_t i = 0, k = 0, old_len = old == NULL ? 0 : old->groups_len;
    for (;;) {
        const struct policy_group *a = i < old_len ? &old->groups[i] : NULL;
        const struct policy_group *b = k < new->groups_len ? &new->groups[k] : NULL;
        if (a == NULL && b == NULL)
            return;
        int order = a == NULL ? 1 : b == NULL ? -1 : compare_names(a->name, b->name);
        r->name = order <= 0 ? a->name : b->name;
        if (order == 0)
            compare_topics(r, &a->topics, &b->topics);
        else
            tell_group(r, order > 0, order > 0 ? b : a);
        i += order <= 0;
        k += order >= 0;
    }
}

/* ---- tests ---- */

static int compare_texts(const void *a, const void *b)
{
    return compare_names(*(const struct slice *)a, *(const struct slice *)b);
}

/* In words, in order. */
static const struct slice *texts_of_tests(struct run *r, const struct policy *p)
{
    size_t len = p == NULL ? 0 : p->tests_len;
    struct slice *texts = arena_alloc(r->arena, (len + 1) * sizeof *texts);
    if (texts == NULL)
        r->err = ERR_NO_MEMORY;
    for (size_t i = 0; i < len && r->err == ERR_NONE; i++) {
        uint8_t words[TEST_TEXT_MAX];
        struct writer w = writer_over(words, sizeof words);
        policy_test_text(&w, &p->tests[i]);
        r->err = w.err == ERR_NONE ? arena_copy(r->arena, writer_bytes(&w), &texts[i]) : w.err;
    }
    if (r->err != ERR_NONE)
        return NULL;
    qsort(texts, len, sizeof *texts, compare_texts);
    return texts;
}

static size_t skip_same(const struct slice *texts, size_t len, size_t i)
{
    size_t next = i + 1;
    while (next < len && slice_equal(texts[next], texts[i]))
        next++;
    return next;
}

/* They change nothing that is reached, but keep what follows from it: so they are told. */
static void diff_tests(struct run *r, const struct policy *old, const struct policy *new)
{
    size_t i = 0, k = 0, old_len = old == NULL ? 0 : old->tests_len;
    const struct slice *was = texts_of_tests(r, old), *is = texts_of_tests(r, new);
    while (r->err == ERR_NONE && old != NULL && (i < old_len || k < new->tests_len)) {
        int order = i == old_len ? 1 : k == new->tests_len ? -1 : compare_names(was[i], is[k]);
        if (order != 0)
            add(r, POLICY_CHANGES, "test %s: %.*s", order > 0 ? "added" : "removed",
                TEXT(order > 0 ? is[k] : was[i]));
        size_t next_i = order <= 0 ? skip_same(was, old_len, i) : i;
        k = order >= 0 ? skip_same(is, new->tests_len, k) : k;
        i = next_i;
    }
}

/* ---- tenants ---- */

static bool had_model(const struct policy *old, const struct policy_tenant *was, struct slice name)
{
    const struct policy_model *m = policy_find_model(old, name);
    return m != NULL && policy_tenant_has(was, (size_t)(m - old->models));
}

/* Of each model that both know; of one that comes or goes, the model's own differences tell. */
static void compare_tenant(struct run *r, const struct policy *old, const struct policy_tenant *was,
                           const struct policy *new, const struct policy_tenant *is)
{
    for (size_t i = 0; i < new->models_len; i++) {
        struct slice model = new->models[i].name;
        bool known = policy_find_model(old, model) != NULL;
        bool had = had_model(old, was, model), has = policy_tenant_has(is, i);
        if (known && had != has)
            ADD_TOGGLE(r, has, "tenant '%.*s': devices of the model '%.*s'", TEXT(is->name),
                       TEXT(model));
    }
    if (was->all != is->all)
        ADD_TOGGLE(r, is->all, "tenant '%.*s': models that are yet to come", TEXT(is->name));
}

/* One that came or went, whole. */
static void tell_tenant(struct run *r, bool came, const struct policy *p,
                        const struct policy_tenant *t)
{
    ADD_TOGGLE(r, came, "tenant '%.*s': devices of %s", TEXT(t->name),
               t->all ? "all models" : "these models");
    for (size_t i = 0; i < t->models_len; i++)
        ADD_TOGGLE(r, came, "tenant '%.*s': devices of the model '%.*s'", TEXT(t->name),
                   TEXT(p->models[t->models[i]].name));
}

static void diff_tenants(struct run *r, const struct policy *old, const struct policy *new)
{
    static const struct policy_tenant first = {.name = SLICE_LITERAL(RULES_STANDARD_TENANT),
                                               .all = true};
    const struct policy *was = old == NULL ? new : old; /* of nothing, `first` is of all */
    const struct policy_tenant *olds = old == NULL ? &first : old->tenants;
    size_t i = 0, k = 0, old_len = old == NULL ? 1 : old->tenants_len;
    for (;;) {
        const struct policy_tenant *a = i < old_len ? &olds[i] : NULL;
        const struct policy_tenant *b = k < new->tenants_len ? &new->tenants[k] : NULL;
        if (a == NULL && b == NULL)
            return;
        int order = a == NULL ? 1 : b == NULL ? -1 : compare_names(a->name, b->name);
        if (order == 0)
            compare_tenant(r, was, a, new, b);
        else
            tell_tenant(r, order > 0, order > 0 ? new : was, order > 0 ? b : a);
        i += order <= 0;
        k += order >= 0;
    }
}

/* ---- the fleet ---- */

static void diff_key(struct run *r, const char *old, const char *new)
{
    static const char without[] = "changes that loosen, without an offline signature";
    if (slice_equal(slice_of_text(old), slice_of_text(new)))
        return;
    if (old[0] == '\0' || new[0] == '\0') {
        ADD_TOGGLE(r, new[0] == '\0', "%s", without);
        return;
    }
    add(r, POLICY_GAINS, "changes that loosen, signed by %s", new);
    add(r, POLICY_LOSES, "changes that loosen, signed by %s", old);
}

static void diff_approvals(struct run *r, unsigned old, unsigned new)
{
    if (old != new)
        ADD_TOGGLE(r, new < old, "changes of the policy by %u instead of %u people",
                   new < old ? new : old, new < old ? old : new);
}

static void diff_fleet(struct run *r, const struct policy *old, const struct policy *new)
{
    static const struct policy_changes no_demands = {.approvals = 1};
    const struct policy_changes *was = old == NULL ? &no_demands : &old->changes;
    if (old != NULL && !slice_equal(slice_of_text(old->fleet), slice_of_text(new->fleet))) {
        add(r, POLICY_GAINS, "rules for the fleet '%s'", new->fleet);
        add(r, POLICY_LOSES, "rules for the fleet '%s'", old->fleet);
    }
    diff_approvals(r, was->approvals, new->changes.approvals);
    diff_key(r, was->loosening_key, new->changes.loosening_key);
    /* fewer automatic cuts: devices stay that were cut off before */
    if (old != NULL && old->cuts_per_hour != new->cuts_per_hour)
        ADD_TOGGLE(r, new->cuts_per_hour < old->cuts_per_hour,
                   "automatic cuts: %u an hour, were %u", new->cuts_per_hour, old->cuts_per_hour);
}

enum err policy_diff(const struct policy *old, const struct policy *new, struct arena *arena,
                     struct policy_difference **ret_differences, size_t *ret_len)
{
    struct run r = {.arena = arena};
    diff_fleet(&r, old, new);
    diff_tests(&r, old, new);
    diff_tenants(&r, old, new);
    diff_models(&r, old, new);
    r.is_group = true;
    diff_groups(&r, old, new);
    if (r.err != ERR_NONE)
        return r.err;
    *ret_differences = r.list;
    *ret_len = r.len;
    return ERR_NONE;
}
