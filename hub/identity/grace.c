/* Grace: the way back for a device that slept past the end of its certificate. Within its model's
 * window it is open; an incident that may have touched the device's keys closes it; and a person
 * may let the device in once, whatever either of them says. */
#include "base/clock.h"
#include "hub/identity/internal.h"

#define LEDGER_HEAD 1 /* the id of the one row */

struct device_grace_row grace_row_of(const char *tenant, const char *device)
{
    struct device_grace_row row = {0};
    ROW_TEXT(row.tenant, tenant);
    ROW_TEXT(row.device, device);
    return row;
}

/* A clock that was set back must not open again what was over. The ledger's last entry says what
 * time it has been already. */
static enum err latest_time(const struct row_source *rows, int64_t *ret_seconds)
{
    struct ledger_head_row head = {.id = LEDGER_HEAD};
    enum err err = row_source_get(rows, &table_ledger_head, &head);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    int64_t now = clock_seconds();
    *ret_seconds = err == ERR_NONE && head.changed_at > now ? head.changed_at : now;
    return ERR_NONE;
}

enum err grace_is_approved(const struct row_source *rows, const struct device_grace_row *row,
                           bool *ret_approved)
{
    int64_t now = 0;
    enum err err = row->approved_until == 0 ? ERR_NONE : latest_time(rows, &now);
    if (err == ERR_NONE)
        *ret_approved = now < row->approved_until;
    return err;
}

enum err grace_judge(const struct row_source *rows, const struct model_row *model,
                     const struct certificate_row *used, struct identity_grace *ret_grace)
{
    int64_t now = 0;
    struct device_grace_row row = grace_row_of(used->tenant, used->device);
    enum err err = latest_time(rows, &now);
    if (err == ERR_NONE)
        err = row_source_get(rows, &table_device_grace, &row);
    if (err != ERR_NONE && err != ERR_NOT_FOUND)
        return err;
    struct identity_grace g = {.until = used->not_after + model->grace,
                               .closed_before = row.closed_before,
                               .approved_until = row.approved_until};
    bool closed = used->issued_at < row.closed_before;
    if (!closed && now < g.until) {
        g.state = GRACE_STATE_OPEN;
    } else if (now < row.approved_until) {
        g.state = GRACE_STATE_READMITTED;
        g.until = row.approved_until;
    } else if (row.closed_before == GRACE_CLOSED) {
        g.state = GRACE_STATE_CLOSED;
        g.until = 0;
    } else {
        g.state = GRACE_STATE_OVER;
        if (closed && row.closed_before < g.until)
            g.until = row.closed_before;
    }
    *ret_grace = g;
    return ERR_NONE;
}

static enum err put_row(struct tx *tx, const struct device_grace_row *row, bool there)
{
    return there ? tx_update(tx, &table_device_grace, row)
                 : tx_insert(tx, &table_device_grace, row);
}

