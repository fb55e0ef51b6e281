/* Reader and writer of the body. The reader checks every byte, so that decisions need not. */
#include "core/rules_body.h"

#include "core/utf8.h"

#define REACH_MASK (RULES_REACH_ENROLMENT | RULES_REACH_API | RULES_REACH_MQTT)
#define CUT_MASK   (RULES_CUT_SEND_WILL | RULES_CUT_CLEAR_RETAINED | RULES_CUT_KEEP_QUEUE)

/* As they are written, in the order of enum rules_variable. */
static const char *const variable_texts[] = {"{tenant}", "{device}", "{model}", "{group}"};

bool rules_name_ok(struct slice name)
{
    if (name.len > RULES_NAME_MAX || !topic_value_ok(name))
        return false;
    for (size_t i = 0, n = 0; i < name.len; i += n) {
        n = utf8_sequence(slice_of(name.data + i, name.len - i));
        if (n == 0)
            return false;
    }
    return true;
}

static bool is_final(size_t state)
{
    return state == DEVICE_REVOKED || state == DEVICE_RETIRED;
}

static bool settings_ok(const struct rules_model *model)
{
    for (size_t state = 0; state < DEVICE_STATE_COUNT; state++) {
        unsigned allowed = is_final(state) ? 0 : REACH_MASK;
        if ((model->reach[state] & ~allowed) != 0)
            return false;
    }
    return (model->cut & ~CUT_MASK) == 0;
}

/* ---- filters ---- */

/* The variable that is written at the start of the text; RULES_VARIABLE_COUNT where none is. */
static unsigned variable_at(struct slice text)
{
    unsigned v = 0;
    while (v < RULES_VARIABLE_COUNT && !slice_starts_with(text, slice_of_text(variable_texts[v])))
        v++;
    return v;
}

/* The pattern of a filter as it is written. */
static enum err make_pattern(struct slice filter, uint8_t pattern[RULES_FILTER_MAX],
                             size_t *ret_len, unsigned *ret_variables)
{
    if (filter.len > RULES_FILTER_MAX)
        return ERR_LIMIT;
    size_t len = 0;
    for (size_t i = 0; i < filter.len;) {
        uint8_t c = filter.data[i];
        if (c == '}' || c >= TOPIC_VARIABLE)
            return ERR_SYNTAX;
        if (c != '{') {
            pattern[len++] = c;
            i++;
            continue;
        }
        unsigned v = variable_at(slice_of(filter.data + i, filter.len - i));
        if (v == RULES_VARIABLE_COUNT)
            return ERR_SYNTAX;
        pattern[len++] = (uint8_t)(TOPIC_VARIABLE + v);
        i += slice_of_text(variable_texts[v]).len;
    }
    *ret_len = len;
    return topic_pattern_check(slice_of(pattern, len), ret_variables);
}

enum err rules_filter_check(struct slice filter)
{
    uint8_t pattern[RULES_FILTER_MAX];
    size_t len = 0;
    unsigned variables = 0;
    return make_pattern(filter, pattern, &len, &variables);
}

static void write_filter(struct writer *w, struct slice filter)
{
    uint8_t pattern[RULES_FILTER_MAX];
    size_t len = 0;
    unsigned variables = 0;
    enum err err = make_pattern(filter, pattern, &len, &variables);
    if (err != ERR_NONE) {
        writer_fail(w, err);
        return;
    }
    writer_u8(w, (uint8_t)variables);
    writer_be16(w, (uint16_t)len);
    writer_put(w, slice_of(pattern, len));
}

/* Bytes of the filter as it was written; 0 where it holds what none is made of. */
static size_t written_len(struct slice pattern)
{
    size_t len = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        uint8_t c = pattern.data[i];
        if (c == '{' || c == '}')
            return 0;
        len += c < TOPIC_VARIABLE ? 1 : slice_of_text(variable_texts[c - TOPIC_VARIABLE]).len;
    }
    return len;
}

static void read_filter(struct reader *r)
{
    unsigned said = reader_u8(r);
    struct slice pattern = reader_take(r, reader_be16(r));
    unsigned variables = 0;
    if (r->err != ERR_NONE)
        return;
    enum err err = topic_pattern_check(pattern, &variables);
    if (err == ERR_NONE) {
        size_t len = written_len(pattern);
        if (len == 0 || variables != said)
            err = ERR_SYNTAX;
        else if (len > RULES_FILTER_MAX)
            err = ERR_LIMIT;
    }
    reader_fail(r, err);
}

