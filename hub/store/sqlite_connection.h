/* One connection to an SQLite file: its settings, its statements over single rows, and how rows
 * and columns become each other. */
#ifndef HUB_STORE_SQLITE_CONNECTION_H
#define HUB_STORE_SQLITE_CONNECTION_H

#include <sqlite3.h>

#include "hub/store/database.h"
#include "hub/store/sql.h"

/* "HFDT": how file(1) and we tell our databases from others. */
#define SQLITE_APPLICATION_ID 0x48464454

struct row_statement {
    sqlite3_stmt *statement; /* NULL until first used */
    struct sql_columns binds;
};

struct sqlite_connection {
    sqlite3 *db;
    struct row_statement rows[TABLE_COUNT][SQL_KIND_COUNT];
};

enum sqlite_role {
    SQLITE_ROLE_WRITER,
    SQLITE_ROLE_CHECKPOINTER,
    SQLITE_ROLE_READER,
};

/* The file must exist. Closes itself on failure. */
MUST_USE enum err sqlite_connection_open(struct sqlite_connection *c, const char *path,
                                         enum sqlite_role role);
void sqlite_connection_close(struct sqlite_connection *c); /* harmless where it is not open */

/* What a result code of SQLite's means. */
enum err sqlite_err(sqlite3 *db, int code);
/* Runs statements without parameters and results. */
MUST_USE enum err sqlite_exec(struct sqlite_connection *c, const char *sql);
/* The first column of the first row; *ret_value is untouched where there is none. */
MUST_USE enum err sqlite_integer(struct sqlite_connection *c, const char *sql, int64_t *ret_value);

MUST_USE enum err sqlite_row_get(struct sqlite_connection *c, const struct table *table,
                                 struct arena *arena, void *row);
MUST_USE enum err sqlite_row_insert(struct sqlite_connection *c, const struct table *table,
                                    const void *row);
MUST_USE enum err sqlite_row_update(struct sqlite_connection *c, const struct table *table,
                                    const void *row);
MUST_USE enum err sqlite_row_delete(struct sqlite_connection *c, const struct table *table,
                                    const void *row);

/* Binds a column's value from a row; the row must stay until the statement is reset. */
MUST_USE enum err sqlite_bind(sqlite3_stmt *statement, int parameter, const struct column *column,
                              bool is_key, const void *row);
/* The same for the text of a COLUMN_HEX, which is copied. */
MUST_USE enum err sqlite_bind_hex(sqlite3_stmt *statement, int parameter, struct slice text);
/* Fills in a whole row from the statement's result; its blobs are copied to the arena. */
MUST_USE enum err sqlite_row_read(sqlite3_stmt *statement, const struct table *table,
                                  struct arena *arena, void *row);

#endif
