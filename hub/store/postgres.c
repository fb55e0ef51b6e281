/* The store over PostgreSQL. The hubs that share a database take turns: a transaction begins with a
 * lock that all of them want, so each sees what the others committed and the ledger does not fork.
 * Within a turn, rows are read in one round trip (prefetch), changed in memory, and sent with the
 * COMMIT in one more. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "hub/store/postgres.h"
#include "hub/store/postgres_cache.h"
#include "hub/store/postgres_watch.h"

#define CONNECT_MS      2000  /* what a batch waits for a database that is gone */
#define TRIP_MS         5000  /* for one round trip */
#define TURN_MS         12000 /* for our turn: longer than a hub that vanished can keep it */
#define COMMIT_MS       10000 /* for a whole batch to become durable */
#define LOOKUP_MS       15000 /* to find out what became of a commit */
#define LOOKUP_PAUSE_MS 100

/* The turn. Ends with the transaction, after its changes can be seen. */
#define TURN_SQL "SELECT pg_advisory_xact_lock(5208670143246201933)"
#define ID_SQL   "SELECT pg_current_xact_id()::text::bigint"

struct database {
    char url[PG_URL_MAX];
    struct pg_connection c;
    struct pg_cache cache;
    struct pg_watch watch;
    int64_t id;     /* of the transaction */
    bool lost;      /* nothing more comes of it */
    bool look;      /* in this transaction inserts look first ... */
    bool look_next; /* ... and in the next one */
};

/* ---- life ---- */

static void postgres_close(struct database *db)
{
    if (db == NULL)
        return;
    pg_disconnect(&db->c);
    pg_cache_free(&db->cache);
    pg_watch_destroy(&db->watch);
    free(db);
}

static enum err check_encoding(struct database *db, char explain[256])
{
    int64_t utf8 = 0;
    enum err err =
        pg_integer(&db->c, "SELECT (current_setting('server_encoding') = 'UTF8')::int::bigint",
                   TRIP_MS, &utf8);
    if (err != ERR_NONE)
        explain_set(explain, "can't use the database: %s", db->c.message);
    else if (utf8 != 1) {
        explain_set(explain, "the database is not in UTF-8: create it with ENCODING 'UTF8'");
        err = ERR_UNSUPPORTED;
    }
    return err;
}

/* "postgresql://..." is a URL that libpq reads; after "postgresql:" stands what it calls a
 * connection string. */
enum err pg_url(const char *location, char ret_url[PG_URL_MAX], char explain[256])
{
    bool is_url = strncmp(location, "//", 2) == 0;
    if (location[0] == '\0' || strlen(location) + sizeof "postgresql:" > PG_URL_MAX) {
        explain_set(explain, "the store's URL needs a database: postgresql://USER@HOST/DATABASE");
        return ERR_SYNTAX;
    }
    (void)snprintf(ret_url, PG_URL_MAX, "%s%s", is_url ? "postgresql:" : "", location);
    return ERR_NONE;
}

/* ERR_UNAVAILABLE where it is worth while to wait. */
static enum err connect_first(struct database *db, char explain[256])
{
    enum err err = pg_connect(&db->c, clock_monotonic_ms() + TRIP_MS);
    if (err == ERR_NONE)
        return err;
    explain_set(explain, "can't connect to the database: %s", db->c.message);
    return err == ERR_UNAVAILABLE && pg_is_there(&db->c) ? ERR_REFUSED : err;
}

static enum err postgres_open(const char *location, struct database **ret_db, char explain[256])
{
    struct database *db = calloc(1, sizeof *db);
    if (db == NULL) {
        explain_set(explain, "out of memory");
        return ERR_NO_MEMORY;
    }
    db->c.url = db->url;
    enum err err = pg_watch_init(&db->watch, db->url);
    if (err != ERR_NONE) {
        explain_set(explain, "too many open files");
        free(db);
        return err;
    }
    db->c.losses = &db->watch.losses;
    err = pg_cache_init(&db->cache);
    if (err != ERR_NONE)
        explain_set(explain, "out of memory");
    if (err == ERR_NONE)
        err = pg_url(location, db->url, explain);
    if (err == ERR_NONE)
        err = connect_first(db, explain);
    if (err == ERR_NONE)
        err = check_encoding(db, explain);
    if (err == ERR_NONE)
        err = pg_migrate(&db->c, explain);
    if (err == ERR_NONE)
        *ret_db = db;
    else
        postgres_close(db);
    return err;
}

static enum err postgres_start(struct database *db)
{
    return pg_watch_start(&db->watch);
}

static void postgres_stop(struct database *db)
{
    pg_watch_stop(&db->watch);
}

