/* Rotations: devices are marked, in chunks that share an entry, and are asked to renew when they
 * check in. A mark stands in the device's own row, so that a check-in looks no further. */
#include <stdio.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "core/calendar.h"
#include "hub/identity/internal.h"

#define CAN_ROTATE(state)                                                                          \
    ((state) == DEVICE_ENROLLED || (state) == DEVICE_TRUSTED || (state) == DEVICE_QUARANTINED)

struct rotation_row rotation_row_of(const char *tenant, const char *id)
{
    struct rotation_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.id, id);
    return row;
}

static void reads_devices(struct keyset *keys, const char *tenant, const char *const *devices,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct device_row device = device_row_of(tenant, devices[i]);
        keyset_add(keys, &table_device, &device);
    }
}

/* ---- devices into a rotation ---- */

/* Evenly over the time that was asked for, and the same where it is worked out again. */
static int64_t due_at(const struct rotation_row *r, const char *device)
{
    const struct slice parts[] = {slice_of_text(r->id), SLICE_LITERAL("\n"), slice_of_text(device)};
    struct hash hash;
    crypto_sha256(parts, ARRAY_LEN(parts), hash.bytes);
    struct reader dice = reader_over(slice_of(hash.bytes, sizeof hash.bytes));
    return r->created_at + (int64_t)((uint64_t)reader_be32(&dice) * (uint64_t)r->spread >> 32);
}

struct taking {
    struct rotation_row *rotation;
    size_t taken;
    const char *first, *last;
    struct hash digest; /* over the names, so that a list can be held against the ledger */
};

static void tell_taken(struct taking *t, const char *device)
{
    const struct slice parts[] = {slice_of(t->digest.bytes, sizeof t->digest.bytes),
                                  slice_of_text(device), SLICE_LITERAL("\n")};
    crypto_sha256(parts, ARRAY_LEN(parts), t->digest.bytes);
    t->first = t->taken == 0 ? device : t->first;
    t->last = device;
    t->taken++;
}

/* ERR_CONFLICT where it has no identity that could be renewed; its state is then in *ret_state. */
static enum err take(struct taking *t, struct tx *tx, const char *id, int64_t *ret_state)
{
    struct rotation_row *r = t->rotation;
    struct device_row device = device_row_of(r->tenant, id);
    enum err err = tx_get(tx, &table_device, &device);
    if (err != ERR_NONE)
        return err;
    *ret_state = device.state;
    if (!CAN_ROTATE(device.state) || device.certificate[0] == '\0')
        return ERR_CONFLICT;
    if (slice_equal(slice_of_text(device.rotation), slice_of_text(r->id)))
        return ERR_NONE; /* named twice */
    err = rotation_leave(tx, &device, LEAVE_MOVED);
    if (err != ERR_NONE)
        return err;
    struct rotation_device_row row = {.due_at = due_at(r, id)};
    ROW_TEXT(row.tenant, r->tenant);
    ROW_TEXT(row.rotation, r->id);
    ROW_TEXT(row.device, id);
    ROW_TEXT(row.held, device.certificate);
    err = tx_insert(tx, &table_rotation_device, &row);
    if (err != ERR_NONE)
        return err == ERR_EXISTS ? ERR_INTERNAL : err; /* its device's row would say so */
    ROW_TEXT(device.rotation, r->id);
    device.renew_at = row.due_at;
    err = tx_update(tx, &table_device, &device);
    if (err == ERR_NONE && r->keys_touched)
        err = grace_close_before(tx, r->tenant, id, tx_now_ms(tx) / 1000 + 1);
    if (err != ERR_NONE)
        return err;
    r->devices++;
    tell_taken(t, id);
    return ERR_NONE;
}

/* One entry for the chunk, as with manifests. */
static enum err taken_entry(const struct taking *t, struct act *act, struct tx *tx)
{
    if (t->taken == 0)
        return ERR_NONE;
    uint8_t bytes[512];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_integer(&j, "devices", (int64_t)t->taken);
    json_field_text(&j, "first", t->first);
    json_field_text(&j, "last", t->last);
    json_field_hex(&j, "digest", slice_of(t->digest.bytes, sizeof t->digest.bytes));
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(act, tx, "device.rotate", "rotation", t->rotation->id, writer_bytes(&out));
}

/* ---- a new one ---- */

