/* The store: the hub's only way to its database, behind one interface for SQLite and PostgreSQL.
 *
 * Reads: any thread with a reader of its own (one for each loop). A read lasts for one call; no
 * transaction stays open across turns of a loop.
 *
 * Writes: a write is a struct handed to store_submit(). One writer thread takes what is queued,
 * runs each write's apply() in a savepoint of one transaction, commits once, durably, and only then
 * runs each write's done() on the loop that submitted it. There is no other way to change anything.
 *
 * Inside apply() rows are read by primary key alone, and a write can name those keys beforehand
 * (reads()): so a database at the end of a network can fetch all rows of a batch in one round trip,
 * and the same C code decides over both. What a row is stands in rows.h. */
#ifndef HUB_STORE_STORE_H
#define HUB_STORE_STORE_H

#include "base/arena.h"
#include "base/loop.h"
#include "base/problem.h"
#include "hub/store/rows.h"

struct store;
struct reader_pool;
struct store_reader;
struct tx;

#define STORE_QUEUE_MAX                                                                            \
    8192                     /* writes waiting in a lane; beyond: ERR_BUSY, and 503 to the client  \
                              */
#define STORE_BATCH_MAX  512 /* writes that share a commit: bounds how long one waits for others */
#define STORE_REQUEST_ID 16  /* bytes: every write carries one; it stands in the ledger entry */

/* ---- writes ---- */

enum store_lane {
    STORE_LANE_PRIORITY, /* cuts: always next */
    STORE_LANE_NORMAL,
    STORE_LANE_BULK, /* a chunk of a long job: one between batches of the others */
    STORE_LANE_COUNT
};

struct write;

/* The keys a write will read, for prefetching. */
struct keyset;
void keyset_add(struct keyset *keys, const struct table *table, const void *row_with_key);

struct write_kind {
    const char *name; /* "device.enrol": for metrics */
    enum store_lane lane;
    /* Names what apply() will read by tx_get(). May be NULL where it reads nothing. */
    void (*reads)(const struct write *w, struct keyset *keys);
    /* On the writer's thread: reads, decides, changes rows, appends to the ledger. ERR_NONE keeps
     * the changes; ERR_REFUSED (with w->problem filled in), ERR_NOT_FOUND, ERR_EXISTS, ERR_CONFLICT
     * roll this write back and no other; any other error abandons the whole batch. It may run again
     * after a failed commit, so it changes nothing but rows and its own write. */
    enum err (*apply)(struct write *w, struct tx *tx);
    /* On the loop that submitted it, once: w->err says how it ended. ERR_NONE means durable;
     * ERR_IN_DOUBT that it may be; any other that nothing was kept. Owns w. */
    void (*done)(struct write *w);
};

/* Embedded as a member in the request of whoever writes. Zeroed, then kind and loop set. */
struct write {
    const struct write_kind *kind;
    struct loop *loop;   /* where done() runs; NULL: on the writer's thread */
    struct arena *arena; /* for apply(): blobs of rows read. The write's own; not NULL */
    uint8_t request_id[STORE_REQUEST_ID]; /* random; set by store_submit() where zero */
    struct problem problem;               /* why it was refused */
    enum err err;
    struct loop_task task; /* private, as are the next two */
    struct write *next;
    int64_t queued_us;
};

/* ERR_BUSY where the queue is full, ERR_UNAVAILABLE while the store is away, ERR_CLOSED after
 * store_drain(). Then done() is not run. */
MUST_USE enum err store_submit(struct store *s, struct write *w);

/* Row access inside apply(). Rows are the structs of rows.h; the key fields say which. Blobs that
 * are read live in the write's arena. */
MUST_USE enum err tx_get(struct tx *tx, const struct table *table, void *row); /* ERR_NOT_FOUND */
MUST_USE enum err tx_insert(struct tx *tx, const struct table *table,
                            const void *row); /* ERR_EXISTS */
MUST_USE enum err tx_update(struct tx *tx, const struct table *table,
                            const void *row); /* ERR_NOT_FOUND */
MUST_USE enum err tx_delete(struct tx *tx, const struct table *table,
                            const void *row); /* ERR_NOT_FOUND */
/* The write this transaction is running, and the date of the batch (milliseconds since 1970). */
struct write *tx_write(struct tx *tx);
int64_t tx_now_ms(const struct tx *tx);

/* ---- what the ledger needs of the writer's rhythm; set once before store_start() ---- */

struct store_hooks {
    void *ctx;
    enum err (*begin)(void *ctx, struct tx *tx); /* a batch starts: load what the batch builds on */
    void (*savepoint)(void *ctx);                /* remember, so that ... */
    void (*rollback)(void *ctx);                 /* ... one write can be undone */
    enum err (*commit)(void *ctx, struct tx *tx); /* before the commit: last rows of the batch */
    void (*committed)(void *ctx);                 /* durable now */
    void (*abandoned)(void *ctx);                 /* the batch came to nothing */
};

