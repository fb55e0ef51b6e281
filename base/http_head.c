#include "base/http_head.h"

#include <string.h>

/* RFC 9110 section 5.6.2: the bytes of a token. */
static const bool is_token[256] = {
    ['!'] = true,         ['#'] = true,         ['$'] = true,         ['%'] = true, ['&'] = true,
    ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true, ['.'] = true,
    ['^'] = true,         ['_'] = true,         ['`'] = true,         ['|'] = true, ['~'] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static const struct {
    const char *text;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_GET}, {"HEAD", HTTP_HEAD},   {"POST", HTTP_POST},
    {"PUT", HTTP_PUT}, {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
};

const char *http_method_text(enum http_method m)
{
    return m < HTTP_METHOD_COUNT ? methods[m].text : "UNKNOWN";
}

static bool refuse(struct http_head *h, uint16_t status)
{
    h->status = status;
    return false;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(uint8_t c)
{
    uint8_t lower = c | 0x20;
    return is_digit(c) || (lower >= 'a' && lower <= 'z');
}

/* Compares without case; `text` is in lower case. */
static bool equals(struct slice s, const char *text)
{
    size_t len = strlen(text);
    if (s.len != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = s.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)text[i])
            return false;
    }
    return true;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* host[:port] of an absolute-form target: names and IPv4 addresses. */
static bool authority_ok(struct slice s)
{
    size_t host = 0;
    while (host < s.len &&
           (is_alphanumeric(s.data[host]) || s.data[host] == '.' || s.data[host] == '-'))
        host++;
    if (host == 0 || host > 253)
        return false;
    if (host == s.len)
        return true;
    unsigned port = 0;
    if (s.data[host] != ':' || s.len - host < 2 || s.len - host > 6)
        return false;
    for (size_t i = host + 1; i < s.len; i++) {
        if (!is_digit(s.data[i]))
            return false;
        port = port * 10 + (unsigned)(s.data[i] - '0');
    }
    return port <= 65535;
}

static bool read_target(struct http_head *h, struct slice target)
{
    if (target.len > HTTP_TARGET_MAX)
        return refuse(h, 414);
    for (size_t i = 0; i < target.len; i++)
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#')
            return refuse(h, 400);
    struct slice path = target;
    if (target.len > 0 && target.data[0] != '/') {
        size_t scheme = slice_starts_with(target, SLICE_LITERAL("http://"))    ? 7
                        : slice_starts_with(target, SLICE_LITERAL("https://")) ? 8
                                                                               : 0;
        size_t end = scheme;
        while (end < target.len && target.data[end] != '/' && target.data[end] != '?')
            end++;
        if (scheme == 0 || !authority_ok(slice_of(target.data + scheme, end - scheme)))
            return refuse(h, 400);
        h->absolute = true;
        path = slice_of(target.data + end, target.len - end);
        if (path.len == 0)
            return true;
    }
    /* Two slashes first would be read as an authority by some. */
    if (path.len == 0 || (path.len > 1 && path.data[0] == '/' && path.data[1] == '/'))
        return refuse(h, 400);
    return true;
}

static bool read_method(struct http_head *h, struct slice method)
{
    for (size_t i = 0; i < method.len; i++)
        if (!is_token[method.data[i]])
            return refuse(h, 400);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (slice_equal(method, slice_of_text(methods[i].text))) {
            h->method = (uint8_t)methods[i].method;
            return true;
        }
    }
    return refuse(h, method.len > 0 ? 405 : 400);
}

static bool read_version(struct http_head *h, struct slice version)
{
    if (slice_equal(version, SLICE_LITERAL("HTTP/1.1")))
        return true;
    h->http_1_0 = true;
    if (slice_equal(version, SLICE_LITERAL("HTTP/1.0")))
        return true;
    bool other = version.len == 8 && memcmp(version.data, "HTTP/", 5) == 0 &&
                 is_digit(version.data[5]) && version.data[6] == '.' && is_digit(version.data[7]);
    return refuse(h, other ? 505 : 400);
}

