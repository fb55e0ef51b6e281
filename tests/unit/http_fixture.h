/* A real server on loops of its own, and blocking clients that can misbehave. */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http.h"

#define FIXTURE_LOOPS  2
#define HEADER_MAX     2048
#define BODY_MAX       20000
#define REQUEST_MS     400
#define IDLE_MS        800
#define CONNECTIONS    24
#define PER_ADDRESS    12
#define WAIT_MS        5000 /* for anything that must happen */
#define BIG_BODY       (1024 * 1024)
#define RESPONSE_LIMIT (BIG_BODY + 4096)

/* A request that the handler keeps until the test lets it go. */
struct kept {
    struct http_request *request;
    struct loop_task task;
};

static struct {
    struct loop *loops[FIXTURE_LOOPS];
    struct http_server *server;
    char folder[64];
    char unix_address[128];
    struct kept kept[64];
    _Atomic size_t kept_len;
    _Atomic size_t replies;
    _Atomic size_t drained;
} fixture;

static pthread_mutex_t fixture_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void fixture_answer_kept(struct loop_task *task)
{
    struct kept *k = CONTAINER_OF(task, struct kept, task);
    http_reply(k->request, 200, "text/plain", SLICE_LITERAL("kept"));
}

static inline void fixture_describe_peer(struct http_request *r)
{
    const struct tls_peer *peer = http_request_peer(r);
    struct writer w = arena_writer(http_request_arena(r), 1024);
    struct slice der = {NULL, 0};
    writer_text(&w, peer->present ? "present " : "absent ");
    writer_hex(&w, slice_of(peer->certificate_sha256, SHA256_SIZE));
    writer_text(&w, " ");
    writer_hex(&w, slice_of(peer->spki_sha256, SHA256_SIZE));
    writer_text(&w, " ");
    writer_hex(&w, slice_of(peer->serial, peer->serial_len));
    writer_text(&w, " ");
    writer_decimal(&w, (uint64_t)peer->not_after);
    writer_text(&w, " ");
    if (http_request_peer_certificate(r, &der) == ERR_NONE)
        writer_decimal(&w, der.len);
    http_reply(r, 200, "text/plain", writer_bytes(&w));
}

static inline void fixture_handle(struct http_request *r, void *ctx)
{
    const char *path = http_request_path(r);
    (void)ctx;
    if (strcmp(path, "/echo") == 0) {
        http_reply_header(r, "X-Query", http_request_query(r));
        http_reply(r, 200, "application/octet-stream", http_request_body(r));
    } else if (strcmp(path, "/keep") == 0) {
        pthread_mutex_lock(&fixture_lock);
        size_t i = atomic_load(&fixture.kept_len);
        fixture.kept[i].request = r;
        fixture.kept[i].task.run = fixture_answer_kept;
        atomic_store(&fixture.kept_len, i + 1);
        pthread_mutex_unlock(&fixture_lock);
    } else if (strcmp(path, "/peer") == 0) {
        fixture_describe_peer(r);
    } else if (strcmp(path, "/label") == 0) {
        http_connection_label(r, http_request_query(r));
        http_reply(r, 204, NULL, slice_of(NULL, 0));
    } else if (strcmp(path, "/big") == 0) {
        uint8_t *big = arena_alloc(http_request_arena(r), BIG_BODY);
        memset(big, 'b', BIG_BODY);
        http_reply(r, 200, "text/plain", slice_of(big, BIG_BODY));
    } else if (strcmp(path, "/close") == 0) {
        http_reply_close(r);
        http_reply(r, 200, "text/plain", SLICE_LITERAL("bye"));
    } else {
        http_reply(r, 404, "text/plain", slice_of_text(path));
    }
}

static inline void fixture_count_reply(struct http_request *r, unsigned status, size_t bytes,
                                       void *ctx)
{
    (void)r;
    (void)status;
    (void)bytes;
    (void)ctx;
    atomic_fetch_add(&fixture.replies, 1);
}

static inline struct http_listener_options fixture_options(const char *address,
                                                           struct tls_server *tls)
{
    return (struct http_listener_options){
        .name = "test",
        .tag = 7,
        .address = address,
        .unix_mode = 0600,
        .tls = tls,
        .handler = fixture_handle,
        .limits = {.header_max = HEADER_MAX,
                   .body_max = BODY_MAX,
                   .request_ms = REQUEST_MS,
                   .idle_ms = IDLE_MS,
                   .connections = CONNECTIONS,
                   /* on a Unix socket these count by user, who is one here */
                   .connections_per_address = tls != NULL ? PER_ADDRESS : CONNECTIONS},
    };
}

/* Creates loops and server; listeners follow, then fixture_start(). */
static inline void fixture_new(void)
{
    memset(&fixture, 0, sizeof fixture);
    (void)snprintf(fixture.folder, sizeof fixture.folder, "/tmp/http-test-XXXXXX");
    assert_non_null(mkdtemp(fixture.folder));
    (void)snprintf(fixture.unix_address, sizeof fixture.unix_address, "unix:%s/socket",
                   fixture.folder);
    for (size_t i = 0; i < FIXTURE_LOOPS; i++)
        assert_int_equal(loop_new("test", &fixture.loops[i]), ERR_NONE);
    assert_int_equal(http_server_new(fixture.loops, FIXTURE_LOOPS, &fixture.server), ERR_NONE);
    http_server_on_reply(fixture.server, fixture_count_reply, NULL);
}

