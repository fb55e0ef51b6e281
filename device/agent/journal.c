#include "device/agent/journal.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "core/calendar.h"

#define FIELDS_MAX 9
#define TIME_SIZE  21
#define HASH_SIZE  (2 * SHA256_SIZE + 1)
#define HINT_SIZE  256

/* A heartbeat is nothing to speak of; what a person should look at is. */
static enum log_level level_of(enum device_event_kind kind)
{
    switch (kind) {
    case DEVICE_EVENT_CHECKED_IN:
        return LOG_LEVEL_DEBUG;
    case DEVICE_EVENT_KEY_MADE:
    case DEVICE_EVENT_ENROLLED:
    case DEVICE_EVENT_RENEWED:
    case DEVICE_EVENT_CONFIRMED:
    case DEVICE_EVENT_KEY_RETIRED:
    case DEVICE_EVENT_ROTATION_ASKED:
    case DEVICE_EVENT_REPORTED:
    case DEVICE_EVENT_BUNDLE_FOLLOWED:
    case DEVICE_EVENT_WAITING:
    case DEVICE_EVENT_LEDGER_SOUND:
        return LOG_LEVEL_NOTICE;
    case DEVICE_EVENT_BUNDLE_REJECTED:
    case DEVICE_EVENT_FAILED:
    case DEVICE_EVENT_STORAGE_FAILED:
        return LOG_LEVEL_WARNING;
    case DEVICE_EVENT_CERTIFICATE_REJECTED:
    case DEVICE_EVENT_REFUSED:
    case DEVICE_EVENT_LEDGER_REFUSED:
    case DEVICE_EVENT_COUNT:
        break;
    }
    return LOG_LEVEL_ERROR;
}

/* The one next step, where the hub has said why. */
static const char *hint_of_refusal(const struct device_event *e, char buffer[HINT_SIZE])
{
    static const struct {
        const char *code;
        const char *format;
    } hints[] = {
        {"grace-over", "it slept too long; ask its operator to run: holdfast device readmit %s"},
        {"grace-closed", "an incident may have touched its keys; ask its operator to run: holdfast "
                         "device readmit %s"},
        {"device-quarantined", "ask its operator; what lets it in: holdfast device release %s"},
        {"certificate-not-current", "its identity was replaced: somebody else may have come back "
                                    "in the place of %s; tell its operator"},
    };
    const char *slash = strrchr(e->name, '/');
    for (size_t i = 0; i < ARRAY_LEN(hints) && slash != NULL; i++) {
        if (strcmp(e->code, hints[i].code) != 0)
            continue;
        (void)snprintf(buffer, HINT_SIZE, hints[i].format, slash + 1);
        return buffer;
    }
    return "the hub does not let this device in; its operator can say why";
}

/* What lies behind an error, where its own text would leave a person alone with it. */
static const char *hint_of(const struct device_event *e, char buffer[HINT_SIZE])
{
    if (e->kind == DEVICE_EVENT_REFUSED)
        return hint_of_refusal(e, buffer);
    if (e->kind == DEVICE_EVENT_LEDGER_REFUSED)
        return "the hub does not show the ledger it showed before: it was set back, replaced or "
               "taken over; it is believed again once its owner signs a newer trust bundle";
    if (e->kind != DEVICE_EVENT_FAILED || e->status != 0)
        return NULL;
    switch (e->err) {
    case ERR_BAD_SIGNATURE:
        return "the server did not prove that it is the hub of the trust bundle";
    case ERR_EXPIRED:
        return "the server's certificate is not valid at this device's time; is the clock right?";
    case ERR_CLOSED:
        return "the hub could not be reached, or ended the connection";
    case ERR_TIMEOUT:
        return "the hub did not answer in time";
    case ERR_NOT_FOUND:
        return "the hub's name was not found, or the claim file is missing";
    default:
        return NULL;
    }
}

static bool is_about_ledger(enum device_event_kind kind)
{
    return kind == DEVICE_EVENT_LEDGER_REFUSED || kind == DEVICE_EVENT_LEDGER_SOUND;
}

static const char *write_time(char buffer[TIME_SIZE], int64_t seconds)
{
    struct writer w = writer_over(buffer, TIME_SIZE - 1);
    calendar_write_rfc3339(&w, seconds);
    buffer[w.err == ERR_NONE ? w.len : 0] = '\0';
    return buffer;
}