static void rotate_reads(const struct write *w, struct keyset *keys)
{
    const struct rotation_act *r = (const struct rotation_act *)(const void *)w;
    reads_devices(keys, r->act.tenant, r->devices, r->devices_len);
}

static void field_where_set(struct json_writer *j, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_field_text(j, key, text);
}

static enum err rotate_entry(struct rotation_act *r, struct tx *tx)
{
    const struct rotation_row *row = &r->rotation;
    uint8_t bytes[2048];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "reason", row->reason);
    field_where_set(&j, "model", row->model);
    field_where_set(&j, "manifest", row->manifest);
    field_where_set(&j, "owner", row->owner);
    if (row->state != ROTATION_ANY_STATE)
        json_field_text(&j, "state", device_state_text(row->state));
    json_field_integer(&j, "over_seconds", row->spread);
    if (row->keys_touched)
        json_field_text(&j, "keys", "touched");
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&r->act, tx, "rotation.create", "rotation", row->id, writer_bytes(&out));
}

static enum err take_named(struct rotation_act *r, struct tx *tx, struct taking *t)
{
    for (size_t i = 0; i < r->devices_len; i++) {
        char field[32];
        int64_t state = 0;
        (void)snprintf(field, sizeof field, "devices[%zu].id", i);
        enum err err = take(t, tx, r->devices[i], &state);
        if (err == ERR_NOT_FOUND)
            return problem_set(&r->act.write.problem, 404, "device-not-found", field,
                               "there is no device '%s'", r->devices[i]);
        if (err == ERR_CONFLICT)
            return problem_set(&r->act.write.problem, 409, "device-not-renewable", field,
                               "'%s' is %s: it has no certificate that it could renew",
                               r->devices[i], device_state_text(state));
        if (err != ERR_NONE)
            return err;
    }
    rotation_settle(&r->rotation, tx_now_ms(tx) / 1000);
    return ERR_NONE;
}

static enum err rotate_apply(struct write *w, struct tx *tx)
{
    struct rotation_act *r = (struct rotation_act *)(void *)act_of(w);
    struct rotation_row *row = &r->rotation;
    bool named = r->devices_len > 0;
    row->phase = named ? ROTATION_RUNNING : ROTATION_SELECTING;
    row->devices = row->ended_at = 0;
    row->created_at = tx_now_ms(tx) / 1000;
    enum err err = rotate_entry(r, tx);
    /* The row goes first: whoever is taken from one rotation may be taken into this at once. */
    if (err == ERR_NONE)
        err = tx_insert(tx, &table_rotation, row);
    if (err != ERR_NONE)
        return err == ERR_EXISTS ? ERR_INTERNAL : err;
    if (!named)
        return ERR_NONE;
    struct taking t = {.rotation = row};
    err = take_named(r, tx, &t);
    if (err == ERR_NONE)
        err = tx_update(tx, &table_rotation, row);
    return err == ERR_NONE ? taken_entry(&t, &r->act, tx) : err;
}

static void rotate_done(struct write *w)
{
    struct rotation_act *r = (struct rotation_act *)(void *)act_of(w);
    if (w->err == ERR_NONE && r->devices_len == 0)
        atomic_store(&r->identity->rotation_made, true);
    act_done(w);
}

static const struct write_kind rotate_kind = {
    .name = "rotation.create",
    .lane = STORE_LANE_NORMAL,
    .reads = rotate_reads,
    .apply = rotate_apply,
    .done = rotate_done,
};

/* "20261128-5f0c9a31" */
static enum err make_name(char ret_id[NAME_MAX_BYTES + 1])
{
    uint32_t dice;
    enum err err = crypto_random(&dice, sizeof dice);
    if (err != ERR_NONE)
        return err;
    const struct calendar today = calendar_from_seconds(clock_seconds());
    (void)snprintf(ret_id, NAME_MAX_BYTES + 1, "%04d%02u%02u-%08x", today.year, today.month,
                   today.day, (unsigned)dice);
    return ERR_NONE;
}