static void postgres_set_watch(struct database *db, void (*changed)(void *ctx), void *ctx)
{
    db->watch.changed = changed;
    db->watch.ctx = ctx;
}

static int64_t postgres_seen_ms(const struct database *db)
{
    return atomic_load(&db->watch.seen_ms);
}

static bool postgres_is_away(struct database *db, char explain[256])
{
    return pg_watch_is_away(&db->watch, explain);
}

static uint64_t postgres_losses(struct database *db)
{
    return atomic_load(&db->watch.losses);
}

static uint64_t postgres_log_bytes(struct database *db)
{
    (void)db;
    return 0; /* the server's own care */
}

/* ---- transactions ---- */

static enum err next_ignored(struct pg_connection *c)
{
    PGresult *result = NULL;
    enum err err = pg_next(c, &result);
    PQclear(result);
    return err;
}

/* Ends the round trip; what failed first counts. */
static enum err finish(struct database *db, enum err err)
{
    enum err end = db->c.connected ? pg_finish(&db->c) : ERR_UNAVAILABLE;
    if (err == ERR_NONE)
        err = end;
    if (err != ERR_NONE)
        db->lost = true;
    return err;
}

static void postgres_abandon(struct database *db)
{
    if (db->c.connected && pg_exec(&db->c, "ROLLBACK", TRIP_MS) != ERR_NONE)
        pg_disconnect(&db->c);
    pg_cache_reset(&db->cache);
}

static enum err postgres_begin(struct database *db)
{
    pg_cache_reset(&db->cache);
    db->lost = false;
    db->look = db->look_next;
    db->look_next = false;
    enum err err = pg_connect(&db->c, clock_monotonic_ms() + CONNECT_MS);
    if (err != ERR_NONE)
        return err;
    atomic_store(&db->watch.writer_pid, PQbackendPID(db->c.conn));
    pg_begin_trip(&db->c, TURN_MS);
    err = pg_send(&db->c, "BEGIN");
    if (err == ERR_NONE)
        err = pg_send(&db->c, TURN_SQL);
    if (err == ERR_NONE)
        err = pg_send(&db->c, ID_SQL);
    if (err == ERR_NONE)
        err = pg_sync(&db->c);
    if (err == ERR_NONE)
        err = next_ignored(&db->c);
    if (err == ERR_NONE)
        err = next_ignored(&db->c);
    PGresult *result = NULL;
    if (err == ERR_NONE)
        err = pg_next(&db->c, &result);
    if (err == ERR_NONE)
        err = pg_result_integer(result, &db->id);
    PQclear(result);
    err = finish(db, err);
    if (err != ERR_NONE)
        postgres_abandon(db);
    return err;
}

static bool postgres_is_lost(struct database *db)
{
    return db->lost;
}

/* ---- reading ---- */

static enum err learn(struct database *db, struct cached_row *entry)
{
    PGresult *result = NULL;
    enum err err = pg_next(&db->c, &result);
    if (err != ERR_NONE)
        return err;
    void *row = NULL;
    if (PQntuples(result) > 0) {
        row = arena_alloc(db->cache.arena, entry->table->row_size);
        err = row == NULL ? ERR_NO_MEMORY
                          : pg_row_read(result, 0, entry->table, db->cache.arena, row);
    }
    if (err == ERR_NONE)
        pg_cache_learn(entry, row);
    PQclear(result);
    return err;
}

static enum err ask(struct database *db, const struct cached_row *entry)
{
    return pg_send_row(&db->c, entry->table, SQL_GET, entry->row);
}

/* The entry, with what is in the database looked up unless it is known. */
static enum err look_up(struct database *db, const struct table *table, const void *row,
                        struct cached_row **ret_entry)
{
    struct cached_row *entry = NULL;
    enum err err = pg_cache_entry(&db->cache, table, row, &entry);
    if (err != ERR_NONE)
        return err;
    if (entry->now == ROW_UNKNOWN) {
        pg_begin_trip(&db->c, TRIP_MS);
        err = pg_prepare(&db->c, table, SQL_GET);
        if (err == ERR_NONE)
            err = ask(db, entry);
        if (err == ERR_NONE)
            err = pg_sync(&db->c);
        if (err == ERR_NONE)
            err = learn(db, entry);
        err = finish(db, err);
    }
    if (err == ERR_NONE)
        *ret_entry = entry;
    return err;
}

