#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_struct.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http_internal.h"
#include "base/http_status.h"
#include "base/problem.h"

#define SPARE_MAX        32   /* requests kept for reuse on a loop */
#define REPLY_FIELDS_MAX 4096 /* bytes of header that a handler may add */
#define REPLY_HEAD_MAX   512  /* bytes of what the glue itself puts into a head */

/* What the glue itself refuses, before any handler sees it. */
static const struct {
    unsigned status;
    const char *code;
    const char *detail;
} refusals[] = {
    {400, "malformed-request",
     "This is not one well-formed HTTP/1.1 request: line ends, field lines or the length of its "
     "body "
     "are not as RFC 9112 has them."},
    {405, "method-not-allowed", "This method is not known here."},
    {413, "too-large", "The body is larger than anything that is taken here."},
    {414, "target-too-long", "The request's target is longer than any that exists here."},
    {417, "expectation-unknown", "No expectation but 100-continue is understood."},
    {431, "header-too-large", "The request's head is larger than is taken here."},
    {501, "coding-unknown", "No transfer coding but chunked is understood."},
    {503, "no-memory", "The hub is out of memory; try again in a moment."},
    {505, "version-not-supported", "Speak HTTP/1.1."},
};

static struct http_request *request_new(struct http_worker *w)
{
    struct http_request *r = w->spare;
    if (r != NULL) {
        w->spare = r->next_spare;
        w->spare_len--;
        struct arena *arena = r->arena;
        *r = (struct http_request){.arena = arena};
    } else {
        r = calloc(1, sizeof *r);
        if (r == NULL)
            return NULL;
        r->arena = arena_new(HTTP_ARENA_MAX);
        if (r->arena == NULL) {
            free(r);
            return NULL;
        }
    }
    r->worker = w;
    TAILQ_INSERT_TAIL(&w->requests, r, entry);
    return r;
}

void http_request_discard(struct http_request *r)
{
    struct http_worker *w = r->worker;
    if (r->connection != NULL)
        r->connection->request = NULL;
    TAILQ_REMOVE(&w->requests, r, entry);
    if (w->spare_len < SPARE_MAX) {
        arena_reset(r->arena);
        r->next_spare = w->spare;
        w->spare = r;
        w->spare_len++;
    } else {
        arena_free(r->arena);
        free(r);
    }
}

void http_request_free_spare(struct http_worker *w)
{
    while (w->spare != NULL) {
        struct http_request *next = w->spare->next_spare;
        arena_free(w->spare->arena);
        free(w->spare);
        w->spare = next;
    }
}

/* Splits the target; of an absolute-form one, only what follows the authority. */
static bool take_target(struct http_request *r, const char *target)
{
    if (target[0] != '/') {
        const char *authority = strstr(target, "://");
        target = authority != NULL ? authority + 3 : "";
        target += strcspn(target, "/?");
    }
    size_t len = strcspn(target, "?");
    r->path = len > 0 ? arena_text(r->arena, slice_of(target, len)) : "/";
    r->query = target[len] == '?' ? arena_text(r->arena, slice_of_text(target + len + 1)) : "";
    return r->path != NULL && r->query != NULL;
}

static enum http_method method_of(const struct evhttp_request *evreq)
{
    switch (evreq->type) {
    case EVHTTP_REQ_HEAD:
        return HTTP_HEAD;
    case EVHTTP_REQ_POST:
        return HTTP_POST;
    case EVHTTP_REQ_PUT:
        return HTTP_PUT;
    case EVHTTP_REQ_PATCH:
        return HTTP_PATCH;
    case EVHTTP_REQ_DELETE:
        return HTTP_DELETE;
    default:
        return HTTP_GET;
    }
}

