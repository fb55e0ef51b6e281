/* Cuts that the hub makes by itself. A detection that is wrong, or a broker in wrong hands, must
 * not take the fleet away: there are as many in any hour as the policy says, and what is beyond
 * waits for a person. That is decided over rows, so it holds over all hubs, and across restarts. */
#include "hub/identity/internal.h"

#define HOUR_MS   INT64_C(3600000)
#define CLEAR_MAX 2 /* older ones that go with each: so no more than the last hour's stay */

struct cut_waiting_row cut_waiting_row_of(const char *tenant, const char *device)
{
    struct cut_waiting_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.device, device);
    return row;
}

/* ---- how many there were ---- */

struct tally {
    struct automatic_count_row row;
    bool exists;
};

static struct automatic_count_row count_row_of(const char *tenant)
{
    struct automatic_count_row row = {.first = 1, .last = 0};
    ROW_TEXT(row.tenant, tenant);
    return row;
}

static struct automatic_cut_row automatic_row_of(const char *tenant, int64_t number)
{
    struct automatic_cut_row row = {.number = number};
    ROW_TEXT(row.tenant, tenant);
    return row;
}

static enum err read_tally(struct tx *tx, const char *tenant, struct tally *ret_tally)
{
    struct tally tally = {.row = count_row_of(tenant)};
    enum err err = tx_get(tx, &table_automatic_count, &tally.row);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    tally.exists = err == ERR_NONE;
    if (!tally.exists)
        tally.row = count_row_of(tenant);
    *ret_tally = tally;
    return ERR_NONE;
}

static enum err write_tally(struct tx *tx, const struct tally *tally)
{
    return tally->exists ? tx_update(tx, &table_automatic_count, &tally->row)
                         : tx_insert(tx, &table_automatic_count, &tally->row);
}

static enum err is_past(struct tx *tx, struct automatic_cut_row *row, bool *ret_past)
{
    enum err err = tx_get(tx, &table_automatic_cut, row);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    *ret_past = row->cut_at_ms <= tx_now_ms(tx) - HOUR_MS;
    return ERR_NONE;
}

/* The next is one too many while the one that is `per_hour` before it lies within the hour. */
static enum err is_allowed(struct tx *tx, const struct tally *tally, uint32_t per_hour,
                           bool *ret_allowed)
{
    int64_t number = tally->row.last + 1 - (int64_t)per_hour;
    struct automatic_cut_row row = automatic_row_of(tally->row.tenant, number);
    *ret_allowed = per_hour > 0 && number < tally->row.first;
    return per_hour == 0 || *ret_allowed ? ERR_NONE : is_past(tx, &row, ret_allowed);
}

static enum err clear_past(struct tx *tx, struct tally *tally)
{
    enum err err = ERR_NONE;
    bool past = true;
    for (int i = 0; i < CLEAR_MAX && tally->row.first <= tally->row.last; i++) {
        struct automatic_cut_row row = automatic_row_of(tally->row.tenant, tally->row.first);
        err = is_past(tx, &row, &past);
        if (err == ERR_NONE && past)
            err = tx_delete(tx, &table_automatic_cut, &row);
        if (err != ERR_NONE || !past)
            return err;
        tally->row.first++;
    }
    return err;
}

static enum err count_one(struct tx *tx, struct tally *tally, const struct automatic_act *a)
{
    enum err err = clear_past(tx, tally);
    struct automatic_cut_row row = automatic_row_of(a->act.tenant, ++tally->row.last);
    ROW_TEXT(row.device, a->device);
    row.entry = a->entry;
    row.cut_at_ms = tx_now_ms(tx);
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_automatic_cut, &row);
    return err == ERR_NONE ? write_tally(tx, tally) : err;
}

/* ---- those that wait ---- */

static enum err end_waiting(struct tx *tx, const struct cut_waiting_row *row)
{
    struct tally tally;
    enum err err = tx_delete(tx, &table_cut_waiting, row);
    if (err == ERR_NONE)
        err = read_tally(tx, row->tenant, &tally);
    if (err != ERR_NONE || --tally.row.waiting < 0)
        return err != ERR_NONE ? err : ERR_INTERNAL;
    return write_tally(tx, &tally);
}

