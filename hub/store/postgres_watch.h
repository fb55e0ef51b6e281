/* Noticing what other hubs commit. Each commit notifies (NOTIFY), which is fast but no promise: a
 * connection that is cut, or a server that is slow to pass it on, would lose one unseen. So a heart
 * beats as well: it asks which transactions have ended, and only its answer says that everything
 * up to the moment of the question is known. */
#ifndef HUB_STORE_POSTGRES_WATCH_H
#define HUB_STORE_POSTGRES_WATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/store/postgres_connection.h"

/* Sent along with what is committed. */
#define PG_NOTIFY_SQL "NOTIFY holdfast"

struct pg_watch {
    void (*changed)(void *ctx); /* set before the start; may be NULL */
    void *ctx;
    atomic_int_least64_t seen_ms;
    atomic_int writer_pid; /* the server's process of our own writer, whose commits are no news */
    /* The thread's own. */
    struct pg_connection c;
    bool listening;
    char ended[512]; /* the transactions that had, when it last asked */
    pthread_t thread;
    int stop_fd;
    bool started;
};

void pg_watch_init(struct pg_watch *w, const char *url); /* the url stays the caller's */
MUST_USE enum err pg_watch_start(struct pg_watch *w);
void pg_watch_stop(struct pg_watch *w); /* harmless where it was not started */

#endif
