#include "cli/device_show.h"

#include <string.h>

#include "base/clock.h"
#include "cli/cut.h"
#include "cli/when.h"

enum text_colour device_colour(const char *state)
{
    static const struct {
        const char *state;
        enum text_colour colour;
    } colours[] = {
        {"trusted", COLOUR_GOOD}, {"enrolled", COLOUR_WARN}, {"quarantined", COLOUR_WARN},
        {"revoked", COLOUR_BAD},  {"retired", COLOUR_DIM},   {"active", COLOUR_GOOD},
    };
    for (size_t i = 0; i < ARRAY_LEN(colours); i++)
        if (strcmp(colours[i].state, state) == 0)
            return colours[i].colour;
    return COLOUR_NONE;
}

static void show_time(const char *label, const json_t *object, const char *name, int64_t now)
{
    int64_t seconds = json_time_of(object, name);
    if (seconds == 0)
        return;
    char text[WHEN_TEXT_MAX];
    when_full(seconds, now, text);
    text_pair(label, text, COLOUR_NONE);
}

static void show_certificate(const json_t *c, int64_t now)
{
    if (c == NULL)
        return;
    const char *status = json_text_of(c, "status");
    text_pair("certificate", json_text_of(c, "serial"), COLOUR_NONE);
    text_pair("  status", status, device_colour(status));
    text_pair("  SHA-256", json_text_of(c, "sha256"), COLOUR_NONE);
    show_time("  issued", c, "issued_at", now);
    show_time("  first used", c, "first_used_at", now);
    show_time("  until", c, "not_after", now);
}

static void show_password(const json_t *p, int64_t now)
{
    if (p == NULL)
        return;
    text_pair("password", "the weaker kind: whoever hears it once has it", COLOUR_WARN);
    show_time("  made", p, "made_at", now);
    show_time("  first used", p, "used_at", now);
    show_time("  until", p, "expires_at", now);
    show_time("  one before", p, "previous_until", now);
}

static void show_report(const json_t *d, int64_t now)
{
    const json_t *r = json_object_get(d, "report");
    if (r == NULL)
        return;
    show_time("reported", d, "reported_at", now);
    text_pair("  agent", json_text_or_null(r, "agent_version"), COLOUR_NONE);
    text_pair("  platform", json_text_or_null(r, "platform"), COLOUR_NONE);
    text_pair("  key storage", json_text_or_null(r, "key_storage"), COLOUR_NONE);
    const char *name;
    json_t *value, *facts = json_object_get(r, "facts");
    json_object_foreach(facts, name, value)
    {
        char label[80];
        (void)snprintf(label, sizeof label, "  %.64s", name);
        text_pair(label, json_string_value(value), COLOUR_NONE);
    }
}

/* What is there to do about a device that stays out? One thing, or nothing. */
static void show_grace(const json_t *d, int64_t now)
{
    const json_t *grace = json_object_get(d, "grace");
    if (grace == NULL)
        return;
    char until[WHEN_TEXT_MAX] = "", text[256];
    const char *state = json_text_of(grace, "state"), *id = json_text_of(d, "id");
    if (json_time_of(grace, "until") != 0)
        when_full(json_time_of(grace, "until"), now, until);
    bool out = false;
    if (strcmp(state, "open") == 0)
        (void)snprintf(text, sizeof text, "comes back by itself until %s", until);
    else if (strcmp(state, "readmitted") == 0)
        (void)snprintf(text, sizeof text, "may come back once, until %s", until);
    else if (strcmp(state, "closed") == 0)
        out =
            snprintf(text, sizeof text, "closed by an incident that may have touched its keys") > 0;
    else
        out = snprintf(text, sizeof text, "over since %s", until) > 0;
    text_pair("grace", text, out ? COLOUR_WARN : COLOUR_NONE);
    const json_t *newest = json_object_get(d, "certificate");
    bool closed = strcmp(state, "closed") == 0;
    if (!closed && (newest == NULL || json_time_of(newest, "not_after") > now))
        return;
    if (!closed && strcmp(json_text_of(d, "state"), "quarantined") == 0)
        (void)snprintf(text, sizeof text, "holdfast device release %s --reason WHY", id);
    else if (out)
        (void)snprintf(text, sizeof text, "holdfast device readmit %s --reason WHY", id);
    else
        return;
    text_pair("next step", text, COLOUR_BOLD);
}

void device_show(const json_t *d)
{
    int64_t now = clock_seconds();
    char owner[32];
    const char *state = json_text_of(d, "state");
    text_pair("device", json_text_of(d, "id"), COLOUR_BOLD);
    text_pair("state", state, device_colour(state));
    text_pair("reason", json_text_or_null(d, "reason"), COLOUR_NONE);
    show_time("since", d, "changed_at", now);
    text_pair("model", json_text_of(d, "model"), COLOUR_NONE);
    text_pair("maker", json_text_of(d, "maker"), COLOUR_NONE);
    text_pair("owner", json_owner_of(d, owner), COLOUR_NONE);
    text_pair("manifest", json_text_of(d, "manifest"), COLOUR_NONE);
    text_pair("group", json_text_or_null(d, "group"), COLOUR_NONE);
    text_pair("proves by", json_text_of(d, "credential"), COLOUR_NONE);
    show_time("claim until", d, "claim_expires_at", now);
    show_time("claim used", d, "claim_used_at", now);
    show_time("expected", d, "created_at", now);
    show_time("last seen", d, "seen_at", now);
    if (json_object_get(d, "checkins") != NULL) {
        char count[WHEN_TEXT_MAX];
        when_count((uint64_t)json_number_of(d, "checkins"), count);
        text_pair("check-ins", count, COLOUR_NONE);
    }
    show_certificate(json_object_get(d, "certificate"), now);
    show_password(json_object_get(d, "password"), now);
    cut_show(json_object_get(d, "cut"));
    cut_show_waiting(json_object_get(d, "cut_waiting"), json_text_of(d, "id"), now);
    show_grace(d, now);
    show_report(d, now);
}
