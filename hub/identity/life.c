/* The moves in a device's life that people make, and the two a device makes by being used: the
 * confirmation of a new certificate, and its reports. */
#include <stdio.h>

#include "base/crypto.h"
#include "hub/identity/internal.h"

/* ---- approve, quarantine, release, revoke, retire ---- */

struct move_rule {
    const char *verb;
    unsigned from; /* mask of 1 << state */
    int64_t to;
    const struct certificate_change *certificates; /* NULL: they stay as they are */
};

#define FROM(state) (1u << (state))
#define FROM_LIVING                                                                                \
    (FROM(DEVICE_EXPECTED) | FROM(DEVICE_ENROLLED) | FROM(DEVICE_TRUSTED) |                        \
     FROM(DEVICE_QUARANTINED))

static const struct certificate_change held = {.reason = REASON_CERTIFICATE_HOLD};
static const struct certificate_change let_go = {.reason = REASON_REMOVE_FROM_CRL};
static const struct certificate_change revoked = {
    .ends = true, .status = CERTIFICATE_REVOKED, .reason = REASON_PRIVILEGE_WITHDRAWN};
static const struct certificate_change retired = {
    .ends = true, .status = CERTIFICATE_RETIRED, .reason = REASON_CESSATION_OF_OPERATION};

static const struct move_rule moves[] = {
    [MOVE_APPROVE] = {.verb = "device.approve",
                      .from = FROM(DEVICE_ENROLLED),
                      .to = DEVICE_TRUSTED},
    [MOVE_QUARANTINE] = {.verb = "device.quarantine",
                         .from = FROM(DEVICE_ENROLLED) | FROM(DEVICE_TRUSTED),
                         .to = DEVICE_QUARANTINED,
                         .certificates = &held},
    [MOVE_RELEASE] = {.verb = "device.release",
                      .from = FROM(DEVICE_QUARANTINED),
                      .to = DEVICE_TRUSTED,
                      .certificates = &let_go},
    [MOVE_REVOKE] = {.verb = "device.revoke",
                     .from = FROM_LIVING,
                     .to = DEVICE_REVOKED,
                     .certificates = &revoked},
    [MOVE_RETIRE] = {.verb = "device.retire",
                     .from = FROM_LIVING,
                     .to = DEVICE_RETIRED,
                     .certificates = &retired},
};

bool identity_can_move(enum device_move move, int64_t state)
{
    return state >= 0 && state < DEVICE_STATE_COUNT && (moves[move].from & FROM(state)) != 0;
}

void life_reads(struct keyset *keys, const char *tenant, const char *id, enum device_move move,
                bool keys_touched)
{
    const struct device_row device = device_row_of(tenant, id);
    keyset_add(keys, &table_device, &device);
    const struct cut_waiting_row waiting = cut_waiting_row_of(tenant, id);
    keyset_add(keys, &table_cut_waiting, &waiting);
    const struct device_cut_row cut = cut_row_of(tenant, id);
    if (move != MOVE_APPROVE)
        keyset_add(keys, &table_device_cut, &cut);
    const struct device_password_row password = password_row_of(tenant, id);
    if (move != MOVE_APPROVE)
        keyset_add(keys, &table_device_password, &password);
    const struct device_grace_row grace = grace_row_of(tenant, id);
    if (keys_touched || move == MOVE_RELEASE)
        keyset_add(keys, &table_device_grace, &grace);
}

static enum err move_entry(const struct moving *m, struct tx *tx, const struct device_row *device,
                           int64_t from)
{
    uint8_t bytes[2048];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "from", device_state_text(from));
    json_field_text(&j, "to", device_state_text(device->state));
    json_field_text(&j, "reason", device->reason);
    if (m->keys_touched)
        json_field_text(&j, "keys", "touched");
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(m->act, tx, moves[m->move].verb, "device", device->id, writer_bytes(&out));
}

static enum err check_move(const struct moving *m, struct tx *tx, const struct device_row *device,
                           const char *field)
{
    const struct move_rule *rule = &moves[m->move];
    /* That keys were touched may come out when the device is in quarantine already. */
    unsigned from_states = rule->from | (m->keys_touched ? FROM(DEVICE_QUARANTINED) : 0);
    if ((from_states & FROM(device->state)) == 0)
        return problem_set(&m->act->write.problem, 409, "move-not-possible", field,
                           "'%s' is %s; that can't be made %s", device->id,
                           device_state_text(device->state), device_state_text(rule->to));
    return m->move == MOVE_RELEASE
               ? incident_check_release(tx, device, field, &m->act->write.problem)
               : ERR_NONE;
}

