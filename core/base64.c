#include "core/base64.h"

#define LINE_BYTES 48 /* one line of 64 characters */

static void encode(uint8_t *to, struct slice bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i = 0;
    for (; bytes.len - i >= 3; i += 3, to += 4) {
        const uint8_t *b = bytes.data + i;
        to[0] = (uint8_t)alphabet[b[0] >> 2];
        to[1] = (uint8_t)alphabet[(b[0] & 3) << 4 | b[1] >> 4];
        to[2] = (uint8_t)alphabet[(b[1] & 15) << 2 | b[2] >> 6];
        to[3] = (uint8_t)alphabet[b[2] & 63];
    }
    if (bytes.len == i)
        return;
    uint8_t last = bytes.len - i == 2 ? bytes.data[i + 1] : 0;
    to[0] = (uint8_t)alphabet[bytes.data[i] >> 2];
    to[1] = (uint8_t)alphabet[(bytes.data[i] & 3) << 4 | last >> 4];
    to[2] = (uint8_t)(bytes.len - i == 2 ? alphabet[(last & 15) << 2] : '=');
    to[3] = '=';
}

void base64_write(struct writer *w, struct slice bytes)
{
    uint8_t *to = writer_reserve(w, BASE64_SIZE(bytes.len));
    if (to != NULL)
        encode(to, bytes);
}

void base64_write_lines(struct writer *w, struct slice bytes)
{
    for (size_t at = 0; at < bytes.len; at += LINE_BYTES) {
        size_t left = bytes.len - at;
        base64_write(w, slice_of(bytes.data + at, left < LINE_BYTES ? left : LINE_BYTES));
        writer_u8(w, '\n');
    }
}

#define NOT_BASE64 64

/* The value of a character, or NOT_BASE64. */
static const uint8_t values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64, 64, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 64,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

static void skip_blanks(struct reader *r)
{
    for (int c = reader_peek(r); c == '\n' || c == '\r' || c == ' ' || c == '\t';
         c = reader_peek(r))
        r->at++;
}

/* Up to four characters before padding or the end; returns how many. */
static size_t take_quantum(struct reader *r, bool wrapped, uint32_t *ret_bits)
{
    uint32_t bits = 0;
    size_t n = 0;
    while (n < 4) {
        if (wrapped)
            skip_blanks(r);
        int c = reader_peek(r);
        if (c < 0 || c == '=')
            break;
        if (values[c] == NOT_BASE64) {
            reader_fail(r, ERR_SYNTAX);
            break;
        }
        bits = bits << 6 | values[c];
        n++;
        r->at++;
    }
    *ret_bits = bits;
    return n;
}

/* Whole quanta without anything between them: nearly every byte of every body. */
static enum err decode_quanta(struct reader *r, uint8_t *buffer, size_t max, size_t *len)
{
    while (r->end - r->at >= 4) {
        const uint8_t *at = r->at;
        uint32_t a = values[at[0]], b = values[at[1]], c = values[at[2]], d = values[at[3]];
        if (((a | b | c | d) & NOT_BASE64) != 0)
            break;
        if (max - *len < 3)
            return ERR_LIMIT;
        buffer[(*len)++] = (uint8_t)(a << 2 | b >> 4);
        buffer[(*len)++] = (uint8_t)(b << 4 | c >> 2);
        buffer[(*len)++] = (uint8_t)(c << 6 | d);
        r->at += 4;
    }
    return ERR_NONE;
}

/* What the last quantum of n characters, 0, 2 or 3, still holds. */
static enum err decode_last(struct reader *r, bool wrapped, size_t n, uint32_t bits,
                            uint8_t *buffer, size_t max, size_t *len)
{
    if (n == 1)
        return ERR_SYNTAX;
    for (size_t pads = n; pads > 0 && pads < 4; pads++) {
        if (wrapped)
            skip_blanks(r);
        reader_expect(r, SLICE_LITERAL("="));
    }
    if (wrapped)
        skip_blanks(r);
    enum err err = reader_finish(r);
    if (err != ERR_NONE || n == 0)
        return err;
    /* RFC 4648 section 3.5: bits that stand for nothing must be zero. */
    if ((n == 2 && (bits & 15) != 0) || (n == 3 && (bits & 3) != 0))
        return ERR_SYNTAX;
    if (max - *len < n - 1)
        return ERR_LIMIT;
    bits <<= 6 * (4 - n);
    buffer[(*len)++] = (uint8_t)(bits >> 16);
    if (n == 3)
        buffer[(*len)++] = (uint8_t)(bits >> 8);
    return ERR_NONE;
}

static enum err decode(struct slice text, bool wrapped, uint8_t *buffer, size_t max,
                       size_t *ret_len)
{
    struct reader r = reader_over(text);
    size_t len = 0;
    for (;;) {
        enum err err = decode_quanta(&r, buffer, max, &len);
        if (err != ERR_NONE)
            return err;
        uint32_t bits;
        size_t n = take_quantum(&r, wrapped, &bits);
        if (r.err != ERR_NONE)
            return r.err;
        if (n < 4) {
            err = decode_last(&r, wrapped, n, bits, buffer, max, &len);
            if (err == ERR_NONE)
                *ret_len = len;
            return err;
        }
        if (max - len < 3)
            return ERR_LIMIT;
        buffer[len++] = (uint8_t)(bits >> 16);
        buffer[len++] = (uint8_t)(bits >> 8);
        buffer[len++] = (uint8_t)bits;
    }
}

enum err base64_read(struct slice text, uint8_t *buffer, size_t max, size_t *ret_len)
{
    return decode(text, false, buffer, max, ret_len);
}

enum err base64_read_wrapped(struct slice text, uint8_t *buffer, size_t max, size_t *ret_len)
{
    return decode(text, true, buffer, max, ret_len);
}
