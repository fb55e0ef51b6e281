/* The devices that a rotation waits for: how each leaves it, and what keeps the others. */
#include <string.h>

#include "base/clock.h"
#include "hub/identity/internal.h"

static bool same_text(const char *a, const char *b)
{
    return slice_equal(slice_of_text(a), slice_of_text(b));
}

static struct rotation_device_row waiting_row_of(const char *tenant, const char *rotation,
                                                 const char *device)
{
    struct rotation_device_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.rotation, rotation);
    ROW_TEXT(row.device, device);
    return row;
}

static bool is_open(const struct rotation_row *row)
{
    return row->phase == ROTATION_SELECTING || row->phase == ROTATION_RUNNING;
}

/* ---- leaving ---- */

int64_t identity_rotation_waiting(const struct rotation_row *row)
{
    return row->devices - row->renewed - row->moved - row->gone;
}

void rotation_settle(struct rotation_row *row, int64_t now)
{
    if (row->phase != ROTATION_RUNNING || identity_rotation_waiting(row) > 0)
        return;
    row->phase = ROTATION_COMPLETE;
    row->ended_at = now;
}

enum err rotation_leave(struct tx *tx, struct device_row *device, enum leave how)
{
    if (device->rotation[0] == '\0')
        return ERR_NONE;
    struct rotation_row row = rotation_row_of(device->tenant, device->rotation);
    enum err err = tx_get(tx, &table_rotation, &row);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    if (is_open(&row)) { /* else nothing counts any more */
        const struct rotation_device_row waiting =
            waiting_row_of(device->tenant, device->rotation, device->id);
        err = tx_delete(tx, &table_rotation_device, &waiting);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
        int64_t *const counts[] = {
            [LEAVE_RENEWED] = &row.renewed, [LEAVE_MOVED] = &row.moved, [LEAVE_GONE] = &row.gone};
        ++*counts[how];
        rotation_settle(&row, tx_now_ms(tx) / 1000);
        err = tx_update(tx, &table_rotation, &row);
        if (err != ERR_NONE)
            return err;
    }
    device->rotation[0] = '\0';
    device->renew_at = 0;
    return ERR_NONE;
}

enum err rotation_confirmed(struct tx *tx, struct device_row *device, const char *serial)
{
    if (device->rotation[0] == '\0')
        return ERR_NONE;
    struct rotation_device_row waiting =
        waiting_row_of(device->tenant, device->rotation, device->id);
    enum err err = tx_get(tx, &table_rotation_device, &waiting);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    return same_text(waiting.held, serial) ? ERR_NONE : rotation_leave(tx, device, LEAVE_RENEWED);
}

/* ---- tries ---- */

enum err rotation_issued(struct tx *tx, const struct device_row *device, const char *serial,
                         bool same_key)
{
    if (device->rotation[0] == '\0')
        return ERR_NONE;
    struct rotation_device_row waiting =
        waiting_row_of(device->tenant, device->rotation, device->id);
    enum err err = tx_get(tx, &table_rotation_device, &waiting);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    const char *problem = same_key ? "key-not-fresh" : "";
    if (!same_key && same_text(waiting.problem, problem))
        return ERR_NONE;
    if (same_key)
        ROW_TEXT(waiting.held, serial);
    ROW_TEXT(waiting.problem, problem);
    return tx_update(tx, &table_rotation_device, &waiting);
}

struct refusal_write {
    struct write write;
    struct arena *arena; /* this stands in it */
    struct rotation_device_row waiting;
};
#define REFUSAL_ARENA (8 * 1024)

static void refusal_reads(const struct write *w, struct keyset *keys)
{
    const struct refusal_write *r = (const struct refusal_write *)(const void *)w;
    keyset_add(keys, &table_rotation_device, &r->waiting);
}

static enum err refusal_apply(struct write *w, struct tx *tx)
{
    const struct refusal_write *r = CONTAINER_OF(w, struct refusal_write, write);
    struct rotation_device_row waiting = r->waiting;
    enum err err = tx_get(tx, &table_rotation_device, &waiting);
    if (err != ERR_NONE)
        return err; /* it has left */
    ROW_TEXT(waiting.problem, r->waiting.problem);
    return tx_update(tx, &table_rotation_device, &waiting);
}

static void refusal_done(struct write *w)
{
    arena_free(CONTAINER_OF(w, struct refusal_write, write)->arena);
}

