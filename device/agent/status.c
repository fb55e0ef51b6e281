#include "device/agent/status.h"

#include "core/base64.h"
#include "core/calendar.h"
#include "core/json_write.h"

static const char *identity_of(const struct state *s)
{
    if (state_slot(s, SLOT_ACTIVE) >= 0)
        return "in use";
    int pending = state_slot(s, SLOT_PENDING);
    return pending >= 0 && s->slots[pending].issued ? "issued" : "none";
}

static void write_json(struct writer *w, const char *serial, const struct state *s,
                       struct slice telemetry)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "serial", serial);
    json_field_text(&j, "identity", identity_of(s));
    json_field_integer(&j, "trust_bundle", (int64_t)s->bundle_version);
    json_key(&j, "ledger");
    json_open_object(&j);
    json_field_integer(&j, "size", (int64_t)s->ledger.size);
    json_field_hex(&j, "root", slice_of(s->ledger.root.bytes, sizeof s->ledger.root.bytes));
    json_key(&j, "finding");
    if (s->ledger.finding == LEDGER_SOUND) {
        json_none(&j);
    } else {
        json_text(&j, ledger_finding_text(s->ledger.finding));
        json_field_time(&j, "found_at", s->ledger.found_at);
    }
    json_close_object(&j);
    json_key(&j, "telemetry");
    if (telemetry.len > 0)
        json_raw(&j, telemetry);
    else
        json_none(&j);
    json_close_object(&j);
    writer_text(w, "\n");
}

/* Size and root as a checkpoint has them, to be held against one. */
static void write_lines(struct writer *w, const char *serial, const struct state *s,
                        struct slice telemetry)
{
    writer_text(w, "serial        ");
    writer_text(w, serial);
    writer_text(w, "\nidentity      ");
    writer_text(w, identity_of(s));
    writer_text(w, "\ntrust bundle  version ");
    writer_decimal(w, s->bundle_version);
    writer_text(w, "\nledger        ");
    writer_decimal(w, s->ledger.size);
    writer_text(w, " entries seen");
    if (s->ledger.size > 0) {
        writer_text(w, ", root ");
        base64_write(w, slice_of(s->ledger.root.bytes, sizeof s->ledger.root.bytes));
    }
    if (s->ledger.finding != LEDGER_SOUND) {
        writer_text(w, "\nfinding       the ledger that the hub shows is ");
        writer_text(w, ledger_finding_text(s->ledger.finding));
        writer_text(w, ", since ");
        calendar_write_rfc3339(w, s->ledger.found_at);
        writer_text(w, "; nothing but a newer trust bundle is taken from it");
    }
    if (telemetry.len > 0) {
        writer_text(w, "\ntelemetry     ");
        writer_put(w, telemetry);
    }
    writer_text(w, "\n");
}

void status_write(struct writer *w, const char *serial, const struct state *state,
                  struct slice telemetry, bool json)
{
    if (json)
        write_json(w, serial, state, telemetry);
    else
        write_lines(w, serial, state, telemetry);
}
