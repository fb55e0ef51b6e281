#include "base/http_client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dial.h"
#include "base/tls_client.h"
#include "core/base64.h"

#define EXPLAIN_SIZE 256
#define FIELDS_MAX   8192 /* bytes of the request's own header fields: a bearer token with room */
#define TARGET_MAX   4096
#define READ_SIZE    16384

struct http_client {
    char *unix_path, *host, *port, *bearer, *basic, *field; /* copies; NULL where not given */
    int64_t timeout_ms;
    size_t response_max;
    int cancel_fd;
    struct tls_client *tls; /* NULL over a Unix socket, and in plain */
    int fd;                 /* -1 while not connected */
    uint8_t *buffer;        /* head and body of the answer */
    char place[160];        /* whom we talk to, in messages */
};

PRINTF_LIKE(3, 4)
static enum err fail(enum err err, char *explain, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = vsnprintf(explain, EXPLAIN_SIZE, format, values);
    va_end(values);
    if (n < 0)
        explain[0] = '\0';
    return err;
}

static bool copy_text(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text == NULL || *to != NULL;
}

enum err http_client_new(const struct http_client_options *options, struct http_client **ret_client,
                         char explain[256])
{
    if (options->response_max > SIZE_MAX / 2)
        return fail(ERR_LIMIT, explain, "the largest answer asked for is too large");
    struct http_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return fail(ERR_NO_MEMORY, explain, "%s", err_text(ERR_NO_MEMORY));
    c->fd = -1;
    c->timeout_ms = options->timeout_ms;
    c->response_max = options->response_max;
    c->cancel_fd = options->cancel_fd;
    c->buffer = malloc(HTTP1_HEAD_MAX + options->response_max);
    enum err err = ERR_NONE;
    if (c->buffer == NULL || !copy_text(&c->unix_path, options->unix_path) ||
        !copy_text(&c->host, options->host) || !copy_text(&c->port, options->port) ||
        !copy_text(&c->bearer, options->bearer) || !copy_text(&c->basic, options->basic) ||
        !copy_text(&c->field, options->field))
        err = fail(ERR_NO_MEMORY, explain, "%s", err_text(ERR_NO_MEMORY));
    else if (c->unix_path == NULL && (c->host == NULL || c->port == NULL))
        err = fail(ERR_SYNTAX, explain, "neither a socket nor a host and its port is given");
    else if (c->unix_path == NULL && !options->plain)
        err = tls_client_new(options->roots_path, &c->tls, explain);
    if (err == ERR_NONE && c->tls != NULL)
        tls_client_set_cancel(c->tls, options->cancel_fd);
    if (err == ERR_NONE && c->tls != NULL && options->certificate_path != NULL)
        err = tls_client_set_certificate(c->tls, options->certificate_path, options->key_path,
                                         explain);
    if (err != ERR_NONE) {
        http_client_free(c);
        return err;
    }
    if (c->unix_path != NULL)
        (void)snprintf(c->place, sizeof c->place, "%.108s", c->unix_path);
    else
        (void)snprintf(c->place, sizeof c->place, "%.120s port %.20s", c->host, c->port);
    *ret_client = c;
    return ERR_NONE;
}

static void disconnect(struct http_client *c)
{
    if (c->tls != NULL)
        tls_client_disconnect(c->tls);
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    disconnect(c);
    tls_client_free(c->tls);
    if (c->bearer != NULL)
        mem_wipe(c->bearer, strlen(c->bearer));
    if (c->basic != NULL)
        mem_wipe(c->basic, strlen(c->basic));
    free(c->bearer);
    free(c->basic);
    free(c->field);
    free(c->unix_path);
    free(c->host);
    free(c->port);
    free(c->buffer);
    free(c);
}

static enum err explain_connect(const struct http_client *c, char *explain)
{
    switch (errno) {
    case ETIMEDOUT:
        return fail(ERR_TIMEOUT, explain, "the hub at %s does not answer in time", c->place);
    case EACCES:
    case EPERM:
        return fail(ERR_IO, explain,
                    "no permission to use %s: run this as root or as a member of its group",
                    c->place);
    case ENOENT:
    case ECONNREFUSED:
        return fail(ERR_IO, explain, "cannot reach the hub at %s: is it running?", c->place);
    default:
        return fail(ERR_IO, explain, "cannot reach the hub at %s: %s", c->place, strerror(errno));
    }
}

