/* The rows that one transaction knows: what it read, and what it is to change. Changes stay here
 * until the commit sends them all at once; a savepoint is a mark in the list of what was undone. */
#ifndef HUB_STORE_POSTGRES_CACHE_H
#define HUB_STORE_POSTGRES_CACHE_H

#include "hub/store/database.h"

enum row_state {
    ROW_UNKNOWN, /* nobody looked */
    ROW_ABSENT,
    ROW_PRESENT,
};

struct cached_row {
    const struct table *table;
    struct slice key;
    enum row_state before; /* in the database */
    enum row_state now;    /* as this transaction sees it */
    void *row;             /* where it is present: a whole row; else its key alone */
    bool touched;          /* in the list of touched rows */
    bool changed;
    struct cached_row *next_in_bucket;
    struct cached_row *next_touched;
};

struct cache_undo {
    struct cached_row *entry;
    enum row_state now;
    void *row;
    bool changed;
};

#define CACHE_BUCKETS 4096

struct pg_cache {
    struct arena *arena;
    struct cached_row *buckets[CACHE_BUCKETS];
    struct cached_row *touched, **touched_end; /* in the order of their first change */
    struct cache_undo *undo;
    size_t undo_len, undo_max;
    size_t mark; /* how long the list was at the savepoint */
};

MUST_USE enum err pg_cache_init(struct pg_cache *cache);
void pg_cache_free(struct pg_cache *cache);
void pg_cache_reset(struct pg_cache *cache); /* knows nothing any more */

/* The entry of a row by its key; new ones are ROW_UNKNOWN. */
MUST_USE enum err pg_cache_entry(struct pg_cache *cache, const struct table *table, const void *row,
                                 struct cached_row **ret_entry);
/* What is in the database. `row` lives in the cache's arena; NULL where there is none. */
void pg_cache_learn(struct cached_row *entry, void *row);
/* Changes a row: a copy of `row`, or NULL: it is deleted. */
MUST_USE enum err pg_cache_change(struct pg_cache *cache, struct cached_row *entry,
                                  const void *row);
/* A row and the blobs it points at, copied to the arena. */
MUST_USE enum err pg_row_copy(const struct table *table, const void *from, struct arena *arena,
                              void *to);

void pg_cache_savepoint(struct pg_cache *cache);
void pg_cache_rollback(struct pg_cache *cache);

#endif
