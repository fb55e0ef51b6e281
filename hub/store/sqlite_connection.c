#include "hub/store/sqlite_connection.h"

#include <errno.h>
#include <string.h>

/* The writer's covers the inner pages of the indexes of some million devices; each loop has a
 * reader, so theirs is small. */
static const char *const settings[] = {
    [SQLITE_ROLE_WRITER] = "PRAGMA cache_size = -65536",
    [SQLITE_ROLE_CHECKPOINTER] = "PRAGMA cache_size = -1024",
    [SQLITE_ROLE_READER] = "PRAGMA cache_size = -4096; PRAGMA query_only = ON",
};

/* Nobody but us has the file open, so a lock is held by a checkpoint and soon free. */
#define BUSY_TIMEOUT_MS 5000

static bool is_no_room(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

/* Of ENOSPC SQLite makes SQLITE_FULL, but there are more ways for a disk to be full. What the
 * system said of a file is kept with it; errno itself has long been overwritten. */
static bool lacks_room(sqlite3 *db)
{
    static const int files[] = {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        sqlite3_file *file = NULL;
        int error = 0;
        if (sqlite3_file_control(db, "main", files[i], &file) != SQLITE_OK || file == NULL ||
            file->pMethods == NULL)
            continue;
        if (file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) == SQLITE_OK &&
            is_no_room(error))
            return true;
    }
    return false;
}

enum err sqlite_err(sqlite3 *db, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_NONE;
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_NOMEM:
        return ERR_NO_MEMORY;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            return ERR_NO_MEMORY;
        return db != NULL && lacks_room(db) ? ERR_DISK_FULL : ERR_IO;
    case SQLITE_CANTOPEN:
        return db != NULL && is_no_room(sqlite3_system_errno(db)) ? ERR_DISK_FULL : ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    case SQLITE_CONSTRAINT: {
        bool taken = code == SQLITE_CONSTRAINT_PRIMARYKEY || code == SQLITE_CONSTRAINT_UNIQUE ||
                     code == SQLITE_CONSTRAINT_ROWID;
        return taken ? ERR_EXISTS : ERR_INTERNAL;
    }
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_IO;
    default:
        return ERR_INTERNAL;
    }
}

enum err sqlite_exec(struct sqlite_connection *c, const char *sql)
{
    return sqlite_err(c->db, sqlite3_exec(c->db, sql, NULL, NULL, NULL));
}

enum err sqlite_integer(struct sqlite_connection *c, const char *sql, int64_t *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    enum err err = sqlite_err(c->db, code);
    if (code == SQLITE_ROW)
        *ret_value = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return err;
}

enum err sqlite_connection_open(struct sqlite_connection *c, const char *path,
                                enum sqlite_role role)
{
    *c = (struct sqlite_connection){0};
    int code = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    enum err err = sqlite_err(c->db, code);
    if (err == ERR_NONE) {
        (void)sqlite3_extended_result_codes(c->db, 1);
        (void)sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
        (void)sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        (void)sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        /* Checkpoints have a thread of their own. */
        (void)sqlite3_wal_autocheckpoint(c->db, 0);
        /* FULL: with NORMAL a power cut could take acknowledged commits with it. */
        err = sqlite_exec(c, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
                             "PRAGMA temp_store = MEMORY");
    }
    if (err == ERR_NONE)
        err = sqlite_exec(c, settings[role]);
    if (err != ERR_NONE)
        sqlite_connection_close(c);
    return err;
}

void sqlite_connection_close(struct sqlite_connection *c)
{
    for (size_t table = 0; table < TABLE_COUNT; table++)
        for (size_t kind = 0; kind < SQL_KIND_COUNT; kind++)
            (void)sqlite3_finalize(c->rows[table][kind].statement);
    (void)sqlite3_close(c->db);
    *c = (struct sqlite_connection){0};
}

/* ---- rows and columns ---- */

static bool is_zero(const uint8_t *bytes, size_t n)
{
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= bytes[i];
    return all == 0;
}

enum err sqlite_bind_hex(sqlite3_stmt *statement, int parameter, struct slice text)
{
    uint8_t bytes[SQL_HEX_MAX];
    size_t len;
    enum err err = sql_hex_bytes(text, bytes, &len);
    if (err != ERR_NONE)
        return err;
    int code = sqlite3_bind_blob(statement, parameter, bytes, (int)len, SQLITE_TRANSIENT);
    return sqlite_err(NULL, code);
}

enum err sqlite_bind(sqlite3_stmt *statement, int parameter, const struct column *column,
                     bool is_key, const void *row)
{
    const uint8_t *field = (const uint8_t *)row + column->offset;
    int code = SQLITE_OK;
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_TENANT: {
        struct slice text;
        enum err err = sql_text_stored(column, field, &text);
        if (err != ERR_NONE)
            return err;
        code = sqlite3_bind_text(statement, parameter, (const char *)text.data, (int)text.len,
                                 SQLITE_STATIC);
        break;
    }
    case COLUMN_HEX: {
        size_t len = strnlen((const char *)field, column->size);
        return len == column->size ? ERR_INTERNAL
                                   : sqlite_bind_hex(statement, parameter, slice_of(field, len));
    }
    case COLUMN_INTEGER: {
        int64_t v;
        memcpy(&v, field, sizeof v);
        code = sqlite3_bind_int64(statement, parameter, v);
        break;
    }
    case COLUMN_HASH:
        if (!is_key && is_zero(field, SHA256_SIZE))
            code = sqlite3_bind_null(statement, parameter);
        else
            code = sqlite3_bind_blob(statement, parameter, field, SHA256_SIZE, SQLITE_STATIC);
        break;
    case COLUMN_BLOB: {
        struct slice blob;
        memcpy(&blob, field, sizeof blob);
        if (blob.len > column->size)
            return ERR_LIMIT;
        if (blob.len == 0)
            code = sqlite3_bind_zeroblob(statement, parameter, 0);
        else
            code = sqlite3_bind_blob(statement, parameter, blob.data, (int)blob.len, SQLITE_STATIC);
        break;
    }
    }
    return sqlite_err(NULL, code);
}

