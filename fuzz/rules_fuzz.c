/* A file of rules, its signature a toy's, or a body alone; then questions about it, made of what
 * stands in it, so that filters are met. */
#include "core/rules_body.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A filter as it was written, and what it asks for with these names put in. */
static struct slice put_together(struct slice pattern, const struct slice parts[4],
                                 uint8_t buffer[RULES_FILTER_MAX * 65])
{
    struct writer w = writer_over(buffer, (size_t)RULES_FILTER_MAX * 65);
    for (size_t i = 0; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        writer_put(&w, c < TOPIC_VARIABLE ? slice_of(&c, 1) : parts[c - TOPIC_VARIABLE]);
    }
    assert(w.err == ERR_NONE);
    return writer_bytes(&w);
}

struct list {
    struct slice filters[RULES_FILTERS_MAX];
    size_t len;
};

static const struct slice variables[] = {SLICE_LITERAL("{tenant}"), SLICE_LITERAL("{device}"),
                                         SLICE_LITERAL("{model}"), SLICE_LITERAL("{group}")};

static struct list split(struct slice list, uint8_t *buffer, size_t *used)
{
    struct list l = {.len = 0};
    struct reader r = reader_over(list);
    while (reader_left(&r) > 0) {
        (void)reader_u8(&r);
        struct slice pattern = reader_take(&r, reader_be16(&r));
        static uint8_t one[RULES_FILTER_MAX * 65];
        struct slice text = put_together(pattern, variables, one);
        assert(rules_filter_check(text) == ERR_NONE);
        memcpy(buffer + *used, text.data, text.len);
        l.filters[l.len++] = slice_of(buffer + *used, text.len);
        *used += text.len;
    }
    return l;
}

/* What is asked for by a filter itself, and by a name that it matches. */
static void ask(const struct rules *r, const struct rules_subject *s, struct slice pattern)
{
    static uint8_t buffer[RULES_FILTER_MAX * 65];
    const struct slice parts[4] = {s->tenant, s->device, s->model, s->group};
    struct slice filter = put_together(pattern, parts, buffer);
    bool may_subscribe = rules_decide(r, s, RULES_SUBSCRIBE, filter) == RULES_ALLOW;
    for (size_t i = 0; i < filter.len; i++)
        if (buffer[i] == '+' || buffer[i] == '#')
            buffer[i] = 'x';
    enum rules_decision received = rules_decide(r, s, RULES_RECEIVE, filter);
    if (may_subscribe)
        assert(received == RULES_ALLOW);
    assert(received != RULES_DENY_MODEL);
    (void)rules_decide(r, s, RULES_PUBLISH, filter);
}

static void ask_all(const struct rules *r, struct slice list, const struct rules_subject *subjects,
                    size_t len)
{
    struct reader filters = reader_over(list);
    while (reader_left(&filters) > 0) {
        (void)reader_u8(&filters);
        struct slice pattern = reader_take(&filters, reader_be16(&filters));
        for (size_t i = 0; i < len; i++)
            ask(r, &subjects[i], pattern);
    }
}

static bool may_have(const struct rules_tenant *t, uint32_t model)
{
    bool listed = false;
    for (size_t i = 0; i < t->models_len; i++)
        listed = listed || t->models[i] == model;
    return t->all || listed;
}

/* Every tenant has the models that it says, and nobody else any. */
static void check_tenants(const struct rules *r)
{
    static uint16_t numbers[RULES_MODELS_MAX];
    struct rules_model m;
    for (uint32_t i = 0; i < r->tenants_len; i++) {
        struct rules_tenant t = rules_tenant_at(r, i, numbers);
        for (uint32_t k = 0; k < r->models_len; k++)
            assert(rules_find_model(r, t.name, rules_model_name(r, k), &m) == may_have(&t, k));
    }
    for (uint32_t k = 0; k < r->models_len; k++)
        assert(!rules_find_model(r, SLICE_LITERAL(""), rules_model_name(r, k), &m));
}

/* What stands there of a model, whoever may have it. */
static void take_model(const struct rules *r, struct slice name, struct rules_model *ret_model)
{
    struct rules open = *r;
    open.tenants_len = 0;
    assert(rules_find_model(&open, SLICE_LITERAL(RULES_STANDARD_TENANT), name, ret_model));
}

