#include "core/http1.h"

/* Interim answers before the final one, and bytes of a chunk's extension or of the trailer: a
 * server that goes on for longer keeps us waiting for nothing. */
#define INTERIM_MAX    8
#define CHUNK_LINE_MAX 256
#define TRAILER_MAX    2048

enum phase {
    PHASE_HEAD,
    PHASE_BODY_LENGTH,
    PHASE_BODY_CLOSE,
    PHASE_CHUNK_SIZE,
    PHASE_CHUNK_EXTENSION,
    PHASE_CHUNK_SIZE_LF,
    PHASE_CHUNK_DATA,
    PHASE_CHUNK_DATA_CR,
    PHASE_CHUNK_DATA_LF,
    PHASE_TRAILER_START,
    PHASE_TRAILER_LINE,
    PHASE_TRAILER_LINE_LF,
    PHASE_END_LF,
    PHASE_DONE,
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool equal_ignoring_case(struct slice a, struct slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

/* RFC 9110 section 5.6.2 */
static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool bad = c <= ' ' || c >= 0x7f;
        for (const char *p = "\"(),/:;<=>?@[\\]{}"; *p != '\0' && !bad; p++)
            bad = c == (uint8_t)*p;
        if (bad)
            return false;
    }
    return s.len > 0;
}

/* RFC 9110 section 5.5: no control characters but the tab. */
static bool is_field_byte(uint8_t c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

static bool is_visible(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f)
            return false;
    return s.len > 0;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct field {
    struct slice name;
    struct slice value;
};

/* One "name: value CRLF" (RFC 9112 section 5). */
static struct field take_field(struct reader *r)
{
    struct reader line = reader_over(reader_until(r, '\n'));
    struct field field = {.name = reader_until(&line, ':')};
    struct slice value = reader_rest(&line);
    bool bad = line.err != ERR_NONE || !is_token(field.name) || value.len == 0 ||
               value.data[value.len - 1] != '\r';
    for (size_t i = 0; !bad && i + 1 < value.len; i++)
        bad = !is_field_byte(value.data[i]);
    if (bad)
        reader_fail(r, ERR_SYNTAX);
    else
        field.value = trim(slice_of(value.data, value.len - 1));
    return field;
}

static bool are_fields(struct slice lines)
{
    struct reader r = reader_over(lines);
    while (reader_left(&r) > 0)
        (void)take_field(&r);
    return reader_finish(&r) == ERR_NONE;
}

static bool is_field_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_field_byte(s.data[i]))
            return false;
    return s.len > 0;
}

/* RFC 9110 section 8.6: a length of zero is said too where the method makes a body likely. */
static bool has_content(struct slice method, const char *content_type, struct slice body)
{
    return body.len > 0 || content_type != NULL ||
           !(slice_equal(method, SLICE_LITERAL("GET")) ||
             slice_equal(method, SLICE_LITERAL("HEAD")) ||
             slice_equal(method, SLICE_LITERAL("DELETE")));
}

