/* A load client for HTTPS servers with client certificates, cheap enough to share a machine with
 * what it measures:
 *
 *   tls_load HOST PORT CA CERTIFICATE KEY MODE N CONCURRENCY SECONDS [NAME=VALUE ...]
 *
 * CA, CERTIFICATE and KEY are PEM files; "-" for CERTIFICATE and KEY: none is shown. MODE is
 *   connect  a full handshake, one request and a close, over and over
 *   resume   the same, each slot resuming its last session
 *   kept     requests, one after the other, on CONCURRENCY connections
 *   idle     opens N connections, one request on each, and holds them for SECONDS
 * It ends after N operations (0: no limit) or SECONDS, and prints one line of JSON:
 *   {"mode","done","errors","refused","seconds","rate","p50_us","p99_us","max_us","resumed",
 *    "client_cpu_seconds"}
 * "refused" are answers outside 200..299, counted in "done" as well; in the modes other than kept
 * the time of an operation counts from connect(). Idle prints its line once all are open.
 *
 * NAME=VALUE: threads=1, method=GET, path=/, body=FILE, lines=FILE (each request has the next line
 * as its body), type=MEDIA-TYPE, header=LINE. "{n}" in the path and in the body is replaced by a
 * number of its own for each request. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX  (256 * 1024)
#define RESPONSE_MAX (64 * 1024) /* of a head; bodies are counted and dropped */
#define THREADS_MAX  16
#define OPENING_MAX  100 /* idle connections being opened at a time */
#define STEPS        64  /* of the histogram for each power of two: within 1.6 % */

enum mode { MODE_CONNECT, MODE_RESUME, MODE_KEPT, MODE_IDLE };
static const char *const mode_names[] = {"connect", "resume", "kept", "idle"};

static struct {
    enum mode mode;
    uint64_t n;
    size_t concurrency;
    double seconds;
    size_t threads;
    const char *host, *method, *path, *type, *header;
    char *body;
    char *lines;
    struct sockaddr_storage address;
    socklen_t address_len;
    SSL_CTX *ctx;
} load = {.threads = 1, .method = "GET", .path = "/"};

static _Atomic uint64_t started; /* operations begun, over all threads */
static _Atomic uint64_t numbers; /* for {n} */
static _Atomic(char *) next_line;
static int64_t end_us;

struct slot {
    SSL *ssl;
    SSL_SESSION *session;
    int fd;
    bool shaking, sending, parked;
    uint32_t events; /* watched for */
    int64_t begun_us;
    char *pending; /* what of a long request the socket did not take at once */
    size_t pending_len;
    bool body_begun;
    uint64_t body_left;
    unsigned status;
    bool close;
};

struct worker {
    pthread_t thread;
    int epoll;
    struct slot *slots;
    size_t slots_len;
    size_t slots_begun;
    size_t open;
    uint64_t done, errors, refused, resumed;
    uint64_t buckets[40 * STEPS];
    uint64_t max_us;
    char *request; /* of the slot that is sending: built right before */
    char *head;    /* of the slot that is reading */
};

static int64_t now_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "tls_load: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static size_t bucket_of(uint64_t us)
{
    unsigned shift = 0;
    while (us >> shift >= 2 * STEPS)
        shift++;
    size_t i = shift * STEPS + (size_t)(us >> shift);
    return i < 40 * STEPS ? i : 40 * STEPS - 1;
}

static uint64_t value_of(size_t bucket)
{
    if (bucket < 2 * STEPS)
        return bucket;
    unsigned shift = (unsigned)(bucket / STEPS) - 1;
    return (uint64_t)(bucket - shift * STEPS) << shift;
}

static void count_done(struct worker *w, struct slot *s)
{
    uint64_t us = (uint64_t)(now_us() - s->begun_us);
    w->buckets[bucket_of(us)]++;
    if (us > w->max_us)
        w->max_us = us;
    w->done++;
    if (s->status < 200 || s->status > 299)
        w->refused++;
}

/* Copies `text` with the first "{n}" in it replaced. */
static size_t put_numbered(char *to, size_t max, const char *text, uint64_t number)
{
    const char *mark = strstr(text, "{n}");
    int len = mark == NULL ? snprintf(to, max, "%s", text)
                           : snprintf(to, max, "%.*s%llu%s", (int)(mark - text), text,
                                      (unsigned long long)number, mark + 3);
    if (len < 0 || (size_t)len >= max)
        fail("a request is too long");
    return (size_t)len;
}

static char *take_line(void)
{
    char *line = atomic_load(&next_line);
    char *end;
    do {
        if (line == NULL || *line == '\0')
            fail("lines=FILE has too few lines");
        end = strchr(line, '\n');
        end = end != NULL ? end + 1 : line + strlen(line);
    } while (!atomic_compare_exchange_weak(&next_line, &line, end));
    return line;
}

