#include "base/log_journal.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/log_backend.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define FIELDS_MAX     32 /* of one event; what is more stands in MESSAGE only */
#define BYTES_MAX      (LOG_LINE_MAX * 2)

static void add(struct writer *w, struct iovec *parts, size_t *n, const char *name,
                struct slice value)
{
    struct writer before = *w;
    writer_text(w, name);
    writer_u8(w, '=');
    writer_put(w, value);
    if (w->err != ERR_NONE) {
        *w = before;
        return;
    }
    parts[(*n)++] =
        (struct iovec){.iov_base = w->start + before.len, .iov_len = w->len - before.len};
}

/* "device" -> "HOLDFAST_DEVICE" */
static void journal_name(const char *name, char to[64])
{
    struct writer w = writer_over(to, 63);
    writer_text(&w, "HOLDFAST_");
    for (; *name != '\0' && w.len < w.max; name++)
        writer_u8(&w, (uint8_t)(*name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name));
    to[w.len] = '\0';
}

static bool send_to_journal(enum log_level level, const char *program, const char *event,
                            const struct log_field *fields)
{
    /* the library takes events for a journal that is not there, and drops them */
    if (access(JOURNAL_SOCKET, W_OK) != 0)
        return false;
    char bytes[BYTES_MAX], message[LOG_LINE_MAX], digits[24], name[64];
    const char priority = (char)('0' + (int)level);
    struct iovec parts[FIELDS_MAX];
    size_t n = 0;
    struct writer text = writer_over(message, sizeof message);
    log_write_fields(&text, event, fields);
    struct writer w = writer_over(bytes, sizeof bytes);
    add(&w, parts, &n, "MESSAGE", writer_bytes(&text));
    add(&w, parts, &n, "PRIORITY", slice_of(&priority, 1));
    add(&w, parts, &n, "SYSLOG_IDENTIFIER", slice_of_text(program));
    add(&w, parts, &n, "HOLDFAST_EVENT", slice_of_text(event));
    for (; fields->name != NULL && n < FIELDS_MAX; fields++) {
        journal_name(fields->name, name);
        add(&w, parts, &n, name, log_field_bytes(fields, digits));
    }
    return sd_journal_sendv(parts, (int)n) == 0;
}

void log_journal_enable(void)
{
    log_set_journal(send_to_journal);
}
