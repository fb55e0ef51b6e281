/* What the device tells the hub once it has an identity: that it is there, and what it is. */
#include "core/json_write.h"
#include "device/lib/internal.h"

#define JSON_TYPE   "application/json"
#define CHECKIN_MAX 512

/* ---- check-in ---- */

static enum err write_checkin(struct device *d, int slot, struct slice *ret_body)
{
    const struct device_options *o = d->options;
    bool pending = d->state.slots[slot].use == SLOT_PENDING;
    struct writer w = writer_over(d->decoded, CHECKIN_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "agent_version", o->agent_version);
    json_field_integer(&j, "uptime_seconds", device_monotonic(d) / 1000);
    if (o->boot_id != NULL)
        json_field_text(&j, "boot_id", o->boot_id);
    json_field_time(&j, "certificate_expires_at", pending ? d->pending_not_after : d->not_after);
    json_field_integer(&j, "ledger_size", (int64_t)d->ledger.size);
    if (d->ledger.finding != LEDGER_SOUND)
        json_field_text(&j, "ledger_finding", ledger_finding_text(d->ledger.finding));
    json_close_object(&j);
    if (w.err == ERR_NONE)
        *ret_body = writer_bytes(&w);
    return w.err;
}

static bool read_number(struct device *d, const char *name, uint64_t *ret_number)
{
    struct slice value;
    if (!http1_response_header(&d->answer, name, &value))
        return false;
    struct reader r = reader_over(value);
    uint64_t number = reader_decimal(&r, UINT64_MAX);
    if (reader_finish(&r) != ERR_NONE)
        return false;
    *ret_number = number;
    return true;
}

/* The hub asks for a new key. It says so until the new certificate was used, so what was begun is
 * not begun again; and never so often that a hub in the wrong hands could wear out the storage. */
static void follow_rotation(struct device *d)
{
    int64_t now = device_monotonic(d);
    if (state_slot(&d->state, SLOT_PENDING) >= 0 || now < d->rotation_ms)
        return;
    d->rotation_ms = now + DEVICE_ROTATION_MIN * INT64_C(1000);
    device_renew(d);
    device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_ROTATION_ASKED});
}

/* What a hub that is believed asks for. */
static void read_wishes(struct device *d)
{
    uint64_t number;
    struct slice rotation;
    if (read_number(d, "Holdfast-Next-Checkin", &number)) {
        uint64_t bounded = number < DEVICE_CHECKIN_MIN   ? DEVICE_CHECKIN_MIN
                           : number > DEVICE_CHECKIN_MAX ? DEVICE_CHECKIN_MAX
                                                         : number;
        d->checkin_interval = (int64_t)bounded;
    }
    if (http1_response_header(&d->answer, "Holdfast-Rotation", &rotation))
        follow_rotation(d);
}

/* A bundle is signed by its owner: so it may come from a hub that is believed nothing else. */
static void read_bundle_offer(struct device *d)
{
    uint64_t number;
    if (read_number(d, "Holdfast-Trust-Bundle", &number) && number > d->bundle.version &&
        number != d->offered_bundle) {
        d->offered_bundle = number;
        device_due_now(d, TASK_BUNDLE);
    }
}

enum err contact_checkin(struct device *d)
{
    int slot = identity_slot(d);
    if (slot < 0)
        return ERR_EXPIRED;
    struct request q = {.endpoint = ENDPOINT_HUB,
                        .client = (enum client)slot,
                        .method = "POST",
                        .target = "/v1/device/checkin",
                        .content_type = JSON_TYPE};
    enum err err = write_checkin(d, slot, &q.body);
    if (err == ERR_NONE)
        err = exchange(d, &q);
    if (err != ERR_NONE)
        return err;
    err = exchange_outcome(d, d->status == 200 ? 200 : 204);
    if (err != ERR_NONE && !d->waiting)
        return err;
    /* A device that is not trusted yet is told so by name: its certificate was taken. */
    enum err accepted = identity_accepted(d, slot);
    if (err != ERR_NONE || accepted != ERR_NONE)
        return accepted != ERR_NONE ? accepted : err;
    read_bundle_offer(d);
    err = ledger_take(d);
    if (err != ERR_NONE)
        return err;
    read_wishes(d);
    device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_CHECKED_IN});
    return ERR_NONE;
}

/* ---- report ---- */

static enum err write_report(struct device *d, struct slice *ret_body)
{
    const struct device_options *o = d->options;
    struct writer w = writer_over(d->decoded, DEVICE_REPORT_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "agent_version", o->agent_version);
    json_field_text(&j, "platform", o->platform);
    json_field_text(&j, "key_storage", o->key_storage == NULL ? "unknown" : o->key_storage);
    json_key(&j, "facts");
    json_open_object(&j);
    for (size_t i = 0; i < o->facts_len; i++)
        json_field_text(&j, o->facts[i].name, o->facts[i].value);
    json_close_object(&j);
    json_close_object(&j);
    if (w.err == ERR_NONE)
        *ret_body = writer_bytes(&w);
    return w.err;
}

enum err contact_prepare(struct device *d)
{
    if (d->options->facts_len > DEVICE_FACTS_MAX)
        return ERR_LIMIT;
    struct slice body;
    enum err err = write_report(d, &body);
    if (err == ERR_NONE)
        d->port->sha256(&body, 1, d->report_sha256);
    return err;
}

bool contact_report_differs(const struct device *d)
{
    return !d->state.reported || memcmp(d->state.report_sha256, d->report_sha256, SHA256_SIZE) != 0;
}

enum err contact_report(struct device *d)
{
    int slot = identity_slot(d);
    if (slot < 0)
        return ERR_EXPIRED;
    struct request q = {.endpoint = ENDPOINT_HUB,
                        .client = (enum client)slot,
                        .method = "PUT",
                        .target = "/v1/device/report",
                        .content_type = JSON_TYPE};
    enum err err = write_report(d, &q.body);
    if (err == ERR_NONE)
        err = exchange(d, &q);
    if (err == ERR_NONE)
        err = exchange_outcome(d, 204);
    if (err != ERR_NONE)
        return err;
    struct state next = d->state;
    next.reported = true;
    memcpy(next.report_sha256, d->report_sha256, SHA256_SIZE);
    err = device_commit(d, &next);
    if (err == ERR_NONE)
        device_tell(d, &(struct device_event){.kind = DEVICE_EVENT_REPORTED});
    return err;
}
