#include "device/port/posix/stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device/port/posix/internal.h"

enum err stream_set_identity(struct stream *s, struct posix_port *port, const struct port_tls *tls)
{
    SSL_CTX *context = NULL;
    enum err err = posix_tls_context(port, tls, &context);
    ERR_clear_error();
    if (err != ERR_NONE)
        return err;
    SSL_CTX_free(s->context);
    s->context = context;
    return ERR_NONE;
}

/* The address that was tried is of no use. */
static void drop_address(struct stream *s)
{
    SSL_free(s->connection);
    s->connection = NULL;
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    ERR_clear_error();
}

void stream_close(struct stream *s)
{
    if (s->state == STREAM_OPEN)
        (void)SSL_shutdown(s->connection); /* says goodbye, and does not wait for an answer */
    drop_address(s);
    lookup_end(&s->lookup);
    s->state = STREAM_CLOSED;
}

void stream_free(struct stream *s)
{
    stream_close(s);
    SSL_CTX_free(s->context);
    s->context = NULL;
}

static enum err fail(struct stream *s, enum err err)
{
    stream_close(s);
    return err;
}

void stream_begin(struct stream *s, const char *host, uint16_t port, int64_t time, int64_t now_ms,
                  int64_t patience_ms)
{
    stream_close(s);
    size_t len = strlen(host);
    len = len < sizeof s->host ? len : sizeof s->host - 1;
    memcpy(s->host, host, len);
    s->host[len] = '\0';
    s->time = time;
    s->deadline_ms = s->address_ms = now_ms + patience_ms;
    s->addresses_len = s->at = 0;
    enum err err = lookup_begin(&s->lookup, s->host, port, s->addresses, &s->addresses_len);
    s->state = err == ERR_BUSY ? STREAM_LOOKING_UP : STREAM_CONNECTING;
}

/* Each address gets its share of the time that is left. */
static enum err connect_to(struct stream *s, int64_t now_ms)
{
    const union stream_address *a = &s->addresses[s->at];
    s->address_ms = now_ms + (s->deadline_ms - now_ms) / (int64_t)(s->addresses_len - s->at);
    s->fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return ERR_IO;
    int on = 1;
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socklen_t len = a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6;
    s->events = POLLOUT;
    if (connect(s->fd, &a->any, len) != 0 && errno != EINPROGRESS)
        return ERR_IO;
    return ERR_BUSY;
}

static enum err begin_handshake(struct stream *s)
{
    int failure = 0;
    socklen_t len = sizeof failure;
    struct pollfd fd = {.fd = s->fd, .events = POLLOUT};
    if (poll(&fd, 1, 0) == 0)
        return ERR_BUSY;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0 || failure != 0)
        return ERR_IO;
    s->connection = SSL_new(s->context);
    if (s->connection == NULL || SSL_set_fd(s->connection, s->fd) != 1)
        return ERR_CRYPTO;
    return posix_tls_expect(s->connection, s->host, s->time);
}

/* The next step towards a connection to this address. */
static enum err step(struct stream *s, int64_t now_ms)
{
    if (s->fd < 0)
        return connect_to(s, now_ms);
    if (s->state == STREAM_CONNECTING) {
        enum err err = begin_handshake(s);
        if (err != ERR_NONE)
            return err;
        s->state = STREAM_SHAKING;
    }
    ERR_clear_error();
    int result = SSL_connect(s->connection);
    if (result != 1)
        return posix_tls_outcome(s->connection, result, &s->events);
    return posix_tls_is_device(s->connection) ? ERR_NONE : ERR_BAD_SIGNATURE;
}

enum err stream_go_on(struct stream *s, int64_t now_ms)
{
    if (s->state == STREAM_CLOSED)
        return ERR_CLOSED;
    if (s->state == STREAM_LOOKING_UP) {
        enum err err = lookup_take(&s->lookup, s->addresses, &s->addresses_len);
        if (err == ERR_BUSY)
            return now_ms < s->deadline_ms ? err : fail(s, ERR_TIMEOUT);
        if (err != ERR_NONE)
            return fail(s, err);
        s->state = STREAM_CONNECTING;
    }
    enum err err = ERR_NOT_FOUND;
    while (s->at < s->addresses_len) {
        err = step(s, now_ms);
        if (err == ERR_NONE) {
            s->state = STREAM_OPEN;
            return ERR_NONE;
        }
        if (err == ERR_BUSY && now_ms < s->address_ms)
            return err;
        err = err == ERR_BUSY ? ERR_TIMEOUT : err;
        drop_address(s);
        s->state = STREAM_CONNECTING;
        s->at++;
    }
    return fail(s, err);
}

int stream_waits_for(const struct stream *s, bool has_output, short *ret_events,
                     int64_t *ret_until_ms)
{
    *ret_until_ms = INT64_MAX;
    *ret_events = POLLIN;
    switch (s->state) {
    case STREAM_CLOSED:
        return -1;
    case STREAM_LOOKING_UP:
        *ret_until_ms = s->deadline_ms;
        return s->lookup.fd;
    case STREAM_CONNECTING:
    case STREAM_SHAKING:
        *ret_until_ms = s->address_ms;
        *ret_events = s->events;
        return s->fd;
    case STREAM_OPEN:
        break;
    }
    /* What is written without renegotiation waits for room alone. */
    *ret_events = has_output ? POLLIN | POLLOUT : POLLIN;
    return s->fd;
}

enum err stream_send(struct stream *s, struct slice bytes, size_t *ret_len)
{
    short events;
    if (s->state != STREAM_OPEN)
        return ERR_CLOSED;
    ERR_clear_error();
    int result = SSL_write_ex(s->connection, bytes.data, bytes.len, ret_len);
    if (result == 1)
        return ERR_NONE;
    enum err err = posix_tls_outcome(s->connection, result, &events);
    return err == ERR_BUSY ? err : fail(s, err);
}

enum err stream_receive(struct stream *s, uint8_t *buffer, size_t max, size_t *ret_len)
{
    short events;
    if (s->state != STREAM_OPEN)
        return ERR_CLOSED;
    ERR_clear_error();
    int result = SSL_read_ex(s->connection, buffer, max, ret_len);
    if (result == 1)
        return ERR_NONE;
    enum err err = posix_tls_outcome(s->connection, result, &events);
    return err == ERR_BUSY ? err : fail(s, err);
}
