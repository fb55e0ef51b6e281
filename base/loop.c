#include "base/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NAME_MAX_LEN 15 /* of a thread, by the kernel */

struct loop {
    struct event_base *base;
    struct event *wake;
    int wake_fd;
    /* A stack, newest first; whoever pushes onto an empty one wakes the loop. */
    _Atomic(struct loop_task *) posted;
    atomic_bool stopping;
    pthread_t thread;
    bool started;
    char name[NAME_MAX_LEN + 1];
};

static _Thread_local struct loop *current;

static void drop_message(int severity, const char *message)
{
    (void)severity;
    (void)message;
}

/* Runs everything posted so far, oldest first. False where there was nothing. */
static bool run_posted(struct loop *l)
{
    struct loop_task *newest = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
    struct loop_task *oldest = NULL;
    while (newest != NULL) {
        struct loop_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    if (oldest == NULL)
        return false;
    while (oldest != NULL) {
        struct loop_task *task = oldest;
        oldest = task->next; /* the task may free itself */
        task->run(task);
    }
    return true;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    (void)fd;
    (void)what;
    /* Looked at first: what was posted before loop_stop() is then surely run. */
    bool stopping = atomic_load(&l->stopping);
    run_posted(l);
    if (stopping)
        event_base_loopbreak(l->base);
}

enum err loop_new(const char *name, struct loop **ret_loop)
{
    event_set_log_callback(drop_message); /* libraries don't log, libevent neither */

    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NO_MEMORY;
    size_t len = strnlen(name, NAME_MAX_LEN);
    memcpy(l->name, name, len);
    atomic_init(&l->posted, NULL);
    atomic_init(&l->stopping, false);
    enum err err = ERR_NO_MEMORY;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct event_config *config = event_config_new();
    if (l->wake_fd < 0) {
        err = ERR_IO;
        goto out;
    }
    if (config == NULL)
        goto out;
    /* Each base belongs to one thread; changes of interest that cancel out cost no system call. */
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                                          EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) != 0)
        goto out;
    l->base = event_base_new_with_config(config);
    if (l->base == NULL)
        goto out;
    /* Edge-triggered: the counter never needs to be read back. */
    l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, l);
    if (l->wake == NULL || event_add(l->wake, NULL) != 0)
        goto out;
    err = ERR_NONE;
out:
    if (config != NULL)
        event_config_free(config);
    if (err != ERR_NONE)
        loop_free(l);
    else
        *ret_loop = l;
    return err;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    if (l->wake != NULL)
        event_free(l->wake);
    if (l->base != NULL)
        event_base_free(l->base);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    free(l);
}

void loop_run(struct loop *l)
{
    struct loop *outer = current;
    current = l;
    event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
    while (run_posted(l)) {
    }
    current = outer;
}

static void *thread_main(void *arg)
{
    struct loop *l = arg;
    pthread_setname_np(pthread_self(), l->name);
    loop_run(l);
    return NULL;
}

enum err loop_start(struct loop *l)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return ERR_INTERNAL;
    int failed = pthread_create(&l->thread, NULL, thread_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        errno = failed;
        return ERR_IO;
    }
    l->started = true;
    return ERR_NONE;
}

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t written;
    do
        written = write(l->wake_fd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    wake(l);
}

void loop_join(struct loop *l)
{
    if (!l->started)
        return;
    pthread_join(l->thread, NULL);
    l->started = false;
}

void loop_post(struct loop *l, struct loop_task *task)
{
    struct loop_task *top = atomic_load_explicit(&l->posted, memory_order_relaxed);
    do
        task->next = top;
    while (!atomic_compare_exchange_weak_explicit(&l->posted, &top, task, memory_order_release,
                                                  memory_order_relaxed));
    if (top == NULL)
        wake(l);
}

struct event_base *loop_event_base(struct loop *l)
{
    return l->base;
}

struct loop *loop_current(void)
{
    return current;
}