/* What the request says, from evhttp; 0, or the status to refuse it with. */
static unsigned take_in(struct http_request *r)
{
    const struct http_head *head = &r->connection->head;
    uint64_t length = head->chunked ? r->connection->chunks.total : head->length;
    struct evbuffer *body = evhttp_request_get_input_buffer(r->evreq);
    r->body.len = evbuffer_get_length(body);
    r->body.data = r->body.len > 0 ? evbuffer_pullup(body, -1) : NULL;
    r->method = method_of(r->evreq);
    r->close = head->close || head->http_1_0 || head->absolute;
    /* evhttp must have read the request as http_head.c did. */
    if (r->body.len != length || r->method != head->method)
        return 400;
    if ((r->body.len > 0 && r->body.data == NULL) ||
        !take_target(r, evhttp_request_get_uri(r->evreq)))
        return 503;
    return 0;
}

static void refuse(struct http_request *r, unsigned status)
{
    struct problem problem;
    problem_from_err(&problem, ERR_INTERNAL);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (refusals[i].status == status)
            (void)problem_set(&problem, status, refusals[i].code, NULL, "%s", refusals[i].detail);
    uint8_t text[512];
    struct writer w = writer_over(text, sizeof text);
    problem_write(&w, &problem);
    if (status == 405)
        http_reply_header(r, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE");
    r->close = true;
    http_reply(r, status, "application/problem+json", writer_bytes(&w));
}

/* A request that could not even be taken in: evhttp's own answer, and close. */
static void give_up(struct evhttp_request *evreq)
{
    (void)evhttp_add_header(evhttp_request_get_output_headers(evreq), "Connection", "close");
    evhttp_send_reply(evreq, 503, "Service Unavailable", NULL);
}

void http_request_deliver(struct evhttp_request *evreq, void *arg)
{
    struct http_socket *socket = arg;
    struct http_worker *w = socket->worker;
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(evreq));
    size_t fd = (size_t)bufferevent_getfd(bev);
    struct http_connection *c = fd < w->by_fd_len ? w->by_fd[fd] : NULL;
    if (c == NULL || c->bev != bev) {
        /* Without memory for the connection evhttp went on with a plain socket of its own. */
        give_up(evreq);
        return;
    }
    bufferevent_event_cb event_cb;
    bufferevent_data_cb write_cb;
    void *evcon;
    /* Should OpenSSL come upon bytes while the answer is awaited, evhttp would end the process. */
    bufferevent_getcb(bev, NULL, &write_cb, &event_cb, &evcon);
    bufferevent_setcb(bev, NULL, write_cb, event_cb, evcon);

    struct http_request *r = request_new(w);
    if (r == NULL) {
        c->closing = true;
        http_connection_set_phase(c, HTTP_WRITING);
        give_up(evreq);
        return;
    }
    r->connection = c;
    r->listener = socket->listener;
    r->evreq = evreq;
    r->started_us = clock_monotonic_us();
    c->request = r;
    unsigned status = c->refusal != 0 ? c->refusal : take_in(r);
    if (status != 0) {
        refuse(r, status);
        return;
    }
    atomic_fetch_add_explicit(&socket->requests, 1, memory_order_relaxed);
    socket->listener->handler(r, socket->listener->ctx);
}

enum http_method http_request_method(const struct http_request *r)
{
    return r->method;
}

int http_request_tag(const struct http_request *r)
{
    return r->listener->tag;
}

const char *http_request_path(const struct http_request *r)
{
    return r->path;
}

const char *http_request_query(const struct http_request *r)
{
    return r->query;
}

struct slice http_request_body(const struct http_request *r)
{
    return r->body;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
    if (r->evreq == NULL)
        return NULL;
    return evhttp_find_header(evhttp_request_get_input_headers(r->evreq), name);
}

const char *http_request_address(const struct http_request *r)
{
    char *address = NULL;
    ev_uint16_t port;
    if (r->listener->unix_path != NULL)
        return "unix";
    if (r->connection == NULL)
        return "gone";
    evhttp_connection_get_peer(r->connection->evcon, &address, &port);
    return strncmp(address, "::ffff:", 7) == 0 ? address + 7 : address;
}

