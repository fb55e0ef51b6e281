/* Seconds since 1970 (UTC, no leap seconds) and the proleptic Gregorian calendar. */
#ifndef CORE_CALENDAR_H
#define CORE_CALENDAR_H

#include "core/cursor.h"

struct calendar {
    int year; /* 0..9999 */
    unsigned month, day, hour, minute, second;
};

/* Takes every number: before year 0 and after year 9999 it gives the first and last second. */
struct calendar calendar_from_seconds(int64_t seconds);
/* ERR_SYNTAX where a field is out of range (a 60th second is). */
MUST_USE enum err calendar_to_seconds(const struct calendar *c, int64_t *ret_seconds);

/* RFC 3339 in UTC with whole seconds: "2026-11-23T04:21:38Z", 20 bytes. Outside the years 0 to
 * 9999 the writer fails with ERR_LIMIT. */
void calendar_write_rfc3339(struct writer *w, int64_t seconds);
MUST_USE enum err calendar_read_rfc3339(struct slice text, int64_t *ret_seconds);

/* IMF-fixdate, RFC 9110 section 5.6.7: "Mon, 23 Nov 2026 04:21:38 GMT". As above for its errors. */
#define CALENDAR_HTTP_SIZE 29
void calendar_write_http(struct writer *w, int64_t seconds);

#endif