static const struct write_kind refusal_kind = {
    .name = "rotation.refusal",
    .lane = STORE_LANE_BULK,
    .reads = refusal_reads,
    .apply = refusal_apply,
    .done = refusal_done,
};

/* An observation, so no entry; and no write where it says nothing new. */
void rotation_refused(struct identity *identity, const struct enrolment *e,
                      struct store_reader *reader)
{
    struct arena *arena = e->act.write.arena;
    const char *code = e->act.write.problem.code;
    struct device_row device = device_row_of(e->act.tenant, e->device);
    bool one_of_ours =
        e->authenticator == AUTHENTICATOR_CERTIFICATE || e->authenticator == AUTHENTICATOR_EXPIRED;
    if (!one_of_ours || code == NULL ||
        store_get(reader, &table_device, arena, &device) != ERR_NONE || device.rotation[0] == '\0')
        return;
    struct rotation_device_row waiting = waiting_row_of(device.tenant, device.rotation, device.id);
    if (store_get(reader, &table_rotation_device, arena, &waiting) != ERR_NONE ||
        same_text(waiting.problem, code))
        return;
    struct arena *own = arena_new(REFUSAL_ARENA);
    struct refusal_write *r = own == NULL ? NULL : arena_alloc(own, sizeof *r);
    if (r == NULL) {
        arena_free(own);
        return;
    }
    *r = (struct refusal_write){
        .write = {.kind = &refusal_kind, .loop = e->act.write.loop, .arena = own},
        .arena = own,
        .waiting = waiting};
    ROW_TEXT(r->waiting.problem, code);
    if (store_submit(identity->store, &r->write) != ERR_NONE)
        arena_free(own);
}

/* ---- asking ---- */

enum err identity_renewal_asked(struct store_reader *reader, const struct device_view *view,
                                struct arena *arena, bool *ret_asked)
{
    *ret_asked = false;
    if (view->rotation[0] == '\0' || view->renew_at > clock_seconds())
        return ERR_NONE;
    struct rotation_row row = rotation_row_of(view->tenant, view->rotation);
    struct rotation_device_row waiting = waiting_row_of(view->tenant, view->rotation, view->device);
    enum err err = store_get(reader, &table_rotation, arena, &row);
    if (err == ERR_NONE)
        err = store_get(reader, &table_rotation_device, arena, &waiting);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE; /* it has left between two looks */
    if (err != ERR_NONE)
        return err;
    /* One that shows a newer certificate for the first time has done it: that is just being
     * written down. */
    *ret_asked = is_open(&row) && (view->certificate.status == CERTIFICATE_ACTIVE ||
                                   same_text(view->certificate.serial, waiting.held));
    return ERR_NONE;
}

/* ---- who is still waited for, and why ---- */

static const char *why(const struct rotation_row *rotation, const struct rotation_device_row *row,
                       const struct device_row *device, const struct certificate_row *newest,
                       int64_t seen_at)
{
    int64_t now = clock_seconds();
    if (!is_open(rotation))
        return "cancelled";
    if (device->state == DEVICE_QUARANTINED)
        return "quarantined";
    if (newest->not_after <= now)
        return "expired";
    if (device->state == DEVICE_ENROLLED)
        return "not-trusted";
    if (row->problem[0] != '\0')
        return "refused";
    if (newest->status == CERTIFICATE_ISSUED && !same_text(newest->serial, row->held))
        return "not-confirmed";
    if (row->due_at > now)
        return "not-due";
    return seen_at < row->due_at ? "not-seen" : "not-renewed";
}

enum err identity_straggler(struct store_reader *reader, struct arena *arena,
                            const struct rotation_row *rotation,
                            const struct rotation_device_row *row, struct straggler *ret_straggler)
{
    struct device_row device = device_row_of(row->tenant, row->device);
    enum err err = store_get(reader, &table_device, arena, &device);
    if (err != ERR_NONE)
        return err;
    struct certificate_row newest = certificate_row_of(device.certificate);
    err = store_get(reader, &table_certificate, arena, &newest);
    if (err != ERR_NONE)
        return err;
    struct device_seen_row seen = {0};
    ROW_TEXT(seen.tenant, row->tenant);
    ROW_TEXT(seen.device, row->device);
    err = store_get(reader, &table_device_seen, arena, &seen);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    *ret_straggler = (struct straggler){
        .state = device.state,
        .seen_at = seen.seen_at,
        .why = why(rotation, row, &device, &newest, seen.seen_at),
    };
    return ERR_NONE;
}
