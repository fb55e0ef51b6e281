/* A server with next to nothing behind it, to measure base/http itself:
 *
 *   http_echo ADDRESS CERTIFICATE KEY CLIENT_ROOTS LOOPS
 *
 * asks for client certificates and answers GET with a short text and POST with the body. Prints
 * "port N", serves until its standard input ends, then prints its CPU seconds and counters. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/http.h"

#define LOOPS_MAX 64

static void handle(struct http_request *r, void *ctx)
{
    static const struct slice hello = SLICE_LITERAL("{\"state\":\"trusted\",\"next\":900}\n");
    (void)ctx;
    if (http_request_method(r) == HTTP_POST)
        http_reply(r, 200, "application/octet-stream", http_request_body(r));
    else if (!http_request_peer(r)->present)
        http_reply(r, 401, "text/plain", SLICE_LITERAL("no certificate\n"));
    else
        http_reply(r, 200, "application/json", hello);
}

static struct slice read_or_exit(const char *path)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (file_read(path, 1024 * 1024, &bytes, &len) != ERR_NONE) {
        (void)fprintf(stderr, "http_echo: cannot read %s\n", path);
        exit(1);
    }
    return slice_of(bytes, len);
}

static struct tls_server *tls_or_exit(char **paths)
{
    const struct tls_server_options options = {.name = "echo",
                                               .client_auth = TLS_CLIENT_REQUIRED,
                                               .sessions_max = 20480,
                                               .session_seconds = 300};
    struct tls_server *tls = NULL;
    char explain[256] = "";
    struct slice certificate = read_or_exit(paths[0]);
    struct slice key = read_or_exit(paths[1]);
    struct slice roots = read_or_exit(paths[2]);
    if (tls_server_new(&options, &tls) != ERR_NONE ||
        tls_server_set_certificate(tls, certificate, key, explain) != ERR_NONE ||
        tls_server_set_client_roots(tls, roots, explain) != ERR_NONE) {
        (void)fprintf(stderr, "http_echo: %s\n", explain);
        exit(1);
    }
    free((void *)certificate.data);
    file_free_secret((uint8_t *)key.data, key.len);
    free((void *)roots.data);
    return tls;
}

static double seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void report(const struct http_listener *l, const struct tls_server *tls)
{
    struct http_counters h;
    struct tls_counters t;
    struct rusage used;
    http_listener_counters(l, &h);
    tls_server_counters(tls, &t);
    (void)getrusage(RUSAGE_SELF, &used);
    uint64_t refused = h.refused_total + h.refused_address;
    (void)printf("{\"cpu_seconds\":%.3f,\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"timed_out\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"requests\":%" PRIu64
                 ",\"open\":%" PRIu64 ",\"handshakes\":%" PRIu64 ",\"resumed\":%" PRIu64
                 ",\"failed\":%" PRIu64 "}\n",
                 seconds(used.ru_utime) + seconds(used.ru_stime), h.accepted, refused, h.timed_out,
                 h.malformed, h.requests, h.open, t.handshakes, t.resumed, t.failed);
}

int main(int argc, char **argv)
{
    struct loop *loops[LOOPS_MAX];
    size_t n = argc == 6 ? (size_t)strtoul(argv[5], NULL, 10) : 0;
    if (n < 1 || n > LOOPS_MAX) {
        (void)fprintf(stderr, "usage: http_echo ADDRESS CERTIFICATE KEY CLIENT_ROOTS LOOPS\n");
        return 2;
    }
    struct tls_server *tls = tls_or_exit(argv + 2);
    struct http_server *server = NULL;
    struct http_listener *listener = NULL;
    for (size_t i = 0; i < n; i++)
        if (loop_new("echo", &loops[i]) != ERR_NONE)
            return 1;
    const struct http_listener_options options = {
        .name = "echo",
        .address = argv[1],
        .tls = tls,
        .handler = handle,
        .limits = {.header_max = 8192,
                   .body_max = 65536,
                   .request_ms = 10000,
                   .idle_ms = 600000,
                   .connections = 100000,
                   .connections_per_address = 100000},
    };
    if (http_server_new(loops, n, &server) != ERR_NONE ||
        http_server_listen(server, &options, &listener) != ERR_NONE) {
        perror("http_echo: listen");
        return 1;
    }
    for (size_t i = 0; i < n; i++)
        if (loop_start(loops[i]) != ERR_NONE)
            return 1;
    (void)printf("port %u\n", http_listener_port(listener));
    (void)fflush(stdout);
    char line[16];
    while (read(STDIN_FILENO, line, sizeof line) > 0) {
        report(listener, tls);
        (void)fflush(stdout);
    }
    for (size_t i = 0; i < n; i++)
        loop_stop(loops[i]);
    for (size_t i = 0; i < n; i++)
        loop_join(loops[i]);
    report(listener, tls);
    http_server_free(server);
    for (size_t i = 0; i < n; i++)
        loop_free(loops[i]);
    tls_server_free(tls);
    return 0;
}