enum err http1_write_request(struct writer *w, const char *method, struct slice target,
                             struct slice host, struct slice extra, const char *content_type,
                             struct slice body)
{
    struct slice verb = slice_of_text(method);
    if (!is_token(verb) || !is_visible(target) || !is_visible(host) || !are_fields(extra) ||
        (content_type != NULL && !is_field_value(slice_of_text(content_type)))) {
        writer_fail(w, ERR_SYNTAX);
        return w->err;
    }
    writer_put(w, verb);
    writer_u8(w, ' ');
    writer_put(w, target);
    writer_text(w, " HTTP/1.1\r\nHost: ");
    writer_put(w, host);
    writer_text(w, "\r\n");
    writer_put(w, extra);
    if (content_type != NULL) {
        writer_text(w, "Content-Type: ");
        writer_text(w, content_type);
        writer_text(w, "\r\n");
    }
    if (has_content(verb, content_type, body)) {
        writer_text(w, "Content-Length: ");
        writer_decimal(w, body.len);
        writer_text(w, "\r\n");
    }
    writer_text(w, "\r\n");
    writer_put(w, body);
    return w->err;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the buffer is written to later */
void http1_response_init(struct http1_response *r, uint8_t *buffer, size_t max)
{
    *r = (struct http1_response){.buffer = buffer, .max = max, .phase = PHASE_HEAD};
}

/* What the header says about how the body ends. */
struct framing {
    bool has_length;
    uint64_t length;
    bool chunked;
    bool close;
    bool keep_alive;
};

static void read_connection(struct slice value, struct framing *framing)
{
    for (size_t i = 0, start = 0; i <= value.len; i++) {
        if (i < value.len && value.data[i] != ',')
            continue;
        struct slice option = trim(slice_of(value.data + start, i - start));
        framing->close |= equal_ignoring_case(option, SLICE_LITERAL("close"));
        framing->keep_alive |= equal_ignoring_case(option, SLICE_LITERAL("keep-alive"));
        start = i + 1;
    }
}

/* RFC 9112 section 6: where two readers could disagree about the end, there is no message. */
static enum err read_framing_field(struct field field, struct framing *framing)
{
    if (equal_ignoring_case(field.name, SLICE_LITERAL("content-length"))) {
        struct reader digits = reader_over(field.value);
        uint64_t length = reader_decimal(&digits, UINT64_MAX);
        if (framing->has_length || framing->chunked)
            return ERR_SYNTAX;
        framing->has_length = true;
        framing->length = length;
        return reader_finish(&digits);
    }
    if (equal_ignoring_case(field.name, SLICE_LITERAL("transfer-encoding"))) {
        if (framing->has_length || framing->chunked)
            return ERR_SYNTAX;
        framing->chunked = true;
        return equal_ignoring_case(field.value, SLICE_LITERAL("chunked")) ? ERR_NONE
                                                                          : ERR_UNSUPPORTED;
    }
    if (equal_ignoring_case(field.name, SLICE_LITERAL("connection")))
        read_connection(field.value, framing);
    return ERR_NONE;
}

/* RFC 9112 section 4; ret_minor is that of HTTP/1.x. */
static void take_status_line(struct reader *r, unsigned *ret_status, unsigned *ret_minor)
{
    reader_expect(r, SLICE_LITERAL("HTTP/1."));
    unsigned minor = reader_u8(r) - (unsigned)'0';
    reader_expect(r, SLICE_LITERAL(" "));
    struct slice digits = reader_take(r, 3);
    unsigned status = 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = digits.data[i] - (unsigned)'0';
        if (digit > 9)
            reader_fail(r, ERR_SYNTAX);
        status = status * 10 + digit;
    }
    reader_expect(r, SLICE_LITERAL(" "));
    struct slice reason = reader_until(r, '\r');
    for (size_t i = 0; i < reason.len; i++)
        if (!is_field_byte(reason.data[i]))
            reader_fail(r, ERR_SYNTAX);
    reader_expect(r, SLICE_LITERAL("\n"));
    if (minor > 1 || status < 100 || status > 599)
        reader_fail(r, ERR_SYNTAX);
    *ret_status = status;
    *ret_minor = minor;
}

static enum err begin_body(struct http1_response *r, const struct framing *framing)
{
    bool empty = r->to_head || r->status == 204 || r->status == 304;
    if (empty || (framing->has_length && framing->length == 0)) {
        r->phase = PHASE_DONE;
    } else if (framing->chunked) {
        r->phase = PHASE_CHUNK_SIZE;
        r->left = 0;
        r->line_len = 0;
    } else if (framing->has_length) {
        if (framing->length > r->max - r->len)
            return ERR_LIMIT;
        r->phase = PHASE_BODY_LENGTH;
        r->left = framing->length;
    } else {
        r->phase = PHASE_BODY_CLOSE;
        r->until_close = true;
        r->keep_alive = false;
    }
    return ERR_NONE;
}

