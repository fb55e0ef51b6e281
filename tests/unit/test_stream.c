/* The connection that never waits, as far as a broker is not needed for it: names, addresses that
 * are of no use, a server that says nothing; and what is served while the port waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/port/posix/stream.h"
#include "tests/unit/temporary_folder.h"

#define NOW         INT64_C(1000)
#define PATIENCE_MS INT64_C(10000)

static char folder[PATH_MAX];
static struct posix_port port;
static struct stream stream;
static int wake[2];

static int set_up(void **state)
{
    (void)state;
    temporary_folder_make(folder);
    assert_int_equal(pipe(wake), 0);
    const struct posix_options options = {.folder = folder, .wake_fd = wake[0]};
    assert_int_equal(posix_port_open(&port, &options), ERR_NONE);
    stream = STREAM_INITIAL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stream_free(&stream);
    posix_port_close(&port);
    (void)close(wake[0]);
    (void)close(wake[1]);
    temporary_folder_remove(folder);
    return 0;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, 60000), 1);
}

/* ---- names ---- */

static void test_addresses_are_there_at_once(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1", "::1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct lookup l;
        union stream_address a[STREAM_ADDRESSES_MAX];
        size_t n = 0;
        assert_int_equal(lookup_begin(&l, texts[i], 8883, a, &n), ERR_NONE);
        assert_int_equal(n, 1);
        assert_int_equal(a[0].any.sa_family, i == 0 ? AF_INET : AF_INET6);
        assert_int_equal(ntohs(i == 0 ? a[0].v4.sin_port : a[0].v6.sin6_port), 8883);
        assert_int_equal(l.child, 0);
    }
}

