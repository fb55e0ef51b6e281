#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tls_fixture.h"

/* Half a record, half a ClientHello, nothing at all: one deadline from accept. */
static void test_stalled_handshakes_are_cut(void **state)
{
    static const char *const starts[] = {"", "\x16",
                                         "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"};
    unsigned port = http_listener_port(listeners[TLS_CLIENT_REQUIRED]);
    int fds[ARRAY_LEN(starts)];
    int64_t begun = clock_monotonic_ms();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        fds[i] = connect_tcp(port);
        send_bytes(fds[i], starts[i], i == 2 ? 11 : i);
    }
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        assert_true(wait_for_close(fds[i]));
        close(fds[i]);
    }
    assert_in_range((uint64_t)(clock_monotonic_ms() - begun), REQUEST_MS - 50, REQUEST_MS + 1000);
    /* Half a record behind a handshake that went well. */
    struct peer c;
    assert_true(connect_as(&c, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_int_equal(ask_status(&c, "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    send_bytes(c.fd, "\x17\x03\x03\x00\x40half", 9);
    assert_true(wait_for_close(c.fd));
    disconnect(&c);
    struct tls_counters t;
    tls_server_counters(required, &t);
    assert_int_equal(t.failed, 3);
    assert_int_equal(counters(TLS_CLIENT_REQUIRED).timed_out, 3);
}

static void test_garbage_instead_of_tls(void **state)
{
    (void)state;
    int fd = connect_tcp(http_listener_port(listeners[TLS_CLIENT_REQUIRED]));
    send_text(fd, "GET / HTTP/1.1\r\n" H "\r\n");
    assert_true(wait_for_close(fd));
    close(fd);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
}

static void test_caps_per_address(void **state)
{
    unsigned port = http_listener_port(listeners[TLS_CLIENT_NONE]);
    int fds[PER_ADDRESS + 5];
    (void)state;
    for (size_t i = 0; i < PER_ADDRESS; i++)
        fds[i] = connect_tcp(port);
    WAIT_FOR(counters(TLS_CLIENT_NONE).open == PER_ADDRESS);
    int64_t begun = clock_monotonic_ms();
    for (size_t i = PER_ADDRESS; i < PER_ADDRESS + 5; i++) {
        fds[i] = connect_tcp(port);
        assert_true(wait_for_close(fds[i]));
    }
    assert_true(clock_monotonic_ms() - begun < REQUEST_MS); /* at once, not by the deadline */
    assert_int_equal(counters(TLS_CLIENT_NONE).refused_address, 5);
    /* Another address has room, and another listener has a count of its own. */
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, (const struct sockaddr *)&in, sizeof in), 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(other, (const struct sockaddr *)&in, sizeof in), 0);
    WAIT_FOR(counters(TLS_CLIENT_NONE).open == PER_ADDRESS + 1);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    close(other);
    for (size_t i = 0; i < PER_ADDRESS + 5; i++)
        close(fds[i]);
    WAIT_FOR(counters(TLS_CLIENT_NONE).open == 0);
    assert_true(is_let_in(NULL, TLS1_3_VERSION, TLS_CLIENT_NONE));
}

static void test_many_requests_on_many_connections(void **state)
{
    struct peer c[8];
    char *body = malloc(BODY_MAX);
    char head[128];
    (void)state;
    assert_non_null(body);
    memset(body, 'y', BODY_MAX);
    for (int i = 0; i < 8; i++)
        assert_true(connect_as(&c[i], &client, versions[i % 2], TLS_CLIENT_REQUIRED));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++) {
            size_t len = (size_t)(round * 8 + i) * 250;
            (void)snprintf(head, sizeof head,
                           "POST /echo HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", len);
            say(&c[i], head);
            if (len > 0)
                assert_int_equal(SSL_write(c[i].ssl, body, (int)len), len);
        }
        for (int i = 0; i < 8; i++) {
            struct answer a = read_answer_by(receive_tls, &c[i], false);
            assert_int_equal(a.status, 200);
            assert_int_equal(a.body_len, (size_t)(round * 8 + i) * 250);
            assert_memory_equal(a.body, body, a.body_len);
            answer_free(&a);
        }
    }
    struct answer a = ask(&c[0], "GET /big HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.body_len, BIG_BODY);
    assert_int_equal(a.len, (size_t)(a.body - a.text) + BIG_BODY);
    answer_free(&a);
    say(&c[1], "POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    a = read_answer_by(receive_tls, &c[1], false);
    assert_int_equal(a.status, 100);
    answer_free(&a);
    assert_int_equal(ask_status(&c[1], "ab"), 200);
    for (int i = 0; i < 8; i++)
        disconnect(&c[i]);
    free(body);
}

/* "Connection: close" ends with a close_notify, so that the client can tell it from a cut. */
static void test_orderly_close(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct peer c;
        char byte;
        assert_true(connect_as(&c, &client, versions[v], TLS_CLIENT_REQUIRED));
        assert_int_equal(ask_status(&c, "GET /close HTTP/1.1\r\n" H "\r\n"), 200);
        assert_int_equal(SSL_get_error(c.ssl, SSL_read(c.ssl, &byte, 1)), SSL_ERROR_ZERO_RETURN);
        disconnect(&c);
    }
}

