#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/http_fixture.h"

#define H "Host: h\r\n"

static struct http_listener *listener;

static int set_up(void **state)
{
    (void)state;
    fixture_new();
    struct http_listener_options options = fixture_options(fixture.unix_address, NULL);
    assert_int_equal(http_server_listen(fixture.server, &options, &listener), ERR_NONE);
    fixture_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_free();
    return 0;
}

static struct http_counters counters(void)
{
    struct http_counters c;
    http_listener_counters(listener, &c);
    return c;
}

static void test_good_requests(void **state)
{
    int fd = connect_unix();
    (void)state;
    send_text(fd, "POST /echo?a=b HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
    struct answer a = read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 5);
    assert_memory_equal(a.body, "hello", 5);
    assert_non_null(strstr(a.text, "\r\nX-Query: a=b\r\n"));
    assert_non_null(strstr(a.text, "\r\nCache-Control: no-store\r\n"));
    assert_null(strstr(a.text, "Connection:"));
    answer_free(&a);
    send_text(fd, "GET /nowhere HTTP/1.1\r\n" H "\r\n");
    a = read_answer(fd);
    assert_int_equal(a.status, 404);
    assert_string_equal(a.body, "/nowhere");
    answer_free(&a);
    send_text(fd, "HEAD /nowhere HTTP/1.1\r\n" H "\r\n");
    a = read_answer_by(receive_plain, &fd, true);
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(a.text, "Content-Length: 8\r\n"));
    answer_free(&a);
    send_text(fd, "GET http://h/echo?x HTTP/1.1\r\n" H "\r\n");
    a = read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\r\nX-Query: x\r\n"));
    answer_free(&a);
    assert_true(wait_for_close(fd));
    close(fd);
    assert_int_equal(counters().requests, 4);
    assert_int_equal(atomic_load(&fixture.replies), 4);
}

static void test_chunked(void **state)
{
    int fd = connect_unix();
    (void)state;
    send_text(fd, "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                  "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
                  "GET /after HTTP/1.1\r\n" H "\r\n");
    struct answer a = read_answer(fd);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 11);
    assert_memory_equal(a.body, "hello world", 11);
    answer_free(&a);
    a = read_answer(fd);
    assert_string_equal(a.body, "/after");
    answer_free(&a);
    close(fd);
}

/* However the bytes are cut, the answers are the same. */
static void test_pieces_and_pipelining(void **state)
{
    static const char all[] = "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"
                              "GET /1 HTTP/1.1\r\n" H "\r\n"
                              "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                              "3\r\nabc\r\n0\r\n\r\n"
                              "GET /2 HTTP/1.1\r\n" H "\r\n";
    (void)state;
    for (size_t step = 1; step < sizeof all; step = step * 2 + 1) {
        int fd = connect_unix();
        for (size_t at = 0; at < sizeof all - 1; at += step) {
            size_t n = sizeof all - 1 - at < step ? sizeof all - 1 - at : step;
            send_bytes(fd, all + at, n);
            if (step < 32)
                sched_yield();
        }
        static const char *const bodies[] = {"hello", "/1", "abc", "/2"};
        for (size_t i = 0; i < 4; i++) {
            struct answer a = read_answer(fd);
            assert_string_equal(a.body, bodies[i]);
            answer_free(&a);
        }
        close(fd);
    }
}

static void test_expect_continue(void **state)
{
    int fd = connect_unix();
    (void)state;
    for (int i = 0; i < 3; i++) {
        send_text(fd,
                  "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        expect_status(fd, 100);
        send_text(fd, "hello");
        expect_status(fd, 200);
    }
    /* The body came along: no need to ask for it. */
    send_text(fd,
              "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    expect_status(fd, 200);
    /* Too large: refused before it is sent. */
    send_text(fd,
              "POST /echo HTTP/1.1\r\n" H "Content-Length: 20001\r\nExpect: 100-continue\r\n\r\n");
    expect_status(fd, 413);
    assert_true(wait_for_close(fd));
    close(fd);
}

static const struct {
    const char *text;
    unsigned status;
} refused[] = {
    {"GET / HTTP/1.1\n" H "\n", 400},
    {"nonsense\r\n\r\n", 400},
    {"\x16\x03\x01\x02", 0}, /* TLS on a plain socket: not a line; cut by the deadline */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
    {"GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffff\r\n", 413},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 20001\r\nExpect: 100-continue\r\n\r\n", 413},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\n", 413},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 405},
    {"BREW /pot HTTP/1.1\r\n" H "\r\n", 405},
    {"GET / HTTP/3.0\r\n" H "\r\n", 505},
    {"POST / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n", 417},
    {"GET / HTTP/1.1\r\n\r\n", 400},
};

