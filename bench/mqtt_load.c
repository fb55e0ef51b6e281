/* A load client for MQTT brokers over mutual TLS, each connection a device with a certificate of
 * its own:
 *
 *   mqtt_load make N CA CA-KEY OUT          N certificates for d-0, d-1, ... over one key, PEM
 *   mqtt_load connect HOST PORT CA OUT N CONCURRENCY SECONDS
 *             full handshake, CONNECT, CONNACK, DISCONNECT, over and over, N devices in turn
 *   mqtt_load messages HOST PORT CA OUT N 0 SECONDS
 *             N connections, each subscribed to its own topic, publishing on it at quality 1: the
 * next once the last is acknowledged and has come back mqtt_load idle HOST PORT CA OUT N 0 SECONDS
 *             N connections that say nothing; prints once all are open or refused, and for each
 * that the broker ends: {"ended": NUMBER, "reason": CODE, "at_us": of CLOCK_MONOTONIC} It prints a
 * line of JSON: {"mode","done","errors","refused","seconds","rate","p50_us","p99_us"}; the time of
 * an operation is one connect, or one message there and back. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEPS      64 /* of the histogram for each power of two: within 1.6 % */
#define IN_MAX     4096
#define OPENING    64 /* connections being opened at a time */
#define KEEP_ALIVE 600

enum mode { CONNECT, MESSAGES, IDLE };

struct device {
    SSL *ssl;
    int fd;
    uint32_t number;
    bool shaking, asked, subscribed, open;
    bool acknowledged, came_back;
    uint32_t events;
    int64_t begun_us;
    uint16_t id;
    size_t in_len;
    uint8_t in[IN_MAX];
};

static struct {
    enum mode mode;
    uint32_t n, next, opened;
    size_t concurrency;
    struct sockaddr_in address;
    SSL_CTX *ctx;
    X509 **certificates;
    EVP_PKEY *key;
    struct device *devices;
    size_t devices_len;
    int epoll;
    int64_t end_us;
    uint64_t done, errors, refused, buckets[40 * STEPS];
} load;

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "mqtt_load: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- certificates ---- */

static EVP_PKEY *read_key(const char *path)
{
    FILE *f = fopen(path, "re");
    EVP_PKEY *key = f == NULL ? NULL : PEM_read_PrivateKey(f, NULL, NULL, NULL);
    if (key == NULL)
        fail(path);
    (void)fclose(f);
    return key;
}

static X509 *make_certificate(uint32_t n, X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key)
{
    char name[32];
    (void)snprintf(name, sizeof name, "d-%u", n);
    X509 *x = X509_new();
    if (x == NULL || X509_set_version(x, 2) != 1 ||
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), n + 1000000) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(x), -3600) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), 86400) == NULL ||
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                   (const unsigned char *)name, -1, -1, 0) != 1 ||
        X509_set_issuer_name(x, X509_get_subject_name(ca)) != 1 || X509_set_pubkey(x, key) != 1 ||
        X509_sign(x, ca_key, EVP_sha256()) == 0)
        fail("a certificate cannot be made");
    return x;
}

static int make(uint32_t n, const char *ca_path, const char *ca_key_path, const char *out_path)
{
    FILE *f = fopen(ca_path, "re"), *out = fopen(out_path, "we");
    X509 *ca = f == NULL ? NULL : PEM_read_X509(f, NULL, NULL, NULL);
    EVP_PKEY *ca_key = read_key(ca_key_path), *key = EVP_EC_gen("P-256");
    if (ca == NULL || out == NULL || key == NULL ||
        PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) != 1)
        fail(out_path);
    for (uint32_t i = 0; i < n; i++) {
        X509 *x = make_certificate(i, ca, ca_key, key);
        if (PEM_write_X509(out, x) != 1)
            fail(out_path);
        X509_free(x);
    }
    return fclose(out) == 0 ? 0 : 1;
}

