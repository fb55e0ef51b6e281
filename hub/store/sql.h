/* The text of SQL statements, written from the tables' descriptors: a subset that SQLite and
 * PostgreSQL both take. Parameters ($1, $2, ...) are numbered in the order in which they stand. */
#ifndef HUB_STORE_SQL_H
#define HUB_STORE_SQL_H

#include "hub/store/store.h"

#define SQL_TEXT_MAX  2048
#define SQL_BINDS_MAX 32 /* the columns of the widest table, and room to grow */

enum sql_kind {
    SQL_GET,
    SQL_INSERT,
    SQL_UPDATE,
    SQL_UPDATE_QUIET, /* as SQL_UPDATE, for rows whose searchable columns stay: no index changes */
    SQL_DELETE,
    SQL_KIND_COUNT
};

/* The columns that a statement's parameters are taken from, by their numbers. */
struct sql_columns {
    uint8_t numbers[SQL_BINDS_MAX];
    size_t len;
};
/* Writes a statement over one row. ERR_LIMIT in the writer where it does not fit. */
void sql_row_write(struct writer *w, struct sql_columns *ret_binds, enum sql_kind kind,
                   const struct table *table);
/* False for tables without a searchable column: all their updates are quiet. */
bool sql_table_is_searchable(const struct table *table);

/* A query over many rows. The parameters are these, then the limit. */
struct sql_bind {
    const struct column *column;
    const void *row;                   /* the value stands in this row ... */
    const struct store_filter *filter; /* ... or in this filter */
};
/* Its value: of a COLUMN_INTEGER, and of any other (of a COLUMN_HEX its text). */
int64_t sql_bind_integer(const struct sql_bind *b);
struct slice sql_bind_bytes(const struct sql_bind *b);
/* The order in which the database sorts two rows by one column. */
int sql_compare(const struct column *column, const void *row_a, const void *row_b);

/* A COLUMN_TEXT or COLUMN_TENANT as it stands in the database, and from it. ERR_INTERNAL for a text
 * without its end or a tenant without a name, ERR_IO for bytes that the column has no room for. */
MUST_USE enum err sql_text_stored(const struct column *column, const void *field,
                                  struct slice *ret_stored);
MUST_USE enum err sql_text_read(const struct column *column, struct slice stored, void *field);
/* How the text of a COLUMN_HEX and the bytes in the database become each other. ERR_INTERNAL for a
 * text that is no such value, ERR_IO for bytes that the column has no room for. */
#define SQL_HEX_MAX 32
MUST_USE enum err sql_hex_bytes(struct slice text, uint8_t ret_bytes[SQL_HEX_MAX], size_t *ret_len);
MUST_USE enum err sql_hex_read(const struct column *column, struct slice bytes, void *field);

struct sql_query {
    char text[SQL_TEXT_MAX];
    size_t len;
    struct sql_bind binds[SQL_BINDS_MAX];
    size_t binds_len;
    bool nothing; /* no row can match: don't ask */
};
/* ERR_UNSUPPORTED where no index serves the query; store.h says what may be asked. */
MUST_USE enum err sql_query_write(struct sql_query *s, const struct store_query *query, bool count);

#endif