static void test_names_are_looked_up_elsewhere(void **state)
{
    (void)state;
    struct lookup l;
    union stream_address a[STREAM_ADDRESSES_MAX];
    size_t n = 0;
    assert_int_equal(lookup_begin(&l, "localhost", 8883, a, &n), ERR_BUSY);
    wait_for(l.fd, POLLIN);
    pid_t child = l.child;
    assert_int_equal(lookup_take(&l, a, &n), ERR_NONE);
    assert_true(n >= 1 && n <= STREAM_ADDRESSES_MAX);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(
            ntohs(a[i].any.sa_family == AF_INET ? a[i].v4.sin_port : a[i].v6.sin6_port), 8883);
    /* no process is left behind, neither after an answer nor without one */
    assert_int_equal(waitpid(child, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(lookup_begin(&l, "localhost", 8883, a, &n), ERR_BUSY);
    child = l.child;
    lookup_end(&l);
    assert_int_equal(waitpid(child, NULL, 0), -1);
    assert_int_equal(l.fd, -1);
    lookup_end(&l);
}

/* A name that nobody can have: the child answers with nothing. */
static void test_names_that_are_none(void **state)
{
    (void)state;
    struct lookup l;
    union stream_address a[STREAM_ADDRESSES_MAX];
    size_t n = 99;
    assert_int_equal(lookup_begin(&l, "no..name", 8883, a, &n), ERR_BUSY);
    wait_for(l.fd, POLLIN);
    assert_int_equal(lookup_take(&l, a, &n), ERR_NOT_FOUND);
    assert_int_equal(n, 99);
}

/* ---- connections ---- */

static void believe_somebody(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *root = X509_new();
    uint8_t *der = NULL;
    assert_true(key != NULL && root != NULL && X509_set_pubkey(root, key) == 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(root), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(root), 60));
    assert_true(X509_sign(root, key, EVP_sha256()) > 0);
    int len = i2d_X509(root, &der);
    assert_true(len > 0);
    const struct slice roots = slice_of(der, (size_t)len);
    const struct port_tls tls = {.roots = &roots, .roots_len = 1};
    assert_int_equal(stream_set_identity(&stream, &port, &tls), ERR_NONE);
    const struct port_tls nobody = {.roots_len = 0};
    assert_int_not_equal(stream_set_identity(&stream, &port, &nobody), ERR_NONE);
    assert_non_null(stream.context); /* the one before is kept */
    OPENSSL_free(der);
    X509_free(root);
    EVP_PKEY_free(key);
}

static int listen_somewhere(uint16_t *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0);
    assert_true(listen(fd, 4) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void expect_waiting(int64_t until)
{
    short events = 0;
    int64_t at = 0;
    int fd = stream_waits_for(&stream, false, &events, &at);
    assert_true(fd >= 0 && events != 0);
    assert_int_equal(at, until);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    uint16_t number;
    (void)close(listen_somewhere(&number));
    believe_somebody();
    stream_begin(&stream, "127.0.0.1", number, 0, NOW, PATIENCE_MS);
    enum err err = stream_go_on(&stream, NOW);
    while (err == ERR_BUSY) {
        wait_for(stream.fd, POLLOUT);
        err = stream_go_on(&stream, NOW);
    }
    assert_int_equal(err, ERR_IO);
    assert_int_equal(stream.state, STREAM_CLOSED);
    assert_int_equal(stream.fd, -1);
    assert_int_equal(stream_go_on(&stream, NOW), ERR_CLOSED);
}

/* It is connected to, and says nothing: only the time that is handed in counts. */
static void test_a_server_that_is_silent(void **state)
{
    (void)state;
    uint16_t number;
    int server = listen_somewhere(&number);
    believe_somebody();
    stream_begin(&stream, "127.0.0.1", number, 0, NOW, PATIENCE_MS);
    assert_int_equal(stream_go_on(&stream, NOW), ERR_BUSY);
    wait_for(stream.fd, POLLOUT);
    assert_int_equal(stream_go_on(&stream, NOW), ERR_BUSY);
    assert_int_equal(stream.state, STREAM_SHAKING);
    expect_waiting(NOW + PATIENCE_MS);
    size_t n;
    uint8_t byte;
    assert_int_equal(stream_send(&stream, SLICE_LITERAL("x"), &n), ERR_CLOSED);
    assert_int_equal(stream_receive(&stream, &byte, 1, &n), ERR_CLOSED);
    assert_int_equal(stream_go_on(&stream, NOW + PATIENCE_MS - 1), ERR_BUSY);
    assert_int_equal(stream_go_on(&stream, NOW + PATIENCE_MS), ERR_TIMEOUT);
    assert_int_equal(stream.state, STREAM_CLOSED);
    (void)close(server);
}

/* Each address has its share of the time, and the next is tried after it. */
static void test_several_addresses(void **state)
{
    (void)state;
    uint16_t number;
    int server = listen_somewhere(&number);
    believe_somebody();
    stream_begin(&stream, "127.0.0.1", number, 0, NOW, PATIENCE_MS);
    stream.addresses[1] = stream.addresses[0];
    stream.addresses_len = 2;
    assert_int_equal(stream_go_on(&stream, NOW), ERR_BUSY);
    expect_waiting(NOW + PATIENCE_MS / 2);
    assert_int_equal(stream_go_on(&stream, NOW + PATIENCE_MS / 2), ERR_BUSY);
    assert_int_equal(stream.at, 1);
    expect_waiting(NOW + PATIENCE_MS);
    assert_int_equal(stream_go_on(&stream, NOW + PATIENCE_MS), ERR_TIMEOUT);
    (void)close(server);
}

/* ---- what is served aside ---- */

static struct {
    int fd;
    int64_t at_ms;
    unsigned served;
} aside;

static size_t prepare(void *ctx, struct pollfd fds[POSIX_ASIDE_MAX], int64_t *ret_at_ms)
{
    (void)ctx;
    *ret_at_ms = aside.at_ms;
    fds[0] = (struct pollfd){.fd = aside.fd, .events = POLLIN};
    return 1;
}

static void serve(void *ctx)
{
    (void)ctx;
    char byte;
    assert_true(read(aside.fd, &byte, 1) == 1 || errno == EAGAIN);
    aside.at_ms = INT64_MAX;
    aside.served++;
    assert_int_equal(write(wake[1], "x", 1), 1); /* so that the test goes on */
}

static void expect_served(unsigned times)
{
    char bytes[8];
    assert_int_equal(posix_rest(&port, INT64_MAX, NULL), ERR_CLOSED);
    assert_int_equal(aside.served, times);
    assert_true(read(wake[0], bytes, sizeof bytes) > 0);
}

static void test_aside(void **state)
{
    (void)state;
    int pipe_fds[2];
    const struct posix_aside table = {.prepare = prepare, .serve = serve};
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
    aside.fd = pipe_fds[0];
    aside.at_ms = INT64_MAX;
    aside.served = 0;
    port.options.aside = &table;
    int64_t now = port.port.monotonic_ms(&port);
    assert_int_equal(posix_rest(&port, now, NULL), ERR_TIMEOUT);
    assert_int_equal(aside.served, 0);
    /* something is there; and the time that it asked for has come */
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    expect_served(1);
    aside.at_ms = now;
    expect_served(2);
    /* it does not keep us from being woken */
    assert_int_equal(write(wake[1], "x", 1), 1);
    expect_served(2);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_addresses_are_there_at_once),
        CASE(test_names_are_looked_up_elsewhere),
        CASE(test_names_that_are_none),
        CASE(test_nobody_listens),
        CASE(test_a_server_that_is_silent),
        CASE(test_several_addresses),
        CASE(test_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
