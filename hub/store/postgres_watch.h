/* Noticing what other hubs commit, and whether the database can be reached at all. Each commit
 * notifies (NOTIFY), which is fast but no promise: a connection that is cut, or a server that is
 * slow to pass it on, would lose one unseen. So a heart beats as well: it asks which transactions
 * have ended, and only its answer says that everything up to the moment of the question is known.
 */
#ifndef HUB_STORE_POSTGRES_WATCH_H
#define HUB_STORE_POSTGRES_WATCH_H

#include "hub/store/postgres_mender.h"

/* Sent along with what is committed. */
#define PG_NOTIFY_SQL "NOTIFY holdfast"

/* So long without an answer, and the database counts as gone. */
#define PG_AWAY_MS 3000

struct pg_watch {
    struct pg_mender mender;    /* for the readers */
    void (*changed)(void *ctx); /* set before the start; may be NULL */
    void *ctx;
    atomic_int_least64_t seen_ms;
    atomic_uint_least64_t losses; /* connections that were lost, of all of the store's */
    atomic_int writer_pid; /* the server's process of our own writer, whose commits are no news */
    /* The thread's own. */
    struct pg_connection c;
    bool listening;
    char ended[512]; /* the transactions that had, when it last asked */
    pthread_t thread;
    int wake_fd;
    atomic_bool stopping;
    atomic_bool started;
    int64_t started_ms;
    pthread_mutex_t lock;
    char reason[256]; /* under the lock: why it can't be reached */
};

/* The url stays the caller's. ERR_IO where the process has too many files open. */
MUST_USE enum err pg_watch_init(struct pg_watch *w, const char *url);
void pg_watch_destroy(struct pg_watch *w);
MUST_USE enum err pg_watch_start(struct pg_watch *w);
void pg_watch_stop(struct pg_watch *w); /* harmless where it was not started */
/* No answer for PG_AWAY_MS. `explain` says why; may be NULL. Any thread. */
bool pg_watch_is_away(struct pg_watch *w, char explain[256]);

#endif
