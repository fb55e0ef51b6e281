#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/http1.h"

static void writes_requests(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *extra, *type, *body, *text;
    } cases[] = {
        {"GET", "/v1/x?y=1", "", NULL, "", "GET /v1/x?y=1 HTTP/1.1\r\nHost: h:1\r\n\r\n"},
        {"POST", "/e", "A: b\r\nC:\r\n", "application/pkcs10", "MII=",
         "POST /e HTTP/1.1\r\nHost: h:1\r\nA: b\r\nC:\r\nContent-Type: application/pkcs10\r\n"
         "Content-Length: 4\r\n\r\nMII="},
        {"POST", "/e", "", NULL, "", "POST /e HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[256];
        struct writer w = writer_over(buffer, sizeof buffer);
        assert_int_equal(http1_write_request(&w, cases[i].method, slice_of_text(cases[i].target),
                                             SLICE_LITERAL("h:1"), slice_of_text(cases[i].extra),
                                             cases[i].type, slice_of_text(cases[i].body)),
                         ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(cases[i].text)));
        size_t len = w.len;
        w = writer_over(buffer, len - 1);
        assert_int_equal(http1_write_request(&w, cases[i].method, slice_of_text(cases[i].target),
                                             SLICE_LITERAL("h:1"), slice_of_text(cases[i].extra),
                                             cases[i].type, slice_of_text(cases[i].body)),
                         ERR_LIMIT);
    }
}

static void refuses_requests_that_split(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *host, *extra, *type;
    } cases[] = {
        {"", "/", "h", "", NULL},
        {"GE T", "/", "h", "", NULL},
        {"GET\r\n", "/", "h", "", NULL},
        {"GET", "", "h", "", NULL},
        {"GET", "/ HTTP/1.1\r\nX: y", "h", "", NULL},
        {"GET", "/a b", "h", "", NULL},
        {"GET", "/\x80", "h", "", NULL},
        {"GET", "/", "", "", NULL},
        {"GET", "/", "h\r\nX: y", "", NULL},
        {"GET", "/", "h\n", "", NULL},
        {"GET", "/", "h", "X: y", NULL},
        {"GET", "/", "h", "X: y\n", NULL},
        {"GET", "/", "h", "X: y\r\n\r\n", NULL},
        {"GET", "/", "h", "X: y\r\n folded\r\n", NULL},
        {"GET", "/", "h", "X : y\r\n", NULL},
        {"GET", "/", "h", "X: y\rZ: a\r\n", NULL},
        {"GET", "/", "h", "no colon\r\n", NULL},
        {"GET", "/", "h", "", "text/plain\r\nX: y"},
        {"GET", "/", "h", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[256];
        struct writer w = writer_over(buffer, sizeof buffer);
        if (http1_write_request(&w, cases[i].method, slice_of_text(cases[i].target),
                                slice_of_text(cases[i].host), slice_of_text(cases[i].extra),
                                cases[i].type, slice_of(NULL, 0)) != ERR_SYNTAX)
            fail_msg("case %zu", i);
        assert_int_equal(w.len, 0);
    }
}