static enum err connect_unix(struct http_client *c, int64_t deadline_ms, char *explain)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(c->unix_path);
    if (n >= sizeof to.sun_path)
        return fail(ERR_LIMIT, explain, "the path of the socket is longer than %zu bytes: %s",
                    sizeof to.sun_path - 1, c->place);
    memcpy(to.sun_path, c->unix_path, n);
    c->fd = dial((const struct sockaddr *)&to, sizeof to, deadline_ms, c->cancel_fd);
    return c->fd >= 0 ? ERR_NONE : explain_connect(c, explain);
}

static enum err connect_host(struct http_client *c, int64_t deadline_ms, char *explain)
{
    const char *fault = NULL;
    c->fd = dial_host(c->host, c->port, deadline_ms, c->cancel_fd, &fault);
    if (c->fd < 0 && errno == 0)
        return fail(ERR_IO, explain, "cannot find %s: %s", c->place, fault);
    if (c->fd < 0)
        return explain_connect(c, explain);
    return c->tls == NULL ? ERR_NONE
                          : tls_client_connect(c->tls, c->fd, c->host, deadline_ms, explain);
}

static enum err send_all(struct http_client *c, struct slice bytes, int64_t deadline_ms)
{
    if (c->tls != NULL)
        return tls_client_write(c->tls, bytes, deadline_ms);
    while (bytes.len > 0) {
        ssize_t n = send(c->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n >= 0) {
            bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return ERR_IO;
        enum err err = dial_wait(c->fd, POLLOUT, deadline_ms, c->cancel_fd);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* ERR_CLOSED: the proper end. */
static enum err receive_some(struct http_client *c, uint8_t *bytes, size_t max, int64_t deadline_ms,
                             size_t *ret_len)
{
    if (c->tls != NULL)
        return tls_client_read(c->tls, bytes, max, deadline_ms, ret_len);
    for (;;) {
        ssize_t n = recv(c->fd, bytes, max, 0);
        if (n > 0) {
            *ret_len = (size_t)n;
            return ERR_NONE;
        }
        if (n == 0)
            return ERR_CLOSED;
        if (errno != EAGAIN && errno != EINTR)
            return ERR_IO;
        enum err err = dial_wait(c->fd, POLLIN, deadline_ms, c->cancel_fd);
        if (err != ERR_NONE)
            return err;
    }
}

/* *ret_any tells whether a single byte came. */
static enum err receive_response(struct http_client *c, struct http1_response *response,
                                 int64_t deadline_ms, bool *ret_any)
{
    uint8_t bytes[READ_SIZE];
    while (!http1_response_done(response)) {
        size_t n = 0, used = 0;
        enum err err = receive_some(c, bytes, sizeof bytes, deadline_ms, &n);
        if (err == ERR_CLOSED)
            return http1_response_end(response);
        if (err != ERR_NONE)
            return err;
        *ret_any = true;
        err = http1_response_feed(response, slice_of(bytes, n), &used);
        if (err != ERR_NONE)
            return err;
        if (used < n)
            response->keep_alive = false; /* nobody asked for what follows */
    }
    return http1_response_body(response).len > c->response_max ? ERR_LIMIT : ERR_NONE;
}

static enum err explain_exchange(const struct http_client *c, enum err err, char *explain)
{
    switch (err) {
    case ERR_TIMEOUT:
        return fail(err, explain, "the hub at %s did not answer within %lld ms", c->place,
                    (long long)c->timeout_ms);
    case ERR_LIMIT:
        return fail(err, explain, "the answer is larger than %zu bytes: ask for less at once",
                    c->response_max);
    case ERR_SYNTAX:
    case ERR_UNSUPPORTED:
        return fail(err, explain, "what answers at %s does not speak HTTP as the hub does",
                    c->place);
    case ERR_IO:
    case ERR_CLOSED:
        return fail(ERR_CLOSED, explain,
                    "the hub at %s ended the connection before its answer came: the request may "
                    "or may not have been carried out",
                    c->place);
    default:
        return fail(err, explain, "%s", err_text(err));
    }
}

/* RFC 9110 section 9.2.2 */
static bool is_idempotent(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return false;
}

/* Sends on a connection, a kept one first, and reads the answer. Where a kept one turns out to be
 * closed, and the hub can't have acted on the request, it is sent once more on a fresh one. */
static enum err exchange(struct http_client *c, const char *method, struct slice request,
                         struct http1_response *response, char *explain)
{
    int64_t deadline_ms = clock_monotonic_ms() + c->timeout_ms;
    struct pollfd idle = {.fd = c->fd, .events = POLLIN};
    if (c->fd >= 0 && poll(&idle, 1, 0) != 0)
        disconnect(c); /* an idle connection has nothing to say but that it ends */
    for (;;) {
        bool kept = c->fd >= 0, any = false;
        enum err err = ERR_NONE;
        if (!kept)
            err = c->unix_path == NULL ? connect_host(c, deadline_ms, explain)
                                       : connect_unix(c, deadline_ms, explain);
        if (err != ERR_NONE) {
            disconnect(c);
            return err;
        }
        http1_response_init(response, c->buffer, HTTP1_HEAD_MAX + c->response_max);
        response->to_head = strcmp(method, "HEAD") == 0;
        enum err sent = send_all(c, request, deadline_ms);
        /* a hub that refuses a long body early says why before it closes */
        err = sent == ERR_TIMEOUT ? sent : receive_response(c, response, deadline_ms, &any);
        if (err == ERR_NONE) {
            if (!response->keep_alive || sent != ERR_NONE)
                disconnect(c);
            return ERR_NONE;
        }
        disconnect(c);
        bool ended = err == ERR_IO || err == ERR_CLOSED;
        if (!kept || any || !ended || (sent == ERR_NONE && !is_idempotent(method)))
            return explain_exchange(c, err, explain);
    }
}

static void write_host(const struct http_client *c, struct writer *w)
{
    if (c->unix_path != NULL) {
        writer_text(w, "localhost");
        return;
    }
    bool is_ipv6 = strchr(c->host, ':') != NULL;
    writer_text(w, is_ipv6 ? "[" : "");
    writer_text(w, c->host);
    writer_text(w, is_ipv6 ? "]" : "");
    if (strcmp(c->port, "443") != 0 && strcmp(c->port, "https") != 0) {
        writer_u8(w, ':');
        writer_text(w, c->port);
    }
}

static enum err write_request(const struct http_client *c, struct writer *w, const char *method,
                              const char *target, const char *content_type, struct slice body)
{
    char host[300], fields[FIELDS_MAX];
    struct writer h = writer_over(host, sizeof host), f = writer_over(fields, sizeof fields);
    write_host(c, &h);
    writer_text(&f, "User-Agent: holdfast\r\nAccept: */*\r\n");
    if (c->bearer != NULL) {
        writer_text(&f, "Authorization: Bearer ");
        writer_text(&f, c->bearer);
        writer_text(&f, "\r\n");
    } else if (c->basic != NULL) {
        writer_text(&f, "Authorization: Basic ");
        base64_write(&f, slice_of_text(c->basic));
        writer_text(&f, "\r\n");
    }
    if (c->field != NULL) {
        writer_text(&f, c->field);
        writer_text(&f, "\r\n");
    }
    enum err err = h.err != ERR_NONE ? h.err : f.err;
    if (err == ERR_NONE)
        err = http1_write_request(w, method, slice_of_text(target), writer_bytes(&h),
                                  writer_bytes(&f), content_type, body);
    mem_wipe(fields, sizeof fields);
    return err;
}

enum err http_client_request(struct http_client *c, const char *method, const char *target,
                             const char *content_type, struct slice body, unsigned *ret_status,
                             struct slice *ret_body, char explain[256])
{
    if (body.len > SIZE_MAX / 2)
        return fail(ERR_LIMIT, explain, "the request is too large");
    size_t size = body.len + FIELDS_MAX + TARGET_MAX + 1024;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return fail(ERR_NO_MEMORY, explain, "%s", err_text(ERR_NO_MEMORY));
    struct writer w = writer_over(bytes, size);
    struct http1_response response = {0};
    enum err err = write_request(c, &w, method, target, content_type, body);
    if (err != ERR_NONE)
        err = fail(err, explain, "the request cannot be written: its target or a header is %s",
                   err_text(err));
    else
        err = exchange(c, method, writer_bytes(&w), &response, explain);
    mem_wipe(bytes, w.len);
    free(bytes);
    if (err == ERR_NONE) {
        *ret_status = response.status;
        *ret_body = http1_response_body(&response);
    }
    return err;
}