void identity_rotate(struct identity *identity, const struct act_origin *origin,
                     struct rotation_act *r)
{
    act_init(&r->act, &rotate_kind, identity->ledger, origin);
    r->identity = identity;
    ROW_TEXT(r->rotation.tenant, r->act.tenant);
    ROW_TEXT(r->rotation.actor, r->act.actor);
    enum err err = r->devices_len > IDENTITY_ROTATION_CHUNK ? ERR_LIMIT : make_name(r->rotation.id);
    if (err != ERR_NONE)
        act_end(&r->act, err);
    else
        act_submit(&r->act, identity->store);
}

/* ---- the devices of a query, chunk by chunk ---- */

struct chunk {
    struct act act;
    struct identity *identity;
    struct store_reader *reader;
    struct arena *arena;          /* this stands in it */
    struct rotation_row rotation; /* as it was read; on the writer it must still stand there */
    const char *devices[IDENTITY_ROTATION_CHUNK];
    size_t devices_len;
};
#define CHUNK_ARENA (4 * 1024 * 1024) /* of which reports of devices take at most a quarter */

static void select_reads(const struct write *w, struct keyset *keys)
{
    const struct chunk *c = (const struct chunk *)(const void *)w;
    keyset_add(keys, &table_rotation, &c->rotation);
    reads_devices(keys, c->act.tenant, c->devices, c->devices_len);
}

static enum err select_apply(struct write *w, struct tx *tx)
{
    struct chunk *c = (struct chunk *)(void *)act_of(w);
    struct rotation_row row = rotation_row_of(c->rotation.tenant, c->rotation.id);
    enum err err = tx_get(tx, &table_rotation, &row);
    if (err != ERR_NONE)
        return err;
    /* Cancelled meanwhile, or another hub was first. */
    if (row.phase != ROTATION_SELECTING ||
        !slice_equal(slice_of_text(row.position), slice_of_text(c->rotation.position)))
        return ERR_CONFLICT;
    struct taking t = {.rotation = &row};
    for (size_t i = 0; i < c->devices_len; i++) {
        int64_t state;
        err = take(&t, tx, c->devices[i], &state);
        if (err != ERR_NONE && err != ERR_CONFLICT)
            return err;
        ROW_TEXT(row.position, c->devices[i]);
    }
    if (c->devices_len < IDENTITY_ROTATION_CHUNK) {
        row.phase = ROTATION_RUNNING;
        rotation_settle(&row, tx_now_ms(tx) / 1000);
    }
    err = tx_update(tx, &table_rotation, &row);
    return err == ERR_NONE ? taken_entry(&t, &c->act, tx) : err;
}

static const struct write_kind select_kind = {
    .name = "device.rotate",
    .lane = STORE_LANE_BULK,
    .reads = select_reads,
    .apply = select_apply,
    .done = act_done,
};

static void select_then(struct act *act)
{
    struct chunk *c = (struct chunk *)(void *)act;
    struct identity *identity = c->identity;
    struct store_reader *reader = c->reader;
    struct loop *loop = act->write.loop;
    bool go_on = act->write.err == ERR_NONE;
    arena_free(c->arena);
    identity->selecting = false;
    if (go_on) /* else the next turn tries again */
        identity_select_turn(identity, reader, loop);
}

static enum err find_selecting(void *ctx, const void *row)
{
    struct rotation_row *found = ctx;
    const struct rotation_row *r = row;
    if (found->id[0] == '\0' && r->phase == ROTATION_SELECTING)
        *found = *r;
    return ERR_NONE;
}

static enum err take_name(void *ctx, const void *row)
{
    struct chunk *c = ctx;
    const struct device_row *device = row;
    c->devices[c->devices_len] = arena_text(c->arena, slice_of_text(device->id));
    return c->devices[c->devices_len++] == NULL ? ERR_NO_MEMORY : ERR_NONE;
}

static enum err list_chunk(struct chunk *c)
{
    const struct rotation_row *r = &c->rotation;
    struct store_filter filters[5];
    const struct device_row after = device_row_of(r->tenant, r->position);
    struct store_query query = {.table = &table_device,
                                .filters = filters,
                                .after = &after,
                                .limit = IDENTITY_ROTATION_CHUNK};
    const struct {
        const char *column, *text;
    } texts[] = {
        {"tenant", r->tenant}, {"model", r->model}, {"manifest", r->manifest}, {"owner", r->owner}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i].text[0] != '\0')
            filters[query.filters_len++] = (struct store_filter){
                .column = texts[i].column, .text = slice_of_text(texts[i].text)};
    }
    if (r->state != ROTATION_ANY_STATE)
        filters[query.filters_len++] =
            (struct store_filter){.column = "state", .integer = r->state};
    return store_list(c->reader, &query, c->arena, take_name, c);
}