/* What else changes with the device's row. */
static enum err move_rest(const struct moving *m, struct tx *tx, const struct device_row *device)
{
    const struct move_rule *rule = &moves[m->move];
    enum err err = cut_waiting_end(tx, device->tenant, device->id);
    if (err == ERR_NONE && m->keys_touched)
        err = grace_close(tx, device->tenant, device->id, GRACE_CLOSED);
    bool ends = rule->certificates != NULL && rule->certificates->ends;
    if (err == ERR_NONE && (ends || m->keys_touched))
        err = password_end(tx, device->tenant, device->id);
    if (err == ERR_NONE && rule->certificates != NULL)
        err = certificates_change(m->act, tx, device, rule->certificates);
    if (err != ERR_NONE || m->move == MOVE_APPROVE)
        return err;
    return m->move == MOVE_RELEASE ? cut_end(tx, device->tenant, device->id)
                                   : cut_begin(m->act, tx, device->id, device->state);
}

enum err life_move(const struct moving *m, struct tx *tx, struct device_row *device,
                   int64_t *ret_entry)
{
    const struct move_rule *rule = &moves[m->move];
    int64_t from = device->state;
    device->state = rule->to;
    /* Out of quarantine a device gets back what it had: one that never proved itself is enrolled.
     */
    if (m->move == MOVE_RELEASE && device->was_trusted == 0)
        device->state = DEVICE_ENROLLED;
    if (device->state == DEVICE_TRUSTED)
        device->was_trusted = 1;
    device->changed_at = tx_now_ms(tx) / 1000;
    enum err err = reason_keep(m->subjects, device, m->reason, device->reason);
    if (err == ERR_NONE && rule->certificates != NULL && rule->certificates->ends)
        err = rotation_leave(tx, device, LEAVE_GONE);
    if (err == ERR_NONE)
        err = tx_update(tx, &table_device, device);
    if (err == ERR_NONE)
        err = move_rest(m, tx, device);
    *ret_entry = (int64_t)ledger_next(m->act->ledger);
    return err != ERR_NONE ? err : move_entry(m, tx, device, from);
}

static enum err find_device(struct write *w, struct tx *tx, const char *field,
                            struct device_row *device)
{
    enum err err = tx_get(tx, &table_device, device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", field, "there is no device '%s'",
                           device->id);
    return err;
}

/* ---- one device ---- */

static void move_reads(const struct write *w, struct keyset *keys)
{
    const struct move_act *m = (const struct move_act *)(const void *)w;
    life_reads(keys, m->act.tenant, m->device, m->move, m->keys_touched);
}

static enum err move_apply(struct write *w, struct tx *tx)
{
    struct move_act *m = (struct move_act *)(void *)act_of(w);
    const struct moving moving = {.act = &m->act,
                                  .move = m->move,
                                  .keys_touched = m->keys_touched,
                                  .reason = m->reason,
                                  .subjects = m->subjects};
    struct device_row device = device_row_of(m->act.tenant, m->device);
    enum err err = find_device(w, tx, "device", &device);
    if (err == ERR_NONE)
        err = check_move(&moving, tx, &device, "device");
    if (err == ERR_NONE)
        err = life_move(&moving, tx, &device, &m->entry);
    m->state = device.state;
    return err;
}

static const struct write_kind move_kind = {
    .name = "device.move",
    .lane = STORE_LANE_PRIORITY,
    .reads = move_reads,
    .apply = move_apply,
    .done = act_done,
};

void identity_move(struct identity *identity, const struct act_origin *origin, struct move_act *m)
{
    act_init(&m->act, &move_kind, identity->ledger, origin);
    m->subjects = identity->subjects;
    act_submit(&m->act, identity->store);
}

/* ---- several in one write ---- */

static void moves_reads(const struct write *w, struct keyset *keys)
{
    const struct moves_act *m = (const struct moves_act *)(const void *)w;
    for (size_t i = 0; i < m->devices_len; i++)
        life_reads(keys, m->act.tenant, m->devices[i].id, m->move, m->keys_touched);
}