enum err cut_waiting_end(struct tx *tx, const char *tenant, const char *device)
{
    struct cut_waiting_row row = cut_waiting_row_of(tenant, device);
    enum err err = tx_get(tx, &table_cut_waiting, &row);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE;
    return err == ERR_NONE ? end_waiting(tx, &row) : err;
}

/* ---- the cut, or the question ---- */

static void automatic_reads(const struct write *w, struct keyset *keys)
{
    const struct automatic_act *a = (const struct automatic_act *)(const void *)w;
    const struct automatic_count_row count = count_row_of(a->act.tenant);
    life_reads(keys, a->act.tenant, a->device, MOVE_QUARANTINE, a->keys_touched);
    keyset_add(keys, &table_automatic_count, &count);
    policies_reads(keys);
}

static enum err cut_now(struct automatic_act *a, struct tx *tx, struct device_row *device,
                        struct tally *tally)
{
    const struct moving moving = {.act = &a->act,
                                  .move = MOVE_QUARANTINE,
                                  .keys_touched = a->keys_touched,
                                  .reason = a->reason,
                                  .subjects = a->identity->subjects};
    enum err err = life_move(&moving, tx, device, &a->entry);
    a->outcome = AUTOMATIC_CUT;
    return err == ERR_NONE ? count_one(tx, tally, a) : err;
}

static enum err waiting_entry(struct automatic_act *a, struct tx *tx, uint32_t per_hour)
{
    uint8_t bytes[1024];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "kind", a->kind);
    json_field_text(&j, "reason", a->reason);
    json_field_integer(&j, "automatic_per_hour", per_hour);
    json_close_object(&j);
    return out.err != ERR_NONE ? out.err
                               : act_append(&a->act, tx, "device.cut-waiting", "device", a->device,
                                            writer_bytes(&out));
}

static enum err ask(struct automatic_act *a, struct tx *tx, struct tally *tally, uint32_t per_hour)
{
    struct cut_waiting_row row = cut_waiting_row_of(a->act.tenant, a->device);
    if (tally->row.waiting >= IDENTITY_WAITING_MAX) {
        a->outcome = AUTOMATIC_UNASKED;
        return ERR_NONE;
    }
    ROW_TEXT(row.kind, a->kind);
    ROW_TEXT(row.reason, a->reason);
    row.since = tx_now_ms(tx) / 1000;
    row.entry = a->entry = (int64_t)ledger_next(a->act.ledger);
    a->outcome = AUTOMATIC_WAITS;
    tally->row.waiting++;
    enum err err = tx_insert(tx, &table_cut_waiting, &row);
    if (err == ERR_NONE)
        err = write_tally(tx, tally);
    return err == ERR_NONE ? waiting_entry(a, tx, per_hour) : err;
}

static enum err decide(struct automatic_act *a, struct tx *tx, struct device_row *device)
{
    struct tally tally;
    uint32_t per_hour = 0;
    bool allowed = false;
    enum err err =
        policies_automatic_cuts(a->identity->policies, tx, &per_hour, &a->act.write.problem);
    if (err == ERR_NONE)
        err = read_tally(tx, a->act.tenant, &tally);
    if (err == ERR_NONE)
        err = is_allowed(tx, &tally, per_hour, &allowed);
    if (err != ERR_NONE)
        return err;
    return allowed ? cut_now(a, tx, device, &tally) : ask(a, tx, &tally, per_hour);
}

static bool is_cuttable(const struct device_row *device)
{
    return identity_can_move(MOVE_QUARANTINE, device->state) &&
           !slice_equal(slice_of_text(device->model), SLICE_LITERAL(IDENTITY_BROKER_MODEL));
}

static enum err automatic_apply(struct write *w, struct tx *tx)
{
    struct automatic_act *a = (struct automatic_act *)(void *)act_of(w);
    struct device_row device = device_row_of(a->act.tenant, a->device);
    struct cut_waiting_row waiting = cut_waiting_row_of(a->act.tenant, a->device);
    a->outcome = AUTOMATIC_NOTHING;
    a->entry = -1;
    enum err err = tx_get(tx, &table_device, &device);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_NONE : err;
    if (!is_cuttable(&device))
        return ERR_NONE;
    /* Whoever waits goes on waiting, also once the hour is over: a person has been asked. */
    err = tx_get(tx, &table_cut_waiting, &waiting);
    return err == ERR_NOT_FOUND ? decide(a, tx, &device) : err;
}