/* RFC 9112 section 3: method SP request-target SP HTTP-version */
static bool read_request_line(struct http_head *h, struct slice line)
{
    const uint8_t *space = memchr(line.data, ' ', line.len);
    if (space == NULL)
        return refuse(h, 400);
    struct slice method = slice_of(line.data, (size_t)(space - line.data));
    struct slice rest = slice_of(space + 1, line.len - method.len - 1);
    space = rest.len > 0 ? memchr(rest.data, ' ', rest.len) : NULL;
    if (space == NULL)
        return refuse(h, 400);
    struct slice target = slice_of(rest.data, (size_t)(space - rest.data));
    struct slice version = slice_of(space + 1, rest.len - target.len - 1);
    return read_version(h, version) && read_method(h, method) && read_target(h, target);
}

static bool read_length(struct http_head *h, struct slice value)
{
    if (h->length_seen || value.len == 0 || value.len > 15)
        return refuse(h, 400);
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.data[i]))
            return refuse(h, 400);
        h->length = h->length * 10 + (uint64_t)(value.data[i] - '0');
    }
    h->length_seen = true;
    return true;
}

static void read_connection(struct http_head *h, struct slice value)
{
    while (value.len > 0) {
        const uint8_t *comma = memchr(value.data, ',', value.len);
        size_t len = comma != NULL ? (size_t)(comma - value.data) : value.len;
        if (equals(trim(slice_of(value.data, len)), "close"))
            h->close = true;
        size_t step = comma != NULL ? len + 1 : len;
        value = slice_of(value.data + step, value.len - step);
    }
}

/* The fields that say where a request ends, or what its connection does. */
static bool read_framing_field(struct http_head *h, struct slice name, struct slice value)
{
    if (equals(name, "content-length"))
        return read_length(h, value);
    if (equals(name, "transfer-encoding")) {
        if (h->chunked)
            return refuse(h, 400);
        h->chunked = true;
        return equals(value, "chunked") || refuse(h, 501);
    }
    if (equals(name, "connection"))
        read_connection(h, value);
    if (equals(name, "expect")) {
        h->expect = true;
        return equals(value, "100-continue") || refuse(h, 417);
    }
    if (equals(name, "host")) {
        if (h->host_seen)
            return refuse(h, 400);
        h->host_seen = true;
    }
    return true;
}

/* RFC 9112 section 5: field-name ":" OWS field-value OWS. A line that begins with a space would
 * be obs-fold; the token check refuses it. */
static bool read_field(struct http_head *h, struct slice line)
{
    if (++h->fields > HTTP_FIELDS_MAX)
        return refuse(h, 431);
    size_t n = 0;
    while (n < line.len && is_token[line.data[n]])
        n++;
    if (n == 0 || n == line.len || line.data[n] != ':')
        return refuse(h, 400);
    struct slice name = slice_of(line.data, n);
    struct slice value = slice_of(line.data + n + 1, line.len - n - 1);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return refuse(h, 400);
    }
    while (value.len > 0 && value.data[0] == ' ')
        value = slice_of(value.data + 1, value.len - 1);
    /* evhttp would take a leading tab for part of the value. */
    if (value.len > 0 && value.data[0] == '\t')
        return refuse(h, 400);
    switch (name.data[0] | 0x20) {
    case 'c':
    case 'e':
    case 'h':
    case 't':
        return read_framing_field(h, name, trim(value));
    default:
        return true;
    }
}

static bool check_whole(struct http_head *h)
{
    if (!h->host_seen && !h->http_1_0)
        return refuse(h, 400);
    /* RFC 9112 section 6.1: both framings at once may be an attempt at smuggling. */
    if (h->chunked && (h->length_seen || h->http_1_0))
        return refuse(h, 400);
    /* evhttp takes no body with HEAD, and would read it as the next request. */
    if (h->method == HTTP_HEAD && (h->chunked || h->length > 0))
        return refuse(h, 400);
    if (h->http_1_0)
        h->expect = false;
    return true;
}

