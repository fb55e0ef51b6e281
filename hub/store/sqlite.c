/* The store over an SQLite file: write-ahead log, one connection that writes, one that
 * checkpoints, one for each reader. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "hub/store/migrations.h"
#include "hub/store/sqlite_reader.h"
#include "hub/store/sqlite_wal.h"

/* A log that one long reader made grow is cut back to this when it starts over. */
#define LOG_FILE_LIMIT "67108864"

/* What the writer says between changes, some of it for each write: prepared once. */
enum step {
    STEP_BEGIN,
    STEP_SAVEPOINT,
    STEP_RELEASE,
    STEP_ROLLBACK,
    STEP_COMMIT,
    STEP_ABANDON, /* must not fail for want of memory to parse it */
    STEP_COUNT
};

static const char *const step_texts[STEP_COUNT] = {
    [STEP_BEGIN] = "BEGIN IMMEDIATE", [STEP_SAVEPOINT] = "SAVEPOINT one",
    [STEP_RELEASE] = "RELEASE one",   [STEP_ROLLBACK] = "ROLLBACK TO one",
    [STEP_COMMIT] = "COMMIT",         [STEP_ABANDON] = "ROLLBACK",
};

struct database {
    char path[PATH_MAX];
    char log_path[PATH_MAX];
    int lock_fd;
    struct sqlite_connection writer;
    sqlite3_stmt *steps[STEP_COUNT];
    struct sqlite_wal wal;
};

static const struct sql_dialect dialect = {
    .text = "TEXT",
    .integer = "INTEGER",
    .bytes = "BLOB",
    .compact = "STRICT, WITHOUT ROWID",
    .plain = "STRICT",
};

/* ---- opening ---- */

static enum err set_paths(struct database *db, const char *location, char explain[256])
{
    size_t len = strlen(location);
    if (len == 0 || len + sizeof "-wal" > sizeof db->path) {
        explain_set(explain, "the store's URL needs a path: sqlite:/var/lib/holdfast/hub.db");
        return ERR_SYNTAX;
    }
    (void)snprintf(db->path, sizeof db->path, "%s", location);
    (void)snprintf(db->log_path, sizeof db->log_path, "%.*s-wal", (int)len, location);
    return ERR_NONE;
}

/* One hub to a file. The lock is on a file of its own: closing any descriptor of the database
 * itself would drop the locks that SQLite holds on it. */
static enum err take_lock(struct database *db, char explain[256])
{
    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s-lock", db->path);
    db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (db->lock_fd < 0) {
        explain_set(explain, "can't write to the folder of %.150s: %s", db->path, strerror(errno));
        return errno == ENOSPC ? ERR_DISK_FULL : ERR_IO;
    }
    if (flock(db->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        explain_set(explain, "%.150s is in use by another hub; stop that one first", db->path);
        return ERR_BUSY;
    }
    /* SQLite would make it readable by all. */
    int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        explain_set(explain, "can't open %.150s: %s", db->path, strerror(errno));
        return errno == ENOSPC ? ERR_DISK_FULL : ERR_IO;
    }
    (void)close(fd);
    return ERR_NONE;
}

static enum err check_application(struct database *db, char explain[256])
{
    int64_t tables = 0;
    int64_t application = 0;
    enum err err = sqlite_integer(&db->writer, "SELECT count(*) FROM sqlite_schema", &tables);
    if (err == ERR_NONE)
        err = sqlite_integer(&db->writer, "PRAGMA application_id", &application);
    if (err != ERR_NONE) {
        explain_set(explain, "can't read %.120s (%s); restore it from a backup", db->path,
                    sqlite3_errmsg(db->writer.db));
        return err;
    }
    if (application == SQLITE_APPLICATION_ID)
        return ERR_NONE;
    if (tables != 0) {
        explain_set(explain, "%.150s is a database of some other program", db->path);
        return ERR_UNSUPPORTED;
    }
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA application_id = %d", SQLITE_APPLICATION_ID);
    err = sqlite_exec(&db->writer, sql);
    if (err != ERR_NONE)
        explain_set(explain, "can't write to %.150s: %s", db->path, sqlite3_errmsg(db->writer.db));
    return err;
}

