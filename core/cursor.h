/* One reader and one writer over bytes, both with a sticky error: after the first failure every
 * call is harmless, reads give zeroes, and the error stays. So a parser reads field after field
 * and asks once, at the end, with reader_finish().
 *
 * Neither allocates. A writer never writes past its buffer. */
#ifndef CORE_CURSOR_H
#define CORE_CURSOR_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    enum err err;
};

struct reader reader_over(struct slice bytes);
/* Bytes left; 0 after an error. */
size_t reader_left(const struct reader *r);
/* Records `err` unless an error is recorded already. */
void reader_fail(struct reader *r, enum err err);
/* The first error, or ERR_SYNTAX where bytes are left over, or ERR_NONE. */
MUST_USE enum err reader_finish(const struct reader *r);

uint8_t reader_u8(struct reader *r);
uint16_t reader_be16(struct reader *r);
uint32_t reader_be32(struct reader *r);
uint64_t reader_be64(struct reader *r);
/* The next n bytes, not copied; an empty slice and ERR_SYNTAX where there are fewer. */
struct slice reader_take(struct reader *r, size_t n);
/* Everything that is left. */
struct slice reader_rest(struct reader *r);
/* Looks at the next byte without taking it; -1 at the end or after an error. */
int reader_peek(const struct reader *r);
/* Takes the bytes of `expected` or fails with ERR_SYNTAX. */
void reader_expect(struct reader *r, struct slice expected);
/* Takes the bytes up to, and swallows, the delimiter; fails where it does not come. */
struct slice reader_until(struct reader *r, uint8_t delimiter);
/* A decimal number without sign or leading zeroes, at most `max`. */
uint64_t reader_decimal(struct reader *r, uint64_t max);

struct writer {
    uint8_t *start;
    size_t len; /* written so far */
    size_t max; /* size of the buffer */
    enum err err;
};

struct writer writer_over(void *buffer, size_t max);
void writer_fail(struct writer *w, enum err err);
/* What has been written; only meaningful where w->err is ERR_NONE. */
struct slice writer_bytes(const struct writer *w);

void writer_u8(struct writer *w, uint8_t v);
void writer_be16(struct writer *w, uint16_t v);
void writer_be32(struct writer *w, uint32_t v);
void writer_be64(struct writer *w, uint64_t v);
void writer_put(struct writer *w, struct slice bytes);
void writer_text(struct writer *w, const char *text);
void writer_decimal(struct writer *w, uint64_t v);
/* Lower-case hexadecimal, two digits a byte. */
void writer_hex(struct writer *w, struct slice bytes);
/* The bytes of a text as writer_hex() makes it; ERR_SYNTAX in the writer for any other. */
void writer_unhex(struct writer *w, struct slice text);
/* Space for n bytes to be filled in by the caller; NULL and ERR_LIMIT where it does not fit. */
uint8_t *writer_reserve(struct writer *w, size_t n);

#endif