static inline void fixture_start(void)
{
    for (size_t i = 0; i < FIXTURE_LOOPS; i++)
        assert_int_equal(loop_start(fixture.loops[i]), ERR_NONE);
}

static inline void fixture_free(void)
{
    for (size_t i = 0; i < FIXTURE_LOOPS; i++)
        loop_stop(fixture.loops[i]);
    for (size_t i = 0; i < FIXTURE_LOOPS; i++)
        loop_join(fixture.loops[i]);
    http_server_free(fixture.server);
    for (size_t i = 0; i < FIXTURE_LOOPS; i++)
        loop_free(fixture.loops[i]);
    (void)unlink(fixture.unix_address + 5);
    (void)rmdir(fixture.folder);
}

static inline void sleep_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    (void)nanosleep(&time, NULL);
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t give_up_ = clock_monotonic_ms() + WAIT_MS;                                         \
        while (!(condition) && clock_monotonic_ms() < give_up_)                                    \
            sleep_ms(5);                                                                           \
        assert_true(condition);                                                                    \
    } while (0)

static inline uint64_t open_connections(const struct http_listener *l)
{
    struct http_counters counters;
    http_listener_counters(l, &counters);
    return counters.open;
}

static inline void answer_all_kept(void)
{
    for (size_t i = 0; i < atomic_load(&fixture.kept_len); i++)
        loop_post(http_request_loop(fixture.kept[i].request), &fixture.kept[i].task);
}

static inline struct sockaddr_un unix_sockaddr(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t len = strlen(fixture.unix_address + 5);
    assert_true(len < sizeof sun.sun_path);
    memcpy(sun.sun_path, fixture.unix_address + 5, len);
    return sun;
}

static inline int connect_unix(void)
{
    struct sockaddr_un sun = unix_sockaddr();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&sun, sizeof sun), 0);
    return fd;
}

static inline int connect_tcp(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

static inline void send_bytes(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* closed by the server: the test looks at what it said */
        at += n;
        len -= (size_t)n;
    }
}

static inline void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

/* True once the other side has closed; fails the test where that takes too long. */
static inline bool wait_for_close(int fd)
{
    char bytes[4096];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t give_up = clock_monotonic_ms() + WAIT_MS;
    while (clock_monotonic_ms() < give_up) {
        if (poll(&p, 1, 100) > 0 && recv(fd, bytes, sizeof bytes, 0) <= 0)
            return true;
    }
    return false;
}

/* A response, as text with a NUL behind it. */
struct answer {
    char *text;
    size_t len;
    unsigned status; /* 0: the connection was closed without one */
    const char *body;
    size_t body_len;
};

static inline void answer_free(struct answer *a)
{
    free(a->text);
    *a = (struct answer){0};
}

typedef ssize_t receive_fn(void *from, void *to, size_t max);

static inline ssize_t receive_plain(void *from, void *to, size_t max)
{
    struct pollfd p = {.fd = *(int *)from, .events = POLLIN};
    if (poll(&p, 1, WAIT_MS) <= 0)
        return -1;
    return recv(*(int *)from, to, max, 0);
}

/* Reads one response and not a byte more, so that pipelined ones can be told apart. */
static inline struct answer read_answer_by(receive_fn *receive, void *from, bool bodyless)
{
    struct answer a = {.text = calloc(1, RESPONSE_LIMIT + 1)};
    assert_non_null(a.text);
    char *end = NULL;
    while (end == NULL && a.len < RESPONSE_LIMIT) {
        if (receive(from, a.text + a.len, 1) <= 0)
            return a;
        a.len++;
        end = strstr(a.text + (a.len > 4 ? a.len - 4 : 0), "\r\n\r\n");
    }
    assert_non_null(end);
    const char *length = strstr(a.text, "Content-Length: ");
    size_t left = length != NULL && !bodyless ? strtoul(length + 16, NULL, 10) : 0;
    a.body = a.text + a.len;
    a.body_len = left;
    assert_true(left <= RESPONSE_LIMIT - a.len);
    while (left > 0) {
        ssize_t n = receive(from, a.text + a.len, left);
        if (n <= 0)
            return a;
        a.len += (size_t)n;
        left -= (size_t)n;
    }
    a.status = (unsigned)strtoul(a.text + 9, NULL, 10);
    return a;
}

static inline struct answer read_answer(int fd)
{
    return read_answer_by(receive_plain, &fd, false);
}

static inline void expect_status(int fd, unsigned status)
{
    struct answer a = read_answer(fd);
    if (a.status != status)
        print_error("wanted %u, got %u: %s\n", status, a.status, a.text);
    assert_int_equal(a.status, status);
    answer_free(&a);
}

#endif
