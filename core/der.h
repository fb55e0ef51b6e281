/* DER (X.690): the reader takes the distinguished encoding only (shortest lengths, no indefinite
 * form), the writer produces it. Both stand on core/cursor.h and share its sticky error. */
#ifndef CORE_DER_H
#define CORE_DER_H

#include "core/cursor.h"

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_ENUMERATED = 0x0a,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_IA5_STRING = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
};
#define DER_CONTEXT(n)             (0x80 | (n)) /* context-specific, primitive */
#define DER_CONTEXT_CONSTRUCTED(n) (0xa0 | (n))

/* The contents of the next element, which must have this (single-byte) tag. */
struct slice der_read(struct reader *r, unsigned tag);
/* The same as a reader of its own, which starts out with r's error. Finish both. */
struct reader der_enter(struct reader *r, unsigned tag);
/* Finishes what der_enter() began: the inner error, or ERR_SYNTAX where bytes are left, becomes
 * r's. */
void der_leave(struct reader *r, const struct reader *inner);
/* The next element whole, tag and length included, whatever its tag; ret_tag may be NULL. */
struct slice der_read_any(struct reader *r, unsigned *ret_tag);
/* True where the next element has this tag; takes nothing. */
bool der_next_is(const struct reader *r, unsigned tag);
/* An INTEGER that is not negative, at most 8 bytes of value. */
uint64_t der_read_u64(struct reader *r);
/* An INTEGER that is not negative, of any size: big-endian, without the leading zero octet. Zero is
 * one octet. */
struct slice der_read_unsigned(struct reader *r);
/* A BIT STRING without unused bits: its bytes. */
struct slice der_read_bit_string(struct reader *r);
/* UTCTime or GeneralizedTime with seconds, in UTC, without fractions (RFC 5280 section 4.1.2.5):
 * seconds since 1970. */
int64_t der_read_time(struct reader *r);

/* DER is written from the inside out, so the writer fills its buffer from the end to the front:
 * write the last field first, then wrap what has been written in a header. */
struct der_writer {
    uint8_t *start;
    size_t at; /* what is written stands from here to max */
    size_t max;
    enum err err;
};

struct der_writer der_writer_over(void *buffer, size_t max);
struct slice der_writer_bytes(const struct der_writer *w);
/* Records `err` unless an error is recorded already. */
void der_writer_fail(struct der_writer *w, enum err err);
/* Where we are now, to be handed to der_wrap(). */
size_t der_mark(const struct der_writer *w);
void der_put_raw(struct der_writer *w, struct slice bytes);
void der_put(struct der_writer *w, unsigned tag, struct slice contents);
/* Puts tag and length in front of everything written since `mark`. */
void der_wrap(struct der_writer *w, unsigned tag, size_t mark);
/* As der_wrap() with DER_BIT_STRING, with the octet of unused bits (0). */
void der_wrap_bit_string(struct der_writer *w, size_t mark);
void der_put_u64(struct der_writer *w, uint64_t v);
/* A non-negative INTEGER from big-endian bytes; leading zeroes are dropped, a sign byte is added.
 */
void der_put_unsigned(struct der_writer *w, struct slice big_endian);
/* UTCTime up to 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5); ERR_LIMIT before
 * 1950 and after 9999, which neither can say. */
void der_put_time(struct der_writer *w, int64_t seconds);
/* GeneralizedTime in every case, as OCSP has it (RFC 6960 section 4.2.2.1). */
void der_put_generalized_time(struct der_writer *w, int64_t seconds);

#endif