static void read_certificates(const char *path)
{
    FILE *f = fopen(path, "re");
    load.certificates = calloc(load.n, sizeof *load.certificates);
    if (f == NULL || load.certificates == NULL)
        fail(path);
    load.key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    for (uint32_t i = 0; i < load.n; i++) {
        load.certificates[i] = PEM_read_X509(f, NULL, NULL, NULL);
        if (load.certificates[i] == NULL)
            fail("there are fewer certificates than connections");
    }
    (void)fclose(f);
}

/* ---- figures ---- */

static void count(int64_t begun_us)
{
    uint64_t us = (uint64_t)(now_us() - begun_us);
    unsigned shift = 0;
    while (us >> shift >= 2 * STEPS)
        shift++;
    size_t bucket = shift * STEPS + (size_t)(us >> shift);
    load.buckets[bucket < 40 * STEPS ? bucket : 40 * STEPS - 1]++;
    load.done++;
}

static uint64_t percentile(double share)
{
    uint64_t want = (uint64_t)((double)load.done * share), seen = 0;
    for (size_t i = 0; i < 40 * STEPS; i++) {
        seen += load.buckets[i];
        if (seen <= want)
            continue;
        if (i < 2 * STEPS)
            return i;
        unsigned shift = (unsigned)(i / STEPS) - 1;
        return (uint64_t)(i - shift * STEPS) << shift;
    }
    return 0;
}

/* ---- a connection ---- */

static void watch(struct device *d, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = d};
    if (events == d->events)
        return;
    if (epoll_ctl(load.epoll, d->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, d->fd, &event) != 0)
        fail("epoll_ctl");
    d->events = events;
}

static void begin(struct device *d, uint32_t number)
{
    int on = 1;
    *d = (struct device){.number = number, .begun_us = now_us()};
    d->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        fail("no socket left: raise the limit of open files");
    (void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(d->fd, (const struct sockaddr *)&load.address, sizeof load.address) != 0 &&
        errno != EINPROGRESS)
        fail("cannot connect");
    d->ssl = SSL_new(load.ctx);
    if (d->ssl == NULL || SSL_set_fd(d->ssl, d->fd) != 1 ||
        SSL_use_certificate(d->ssl, load.certificates[number]) != 1 ||
        SSL_use_PrivateKey(d->ssl, load.key) != 1)
        fail("SSL_new");
    SSL_set_connect_state(d->ssl);
    d->shaking = true;
    watch(d, EPOLLOUT);
}

static void end(struct device *d)
{
    (void)SSL_shutdown(d->ssl);
    SSL_free(d->ssl);
    (void)close(d->fd);
    ERR_clear_error();
    d->ssl = NULL;
}

