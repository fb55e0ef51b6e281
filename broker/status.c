#include "broker/status.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/json_write.h"

#define LEAST_MS 1000
#define TOLD_MS  30000 /* also where nothing is new: so that a dead plugin shows */

static void write_contact(const struct broker *b, struct json_writer *j)
{
    struct contact_now now;
    contact_now(&now);
    int64_t stale = contact_stale(&b->contact, &now);
    json_field_bool(j, "in_touch", b->contact.in_touch);
    json_key(j, "last_contact");
    if (b->contact.answered == 0)
        json_none(j);
    else
        json_time(j, b->contact.answered);
    json_key(j, "stale_seconds"); /* null: it is not known since when */
    if (stale == CONTACT_STALE_EVER)
        json_none(j);
    else
        json_number(j, stale);
    json_field_text(j, "trouble", b->trouble);
}

static void write_status(const struct broker *b, struct writer *w)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "software", b->software);
    write_contact(b, &j);
    json_field_bool(&j, "caught_up", b->caught_up);
    json_field_integer(&j, "position", (int64_t)b->position);
    json_key(&j, "rules");
    if (b->has_rules)
        json_number(&j, (int64_t)b->rules.version);
    else
        json_none(&j);
    json_field_integer(&j, "devices", table_known(b->table));
    json_field_integer(&j, "sessions", sessions_len(b->sessions));
    json_field_integer(&j, "remembered", traces_len(b->traces));
    json_field_integer(&j, "cuts_open",
                       b->cuts.count[CUT_TO_END] + b->cuts.count[CUT_TO_CLEAN] +
                           b->cuts.count[CUT_TO_REPORT]);
    json_key(&j, "refusals");
    json_open_object(&j);
    for (unsigned kind = 0; kind < REFUSAL_KINDS; kind++)
        json_field_integer(&j, refusal_text(kind), (int64_t)b->reports.total[kind]);
    json_close_object(&j);
    json_close_object(&j);
    writer_u8(w, '\n');
}

/* No flush: after a power cut an older one, or none, is as good. */
static void replace(const char *path, struct slice bytes)
{
    char path_new[CONFIG_TEXT_MAX + 8];
    (void)snprintf(path_new, sizeof path_new, "%s.new", path);
    int fd = open(path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return;
    bool ok = write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(path_new, path) != 0)
        (void)unlink(path_new);
}

void status_write(struct broker *b)
{
    char text[sizeof b->status_text];
    struct writer w = writer_over(text, sizeof text);
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms - b->status_ms < LEAST_MS)
        return;
    broker_lock(b);
    write_status(b, &w);
    broker_unlock(b);
    bool same = w.len == b->status_len && memcmp(text, b->status_text, w.len) == 0;
    if (w.err != ERR_NONE || (same && now_ms - b->status_ms < TOLD_MS))
        return;
    memcpy(b->status_text, text, w.len);
    b->status_len = w.len;
    b->status_ms = now_ms;
    replace(b->settings.status, writer_bytes(&w));
}