static void test_refused_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        /* Alone, behind a good request, and in two pieces: the head may be held by then. */
        for (int how = 0; how < 3; how++) {
            int fd = connect_unix();
            size_t half = strlen(refused[i].text) / 2;
            if (how == 1)
                send_text(fd, "GET /first HTTP/1.1\r\n" H "\r\n");
            send_bytes(fd, refused[i].text, half);
            if (how == 2)
                sleep_ms(5);
            send_text(fd, refused[i].text + half);
            if (how == 1)
                expect_status(fd, 404);
            struct answer a = read_answer(fd);
            if (a.status != refused[i].status)
                print_error("%zu/%d: %s", i, how, a.text);
            assert_int_equal(a.status, refused[i].status);
            if (a.status != 0) {
                assert_non_null(strstr(a.text, "\r\nConnection: close\r\n"));
                assert_non_null(strstr(a.text, "\r\nContent-Type: application/problem+json\r\n"));
                assert_non_null(strstr(a.body, "\"code\":\""));
                assert_int_equal(a.body[0], '{');
            }
            answer_free(&a);
            assert_true(wait_for_close(fd));
            close(fd);
        }
    }
    assert_int_equal(counters().malformed, 3 * (ARRAY_LEN(refused) - 1));
    assert_int_equal(counters().timed_out, 3);
    WAIT_FOR(counters().open == 0);
}

static void test_header_too_long(void **state)
{
    char text[HEADER_MAX + 64];
    int fd = connect_unix();
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    send_bytes(fd, text, HEADER_MAX);
    expect_status(fd, 431);
    assert_true(wait_for_close(fd));
    close(fd);
}

/* The body is sent to its end before the answer is looked at, as most clients do. */
static void test_body_too_large_is_told(void **state)
{
    static const char head[] = "POST /echo HTTP/1.1\r\n" H "Content-Length: 200000\r\n\r\n";
    char *body = malloc(200000);
    int fd = connect_unix();
    (void)state;
    assert_non_null(body);
    memset(body, 'x', 200000);
    send_text(fd, head);
    send_bytes(fd, body, 200000);
    expect_status(fd, 413);
    assert_true(wait_for_close(fd));
    close(fd);
    free(body);
}

static void test_body_at_the_limit(void **state)
{
    char head[128];
    char *body = malloc(BODY_MAX);
    int fd = connect_unix();
    (void)state;
    assert_non_null(body);
    memset(body, 'x', BODY_MAX);
    (void)snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n",
                   BODY_MAX);
    for (int i = 0; i < 3; i++) {
        send_text(fd, head);
        send_bytes(fd, body, BODY_MAX);
        struct answer a = read_answer(fd);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body_len, BODY_MAX);
        assert_memory_equal(a.body, body, BODY_MAX);
        answer_free(&a);
    }
    close(fd);
    free(body);
}

static void test_big_answer(void **state)
{
    int fd = connect_unix();
    (void)state;
    for (int i = 0; i < 2; i++) {
        send_text(fd, "GET /big HTTP/1.1\r\n" H "\r\n");
        struct answer a = read_answer(fd);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body_len, BIG_BODY);
        for (size_t n = 0; n < a.body_len; n++)
            assert_int_equal(a.body[n], 'b');
        answer_free(&a);
    }
    close(fd);
}

static void test_connection_close(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
        "GET / HTTP/1.1\r\n" H "Connection: x, CLOSE\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /close HTTP/1.1\r\n" H "\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int fd = connect_unix();
        send_text(fd, texts[i]);
        struct answer a = read_answer(fd);
        assert_non_null(strstr(a.text, "\r\nConnection: close\r\n"));
        answer_free(&a);
        assert_true(wait_for_close(fd));
        close(fd);
    }
}