/* The head stands whole in the buffer. */
static enum err finish_head(struct http1_response *r)
{
    /* Without its empty line. */
    struct reader head = reader_over(slice_of(r->buffer, r->len - 2));
    struct framing framing = {0};
    unsigned minor;
    take_status_line(&head, &r->status, &minor);
    while (reader_left(&head) > 0) {
        struct field field = take_field(&head);
        if (head.err == ERR_NONE)
            reader_fail(&head, read_framing_field(field, &framing));
    }
    enum err err = reader_finish(&head);
    if (err != ERR_NONE)
        return err;
    /* RFC 9112 section 6.1: HTTP/1.0 has no transfer codings, so its framing is not to be trusted.
     */
    if (minor == 0 && framing.chunked)
        return ERR_SYNTAX;
    if (r->status < 200) {
        /* We never ask for another protocol. */
        if (r->status == 101 || ++r->left > INTERIM_MAX)
            return ERR_SYNTAX;
        r->len = 0;
        r->line_len = 0;
        return ERR_NONE;
    }
    r->keep_alive = !framing.close && (minor == 1 || framing.keep_alive);
    r->head_len = r->len;
    return begin_body(r, &framing);
}

static enum err feed_head(struct http1_response *r, uint8_t c)
{
    bool after_cr = r->len > 0 && r->buffer[r->len - 1] == '\r';
    if (after_cr != (c == '\n'))
        return ERR_SYNTAX;
    if (r->len == HTTP1_HEAD_MAX || r->len == r->max)
        return ERR_LIMIT;
    r->buffer[r->len++] = c;
    if (c == '\r')
        return ERR_NONE;
    if (c != '\n') {
        r->line_len++;
        return ERR_NONE;
    }
    bool empty = r->line_len == 0;
    r->line_len = 0;
    return empty ? finish_head(r) : ERR_NONE;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Digits go into r->left, their number into r->line_len. */
static enum err feed_chunk_size(struct http1_response *r, uint8_t c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        r->left = r->left << 4 | (unsigned)digit;
        /* Before the next digit could overflow, and before bytes come that have no room. */
        return r->left > r->max - r->len || ++r->line_len > CHUNK_LINE_MAX ? ERR_LIMIT : ERR_NONE;
    }
    if (r->line_len == 0 || (c != ';' && c != '\r'))
        return ERR_SYNTAX;
    r->phase = c == ';' ? PHASE_CHUNK_EXTENSION : PHASE_CHUNK_SIZE_LF;
    return ERR_NONE;
}

/* Bytes of a line that we skip: a chunk's extension or a trailer field. */
static enum err feed_skipped(struct http1_response *r, uint8_t c, enum phase line_end, size_t max)
{
    if (c == '\r')
        r->phase = line_end;
    else if (!is_field_byte(c))
        return ERR_SYNTAX;
    else if (++r->line_len > max)
        return ERR_LIMIT;
    return ERR_NONE;
}

static enum err expect_byte(struct http1_response *r, uint8_t c, uint8_t expected, enum phase next)
{
    if (c != expected)
        return ERR_SYNTAX;
    r->phase = next;
    return ERR_NONE;
}