static size_t build_request(char *to)
{
    static _Thread_local char body[REQUEST_MAX];
    char path[2048];
    uint64_t number = atomic_fetch_add(&numbers, 1);
    size_t body_len = 0;
    (void)put_numbered(path, sizeof path, load.path, number);
    if (load.lines != NULL) {
        char *line = take_line();
        body_len = strcspn(line, "\n");
        if (body_len >= sizeof body)
            fail("a line is too long");
        memcpy(body, line, body_len);
    } else if (load.body != NULL) {
        body_len = put_numbered(body, sizeof body, load.body, number);
    }
    bool has_body = load.lines != NULL || load.body != NULL;
    char length[48] = "";
    if (has_body)
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_len);
    int len =
        snprintf(to, REQUEST_MAX, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s%s%s\r\n", load.method,
                 path, load.host, load.type != NULL ? "Content-Type: " : "",
                 load.type != NULL ? load.type : "", load.type != NULL ? "\r\n" : "",
                 load.header != NULL ? load.header : "", load.header != NULL ? "\r\n" : "", length);
    if (len < 0 || (size_t)len + body_len > REQUEST_MAX)
        fail("a request is too long");
    memcpy(to + len, body, body_len);
    return (size_t)len + body_len;
}

static bool may_begin(void)
{
    if (now_us() >= end_us && load.mode != MODE_IDLE)
        return false;
    uint64_t before = atomic_fetch_add(&started, 1);
    return load.n == 0 || before < load.n;
}

static void watch(struct worker *w, struct slot *s, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = s};
    if (events == s->events)
        return;
    if (epoll_ctl(w->epoll, s->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &event) != 0)
        fail("epoll_ctl");
    s->events = events;
}

static void close_slot(struct worker *w, struct slot *s, bool orderly)
{
    if (s->ssl == NULL)
        return;
    if (orderly) {
        (void)SSL_shutdown(s->ssl);
        if (load.mode == MODE_RESUME) {
            SSL_SESSION_free(s->session);
            s->session = SSL_get1_session(s->ssl);
        }
    }
    SSL_free(s->ssl);
    close(s->fd);
    free(s->pending);
    s->pending = NULL;
    s->ssl = NULL;
    w->open--;
}

static void begin_request(struct slot *s)
{
    s->sending = true;
    s->body_begun = false;
    s->body_left = 0;
    s->status = 0;
    s->close = false;
}

static void begin_connection(struct worker *w, struct slot *s)
{
    int on = 1;
    SSL_SESSION *session = s->session;
    *s = (struct slot){.session = session, .begun_us = now_us()};
    s->fd = socket(load.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        fail("no socket left: raise the limit of open files");
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(s->fd, (const struct sockaddr *)&load.address, load.address_len) != 0 &&
        errno != EINPROGRESS)
        fail("cannot connect");
    s->ssl = SSL_new(load.ctx);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1)
        fail("SSL_new");
    SSL_set_connect_state(s->ssl);
    if (session != NULL)
        (void)SSL_set_session(s->ssl, session);
    w->open++;
    s->shaking = true;
    watch(w, s, EPOLLOUT);
}

/* What an operation needs next; true where the socket must become ready first. */
static bool blocked(struct worker *w, struct slot *s, int result)
{
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        watch(w, s, EPOLLIN);
        return true;
    case SSL_ERROR_WANT_WRITE:
        watch(w, s, EPOLLOUT);
        return true;
    default:
        return false;
    }
}

/* Reads the fields that matter of a head that is whole. */
static void read_head(struct slot *s, const char *head)
{
    s->status = (unsigned)strtoul(head + sizeof "HTTP/1.1", NULL, 10);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "content-length:", 15) == 0)
            s->body_left = strtoull(line + 17, NULL, 10);
        if (strncasecmp(line + 2, "connection: close", 17) == 0)
            s->close = true;
    }
}

static void restart(struct worker *w, struct slot *s)
{
    if (may_begin())
        begin_connection(w, s);
}

static void failed(struct worker *w, struct slot *s)
{
    w->errors++;
    ERR_clear_error();
    close_slot(w, s, false);
    restart(w, s);
}

static void finish(struct worker *w, struct slot *s)
{
    count_done(w, s);
    if (load.mode == MODE_IDLE) {
        s->parked = true;
        watch(w, s, EPOLLRDHUP);
        if (w->slots_begun < w->slots_len)
            restart(w, &w->slots[w->slots_begun++]);
        return;
    }
    if (load.mode == MODE_KEPT && !s->close) {
        if (!may_begin()) {
            close_slot(w, s, true);
            return;
        }
        s->begun_us = now_us();
        begin_request(s);
        return;
    }
    close_slot(w, s, true);
    restart(w, s);
}

