#include "core/rules_body.h"

/* ---- what the rules know ---- */

/* How many bytes are the same at the start of both; the first `from` are known to be. */
static size_t common(struct slice a, struct slice b, size_t from)
{
    size_t most = a.len < b.len ? a.len : b.len;
    while (from < most && a.data[from] == b.data[from])
        from++;
    return from;
}

/* The entry of that name, from what follows its name on, and its number; NULL where there is none.
 * Names of models are often long and alike: what is common with the names below and above is not
 * read again. */
static const uint8_t *find(const struct rules *r, uint32_t table, uint32_t len, struct slice name,
                           uint32_t *ret_number)
{
    uint32_t low = 0, high = len;
    size_t common_low = 0, common_high = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct slice found = rules_name_at(rules_entry_at(r, table, middle));
        size_t same = common(name, found, common_low < common_high ? common_low : common_high);
        if (same == name.len && same == found.len) {
            *ret_number = middle;
            return found.data + found.len;
        }
        if (same == name.len || (same < found.len && name.data[same] < found.data[same])) {
            high = middle;
            common_high = same;
        } else {
            low = middle + 1;
            common_low = same;
        }
    }
    return NULL;
}

/* Whether devices of that tenant may be of the model of that number. */
static bool may_have(const struct rules *r, struct slice tenant, uint32_t model)
{
    uint32_t number, low = 0;
    const uint8_t *at = find(r, r->tenants_at, r->tenants_len, tenant, &number);
    if (at == NULL)
        return slice_equal(tenant, SLICE_LITERAL(RULES_STANDARD_TENANT));
    uint32_t high = rules_be16(at);
    if (high == RULES_ALL_MODELS)
        return true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t found = rules_be16(at + 2 + (size_t)middle * 2);
        if (found == model)
            return true;
        if (found < model)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static const uint8_t *find_model(const struct rules *r, struct slice tenant, struct slice name)
{
    uint32_t number;
    const uint8_t *at = find(r, r->models_at, r->models_len, name, &number);
    return at != NULL && may_have(r, tenant, number) ? at : NULL;
}

static const uint8_t *find_group(const struct rules *r, struct slice name)
{
    uint32_t number;
    return find(r, r->groups_at, r->groups_len, name, &number);
}

struct slice rules_model_name(const struct rules *r, uint32_t n)
{
    return rules_name_at(rules_entry_at(r, r->models_at, n));
}

struct slice rules_group_name(const struct rules *r, uint32_t n)
{
    return rules_name_at(rules_entry_at(r, r->groups_at, n));
}

bool rules_has_group(const struct rules *r, struct slice name)
{
    return find_group(r, name) != NULL;
}

bool rules_has_tenant(const struct rules *r, struct slice name)
{
    uint32_t number;
    return slice_equal(name, SLICE_LITERAL(RULES_STANDARD_TENANT)) ||
           find(r, r->tenants_at, r->tenants_len, name, &number) != NULL;
}

struct rules_tenant rules_tenant_at(const struct rules *r, uint32_t n, uint16_t *models)
{
    struct slice name = rules_name_at(rules_entry_at(r, r->tenants_at, n));
    const uint8_t *at = name.data + name.len;
    uint32_t len = rules_be16(at);
    if (len == RULES_ALL_MODELS)
        return (struct rules_tenant){.name = name, .all = true};
    for (uint32_t i = 0; i < len; i++)
        models[i] = (uint16_t)rules_be16(at + 2 + (size_t)i * 2);
    return (struct rules_tenant){.name = name, .models = models, .models_len = len};
}

bool rules_find_model(const struct rules *r, struct slice tenant, struct slice name,
                      struct rules_model *ret_model)
{
    const uint8_t *at = find_model(r, tenant, name);
    if (at == NULL)
        return false;
    struct rules_model m;
    memcpy(m.reach, at, sizeof m.reach);
    at += sizeof m.reach;
    m.limits = (struct rules_limits){
        .messages_per_minute = rules_be32(at),
        .bytes_per_minute = rules_be32(at + 4),
        .payload_max = rules_be32(at + 8),
        .subscriptions_max = rules_be32(at + 12),
        .connects_per_minute = rules_be32(at + 16),
        .stale_seconds = rules_be32(at + 20),
    };
    m.cut = at[24];
    m.password_ok = at[25] != 0;
    m.publish = rules_list_at(at + 26);
    m.subscribe = rules_list_at(m.publish.data + m.publish.len);
    *ret_model = m;
    return true;
}

/* ---- decisions ---- */

/* A device's names, in the order of enum rules_variable, and a mask of those that may be used. */
struct names {
    struct slice values[RULES_VARIABLE_COUNT];
    unsigned usable;
};

/* A model's name stands in the rules, so it is one that may be used; whether there is a group is
 * not known yet. */
static struct names names_of(const struct rules_subject *s)
{
    struct names n = {.values = {s->tenant, s->device, s->model, s->group},
                      .usable = 1U << RULES_MODEL};
    for (unsigned v = RULES_TENANT; v <= RULES_DEVICE; v++)
        if (n.values[v].len <= RULES_NAME_MAX && topic_value_ok(n.values[v]))
            n.usable |= 1U << v;
    return n;
}

/* Looks only at filters that have all of the variables in the mask `with`. */
static bool any_covers(struct slice filters, const struct names *names, unsigned with,
                       struct slice topic)
{
    const uint8_t *at = filters.data;
    const uint8_t *end = at + filters.len;
    while (at < end) {
        struct slice pattern = slice_of(at + RULES_FILTER_HEAD, rules_be16(at + 1));
        bool is_asked = (at[0] & ~names->usable) == 0 && (at[0] & with) == with;
        if (is_asked && topic_pattern_covers(pattern, names->values, topic))
            return true;
        at = pattern.data + pattern.len;
    }
    return false;
}

/* The filters for that action, in an entry after its settings. */
static struct slice filters_of(const uint8_t *at, enum rules_action action)
{
    struct slice publish = rules_list_at(at);
    return action == RULES_PUBLISH ? publish : rules_list_at(publish.data + publish.len);
}

enum rules_decision rules_decide(const struct rules *r, const struct rules_subject *subject,
                                 enum rules_action action, struct slice topic)
{
    const uint8_t *model = find_model(r, subject->tenant, subject->model);
    if (model == NULL)
        return RULES_DENY_MODEL;
    if ((unsigned)subject->state >= DEVICE_STATE_COUNT ||
        (model[subject->state] & RULES_REACH_MQTT) == 0)
        return RULES_DENY_STATE;
    enum err form = action == RULES_SUBSCRIBE ? topic_filter_check(topic) : topic_name_check(topic);
    if (form != ERR_NONE)
        return RULES_DENY_FORM;

    struct names names = names_of(subject);
    struct slice filters = filters_of(model + RULES_SETTINGS_SIZE, action);
    if (any_covers(filters, &names, 0, topic))
        return RULES_ALLOW;
    const uint8_t *group = subject->group.len > 0 ? find_group(r, subject->group) : NULL;
    if (group == NULL)
        return RULES_DENY_TOPIC;
    names.usable |= 1U << RULES_GROUP;
    if (any_covers(filters, &names, 1U << RULES_GROUP, topic) ||
        any_covers(filters_of(group, action), &names, 0, topic))
        return RULES_ALLOW;
    return RULES_DENY_TOPIC;
}

/* ---- filters, written out ---- */

struct filter_taker {
    uint8_t *buffer;
    size_t max;
    void (*take)(void *ctx, struct slice filter);
    void *ctx;
};

static void take_filters(const struct filter_taker *t, struct slice filters,
                         const struct names *names)
{
    const uint8_t *at = filters.data;
    const uint8_t *end = at + filters.len;
    while (at < end) {
        struct slice pattern = slice_of(at + RULES_FILTER_HEAD, rules_be16(at + 1));
        struct writer w = writer_over(t->buffer, t->max);
        for (size_t i = 0; i < pattern.len; i++) {
            if (pattern.data[i] >= TOPIC_VARIABLE)
                writer_put(&w, names->values[pattern.data[i] - TOPIC_VARIABLE]);
            else
                writer_u8(&w, pattern.data[i]);
        }
        if ((at[0] & ~names->usable) == 0 && w.err == ERR_NONE)
            t->take(t->ctx, writer_bytes(&w));
        at = pattern.data + pattern.len;
    }
}

void rules_list_filters(const struct rules *r, const struct rules_subject *subject,
                        enum rules_action action, uint8_t *buffer, size_t max,
                        void (*take)(void *ctx, struct slice filter), void *ctx)
{
    const struct filter_taker taker = {buffer, max, take, ctx};
    const uint8_t *model = find_model(r, subject->tenant, subject->model);
    bool reaches = model != NULL && (unsigned)subject->state < DEVICE_STATE_COUNT &&
                   (model[subject->state] & RULES_REACH_MQTT) != 0;
    if (!reaches)
        return;
    struct names names = names_of(subject);
    const uint8_t *group = subject->group.len > 0 ? find_group(r, subject->group) : NULL;
    if (group != NULL)
        names.usable |= 1U << RULES_GROUP;
    take_filters(&taker, filters_of(model + RULES_SETTINGS_SIZE, action), &names);
    if (group != NULL)
        take_filters(&taker, filters_of(group, action), &names);
}

const char *rules_decision_text(enum rules_decision decision)
{
    switch (decision) {
    case RULES_ALLOW:
        return "allow";
    case RULES_DENY_MODEL:
        return "unknown-model";
    case RULES_DENY_STATE:
        return "state";
    case RULES_DENY_TOPIC:
        return "topic";
    case RULES_DENY_FORM:
        return "form";
    case RULES_DECISION_COUNT:
        break;
    }
    return "unknown";
}
