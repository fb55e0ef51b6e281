/* Writes JSON (RFC 8259) into a bounded buffer: compact, in the order of the calls, commas put in
 * by itself. Text is escaped; bytes that are not UTF-8 become U+FFFD, so the result is always
 * valid. Calls out of order (a key in an array, a value without a key, a second value at the top)
 * are ERR_INTERNAL, deeper than JSON_DEPTH_MAX is ERR_LIMIT; both stick to the writer beneath. */
#ifndef CORE_JSON_WRITE_H
#define CORE_JSON_WRITE_H

#include "core/cursor.h"

#define JSON_DEPTH_MAX 16

struct json_writer {
    struct writer *w;
    uint32_t first;   /* bit per depth: nothing written there yet */
    uint32_t objects; /* bit per depth: an object, not an array */
    unsigned depth;
    bool after_key;
};

struct json_writer json_writer_over(struct writer *w);

void json_open_object(struct json_writer *j);
void json_close_object(struct json_writer *j);
void json_open_array(struct json_writer *j);
void json_close_array(struct json_writer *j);
void json_key(struct json_writer *j, const char *key);

void json_slice(struct json_writer *j, struct slice text);
void json_text(struct json_writer *j, const char *text);
void json_number(struct json_writer *j, int64_t v); /* json_integer() is jansson's */
void json_bool(struct json_writer *j, bool v);
void json_none(struct json_writer *j); /* null; json_null() is jansson's */
/* Lower-case hexadecimal, as a string. */
void json_hex(struct json_writer *j, struct slice bytes);
/* Seconds since 1970 as an RFC 3339 time in UTC ("2026-11-23T04:21:38Z"). */
void json_time(struct json_writer *j, int64_t seconds);
/* A value that is JSON already. The caller vouches for it. */
void json_raw(struct json_writer *j, struct slice json);

/* key and value in one */
void json_field_text(struct json_writer *j, const char *key, const char *text);
void json_field_slice(struct json_writer *j, const char *key, struct slice text);
void json_field_integer(struct json_writer *j, const char *key, int64_t v);
void json_field_bool(struct json_writer *j, const char *key, bool v);
void json_field_hex(struct json_writer *j, const char *key, struct slice bytes);
void json_field_time(struct json_writer *j, const char *key, int64_t seconds);

#endif