/* Feeds text in pieces of `step` bytes; *ret_used counts what belonged to the response. */
static enum err feed(struct http1_response *r, struct slice text, size_t step, size_t *ret_used)
{
    *ret_used = 0;
    while (*ret_used < text.len && !http1_response_done(r)) {
        size_t n = text.len - *ret_used < step ? text.len - *ret_used : step;
        /* its own allocation, so that a sanitizer sees a read past the end */
        uint8_t *piece = test_malloc(n);
        memcpy(piece, text.data + *ret_used, n);
        size_t used = 0;
        enum err err = http1_response_feed(r, slice_of(piece, n), &used);
        test_free(piece);
        if (err != ERR_NONE)
            return err;
        *ret_used += used;
        if (used < n)
            break;
    }
    return ERR_NONE;
}

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
    const char *text;
    unsigned status;
    bool keep_alive;
    bool until_close;
    bool to_head;
    const char *body;
} good[] = {
    {OK "Content-Length: 5\r\n\r\nhello", 200, true, false, false, "hello"},
    {OK "content-LENGTH:\t5 \r\n\r\nhello", 200, true, false, false, "hello"},
    {OK "Content-Length: 0\r\nConnection: close\r\n\r\n", 200, false, false, false, ""},
    {OK "Connection: x, Close\r\nContent-Length: 2\r\n\r\nok", 200, false, false, false, "ok"},
    {OK "\r\nto the end", 200, false, true, false, "to the end"},
    {OK "\r\n", 200, false, true, false, ""},
    {"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", 404, false, false, false, "x"},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, true, false,
     false, "x"},
    {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, true, false, false,
     "hello"},
    {OK "Transfer-Encoding: Chunked\r\n\r\n0A;n=\"v\"\r\n0123456789\r\n001\r\nx\r\n0;e\r\nT: "
        "u\r\nV:\r\n\r\n",
     200, true, false, false, "0123456789x"},
    {OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, true, false, false, ""},
    {"HTTP/1.1 204 \r\n\r\n", 204, true, false, false, ""},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, true, false, false, ""},
    {OK "Content-Length: 9\r\n\r\n", 200, true, false, true, ""},
    {OK "Transfer-Encoding: chunked\r\n\r\n", 200, true, false, true, ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK
     "Content-Length: 1\r\n\r\nx",
     200, true, false, false, "x"},
    {"HTTP/1.1 200 \xc3\xa9\r\nX: \xff\r\nContent-Length: 0\r\n\r\n", 200, true, false, false, ""},
};

static void reads_responses_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct slice text = slice_of_text(good[i].text);
        for (size_t step = 1; step <= text.len; step++) {
            uint8_t buffer[512];
            struct http1_response r;
            http1_response_init(&r, buffer, sizeof buffer);
            r.to_head = good[i].to_head;
            size_t used;
            assert_int_equal(feed(&r, text, step, &used), ERR_NONE);
            assert_int_equal(used, text.len);
            assert_int_equal(http1_response_done(&r), !good[i].until_close);
            assert_int_equal(http1_response_end(&r), ERR_NONE);
            assert_true(http1_response_done(&r));
            assert_int_equal(r.status, good[i].status);
            assert_int_equal(r.keep_alive, good[i].keep_alive);
            assert_int_equal(r.until_close, good[i].until_close);
            assert_true(slice_equal(http1_response_body(&r), slice_of_text(good[i].body)));
        }
    }
}

static void leaves_what_follows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (good[i].until_close)
            continue;
        uint8_t buffer[512], text[512];
        struct writer w = writer_over(text, sizeof text);
        writer_text(&w, good[i].text);
        size_t len = w.len;
        writer_text(&w, "HTTP/1.1 500 next\r\n");
        struct http1_response r;
        http1_response_init(&r, buffer, sizeof buffer);
        r.to_head = good[i].to_head;
        size_t used = 0;
        assert_int_equal(http1_response_feed(&r, writer_bytes(&w), &used), ERR_NONE);
        assert_int_equal(used, len);
        used = 9;
        assert_int_equal(http1_response_feed(&r, SLICE_LITERAL("more"), &used), ERR_NONE);
        assert_int_equal(used, 0);
    }
}

static void a_cut_connection_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct slice text = slice_of_text(good[i].text);
        for (size_t n = 0; n < text.len; n++) {
            uint8_t buffer[512];
            struct http1_response r;
            http1_response_init(&r, buffer, sizeof buffer);
            r.to_head = good[i].to_head;
            size_t used;
            assert_int_equal(feed(&r, slice_of(text.data, n), 512, &used), ERR_NONE);
            bool in_body = r.until_close;
            assert_false(http1_response_done(&r));
            assert_int_equal(http1_response_end(&r), in_body ? ERR_NONE : ERR_CLOSED);
        }
    }
}

