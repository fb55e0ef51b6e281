/* Legs of a cut that are neither a hub nor one of our brokers: what a hub reaches on behalf of the
 * fleet, such as another broker's management. Each is a setting, "cut-leg.NAME" -> "HUB SINCE
 * TENANT". */
#include <stdio.h>
#include <string.h>

#include "hub/identity/internal.h"

#define PREFIX "cut-leg."

struct leg_value {
    int64_t hub, since;
    char tenant[NAME_MAX_BYTES + 1]; /* whose devices are there */
};

static enum err read_value(struct slice text, struct leg_value *ret_value)
{
    struct reader r = reader_over(text);
    struct leg_value value;
    value.hub = (int64_t)reader_decimal(&r, INT64_MAX);
    reader_expect(&r, SLICE_LITERAL(" "));
    value.since = (int64_t)reader_decimal(&r, INT64_MAX);
    reader_expect(&r, SLICE_LITERAL(" "));
    struct slice tenant = reader_rest(&r);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE || tenant.len >= sizeof value.tenant)
        return ERR_SYNTAX;
    (void)snprintf(value.tenant, sizeof value.tenant, "%.*s", (int)tenant.len,
                   (const char *)tenant.data);
    *ret_value = value;
    return ERR_NONE;
}

/* ---- reading ---- */

struct listing {
    enum err (*leg)(void *ctx, const char *name, int64_t hub, const char *tenant, int64_t since);
    void *ctx;
};

static enum err take(void *ctx, const void *row)
{
    const struct listing *l = ctx;
    const struct setting_row *setting = row;
    struct leg_value value;
    if (read_value(setting->value, &value) != ERR_NONE)
        return ERR_NONE; /* the end of the range, which is no leg */
    return l->leg(l->ctx, setting->name + sizeof PREFIX - 1, value.hub, value.tenant, value.since);
}

enum err identity_legs_of_hubs(struct store_reader *reader, struct arena *arena,
                               enum err (*leg)(void *ctx, const char *name, int64_t hub,
                                               const char *tenant, int64_t since),
                               void *ctx)
{
    struct listing listing = {leg, ctx};
    const struct setting_row first = {.name = PREFIX}, last = {.name = "cut-leg/"};
    const struct store_query query = {
        .table = &table_setting, .after = &first, .until = &last, .limit = CUT_LEGS_MAX};
    return store_list(reader, &query, arena, take, &listing);
}

/* ---- writing ---- */

static struct setting_row setting_of(const struct leg_act *l)
{
    struct setting_row row = {0};
    (void)snprintf(row.name, sizeof row.name, PREFIX "%.56s", l->leg);
    return row;
}

static void leg_reads(const struct write *w, struct keyset *keys)
{
    const struct setting_row row = setting_of((const struct leg_act *)(const void *)w);
    keyset_add(keys, &table_setting, &row);
}

static enum err leg_entry(struct leg_act *l, struct tx *tx, const char *verb)
{
    uint8_t bytes[128];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_integer(&j, "hub", l->hub);
    json_close_object(&j);
    return out.err != ERR_NONE ? out.err
                               : act_append(&l->act, tx, verb, "leg", l->leg, writer_bytes(&out));
}

static enum err leg_apply(struct write *w, struct tx *tx)
{
    struct leg_act *l = (struct leg_act *)(void *)act_of(w);
    struct setting_row row = setting_of(l);
    struct leg_value value;
    char text[NAME_MAX_BYTES + 48];
    enum err err = tx_get(tx, &table_setting, &row);
    bool there = err == ERR_NONE;
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool own = there && read_value(row.value, &value) == ERR_NONE && value.hub == l->hub;
    bool moved = own && strcmp(value.tenant, l->act.tenant) != 0;
    if (l->removal)
        err = own ? tx_delete(tx, &table_setting, &row) : ERR_NONE;
    else if (there && !moved)
        err = ERR_NONE; /* this hub's, or another's that does the same */
    else {
        int64_t now = tx_now_ms(tx) / 1000;
        (void)snprintf(text, sizeof text, "%lld %lld %s", (long long)l->hub, (long long)now,
                       l->act.tenant);
        row.value = slice_of_text(text);
        row.changed_at = now;
        err = there ? tx_update(tx, &table_setting, &row) : tx_insert(tx, &table_setting, &row);
    }
    if (err != ERR_NONE || (l->removal ? !own : there && !moved))
        return err;
    return leg_entry(l, tx, l->removal ? "cut-leg.remove" : "cut-leg.add");
}

static const struct write_kind leg_kind = {
    .name = "cut-leg",
    .lane = STORE_LANE_NORMAL,
    .reads = leg_reads,
    .apply = leg_apply,
    .done = act_done,
};

void identity_change_leg(struct identity *identity, const struct act_origin *origin,
                         struct leg_act *l)
{
    act_init(&l->act, &leg_kind, identity->ledger, origin);
    act_submit(&l->act, identity->store);
}
