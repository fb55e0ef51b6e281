/* The writer: takes what is queued, batch by batch, and makes it durable. One thread. */
#ifndef HUB_STORE_WRITER_H
#define HUB_STORE_WRITER_H

#include <stdatomic.h>

#include "hub/store/database.h"
#include "hub/store/queue.h"
#include "hub/store/row_changes.h"

struct writer_counts {
    atomic_uint_least64_t commits, writes, refused, abandoned, replayed;
};

struct tx {
    const struct database_ops *ops;
    struct database *db;
    struct row_changes *changes;
    struct write *write; /* NULL in hooks */
    struct arena *arena; /* for blobs read in hooks */
    int64_t now_ms;
    bool in_savepoint; /* the write has changed something */
    bool changed;      /* the batch has */
    enum err fault;    /* the write asked for what can't be */
    enum err lost;     /* the database failed: the transaction is no more */
};

/* After a commit that failed for what was in it. */
enum writer_retry {
    RETRY_NOTHING,
    RETRY_BATCH,  /* it is told apart now what was guessed before */
    RETRY_SINGLY, /* one of the writes is at fault: which, is seen only so */
};

struct store_writer {
    struct write_queue queue;
    struct store_hooks hooks;
    struct tx tx;
    struct writer_counts counts;
    struct row_changes changes;
    enum writer_retry retry; /* of the transaction that ended last */
};

/* Runs until the queue is closed and empty. */
void store_writer_run(struct store_writer *sw);

#endif