static enum err find_chunk(struct chunk *c)
{
    const struct store_query all = {.table = &table_rotation, .limit = SIZE_MAX};
    enum err err = store_list(c->reader, &all, c->arena, find_selecting, &c->rotation);
    if (err == ERR_NONE && c->rotation.id[0] == '\0')
        return ERR_NOT_FOUND;
    return err == ERR_NONE ? list_chunk(c) : err;
}

void identity_select_turn(struct identity *identity, struct store_reader *reader, struct loop *loop)
{
    int64_t now = clock_monotonic_ms();
    bool look = atomic_load(&identity->rotation_made) ||
                now - identity->selected_ms >= IDENTITY_SELECT_SECONDS * 1000;
    if (identity->selecting || !look)
        return;
    identity->selected_ms = now;
    struct arena *arena = arena_new(CHUNK_ARENA);
    struct chunk *c = arena == NULL ? NULL : arena_alloc(arena, sizeof *c);
    if (c == NULL) {
        arena_free(arena);
        return;
    }
    c->identity = identity;
    c->reader = reader;
    c->arena = arena;
    atomic_store(&identity->rotation_made, false);
    enum err err = find_chunk(c);
    if (err != ERR_NONE) {
        if (err != ERR_NOT_FOUND)
            atomic_store(&identity->rotation_made, true);
        arena_free(arena);
        return;
    }
    atomic_store(&identity->rotation_made, true); /* until none is found */
    identity->selecting = true;
    const struct act_origin origin = {.loop = loop,
                                      .arena = arena,
                                      .tenant = c->rotation.tenant,
                                      .actor = c->rotation.actor,
                                      .then = select_then};
    act_init(&c->act, &select_kind, identity->ledger, &origin);
    act_submit(&c->act, identity->store);
}

/* ---- its end before its time ---- */

static void cancel_reads(const struct write *w, struct keyset *keys)
{
    const struct rotation_cancel_act *c = (const struct rotation_cancel_act *)(const void *)w;
    const struct rotation_row row = rotation_row_of(c->act.tenant, c->rotation.id);
    keyset_add(keys, &table_rotation, &row);
}

static enum err cancel_entry(struct rotation_cancel_act *c, struct tx *tx)
{
    uint8_t bytes[2048];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "reason", c->reason);
    json_field_integer(&j, "devices", c->rotation.devices);
    json_field_integer(&j, "waiting", identity_rotation_waiting(&c->rotation));
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&c->act, tx, "rotation.cancel", "rotation", c->rotation.id,
                      writer_bytes(&out));
}

/* The marks stay where they are and mean nothing any more: this is as fast for a million devices.
 */
static enum err cancel_apply(struct write *w, struct tx *tx)
{
    struct rotation_cancel_act *c = (struct rotation_cancel_act *)(void *)act_of(w);
    struct rotation_row row = rotation_row_of(c->act.tenant, c->rotation.id);
    enum err err = tx_get(tx, &table_rotation, &row);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "rotation-not-found", "rotation",
                           "there is no rotation '%s'", row.id);
    if (err != ERR_NONE)
        return err;
    if (row.phase != ROTATION_SELECTING && row.phase != ROTATION_RUNNING)
        return problem_set(&w->problem, 409, "rotation-ended", "rotation",
                           "the rotation '%s' is %s already", row.id,
                           rotation_phase_text(row.phase));
    row.phase = ROTATION_CANCELLED;
    row.ended_at = tx_now_ms(tx) / 1000;
    c->rotation = row;
    err = tx_update(tx, &table_rotation, &row);
    return err == ERR_NONE ? cancel_entry(c, tx) : err;
}

static const struct write_kind cancel_kind = {
    .name = "rotation.cancel",
    .lane = STORE_LANE_PRIORITY,
    .reads = cancel_reads,
    .apply = cancel_apply,
    .done = act_done,
};

void identity_cancel_rotation(struct identity *identity, const struct act_origin *origin,
                              struct rotation_cancel_act *c)
{
    act_init(&c->act, &cancel_kind, identity->ledger, origin);
    act_submit(&c->act, identity->store);
}
