#include "core/der.h"

#include "core/calendar.h"

/* Takes tag and length and leaves r at the contents, which are there in full. */
static bool take_header(struct reader *r, unsigned *ret_tag, size_t *ret_len)
{
    size_t left = reader_left(r);
    if (left < 2)
        goto malformed;
    const uint8_t *at = r->at;
    /* Nothing we read has a tag of several bytes, or the tag that ends an indefinite length. */
    if ((at[0] & 0x1f) == 0x1f || at[0] == 0)
        goto malformed;
    size_t len = at[1];
    size_t header = 2;
    if (len >= 0x80) {
        size_t n = len & 0x7f;
        if (n == 0 || n > 4 || left - header < n)
            goto malformed;
        len = 0;
        for (size_t i = 0; i < n; i++)
            len = len << 8 | at[header + i];
        if (len < 0x80 || at[header] == 0)
            goto malformed;
        header += n;
    }
    if (left - header < len)
        goto malformed;
    r->at += header;
    *ret_tag = at[0];
    *ret_len = len;
    return true;
malformed:
    reader_fail(r, ERR_SYNTAX);
    return false;
}

bool der_next_is(const struct reader *r, unsigned tag)
{
    int next = reader_peek(r);
    return next >= 0 && (unsigned)next == tag;
}

struct slice der_read(struct reader *r, unsigned tag)
{
    unsigned found;
    size_t len;
    if (!der_next_is(r, tag)) {
        reader_fail(r, ERR_SYNTAX);
        return (struct slice){NULL, 0};
    }
    if (!take_header(r, &found, &len))
        return (struct slice){NULL, 0};
    return reader_take(r, len);
}

struct reader der_enter(struct reader *r, unsigned tag)
{
    struct reader inner = reader_over(der_read(r, tag));
    inner.err = r->err;
    return inner;
}

void der_leave(struct reader *r, const struct reader *inner)
{
    reader_fail(r, reader_finish(inner));
}

struct slice der_read_any(struct reader *r, unsigned *ret_tag)
{
    const uint8_t *start = r->at;
    unsigned tag;
    size_t len;
    if (!take_header(r, &tag, &len))
        return (struct slice){NULL, 0};
    r->at += len;
    if (ret_tag != NULL)
        *ret_tag = tag;
    return slice_of(start, (size_t)(r->at - start));
}

struct slice der_read_unsigned(struct reader *r)
{
    struct slice v = der_read(r, DER_INTEGER);
    if (r->err != ERR_NONE)
        return v;
    bool padded = v.len > 1 && v.data[0] == 0;
    if (v.len == 0 || v.data[0] >= 0x80 || (padded && v.data[1] < 0x80)) {
        reader_fail(r, ERR_SYNTAX);
        return (struct slice){NULL, 0};
    }
    return padded ? slice_of(v.data + 1, v.len - 1) : v;
}

uint64_t der_read_u64(struct reader *r)
{
    struct slice bytes = der_read_unsigned(r);
    if (bytes.len > 8) {
        reader_fail(r, ERR_LIMIT);
        return 0;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < bytes.len; i++)
        v = v << 8 | bytes.data[i];
    return v;
}

struct slice der_read_bit_string(struct reader *r)
{
    struct slice bits = der_read(r, DER_BIT_STRING);
    if (r->err != ERR_NONE)
        return bits;
    if (bits.len == 0 || bits.data[0] != 0) {
        reader_fail(r, ERR_SYNTAX);
        return (struct slice){NULL, 0};
    }
    return slice_of(bits.data + 1, bits.len - 1);
}

static unsigned take_two_digits(struct reader *r)
{
    struct slice digits = reader_take(r, 2);
    if (r->err != ERR_NONE)
        return 0;
    unsigned tens = digits.data[0] - (unsigned)'0';
    unsigned ones = digits.data[1] - (unsigned)'0';
    if (tens > 9 || ones > 9) {
        reader_fail(r, ERR_SYNTAX);
        return 0;
    }
    return tens * 10 + ones;
}

int64_t der_read_time(struct reader *r)
{
    bool generalized = der_next_is(r, DER_GENERALIZED_TIME);
    struct reader text = der_enter(r, generalized ? DER_GENERALIZED_TIME : DER_UTC_TIME);
    unsigned century = generalized ? take_two_digits(&text) : 0;
    unsigned year = take_two_digits(&text);
    if (!generalized)
        century = year < 50 ? 20 : 19;
    struct calendar c = {.year = (int)(century * 100 + year)};
    c.month = take_two_digits(&text);
    c.day = take_two_digits(&text);
    c.hour = take_two_digits(&text);
    c.minute = take_two_digits(&text);
    c.second = take_two_digits(&text);
    reader_expect(&text, SLICE_LITERAL("Z"));
    der_leave(r, &text);
    int64_t seconds = 0;
    if (r->err == ERR_NONE)
        reader_fail(r, calendar_to_seconds(&c, &seconds));
    return seconds;
}

