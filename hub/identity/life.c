/* The moves in a device's life that people make, and the two a device makes by being used: the
 * confirmation of a new certificate, and its reports. */
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

static void move_reads(const struct write *w, struct keyset *keys)
{
    const struct move_act *m = (const struct move_act *)(const void *)w;
    const struct device_row device = device_row_of(m->act.tenant, m->device);
    keyset_add(keys, &table_device, &device);
    const struct device_password_row password = password_row_of(m->act.tenant, m->device);
    keyset_add(keys, &table_device_password, &password);
    if (m->keys_touched) {
        const struct device_grace_row grace = grace_row_of(m->act.tenant, m->device);
        keyset_add(keys, &table_device_grace, &grace);
    }
}

static enum err move_entry(struct move_act *m, struct tx *tx, const char *verb, int64_t from,
                           const char *reason)
{
    uint8_t bytes[2048];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "from", device_state_text(from));
    json_field_text(&j, "to", device_state_text(m->state));
    json_field_text(&j, "reason", reason);
    if (m->keys_touched)
        json_field_text(&j, "keys", "touched");
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&m->act, tx, verb, "device", m->device, writer_bytes(&out));
}

static enum err move_apply(struct write *w, struct tx *tx)
{
    struct move_act *m = (struct move_act *)(void *)act_of(w);
    const struct move_rule *rule = &moves[m->move];
    struct device_row device = device_row_of(m->act.tenant, m->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", m->device);
    if (err != ERR_NONE)
        return err;
    /* That keys were touched may come out when the device is in quarantine already. */
    unsigned from_states = rule->from | (m->keys_touched ? FROM(DEVICE_QUARANTINED) : 0);
    if ((from_states & FROM(device.state)) == 0)
        return problem_set(&w->problem, 409, "move-not-possible", "device",
                           "'%s' is %s; that can't be made %s", m->device,
                           device_state_text(device.state), device_state_text(rule->to));
    int64_t from = device.state;
    m->state = device.state = rule->to;
    /* Out of quarantine a device gets back what it had: one that never proved itself is enrolled.
     */
    if (m->move == MOVE_RELEASE && device.was_trusted == 0)
        m->state = device.state = DEVICE_ENROLLED;
    if (device.state == DEVICE_TRUSTED)
        device.was_trusted = 1;
    err = reason_keep(m->subjects, &device, m->reason, device.reason);
    if (err != ERR_NONE)
        return err;
    device.changed_at = tx_now_ms(tx) / 1000;
    if (rule->certificates != NULL && rule->certificates->ends)
        err = rotation_leave(tx, &device, LEAVE_GONE);
    if (err == ERR_NONE)
        err = tx_update(tx, &table_device, &device);
    bool ends = rule->certificates != NULL && rule->certificates->ends;
    if (err == ERR_NONE && (ends || m->keys_touched))
        err = password_end(tx, m->act.tenant, m->device);
    if (err == ERR_NONE && m->keys_touched)
        err = grace_close(tx, m->act.tenant, m->device, GRACE_CLOSED);
    if (err == ERR_NONE && rule->certificates != NULL)
        err = certificates_change(&m->act, tx, &device, rule->certificates);
    return err != ERR_NONE ? err : move_entry(m, tx, rule->verb, from, device.reason);
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
