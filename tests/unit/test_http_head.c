#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/http_head.h"

#define HEADER_MAX 512
#define H          "Host: h\r\n"

struct head_case {
    const char *text;
    size_t len;
    unsigned status; /* 0: good */
};
#define CASE(text, status)                                                                         \
    {                                                                                              \
        text, sizeof(text) - 1, status                                                             \
    }

static const struct head_case cases[] = {
    CASE("GET / HTTP/1.1\r\n" H "\r\n", 0),
    CASE("GET /a?b=c&d HTTP/1.1\r\nhost:h\r\n\r\n", 0),
    CASE("GET / HTTP/1.0\r\n\r\n", 0),
    CASE("GET http://h:80/a HTTP/1.1\r\n" H "\r\n", 0),
    CASE("GET https://h HTTP/1.1\r\n" H "\r\n", 0),
    CASE("GET http://h?q HTTP/1.1\r\n" H "\r\n", 0),
    CASE("PUT / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 0),
    CASE("POST / HTTP/1.1\r\n" H "content-LENGTH:   12  \r\n\r\n", 0),
    CASE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", 0),
    CASE("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n\r\n", 0),
    CASE("DELETE / HTTP/1.1\r\n" H "X-Y: \xc3\xa4\tb\r\n\r\n", 0),
    /* Request line */
    CASE("GET / HTTP/1.1\n" H "\r\n", 400),
    CASE("\r\nGET / HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET  / HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /  HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET / HTTP/1.1 \r\n" H "\r\n", 400),
    CASE(" GET / HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /\r\n" H "\r\n", 400),
    CASE("GET / HTTP/2.0\r\n" H "\r\n", 505),
    CASE("GET / HTTP/1.2\r\n" H "\r\n", 505),
    CASE("GET / HTTP/1.11\r\n" H "\r\n", 400),
    CASE("GET / http/1.1\r\n" H "\r\n", 400),
    CASE("G\x00T / HTTP/1.1\r\n" H "\r\n", 400),
    CASE("get / HTTP/1.1\r\n" H "\r\n", 405),
    CASE("OPTIONS * HTTP/1.1\r\n" H "\r\n", 405),
    CASE("CONNECT h:443 HTTP/1.1\r\n" H "\r\n", 405),
    CASE("GET * HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET a HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET //a HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /\x7f HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /a#b HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /\x00 HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET /\t HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET http://h:99999/ HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET http://h:/ HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET http:///a HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET http://u@h/ HTTP/1.1\r\n" H "\r\n", 400),
    CASE("GET ftp://h/ HTTP/1.1\r\n" H "\r\n", 400),
    /* Fields */
    CASE("GET / HTTP/1.1\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H H "\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A: b\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A: b\r\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A: b\x00\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A\x00: b\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A : b\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H ": b\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A:\tb\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "A(b): c\r\n\r\n", 400),
    CASE("GET / HTTP/1.1\r\n" H "\n", 400),
    /* Framing */
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: 9999999999999999\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", 501),
    CASE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    CASE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501),
    CASE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         400),
    CASE("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400),
    CASE("HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", 400),
    CASE("HEAD / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400),
    CASE("POST / HTTP/1.1\r\n" H "Expect: more\r\n\r\n", 417),
};

static void check(struct slice text, unsigned status)
{
    struct http_head h = {0};
    enum http_verdict v = http_head_read(&h, text, HEADER_MAX);
    if (v != (status == 0 ? HTTP_WHOLE : HTTP_REFUSE) || h.status != status)
        print_error("wanted %u, got %u: %.*s\n", status, h.status, (int)text.len, text.data);
    assert_int_equal(v, status == 0 ? HTTP_WHOLE : HTTP_REFUSE);
    assert_int_equal(h.status, status);
    if (status == 0)
        assert_int_equal(h.len, text.len);
}

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(slice_of(cases[i].text, cases[i].len), cases[i].status);
}

/* The verdict does not depend on how the bytes come. */
static void test_heads_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_head h = {0};
        enum http_verdict v = HTTP_MORE;
        for (size_t n = 0; n <= cases[i].len && v == HTTP_MORE; n++) {
            uint8_t *copy = malloc(n + 1); /* so that reading ahead is seen */
            assert_non_null(copy);
            memcpy(copy, cases[i].text, n);
            v = http_head_read(&h, slice_of(copy, n), HEADER_MAX);
            free(copy);
        }
        assert_int_equal(v, cases[i].status == 0 ? HTTP_WHOLE : HTTP_REFUSE);
        assert_int_equal(h.status, cases[i].status);
    }
}

static void test_what_is_read(void **state)
{
    static const char text[] = "PATCH /x HTTP/1.1\r\n" H "Connection: te , Close\r\n"
                               "Content-Length: 123\r\nExpect: 100-continue\r\n\r\nGET";
    struct http_head h = {0};
    (void)state;
    assert_int_equal(http_head_read(&h, slice_of(text, sizeof text - 1), HEADER_MAX), HTTP_WHOLE);
    assert_int_equal(h.len, sizeof text - 4);
    assert_int_equal(h.method, HTTP_PATCH);
    assert_int_equal(h.length, 123);
    assert_true(h.close && h.expect && h.length_seen && !h.chunked && !h.http_1_0 && !h.absolute);
}

