#include "hub/store/sqlite_reader.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hub/store/migrations.h"
#include "hub/store/sqlite_connection.h"

/* The queries of the API have about a dozen forms. */
#define QUERIES_MAX 24

struct cached_query {
    char *text;
    sqlite3_stmt *statement;
    uint64_t used_at; /* turns of the reader */
    bool busy;        /* stepping: a callback may ask the same again */
};

struct database_reader {
    struct sqlite_connection connection;
    struct cached_query queries[QUERIES_MAX];
    uint64_t turn;
};

enum err sqlite_reader_open(const char *path, struct database_reader **ret_reader)
{
    struct database_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NO_MEMORY;
    enum err err = sqlite_connection_open(&r->connection, path, SQLITE_ROLE_READER);
    if (err == ERR_NONE)
        *ret_reader = r;
    else
        free(r);
    return err;
}

/* The first read fixes what is seen. */
static enum err begin_snapshot(struct sqlite_connection *c, const char *path, char explain[256])
{
    int64_t application = 0;
    int64_t done = 0;
    enum err err = sqlite_exec(c, "BEGIN");
    if (err == ERR_NONE)
        err = sqlite_integer(c, "PRAGMA application_id", &application);
    if (err == ERR_NONE && application != SQLITE_APPLICATION_ID) {
        explain_set(explain, "%.150s is no store of a hub", path);
        return ERR_UNSUPPORTED;
    }
    if (err == ERR_NONE)
        err = sqlite_integer(c, "SELECT coalesce(max(number), 0) FROM migration", &done);
    if (err != ERR_NONE)
        explain_set(explain, "can't read %.150s: %s", path, err_text(err));
    else if ((uint64_t)done != migrations_len) {
        explain_set(explain,
                    "%.120s was left by another version of Holdfast: start its hub once "
                    "with this one, or use that one",
                    path);
        err = ERR_UNSUPPORTED;
    }
    return err;
}

enum err sqlite_snapshot_open(const char *path, struct database_reader **ret_reader,
                              char explain[256])
{
    struct database_reader *r = NULL;
    if (access(path, F_OK) != 0) {
        explain_set(explain, "%.150s: %s", path, strerror(errno));
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    enum err err = sqlite_reader_open(path, &r);
    if (err != ERR_NONE) {
        explain_set(explain, "can't read %.150s: %s", path, err_text(err));
        return err;
    }
    err = begin_snapshot(&r->connection, path, explain);
    if (err == ERR_NONE)
        *ret_reader = r;
    else
        sqlite_reader_free(r);
    return err;
}

static void forget(struct cached_query *q)
{
    (void)sqlite3_finalize(q->statement);
    free(q->text);
    *q = (struct cached_query){0};
}

void sqlite_reader_free(struct database_reader *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < QUERIES_MAX; i++)
        forget(&r->queries[i]);
    sqlite_connection_close(&r->connection);
    free(r);
}

enum err sqlite_reader_get(struct database_reader *r, const struct table *table,
                           struct arena *arena, void *row)
{
    return sqlite_row_get(&r->connection, table, arena, row);
}

/* ---- queries ---- */

/* The prepared query of that text, or a place for it: the one that was not used for longest. */
static struct cached_query *find_query(struct database_reader *r, const struct sql_query *sql)
{
    struct cached_query *oldest = NULL;
    for (size_t i = 0; i < QUERIES_MAX; i++) {
        struct cached_query *q = &r->queries[i];
        if (q->busy)
            continue;
        if (q->text != NULL && slice_equal(slice_of_text(q->text), slice_of(sql->text, sql->len)))
            return q;
        if (oldest == NULL || q->used_at < oldest->used_at)
            oldest = q;
    }
    if (oldest != NULL)
        forget(oldest);
    return oldest;
}

