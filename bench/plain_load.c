/* A load client for HTTP without TLS, cheap enough to share a machine with what it measures:
 *
 *   plain_load PORT MODE CONCURRENCY SECONDS PREFIX PATHS
 *
 * GETs PREFIX and a line of the file PATHS behind it, one line after the other and from the first
 * again, from 127.0.0.1:PORT. MODE is "connect" (each on a connection of its own) or "kept". It
 * prints one line of JSON: {"done","errors","refused","bytes"}; "refused" are answers other than
 * 200, counted in "done" as well. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX      (64 * 1024)
#define PATHS_MAX       100000
#define LINE_MAX_BYTES  1024
#define CONNECTIONS_MAX 256

struct connection {
    int fd;
    size_t len; /* of the answer, so far */
    char answer[ANSWER_MAX + 1];
};

static struct {
    uint16_t port;
    bool kept;
    const char *prefix;
    char *paths[PATHS_MAX];
    size_t paths_len, next_path;
    int epoll;
    uint64_t done, errors, refused, bytes;
} load;

static struct connection connections[CONNECTIONS_MAX];

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "plain_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void read_paths(const char *name)
{
    char line[LINE_MAX_BYTES];
    FILE *file = fopen(name, "r");
    if (file == NULL)
        fail(name);
    while (load.paths_len < PATHS_MAX && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        load.paths[load.paths_len] = strdup(line);
        if (load.paths[load.paths_len++] == NULL)
            fail("paths");
    }
    (void)fclose(file);
    if (load.paths_len == 0)
        fail("no paths");
}

static bool send_request(struct connection *c)
{
    char request[2 * LINE_MAX_BYTES];
    const char *path = load.paths[load.next_path];
    load.next_path = (load.next_path + 1) % load.paths_len;
    int n = snprintf(request, sizeof request, "GET %s%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
                     load.prefix, path, load.kept ? "" : "Connection: close\r\n");
    c->len = 0;
    return n > 0 && send(c->fd, request, (size_t)n, MSG_NOSIGNAL) == n;
}

static void begin(struct connection *c)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(load.port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll_ctl");
    if (!send_request(c))
        load.errors++;
}

static void begin_again(struct connection *c)
{
    (void)close(c->fd);
    begin(c);
}

/* 0 while it is not whole. */
static size_t length_of(const struct connection *c)
{
    const char *end = strstr(c->answer, "\r\n\r\n");
    const char *length = strcasestr(c->answer, "content-length:");
    if (end == NULL || length == NULL || length > end)
        return 0;
    size_t whole = (size_t)(end - c->answer) + 4 + strtoull(length + 15, NULL, 10);
    return c->len >= whole ? whole : 0;
}

static void on_readable(struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->len, ANSWER_MAX - c->len, 0);
    if (n <= 0) {
        load.errors++;
        begin_again(c);
        return;
    }
    c->len += (size_t)n;
    c->answer[c->len] = '\0';
    size_t whole = length_of(c);
    if (whole == 0)
        return;
    load.done++;
    load.bytes += whole;
    load.refused += strncmp(c->answer + sizeof "HTTP/1.1" - 1, " 200", 4) != 0;
    if (!load.kept)
        begin_again(c);
    else if (!send_request(c))
        load.errors++;
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("usage: plain_load PORT connect|kept CONCURRENCY SECONDS PREFIX PATHS");
    load.port = (uint16_t)strtoul(argv[1], NULL, 10);
    load.kept = strcmp(argv[2], "kept") == 0;
    size_t concurrency = strtoul(argv[3], NULL, 10);
    double end = now() + strtod(argv[4], NULL);
    load.prefix = argv[5];
    read_paths(argv[6]);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.epoll < 0 || concurrency == 0 || concurrency > CONNECTIONS_MAX)
        fail("concurrency");
    for (size_t i = 0; i < concurrency; i++)
        begin(&connections[i]);
    while (now() < end) {
        struct epoll_event events[64];
        int n = epoll_wait(load.epoll, events, 64, 100);
        for (int i = 0; i < n; i++)
            on_readable(events[i].data.ptr);
    }
    (void)printf("{\"done\": %llu, \"errors\": %llu, \"refused\": %llu, \"bytes\": %llu}\n",
                 (unsigned long long)load.done, (unsigned long long)load.errors,
                 (unsigned long long)load.refused, (unsigned long long)load.bytes);
    return 0;
}
