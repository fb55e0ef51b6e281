/* Structured logs: an event name and typed fields, to standard error (logfmt), syslog (RFC 5424
 * over /dev/log) or the journal. One line an event, peer text escaped, never a secret.
 *
 *   log_event(LOG_LEVEL_NOTICE, "device.enrolled", F_TEXT("device", id), F_INTEGER("ms", ms));
 *
 * Programs log; libraries return errors. A process under sandbox_compute_only() logs to standard
 * error: connecting anew to a syslog that was restarted would kill it. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};
enum log_target { LOG_TARGET_STDERR, LOG_TARGET_SYSLOG, LOG_TARGET_JOURNAL };

struct log_field {
    const char *name; /* lower case, digits, underscore; NULL ends the list */
    enum { LOG_FIELD_TEXT, LOG_FIELD_SLICE, LOG_FIELD_INTEGER } kind;
    union {
        const char *text; /* NULL is written as an empty text */
        struct slice slice;
        int64_t integer;
    } value;
};
#define F_TEXT(n, v)  ((struct log_field){.name = (n), .kind = LOG_FIELD_TEXT, .value.text = (v)})
#define F_SLICE(n, v) ((struct log_field){.name = (n), .kind = LOG_FIELD_SLICE, .value.slice = (v)})
#define F_INTEGER(n, v)                                                                            \
    ((struct log_field){.name = (n), .kind = LOG_FIELD_INTEGER, .value.integer = (v)})
#define F_ERR(e) F_TEXT("error", err_text(e))

#define LOG_LINE_MAX 2048 /* bytes of one event; longer values are cut and marked with "..." */

/* `program` is kept, not copied. Before log_open() events go to standard error at NOTICE, and so
 * does later what its target does not take. ERR_IO: there is no syslog; ERR_UNSUPPORTED: the
 * journal without log_journal_enable(). */
MUST_USE enum err log_open(enum log_target target, enum log_level level, const char *program);
/* "stderr", "syslog", "journal"; "error".."debug" */
MUST_USE enum err log_target_read(const char *text, enum log_target *ret_target);
MUST_USE enum err log_level_read(const char *text, enum log_level *ret_level);

void log_fields(enum log_level level, const char *event, const struct log_field *fields);
#define log_event(level, event, ...)                                                               \
    log_fields((level), (event),                                                                   \
               (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})

#endif