static void test_clients_leave_at_any_point(void **state)
{
    static const char *const starts[] = {
        "", "GET /keep HTTP/1.1\r\n" H "\r\n", "GET /big HTTP/1.1\r\n" H "\r\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab",
        "GET /keep HTTP/1.1\r\n" H "\r\nGET /big HTTP/1.1\r\n" H "\r\n"};
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    size_t kept = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        for (int how = 0; how < 4; how++) {
            struct peer c;
            assert_true(connect_as(&c, &client, versions[how % 2], TLS_CLIENT_REQUIRED));
            say(&c, starts[i]);
            kept += strstr(starts[i], "/keep") != NULL;
            WAIT_FOR(atomic_load(&fixture.kept_len) >= kept);
            if (how >= 2)
                (void)setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            else
                (void)SSL_shutdown(c.ssl);
            disconnect(&c);
        }
    }
    answer_all_kept();
    WAIT_FOR(counters(TLS_CLIENT_REQUIRED).open == 0);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
}

static atomic_long closed;

static void on_closed(void *ctx, size_t n)
{
    (void)ctx;
    atomic_store(&closed, (long)n + 1);
}

static void test_labelled_connections_end_on_every_loop(void **state)
{
    struct peer c[10];
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(connect_as(&c[i], &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
        assert_int_equal(ask_status(&c[i], i < 9 ? "GET /label?t/x HTTP/1.1\r\n" H "\r\n"
                                                 : "GET /label?t/y HTTP/1.1\r\n" H "\r\n"),
                         204);
    }
    http_server_close_labelled(fixture.server, "t/x", on_closed, NULL);
    WAIT_FOR(atomic_load(&closed) == 10);
    for (int i = 0; i < 9; i++)
        assert_true(wait_for_close(c[i].fd));
    assert_int_equal(ask_status(&c[9], "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    for (int i = 0; i < 10; i++)
        disconnect(&c[i]);
}

static void on_drained(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&fixture.drained, 1);
}

static void test_drain_closes_unused_connections(void **state)
{
    struct peer unused;
    struct peer busy;
    (void)state;
    assert_true(connect_as(&unused, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_true(connect_as(&busy, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    say(&busy, "GET /keep HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    sleep_ms(20);
    http_server_drain(fixture.server, 3000, on_drained, NULL);
    assert_true(wait_for_close(unused.fd));
    WAIT_FOR(counters(TLS_CLIENT_REQUIRED).open == 1);
    /* Nobody accepts any more. */
    struct sockaddr_in in = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_listener_port(listeners[TLS_CLIENT_REQUIRED])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int error = 0;
    for (int i = 0; i < 100 && error != ECONNREFUSED; i++) { /* each loop stops by itself */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        error = connect(fd, (const struct sockaddr *)&in, sizeof in) != 0 ? errno : 0;
        close(fd);
        sleep_ms(5);
    }
    assert_int_equal(error, ECONNREFUSED);
    answer_all_kept();
    struct answer a = read_answer_by(receive_tls, &busy, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    WAIT_FOR(atomic_load(&fixture.drained) == 1);
    disconnect(&unused);
    disconnect(&busy);
}

/* Listening is for before the loops run. */
static int set_up_addresses(void **state)
{
    static const char *const bad[] = {
        "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",   "127.0.0.1:65536", ":443",          "::1:443",
        "[::1:443",  "[]:443",     "localhost:443", "127.0.0.1:443 ",  "127.0.0.1:+443"};
    struct http_listener *l = NULL;
    char taken[64];
    (void)state;
    set_up_listeners();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_listener_options options = fixture_options(bad[i], none);
        assert_int_equal(http_server_listen(fixture.server, &options, &l), ERR_SYNTAX);
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u",
                   http_listener_port(listeners[TLS_CLIENT_NONE]));
    struct http_listener_options options = fixture_options(taken, none);
    assert_int_equal(http_server_listen(fixture.server, &options, &l), ERR_IO);
    assert_int_equal(errno, EADDRINUSE);
    fixture_start();
    return 0;
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(is_let_in(NULL, TLS1_3_VERSION, TLS_CLIENT_NONE));
}

static struct http_listener *dual;

static int set_up_dual(void **state)
{
    (void)state;
    fixture_new();
    none = make_tls("dual", TLS_CLIENT_NONE);
    struct http_listener_options options = fixture_options("[::]:0", none);
    if (http_server_listen(fixture.server, &options, &dual) != ERR_NONE)
        dual = NULL; /* no IPv6 on this machine */
    fixture_start();
    return 0;
}

static int tear_down_dual(void **state)
{
    (void)state;
    fixture_free();
    tls_server_free(none);
    return 0;
}

static void test_dual_stack(void **state)
{
    struct peer c;
    (void)state;
    if (dual == NULL)
        skip();
    SSL_CTX *ctx = client_context(NULL, TLS1_3_VERSION);
    assert_true(connect_with(&c, ctx, NULL, http_listener_port(dual)));
    say(&c, "GET /keep HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    assert_string_equal(http_request_address(fixture.kept[0].request), "127.0.0.1");
    answer_all_kept();
    struct answer a = read_answer_by(receive_tls, &c, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    disconnect(&c);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stalled_handshakes_are_cut),
        TEST(test_garbage_instead_of_tls),
        TEST(test_caps_per_address),
        TEST(test_many_requests_on_many_connections),
        TEST(test_orderly_close),
        TEST(test_clients_leave_at_any_point),
        TEST(test_labelled_connections_end_on_every_loop),
        TEST(test_drain_closes_unused_connections),
        cmocka_unit_test_setup_teardown(test_addresses, set_up_addresses, tear_down),
        cmocka_unit_test_setup_teardown(test_dual_stack, set_up_dual, tear_down_dual),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_parties, free_parties);
}