static void test_credentials_and_identity(void **state)
{
    (void)state;
    int fd = connect_unix();
    send_text(fd, "GET /keep HTTP/1.1\r\n" H "X-A: one\r\nx-a: two\r\n\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    struct http_request *r = fixture.kept[0].request;
    uid_t uid = 1;
    gid_t gid = 1;
    pid_t pid = 0;
    assert_int_equal(http_request_credentials(r, &uid, &gid, &pid), ERR_NONE);
    assert_int_equal(uid, getuid());
    assert_int_equal(gid, getgid());
    assert_int_equal(pid, getpid());
    assert_string_equal(http_request_address(r), "unix");
    assert_int_equal(http_request_tag(r), 7);
    assert_false(http_request_peer(r)->present);
    assert_string_equal(http_request_header(r, "X-a"), "one");
    assert_null(http_request_header(r, "X-B"));
    struct slice der;
    assert_int_equal(http_request_peer_certificate(r, &der), ERR_NOT_FOUND);
    answer_all_kept();
    expect_status(fd, 200);
    close(fd);
}

/* Listening is for before the loops run. */
static int set_up_addresses(void **state)
{
    static const struct {
        const char *address;
        enum err err;
    } bad[] = {
        {"", ERR_UNSUPPORTED},
        {"unix:", ERR_SYNTAX},
        {"unix:/nonexistent/folder/s", ERR_IO},
        {"127.0.0.1:0", ERR_UNSUPPORTED}, /* nothing but TLS on the network */
    };
    struct http_listener *l = NULL;
    (void)state;
    fixture_new();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_listener_options options = fixture_options(bad[i].address, NULL);
        assert_int_equal(http_server_listen(fixture.server, &options, &l), bad[i].err);
    }
    /* ... but where that is what was asked for; and who asks for both has erred. */
    struct http_listener_options plain = fixture_options("127.0.0.1:0", NULL);
    plain.plain = true;
    assert_int_equal(http_server_listen(fixture.server, &plain, &l), ERR_NONE);
    plain.address = fixture.unix_address;
    assert_int_equal(http_server_listen(fixture.server, &plain, &l), ERR_UNSUPPORTED);
    struct http_listener_options options = fixture_options(fixture.unix_address, NULL);
    assert_int_equal(http_server_listen(fixture.server, &options, &listener), ERR_NONE);
    /* Somebody answers there. */
    assert_int_equal(http_server_listen(fixture.server, &options, &l), ERR_IO);
    assert_int_equal(errno, EADDRINUSE);
    fixture_start();
    return 0;
}

static void test_addresses(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(stat(fixture.unix_address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = connect_unix();
    send_text(fd, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(fd, 404);
    close(fd);
}

/* A file that is no socket is not removed; a socket file that nobody answers on is. */
static int set_up_stale(void **state)
{
    (void)state;
    fixture_new();
    struct http_listener_options options = fixture_options(fixture.unix_address, NULL);
    const char *path = fixture.unix_address + 5;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(http_server_listen(fixture.server, &options, &listener), ERR_IO);
    assert_int_equal(unlink(path), 0);
    struct sockaddr_un sun = unix_sockaddr();
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    close(fd);
    assert_int_equal(http_server_listen(fixture.server, &options, &listener), ERR_NONE);
    fixture_start();
    return 0;
}

static void test_stale_socket(void **state)
{
    (void)state;
    int fd = connect_unix();
    send_text(fd, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(fd, 404);
    close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_good_requests),
        TEST(test_chunked),
        TEST(test_pieces_and_pipelining),
        TEST(test_expect_continue),
        TEST(test_refused_requests),
        TEST(test_header_too_long),
        TEST(test_body_too_large_is_told),
        TEST(test_body_at_the_limit),
        TEST(test_big_answer),
        TEST(test_connection_close),
        TEST(test_credentials_and_identity),
        cmocka_unit_test_setup_teardown(test_addresses, set_up_addresses, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_socket, set_up_stale, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
