/* The numbered migrations: each is run once, in order, in one transaction with the note that it
 * was. A migration that has been released is never changed; what is to be different gets a new one.
 */
#ifndef HUB_STORE_MIGRATIONS_H
#define HUB_STORE_MIGRATIONS_H

#include "core/cursor.h"

/* How a database spells what the texts leave open. */
struct sql_dialect {
    const char *text;    /* "@text": compared byte by byte */
    const char *integer; /* "@integer": 64 bits, signed */
    const char *bytes;   /* "@bytes" */
    const char
        *compact;      /* "@compact": after a table to be kept in its key's order, for short rows */
    const char *plain; /* "@plain": after every other table */
};

#define MIGRATION_STATEMENTS_MAX 32
#define MIGRATION_STATEMENT_MAX  2048 /* bytes of one statement, written out */

struct migration {
    const char *statements[MIGRATION_STATEMENTS_MAX]; /* ends with NULL */
};

/* The first has number 1. */
extern const struct migration migrations[];
extern const size_t migrations_len;

/* Holds the numbers of the migrations that were run. */
extern const char *const migration_table_sql;

/* Writes a statement in a dialect. ERR_LIMIT in the writer where it does not fit. */
void migration_write(struct writer *w, const char *statement, const struct sql_dialect *dialect);

#endif