/* What is not the body itself comes byte by byte. */
static enum err feed_byte(struct http1_response *r, uint8_t c)
{
    switch ((enum phase)r->phase) {
    case PHASE_HEAD:
        return feed_head(r, c);
    case PHASE_CHUNK_SIZE:
        return feed_chunk_size(r, c);
    case PHASE_CHUNK_EXTENSION:
        return feed_skipped(r, c, PHASE_CHUNK_SIZE_LF, CHUNK_LINE_MAX);
    case PHASE_CHUNK_SIZE_LF:
        r->line_len = 0;
        return expect_byte(r, c, '\n', r->left > 0 ? PHASE_CHUNK_DATA : PHASE_TRAILER_START);
    case PHASE_CHUNK_DATA_CR:
        return expect_byte(r, c, '\r', PHASE_CHUNK_DATA_LF);
    case PHASE_CHUNK_DATA_LF:
        return expect_byte(r, c, '\n', PHASE_CHUNK_SIZE);
    case PHASE_TRAILER_START:
        if (c == '\r')
            return expect_byte(r, c, '\r', PHASE_END_LF);
        r->phase = PHASE_TRAILER_LINE;
        return c == ' ' || c == '\t' || c == ':'
                   ? ERR_SYNTAX
                   : feed_skipped(r, c, PHASE_TRAILER_LINE_LF, TRAILER_MAX);
    case PHASE_TRAILER_LINE:
        return feed_skipped(r, c, PHASE_TRAILER_LINE_LF, TRAILER_MAX);
    case PHASE_TRAILER_LINE_LF:
        return expect_byte(r, c, '\n', PHASE_TRAILER_START);
    case PHASE_END_LF:
        return expect_byte(r, c, '\n', PHASE_DONE);
    case PHASE_BODY_LENGTH:
    case PHASE_BODY_CLOSE:
    case PHASE_CHUNK_DATA:
    case PHASE_DONE:
        break;
    }
    return ERR_INTERNAL;
}

/* Keeps what of `bytes` belongs to the body; returns how many. */
static size_t feed_body(struct http1_response *r, struct slice bytes)
{
    size_t n = bytes.len;
    if (r->phase == PHASE_BODY_CLOSE) {
        if (n > r->max - r->len) {
            r->err = ERR_LIMIT;
            return 0;
        }
    } else if (n >= r->left) {
        n = (size_t)r->left;
        r->phase = r->phase == PHASE_CHUNK_DATA ? PHASE_CHUNK_DATA_CR : PHASE_DONE;
    }
    memcpy(r->buffer + r->len, bytes.data, n);
    r->len += n;
    r->left -= r->phase == PHASE_BODY_CLOSE ? 0 : n;
    return n;
}

enum err http1_response_feed(struct http1_response *r, struct slice bytes, size_t *ret_used)
{
    size_t used = 0;
    while (used < bytes.len && r->phase != PHASE_DONE && r->err == ERR_NONE) {
        if (r->phase == PHASE_BODY_LENGTH || r->phase == PHASE_BODY_CLOSE ||
            r->phase == PHASE_CHUNK_DATA)
            used += feed_body(r, slice_of(bytes.data + used, bytes.len - used));
        else
            r->err = feed_byte(r, bytes.data[used++]);
    }
    if (r->err == ERR_NONE)
        *ret_used = used;
    return r->err;
}

enum err http1_response_end(struct http1_response *r)
{
    if (r->err == ERR_NONE && r->phase == PHASE_BODY_CLOSE)
        r->phase = PHASE_DONE;
    if (r->err == ERR_NONE && r->phase != PHASE_DONE)
        r->err = ERR_CLOSED;
    return r->err;
}

bool http1_response_done(const struct http1_response *r)
{
    return r->err == ERR_NONE && r->phase == PHASE_DONE;
}

struct slice http1_response_body(const struct http1_response *r)
{
    if (r->head_len == 0)
        return (struct slice){NULL, 0};
    return slice_of(r->buffer + r->head_len, r->len - r->head_len);
}

bool http1_response_header(const struct http1_response *r, const char *name,
                           struct slice *ret_value)
{
    if (r->head_len == 0)
        return false;
    struct slice wanted = slice_of_text(name);
    struct reader head = reader_over(slice_of(r->buffer, r->head_len - 2));
    (void)reader_until(&head, '\n');
    while (reader_left(&head) > 0) {
        struct field field = take_field(&head);
        if (head.err != ERR_NONE || !equal_ignoring_case(field.name, wanted))
            continue;
        *ret_value = field.value;
        return true;
    }
    return false;
}
