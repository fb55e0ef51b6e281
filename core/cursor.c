#include "core/cursor.h"

struct reader reader_over(struct slice bytes)
{
    static const uint8_t nothing[1] = {0};
    const uint8_t *at = bytes.len == 0 ? nothing : bytes.data;
    return (struct reader){.at = at, .end = at + bytes.len, .err = ERR_NONE};
}

size_t reader_left(const struct reader *r)
{
    return r->err == ERR_NONE ? (size_t)(r->end - r->at) : 0;
}

void reader_fail(struct reader *r, enum err err)
{
    if (r->err == ERR_NONE)
        r->err = err;
}

enum err reader_finish(const struct reader *r)
{
    if (r->err != ERR_NONE)
        return r->err;
    return r->at == r->end ? ERR_NONE : ERR_SYNTAX;
}

struct slice reader_take(struct reader *r, size_t n)
{
    if (reader_left(r) < n)
        reader_fail(r, ERR_SYNTAX);
    if (r->err != ERR_NONE)
        return (struct slice){NULL, 0};
    struct slice taken = {r->at, n};
    r->at += n;
    return taken;
}

static uint64_t take_big_endian(struct reader *r, size_t n)
{
    struct slice bytes = reader_take(r, n);
    uint64_t v = 0;
    for (size_t i = 0; i < bytes.len; i++)
        v = v << 8 | bytes.data[i];
    return v;
}

uint8_t reader_u8(struct reader *r)
{
    return (uint8_t)take_big_endian(r, 1);
}

uint16_t reader_be16(struct reader *r)
{
    return (uint16_t)take_big_endian(r, 2);
}

uint32_t reader_be32(struct reader *r)
{
    return (uint32_t)take_big_endian(r, 4);
}

uint64_t reader_be64(struct reader *r)
{
    return take_big_endian(r, 8);
}

struct slice reader_rest(struct reader *r)
{
    return reader_take(r, reader_left(r));
}

int reader_peek(const struct reader *r)
{
    return reader_left(r) > 0 ? *r->at : -1;
}

void reader_expect(struct reader *r, struct slice expected)
{
    struct slice got = reader_take(r, expected.len);
    if (r->err == ERR_NONE && !slice_equal(got, expected))
        reader_fail(r, ERR_SYNTAX);
}

struct slice reader_until(struct reader *r, uint8_t delimiter)
{
    size_t left = reader_left(r);
    for (size_t n = 0; n < left; n++) {
        if (r->at[n] != delimiter)
            continue;
        struct slice taken = reader_take(r, n);
        r->at++;
        return taken;
    }
    reader_fail(r, ERR_SYNTAX);
    return (struct slice){NULL, 0};
}

uint64_t reader_decimal(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    size_t digits = 0;
    for (int c = reader_peek(r); c >= '0' && c <= '9'; c = reader_peek(r)) {
        uint64_t digit = (uint64_t)(c - '0');
        bool leading_zero = digits > 0 && v == 0;
        if (leading_zero || digit > max || v > (max - digit) / 10) {
            reader_fail(r, leading_zero ? ERR_SYNTAX : ERR_LIMIT);
            return 0;
        }
        v = v * 10 + digit;
        digits++;
        r->at++;
    }
    if (digits == 0)
        reader_fail(r, ERR_SYNTAX);
    return r->err == ERR_NONE ? v : 0;
}

struct writer writer_over(void *buffer, size_t max)
{
    return (struct writer){.start = buffer, .len = 0, .max = max, .err = ERR_NONE};
}

void writer_fail(struct writer *w, enum err err)
{
    if (w->err == ERR_NONE)
        w->err = err;
}

struct slice writer_bytes(const struct writer *w)
{
    return (struct slice){w->start, w->len};
}

uint8_t *writer_reserve(struct writer *w, size_t n)
{
    if (w->err == ERR_NONE && w->max - w->len < n)
        w->err = ERR_LIMIT;
    if (w->err != ERR_NONE)
        return NULL;
    uint8_t *space = w->start + w->len;
    w->len += n;
    return space;
}

void writer_put(struct writer *w, struct slice bytes)
{
    uint8_t *to = writer_reserve(w, bytes.len);
    if (to != NULL && bytes.len > 0)
        memcpy(to, bytes.data, bytes.len);
}

static void put_big_endian(struct writer *w, uint64_t v, size_t n)
{
    uint8_t *to = writer_reserve(w, n);
    for (size_t i = 0; to != NULL && i < n; i++)
        to[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

void writer_u8(struct writer *w, uint8_t v)
{
    put_big_endian(w, v, 1);
}

void writer_be16(struct writer *w, uint16_t v)
{
    put_big_endian(w, v, 2);
}

void writer_be32(struct writer *w, uint32_t v)
{
    put_big_endian(w, v, 4);
}

void writer_be64(struct writer *w, uint64_t v)
{
    put_big_endian(w, v, 8);
}

void writer_text(struct writer *w, const char *text)
{
    writer_put(w, slice_of_text(text));
}

void writer_decimal(struct writer *w, uint64_t v)
{
    uint8_t digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    writer_put(w, slice_of(digits + at, sizeof digits - at));
}

void writer_hex(struct writer *w, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        writer_u8(w, (uint8_t)digits[bytes.data[i] >> 4]);
        writer_u8(w, (uint8_t)digits[bytes.data[i] & 15]);
    }
}

static unsigned hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - (unsigned)'0';
    return digit >= 'a' && digit <= 'f' ? digit - (unsigned)'a' + 10 : 16;
}

void writer_unhex(struct writer *w, struct slice text)
{
    if (text.len % 2 != 0)
        writer_fail(w, ERR_SYNTAX);
    for (size_t i = 0; i + 1 < text.len; i += 2) {
        unsigned high = hex_value(text.data[i]);
        unsigned low = hex_value(text.data[i + 1]);
        if (high > 15 || low > 15)
            writer_fail(w, ERR_SYNTAX);
        writer_u8(w, (uint8_t)(high << 4 | (low & 15)));
    }
}