/* Prepared, and not to be given to anybody else. NULL on failure, with *err saying why. */
static struct cached_query *take_query(struct database_reader *r, const struct sql_query *sql,
                                       enum err *err)
{
    struct cached_query *q = find_query(r, sql);
    *err = ERR_LIMIT; /* callbacks that ask from within callbacks, more than QUERIES_MAX deep */
    if (q == NULL)
        return NULL;
    if (q->statement == NULL) {
        *err = ERR_NO_MEMORY;
        q->text = strndup(sql->text, sql->len);
        if (q->text == NULL)
            return NULL;
        int code = sqlite3_prepare_v3(r->connection.db, sql->text, (int)sql->len,
                                      SQLITE_PREPARE_PERSISTENT, &q->statement, NULL);
        if (code != SQLITE_OK) {
            *err = sqlite_err(r->connection.db, code);
            forget(q);
            return NULL;
        }
    }
    q->used_at = ++r->turn;
    q->busy = true;
    *err = ERR_NONE;
    return q;
}

static void give_back(struct cached_query *q)
{
    (void)sqlite3_reset(q->statement);
    (void)sqlite3_clear_bindings(q->statement);
    q->busy = false;
}

/* Values are copied: they may lie in the arena that the caller resets while results come. */
static enum err bind_value(sqlite3_stmt *statement, int parameter, const struct sql_bind *bind)
{
    const struct column *column = bind->column;
    int code = SQLITE_INTERNAL;
    if (column->kind == COLUMN_INTEGER)
        code = sqlite3_bind_int64(statement, parameter, sql_bind_integer(bind));
    struct slice bytes = column->kind == COLUMN_INTEGER ? (struct slice){0} : sql_bind_bytes(bind);
    const void *data = bytes.len == 0 ? "" : (const void *)bytes.data;
    if (column->kind == COLUMN_TEXT || column->kind == COLUMN_TENANT)
        code = sqlite3_bind_text64(statement, parameter, data, bytes.len, SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    if (column->kind == COLUMN_HASH)
        code = sqlite3_bind_blob64(statement, parameter, data, bytes.len, SQLITE_TRANSIENT);
    if (column->kind == COLUMN_HEX)
        return sqlite_bind_hex(statement, parameter, bytes);
    return sqlite_err(NULL, code);
}

static enum err bind_query(sqlite3_stmt *statement, const struct sql_query *sql, size_t limit)
{
    enum err err = ERR_NONE;
    int parameter = 0;
    for (size_t i = 0; i < sql->binds_len && err == ERR_NONE; i++)
        err = bind_value(statement, ++parameter, &sql->binds[i]);
    int64_t rows = limit > INT64_MAX ? INT64_MAX : (int64_t)limit;
    if (err == ERR_NONE)
        err = sqlite_err(NULL, sqlite3_bind_int64(statement, parameter + 1, rows));
    return err;
}

enum err sqlite_reader_list(struct database_reader *r, const struct store_query *query,
                            struct arena *arena, enum err (*row)(void *ctx, const void *row),
                            void *ctx)
{
    struct sql_query sql;
    enum err err = sql_query_write(&sql, query, false);
    if (err != ERR_NONE || sql.nothing)
        return err;
    struct cached_query *q = take_query(r, &sql, &err);
    if (q == NULL)
        return err;
    err = bind_query(q->statement, &sql, query->limit);
    while (err == ERR_NONE) {
        alignas(max_align_t) uint8_t bytes[ROW_SIZE_MAX] = {0};
        int code = sqlite3_step(q->statement);
        if (code == SQLITE_DONE)
            break;
        err = sqlite_err(r->connection.db, code);
        if (err == ERR_NONE)
            err = sqlite_row_read(q->statement, query->table, arena, bytes);
        if (err == ERR_NONE)
            err = row(ctx, bytes);
    }
    give_back(q);
    return err;
}

enum err sqlite_reader_count(struct database_reader *r, const struct store_query *query,
                             uint64_t *ret_count)
{
    struct sql_query sql;
    enum err err = sql_query_write(&sql, query, true);
    if (err != ERR_NONE)
        return err;
    if (sql.nothing) {
        *ret_count = 0;
        return ERR_NONE;
    }
    struct cached_query *q = take_query(r, &sql, &err);
    if (q == NULL)
        return err;
    err = bind_query(q->statement, &sql, query->limit);
    if (err == ERR_NONE) {
        int code = sqlite3_step(q->statement);
        err = sqlite_err(r->connection.db, code);
        if (err == ERR_NONE)
            *ret_count = (uint64_t)sqlite3_column_int64(q->statement, 0);
    }
    give_back(q);
    return err;
}
