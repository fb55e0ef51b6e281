/* Cuts: each stands in a row from the write that moved the device until it is released, and each
 * leg that saw the device gone adds a row of its own. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hub/identity/internal.h"

struct device_cut_row cut_row_of(const char *tenant, const char *device)
{
    struct device_cut_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.device, device);
    return row;
}

static struct cut_leg_row leg_row_of(const char *tenant, const char *device, const char *leg)
{
    struct cut_leg_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.device, device);
    ROW_TEXT(row.leg, leg);
    return row;
}

void cut_leg_of_hub(char ret_leg[CUT_LEG_MAX + 1], int64_t hub)
{
    (void)snprintf(ret_leg, CUT_LEG_MAX + 1, "api/%lld", (long long)hub);
}

void cut_leg_of_broker(char ret_leg[CUT_LEG_MAX + 1], const char *broker)
{
    (void)snprintf(ret_leg, CUT_LEG_MAX + 1, "broker/%s", broker);
}

/* ---- the cut itself ---- */

enum err cut_begin(struct act *act, struct tx *tx, const char *device, int64_t state)
{
    struct device_cut_row row = cut_row_of(act->tenant, device);
    enum err found = tx_get(tx, &table_device_cut, &row);
    if (found != ERR_NONE && found != ERR_NOT_FOUND)
        return found;
    row.state = state;
    row.entry = (int64_t)ledger_next(act->ledger);
    row.cut_at_ms = tx_now_ms(tx);
    row.complete = 0;
    if (found == ERR_NONE)
        return tx_update(tx, &table_device_cut, &row);
    return tx_insert(tx, &table_device_cut, &row);
}

/* What its legs have said goes on standing there: it names the entry of a cut that is no more. */
enum err cut_end(struct tx *tx, const char *tenant, const char *device)
{
    struct device_cut_row row = cut_row_of(tenant, device);
    enum err err = tx_get(tx, &table_device_cut, &row);
    if (err == ERR_NONE)
        err = tx_delete(tx, &table_device_cut, &row);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* ---- its legs ---- */

static enum err add_leg(struct cut_legs *legs, const char *name, int64_t since)
{
    if (legs->len == CUT_LEGS_MAX)
        return ERR_LIMIT;
    struct cut_leg *leg = &legs->items[legs->len++];
    ROW_TEXT(leg->name, name);
    leg->since = since;
    return ERR_NONE;
}

static enum err add_hub(void *ctx, const void *row)
{
    const struct hub_row *hub = row;
    char name[CUT_LEG_MAX + 1];
    cut_leg_of_hub(name, hub->id);
    return hub->status == HUB_JOINED ? add_leg(ctx, name, hub->joined_at) : ERR_NONE;
}

struct legs_of {
    struct cut_legs *legs;
    const char *tenant;
};

/* As long as the hub that looks after it is there. */
static enum err add_leg_of_hub(void *ctx, const char *leg, int64_t hub, const char *tenant,
                               int64_t since)
{
    const struct legs_of *of = ctx;
    struct cut_legs *legs = of->legs;
    char name[CUT_LEG_MAX + 1];
    if (strcmp(tenant, of->tenant) != 0)
        return ERR_NONE;
    cut_leg_of_hub(name, hub);
    for (size_t i = 0; i < legs->len; i++) {
        if (strcmp(legs->items[i].name, name) == 0)
            return add_leg(legs, leg, since);
    }
    return ERR_NONE;
}

static enum err add_broker(void *ctx, const void *row)
{
    const struct broker_row *broker = row;
    char name[CUT_LEG_MAX + 1];
    cut_leg_of_broker(name, broker->id);
    return broker->status == BROKER_ADDED ? add_leg(ctx, name, broker->added_at) : ERR_NONE;
}

enum err identity_cut_legs(struct store_reader *reader, const char *tenant, struct arena *arena,
                           struct cut_legs *ret_legs)
{
    struct cut_legs legs = {.items = arena_alloc(arena, CUT_LEGS_MAX * sizeof *legs.items)};
    struct legs_of of = {&legs, tenant};
    if (legs.items == NULL)
        return ERR_NO_MEMORY;
    const struct store_query hubs = {.table = &table_hub, .limit = HUBS_MAX};
    const struct store_filter filter = {.column = "tenant", .text = slice_of_text(tenant)};
    const struct store_query brokers = {
        .table = &table_broker, .filters = &filter, .filters_len = 1, .limit = SIZE_MAX};
    enum err err = store_list(reader, &hubs, arena, add_hub, &legs);
    if (err == ERR_NONE)
        err = store_list(reader, &brokers, arena, add_broker, &legs);
    if (err == ERR_NONE)
        err = identity_legs_of_hubs(reader, arena, add_leg_of_hub, &of);
    if (err == ERR_NONE)
        *ret_legs = legs;
    return err;
}

static bool has_leg(const struct cut_leg *leg, const struct device_cut_row *cut)
{
    return leg->since <= cut->cut_at_ms / 1000;
}

/* ---- a leg's word ---- */

static void confirm_reads(const struct write *w, struct keyset *keys)
{
    const struct cut_confirm_act *c = (const struct cut_confirm_act *)(const void *)w;
    for (size_t i = 0; i < c->seen_len; i++) {
        const struct device_cut_row cut = cut_row_of(c->act.tenant, c->seen[i].device);
        keyset_add(keys, &table_device_cut, &cut);
        for (size_t k = 0; k < c->legs.len; k++) {
            const struct cut_leg_row leg =
                leg_row_of(c->act.tenant, c->seen[i].device, c->legs.items[k].name);
            keyset_add(keys, &table_cut_leg, &leg);
        }
    }
}

static enum err confirm_entry(struct cut_confirm_act *c, struct tx *tx,
                              const struct device_cut_row *cut, const struct cut_leg_row *leg)
{
    uint8_t bytes[2048];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "leg", leg->leg);
    json_field_integer(&j, "cut", cut->entry);
    json_field_integer(&j, "latency_ms", leg->confirmed_at_ms - cut->cut_at_ms);
    if (leg->detail[0] != '\0')
        json_field_text(&j, "detail", leg->detail);
    if (cut->complete)
        json_field_bool(&j, "complete", true);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&c->act, tx, "device.cut-leg", "device", cut->device, writer_bytes(&out));
}

