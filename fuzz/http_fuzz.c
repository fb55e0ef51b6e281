/* base/http.h from the socket up: bytes of a client go through a Unix listener, libevent, the
 * checks of base/http_head.h and a handler. Whatever comes,
 * - nothing crashes or leaks, and every request handed to the handler is within the limits;
 * - evhttp never answers by itself: it takes all that the checks let through, and reads it alike;
 * - the verdict of the checks does not depend on how the bytes are cut.
 * The first byte says how the rest is cut, the second which requests are answered late. */
#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/http.h"
#include "base/http_head.h"

#define HEADER_MAX 1024
#define BODY_MAX   4096
#define INPUT_MAX  16384
#define KEPT_MAX   8

static struct loop *loop;
static struct http_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct http_request *kept[KEPT_MAX];
static size_t kept_len;
static unsigned late;

static void handle(struct http_request *r, void *ctx)
{
    (void)ctx;
    assert(strlen(http_request_path(r)) + strlen(http_request_query(r)) < HTTP_TARGET_MAX);
    assert(http_request_path(r)[0] == '/');
    assert(http_request_body(r).len <= BODY_MAX);
    assert(http_request_method(r) < HTTP_METHOD_COUNT);
    assert(http_request_method(r) != HTTP_HEAD || http_request_body(r).len == 0);
    late = late >> 1 | late << 7;
    if ((late & 1) != 0 && kept_len < KEPT_MAX)
        kept[kept_len++] = r;
    else
        http_reply(r, 200, "text/plain", SLICE_LITERAL("at once"));
}

static void answer_kept(void)
{
    while (kept_len > 0)
        http_reply(kept[--kept_len], 200, "text/plain", SLICE_LITERAL("late"));
}

static void remove_socket(void)
{
    (void)unlink(address.sun_path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static char listen_on[160];
    struct http_listener *l = NULL;
    (void)argc;
    (void)argv;
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/tmp/http-fuzz-%ld", (long)getpid());
    (void)snprintf(listen_on, sizeof listen_on, "unix:%s", address.sun_path);
    const struct http_listener_options options = {
        .name = "fuzz",
        .address = listen_on,
        .unix_mode = 0600,
        .handler = handle,
        .limits = {.header_max = HEADER_MAX,
                   .body_max = BODY_MAX,
                   .request_ms = 3600000,
                   .idle_ms = 3600000,
                   .connections = 8,
                   .connections_per_address = 8},
    };
    enum err err = loop_new("fuzz", &loop);
    if (err == ERR_NONE)
        err = http_server_new(&loop, 1, &server);
    if (err == ERR_NONE)
        err = http_server_listen(server, &options, &l);
    if (err != ERR_NONE)
        abort();
    (void)atexit(remove_socket);
    return 0;
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        (void)event_base_loop(loop_event_base(loop), EVLOOP_NONBLOCK);
}

/* Everything that comes back must be ours: evhttp's own pages are HTML. */
static void read_answers(int fd)
{
    static char answers[256 * 1024];
    ssize_t n;
    while ((n = recv(fd, answers, sizeof answers - 1, MSG_DONTWAIT)) > 0) {
        answers[n] = '\0';
        assert(memmem(answers, (size_t)n, "<HTML>", 6) == NULL);
        assert(memmem(answers, (size_t)n, "<html>", 6) == NULL);
    }
}

static void serve(const uint8_t *data, size_t size, size_t step)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        abort();
    turn();
    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        (void)send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        turn();
        if ((late & 2) != 0)
            answer_kept();
    }
    read_answers(fd);
    if ((late & 4) != 0) { /* leaves first, is answered then */
        close(fd);
        turn();
        answer_kept();
    } else {
        answer_kept();
        turn();
        read_answers(fd);
        close(fd);
    }
    for (int i = 0; i < 4; i++) { /* what was held behind an answer comes only then */
        turn();
        answer_kept();
    }
    turn();
}

static enum http_verdict check_in_steps(const uint8_t *data, size_t size, size_t step,
                                        struct http_head *ret_head)
{
    struct http_head h = {0};
    enum http_verdict verdict = HTTP_MORE;
    for (size_t n = step; verdict == HTTP_MORE; n += step) {
        size_t len = n < size ? n : size;
        verdict = http_head_read(&h, slice_of(data, len), HEADER_MAX);
        if (len == size)
            break;
    }
    *ret_head = h;
    return verdict;
}

static void compare_cuts(const uint8_t *data, size_t size, size_t step)
{
    struct http_head whole;
    struct http_head pieces;
    enum http_verdict verdict = check_in_steps(data, size, size + 1, &whole);
    assert(check_in_steps(data, size, step, &pieces) == verdict);
    assert(pieces.status == whole.status && pieces.len == whole.len);
    assert(pieces.length == whole.length && pieces.chunked == whole.chunked);
    if (verdict != HTTP_WHOLE || !whole.chunked)
        return;
    struct slice body = slice_of(data + whole.len, size - whole.len);
    struct http_chunks at_once = {0};
    struct http_chunks by_byte = {0};
    uint16_t status = 0;
    uint16_t status_by_byte = 0;
    size_t used = 0;
    enum http_verdict expected = http_chunks_read(&at_once, body, BODY_MAX, &used, &status);
    verdict = HTTP_MORE;
    for (size_t i = 0; i < body.len && verdict == HTTP_MORE; i++)
        verdict = http_chunks_read(&by_byte, slice_of(body.data + i, 1), BODY_MAX, &used,
                                   &status_by_byte);
    assert(verdict == expected && status == status_by_byte);
    assert(verdict == HTTP_REFUSE || by_byte.total == at_once.total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return 0;
    size_t step = 1 + (size_t)data[0] * data[0] / 8;
    late = data[1];
    compare_cuts(data + 2, size - 2, step);
    serve(data + 2, size - 2, step);
    return 0;
}