static void refuses_responses(void **state)
{
    (void)state;
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        /* two framings, two lengths, a length that is none */
        {OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_SYNTAX},
        {OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 5, 5\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: +5\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: -5\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 0x5\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 05\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length:\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 18446744073709551616\r\n\r\n", ERR_LIMIT},
        {OK "Content-Length: 18446744073709551615\r\n\r\n", ERR_LIMIT},
        {OK "Content-Length: 2000\r\n\r\n", ERR_LIMIT},
        {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", ERR_UNSUPPORTED},
        {OK "Transfer-Encoding: identity\r\n\r\n", ERR_UNSUPPORTED},
        {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_SYNTAX},
        /* lines */
        {"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 0\n\r\n", ERR_SYNTAX},
        {OK "Content-Length: 0\r\n\n", ERR_SYNTAX},
        {OK "A: b\rC: d\r\n\r\n", ERR_SYNTAX},
        {OK "A: b\r\r\n\r\n", ERR_SYNTAX},
        {OK "A: b\r\n folded\r\n\r\n", ERR_SYNTAX},
        {OK "A: b\r\n\tfolded\r\n\r\n", ERR_SYNTAX},
        {OK " A: b\r\n\r\n", ERR_SYNTAX},
        {OK "A : b\r\n\r\n", ERR_SYNTAX},
        {OK ": b\r\n\r\n", ERR_SYNTAX},
        {OK "A\r\n\r\n", ERR_SYNTAX},
        {OK "A: \x01\r\n\r\n", ERR_SYNTAX},
        {OK "A: \x7f\r\n\r\n", ERR_SYNTAX},
        {OK "\xc3\xa9: b\r\n\r\n", ERR_SYNTAX},
        /* status line */
        {"\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.2 200 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/2.0 200 OK\r\n\r\n", ERR_SYNTAX},
        {"http/1.1 200 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1  200 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 20 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 2000 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 099 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 600 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 2x0 OK\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 200 \x01\r\n\r\n", ERR_SYNTAX},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", ERR_SYNTAX},
        /* chunks */
        {CHUNKED "\r\n", ERR_SYNTAX},
        {CHUNKED "x\r\n", ERR_SYNTAX},
        {CHUNKED " 5\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "5 \r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "0x5\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "-5\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "`\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "5\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "5\r\nhello\n", ERR_SYNTAX},
        {CHUNKED "5\r\nhello!\r\n", ERR_SYNTAX},
        {CHUNKED "4\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "5;a\nb\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "5;a\x01\r\nhello\r\n", ERR_SYNTAX},
        {CHUNKED "5\rx", ERR_SYNTAX},
        {CHUNKED "1000\r\n", ERR_LIMIT},
        {CHUNKED "fffffffffffffffff5\r\nhello\r\n", ERR_LIMIT},
        {CHUNKED "10000000000000005\r\nhello\r\n", ERR_LIMIT},
        {CHUNKED "5\r\nhello\r\n0\r\n folded\r\n\r\n", ERR_SYNTAX},
        {CHUNKED "5\r\nhello\r\n0\r\nA: b\n\r\n", ERR_SYNTAX},
        {CHUNKED "5\r\nhello\r\n0\r\n\n", ERR_SYNTAX},
        {CHUNKED "5\r\nhello\r\n0\r\n\rx", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice text = slice_of_text(cases[i].text);
        for (size_t step = 1; step <= text.len; step += text.len > 1 ? text.len - 1 : 1) {
            uint8_t buffer[512];
            struct http1_response r;
            http1_response_init(&r, buffer, sizeof buffer);
            size_t used;
            enum err err = feed(&r, text, step, &used);
            if (err != cases[i].err)
                fail_msg("case %zu: %s", i, err_text(err));
            /* It stays so. */
            used = 77;
            assert_int_equal(http1_response_feed(&r, SLICE_LITERAL("x"), &used), err);
            assert_int_equal(used, 77);
            assert_int_equal(http1_response_end(&r), err);
            assert_false(http1_response_done(&r));
        }
    }
}

static void never_holds_more_than_its_buffer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct slice text = slice_of_text(good[i].text);
        for (size_t max = 0; max < text.len; max++) {
            uint8_t *buffer = test_malloc(max + 1);
            struct http1_response r;
            http1_response_init(&r, buffer, max);
            r.to_head = good[i].to_head;
            size_t used;
            enum err err = feed(&r, text, text.len, &used);
            /* The overhead of chunks and interim answers takes no room. */
            assert_true(err == ERR_LIMIT || (err == ERR_NONE && r.len <= max));
            test_free(buffer);
        }
    }
    static uint8_t long_head[HTTP1_HEAD_MAX + 64], buffer[2 * HTTP1_HEAD_MAX];
    struct writer w = writer_over(long_head, sizeof long_head);
    writer_text(&w, OK "A: ");
    while (w.len < HTTP1_HEAD_MAX)
        writer_u8(&w, 'a');
    writer_text(&w, "\r\n\r\n");
    struct http1_response r;
    http1_response_init(&r, buffer, sizeof buffer);
    size_t used;
    assert_int_equal(http1_response_feed(&r, writer_bytes(&w), &used), ERR_LIMIT);
}

