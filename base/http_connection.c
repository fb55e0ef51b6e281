#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/http_internal.h"

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static struct http_connection_list *list_of(struct http_connection *c, enum http_phase phase)
{
    switch (phase) {
    case HTTP_BUSY:
        return &c->socket->busy;
    case HTTP_IDLE:
        return &c->socket->idle;
    case HTTP_ACCEPTED:
    case HTTP_RECEIVING:
    case HTTP_WRITING:
        break;
    }
    return &c->socket->timed;
}

/* Every deadline in a list lies the same time ahead when it is set, so appending keeps it sorted.
 */
void http_connection_set_phase(struct http_connection *c, enum http_phase phase)
{
    const struct http_limits *limits = &c->socket->listener->limits;
    enum http_phase before = c->phase;
    c->phase = phase;
    /* From accept to the last byte of the first request there is one deadline. */
    if (before == HTTP_ACCEPTED && phase == HTTP_RECEIVING)
        return;
    TAILQ_REMOVE(list_of(c, before), c, entry);
    if (phase != HTTP_BUSY)
        c->deadline_ms =
            clock_monotonic_ms() + (phase == HTTP_IDLE ? limits->idle_ms : limits->request_ms);
    if (phase == HTTP_WRITING)
        c->unsent = evbuffer_get_length(bufferevent_get_output(c->bev));
    TAILQ_INSERT_TAIL(list_of(c, phase), c, entry);
}

/* evhttp's factory for bufferevents. The socket is not known yet, and evhttp goes on to fill the
 * connection in; http_connection_adopt_fresh() runs right after, before anything is read. */
struct bufferevent *http_connection_begin(struct http_socket *socket)
{
    struct http_listener *l = socket->listener;
    struct event_base *base = loop_event_base(socket->worker->loop);
    struct http_connection *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->bev = l->tls != NULL ? http_tls_bufferevent(l->tls, base)
                            : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (c->bev == NULL) {
        free(c);
        return NULL;
    }
    bufferevent_incref(c->bev); /* until adopted: evhttp may give up on it in between */
    c->socket = socket;
    c->fd = -1;
    TAILQ_INSERT_TAIL(&socket->fresh, c, entry);
    if (++socket->fresh_len == HTTP_ACCEPT_BATCH && socket->accepting != NULL)
        socket->full = evconnlistener_disable(socket->accepting) == 0;
    event_active(socket->adopt, EV_TIMEOUT, 0);
    return c->bev;
}

static void unlabel(struct http_connection *c);

/* evhttp is about to free the connection, for whatever reason. */
static void on_close(struct evhttp_connection *evcon, void *arg)
{
    struct http_connection *c = arg;
    struct http_socket *socket = c->socket;
    struct http_worker *w = socket->worker;
    struct http_listener *l = socket->listener;
    (void)evcon;
    http_input_detach(c);
    if (l->tls != NULL)
        http_tls_ending(l->tls, c->bev, c->orderly);
    if (c->refusal != 0) {
        /* Bytes left unread would make the kernel reset the connection and the answer be lost. */
        uint8_t rest[4096];
        for (int i = 0; i < 16 && recv(c->fd, rest, sizeof rest, MSG_DONTWAIT) > 0; i++) {
        }
    }
    if (c->request != NULL) {
        c->request->connection = NULL;
        c->request->evreq = NULL; /* evhttp frees it with the connection */
    }
    unlabel(c);
    http_address_leave(l->addresses, c->address);
    w->by_fd[c->fd] = NULL;
    TAILQ_REMOVE(list_of(c, c->phase), c, entry);
    socket->open--;
    w->open--;
    atomic_fetch_sub(&l->open, 1);
    free(c->notes);
    free(c);
    if (w->draining && w->open == 0)
        http_worker_drained(w);
}

static bool remember_fd(struct http_worker *w, struct http_connection *c)
{
    size_t fd = (size_t)c->fd;
    if (fd >= w->by_fd_len) {
        size_t len = fd + 64 + fd / 2;
        struct http_connection **grown = realloc(w->by_fd, len * sizeof *grown);
        if (grown == NULL)
            return false;
        memset(grown + w->by_fd_len, 0, (len - w->by_fd_len) * sizeof *grown);
        w->by_fd = grown;
        w->by_fd_len = len;
    }
    w->by_fd[fd] = c;
    return true;
}

/* On a Unix socket each user of the machine counts as an address. */
static const struct sockaddr *user_address(int fd, struct sockaddr_in6 *ret_address)
{
    struct ucred user = {.uid = (uid_t)-1};
    socklen_t len = sizeof user;
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &len);
    *ret_address = (struct sockaddr_in6){.sin6_family = AF_INET6};
    memcpy(ret_address->sin6_addr.s6_addr, &user.uid, sizeof user.uid);
    return (const struct sockaddr *)ret_address;
}

/* Within the caps? Counts it where it is. */
static bool admit(struct http_connection *c)
{
    struct http_socket *socket = c->socket;
    struct http_listener *l = socket->listener;
    const struct sockaddr *sa = evhttp_connection_get_addr(c->evcon);
    if (socket->worker->draining)
        return false;
    if (atomic_fetch_add(&l->open, 1) >= l->limits.connections) {
        atomic_fetch_sub(&l->open, 1);
        count(&socket->refused_total);
        return false;
    }
    struct sockaddr_in6 user;
    if (l->unix_path != NULL)
        sa = user_address(c->fd, &user);
    c->address = http_address_enter(l->addresses, sa, l->limits.connections_per_address);
    if (c->address == NULL) {
        atomic_fetch_sub(&l->open, 1);
        count(&socket->refused_address);
        return false;
    }
    return true;
}