enum http_verdict http_head_read(struct http_head *h, struct slice so_far, size_t header_max)
{
    size_t end = so_far.len < header_max ? so_far.len : header_max;
    while (h->at < end) {
        const uint8_t *start = so_far.data + h->at;
        const uint8_t *lf = memchr(start, '\n', end - h->at);
        if (lf == NULL)
            break;
        size_t len = (size_t)(lf - start);
        if (len == 0 || lf[-1] != '\r') { /* a bare LF */
            h->status = 400;
            return HTTP_REFUSE;
        }
        struct slice line = slice_of(start, len - 1);
        h->at += (uint32_t)len + 1;
        if (!h->line_seen) {
            h->line_seen = true;
            if (!read_request_line(h, line))
                return HTTP_REFUSE;
        } else if (line.len > 0) {
            if (!read_field(h, line))
                return HTTP_REFUSE;
        } else {
            h->len = h->at;
            return check_whole(h) ? HTTP_WHOLE : HTTP_REFUSE;
        }
    }
    if (so_far.len < header_max)
        return HTTP_MORE;
    h->status = h->line_seen ? 431 : 414;
    return HTTP_REFUSE;
}

enum chunk_state { CHUNK_SIZE, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_CR, CHUNK_LF, LAST_CR, LAST_LF };

/* Eight digits hold any body that a limit lets through. */
#define SIZE_DIGITS_MAX 8

static bool read_size(struct http_chunks *c, uint8_t byte)
{
    uint8_t lower = byte | 0x20;
    if (byte == '\r') {
        c->state = CHUNK_SIZE_LF;
        return c->digits > 0;
    }
    if (++c->digits > SIZE_DIGITS_MAX)
        return false;
    if (is_digit(byte))
        c->left = c->left << 4 | (uint64_t)(byte - '0');
    else if (lower >= 'a' && lower <= 'f')
        c->left = c->left << 4 | (uint64_t)(lower - 'a' + 10);
    else
        return false;
    return true;
}

static bool expect_byte(struct http_chunks *c, uint8_t byte, uint8_t wanted, enum chunk_state next)
{
    c->state = (uint8_t)next;
    return byte == wanted;
}

static bool read_framing(struct http_chunks *c, uint8_t byte)
{
    switch ((enum chunk_state)c->state) {
    case CHUNK_SIZE:
        return read_size(c, byte);
    case CHUNK_SIZE_LF:
        return expect_byte(c, byte, '\n', c->left > 0 ? CHUNK_DATA : LAST_CR);
    case CHUNK_CR:
        return expect_byte(c, byte, '\r', CHUNK_LF);
    case CHUNK_LF:
        c->digits = 0;
        return expect_byte(c, byte, '\n', CHUNK_SIZE);
    case LAST_CR:
        return expect_byte(c, byte, '\r', LAST_LF);
    case CHUNK_DATA:
    case LAST_LF:
    default:
        return byte == '\n';
    }
}

enum http_verdict http_chunks_read(struct http_chunks *c, struct slice bytes, uint64_t body_max,
                                   size_t *ret_used, uint16_t *ret_status)
{
    size_t at = 0;
    enum http_verdict verdict = HTTP_MORE;
    while (at < bytes.len && verdict == HTTP_MORE) {
        if (c->state == CHUNK_DATA) {
            size_t n = bytes.len - at < c->left ? bytes.len - at : (size_t)c->left;
            c->left -= n;
            at += n;
            if (c->left == 0)
                c->state = CHUNK_CR;
            continue;
        }
        bool last = c->state == LAST_LF;
        bool sized = c->state == CHUNK_SIZE_LF;
        if (!read_framing(c, bytes.data[at])) {
            *ret_status = 400;
            return HTTP_REFUSE;
        }
        at++;
        if (sized)
            c->total += c->left;
        if (c->total > body_max) {
            *ret_status = 413;
            return HTTP_REFUSE;
        }
        if (last)
            verdict = HTTP_WHOLE;
    }
    c->used += at;
    /* Framing costs at least six bytes a chunk: one-byte chunks must not hold six times the body.
     */
    if (verdict == HTTP_MORE && c->used > body_max * 2 + 4096) {
        *ret_status = 413;
        return HTTP_REFUSE;
    }
    *ret_used = at;
    return verdict;
}