const struct tls_peer *http_request_peer(const struct http_request *r)
{
    static const struct tls_peer nobody;
    struct http_connection *c = r->connection;
    if (c == NULL || r->listener->tls == NULL)
        return &nobody;
    if (!c->peer_known) {
        http_tls_peer(c->bev, &c->peer);
        c->peer_known = true;
    }
    return &c->peer;
}

enum err http_request_peer_certificate(struct http_request *r, struct slice *ret_der)
{
    if (r->connection == NULL || r->listener->tls == NULL)
        return ERR_NOT_FOUND;
    return http_tls_peer_certificate(r->connection->bev, r->arena, ret_der);
}

enum err http_request_credentials(const struct http_request *r, uid_t *ret_uid, gid_t *ret_gid,
                                  pid_t *ret_pid)
{
    struct ucred credentials;
    socklen_t len = sizeof credentials;
    if (r->connection == NULL || r->listener->unix_path == NULL)
        return ERR_NOT_FOUND;
    if (getsockopt(r->connection->fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0)
        return ERR_IO;
    *ret_uid = credentials.uid;
    *ret_gid = credentials.gid;
    *ret_pid = credentials.pid;
    return ERR_NONE;
}

struct arena *http_request_arena(struct http_request *r)
{
    return r->arena;
}

struct loop *http_request_loop(const struct http_request *r)
{
    return r->worker->loop;
}

int64_t http_request_started_us(const struct http_request *r)
{
    return r->started_us;
}

void http_request_set_note(struct http_request *r, const void *note)
{
    r->note = note;
}

const void *http_request_note(const struct http_request *r)
{
    return r->note;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ABORT_ON_UNCLEAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ABORT_ON_UNCLEAN 1
#endif

static bool clean(const char *text)
{
    bool is_clean = strpbrk(text, "\r\n") == NULL;
#ifdef ABORT_ON_UNCLEAN
    if (!is_clean)
        abort();
#endif
    return is_clean;
}

void http_reply_header(struct http_request *r, const char *name, const char *value)
{
    if (!clean(name) || !clean(value))
        return;
    if (r->fields.max == 0)
        r->fields = arena_writer(r->arena, REPLY_FIELDS_MAX);
    struct writer before = r->fields;
    writer_text(&r->fields, name);
    writer_text(&r->fields, ": ");
    writer_text(&r->fields, value);
    writer_text(&r->fields, "\r\n");
    if (r->fields.err != ERR_NONE)
        r->fields = before; /* a field goes out whole or not at all */
    else if (strcasecmp(name, "Cache-Control") == 0)
        r->cache_control_set = true;
}

void http_reply_close(struct http_request *r)
{
    r->close = true;
}

static void write_head(struct writer *w, const struct http_request *r, unsigned status,
                       const char *content_type, uint64_t body_len)
{
    writer_text(w, "HTTP/1.1 ");
    writer_decimal(w, status);
    writer_text(w, " ");
    writer_text(w, http_status_phrase(status));
    if (status != 204 && status != 304) {
        if (content_type != NULL) {
            writer_text(w, "\r\nContent-Type: ");
            writer_text(w, content_type);
        }
        writer_text(w, "\r\nContent-Length: ");
        writer_decimal(w, body_len);
    }
    writer_text(w, "\r\n");
    if (!r->cache_control_set)
        writer_text(w, "Cache-Control: no-store\r\n");
    if (r->close)
        writer_text(w, "Connection: close\r\n");
    writer_put(w, slice_of(r->fields.start, r->fields.len));
    writer_text(w, "\r\n");
}

static bool is_bodyless(const struct http_request *r, unsigned status)
{
    return r->method == HTTP_HEAD || status == 204 || status == 304;
}

/* Head and what goes with it in one piece of memory: so they go out in one write and one TLS
 * record. `body_len`: of the whole body. */
static bool write_answer(struct evbuffer *output, const struct http_request *r, unsigned status,
                         const char *content_type, struct slice body, uint64_t body_len)
{
    size_t type_len = content_type != NULL ? strlen(content_type) : 0;
    size_t sent = is_bodyless(r, status) ? 0 : body.len;
    size_t max = REPLY_HEAD_MAX + type_len + r->fields.len + sent;
    struct evbuffer_iovec space;
    if (evbuffer_reserve_space(output, (ev_ssize_t)max, &space, 1) != 1)
        return false;
    struct writer w = writer_over(space.iov_base, max);
    write_head(&w, r, status, content_type, body_len);
    writer_put(&w, slice_of(body.data, sent));
    space.iov_len = w.len;
    return w.err == ERR_NONE && evbuffer_commit_space(output, &space, 1) == 0;
}

static void on_answered(struct evhttp_request *evreq, void *connection)
{
    (void)evreq;
    http_connection_answered(connection);
}

/* The answer is counted, and may be written to the connection; or there is none any more. */
static struct http_connection *begin_answer(struct http_request *r, unsigned status,
                                            uint64_t body_len)
{
    struct http_connection *c = r->connection;
    struct http_server *s = r->worker->server;
    if (s->on_reply != NULL && (c == NULL || c->refusal == 0))
        s->on_reply(r, status, body_len, s->on_reply_ctx);
    if (c == NULL) { /* the server has been freed meanwhile, and evhttp's request with it */
        http_request_discard(r);
        return NULL;
    }
    r->close |= c->closing || r->worker->draining;
    c->closing = r->close;
    return c;
}

/* What begin_answer() began stands in the output, or could not be put there. */
static void end_answer(struct http_request *r, struct http_connection *c, bool is_written)
{
    struct evhttp_request *evreq = r->evreq;
    http_request_discard(r);
    if (!is_written) {
        c->closing = true;
        http_connection_set_phase(c, HTTP_WRITING);
        give_up(evreq);
        return;
    }
    http_connection_set_phase(c, HTTP_WRITING);
    /* evhttp would format a head of its own, and chunk the answer to a chunked request. */
    evreq->chunked = 0;
    if (c->closing)
        (void)evhttp_add_header(evhttp_request_get_output_headers(evreq), "Connection", "close");
    evhttp_request_set_on_complete_cb(evreq, on_answered, c);
    (void)bufferevent_enable(c->bev, EV_WRITE);
    evhttp_send_reply_end(evreq);
    /* Written in this turn of the loop, without asking epoll whether it may be. */
    event_active(&c->bev->ev_write, EV_WRITE, 0);
}

void http_reply(struct http_request *r, unsigned status, const char *content_type,
                struct slice body)
{
    struct http_connection *c = begin_answer(r, status, body.len);
    if (c == NULL)
        return;
    struct evbuffer *output = bufferevent_get_output(c->bev);
    end_answer(r, c, write_answer(output, r, status, content_type, body, body.len));
}

void http_reply_file(struct http_request *r, const char *content_type, int fd, uint64_t size)
{
    struct evbuffer_file_segment *file = NULL;
    struct http_connection *c = begin_answer(r, 200, size);
    bool is_sent = c != NULL && size > 0 && !is_bodyless(r, 200);
    if (is_sent)
        file = evbuffer_file_segment_new(fd, 0, (ev_off_t)size,
                                         EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE |
                                             EVBUF_FS_DISABLE_LOCKING);
    if (file == NULL)
        (void)close(fd);
    if (c == NULL)
        return;
    /* All of it or nothing: a head without its body would make the next answer part of it. */
    struct evbuffer *output = bufferevent_get_output(c->bev);
    bool is_written = (!is_sent || file != NULL) &&
                      write_answer(output, r, 200, content_type, slice_of(NULL, 0), size);
    if (is_written && file != NULL && evbuffer_add_file_segment(output, file, 0, -1) != 0) {
        (void)evbuffer_drain(output, evbuffer_get_length(output));
        is_written = false;
    }
    if (file != NULL)
        evbuffer_file_segment_free(file); /* the output has a reference of its own */
    end_answer(r, c, is_written);
}
