/* What the store asks of a database. One vtable for each kind, so that the writer, the batches and
 * everything above are the same over SQLite and PostgreSQL. Private to hub/store. */
#ifndef HUB_STORE_DATABASE_H
#define HUB_STORE_DATABASE_H

#include "hub/store/store.h"

struct database;        /* open, with the writer's connection */
struct database_reader; /* a connection that only reads */

/* The keys that a batch will read. */
struct keyset_key {
    const struct table *table;
    void *row; /* a copy: key columns alone */
};
struct keyset {
    struct arena *arena; /* of the copies; bounds how many there are */
    struct keyset_key *keys;
    size_t len, max;
};
void keyset_free(struct keyset *keys); /* but not its arena */

struct database_ops {
    const char *scheme; /* "sqlite:" */
    bool one_hub;       /* while it is open, nobody else can open it */
    const char *kind;   /* "sqlite" */

    /* `location` is the URL without its scheme. Brings the tables up to date. */
    enum err (*open)(const char *location, struct database **ret_db, char explain[256]);
    void (*close)(struct database *db);
    /* Housekeeping beside the writer, if there is any. */
    enum err (*start)(struct database *db);
    void (*stop)(struct database *db);
    uint64_t (*log_bytes)(struct database *db); /* of the write-ahead log; any thread */
    /* store_set_watch() and store_seen_ms(); NULL where no other hub can change anything. */
    void (*set_watch)(struct database *db, void (*changed)(void *ctx), void *ctx);
    int64_t (*seen_ms)(const struct database *db); /* any thread */
    /* store_is_away() and connections_lost; NULL where the database can't go away. Any thread. */
    bool (*is_away)(struct database *db, char explain[256]);
    uint64_t (*losses)(struct database *db);

    /* On the writer's thread. Errors are about a row (ERR_NOT_FOUND, ERR_EXISTS), or the fault of
     * the write that asked (ERR_LIMIT, ERR_INTERNAL, ERR_NO_MEMORY), or the database's: after
     * those, and after any error where the transaction is_lost(), there is only abandon(). */
    enum err (*begin)(struct database *db);
    /* The database has ended the transaction by itself; what came next would be kept one by one. */
    bool (*is_lost)(struct database *db);
    /* Fetches what the batch will read; NULL where a read costs no round trip. */
    enum err (*prefetch)(struct database *db, const struct keyset *keys);
    enum err (*savepoint)(struct database *db);
    enum err (*release)(struct database *db);  /* keeps what came since the savepoint */
    enum err (*rollback)(struct database *db); /* undoes it */
    /* Durable when it returns ERR_NONE. ERR_CONFLICT: the batch built on a guess that was wrong;
     * run again, nothing is guessed. ERR_INTERNAL: one of its writes can't be kept.
     * ERR_UNAVAILABLE (here as anywhere): surely not kept. ERR_IN_DOUBT: nobody knows. */
    enum err (*commit)(struct database *db);
    void (*abandon)(struct database *db);

    enum err (*get)(struct database *db, const struct table *table, struct arena *arena, void *row);
    enum err (*insert)(struct database *db, const struct table *table, const void *row);
    enum err (*update)(struct database *db, const struct table *table, const void *row);
    enum err (*delete)(struct database *db, const struct table *table, const void *row);

    /* On any thread, one at a time for each reader. */
    enum err (*reader_new)(struct database *db, struct database_reader **ret_reader);
    void (*reader_free)(struct database_reader *r);
    enum err (*reader_get)(struct database_reader *r, const struct table *table,
                           struct arena *arena, void *row);
    enum err (*reader_list)(struct database_reader *r, const struct store_query *query,
                            struct arena *arena, enum err (*row)(void *ctx, const void *row),
                            void *ctx);
    enum err (*reader_count)(struct database_reader *r, const struct store_query *query,
                             uint64_t *ret_count);
    /* A reader that sees one state for as long as it lives, of a database that may be in use and is
     * not changed by that: its tables must be up to date (ERR_UNSUPPORTED). */
    enum err (*snapshot_new)(const char *location, struct database_reader **ret_reader,
                             char explain[256]);
};

extern const struct database_ops database_sqlite;
extern const struct database_ops database_postgres;

#define ROW_SIZE_MAX 2048 /* bytes of the largest row's struct */

/* NULL, and explained, where no database has that scheme. */
const struct database_ops *database_find(const char *url, const char **ret_location,
                                         char explain[256]);
/* Takes the reader over, also where it fails. */
MUST_USE enum err store_reader_over(const struct database_ops *ops, struct database_reader *reader,
                                    struct store_reader **ret_reader);

/* Writes the start of `explain`; for the one place that knows what went wrong. */
void explain_set(char explain[256], const char *format, ...) PRINTF_LIKE(2, 3);

#endif