/* There is one way to write a body. */
static void check_written_again(const struct rules *r)
{
    static struct rules_entry entries[RULES_MODELS_MAX + RULES_GROUPS_MAX];
    static struct rules_model models[RULES_MODELS_MAX];
    static struct list lists[2 * (RULES_MODELS_MAX + RULES_GROUPS_MAX)];
    static uint8_t texts[8 * RULES_BODY_MAX], again[RULES_BODY_MAX];
    static struct rules_tenant tenants[RULES_TENANTS_MAX];
    static uint16_t tenant_models[RULES_BODY_MAX / 2];
    size_t used = 0, n = 0, numbers_len = 0;
    for (uint32_t i = 0; i < r->models_len + r->groups_len; i++, n++) {
        struct rules_entry *e = &entries[i];
        struct slice publish, subscribe;
        if (i < r->models_len) {
            e->name = rules_model_name(r, i);
            take_model(r, e->name, &models[i]);
            e->model = &models[i];
            publish = models[i].publish;
            subscribe = models[i].subscribe;
        } else {
            e->name = rules_group_name(r, i - r->models_len);
            assert(rules_has_group(r, e->name));
            e->model = NULL;
            publish = rules_list_at(e->name.data + e->name.len);
            subscribe = rules_list_at(publish.data + publish.len);
        }
        lists[2 * n] = split(publish, texts, &used);
        lists[2 * n + 1] = split(subscribe, texts, &used);
        e->publish = (struct rules_filters){lists[2 * n].filters, lists[2 * n].len};
        e->subscribe = (struct rules_filters){lists[2 * n + 1].filters, lists[2 * n + 1].len};
    }
    for (uint32_t i = 0; i < r->tenants_len; i++) {
        uint16_t *numbers = tenant_models + numbers_len;
        tenants[i] = rules_tenant_at(r, i, numbers);
        numbers_len += tenants[i].models_len;
        assert(rules_has_tenant(r, tenants[i].name));
    }
    struct writer w = writer_over(again, sizeof again);
    const struct rules_entries all = {entries,       entries + r->models_len, tenants,
                                      r->models_len, r->groups_len,           r->tenants_len};
    rules_write_body(&w, r->cuts_per_hour, &all);
    assert(w.err == ERR_NONE);
    assert(slice_equal(writer_bytes(&w), r->body));
}

static void check_rules(const struct rules *r, struct slice input)
{
    struct slice group = r->groups_len > 0 ? rules_group_name(r, 0) : slice_of(NULL, 0);
    for (uint32_t i = 0; i < r->models_len; i++) {
        struct slice name = rules_model_name(r, i);
        struct slice tenant = SLICE_LITERAL(RULES_STANDARD_TENANT);
        const struct rules_subject subjects[] = {
            {tenant, SLICE_LITERAL("t-1"), name, group, DEVICE_TRUSTED},
            {tenant, SLICE_LITERAL("+/a"), name, SLICE_LITERAL("$"), DEVICE_TRUSTED},
            {tenant, SLICE_LITERAL("\xc3"), name, SLICE_LITERAL(""), DEVICE_REVOKED}};
        struct rules_model m;
        if (!rules_find_model(r, tenant, name, &m)) {
            assert(rules_decide(r, &subjects[0], RULES_PUBLISH, input) == RULES_DENY_MODEL);
            continue;
        }
        assert(rules_decide(r, &subjects[2], RULES_PUBLISH, SLICE_LITERAL("a")) ==
               RULES_DENY_STATE);
        ask_all(r, m.publish, subjects, ARRAY_LEN(subjects));
        ask_all(r, m.subscribe, subjects, ARRAY_LEN(subjects));
        for (int action = RULES_PUBLISH; action <= RULES_SUBSCRIBE; action++)
            (void)rules_decide(r, &subjects[1], (enum rules_action)action, input);
    }
    check_tenants(r);
    check_written_again(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct note_key key = {.name = "k"};
    struct slice input = slice_of(data, len);
    struct rules r;
    if (rules_read_body(input, &r) == ERR_NONE)
        check_rules(&r, input);
    /* Its digest is all zeroes, too. */
    if (rules_read(input, &key, toy_zero_hash, toy_verify, &r) == ERR_NONE) {
        assert(r.version > 0 && r.fleet[0] != '\0');
        check_rules(&r, input);
    }
    return 0;
}