static struct slice read_filters(struct reader *r)
{
    struct slice list = reader_take(r, reader_be16(r));
    struct reader filters = reader_over(list);
    for (size_t n = 0; reader_left(&filters) > 0; n++) {
        if (n == RULES_FILTERS_MAX)
            reader_fail(&filters, ERR_LIMIT);
        read_filter(&filters);
    }
    reader_fail(r, reader_finish(&filters));
    return list;
}

static void write_filters(struct writer *w, const struct rules_filters *filters)
{
    if (filters->len > RULES_FILTERS_MAX)
        writer_fail(w, ERR_LIMIT);
    uint8_t *length = writer_reserve(w, 2);
    size_t start = w->len;
    for (size_t i = 0; i < filters->len && w->err == ERR_NONE; i++)
        write_filter(w, filters->filters[i]);
    if (w->err != ERR_NONE || length == NULL)
        return;
    length[0] = (uint8_t)((w->len - start) >> 8);
    length[1] = (uint8_t)(w->len - start);
}
/* 64 filters of 512 bytes and their heads are fewer bytes than 16 bits count. */
_Static_assert(RULES_FILTERS_MAX *(RULES_FILTER_MAX + RULES_FILTER_HEAD) <= UINT16_MAX, "fits");

/* ---- settings of a model ---- */

static void read_settings(struct reader *r, struct rules_model *model)
{
    for (size_t state = 0; state < DEVICE_STATE_COUNT; state++)
        model->reach[state] = reader_u8(r);
    model->limits.messages_per_minute = reader_be32(r);
    model->limits.bytes_per_minute = reader_be32(r);
    model->limits.payload_max = reader_be32(r);
    model->limits.subscriptions_max = reader_be32(r);
    model->limits.connects_per_minute = reader_be32(r);
    model->limits.stale_seconds = reader_be32(r);
    model->cut = reader_u8(r);
    uint8_t password = reader_u8(r);
    model->password_ok = password != 0;
    if (!settings_ok(model) || password > 1)
        reader_fail(r, ERR_SYNTAX);
}

static void write_settings(struct writer *w, const struct rules_model *model)
{
    if (!settings_ok(model))
        writer_fail(w, ERR_SYNTAX);
    writer_put(w, slice_of(model->reach, sizeof model->reach));
    writer_be32(w, model->limits.messages_per_minute);
    writer_be32(w, model->limits.bytes_per_minute);
    writer_be32(w, model->limits.payload_max);
    writer_be32(w, model->limits.subscriptions_max);
    writer_be32(w, model->limits.connects_per_minute);
    writer_be32(w, model->limits.stale_seconds);
    writer_u8(w, model->cut);
    writer_u8(w, model->password_ok ? 1 : 0);
}

/* ---- entries ---- */

enum entries { ENTRIES_MODELS, ENTRIES_GROUPS, ENTRIES_TENANTS };

static void read_tenant(struct reader *r, const struct rules *rules, struct slice name)
{
    uint32_t n = reader_be16(r);
    if (n == RULES_ALL_MODELS) {
        if (slice_equal(name, SLICE_LITERAL(RULES_STANDARD_TENANT)))
            reader_fail(r, ERR_SYNTAX);
        return;
    }
    for (uint32_t i = 0, least = 0; i < n && r->err == ERR_NONE; i++) {
        uint32_t model = reader_be16(r);
        if (model < least || model >= rules->models_len)
            reader_fail(r, ERR_SYNTAX);
        least = model + 1;
    }
}

/* Entries of one kind; each must start where the table says. */
static void read_entries(struct reader *r, const struct rules *rules, struct slice table,
                         enum entries kind)
{
    struct reader starts = reader_over(table);
    struct slice previous = {NULL, 0};
    while (reader_left(&starts) > 0 && r->err == ERR_NONE) {
        if (reader_be32(&starts) != rules->body.len - reader_left(r))
            reader_fail(r, ERR_SYNTAX);
        struct slice name = reader_take(r, reader_u8(r));
        if (!rules_name_ok(name) || rules_name_compare(previous, name) >= 0)
            reader_fail(r, ERR_SYNTAX);
        previous = name;
        if (kind == ENTRIES_TENANTS) {
            read_tenant(r, rules, name);
            continue;
        }
        struct rules_model model;
        if (kind == ENTRIES_MODELS)
            read_settings(r, &model);
        (void)read_filters(r);
        (void)read_filters(r);
    }
}

