#include "base/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/http_status.h"

/* Cuts at a character's start, so that what is left is UTF-8 where `text` was. */
static void copy_cut(char *to, size_t size, const char *text)
{
    size_t n = strlen(text);
    if (n >= size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
            n--;
    }
    memcpy(to, text, n);
    to[n] = '\0';
}

enum err problem_set(struct problem *p, unsigned status, const char *code, const char *field,
                     const char *format, ...)
{
    char detail[sizeof p->detail * 2];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(detail, sizeof detail, format, values);
    va_end(values);
    if (n < 0)
        detail[0] = '\0';
    p->status = status;
    p->code = code;
    copy_cut(p->field, sizeof p->field, field == NULL ? "" : field);
    copy_cut(p->detail, sizeof p->detail, detail);
    return ERR_REFUSED;
}

struct meaning {
    unsigned status;
    const char *code;
    const char *detail;
};

static const struct meaning internal = {
    500, "internal", "The hub could not do this; its log says why. Nothing was changed."};

static const struct meaning meanings[ERR_COUNT] = {
    [ERR_SYNTAX] = {400, "malformed", "The request is malformed; check it against the reference."},
    [ERR_LIMIT] = {413, "too-large", "The request is larger than is taken here; send less."},
    [ERR_UNSUPPORTED] = {400, "unsupported", "This kind or form of request is not taken here."},
    [ERR_BAD_SIGNATURE] = {400, "bad-signature", "A signature in the request does not verify."},
    [ERR_REFUSED] = {403, "refused", "This is not allowed."},
    [ERR_NOT_FOUND] = {404, "not-found", "There is no such thing; check the name."},
    [ERR_EXISTS] = {409, "exists", "There is one of that name or key already."},
    [ERR_CONFLICT] = {409, "conflict", "The state has changed in between; look again and retry."},
    [ERR_EXPIRED] = {403, "expired", "This has expired or is not valid yet."},
    [ERR_BUSY] = {503, "busy", "The hub is busy; retry after a moment."},
    [ERR_TIMEOUT] = {503, "timeout", "It took too long; retry after a moment."},
    [ERR_CLOSED] = {503, "closing", "The hub or a part of it is shutting down; retry later."},
    [ERR_UNAVAILABLE] = {503, "unavailable",
                         "The hub can't reach its database. Nothing was changed; retry after a "
                         "moment."},
    [ERR_IN_DOUBT] = {503, "in-doubt",
                      "The hub lost its database while this was being kept: it may be done or not. "
                      "Look whether it is, then retry."},
    [ERR_NO_MEMORY] = {503, "no-memory", "The hub is out of memory; retry after a moment."},
    [ERR_DISK_FULL] = {507, "disk-full", "The hub's disk is full. Nothing was changed."},
};

void problem_from_err(struct problem *p, enum err err)
{
    if (err == ERR_NONE) {
        *p = (struct problem){0};
        return;
    }
    const struct meaning *m = &internal;
    if ((unsigned)err < ERR_COUNT && meanings[err].status != 0)
        m = &meanings[err];
    (void)problem_set(p, m->status, m->code, NULL, "%s", m->detail);
}

/* No "type": RFC 9457 section 4.2.1 lets it be "about:blank", and then the title is the status's
 * phrase. What programs act on is "code". */
void problem_write(struct writer *w, const struct problem *p)
{
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "title", http_status_phrase(p->status));
    json_field_integer(&j, "status", (int64_t)p->status);
    json_field_text(&j, "code", p->code == NULL ? "internal" : p->code);
    if (p->field[0] != '\0')
        json_field_text(&j, "field", p->field);
    json_field_text(&j, "detail", p->detail);
    json_close_object(&j);
}
