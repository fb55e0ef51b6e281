/* Readers' connections, replaced in the background when they are lost. A reader lives on a loop,
 * which must not wait for a server that is gone: so the store's watch (postgres_watch.h), once it
 * has seen the server answer, connects anew for the readers that want it, and each takes what was
 * made for it at its next call. */
#ifndef HUB_STORE_POSTGRES_MENDER_H
#define HUB_STORE_POSTGRES_MENDER_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/store/postgres_connection.h"

/* A reader's place. */
struct pg_slot {
    struct pg_connection *c; /* the reader's own; NULL where it was lost */
    _Atomic(struct pg_connection *) fresh;
    atomic_bool wanted;
    struct pg_slot *next; /* under the mender's lock */
};

struct pg_mender {
    const char *url; /* the caller's */
    atomic_uint_least64_t *losses;
    int wake_fd; /* the caller's: an eventfd that the mending thread waits for */
    pthread_mutex_t lock;
    struct pg_slot *slots;
};

void pg_mender_init(struct pg_mender *m, const char *url, int wake_fd,
                    atomic_uint_least64_t *losses);
void pg_mender_destroy(struct pg_mender *m); /* after the last reader */

/* On a thread that may wait: connects until the monotonic time `until`. */
MUST_USE enum err pg_slot_open(struct pg_mender *m, struct pg_slot *slot, int64_t until);
void pg_slot_close(struct pg_mender *m, struct pg_slot *slot);

/* On the reader's thread, without waiting: a connection that was sound when it was last used, or
 * NULL while there is none. */
struct pg_connection *pg_slot_take(struct pg_mender *m, struct pg_slot *slot);

/* On the mending thread: the readers' connections are as old as one that was lost. */
void pg_mender_renew_all(struct pg_mender *m);
/* Makes what is wanted, for at most PG_MEND_MS. Waits for a server that is slow to take us. */
void pg_mender_turn(struct pg_mender *m);

#define PG_MEND_MS 200

#endif