enum err rules_read_body(struct slice body, struct rules *ret_rules)
{
    if (body.len > RULES_BODY_MAX)
        return ERR_LIMIT;
    struct rules rules = {.body = body, .models_at = RULES_HEAD_SIZE};
    struct reader r = reader_over(body);
    if (reader_u8(&r) != RULES_FORMAT)
        reader_fail(&r, ERR_UNSUPPORTED);
    rules.cuts_per_hour = reader_be32(&r);
    rules.models_len = reader_be16(&r);
    rules.groups_len = reader_be16(&r);
    rules.tenants_len = reader_be16(&r);
    if (rules.models_len > RULES_MODELS_MAX || rules.groups_len > RULES_GROUPS_MAX ||
        rules.tenants_len > RULES_TENANTS_MAX)
        reader_fail(&r, ERR_LIMIT);
    struct slice models = reader_take(&r, (size_t)rules.models_len * 4);
    struct slice groups = reader_take(&r, (size_t)rules.groups_len * 4);
    struct slice tenants = reader_take(&r, (size_t)rules.tenants_len * 4);
    rules.groups_at = rules.models_at + rules.models_len * 4;
    rules.tenants_at = rules.groups_at + rules.groups_len * 4;
    read_entries(&r, &rules, models, ENTRIES_MODELS);
    read_entries(&r, &rules, groups, ENTRIES_GROUPS);
    read_entries(&r, &rules, tenants, ENTRIES_TENANTS);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_rules = rules;
    return err;
}

/* Fills in the table, too, whose space was reserved before. */
static void write_entries(struct writer *w, size_t body_start, uint8_t *table,
                          const struct rules_entry *entries, size_t len, bool are_models)
{
    struct slice previous = {NULL, 0};
    struct writer starts = writer_over(table, len * 4);
    for (size_t i = 0; i < len && w->err == ERR_NONE; i++) {
        const struct rules_entry *e = &entries[i];
        if (!rules_name_ok(e->name) || rules_name_compare(previous, e->name) >= 0 ||
            (e->model != NULL) != are_models)
            writer_fail(w, ERR_SYNTAX);
        writer_be32(&starts, (uint32_t)(w->len - body_start));
        writer_u8(w, (uint8_t)e->name.len);
        writer_put(w, e->name);
        if (e->model != NULL)
            write_settings(w, e->model);
        write_filters(w, &e->publish);
        write_filters(w, &e->subscribe);
        previous = e->name;
    }
}

static void write_tenants(struct writer *w, size_t body_start, uint8_t *table,
                          const struct rules_entries *all)
{
    struct slice previous = {NULL, 0};
    struct writer starts = writer_over(table, all->tenants_len * 4);
    for (size_t i = 0; i < all->tenants_len && w->err == ERR_NONE; i++) {
        const struct rules_tenant *t = &all->tenants[i];
        if (!rules_name_ok(t->name) || rules_name_compare(previous, t->name) >= 0 ||
            (t->all && slice_equal(t->name, SLICE_LITERAL(RULES_STANDARD_TENANT))))
            writer_fail(w, ERR_SYNTAX);
        writer_be32(&starts, (uint32_t)(w->len - body_start));
        writer_u8(w, (uint8_t)t->name.len);
        writer_put(w, t->name);
        writer_be16(w, t->all ? RULES_ALL_MODELS : (uint16_t)t->models_len);
        for (size_t k = 0; k < t->models_len && !t->all && w->err == ERR_NONE; k++) {
            if (t->models[k] >= all->models_len || (k > 0 && t->models[k] <= t->models[k - 1]))
                writer_fail(w, ERR_SYNTAX);
            writer_be16(w, t->models[k]);
        }
        previous = t->name;
    }
}
/* Numbers of models that follow each other are never as many. */
_Static_assert(RULES_MODELS_MAX < RULES_ALL_MODELS, "fits");

void rules_write_body(struct writer *w, uint32_t cuts_per_hour, const struct rules_entries *all)
{
    size_t start = w->len;
    if (all->models_len > RULES_MODELS_MAX || all->groups_len > RULES_GROUPS_MAX ||
        all->tenants_len > RULES_TENANTS_MAX) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    writer_u8(w, RULES_FORMAT);
    writer_be32(w, cuts_per_hour);
    writer_be16(w, (uint16_t)all->models_len);
    writer_be16(w, (uint16_t)all->groups_len);
    writer_be16(w, (uint16_t)all->tenants_len);
    uint8_t *models_table = writer_reserve(w, all->models_len * 4);
    uint8_t *groups_table = writer_reserve(w, all->groups_len * 4);
    uint8_t *tenants_table = writer_reserve(w, all->tenants_len * 4);
    write_entries(w, start, models_table, all->models, all->models_len, true);
    write_entries(w, start, groups_table, all->groups, all->groups_len, false);
    write_tenants(w, start, tenants_table, all);
    if (w->len - start > RULES_BODY_MAX)
        writer_fail(w, ERR_LIMIT);
}
