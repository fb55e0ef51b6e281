#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_backend.h"
#include "core/calendar.h"

#define FACILITY_DAEMON 3
#define VALUE_MAX       1024 /* bytes of a value in a line: one must not push out all others */
#define CUT             "..."

static const char *const level_names[] = {[LOG_LEVEL_ERROR] = "error",
                                          [LOG_LEVEL_WARNING] = "warning",
                                          [LOG_LEVEL_NOTICE] = "notice",
                                          [LOG_LEVEL_INFO] = "info",
                                          [LOG_LEVEL_DEBUG] = "debug"};
static const char *const target_names[] = {[LOG_TARGET_STDERR] = "stderr",
                                           [LOG_TARGET_SYSLOG] = "syslog",
                                           [LOG_TARGET_JOURNAL] = "journal"};

static _Atomic(enum log_level) lowest = LOG_LEVEL_NOTICE;
static enum log_target target = LOG_TARGET_STDERR;
static const char *program = "holdfast";
static log_backend_fn *journal;

static pthread_mutex_t syslog_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *syslog_path = "/dev/log";
static int syslog_fd = -1;

/* How the special characters of a place are written. */
enum style { STYLE_QUOTED, STYLE_SYSLOG };

/* The length of the UTF-8 character at the start of `s`, or 0 where there is none. */
static size_t utf8_length(struct slice s)
{
    uint8_t c = s.data[0];
    size_t n = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : (c & 0xF0) == 0xE0 ? 3 : 4;
    if (c >= 0xF5 || (c >= 0x80 && c < 0xC2) || s.len < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s.data[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (c == 0xE0 && s.data[1] < 0xA0) || (c == 0xF0 && s.data[1] < 0x90);
    bool beyond = (c == 0xED && s.data[1] > 0x9F) || (c == 0xF4 && s.data[1] > 0x8F);
    return overlong || beyond ? 0 : n;
}

/* Control characters, C1 among them, and the invisible ones around U+2000 that turn or hide text
 * (marks, separators, embeddings, isolates; the byte order mark) may deceive whoever reads a log.
 */
static bool is_deceptive(struct slice c)
{
    if (c.len == 1)
        return c.data[0] < 0x20 || c.data[0] == 0x7F;
    if (c.len == 2)
        return c.data[0] == 0xC2 && c.data[1] < 0xA0;
    if (c.len != 3)
        return false;
    unsigned code = (c.data[0] & 15U) << 12 | (c.data[1] & 63U) << 6 | (c.data[2] & 63U);
    return (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;
}

/* One character, or one byte that is none, as it stands in a log. Returns how many bytes of `s` it
 * took; *ret_len bytes are in `to`. */
static size_t escape_one(struct slice s, enum style style, char to[16], size_t *ret_len)
{
    size_t n = utf8_length(s);
    struct writer w = writer_over(to, 16);
    if (n == 0 || is_deceptive(slice_of(s.data, n))) {
        n = n == 0 ? 1 : n;
        for (size_t i = 0; i < n; i++) {
            writer_text(&w, "\\x");
            writer_hex(&w, slice_of(s.data + i, 1));
        }
    } else {
        uint8_t c = s.data[0];
        if (c == '"' || c == '\\' || (c == ']' && style == STYLE_SYSLOG))
            writer_u8(&w, '\\');
        writer_put(&w, slice_of(s.data, n));
    }
    *ret_len = w.len;
    return n;
}

static bool needs_quotes(struct slice value)
{
    if (value.len == 0)
        return true;
    for (size_t at = 0; at < value.len;) {
        struct slice rest = slice_of(value.data + at, value.len - at);
        size_t n = utf8_length(rest);
        uint8_t c = rest.data[0];
        if (n == 0 || c == ' ' || c == '"' || c == '=' || c == '\\' ||
            is_deceptive(slice_of(rest.data, n)))
            return true;
        at += n;
    }
    return false;
}

/* Fills at most `room` bytes; what does not fit is marked with CUT. */
static void write_escaped(struct writer *w, struct slice value, enum style style, size_t room)
{
    size_t end = w->len + room;
    while (value.len > 0) {
        char one[16];
        size_t len;
        size_t taken = escape_one(value, style, one, &len);
        size_t reserve = taken == value.len ? 0 : sizeof CUT - 1;
        if (w->len + len + reserve > end) {
            writer_text(w, CUT);
            return;
        }
        writer_put(w, slice_of(one, len));
        value = slice_of(value.data + taken, value.len - taken);
    }
}

struct slice log_field_bytes(const struct log_field *field, char digits[24])
{
    switch (field->kind) {
    case LOG_FIELD_SLICE:
        return field->value.slice;
    case LOG_FIELD_INTEGER: {
        int64_t v = field->value.integer;
        struct writer w = writer_over(digits, 24);
        if (v < 0)
            writer_u8(&w, '-');
        writer_decimal(&w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
        return writer_bytes(&w);
    }
    case LOG_FIELD_TEXT:
        break;
    }
    return slice_of_text(field->value.text == NULL ? "" : field->value.text);
}

/* Space for a value behind `overhead` more bytes, CUT's included; 0 where there is none. */
static size_t value_room(const struct writer *w, size_t overhead)
{
    size_t left = w->max - w->len;
    overhead += sizeof CUT;
    return left <= overhead ? 0 : left - overhead < VALUE_MAX ? left - overhead : VALUE_MAX;
}

void log_write_fields(struct writer *w, const char *event, const struct log_field *fields)
{
    write_escaped(w, slice_of_text(event), STYLE_QUOTED, 64);
    for (; fields->name != NULL; fields++) {
        char digits[24];
        struct slice value = log_field_bytes(fields, digits);
        size_t room = value_room(w, strlen(fields->name) + 4);
        if (room < 16) {
            writer_text(w, CUT);
            return;
        }
        bool quoted = needs_quotes(value) || value.len > room;
        writer_u8(w, ' ');
        writer_text(w, fields->name);
        writer_text(w, quoted ? "=\"" : "=");
        write_escaped(w, value, STYLE_QUOTED, room);
        if (quoted)
            writer_u8(w, '"');
    }
}

/* RFC 3339 with milliseconds: calendar.h's form, cut before its "Z". */
static void write_time(struct writer *w)
{
    int64_t now = clock_milliseconds();
    char text[32];
    struct writer seconds = writer_over(text, sizeof text);
    calendar_write_rfc3339(&seconds, now / 1000);
    writer_put(w, slice_of(text, seconds.len == 0 ? 0 : seconds.len - 1));
    writer_u8(w, '.');
    for (int64_t digit = 100; digit > 0; digit /= 10)
        writer_u8(w, (uint8_t)('0' + now / digit % 10));
    writer_u8(w, 'Z');
}

static void send_to_stderr(enum log_level level, const char *event, const struct log_field *fields)
{
    char line[LOG_LINE_MAX];
    struct writer w = writer_over(line, sizeof line - 1);
    write_time(&w);
    writer_u8(&w, ' ');
    writer_text(&w, level_names[level]);
    writer_u8(&w, ' ');
    log_write_fields(&w, event, fields);
    line[w.len++] = '\n';
    /* one write a line: lines of several threads and processes do not mix */
    ssize_t n;
    do {
        n = write(STDERR_FILENO, line, w.len);
    } while (n < 0 && errno == EINTR);
}

/* A header field of RFC 5424 section 6: printable US-ASCII or "-". */
static void write_header_field(struct writer *w, const char *text, size_t max)
{
    size_t n = 0;
    writer_u8(w, ' ');
    for (; text[n] != '\0' && n < max; n++)
        writer_u8(w, (uint8_t)(text[n] > ' ' && text[n] < 0x7F ? text[n] : '?'));
    if (n == 0)
        writer_u8(w, '-');
}

/* 32473 is the enterprise number set aside for documentation (RFC 5612); the project has none. */
static void write_syslog(struct writer *w, enum log_level level, const char *event,
                         const struct log_field *fields)
{
    char host[256] = "", digits[24];
    (void)gethostname(host, sizeof host - 1);
    writer_u8(w, '<');
    writer_decimal(w, FACILITY_DAEMON * 8 + (unsigned)level);
    writer_text(w, ">1 ");
    write_time(w);
    write_header_field(w, host, 255);
    write_header_field(w, program, 48);
    writer_u8(w, ' ');
    writer_decimal(w, (uint64_t)getpid());
    write_header_field(w, event, 32);
    writer_text(w, fields->name == NULL ? " -" : " [holdfast@32473");
    for (const struct log_field *f = fields; f->name != NULL; f++) {
        size_t room = value_room(w, strlen(f->name) + sizeof " =\"\"] " + 64);
        if (room < 16)
            break;
        writer_u8(w, ' ');
        writer_text(w, f->name);
        writer_text(w, "=\"");
        write_escaped(w, log_field_bytes(f, digits), STYLE_SYSLOG, room);
        writer_u8(w, '"');
    }
    writer_text(w, fields->name == NULL ? " " : "] ");
    write_escaped(w, slice_of_text(event), STYLE_QUOTED, 60);
}

static bool syslog_connect(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(syslog_path);
    if (n >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, syslog_path, n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        (void)close(fd);
        return false;
    }
    if (syslog_fd >= 0)
        (void)close(syslog_fd);
    syslog_fd = fd;
    return true;
}

/* Does not wait for a syslog daemon that is stuck: the event then goes to standard error. One that
 * was started anew is connected to again. */
static bool send_to_syslog(enum log_level level, const char *event, const struct log_field *fields)
{
    char datagram[LOG_LINE_MAX];
    struct writer w = writer_over(datagram, sizeof datagram);
    write_syslog(&w, level, event, fields);
    (void)pthread_mutex_lock(&syslog_lock);
    ssize_t n = -1;
    for (int attempt = 0; attempt < 2 && n < 0; attempt++) {
        n = send(syslog_fd, datagram, w.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        bool gone = errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET;
        if (n < 0 && (!gone || !syslog_connect()))
            break;
    }
    (void)pthread_mutex_unlock(&syslog_lock);
    return n >= 0;
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields)
{
    if (level < LOG_LEVEL_ERROR || level > LOG_LEVEL_DEBUG || level > atomic_load(&lowest))
        return;
    int saved = errno;
    bool sent = false;
    if (target == LOG_TARGET_SYSLOG)
        sent = send_to_syslog(level, event, fields);
    else if (target == LOG_TARGET_JOURNAL && journal != NULL)
        sent = journal(level, program, event, fields);
    if (!sent)
        send_to_stderr(level, event, fields);
    errno = saved;
}

void log_set_journal(log_backend_fn *fn)
{
    journal = fn;
}

void log_set_syslog_path(const char *path)
{
    syslog_path = path;
}

enum err log_open(enum log_target to, enum log_level level, const char *name)
{
    if (to == LOG_TARGET_JOURNAL && journal == NULL)
        return ERR_UNSUPPORTED;
    if (to == LOG_TARGET_SYSLOG && !syslog_connect())
        return ERR_IO;
    target = to;
    program = name;
    atomic_store(&lowest, level);
    return ERR_NONE;
}

enum err log_target_read(const char *text, enum log_target *ret_target)
{
    for (size_t i = 0; i < ARRAY_LEN(target_names); i++) {
        if (strcmp(text, target_names[i]) == 0) {
            *ret_target = (enum log_target)i;
            return ERR_NONE;
        }
    }
    return ERR_SYNTAX;
}

enum err log_level_read(const char *text, enum log_level *ret_level)
{
    for (size_t i = LOG_LEVEL_ERROR; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return ERR_NONE;
        }
    }
    return ERR_SYNTAX;
}
