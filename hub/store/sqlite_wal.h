/* The checkpointer: a thread that moves what is in the write-ahead log into the database, so that
 * commits don't have to, and that keeps the log from growing. */
#ifndef HUB_STORE_SQLITE_WAL_H
#define HUB_STORE_SQLITE_WAL_H

#include <pthread.h>

#include "hub/store/sqlite_connection.h"

struct sqlite_wal {
    struct sqlite_connection connection;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started;
    bool stopping;
    bool pausing;   /* the writer shall not begin another transaction */
    bool in_batch;  /* it is in one */
    int frames;     /* pages in the log, as of the last commit */
    int tried;      /* how many there were when the last checkpoint began */
    int restart_at; /* log length at which it is to start over from its beginning */
};

MUST_USE enum err sqlite_wal_init(struct sqlite_wal *c, const char *path);
void sqlite_wal_free(struct sqlite_wal *c);
MUST_USE enum err sqlite_wal_start(struct sqlite_wal *c);
void sqlite_wal_stop(struct sqlite_wal *c);

/* By the writer, around each of its transactions. */
void sqlite_wal_enter(struct sqlite_wal *c);
void sqlite_wal_leave(struct sqlite_wal *c);
/* By the writer, after a commit. */
void sqlite_wal_note(struct sqlite_wal *c, int frames);

#endif