static enum err postgres_prefetch(struct database *db, const struct keyset *keys)
{
    struct cached_row **asked = calloc(keys->len + 1, sizeof(struct cached_row *));
    size_t len = 0;
    enum err err = asked == NULL ? ERR_NO_MEMORY : ERR_NONE;
    pg_begin_trip(&db->c, TRIP_MS);
    for (size_t i = 0; i < keys->len && err == ERR_NONE; i++) {
        const struct keyset_key *key = &keys->keys[i];
        if (pg_row_check(key->table, key->table->key_len, key->row) != ERR_NONE)
            continue;
        err = pg_prepare(&db->c, key->table, SQL_GET);
        if (err == ERR_NONE)
            err = pg_cache_entry(&db->cache, key->table, key->row, &asked[len]);
        if (err != ERR_NONE || asked[len]->touched)
            continue;
        asked[len]->touched = true; /* named twice, asked once */
        len++;
    }
    for (size_t i = 0; i < len; i++) {
        asked[i]->touched = false;
        if (err == ERR_NONE)
            err = ask(db, asked[i]);
    }
    if (err == ERR_NONE && len > 0) {
        err = pg_sync(&db->c);
        for (size_t i = 0; i < len && err == ERR_NONE; i++)
            err = learn(db, asked[i]);
        err = finish(db, err);
    }
    free(asked);
    if (err != ERR_NONE)
        db->lost = true;
    return err;
}

static enum err postgres_get(struct database *db, const struct table *table, struct arena *arena,
                             void *row)
{
    struct cached_row *entry = NULL;
    if (pg_row_check(table, table->key_len, row) != ERR_NONE)
        return ERR_NOT_FOUND;
    enum err err = look_up(db, table, row, &entry);
    if (err != ERR_NONE)
        return err;
    if (entry->now != ROW_PRESENT)
        return ERR_NOT_FOUND;
    return pg_row_copy(table, entry->row, arena, row);
}

/* ---- changing ---- */

static enum err postgres_insert(struct database *db, const struct table *table, const void *row)
{
    struct cached_row *entry = NULL;
    enum err err = pg_row_check(table, table->columns_len, row);
    if (err == ERR_NONE)
        err = db->look ? look_up(db, table, row, &entry)
                       : pg_cache_entry(&db->cache, table, row, &entry);
    if (err != ERR_NONE)
        return err;
    return entry->now == ROW_PRESENT ? ERR_EXISTS : pg_cache_change(&db->cache, entry, row);
}

static enum err change(struct database *db, const struct table *table, const void *row,
                       const void *after)
{
    struct cached_row *entry = NULL;
    enum err err = look_up(db, table, row, &entry);
    if (err != ERR_NONE)
        return err;
    return entry->now != ROW_PRESENT ? ERR_NOT_FOUND : pg_cache_change(&db->cache, entry, after);
}

static enum err postgres_update(struct database *db, const struct table *table, const void *row)
{
    enum err err = pg_row_check(table, table->columns_len, row);
    return err != ERR_NONE ? err : change(db, table, row, row);
}

static enum err postgres_delete(struct database *db, const struct table *table, const void *row)
{
    enum err err = pg_row_check(table, table->key_len, row);
    return err != ERR_NONE ? err : change(db, table, row, NULL);
}

static enum err postgres_savepoint(struct database *db)
{
    pg_cache_savepoint(&db->cache);
    return ERR_NONE;
}

static enum err postgres_release(struct database *db)
{
    (void)db;
    return ERR_NONE;
}

static enum err postgres_rollback(struct database *db)
{
    pg_cache_rollback(&db->cache);
    return ERR_NONE;
}

/* ---- committing ---- */

/* What takes a row from what it was to what it is; SQL_KIND_COUNT: nothing. */
static enum sql_kind change_of(const struct cached_row *e)
{
    if (!e->changed)
        return SQL_KIND_COUNT;
    if (e->now == ROW_PRESENT)
        return e->before == ROW_PRESENT ? SQL_UPDATE : SQL_INSERT;
    return e->before == ROW_PRESENT ? SQL_DELETE : SQL_KIND_COUNT;
}

/* The answer to our COMMIT was lost: what became of it? Only a clear answer counts. */
static enum err look_for_commit(struct database *db)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRId64, db->id);
    int64_t until = clock_monotonic_ms() + LOOKUP_MS;
    while (clock_monotonic_ms() < until) {
        PGresult *result = NULL;
        bool committed = false;
        bool aborted = false;
        enum err err = pg_connect(&db->c, until);
        pg_begin_trip(&db->c, TRIP_MS);
        if (err == ERR_NONE)
            err = pg_send_text(&db->c, "SELECT pg_xact_status($1::xid8)", id);
        if (err == ERR_NONE)
            err = pg_sync(&db->c);
        if (err == ERR_NONE)
            err = pg_next(&db->c, &result);
        if (err == ERR_NONE && PQntuples(result) == 1) {
            committed = strcmp(PQgetvalue(result, 0, 0), "committed") == 0;
            aborted = strcmp(PQgetvalue(result, 0, 0), "aborted") == 0;
        }
        PQclear(result);
        if (db->c.connected && pg_finish(&db->c) != ERR_NONE)
            pg_disconnect(&db->c);
        if (committed)
            return ERR_NONE;
        if (aborted)
            return ERR_UNAVAILABLE;
        (void)poll(NULL, 0, LOOKUP_PAUSE_MS);
    }
    return ERR_IN_DOUBT;
}

