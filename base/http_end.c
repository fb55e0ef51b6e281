#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "base/http_internal.h"

/* Closing every connection of a party: a part for each loop, then a report to who asked. */

struct close_part {
    struct loop_task task;
    struct close_job *job;
    struct http_worker *worker;
};

struct close_job {
    char label[HTTP_LABEL_MAX];
    void (*done)(void *ctx, size_t closed);
    void *ctx;
    struct loop *asked_on;
    struct loop_task report;
    _Atomic size_t left;
    _Atomic size_t closed;
    struct close_part parts[];
};

static void run_report(struct loop_task *task)
{
    struct close_job *job = CONTAINER_OF(task, struct close_job, report);
    if (job->done != NULL)
        job->done(job->ctx, atomic_load(&job->closed));
    free(job);
}

static void run_part(struct loop_task *task)
{
    struct close_part *part = CONTAINER_OF(task, struct close_part, task);
    struct close_job *job = part->job;
    atomic_fetch_add(&job->closed, http_connection_end_labelled(part->worker, job->label));
    if (atomic_fetch_sub(&job->left, 1) == 1)
        loop_post(job->asked_on, &job->report);
}

void http_server_close_labelled(struct http_server *s, const char *label,
                                void (*done)(void *ctx, size_t closed), void *ctx)
{
    struct close_job *job = calloc(1, sizeof *job + s->workers_len * sizeof *job->parts);
    if (job == NULL)
        abort(); /* a party that was cut off would stay connected */
    memcpy(job->label, label, strnlen(label, HTTP_LABEL_MAX - 1));
    job->done = done;
    job->ctx = ctx;
    job->asked_on = loop_current() != NULL ? loop_current() : s->workers[0].loop;
    job->report.run = run_report;
    atomic_init(&job->left, s->workers_len);
    atomic_init(&job->closed, 0);
    for (size_t i = 0; i < s->workers_len; i++) {
        job->parts[i].task.run = run_part;
        job->parts[i].job = job;
        job->parts[i].worker = &s->workers[i];
    }
    for (size_t i = 0; i < s->workers_len; i++)
        loop_post(s->workers[i].loop, &job->parts[i].task);
}

/* Draining: each loop by itself; the last one to be done tells. */

static void run_drain_done(struct loop_task *task)
{
    struct http_server *s = CONTAINER_OF(task, struct http_server, drain_done_task);
    if (s->drain_done != NULL)
        s->drain_done(s->drain_ctx);
}

void http_worker_drained(struct http_worker *w)
{
    if (w->drained)
        return;
    w->drained = true;
    if (w->drain_timer != NULL)
        (void)event_del(w->drain_timer);
    if (atomic_fetch_sub(&w->server->drain_left, 1) == 1)
        loop_post(w->server->workers[0].loop, &w->server->drain_done_task);
}

static void end_all(struct http_connection_list *list)
{
    struct http_connection *next;
    for (struct http_connection *c = TAILQ_FIRST(list); c != NULL; c = next) {
        next = TAILQ_NEXT(c, entry);
        http_connection_end(c);
    }
}

/* On a connection whose handshake is done the request is most likely on its way: those wait so long
 * for their first byte before they are ended as unused. */
#define FIRST_REQUEST_MS 250

static void end_unused(struct http_socket *socket)
{
    struct http_connection *next;
    for (struct http_connection *c = TAILQ_FIRST(&socket->timed); c != NULL; c = next) {
        next = TAILQ_NEXT(c, entry);
        bool tls = socket->listener->tls != NULL;
        if (c->phase == HTTP_ACCEPTED && (!tls || http_tls_handshake_done(c->bev)))
            http_connection_end(c);
    }
}

static void end_everything(struct http_worker *w)
{
    struct http_socket *socket;
    TAILQ_FOREACH(socket, &w->sockets, entry)
    {
        end_all(&socket->timed);
        end_all(&socket->idle);
        end_all(&socket->busy);
    }
    http_worker_drained(w);
}

static bool drain_timer_add(struct http_worker *w, int64_t ms)
{
    struct timeval time = {.tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    return w->drain_timer != NULL && event_add(w->drain_timer, &time) == 0;
}

/* First the unused ones go, then, at the end of the time given, the rest. */
static void on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
    struct http_worker *w = arg;
    int64_t left = w->server->drain_ms - FIRST_REQUEST_MS;
    struct http_socket *socket;
    (void)fd;
    (void)what;
    if (!w->unused_ended && left > 0) {
        w->unused_ended = true;
        TAILQ_FOREACH(socket, &w->sockets, entry)
        end_unused(socket);
        if (w->drained || drain_timer_add(w, left))
            return;
    }
    end_everything(w);
}

static void run_drain(struct loop_task *task)
{
    struct http_worker *w = CONTAINER_OF(task, struct http_worker, drain_task);
    int64_t ms = w->server->drain_ms;
    struct http_socket *socket;
    w->draining = true;
    TAILQ_FOREACH(socket, &w->sockets, entry)
    {
        http_socket_stop_accepting(socket);
        end_all(&socket->idle);
    }
    if (w->open == 0) {
        http_worker_drained(w);
        return;
    }
    w->drain_timer = event_new(loop_event_base(w->loop), -1, 0, on_drain_timer, w);
    if (!drain_timer_add(w, ms < FIRST_REQUEST_MS ? ms : FIRST_REQUEST_MS))
        end_everything(w);
}

void http_server_drain(struct http_server *s, int64_t ms, void (*done)(void *ctx), void *ctx)
{
    s->drain_ms = ms;
    s->drain_done = done;
    s->drain_ctx = ctx;
    s->drain_done_task.run = run_drain_done;
    atomic_store(&s->drain_left, s->workers_len);
    for (size_t i = 0; i < s->workers_len; i++) {
        s->workers[i].drain_task.run = run_drain;
        loop_post(s->workers[i].loop, &s->workers[i].drain_task);
    }
}