static enum err read_field(sqlite3_stmt *statement, int at, const struct column *column,
                           struct arena *arena, uint8_t *field)
{
    if (column->kind == COLUMN_INTEGER) {
        int64_t v = sqlite3_column_int64(statement, at);
        memcpy(field, &v, sizeof v);
        return ERR_NONE;
    }
    const void *data = column->kind == COLUMN_TEXT || column->kind == COLUMN_TENANT
                           ? (const void *)sqlite3_column_text(statement, at)
                           : sqlite3_column_blob(statement, at);
    size_t len = (size_t)sqlite3_column_bytes(statement, at);
    if (data == NULL && sqlite3_errcode(sqlite3_db_handle(statement)) == SQLITE_NOMEM)
        return ERR_NO_MEMORY;
    if (data == NULL)
        len = 0;
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_TENANT:
        return sql_text_read(column, slice_of(data, len), field);
    case COLUMN_HEX:
        return sql_hex_read(column, slice_of(data, len), field);
    case COLUMN_HASH:
        if (len != 0 && len != SHA256_SIZE)
            return ERR_IO;
        memset(field, 0, SHA256_SIZE);
        if (len > 0)
            memcpy(field, data, len);
        return ERR_NONE;
    default: {
        struct slice copy = {NULL, 0};
        if (len > column->size)
            return ERR_IO;
        if (len > 0 && arena == NULL)
            return ERR_INTERNAL;
        enum err err = len == 0 ? ERR_NONE : arena_copy(arena, slice_of(data, len), &copy);
        if (err == ERR_NONE)
            memcpy(field, &copy, sizeof copy);
        return err;
    }
    }
}

enum err sqlite_row_read(sqlite3_stmt *statement, const struct table *table, struct arena *arena,
                         void *row)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < table->columns_len && err == ERR_NONE; i++) {
        const struct column *column = &table->columns[i];
        err = read_field(statement, (int)i, column, arena, (uint8_t *)row + column->offset);
    }
    return err;
}

/* ---- statements over one row ---- */

/* The statement, prepared, with the row bound to it; NULL on failure. */
static enum err ready(struct sqlite_connection *c, const struct table *table, enum sql_kind kind,
                      const void *row, sqlite3_stmt **ret_statement)
{
    struct row_statement *s = &c->rows[table->id][kind];
    if (s->statement == NULL) {
        char text[SQL_TEXT_MAX];
        struct writer w = writer_over(text, sizeof text);
        sql_row_write(&w, &s->binds, kind, table);
        if (w.err != ERR_NONE)
            return ERR_INTERNAL;
        int code = sqlite3_prepare_v3(c->db, text, (int)w.len, SQLITE_PREPARE_PERSISTENT,
                                      &s->statement, NULL);
        if (code != SQLITE_OK)
            return sqlite_err(c->db, code);
    }
    enum err err = ERR_NONE;
    for (size_t i = 0; i < s->binds.len && err == ERR_NONE; i++) {
        size_t number = s->binds.numbers[i];
        err = sqlite_bind(s->statement, (int)i + 1, &table->columns[number],
                          number < table->key_len, row);
    }
    if (err == ERR_NONE)
        *ret_statement = s->statement;
    return err;
}

enum err sqlite_row_get(struct sqlite_connection *c, const struct table *table, struct arena *arena,
                        void *row)
{
    sqlite3_stmt *statement;
    enum err err = ready(c, table, SQL_GET, row, &statement);
    if (err != ERR_NONE)
        return err;
    int code = sqlite3_step(statement);
    err = sqlite_err(c->db, code);
    if (code == SQLITE_DONE)
        err = ERR_NOT_FOUND;
    else if (code == SQLITE_ROW)
        err = sqlite_row_read(statement, table, arena, row);
    (void)sqlite3_reset(statement);
    return err;
}

/* Runs a statement that changes rows. */
static enum err change(struct sqlite_connection *c, const struct table *table, enum sql_kind kind,
                       const void *row)
{
    sqlite3_stmt *statement;
    enum err err = ready(c, table, kind, row, &statement);
    if (err != ERR_NONE)
        return err;
    err = sqlite_err(c->db, sqlite3_step(statement));
    (void)sqlite3_reset(statement);
    if (err == ERR_NONE && sqlite3_changes(c->db) == 0)
        err = ERR_NOT_FOUND;
    return err;
}

enum err sqlite_row_insert(struct sqlite_connection *c, const struct table *table, const void *row)
{
    return change(c, table, SQL_INSERT, row);
}

enum err sqlite_row_update(struct sqlite_connection *c, const struct table *table, const void *row)
{
    /* SQLite rewrites the index entries of every column that an UPDATE names, changed or not. */
    enum err err = change(c, table, SQL_UPDATE_QUIET, row);
    if (err == ERR_NOT_FOUND && sql_table_is_searchable(table))
        err = change(c, table, SQL_UPDATE, row);
    return err;
}

enum err sqlite_row_delete(struct sqlite_connection *c, const struct table *table, const void *row)
{
    return change(c, table, SQL_DELETE, row);
}