/* Whoever is there already stays as it is: so a command that was broken off can be given again. */
static enum err is_there(const struct moving *m, struct tx *tx, const struct device_row *device,
                         bool *ret_there)
{
    struct device_grace_row grace = grace_row_of(device->tenant, device->id);
    *ret_there = m->move == MOVE_RELEASE
                     ? device->state == DEVICE_TRUSTED || device->state == DEVICE_ENROLLED
                     : device->state == moves[m->move].to;
    if (!*ret_there || !m->keys_touched)
        return ERR_NONE;
    enum err err = tx_get(tx, &table_device_grace, &grace);
    *ret_there = err == ERR_NONE && grace.closed_before == GRACE_CLOSED;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err move_listed(const struct moving *moving, struct tx *tx, struct moves_act *m,
                            size_t i)
{
    char field[32];
    struct moved_device *moved = &m->devices[i];
    struct write *w = &m->act.write;
    struct device_row device = device_row_of(m->act.tenant, moved->id);
    moved->entry = -1;
    moved->problem = NULL;
    (void)snprintf(field, sizeof field, "devices[%zu].id", i);
    enum err err = find_device(w, tx, field, &device);
    bool there = false;
    if (err == ERR_NONE)
        err = is_there(moving, tx, &device, &there);
    if (err == ERR_NONE && !there)
        err = check_move(moving, tx, &device, field);
    if (err == ERR_NONE && !there)
        err = life_move(moving, tx, &device, &moved->entry);
    moved->state = device.state;
    if (err != ERR_REFUSED || !m->passes_over)
        return err;
    moved->problem = w->problem.code;
    w->problem = (struct problem){0};
    return ERR_NONE;
}

static size_t named_first(const struct moves_act *m, size_t i)
{
    size_t k = 0;
    while (!slice_equal(slice_of_text(m->devices[k].id), slice_of_text(m->devices[i].id)))
        k++;
    return k;
}

static enum err moves_apply(struct write *w, struct tx *tx)
{
    struct moves_act *m = (struct moves_act *)(void *)act_of(w);
    const struct moving moving = {.act = &m->act,
                                  .move = m->move,
                                  .keys_touched = m->keys_touched,
                                  .reason = m->reason,
                                  .subjects = m->subjects};
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < m->devices_len; i++) {
        size_t first = named_first(m, i);
        if (first == i)
            err = move_listed(&moving, tx, m, i);
        else
            m->devices[i] = (struct moved_device){
                .id = m->devices[i].id, .state = m->devices[first].state, .entry = -1};
    }
    return err;
}

static const struct write_kind moves_kind = {
    .name = "device.move",
    .lane = STORE_LANE_PRIORITY,
    .reads = moves_reads,
    .apply = moves_apply,
    .done = act_done,
};

void identity_move_all(struct identity *identity, const struct act_origin *origin,
                       struct moves_act *m)
{
    act_init(&m->act, &moves_kind, identity->ledger, origin);
    m->subjects = identity->subjects;
    if (m->devices_len > IDENTITY_CUT_MAX)
        act_end(&m->act, ERR_LIMIT);
    else
        act_submit(&m->act, identity->store);
}

/* ---- reports ---- */

static void report_reads(const struct write *w, struct keyset *keys)
{
    const struct report_act *r = (const struct report_act *)(const void *)w;
    const struct device_row device = device_row_of(r->act.tenant, r->device);
    keyset_add(keys, &table_device, &device);
}

static enum err report_apply(struct write *w, struct tx *tx)
{
    struct report_act *r = (struct report_act *)(void *)act_of(w);
    struct device_row device = device_row_of(r->act.tenant, r->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err != ERR_NONE)
        return err;
    if (device.state != DEVICE_TRUSTED)
        return problem_set(&w->problem, 403, "device-not-trusted", "",
                           "this device is %s; its reports are not taken",
                           device_state_text(device.state));
    struct hash hash;
    crypto_sha256_one(r->report, hash.bytes);
    if (memcmp(hash.bytes, device.report_hash.bytes, sizeof hash.bytes) == 0)
        return ERR_NONE;
    device.report = r->report;
    device.report_hash = hash;
    device.reported_at = tx_now_ms(tx) / 1000;
    err = tx_update(tx, &table_device, &device);
    if (err != ERR_NONE)
        return err;
    return act_append(&r->act, tx, "device.report", "device", r->device, r->report);
}

static const struct write_kind report_kind = {
    .name = "device.report",
    .lane = STORE_LANE_NORMAL,
    .reads = report_reads,
    .apply = report_apply,
    .done = act_done,
};

void identity_report(struct identity *identity, const struct act_origin *origin,
                     struct report_act *r)
{
    act_init(&r->act, &report_kind, identity->ledger, origin);
    act_submit(&r->act, identity->store);
}