static enum err use_log(struct database *db, char explain[256])
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->writer.db, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    const unsigned char *mode = code == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    bool is_wal = mode != NULL && strcmp((const char *)mode, "wal") == 0;
    enum err err = sqlite_err(db->writer.db, code);
    (void)sqlite3_finalize(statement);
    if (err == ERR_NONE && !is_wal)
        err = ERR_UNSUPPORTED;
    if (err == ERR_NONE)
        err = sqlite_exec(&db->writer, "PRAGMA journal_size_limit = " LOG_FILE_LIMIT);
    if (err != ERR_NONE)
        explain_set(explain,
                    "%.120s can't have a write-ahead log (%s); put it on a local file system",
                    db->path, err_text(err));
    return err;
}

/* ---- transactions ---- */

static enum err prepare_steps(struct database *db, char explain[256])
{
    int code = SQLITE_OK;
    for (size_t i = 0; i < STEP_COUNT && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(db->writer.db, step_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &db->steps[i], NULL);
    enum err err = sqlite_err(db->writer.db, code);
    if (err != ERR_NONE)
        explain_set(explain, "can't use %.150s: %s", db->path, err_text(err));
    return err;
}

static enum err run_step(struct database *db, enum step step)
{
    enum err err = sqlite_err(db->writer.db, sqlite3_step(db->steps[step]));
    (void)sqlite3_reset(db->steps[step]);
    return err;
}

/* After some errors SQLite has rolled back by itself. */
static void roll_back(struct database *db)
{
    if (sqlite3_get_autocommit(db->writer.db) != 0)
        return;
    (void)sqlite3_step(db->steps[STEP_ABANDON]);
    (void)sqlite3_reset(db->steps[STEP_ABANDON]);
}

/* ---- migrations ---- */

static enum err run_statement(struct database *db, const char *statement)
{
    char sql[MIGRATION_STATEMENT_MAX];
    struct writer w = writer_over(sql, sizeof sql);
    migration_write(&w, statement, &dialect);
    writer_u8(&w, '\0');
    return w.err != ERR_NONE ? w.err : sqlite_exec(&db->writer, sql);
}

static enum err run_migration(struct database *db, size_t number)
{
    const struct migration *m = &migrations[number - 1];
    enum err err = ERR_NONE;
    for (size_t i = 0; i < MIGRATION_STATEMENTS_MAX && err == ERR_NONE; i++) {
        if (m->statements[i] == NULL)
            break;
        err = run_statement(db, m->statements[i]);
    }
    char note[96];
    (void)snprintf(note, sizeof note,
                   "INSERT INTO migration (number, applied_at) VALUES (%zu, %lld)", number,
                   (long long)clock_seconds());
    return err != ERR_NONE ? err : sqlite_exec(&db->writer, note);
}

static enum err migrate(struct database *db, char explain[256])
{
    int64_t done = 0;
    enum err err = run_step(db, STEP_BEGIN);
    if (err == ERR_NONE)
        err = run_statement(db, migration_table_sql);
    if (err == ERR_NONE)
        err = sqlite_integer(&db->writer, "SELECT coalesce(max(number), 0) FROM migration", &done);
    if (err == ERR_NONE && (done < 0 || (uint64_t)done > migrations_len)) {
        explain_set(explain,
                    "%.100s was written by a newer version of Holdfast (migration %lld; this one "
                    "knows %zu): install that one",
                    db->path, (long long)done, migrations_len);
        roll_back(db);
        return ERR_UNSUPPORTED;
    }
    for (size_t number = (size_t)done + 1; err == ERR_NONE && number <= migrations_len; number++)
        err = run_migration(db, number);
    if (err == ERR_NONE)
        err = run_step(db, STEP_COMMIT);
    if (err != ERR_NONE) {
        explain_set(explain, "can't bring the tables of %.100s up to date: %s", db->path,
                    sqlite3_errmsg(db->writer.db));
        roll_back(db);
    }
    return err;
}

/* ---- life ---- */

static int on_commit(void *ctx, sqlite3 *connection, const char *name, int frames)
{
    struct database *db = ctx;
    (void)connection;
    (void)name;
    sqlite_wal_note(&db->wal, frames);
    return SQLITE_OK;
}

static void sqlite_close(struct database *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < STEP_COUNT; i++)
        (void)sqlite3_finalize(db->steps[i]);
    sqlite_wal_free(&db->wal);
    sqlite_connection_close(&db->writer);
    if (db->lock_fd >= 0)
        (void)close(db->lock_fd);
    free(db);
}