static const struct write_kind automatic_kind = {
    .name = "device.cut-automatic",
    .lane = STORE_LANE_PRIORITY,
    .reads = automatic_reads,
    .apply = automatic_apply,
    .done = act_done,
};

void identity_cut_automatically(struct identity *identity, const struct act_origin *origin,
                                struct automatic_act *a)
{
    act_init(&a->act, &automatic_kind, identity->ledger, origin);
    a->identity = identity;
    if (identity->policies == NULL)
        act_end(&a->act, ERR_UNSUPPORTED);
    else
        act_submit(&a->act, identity->store);
}

enum err identity_can_cut_automatically(struct store_reader *reader, struct arena *arena,
                                        const char *tenant, const char *device,
                                        char ret_model[NAME_MAX_BYTES + 1])
{
    struct device_row row = device_row_of(tenant, device);
    struct cut_waiting_row waiting = cut_waiting_row_of(tenant, device);
    enum err err = store_get(reader, &table_device, arena, &row);
    if (err != ERR_NONE)
        return err;
    if (!is_cuttable(&row))
        return ERR_NOT_FOUND;
    err = store_get(reader, &table_cut_waiting, arena, &waiting);
    if (err != ERR_NOT_FOUND)
        return err == ERR_NONE ? ERR_NOT_FOUND : err;
    row_text(ret_model, NAME_MAX_BYTES + 1, row.model);
    return ERR_NONE;
}

/* ---- a person says no ---- */

static void dismiss_reads(const struct write *w, struct keyset *keys)
{
    const struct dismiss_act *d = (const struct dismiss_act *)(const void *)w;
    const struct device_row device = device_row_of(d->act.tenant, d->device);
    const struct cut_waiting_row waiting = cut_waiting_row_of(d->act.tenant, d->device);
    keyset_add(keys, &table_device, &device);
    keyset_add(keys, &table_cut_waiting, &waiting);
}

static enum err dismiss_entry(struct dismiss_act *d, struct tx *tx, const struct device_row *device,
                              const struct cut_waiting_row *waiting)
{
    uint8_t bytes[2048];
    char reason[SEALED_TEXT_SIZE];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    enum err err = reason_keep(d->subjects, device, d->reason, reason);
    if (err != ERR_NONE)
        return err;
    json_open_object(&j);
    json_field_text(&j, "kind", waiting->kind);
    json_field_integer(&j, "waiting", waiting->entry);
    json_field_text(&j, "reason", reason);
    json_close_object(&j);
    return out.err != ERR_NONE ? out.err
                               : act_append(&d->act, tx, "device.cut-dismiss", "device", d->device,
                                            writer_bytes(&out));
}

static enum err dismiss_apply(struct write *w, struct tx *tx)
{
    struct dismiss_act *d = (struct dismiss_act *)(void *)act_of(w);
    struct device_row device = device_row_of(d->act.tenant, d->device);
    struct cut_waiting_row waiting = cut_waiting_row_of(d->act.tenant, d->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", d->device);
    if (err == ERR_NONE)
        err = tx_get(tx, &table_cut_waiting, &waiting);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "cut-not-waiting", "device",
                           "no cut of '%s' waits for a person", d->device);
    if (err == ERR_NONE)
        err = end_waiting(tx, &waiting);
    return err == ERR_NONE ? dismiss_entry(d, tx, &device, &waiting) : err;
}

static const struct write_kind dismiss_kind = {
    .name = "device.cut-dismiss",
    .lane = STORE_LANE_PRIORITY,
    .reads = dismiss_reads,
    .apply = dismiss_apply,
    .done = act_done,
};

void identity_dismiss_cut(struct identity *identity, const struct act_origin *origin,
                          struct dismiss_act *d)
{
    act_init(&d->act, &dismiss_kind, identity->ledger, origin);
    d->subjects = identity->subjects;
    act_submit(&d->act, identity->store);
}
