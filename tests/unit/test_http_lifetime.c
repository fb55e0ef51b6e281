#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>

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

/* A byte now and then does not keep a request alive. */
static void trickle(const char *start)
{
    int fd = connect_unix();
    int64_t begun = clock_monotonic_ms();
    send_text(fd, start);
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (clock_monotonic_ms() - begun < WAIT_MS) {
        send_text(fd, "a");
        if (poll(&p, 1, 20) > 0 && recv(fd, &byte, 1, 0) <= 0)
            break;
    }
    int64_t took = clock_monotonic_ms() - begun;
    assert_in_range((uint64_t)took, REQUEST_MS - 50, REQUEST_MS + 1000);
    close(fd);
}

static void test_slow_clients_are_cut(void **state)
{
    (void)state;
    trickle("");
    trickle("GET / HTTP/1.1\r\nA: ");
    trickle("POST /echo HTTP/1.1\r\n" H "Content-Length: 10000\r\n\r\n");
    trickle("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2710\r\n");
    trickle("POST /echo HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
    assert_int_equal(counters().timed_out, 5);
}

static void test_idle_connections_are_closed(void **state)
{
    int silent = connect_unix();
    int kept = connect_unix();
    (void)state;
    int64_t begun = clock_monotonic_ms();
    send_text(kept, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(kept, 404);
    assert_true(wait_for_close(silent));
    assert_in_range((uint64_t)(clock_monotonic_ms() - begun), REQUEST_MS - 50, IDLE_MS - 50);
    assert_true(wait_for_close(kept));
    assert_true(clock_monotonic_ms() - begun >= IDLE_MS - 50);
    close(silent);
    close(kept);
    assert_int_equal(counters().timed_out, 1); /* idling is no fault */
}

/* Does not read what it asked for. */
static void test_slow_reader_is_cut(void **state)
{
    int fd = connect_unix();
    (void)state;
    send_text(fd, "GET /big HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(counters().requests == 1);
    WAIT_FOR(counters().open == 0);
    assert_int_equal(counters().timed_out, 1);
    close(fd);
}

static void test_answer_later(void **state)
{
    int fd = connect_unix();
    (void)state;
    send_text(fd, "GET /keep HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    /* Sent meanwhile, answered after. A handler may take longer than a request may. */
    send_text(fd, "GET /after HTTP/1.1\r\n" H "\r\n");
    sleep_ms(REQUEST_MS + 100);
    answer_all_kept();
    struct answer a = read_answer(fd);
    assert_string_equal(a.body, "kept");
    answer_free(&a);
    a = read_answer(fd);
    assert_string_equal(a.body, "/after");
    answer_free(&a);
    close(fd);
}

/* The client leaves in every state in turn; its answer then finds nobody. */
static void test_client_leaves(void **state)
{
    static const char *const starts[] = {
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\nabc",
        "GET /big HTTP/1.1\r\n" H "\r\n",
        "GET /keep HTTP/1.1\r\n" H "\r\n",
        "GET /keep HTTP/1.1\r\n" H "\r\nGET /big HTTP/1.1\r\n" H "\r\nPOST",
        "GET / HTTP/1.1\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    };
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        for (int how = 0; how < 3; how++) {
            int fd = connect_unix();
            send_text(fd, starts[i]);
            if (how == 1)
                sleep_ms(10);
            if (how == 2)
                (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(fd);
        }
    }
    WAIT_FOR(atomic_load(&fixture.kept_len) == 6);
    answer_all_kept();
    WAIT_FOR(counters().open == 0);
    int fd = connect_unix();
    send_text(fd, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(fd, 404);
    close(fd);
}

/* Bytes ahead of an answer are bounded. */
static void test_flood_behind_a_request(void **state)
{
    char flood[4096];
    int fd = connect_unix();
    (void)state;
    memset(flood, 'f', sizeof flood);
    send_text(fd, "GET /keep HTTP/1.1\r\n" H "\r\n");
    struct timeval patience = {.tv_sec = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    size_t sent = 0;
    for (ssize_t n = 1; n > 0 && sent < 64 * 1024 * 1024; sent += (size_t)(n > 0 ? n : 0))
        n = send(fd, flood, sizeof flood, MSG_NOSIGNAL);
    assert_true(sent < 2 * 1024 * 1024); /* what the kernel holds, and no more */
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    answer_all_kept();
    expect_status(fd, 200);
    expect_status(fd, 414); /* one endless line */
    close(fd);
}

static void test_connections_are_capped(void **state)
{
    int fds[CONNECTIONS + 4];
    (void)state;
    for (size_t i = 0; i < CONNECTIONS; i++)
        fds[i] = connect_unix();
    WAIT_FOR(counters().open == CONNECTIONS);
    for (size_t i = CONNECTIONS; i < CONNECTIONS + 4; i++) {
        fds[i] = connect_unix();
        assert_true(wait_for_close(fds[i]));
    }
    assert_int_equal(counters().refused_total, 4);
    for (size_t i = 0; i < CONNECTIONS + 4; i++)
        close(fds[i]);
    WAIT_FOR(counters().open == 0);
    int fd = connect_unix();
    send_text(fd, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(fd, 404);
    close(fd);
}

static atomic_long closed_by_label;

static void count_closed(void *ctx, size_t n)
{
    (void)ctx;
    atomic_fetch_add(&closed_by_label, (long)n + 1000);
}

static void test_close_labelled(void **state)
{
    int fds[6];
    (void)state;
    for (int i = 0; i < 6; i++) {
        fds[i] = connect_unix();
        send_text(fds[i], i % 2 == 0 ? "GET /label?a/even HTTP/1.1\r\n" H "\r\n"
                                     : "GET /label?a/odd HTTP/1.1\r\n" H "\r\n");
        expect_status(fds[i], 204);
    }
    /* One is within a handler, and one has changed its name. */
    send_text(fds[0], "GET /keep HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    send_text(fds[2], "GET /label?a/odd HTTP/1.1\r\n" H "\r\n");
    expect_status(fds[2], 204);
    http_server_close_labelled(fixture.server, "a/even", count_closed, NULL);
    WAIT_FOR(atomic_load(&closed_by_label) == 1002);
    assert_true(wait_for_close(fds[0]));
    assert_true(wait_for_close(fds[4]));
    send_text(fds[1], "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(fds[1], 404);
    answer_all_kept();
    WAIT_FOR(counters().open == 4);
    http_server_close_labelled(fixture.server, "a/even", count_closed, NULL);
    WAIT_FOR(atomic_load(&closed_by_label) == 2002);
    http_server_close_labelled(fixture.server, "a/odd", count_closed, NULL);
    WAIT_FOR(atomic_load(&closed_by_label) == 2000 + 1000 + 2 + 4);
    WAIT_FOR(counters().open == 0);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
}

static void on_drained(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&fixture.drained, 1);
}

static void test_drain(void **state)
{
    (void)state;
    int idle = connect_unix();
    int busy = connect_unix();
    int partial = connect_unix();
    send_text(idle, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(idle, 404);
    send_text(busy, "GET /keep HTTP/1.1\r\n" H "\r\n");
    send_text(partial, "GET /part HTTP/1.1\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1 && counters().accepted == 3);
    sleep_ms(20);
    http_server_drain(fixture.server, 3000, on_drained, NULL);
    assert_true(wait_for_close(idle));
    assert_int_equal(access(fixture.unix_address + 5, F_OK), -1);
    assert_int_equal(atomic_load(&fixture.drained), 0);
    /* What has begun is finished, and told to close. */
    send_text(partial, H "\r\n");
    struct answer a = read_answer(partial);
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(a.text, "\r\nConnection: close\r\n"));
    answer_free(&a);
    answer_all_kept();
    a = read_answer(busy);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\r\nConnection: close\r\n"));
    answer_free(&a);
    WAIT_FOR(atomic_load(&fixture.drained) == 1);
    assert_int_equal(counters().open, 0);
    close(idle);
    close(busy);
    close(partial);
}

static void test_drain_does_not_wait_for_ever(void **state)
{
    (void)state;
    int busy = connect_unix();
    int partial = connect_unix();
    send_text(busy, "GET /keep HTTP/1.1\r\n" H "\r\n");
    send_text(partial, "GET /part HTTP/1.1\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1 && counters().accepted == 2);
    http_server_drain(fixture.server, 100, on_drained, NULL);
    WAIT_FOR(atomic_load(&fixture.drained) == 1);
    assert_true(wait_for_close(busy));
    assert_true(wait_for_close(partial));
    close(busy);
    close(partial);
    /* The handler's request is never answered; freeing the server must cope. */
}

/* No file descriptors left: who is there is served, who comes waits, and nothing spins. */
static void test_out_of_file_descriptors(void **state)
{
    struct rlimit before;
    int spare[256];
    size_t n = 0;
    (void)state;
    int there = connect_unix();
    send_text(there, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(there, 404);
    int coming = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit few = {.rlim_cur = (rlim_t)coming + 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (n < ARRAY_LEN(spare) && (spare[n] = dup(there)) >= 0)
        n++;
    struct sockaddr_un sun = unix_sockaddr();
    assert_int_equal(connect(coming, (const struct sockaddr *)&sun, sizeof sun), 0);
    send_text(coming, "GET /late HTTP/1.1\r\n" H "\r\n");
    struct timespec cpu_before;
    struct timespec cpu_after;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_before);
    sleep_ms(250);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu_after);
    int64_t cpu_ms = (cpu_after.tv_sec - cpu_before.tv_sec) * 1000 +
                     (cpu_after.tv_nsec - cpu_before.tv_nsec) / 1000000;
    assert_true(cpu_ms < 100);
    send_text(there, "GET / HTTP/1.1\r\n" H "\r\n");
    expect_status(there, 404);
    assert_int_equal(counters().accepted, 1);
    for (size_t i = 0; i < n; i++)
        close(spare[i]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    struct answer a = read_answer(coming);
    assert_string_equal(a.body, "/late");
    answer_free(&a);
    close(there);
    close(coming);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_slow_clients_are_cut),
        TEST(test_idle_connections_are_closed),
        TEST(test_slow_reader_is_cut),
        TEST(test_answer_later),
        TEST(test_client_leaves),
        TEST(test_flood_behind_a_request),
        TEST(test_connections_are_capped),
        TEST(test_close_labelled),
        TEST(test_drain),
        TEST(test_drain_does_not_wait_for_ever),
        TEST(test_out_of_file_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