static void test_limits(void **state)
{
    char text[8192];
    struct http_head h = {0};
    (void)state;
    /* No end of the request line in sight. */
    memset(text, 'a', sizeof text);
    assert_int_equal(http_head_read(&h, slice_of(text, HEADER_MAX - 1), HEADER_MAX), HTTP_MORE);
    assert_int_equal(http_head_read(&h, slice_of(text, HEADER_MAX), HEADER_MAX), HTTP_REFUSE);
    assert_int_equal(h.status, 414);
    /* A target that is too long, in a header that would be allowed. */
    h = (struct http_head){0};
    memcpy(text, "GET /", 5);
    memcpy(text + 5 + HTTP_TARGET_MAX, " HTTP/1.1\r\n" H "\r\n", 22);
    assert_int_equal(http_head_read(&h, slice_of(text, sizeof text), sizeof text), HTTP_REFUSE);
    assert_int_equal(h.status, 414);
    /* A header that does not end. */
    h = (struct http_head){0};
    memset(text, 'a', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(http_head_read(&h, slice_of(text, HEADER_MAX), HEADER_MAX), HTTP_REFUSE);
    assert_int_equal(h.status, 431);
    /* Many short fields. */
    h = (struct http_head){0};
    size_t len = 16;
    for (int i = 0; i <= HTTP_FIELDS_MAX; i++, len += 5)
        memcpy(text + len, "A: \r\n", 5);
    assert_int_equal(http_head_read(&h, slice_of(text, len), sizeof text), HTTP_REFUSE);
    assert_int_equal(h.status, 431);
}

static const struct {
    const char *text;
    enum http_verdict verdict;
    unsigned status;
    uint64_t total;
} chunk_cases[] = {
    {"0\r\n\r\n", HTTP_WHOLE, 0, 0},
    {"3\r\nabc\r\n0\r\n\r\n", HTTP_WHOLE, 0, 3},
    {"3\r\nabc\r\n00A\r\n0123456789\r\n000\r\n\r\n", HTTP_WHOLE, 0, 13},
    {"3\r\nabc\r\n", HTTP_MORE, 0, 3},
    {"", HTTP_MORE, 0, 0},
    {"3\nabc\r\n0\r\n\r\n", HTTP_REFUSE, 400, 0},
    {"3\r\nabc0\r\n\r\n", HTTP_REFUSE, 400, 0},
    {"3\r\nabc\n0\r\n\r\n", HTTP_REFUSE, 400, 0},
    {"\r\n0\r\n\r\n", HTTP_REFUSE, 400, 0},
    {"-1\r\n", HTTP_REFUSE, 400, 0},
    {"0x3\r\nabc\r\n", HTTP_REFUSE, 400, 0},
    {"3 \r\nabc\r\n", HTTP_REFUSE, 400, 0},
    {"3;a=b\r\nabc\r\n", HTTP_REFUSE, 400, 0},
    {"0\r\nTrailer: x\r\n\r\n", HTTP_REFUSE, 400, 0},
    {"000000003\r\nabc\r\n", HTTP_REFUSE, 400, 0},
    {"65\r\n", HTTP_REFUSE, 413, 0},
    {"ffffffff\r\n", HTTP_REFUSE, 413, 0},
    {"60\r\n", HTTP_MORE, 0, 0x60},
};

static void test_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(chunk_cases); i++) {
        struct slice all = slice_of_text(chunk_cases[i].text);
        struct http_chunks whole = {0};
        uint16_t status = 0;
        size_t used = 0;
        assert_int_equal(http_chunks_read(&whole, all, 100, &used, &status),
                         chunk_cases[i].verdict);
        assert_int_equal(status, chunk_cases[i].status);
        if (chunk_cases[i].verdict != HTTP_REFUSE) {
            assert_int_equal(whole.total, chunk_cases[i].total);
            assert_int_equal(used, all.len);
        }
        struct http_chunks single = {0};
        enum http_verdict v = HTTP_MORE;
        status = 0;
        for (size_t n = 0; n < all.len && v == HTTP_MORE; n++)
            v = http_chunks_read(&single, slice_of(all.data + n, 1), 100, &used, &status);
        assert_int_equal(v, chunk_cases[i].verdict);
        assert_int_equal(status, chunk_cases[i].status);
    }
}

static void test_chunks_stop_at_the_end(void **state)
{
    struct http_chunks c = {0};
    uint16_t status = 0;
    size_t used = 0;
    (void)state;
    assert_int_equal(
        http_chunks_read(&c, SLICE_LITERAL("1\r\na\r\n0\r\n\r\nGET /"), 100, &used, &status),
        HTTP_WHOLE);
    assert_int_equal(used, 11);
}

/* One-byte chunks cost six bytes each: their framing is bounded, too. */
static void test_chunks_tiny(void **state)
{
    struct http_chunks c = {0};
    uint16_t status = 0;
    size_t used = 0;
    enum http_verdict v = HTTP_MORE;
    int n = 0;
    (void)state;
    for (; v == HTTP_MORE && n < 10000; n++)
        v = http_chunks_read(&c, SLICE_LITERAL("1\r\na\r\n"), 5000, &used, &status);
    assert_int_equal(v, HTTP_REFUSE);
    assert_int_equal(status, 413);
    assert_true(n < 2500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),        cmocka_unit_test(test_heads_byte_by_byte),
        cmocka_unit_test(test_what_is_read), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_chunks),       cmocka_unit_test(test_chunks_stop_at_the_end),
        cmocka_unit_test(test_chunks_tiny),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