static enum err write_leg(struct tx *tx, const struct device_cut_row *cut,
                          const struct cut_seen *seen, struct cut_leg_row *leg, bool there)
{
    leg->entry = cut->entry;
    leg->confirmed_at_ms = tx_now_ms(tx);
    if (leg->confirmed_at_ms < cut->cut_at_ms) /* another hub's clock */
        leg->confirmed_at_ms = cut->cut_at_ms;
    ROW_TEXT(leg->detail, seen->detail);
    return there ? tx_update(tx, &table_cut_leg, leg) : tx_insert(tx, &table_cut_leg, leg);
}

/* A leg that came to be after they were looked up may be one of a later cut's: then this is not who
 * completes it, and the next look does. */
static enum err check_complete(const struct cut_confirm_act *c, struct tx *tx,
                               struct device_cut_row *cut)
{
    if (cut->complete || cut->cut_at_ms > c->listed_at_ms)
        return ERR_NONE;
    for (size_t i = 0; i < c->legs.len; i++) {
        struct cut_leg_row leg = leg_row_of(cut->tenant, cut->device, c->legs.items[i].name);
        if (!has_leg(&c->legs.items[i], cut))
            continue;
        enum err err = tx_get(tx, &table_cut_leg, &leg);
        if (err == ERR_NOT_FOUND || (err == ERR_NONE && leg.entry != cut->entry))
            return ERR_NONE;
        if (err != ERR_NONE)
            return err;
    }
    cut->complete = 1;
    return tx_update(tx, &table_device_cut, cut);
}