/* With a word to the other hubs at their end. */
static enum err send_changes(struct database *db)
{
    enum err err = ERR_NONE;
    bool any = false;
    for (struct cached_row *e = db->cache.touched; e != NULL && err == ERR_NONE;
         e = e->next_touched)
        if (change_of(e) != SQL_KIND_COUNT)
            err = pg_prepare(&db->c, e->table, change_of(e));
    for (struct cached_row *e = db->cache.touched; e != NULL && err == ERR_NONE;
         e = e->next_touched)
        if (change_of(e) != SQL_KIND_COUNT) {
            err = pg_send_row(&db->c, e->table, change_of(e), e->row);
            any = true;
        }
    return err == ERR_NONE && any ? pg_send(&db->c, PG_NOTIFY_SQL) : err;
}

static enum err check_changes(struct database *db)
{
    enum err err = ERR_NONE;
    bool any = false;
    for (struct cached_row *e = db->cache.touched; e != NULL && err == ERR_NONE;
         e = e->next_touched) {
        if (change_of(e) == SQL_KIND_COUNT)
            continue;
        err = next_ignored(&db->c);
        any = true;
    }
    return err == ERR_NONE && any ? next_ignored(&db->c) : err;
}

/* An insert that was taken back without a look: had the row been there, it should have failed. */
static bool is_guess(const struct database *db)
{
    for (const struct cached_row *e = db->cache.touched; e != NULL; e = e->next_touched)
        if (e->changed && e->before == ROW_UNKNOWN && e->now == ROW_ABSENT)
            return true;
    return false;
}

static enum err postgres_commit(struct database *db)
{
    if (is_guess(db)) {
        db->look_next = true;
        return ERR_CONFLICT;
    }
    pg_begin_trip(&db->c, COMMIT_MS);
    enum err err = send_changes(db);
    if (err != ERR_NONE)
        return finish(db, err);
    err = pg_send(&db->c, "COMMIT");
    if (err == ERR_NONE)
        err = pg_sync(&db->c);
    if (err == ERR_NONE)
        err = check_changes(db);
    PGresult *result = NULL;
    bool committed = false;
    if (err == ERR_NONE)
        err = pg_next(&db->c, &result);
    if (err == ERR_NONE)
        committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
    PQclear(result);
    if (committed) {
        if (pg_finish(&db->c) != ERR_NONE)
            pg_disconnect(&db->c); /* it is durable all the same */
        return ERR_NONE;
    }
    if (!db->c.connected)
        return look_for_commit(db);
    err = finish(db, err == ERR_NONE ? ERR_IO : err);
    if (err == ERR_EXISTS && !db->look) {
        db->look_next = true;
        return ERR_CONFLICT;
    }
    return err == ERR_EXISTS ? ERR_INTERNAL : err;
}

static enum err postgres_reader_new(struct database *db, struct database_reader **ret_reader)
{
    return pg_reader_open(&db->watch.mender, ret_reader);
}

const struct database_ops database_postgres = {
    .scheme = "postgresql:",
    .kind = "postgresql",
    .open = postgres_open,
    .close = postgres_close,
    .start = postgres_start,
    .stop = postgres_stop,
    .log_bytes = postgres_log_bytes,
    .set_watch = postgres_set_watch,
    .seen_ms = postgres_seen_ms,
    .is_away = postgres_is_away,
    .losses = postgres_losses,
    .begin = postgres_begin,
    .is_lost = postgres_is_lost,
    .prefetch = postgres_prefetch,
    .savepoint = postgres_savepoint,
    .release = postgres_release,
    .rollback = postgres_rollback,
    .commit = postgres_commit,
    .abandon = postgres_abandon,
    .get = postgres_get,
    .insert = postgres_insert,
    .update = postgres_update,
    .delete = postgres_delete,
    .reader_new = postgres_reader_new,
    .reader_free = pg_reader_free,
    .reader_get = pg_reader_get,
    .reader_list = pg_reader_list,
    .reader_count = pg_reader_count,
    .snapshot_new = pg_snapshot_open,
};