static const char *write_hash(char buffer[HASH_SIZE], const uint8_t *hash)
{
    struct writer w = writer_over(buffer, HASH_SIZE - 1);
    writer_hex(&w, slice_of(hash, SHA256_SIZE));
    buffer[w.len] = '\0';
    return buffer;
}

void journal_device_event(const struct device_event *e)
{
    struct log_field fields[FIELDS_MAX + 1];
    char time[TIME_SIZE], hash[HASH_SIZE], text[HINT_SIZE];
    const char *hint = hint_of(e, text);
    size_t n = 0;
    if (e->name[0] != '\0')
        fields[n++] = F_TEXT("device", e->name);
    if (e->task[0] != '\0')
        fields[n++] = F_TEXT("task", e->task);
    if (e->err != ERR_NONE)
        fields[n++] = F_ERR(e->err);
    if (e->status != 0)
        fields[n++] = F_INTEGER("status", (int64_t)e->status);
    if (e->code[0] != '\0')
        fields[n++] = F_TEXT("code", e->code);
    if (e->delay_ms > 0)
        fields[n++] = F_INTEGER("retry_ms", e->delay_ms);
    /* no kind of event has more than two of these */
    if (e->time != 0)
        fields[n++] = F_TEXT("expires", write_time(time, e->time));
    else if (e->number != 0)
        fields[n++] = F_INTEGER(is_about_ledger(e->kind) ? "size" : "version", (int64_t)e->number);
    else if (e->hash != NULL)
        fields[n++] = F_TEXT("key_sha256", write_hash(hash, e->hash));
    if (hint != NULL)
        fields[n++] = F_TEXT("hint", hint);
    fields[n] = (struct log_field){.name = NULL};
    log_fields(level_of(e->kind), device_event_text(e->kind), fields);
}

/* ---- telemetry ---- */

static enum log_level level_of_mqtt(enum publisher_event_kind kind)
{
    switch (kind) {
    case PUBLISHER_CONNECTED:
        return LOG_LEVEL_NOTICE;
    case PUBLISHER_FAILED:
    case PUBLISHER_TALLY:
        return LOG_LEVEL_WARNING;
    default:
        return LOG_LEVEL_ERROR;
    }
}

static const char *hint_of_mqtt(const struct publisher_event *e)
{
    switch (e->kind) {
    case PUBLISHER_REFUSED:
        return "the broker does not let this device in: is it trusted, and may its model reach "
               "mqtt?";
    case PUBLISHER_CUT:
        return "the broker was told to end this session; its operator can say why";
    case PUBLISHER_REPLACED:
        return "somebody else is connected with this device's identity: another program with its "
               "key, or a thief; tell its operator";
    case PUBLISHER_TALLY:
        if (e->reason == MQTT_NOT_AUTHORIZED)
            return "the policy does not let this device publish there, so large or so often";
        return e->dropped > 0 ? "there was no room for all that waited" : NULL;
    default:
        break;
    }
    switch (e->err) {
    case ERR_BAD_SIGNATURE:
        return "the server did not prove that it is a broker of this fleet of that name";
    case ERR_EXPIRED:
        return "the broker's certificate is not valid at this device's time";
    case ERR_NOT_FOUND:
        return "the broker's name was not found";
    case ERR_IO:
    case ERR_CLOSED:
        return "the broker could not be reached, or ended the connection";
    case ERR_TIMEOUT:
        return "the broker did not answer in time";
    default:
        return NULL;
    }
}

void journal_publisher_event(const struct publisher_event *e, const char *broker,
                             const char *serial)
{
    struct log_field fields[FIELDS_MAX + 1];
    const char *hint = hint_of_mqtt(e);
    size_t n = 0;
    fields[n++] = F_TEXT("device", serial);
    fields[n++] = F_TEXT("broker", broker);
    if (e->err != ERR_NONE)
        fields[n++] = F_ERR(e->err);
    if (e->reason != 0)
        fields[n++] = F_INTEGER("reason", e->reason);
    if (e->delay_ms > 0)
        fields[n++] = F_INTEGER("retry_ms", e->delay_ms);
    if (e->refused > 0)
        fields[n++] = F_INTEGER("refused", (int64_t)e->refused);
    if (e->dropped > 0)
        fields[n++] = F_INTEGER("dropped", (int64_t)e->dropped);
    if (e->topic.len > 0)
        fields[n++] = F_SLICE("topic", e->topic);
    if (hint != NULL)
        fields[n++] = F_TEXT("hint", hint);
    fields[n] = (struct log_field){.name = NULL};
    log_fields(level_of_mqtt(e->kind), publisher_event_text(e->kind), fields);
}