static enum err sqlite_open(const char *location, struct database **ret_db, char explain[256])
{
    struct database *db = calloc(1, sizeof *db);
    if (db == NULL) {
        explain_set(explain, "out of memory");
        return ERR_NO_MEMORY;
    }
    db->lock_fd = -1;
    enum err err = set_paths(db, location, explain);
    if (err == ERR_NONE)
        err = take_lock(db, explain);
    if (err != ERR_NONE)
        goto out;
    err = sqlite_connection_open(&db->writer, db->path, SQLITE_ROLE_WRITER);
    if (err != ERR_NONE) {
        explain_set(explain, "can't read %.150s (%s); if it is damaged, restore it from a backup",
                    db->path, err_text(err));
        goto out;
    }
    err = check_application(db, explain);
    if (err == ERR_NONE)
        err = use_log(db, explain);
    if (err == ERR_NONE)
        err = prepare_steps(db, explain);
    if (err == ERR_NONE)
        err = migrate(db, explain);
    if (err != ERR_NONE)
        goto out;
    err = sqlite_wal_init(&db->wal, db->path);
    if (err != ERR_NONE)
        explain_set(explain, "can't open %.150s once more: %s", db->path, err_text(err));
    else
        (void)sqlite3_wal_hook(db->writer.db, on_commit, db);
out:
    if (err != ERR_NONE)
        sqlite_close(db);
    else
        *ret_db = db;
    return err;
}

static enum err sqlite_start(struct database *db)
{
    return sqlite_wal_start(&db->wal);
}

static void sqlite_stop(struct database *db)
{
    sqlite_wal_stop(&db->wal);
}

static uint64_t sqlite_log_bytes(struct database *db)
{
    struct stat st;
    return stat(db->log_path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* ---- the writer ---- */

static enum err sqlite_begin(struct database *db)
{
    sqlite_wal_enter(&db->wal);
    enum err err = run_step(db, STEP_BEGIN);
    if (err != ERR_NONE)
        sqlite_wal_leave(&db->wal);
    return err;
}

static void sqlite_abandon(struct database *db)
{
    roll_back(db);
    sqlite_wal_leave(&db->wal);
}

static bool sqlite_is_lost(struct database *db)
{
    return sqlite3_get_autocommit(db->writer.db) != 0;
}

static enum err sqlite_savepoint(struct database *db)
{
    return run_step(db, STEP_SAVEPOINT);
}

static enum err sqlite_release(struct database *db)
{
    return run_step(db, STEP_RELEASE);
}

static enum err sqlite_rollback(struct database *db)
{
    enum err err = run_step(db, STEP_ROLLBACK); /* which leaves the savepoint itself */
    return err == ERR_NONE ? run_step(db, STEP_RELEASE) : err;
}

static enum err sqlite_commit(struct database *db)
{
    enum err err = run_step(db, STEP_COMMIT);
    if (err == ERR_NONE)
        sqlite_wal_leave(&db->wal);
    return err;
}

static enum err sqlite_get(struct database *db, const struct table *table, struct arena *arena,
                           void *row)
{
    return sqlite_row_get(&db->writer, table, arena, row);
}

static enum err sqlite_insert(struct database *db, const struct table *table, const void *row)
{
    return sqlite_row_insert(&db->writer, table, row);
}

static enum err sqlite_update(struct database *db, const struct table *table, const void *row)
{
    return sqlite_row_update(&db->writer, table, row);
}

static enum err sqlite_delete(struct database *db, const struct table *table, const void *row)
{
    return sqlite_row_delete(&db->writer, table, row);
}

static enum err sqlite_reader_new(struct database *db, struct database_reader **ret_reader)
{
    return sqlite_reader_open(db->path, ret_reader);
}

const struct database_ops database_sqlite = {
    .scheme = "sqlite:",
    .one_hub = true,
    .kind = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .start = sqlite_start,
    .stop = sqlite_stop,
    .log_bytes = sqlite_log_bytes,
    .begin = sqlite_begin,
    .is_lost = sqlite_is_lost,
    .savepoint = sqlite_savepoint,
    .release = sqlite_release,
    .rollback = sqlite_rollback,
    .commit = sqlite_commit,
    .abandon = sqlite_abandon,
    .get = sqlite_get,
    .insert = sqlite_insert,
    .update = sqlite_update,
    .delete = sqlite_delete,
    .reader_new = sqlite_reader_new,
    .reader_free = sqlite_reader_free,
    .reader_get = sqlite_reader_get,
    .reader_list = sqlite_reader_list,
    .reader_count = sqlite_reader_count,
    .snapshot_new = sqlite_snapshot_open,
};