static void adopt(struct http_connection *c)
{
    struct http_socket *socket = c->socket;
    struct http_worker *w = socket->worker;
    struct bufferevent *bev = c->bev;
    void *evcon = NULL;
    /* The callbacks' argument is how evhttp keeps the two together; NULL once it has freed both. */
    bufferevent_getcb(bev, NULL, NULL, NULL, &evcon);
    c->evcon = evcon;
    c->fd = evcon != NULL ? bufferevent_getfd(bev) : -1;
    if (c->fd < 0 || !admit(c)) {
        free(c);
    } else if (!remember_fd(w, c) || !http_input_attach(c)) {
        http_address_leave(socket->listener->addresses, c->address);
        atomic_fetch_sub(&socket->listener->open, 1);
        if ((size_t)c->fd < w->by_fd_len)
            w->by_fd[c->fd] = NULL;
        free(c);
    } else {
        c->phase = HTTP_ACCEPTED;
        c->deadline_ms = clock_monotonic_ms() + socket->listener->limits.request_ms;
        TAILQ_INSERT_TAIL(&socket->timed, c, entry);
        socket->open++;
        w->open++;
        count(&socket->accepted);
        evhttp_connection_set_closecb(evcon, on_close, c);
        evcon = NULL;
    }
    if (evcon != NULL)
        evhttp_connection_free(evcon);
    (void)bufferevent_decref(bev);
}

void http_connection_adopt_fresh(struct http_socket *socket)
{
    struct http_connection *c;
    while ((c = TAILQ_FIRST(&socket->fresh)) != NULL) {
        TAILQ_REMOVE(&socket->fresh, c, entry);
        adopt(c);
    }
    socket->fresh_len = 0;
    if (socket->full && socket->accepting != NULL)
        (void)evconnlistener_enable(socket->accepting);
    socket->full = false;
}

void http_connection_answered(struct http_connection *c)
{
    if (c->closing || c->doomed) {
        c->orderly = c->closing && !c->doomed;
        return; /* evhttp frees the connection next */
    }
    http_input_continue(c);
    if (c->phase == HTTP_IDLE && c->socket->worker->draining) {
        c->doomed = true; /* not freed from in here; evhttp comes upon the end of the stream */
        (void)shutdown(c->fd, SHUT_RDWR);
    }
}

void http_connection_end(struct http_connection *c)
{
    if (c->phase != HTTP_BUSY) {
        evhttp_connection_free(c->evcon);
        return;
    }
    /* The handler still holds evhttp's request. Its answer will find nobody to go to. */
    c->doomed = true;
    (void)shutdown(c->fd, SHUT_RDWR);
}

/* A long answer has its deadline anew for as long as the peer takes some of it. */
static bool goes_on(struct http_connection *c)
{
    if (c->phase != HTTP_WRITING ||
        evbuffer_get_length(bufferevent_get_output(c->bev)) + HTTP_PROGRESS_MIN > c->unsent)
        return false;
    http_connection_set_phase(c, HTTP_WRITING);
    return true;
}

static void end_overdue(struct http_connection_list *list, int64_t now_ms,
                        _Atomic uint64_t *counter)
{
    struct http_connection *c;
    while ((c = TAILQ_FIRST(list)) != NULL && c->deadline_ms <= now_ms) {
        if (goes_on(c))
            continue;
        if (counter != NULL)
            count(counter);
        http_connection_end(c);
    }
}

void http_connection_tick(struct http_socket *socket)
{
    int64_t now_ms = clock_monotonic_ms();
    end_overdue(&socket->timed, now_ms, &socket->timed_out);
    end_overdue(&socket->idle, now_ms, NULL);
}

/* FNV-1a */
static size_t bucket_of(const char *label)
{
    uint32_t hash = 2166136261u;
    for (; *label != '\0'; label++)
        hash = (hash ^ (uint8_t)*label) * 16777619u;
    return hash % HTTP_LABEL_BUCKETS;
}

static void unlabel(struct http_connection *c)
{
    if (c->label == NULL)
        return;
    TAILQ_REMOVE(&c->socket->worker->labels[bucket_of(c->label)], c, label_entry);
    free(c->label);
    c->label = NULL;
}

void http_connection_label(struct http_request *r, const char *label)
{
    struct http_connection *c = r->connection;
    if (c == NULL || (c->label != NULL && strcmp(c->label, label) == 0))
        return;
    unlabel(c);
    c->label = strndup(label, HTTP_LABEL_MAX - 1);
    if (c->label != NULL)
        TAILQ_INSERT_TAIL(&c->socket->worker->labels[bucket_of(c->label)], c, label_entry);
    else
        c->closing = true; /* what cannot be found must not stay */
}

void *http_connection_notes(struct http_request *r, size_t size)
{
    struct http_connection *c = r->connection;
    if (c != NULL && c->notes == NULL)
        c->notes = calloc(1, size);
    return c == NULL ? NULL : c->notes;
}

size_t http_connection_end_labelled(struct http_worker *w, const char *label)
{
    size_t n = 0;
    struct http_connection *next;
    struct http_connection *c = TAILQ_FIRST(&w->labels[bucket_of(label)]);
    for (; c != NULL; c = next) {
        next = TAILQ_NEXT(c, label_entry);
        if (c->doomed || strcmp(c->label, label) != 0)
            continue;
        http_connection_end(c);
        n++;
    }
    return n;
}