static enum err confirm_one(struct cut_confirm_act *c, struct tx *tx, struct cut_seen *seen)
{
    struct device_cut_row cut = cut_row_of(c->act.tenant, seen->device);
    struct cut_leg_row leg = leg_row_of(c->act.tenant, seen->device, c->leg);
    enum err err = tx_get(tx, &table_device_cut, &cut);
    if (err == ERR_NOT_FOUND || (err == ERR_NONE && cut.entry >= seen->position))
        return ERR_NONE;
    if (err != ERR_NONE)
        return err;
    err = tx_get(tx, &table_cut_leg, &leg);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    bool there = err == ERR_NONE;
    seen->confirmed = !there || leg.entry != cut.entry;
    err = seen->confirmed ? write_leg(tx, &cut, seen, &leg, there) : ERR_NONE;
    if (err == ERR_NONE)
        err = check_complete(c, tx, &cut);
    return err == ERR_NONE && seen->confirmed ? confirm_entry(c, tx, &cut, &leg) : err;
}

static enum err confirm_apply(struct write *w, struct tx *tx)
{
    struct cut_confirm_act *c = (struct cut_confirm_act *)(void *)act_of(w);
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < c->seen_len; i++) {
        c->seen[i].confirmed = false;
        err = confirm_one(c, tx, &c->seen[i]);
    }
    return err;
}

static const struct write_kind confirm_kind = {
    .name = "device.cut-leg",
    .lane = STORE_LANE_PRIORITY, /* whoever made the cut waits for it */
    .reads = confirm_reads,
    .apply = confirm_apply,
    .done = act_done,
};

static bool is_leg(const struct cut_legs *legs, const char *name)
{
    for (size_t i = 0; i < legs->len; i++) {
        if (strcmp(legs->items[i].name, name) == 0)
            return true;
    }
    return false;
}

void identity_cut_confirm(struct identity *identity, const struct act_origin *origin,
                          struct store_reader *reader, struct cut_confirm_act *c)
{
    act_init(&c->act, &confirm_kind, identity->ledger, origin);
    c->listed_at_ms = clock_milliseconds();
    enum err err = c->seen_len > IDENTITY_CUT_MAX
                       ? ERR_LIMIT
                       : identity_cut_legs(reader, origin->tenant, origin->arena, &c->legs);
    if (err == ERR_NONE && !is_leg(&c->legs, c->leg))
        err = problem_set(&c->act.write.problem, 404, "leg-unknown", "",
                          "'%s' is no hub and no broker of this fleet", c->leg);
    if (err != ERR_NONE || c->seen_len == 0)
        act_end(&c->act, err);
    else
        act_submit(&c->act, identity->store);
}

/* ---- reading ---- */

struct reading {
    const struct device_cut_row *cut;
    struct cut_leg_state *legs;
    size_t n;
};

static enum err take_leg(void *ctx, const void *row)
{
    struct reading *r = ctx;
    const struct cut_leg_row *leg = row;
    for (size_t i = 0; i < r->n; i++) {
        struct cut_leg_state *state = &r->legs[i];
        if (leg->entry != r->cut->entry || strcmp(state->name, leg->leg) != 0)
            continue;
        state->confirmed = true;
        state->latency_ms = leg->confirmed_at_ms - r->cut->cut_at_ms;
        ROW_TEXT(state->detail, leg->detail);
    }
    return ERR_NONE;
}

enum err identity_cut_read(struct store_reader *reader, struct arena *arena,
                           const struct cut_legs *legs, const struct device_cut_row *cut,
                           struct cut_leg_state **ret_legs, size_t *ret_n)
{
    struct reading r = {.cut = cut, .legs = arena_alloc(arena, legs->len * sizeof *r.legs)};
    if (r.legs == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < legs->len; i++) {
        if (!has_leg(&legs->items[i], cut))
            continue;
        ROW_TEXT(r.legs[r.n].name, legs->items[i].name);
        r.n++;
    }
    const struct store_filter filters[] = {
        {.column = "tenant", .text = slice_of_text(cut->tenant)},
        {.column = "device", .text = slice_of_text(cut->device)}};
    const struct store_query query = {.table = &table_cut_leg,
                                      .filters = filters,
                                      .filters_len = ARRAY_LEN(filters),
                                      .limit = SIZE_MAX};
    enum err err = store_list(reader, &query, arena, take_leg, &r);
    if (err != ERR_NONE)
        return err;
    *ret_legs = r.legs;
    *ret_n = r.n;
    return ERR_NONE;
}