static void endless_overhead_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *start, *again;
    } cases[] = {
        {"", "HTTP/1.1 100 Continue\r\n\r\n"}, {CHUNKED "0", "0"},       {CHUNKED "0;", "x"},
        {CHUNKED "0\r\n", "Trailer: x\r\n"},   {CHUNKED "0\r\nT:", "x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[512];
        struct http1_response r;
        http1_response_init(&r, buffer, sizeof buffer);
        size_t used;
        assert_int_equal(http1_response_feed(&r, slice_of_text(cases[i].start), &used), ERR_NONE);
        enum err err = ERR_NONE;
        for (size_t n = 0; n < 4096 && err == ERR_NONE; n++)
            err = http1_response_feed(&r, slice_of_text(cases[i].again), &used);
        assert_int_not_equal(err, ERR_NONE);
    }
}

static void finds_header_fields(void **state)
{
    (void)state;
    static const char text[] = OK "Retry-After:  5\t\r\nEmpty:\r\nX: first\r\nx: second\r\n"
                                  "Content-Length: 0\r\n\r\n";
    uint8_t buffer[256];
    struct http1_response r;
    http1_response_init(&r, buffer, sizeof buffer);
    struct slice value = {NULL, 42};
    assert_false(http1_response_header(&r, "X", &value));
    assert_int_equal(http1_response_body(&r).len, 0);
    size_t used;
    assert_int_equal(http1_response_feed(&r, slice_of_text(text), &used), ERR_NONE);
    assert_false(http1_response_header(&r, "Retry", &value));
    assert_false(http1_response_header(&r, "HTTP/1.1 200 OK", &value));
    assert_int_equal(value.len, 42);
    assert_true(http1_response_header(&r, "retry-AFTER", &value));
    assert_true(slice_equal(value, SLICE_LITERAL("5")));
    assert_true(http1_response_header(&r, "empty", &value));
    assert_int_equal(value.len, 0);
    assert_true(http1_response_header(&r, "X", &value));
    assert_true(slice_equal(value, SLICE_LITERAL("first")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_requests),
        cmocka_unit_test(refuses_requests_that_split),
        cmocka_unit_test(reads_responses_in_pieces_of_any_size),
        cmocka_unit_test(leaves_what_follows),
        cmocka_unit_test(a_cut_connection_is_seen),
        cmocka_unit_test(refuses_responses),
        cmocka_unit_test(never_holds_more_than_its_buffer),
        cmocka_unit_test(endless_overhead_is_refused),
        cmocka_unit_test(finds_header_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