/* True where the response is whole. */
static bool take_bytes(struct worker *w, struct slot *s, const char *bytes, size_t len)
{
    if (!s->body_begun) {
        /* Every server measured sends a head in one record. */
        if (len >= RESPONSE_MAX)
            len = RESPONSE_MAX - 1;
        memmove(w->head, bytes, len);
        w->head[len] = '\0';
        char *end = strstr(w->head, "\r\n\r\n");
        if (end == NULL)
            fail("a response head came in pieces");
        end[2] = '\0';
        read_head(s, w->head);
        s->body_begun = true;
        len -= (size_t)(end - w->head) + 4;
    }
    s->body_left -= len < s->body_left ? len : s->body_left;
    return s->body_left == 0;
}

/* False where the connection has failed. */
static bool send_request(struct worker *w, struct slot *s)
{
    const char *bytes = s->pending;
    size_t len = s->pending_len;
    if (bytes == NULL) {
        bytes = w->request;
        len = build_request(w->request);
    }
    while (len > 0) {
        int r = SSL_write(s->ssl, bytes, (int)len);
        if (r <= 0) {
            char *rest = malloc(len);
            if (rest == NULL)
                fail("out of memory");
            memcpy(rest, bytes, len);
            free(s->pending);
            s->pending = rest;
            s->pending_len = len;
            return blocked(w, s, r);
        }
        bytes += r;
        len -= (size_t)r;
    }
    free(s->pending);
    s->pending = NULL;
    s->sending = false;
    watch(w, s, EPOLLIN);
    return true;
}

static void step(struct worker *w, struct slot *s)
{
    static _Thread_local char bytes[RESPONSE_MAX];
    ERR_clear_error();
    if (s->shaking) {
        int r = SSL_do_handshake(s->ssl);
        if (r != 1) {
            if (!blocked(w, s, r))
                failed(w, s);
            return;
        }
        s->shaking = false;
        if (SSL_session_reused(s->ssl))
            w->resumed++;
        begin_request(s);
    }
    while (s->ssl != NULL && !s->parked && !s->shaking) {
        if (s->sending) {
            if (!send_request(w, s))
                failed(w, s);
            return;
        }
        int r = SSL_read(s->ssl, bytes, sizeof bytes);
        if (r <= 0) {
            if (!blocked(w, s, r))
                failed(w, s);
            return;
        }
        if (take_bytes(w, s, bytes, (size_t)r))
            finish(w, s);
    }
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[256];
    size_t at_once =
        load.mode == MODE_IDLE && w->slots_len > OPENING_MAX ? OPENING_MAX : w->slots_len;
    while (w->slots_begun < at_once)
        restart(w, &w->slots[w->slots_begun++]);
    while (w->open > 0) {
        if (load.mode == MODE_IDLE && w->done + w->errors >= w->slots_len)
            break;
        int n = epoll_wait(w->epoll, events, 256, 1000);
        for (int i = 0; i < n; i++) {
            struct slot *s = events[i].data.ptr;
            if (s->ssl != NULL && !s->parked)
                step(w, s);
        }
        if (now_us() > end_us + 5000000 && load.mode != MODE_IDLE) {
            w->errors += w->open; /* stuck */
            break;
        }
    }
    return NULL;
}

static void print_report(const struct worker *workers, double seconds)
{
    static uint64_t buckets[40 * STEPS];
    uint64_t done = 0;
    uint64_t errors = 0;
    uint64_t refused = 0;
    uint64_t resumed = 0;
    uint64_t max_us = 0;
    for (size_t t = 0; t < load.threads; t++) {
        const struct worker *w = &workers[t];
        done += w->done;
        errors += w->errors;
        refused += w->refused;
        resumed += w->resumed;
        max_us = w->max_us > max_us ? w->max_us : max_us;
        for (size_t i = 0; i < 40 * STEPS; i++)
            buckets[i] += w->buckets[i];
    }
    uint64_t p50 = 0;
    uint64_t p99 = 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < 40 * STEPS; i++) {
        seen += buckets[i];
        if (p50 == 0 && seen * 2 >= done && done > 0)
            p50 = value_of(i);
        if (p99 == 0 && seen * 100 >= done * 99 && done > 0)
            p99 = value_of(i);
    }
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    (void)printf("{\"mode\":\"%s\",\"done\":%llu,\"errors\":%llu,\"refused\":%llu,"
                 "\"seconds\":%.3f,\"rate\":%.1f,\"p50_us\":%llu,\"p99_us\":%llu,\"max_us\":%llu,"
                 "\"resumed\":%llu,\"client_cpu_seconds\":%.3f}\n",
                 mode_names[load.mode], (unsigned long long)done, (unsigned long long)errors,
                 (unsigned long long)refused, seconds, (double)done / seconds,
                 (unsigned long long)p50, (unsigned long long)p99, (unsigned long long)max_us,
                 (unsigned long long)resumed, cpu);
    (void)fflush(stdout);
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0)
        fail("cannot read a file");
    long len = ftell(f);
    char *text = len >= 0 ? malloc((size_t)len + 1) : NULL;
    rewind(f);
    if (text == NULL || fread(text, 1, (size_t)len, f) != (size_t)len)
        fail("cannot read a file");
    text[len] = '\0';
    (void)fclose(f);
    return text;
}