/* ---- several hubs over one database ---- */

/* Whether the database is one that several hubs can be over. */
bool store_is_shared(const struct store *s);

/* `changed` is called, on a thread of the store's own, when another hub has committed something
 * (at times also when none has: after the connection was lost, or for a commit of this hub), and
 * must not block. Set once before store_start(); never called over SQLite. */
void store_set_watch(struct store *s, void (*changed)(void *ctx), void *ctx);
/* Of everything that was committed before this moment (monotonic milliseconds) changed() has told.
 * Falls behind while the database can't be reached; long ago (but not so long that a difference
 * could overflow) before the first time; INT64_MAX over SQLite, where there is no other hub. */
int64_t store_seen_ms(const struct store *s);

/* ---- a database that can go away ---- */

/* True while it has not answered for some seconds: then writes are refused at once, not queued.
 * `explain` (may be NULL) says why. It comes back by itself. Any thread; never over SQLite. */
bool store_is_away(const struct store *s, char explain[256]);

/* ---- life ---- */

/* "sqlite" or "postgresql". */
const char *store_kind(const struct store *s);

/* `url`: "sqlite:/path/to/hub.db", or "postgresql://user@host/database". Creates or migrates.
 * `explain` says what to do where it fails; ERR_UNAVAILABLE: no server answers there, yet. */
MUST_USE enum err store_open(const char *url, struct store **ret_store, char explain[256]);
void store_set_hooks(struct store *s, const struct store_hooks *hooks);
MUST_USE enum err store_start(struct store *s); /* its threads */
/* Takes no more writes, finishes those queued, ends the threads. */
void store_drain(struct store *s);
void store_close(struct store *s); /* NULL is fine */

struct store_stats {
    uint64_t commits;                  /* that had something to keep */
    uint64_t writes;                   /* that ended with ERR_NONE */
    uint64_t refused;                  /* rolled back alone */
    uint64_t abandoned;                /* transactions that came to nothing */
    uint64_t replayed;                 /* of those, run again as the database was out of reach */
    uint64_t connections_lost;         /* to the database */
    uint64_t queued[STORE_LANE_COUNT]; /* now */
    uint64_t wal_bytes;
};
void store_stats(struct store *s, struct store_stats *ret_stats);

/* ---- reads ---- */

MUST_USE enum err store_reader_new(struct store *s, struct store_reader **ret_reader);
void store_reader_free(struct store_reader *r);
/* A reader of a store that some other process may have open: it sees one state for as long as it
 * lives. Nothing is created or brought up to date; ERR_UNSUPPORTED where that would be needed. */
MUST_USE enum err store_snapshot_new(const char *url, struct store_reader **ret_snapshot,
                                     char explain[256]);

/* Any of these: ERR_UNAVAILABLE while the database can't be reached; the reader comes back by
 * itself. */
MUST_USE enum err store_get(struct store_reader *r, const struct table *table, struct arena *arena,
                            void *row); /* key filled in by the caller; ERR_NOT_FOUND */

/* What was read can be used again without reading: a stamp that was taken before the row was read
 * says afterwards whether a commit may have changed it since. By the time that a write has been
 * answered, it has. Where other hubs share the database nothing is known of their commits, so that
 * nothing is ever unchanged there. From any thread. */
struct row_stamp {
    uint32_t place;
    uint64_t count;
};
struct row_stamp store_stamp(const struct store *s, const struct table *table,
                             const void *row_with_key);
bool store_is_unchanged(const struct store *s, const struct row_stamp *stamp);

/* What has an index can be asked: a column that the table marks as searchable, together with the
 * tenant (a filter on "tenant", or two ends of the range with the same tenant); or columns of the
 * key, the first or those after columns that are given, too. Else ERR_UNSUPPORTED. */
struct store_filter {
    const char *column;
    struct slice text; /* equals this (texts; the 32 bytes of a hash), or `integer` (integers) */
    int64_t integer;
};

struct store_query {
    const struct table *table;
    const struct store_filter *filters; /* all must hold */
    size_t filters_len;
    const void *after; /* a row whose key the results come after; NULL: from the start */
    const void *until; /* a row whose key ends the results (included); NULL: to the end */
    bool descending;   /* by key */
    size_t limit;
};
/* Calls row() for each in key order until it returns an error or the limit is reached. The row and
 * its blobs (in `arena`, which the caller may reset inside row()) are valid during the call. */
MUST_USE enum err store_list(struct store_reader *r, const struct store_query *query,
                             struct arena *arena, enum err (*row)(void *ctx, const void *row),
                             void *ctx);
/* How many rows match; counting stops at `limit`. */
MUST_USE enum err store_count(struct store_reader *r, const struct store_query *query,
                              uint64_t *ret_count);

#endif