static bool blocked(struct device *d, int result)
{
    int why = SSL_get_error(d->ssl, result);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        return false;
    watch(d, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
    return true;
}

/* Small packets, with room in the socket: each goes out at once. */
static void send_packet(struct device *d, const uint8_t *bytes, size_t len)
{
    if (SSL_write(d->ssl, bytes, (int)len) != (int)len)
        fail("a packet did not go out at once");
}

static size_t put_text(uint8_t *to, const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0'; len++)
        to[2 + len] = (uint8_t)text[len];
    to[0] = (uint8_t)(len >> 8);
    to[1] = (uint8_t)len;
    return len + 2;
}

static void send_with(struct device *d, uint8_t first, const uint8_t *body, size_t len)
{
    uint8_t packet[256] = {first, (uint8_t)len};
    if (len > 127)
        fail("a packet is too long");
    memcpy(packet + 2, body, len);
    send_packet(d, packet, len + 2);
}

static void ask(struct device *d)
{
    uint8_t body[128] = {0, 4, 'M', 'Q', 'T', 'T', 5, 2, KEEP_ALIVE >> 8, KEEP_ALIVE & 255, 0};
    char name[32];
    (void)snprintf(name, sizeof name, "d-%u", d->number);
    size_t len = 11 + put_text(body + 11, name);
    send_with(d, 0x10, body, len);
    d->asked = true;
}

static size_t put_topic(const struct device *d, uint8_t *to)
{
    char topic[64];
    (void)snprintf(topic, sizeof topic, "fleet/d-%u/up/temperature", d->number);
    return put_text(to, topic);
}

static void subscribe(struct device *d)
{
    uint8_t body[128] = {0, 1, 0};
    size_t len = 3 + put_topic(d, body + 3);
    body[len++] = 0; /* delivered at quality 0 */
    send_with(d, 0x82, body, len);
}

static void publish(struct device *d)
{
    uint8_t body[128];
    size_t len = put_topic(d, body);
    d->id = d->id == UINT16_MAX ? 1 : (uint16_t)(d->id + 1);
    body[len++] = (uint8_t)(d->id >> 8);
    body[len++] = (uint8_t)d->id;
    body[len++] = 0;
    memcpy(body + len, "{\"celsius\":21.5}", 16);
    d->acknowledged = d->came_back = false;
    d->begun_us = now_us();
    send_with(d, 0x32, body, len + 16);
}

/* ---- what the broker says ---- */

static void begin_another(void)
{
    if (load.next < load.n && load.next < load.devices_len) {
        struct device *other = &load.devices[load.next];
        begin(other, load.next++);
    }
}

static void open_more(struct device *d)
{
    d->open = true;
    load.opened++;
    begin_another();
}

static void on_connack(struct device *d, const uint8_t *body)
{
    if (body[1] != 0 && load.mode == IDLE) {
        load.refused++;
        begin_another();
        return;
    }
    if (body[1] != 0)
        fail("the broker refuses a device");
    if (load.mode == CONNECT) {
        const uint8_t bye[] = {0xe0, 0};
        send_packet(d, bye, sizeof bye);
        count(d->begun_us);
    } else if (load.mode == MESSAGES) {
        subscribe(d);
    } else {
        open_more(d);
    }
}

static void on_packet(struct device *d, uint8_t first, const uint8_t *body, size_t len)
{
    switch (first >> 4) {
    case 2:
        on_connack(d, body);
        break;
    case 9:
        if (body[len - 1] >= 0x80)
            fail("the broker refuses a subscription");
        d->subscribed = true;
        open_more(d);
        break;
    case 4:
        if (len > 2 && body[2] >= 0x80)
            fail("the broker refuses a message");
        d->acknowledged = true;
        break;
    case 3:
        d->came_back = true;
        break;
    case 14:
        (void)printf("{\"ended\": %u, \"reason\": %u, \"at_us\": %lld}\n", d->number,
                     len > 0 ? body[0] : 0, (long long)now_us());
        (void)fflush(stdout);
        break;
    default:
        fail("the broker sends what was not asked for");
    }
    if (d->acknowledged && d->came_back) {
        count(d->begun_us);
        d->acknowledged = false;
        if (now_us() < load.end_us)
            publish(d);
    }
}

static void read_packets(struct device *d)
{
    size_t at = 0;
    while (d->in_len - at >= 2) {
        size_t len = d->in[at + 1], head = 2;
        if (len > 127) {
            if (d->in_len - at < 3)
                break;
            len = (len & 127) | (size_t)d->in[at + 2] << 7;
            head = 3;
        }
        if (len > 16383 || d->in_len - at < head + len)
            break;
        on_packet(d, d->in[at], d->in + at + head, len);
        at += head + len;
    }
    memmove(d->in, d->in + at, d->in_len - at);
    d->in_len -= at;
}

static void lost(struct device *d, bool orderly)
{
    if (!orderly)
        load.errors++;
    end(d);
    if (load.mode == CONNECT && now_us() < load.end_us)
        begin(d, load.next++ % load.n);
}

static void step(struct device *d)
{
    ERR_clear_error();
    if (d->shaking) {
        int r = SSL_do_handshake(d->ssl);
        if (r != 1) {
            if (!blocked(d, r))
                lost(d, false);
            return;
        }
        d->shaking = false;
        ask(d);
        watch(d, EPOLLIN);
    }
    uint64_t before = load.done;
    for (;;) {
        int n = SSL_read(d->ssl, d->in + d->in_len, (int)(IN_MAX - d->in_len));
        if (n <= 0) {
            if (!blocked(d, n))
                lost(d, load.mode != MESSAGES);
            return;
        }
        d->in_len += (size_t)n;
        read_packets(d);
        if (load.mode == CONNECT && load.done != before) {
            lost(d, true);
            return;
        }
    }
}

/* ---- all of them ---- */

static void turn(int64_t until_us, bool until_open)
{
    struct epoll_event events[128];
    while (now_us() < until_us && !(until_open && load.opened + load.refused == load.n)) {
        int n = epoll_wait(load.epoll, events, 128, 100);
        for (int i = 0; i < n; i++)
            step(events[i].data.ptr);
    }
}

static void print_result(int64_t begun_us)
{
    static const char *const names[] = {"connect", "messages", "idle"};
    double seconds = (double)(now_us() - begun_us) / 1e6;
    (void)printf("{\"mode\": \"%s\", \"done\": %llu, \"errors\": %llu, \"refused\": %llu, "
                 "\"seconds\": %.3f, "
                 "\"rate\": %.1f, \"p50_us\": %llu, \"p99_us\": %llu, \"open\": %u}\n",
                 names[load.mode], (unsigned long long)load.done, (unsigned long long)load.errors,
                 (unsigned long long)load.refused, seconds, (double)load.done / seconds,
                 (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
                 load.opened);
    (void)fflush(stdout);
}

static void run(double seconds)
{
    int64_t begun_us = now_us();
    load.end_us = INT64_MAX;
    if (load.mode == CONNECT) {
        load.end_us = begun_us + (int64_t)(seconds * 1e6);
        for (size_t i = 0; i < load.concurrency; i++)
            begin(&load.devices[i], load.next++ % load.n);
        turn(load.end_us, false);
        print_result(begun_us);
        return;
    }
    for (uint32_t i = 0; i < OPENING && i < load.n; i++)
        begin(&load.devices[i], load.next++);
    turn(begun_us + 600 * INT64_C(1000000), true);
    if (load.opened + load.refused != load.n)
        fail("not all connections could be opened");
    if (load.mode == IDLE)
        print_result(begun_us);
    else
        (void)puts("{\"open\": true}"); /* and now for the messages, once a line comes back */
    (void)fflush(stdout);
    if (load.mode == MESSAGES && getchar() == EOF)
        return;
    begun_us = now_us();
    load.end_us = begun_us + (int64_t)(seconds * 1e6);
    for (uint32_t i = 0; load.mode == MESSAGES && i < load.n; i++)
        publish(&load.devices[i]);
    turn(load.end_us, false);
    if (load.mode == MESSAGES)
        print_result(begun_us);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "make") == 0)
        return make((uint32_t)strtoul(argv[2], NULL, 10), argv[3], argv[4], argv[5]);
    static const char *const modes[] = {"connect", "messages", "idle"};
    unsigned mode = 0;
    while (argc == 9 && mode < 3 && strcmp(argv[1], modes[mode]) != 0)
        mode++;
    if (argc != 9 || mode == 3)
        fail("usage: mqtt_load make N CA CA-KEY OUT | connect|messages|idle HOST PORT CA OUT N "
             "CONCURRENCY SECONDS");
    load.mode = (enum mode)mode;
    load.n = (uint32_t)strtoul(argv[6], NULL, 10);
    load.concurrency = strtoul(argv[7], NULL, 10);
    load.devices_len = load.mode == CONNECT ? load.concurrency : load.n;
    load.devices = calloc(load.devices_len, sizeof *load.devices);
    load.address = (struct sockaddr_in){.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10))};
    load.ctx = SSL_CTX_new(TLS_client_method());
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.devices == NULL || load.ctx == NULL || load.epoll < 0 ||
        inet_pton(AF_INET, argv[2], &load.address.sin_addr) != 1 ||
        SSL_CTX_load_verify_file(load.ctx, argv[4]) != 1)
        fail("cannot be set up");
    SSL_CTX_set_verify(load.ctx, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(load.ctx, SSL_MODE_RELEASE_BUFFERS);
    read_certificates(argv[5]);
    run(strtod(argv[8], NULL));
    return 0;
}