static void read_option(char *option)
{
    char *value = strchr(option, '=');
    if (value == NULL)
        fail("NAME=VALUE expected");
    *value++ = '\0';
    if (strcmp(option, "threads") == 0)
        load.threads = (size_t)strtoul(value, NULL, 10);
    else if (strcmp(option, "method") == 0)
        load.method = value;
    else if (strcmp(option, "path") == 0)
        load.path = value;
    else if (strcmp(option, "type") == 0)
        load.type = value;
    else if (strcmp(option, "header") == 0)
        load.header = value;
    else if (strcmp(option, "body") == 0)
        load.body = read_file(value);
    else if (strcmp(option, "lines") == 0)
        load.lines = read_file(value);
    else
        fail("unknown option");
}

static void prepare_tls(const char *ca, const char *certificate, const char *key)
{
    load.ctx = SSL_CTX_new(TLS_client_method());
    if (load.ctx == NULL || SSL_CTX_load_verify_file(load.ctx, ca) != 1)
        fail("cannot load CA");
    SSL_CTX_set_verify(load.ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(load.ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(load.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (strcmp(certificate, "-") != 0 &&
        (SSL_CTX_use_certificate_chain_file(load.ctx, certificate) != 1 ||
         SSL_CTX_use_PrivateKey_file(load.ctx, key, SSL_FILETYPE_PEM) != 1))
        fail("cannot load certificate and key");
}

static void prepare_address(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *ai;
    if (getaddrinfo(host, port, &hints, &ai) != 0)
        fail("unknown host");
    memcpy(&load.address, ai->ai_addr, ai->ai_addrlen);
    load.address_len = ai->ai_addrlen;
    freeaddrinfo(ai);
}

static void read_arguments(int argc, char **argv)
{
    if (argc < 10)
        fail("usage: tls_load HOST PORT CA CERTIFICATE KEY MODE N CONCURRENCY SECONDS "
             "[NAME=VALUE ...]");
    for (int i = 10; i < argc; i++)
        read_option(argv[i]);
    size_t mode = 0;
    while (mode < 4 && strcmp(argv[6], mode_names[mode]) != 0)
        mode++;
    load.host = argv[1];
    load.mode = (enum mode)mode;
    load.n = strtoull(argv[7], NULL, 10);
    load.concurrency = (size_t)strtoul(argv[8], NULL, 10);
    load.seconds = strtod(argv[9], NULL);
    if (load.mode == MODE_IDLE)
        load.concurrency = (size_t)load.n;
    if (mode == 4 || load.threads < 1 || load.threads > THREADS_MAX ||
        load.concurrency < load.threads || load.seconds <= 0)
        fail("MODE, N, CONCURRENCY, SECONDS or threads is out of range");
    atomic_store(&next_line, load.lines);
    prepare_address(argv[1], argv[2]);
    prepare_tls(argv[3], argv[4], argv[5]);
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS_MAX];
    struct rlimit files;
    read_arguments(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    int64_t begun = now_us();
    end_us = begun + (int64_t)(load.seconds * 1e6);
    for (size_t t = 0; t < load.threads; t++) {
        struct worker *w = &workers[t];
        w->slots_len = load.concurrency / load.threads + (t < load.concurrency % load.threads);
        w->slots = calloc(w->slots_len + 1, sizeof *w->slots);
        w->request = malloc(REQUEST_MAX);
        w->head = malloc(RESPONSE_MAX);
        w->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (w->slots == NULL || w->request == NULL || w->head == NULL || w->epoll < 0 ||
            pthread_create(&w->thread, NULL, run, w) != 0)
            fail("out of memory");
    }
    for (size_t t = 0; t < load.threads; t++)
        (void)pthread_join(workers[t].thread, NULL);
    print_report(workers, (double)(now_us() - begun) / 1e6);
    if (load.mode == MODE_IDLE)
        (void)usleep((useconds_t)(load.seconds * 1e6));
    return 0;
}
