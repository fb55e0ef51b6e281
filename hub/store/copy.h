/* A copy of a store: every row of every table as one database saw them at one moment, in a form
 * that no database has a hand in. Backups are made of it, and one kind of database is filled from
 * another by it.
 *
 *   copy   = header table{TABLE_COUNT} end
 *   table  = 'T' name  { 'R' row }  'E' rows(8) digest(32)
 *   header = 'H' "holdfast-store-1" schema(4) taken_at(8) rows(8) ledger_size(8) ledger_root(32)
 * fleet end    = 'Z' rows(8) digest(32)
 *
 * Each of these is a letter, a length in 4 bytes, and its fields; numbers are big-endian. Rows
 * stand in the order of their keys, their columns in the order of rows.h: an integer in 8 bytes, a
 * hash in 32, a text or blob behind its length in 4. A table's digest is SHA-256, chained: digest =
 * H(digest | row), from 32 zeroes; the last one is chained over the header and each 'E' in the same
 * way. It tells what a loaded database must hold; who wrote the copy is for the envelope around it
 * to say. */
#ifndef HUB_STORE_COPY_H
#define HUB_STORE_COPY_H

#include "hub/store/store.h"

#define COPY_RECORD_MAX ((size_t)640 << 10) /* bytes: a policy with its rules has 528 KiB */

struct copy_header {
    uint32_t schema; /* the newest migration */
    int64_t taken_at;
    uint64_t rows; /* of all tables; marks of a store that is filled or was left do not count */
    uint64_t ledger_size;
    struct hash ledger_root;
    char fleet[NAME_MAX_BYTES + 1];
};

struct copy_digest {
    uint64_t rows;
    struct hash digest;
};

struct copy_summary {
    struct copy_header header;
    struct copy_digest tables[TABLE_COUNT];
    uint64_t rows;
    struct hash digest; /* that of the end: two copies with the same hold the same */
};

/* Looks on as rows pass by, in their order; its error ends the walk. May be empty. */
struct copy_watch {
    enum err (*row)(void *ctx, const struct table *table, const void *row);
    void *ctx;
};

/* What is in the store that `snapshot` sees. */
MUST_USE enum err copy_describe(struct store_reader *snapshot, const char *fleet,
                                struct copy_header *ret_header);

/* Hands all rows to `watch`, and gives what a copy of them would sum up to, its header being
 * `header`. ERR_CONFLICT where there are other than header->rows rows. */
MUST_USE enum err copy_walk(struct store_reader *snapshot, const struct copy_header *header,
                            const struct copy_watch *watch, struct copy_summary *ret_summary);

/* The same, writing the copy. */
MUST_USE enum err copy_write(struct store_reader *snapshot, const struct copy_header *header,
                             enum err (*put)(void *ctx, struct slice bytes), void *ctx,
                             const struct copy_watch *watch, struct copy_summary *ret_summary);

/* Where a copy is read from: gives *ret_len bytes, 0 at the end. */
struct copy_source {
    enum err (*read)(void *ctx, void *buffer, size_t size, size_t *ret_len);
    void *ctx;
};
struct copy_reader;
/* Reads the header. ERR_SYNTAX, ERR_UNSUPPORTED (of another schema: *ret_schema says which). */
MUST_USE enum err copy_reader_new(const struct copy_source *source, struct copy_reader **ret_reader,
                                  uint32_t *ret_schema);
const struct copy_header *copy_reader_header(const struct copy_reader *r);
/* Reads all that follows, up to the end of the source. ERR_SYNTAX: cut short or malformed, whatever
 * it says of itself. */
MUST_USE enum err copy_read(struct copy_reader *r, const struct copy_watch *watch,
                            struct copy_summary *ret_summary);
void copy_reader_free(struct copy_reader *r); /* NULL is fine */

/* ---- leaving a database for another ---- */

struct store_hold;
/* Keeps every hub from a store for as long as it lives, and shows its rows. ERR_BUSY where a hub
 * has it open, ERR_UNSUPPORTED where that can't be known; nothing is created. The snapshot is the
 * caller's, to be freed first. */
MUST_USE enum err store_hold_new(const char *url, struct store_hold **ret_hold,
                                 struct store_reader **ret_snapshot, char explain[256]);
/* Durably: store_open() refuses it from now on. That it was left already is no error. */
MUST_USE enum err store_hold_leave(struct store_hold *h);
void store_hold_free(struct store_hold *h); /* NULL is fine */

/* ---- filling a database ---- */

struct store_load;
/* Opens or creates a database and fills it; `source` says from what, so that what was interrupted
 * goes on from the same source only. ERR_EXISTS where there is anything in it already. Until
 * store_load_end() store_open() refuses it. */
MUST_USE enum err store_load_new(const char *url, const struct hash *source,
                                 struct store_load **ret_load, char explain[256]);
/* Rows in the order of a copy. Those that are there already from before are passed over. */
MUST_USE enum err store_load_row(struct store_load *l, const struct table *table, const void *row);
/* Makes durable what came, and opens a reader that sees it, to be freed before the end. */
MUST_USE enum err store_load_flush(struct store_load *l, struct store_reader **ret_snapshot);
/* It is whole: the mark goes. */
MUST_USE enum err store_load_end(struct store_load *l);
void store_load_free(struct store_load *l); /* NULL is fine; what came so far stays, marked */

#endif