static enum err get_row(struct tx *tx, struct device_grace_row *row, bool *ret_there)
{
    enum err err = tx_get(tx, &table_device_grace, row);
    *ret_there = err == ERR_NONE;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err grace_close(struct tx *tx, const char *tenant, const char *device, int64_t closed_before)
{
    bool there;
    struct device_grace_row row = grace_row_of(tenant, device);
    enum err err = get_row(tx, &row, &there);
    row.closed_before = closed_before;
    row.approved_until = 0;
    return err == ERR_NONE ? put_row(tx, &row, there) : err;
}

enum err grace_close_before(struct tx *tx, const char *tenant, const char *device, int64_t moment)
{
    bool there;
    struct device_grace_row row = grace_row_of(tenant, device);
    enum err err = get_row(tx, &row, &there);
    if (err != ERR_NONE || row.closed_before >= moment)
        return err;
    row.closed_before = moment;
    row.approved_until = 0;
    return put_row(tx, &row, there);
}

enum err identity_grace(struct store_reader *reader, struct arena *arena,
                        const struct device_row *device, struct identity_grace *ret_grace)
{
    struct row_source rows = {.reader = reader, .arena = arena};
    struct model_row model = model_row_of(device->tenant, device->model);
    struct certificate_row used = certificate_row_of(device->confirmed);
    bool living = device->state != DEVICE_REVOKED && device->state != DEVICE_RETIRED;
    if (used.serial[0] == '\0' || !living)
        return ERR_NOT_FOUND;
    enum err err = row_source_get(&rows, &table_certificate, &used);
    if (err == ERR_NONE)
        err = row_source_get(&rows, &table_model, &model);
    if (err == ERR_NONE)
        err = grace_judge(&rows, &model, &used, ret_grace);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
    if (ret_grace->state == GRACE_STATE_OPEN && ret_grace->approved_until > ret_grace->until) {
        ret_grace->state = GRACE_STATE_READMITTED;
        ret_grace->until = ret_grace->approved_until;
    }
    /* Of a certificate that is in date, only what somebody has decided is worth a word. */
    bool usual = ret_grace->state == GRACE_STATE_OPEN || ret_grace->state == GRACE_STATE_OVER;
    return usual && used.not_after > clock_seconds() ? ERR_NOT_FOUND : ERR_NONE;
}

/* ---- a person lets it in, once ---- */

static void readmit_reads(const struct write *w, struct keyset *keys)
{
    const struct readmit_act *r = (const struct readmit_act *)(const void *)w;
    const struct device_row device = device_row_of(r->act.tenant, r->device);
    keyset_add(keys, &table_device, &device);
    const struct device_grace_row grace = grace_row_of(r->act.tenant, r->device);
    keyset_add(keys, &table_device_grace, &grace);
}

static enum err readmit_entry(struct readmit_act *r, struct tx *tx, const struct device_row *device)
{
    char reason[SEALED_TEXT_SIZE];
    enum err err = reason_keep(r->subjects, device, r->reason, reason);
    if (err != ERR_NONE)
        return err;
    uint8_t bytes[2048];
    struct writer out = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&out);
    json_open_object(&j);
    json_field_text(&j, "reason", reason);
    json_field_time(&j, "expires_at", r->expires_at);
    json_close_object(&j);
    if (out.err != ERR_NONE)
        return out.err;
    return act_append(&r->act, tx, "device.readmit", "device", r->device, writer_bytes(&out));
}

static enum err check_readmit(struct readmit_act *r, const struct device_row *device,
                              const struct device_grace_row *grace, int64_t now)
{
    struct problem *p = &r->act.write.problem;
    if (r->expires_at <= now || r->expires_at > now + IDENTITY_READMIT_MAX)
        return problem_set(p, 400, "field-value", "expires_at",
                           "say a time within the next 90 days");
    /* Where its keys were touched it needs a new one before it is released. */
    if (device->state == DEVICE_QUARANTINED && grace->closed_before != GRACE_CLOSED)
        return problem_set(p, 409, "not-readmittable", "device",
                           "'%s' is in quarantine; `holdfast device release` comes first",
                           device->id);
    if (device->state == DEVICE_EXPECTED)
        return problem_set(p, 409, "not-readmittable", "device",
                           "'%s' has not enrolled yet; it comes with what its manifest says",
                           device->id);
    if (device->state == DEVICE_REVOKED || device->state == DEVICE_RETIRED)
        return problem_set(p, 409, "not-readmittable", "device", "'%s' is %s, and that is final",
                           device->id, device_state_text(device->state));
    if (device->confirmed[0] == '\0')
        return problem_set(p, 409, "not-readmittable", "device",
                           "'%s' has never used a certificate; it asks again with what it "
                           "enrolled with",
                           device->id);
    return ERR_NONE;
}

static enum err readmit_apply(struct write *w, struct tx *tx)
{
    bool there;
    struct readmit_act *r = (struct readmit_act *)(void *)act_of(w);
    struct device_row device = device_row_of(r->act.tenant, r->device);
    struct device_grace_row row = grace_row_of(r->act.tenant, r->device);
    enum err err = tx_get(tx, &table_device, &device);
    if (err == ERR_NOT_FOUND)
        return problem_set(&w->problem, 404, "device-not-found", "device",
                           "there is no device '%s'", r->device);
    if (err == ERR_NONE)
        err = get_row(tx, &row, &there);
    if (err == ERR_NONE)
        err = check_readmit(r, &device, &row, tx_now_ms(tx) / 1000);
    if (err != ERR_NONE)
        return err;
    row.approved_until = r->expires_at;
    err = put_row(tx, &row, there);
    return err != ERR_NONE ? err : readmit_entry(r, tx, &device);
}

static const struct write_kind readmit_kind = {
    .name = "device.readmit",
    .lane = STORE_LANE_NORMAL,
    .reads = readmit_reads,
    .apply = readmit_apply,
    .done = act_done,
};

void identity_readmit(struct identity *identity, const struct act_origin *origin,
                      struct readmit_act *r)
{
    act_init(&r->act, &readmit_kind, identity->ledger, origin);
    r->subjects = identity->subjects;
    act_submit(&r->act, identity->store);
}
