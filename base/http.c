#include "base/http.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/http_internal.h"

/* Deadlines are met with this much delay at most. */
#define TICK_MS_MAX 250
#define TICK_MS_MIN 10

enum err http_server_new(struct loop *const *loops, size_t n, struct http_server **ret_server)
{
    struct http_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    TAILQ_INIT(&s->listeners);
    s->workers = calloc(n, sizeof *s->workers);
    if (s->workers == NULL) {
        free(s);
        return ERR_NO_MEMORY;
    }
    s->workers_len = n;
    for (size_t i = 0; i < n; i++) {
        struct http_worker *w = &s->workers[i];
        w->server = s;
        w->loop = loops[i];
        TAILQ_INIT(&w->sockets);
        TAILQ_INIT(&w->requests);
        for (size_t b = 0; b < HTTP_LABEL_BUCKETS; b++)
            TAILQ_INIT(&w->labels[b]);
    }
    /* A client that leaves early is an error of one write, not the end of the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    *ret_server = s;
    return ERR_NONE;
}

static struct timeval tick_time(const struct http_limits *limits)
{
    int64_t ms = limits->request_ms < limits->idle_ms ? limits->request_ms : limits->idle_ms;
    ms /= 8;
    if (ms > TICK_MS_MAX)
        ms = TICK_MS_MAX;
    if (ms < TICK_MS_MIN)
        ms = TICK_MS_MIN;
    return (struct timeval){.tv_usec = (suseconds_t)(ms * 1000)};
}

static void start_tick(struct http_socket *socket)
{
    struct timeval time = tick_time(&socket->listener->limits);
    if (socket->open > 0 && !event_pending(socket->tick, EV_TIMEOUT, NULL))
        (void)event_add(socket->tick, &time);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    http_connection_tick(arg);
    start_tick(arg);
}

static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    http_connection_adopt_fresh(arg);
    start_tick(arg);
}

static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    (void)base;
    return http_connection_begin(arg);
}

static enum err socket_init(struct http_socket *socket, struct http_listener *l,
                            struct http_worker *w)
{
    struct event_base *base = loop_event_base(w->loop);
    socket->listener = l;
    socket->worker = w;
    TAILQ_INIT(&socket->fresh);
    TAILQ_INIT(&socket->timed);
    TAILQ_INIT(&socket->idle);
    TAILQ_INIT(&socket->busy);
    TAILQ_INSERT_TAIL(&w->sockets, socket, entry);
    socket->adopt = event_new(base, -1, 0, on_adopt, socket);
    socket->tick = event_new(base, -1, 0, on_tick, socket);
    socket->evhttp = evhttp_new(base);
    if (socket->adopt == NULL || socket->tick == NULL || socket->evhttp == NULL)
        return ERR_NO_MEMORY;
    /* Never reached, since http_head.c is stricter. */
    evhttp_set_max_headers_size(socket->evhttp, (ev_ssize_t)l->limits.header_max + 1);
    evhttp_set_max_body_size(socket->evhttp, (ev_ssize_t)l->limits.body_max + 1);
    evhttp_set_allowed_methods(socket->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                                   EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH |
                                                   EVHTTP_REQ_DELETE);
    evhttp_set_bevcb(socket->evhttp, on_accept, socket);
    evhttp_set_gencb(socket->evhttp, http_request_deliver, socket);
    return ERR_NONE;
}

static void listener_free(struct http_listener *l)
{
    for (size_t i = 0; l->sockets != NULL && i < l->server->workers_len; i++) {
        struct http_socket *socket = &l->sockets[i];
        if (socket->listener == NULL)
            continue;
        http_socket_stop_accepting(socket);
        http_connection_adopt_fresh(socket);
        if (socket->evhttp != NULL)
            evhttp_free(socket->evhttp);
        if (socket->adopt != NULL)
            event_free(socket->adopt);
        if (socket->tick != NULL)
            event_free(socket->tick);
        TAILQ_REMOVE(&socket->worker->sockets, socket, entry);
    }
    http_address_table_free(l->addresses);
    free(l->unix_path);
    free(l->sockets);
    free(l);
}

enum err http_server_listen(struct http_server *s, const struct http_listener_options *options,
                            struct http_listener **ret_listener)
{
    enum err err = ERR_NO_MEMORY;
    struct http_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return err;
    l->server = s;
    l->tag = options->tag;
    l->tls = options->tls;
    l->limits = options->limits;
    l->handler = options->handler;
    l->ctx = options->ctx;
    l->addresses = http_address_table_new();
    l->sockets = calloc(s->workers_len, sizeof *l->sockets);
    if (l->addresses == NULL || l->sockets == NULL)
        goto out;
    for (size_t i = 0; i < s->workers_len; i++) {
        err = socket_init(&l->sockets[i], l, &s->workers[i]);
        if (err != ERR_NONE)
            goto out;
    }
    err = http_listener_open(l, options);
out:
    if (err != ERR_NONE) {
        int saved = errno;
        listener_free(l);
        errno = saved;
        return err;
    }
    TAILQ_INSERT_TAIL(&s->listeners, l, entry);
    *ret_listener = l;
    return ERR_NONE;
}

unsigned http_listener_port(const struct http_listener *l)
{
    return l->port;
}

void http_listener_counters(const struct http_listener *l, struct http_counters *ret_counters)
{
    struct http_counters sum = {.open = atomic_load(&l->open)};
    for (size_t i = 0; i < l->server->workers_len; i++) {
        const struct http_socket *socket = &l->sockets[i];
        sum.accepted += atomic_load_explicit(&socket->accepted, memory_order_relaxed);
        sum.refused_total += atomic_load_explicit(&socket->refused_total, memory_order_relaxed);
        sum.refused_address += atomic_load_explicit(&socket->refused_address, memory_order_relaxed);
        sum.timed_out += atomic_load_explicit(&socket->timed_out, memory_order_relaxed);
        sum.malformed += atomic_load_explicit(&socket->malformed, memory_order_relaxed);
        sum.requests += atomic_load_explicit(&socket->requests, memory_order_relaxed);
    }
    *ret_counters = sum;
}

void http_server_on_reply(struct http_server *s,
                          void (*fn)(struct http_request *r, unsigned status, size_t bytes,
                                     void *ctx),
                          void *ctx)
{
    s->on_reply = fn;
    s->on_reply_ctx = ctx;
}

void http_server_free(struct http_server *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->workers_len; i++)
        s->workers[i].drained = true; /* there is no loop left to tell */
    struct http_listener *l;
    while ((l = TAILQ_FIRST(&s->listeners)) != NULL) {
        TAILQ_REMOVE(&s->listeners, l, entry);
        listener_free(l);
    }
    for (size_t i = 0; i < s->workers_len; i++) {
        struct http_worker *w = &s->workers[i];
        struct http_request *r;
        while ((r = TAILQ_FIRST(&w->requests)) != NULL)
            http_request_discard(r); /* never answered */
        http_request_free_spare(w);
        if (w->drain_timer != NULL)
            event_free(w->drain_timer);
        free(w->by_fd);
    }
    free(s->workers);
    free(s);
}
