/* What log.c and its journal backend share; private to base/. */
#ifndef BASE_LOG_BACKEND_H
#define BASE_LOG_BACKEND_H

#include "base/log.h"
#include "core/cursor.h"

/* Delivers one event; false where that failed, and then it goes to standard error. */
typedef bool log_backend_fn(enum log_level level, const char *program, const char *event,
                            const struct log_field *fields);

/* What LOG_TARGET_JOURNAL does. A pointer, so that programs without it do not link libsystemd. */
void log_set_journal(log_backend_fn *fn);
/* The socket of LOG_TARGET_SYSLOG instead of /dev/log; kept, not copied. For tests. */
void log_set_syslog_path(const char *path);
/* "event name=value name=value": bounded, values cut, the writer never fails. It has to have room
 * for LOG_LINE_MAX bytes. */
void log_write_fields(struct writer *w, const char *event, const struct log_field *fields);
/* The bytes of a field's value; `digits` (24 bytes) holds those of an integer. */
struct slice log_field_bytes(const struct log_field *field, char digits[24]);

#endif