struct der_writer der_writer_over(void *buffer, size_t max)
{
    return (struct der_writer){.start = buffer, .at = max, .max = max, .err = ERR_NONE};
}

void der_writer_fail(struct der_writer *w, enum err err)
{
    if (w->err == ERR_NONE)
        w->err = err;
}

struct slice der_writer_bytes(const struct der_writer *w)
{
    if (w->err != ERR_NONE)
        return (struct slice){NULL, 0};
    return slice_of(w->start + w->at, w->max - w->at);
}

size_t der_mark(const struct der_writer *w)
{
    return w->at;
}

void der_put_raw(struct der_writer *w, struct slice bytes)
{
    if (w->at < bytes.len)
        der_writer_fail(w, ERR_LIMIT);
    if (w->err != ERR_NONE || bytes.len == 0)
        return;
    w->at -= bytes.len;
    memmove(w->start + w->at, bytes.data, bytes.len);
}

static void put_u8(struct der_writer *w, unsigned v)
{
    uint8_t byte = (uint8_t)v;
    der_put_raw(w, slice_of(&byte, 1));
}

void der_wrap(struct der_writer *w, unsigned tag, size_t mark)
{
    if (w->err != ERR_NONE)
        return;
    size_t len = mark - w->at;
    if (len < 0x80) {
        put_u8(w, (unsigned)len);
    } else {
        unsigned n = 0;
        for (; len > 0; len >>= 8, n++)
            put_u8(w, (unsigned)(len & 0xff));
        put_u8(w, 0x80 | n);
    }
    put_u8(w, tag);
}

void der_wrap_bit_string(struct der_writer *w, size_t mark)
{
    put_u8(w, 0);
    der_wrap(w, DER_BIT_STRING, mark);
}

void der_put(struct der_writer *w, unsigned tag, struct slice contents)
{
    size_t mark = der_mark(w);
    der_put_raw(w, contents);
    der_wrap(w, tag, mark);
}

void der_put_unsigned(struct der_writer *w, struct slice big_endian)
{
    while (big_endian.len > 0 && big_endian.data[0] == 0)
        big_endian = slice_of(big_endian.data + 1, big_endian.len - 1);
    size_t mark = der_mark(w);
    der_put_raw(w, big_endian);
    if (big_endian.len == 0 || big_endian.data[0] >= 0x80)
        put_u8(w, 0);
    der_wrap(w, DER_INTEGER, mark);
}

void der_put_u64(struct der_writer *w, uint64_t v)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(v >> (8 * (sizeof bytes - 1 - i)));
    der_put_unsigned(w, slice_of(bytes, sizeof bytes));
}

#define TIME_SIZE 15 /* "YYYYMMDDHHMMSSZ" */

/* Writes ERR_LIMIT into `w`, and no text, where those digits can't say it. */
static void time_text(struct der_writer *w, int64_t seconds, uint8_t text[TIME_SIZE])
{
    static const int64_t year_1950 = -631152000;
    static const int64_t year_10000 = 253402300800;
    if (seconds < year_1950 || seconds >= year_10000) {
        der_writer_fail(w, ERR_LIMIT);
        return;
    }
    struct calendar c = calendar_from_seconds(seconds);
    const unsigned fields[] = {
        (unsigned)c.year / 100, (unsigned)c.year % 100, c.month, c.day, c.hour, c.minute, c.second};
    _Static_assert(TIME_SIZE == 2 * ARRAY_LEN(fields) + 1, "two digits each, and the Z");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        text[2 * i] = (uint8_t)('0' + fields[i] / 10);
        text[2 * i + 1] = (uint8_t)('0' + fields[i] % 10);
    }
    text[TIME_SIZE - 1] = 'Z';
}

void der_put_time(struct der_writer *w, int64_t seconds)
{
    static const int64_t year_2050 = 2524608000;
    uint8_t text[TIME_SIZE] = {0};
    time_text(w, seconds, text);
    if (seconds < year_2050)
        der_put(w, DER_UTC_TIME, slice_of(text + 2, sizeof text - 2));
    else
        der_put(w, DER_GENERALIZED_TIME, slice_of(text, sizeof text));
}

void der_put_generalized_time(struct der_writer *w, int64_t seconds)
{
    uint8_t text[TIME_SIZE] = {0};
    time_text(w, seconds, text);
    der_put(w, DER_GENERALIZED_TIME, slice_of(text, sizeof text));
}
