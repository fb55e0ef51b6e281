/* Reading from PostgreSQL: a connection of its own for each reader. It is used on a loop, so no
 * call waits longer than READ_MS, and none waits for a connection: where it was lost, the next one
 * is made elsewhere (postgres_mender.h), and until then there is no answer. */
#include <stdalign.h>
#include <stdlib.h>

#include "base/clock.h"
#include "hub/store/migrations.h"
#include "hub/store/postgres.h"

#define READ_MS 1000
#define COPY_MS 60000 /* in a snapshot, which no loop waits for */
#define OPEN_MS 3000  /* a new reader may wait: no loop runs with it yet */

struct database_reader {
    struct pg_mender *mender; /* NULL: a snapshot */
    struct pg_slot slot;
    struct pg_connection snapshot; /* which is lost for good with its connection */
    char url[PG_URL_MAX];          /* of a snapshot */
};

enum err pg_reader_open(struct pg_mender *mender, struct database_reader **ret_reader)
{
    struct database_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NO_MEMORY;
    enum err err = pg_slot_open(mender, &r->slot, clock_monotonic_ms() + OPEN_MS);
    if (err != ERR_NONE) {
        free(r);
        return err;
    }
    r->mender = mender;
    *ret_reader = r;
    return ERR_NONE;
}

/* Seen by the first statement after BEGIN. A connection that is lost takes what it saw with it. */
static enum err begin_snapshot(struct pg_connection *c, int64_t *ret_done)
{
    enum err err = pg_exec(c, "SET idle_in_transaction_session_timeout = 0", COPY_MS);
    if (err == ERR_NONE)
        err = pg_exec(c, "SET statement_timeout = 0", COPY_MS);
    if (err == ERR_NONE)
        err = pg_exec(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", COPY_MS);
    if (err == ERR_NONE)
        err = pg_integer(c, "SELECT coalesce(max(number), 0) FROM migration", COPY_MS, ret_done);
    return err;
}

enum err pg_snapshot_open(const char *location, struct database_reader **ret_reader,
                          char explain[256])
{
    int64_t done = 0;
    struct database_reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        explain_set(explain, "out of memory");
        return ERR_NO_MEMORY;
    }
    r->snapshot.url = r->url;
    enum err err = pg_url(location, r->url, explain);
    if (err != ERR_NONE) {
        pg_reader_free(r);
        return err;
    }
    err = pg_connect(&r->snapshot, clock_monotonic_ms() + OPEN_MS);
    if (err == ERR_NONE)
        err = begin_snapshot(&r->snapshot, &done);
    if (err != ERR_NONE)
        explain_set(explain, "can't read the database: %s",
                    r->snapshot.message[0] != '\0' ? r->snapshot.message : err_text(err));
    if (err == ERR_NONE && (uint64_t)done != migrations_len) {
        explain_set(explain, "the database was left by another version of Holdfast: start its hub "
                             "once with this one, or use that one");
        err = ERR_UNSUPPORTED;
    }
    if (err == ERR_NONE)
        *ret_reader = r;
    else
        pg_reader_free(r);
    return err;
}

/* Connected, and the clock of one call runs; NULL while there is no connection. */
static struct pg_connection *begin_call(struct database_reader *r)
{
    bool snapshot = r->mender == NULL;
    struct pg_connection *c = snapshot ? &r->snapshot : pg_slot_take(r->mender, &r->slot);
    if (c == NULL || !c->connected)
        return NULL;
    pg_begin_trip(c, snapshot ? COPY_MS : READ_MS);
    return c;
}

void pg_reader_free(struct database_reader *r)
{
    if (r == NULL)
        return;
    if (r->mender != NULL)
        pg_slot_close(r->mender, &r->slot);
    pg_disconnect(&r->snapshot);
    free(r);
}

enum err pg_reader_get(struct database_reader *r, const struct table *table, struct arena *arena,
                       void *row)
{
    if (pg_row_check(table, table->key_len, row) != ERR_NONE)
        return ERR_NOT_FOUND; /* no such name can have been stored */
    struct pg_connection *c = begin_call(r);
    if (c == NULL)
        return ERR_UNAVAILABLE;
    enum err err = pg_prepare(c, table, SQL_GET);
    if (err == ERR_NONE)
        err = pg_send_row(c, table, SQL_GET, row);
    PGresult *result = NULL;
    if (err == ERR_NONE)
        err = pg_end_trip(c, &result);
    if (err == ERR_NONE)
        err = PQntuples(result) == 0 ? ERR_NOT_FOUND : pg_row_read(result, 0, table, arena, row);
    PQclear(result);
    return err;
}

static enum err run_query(struct database_reader *r, const struct sql_query *sql, size_t limit,
                          PGresult **ret_result)
{
    struct pg_connection *c = begin_call(r);
    if (c == NULL)
        return ERR_UNAVAILABLE;
    enum err err = pg_send_query(c, sql, limit);
    return err == ERR_NONE ? pg_end_trip(c, ret_result) : err;
}

enum err pg_reader_list(struct database_reader *r, const struct store_query *query,
                        struct arena *arena, enum err (*row)(void *ctx, const void *row), void *ctx)
{
    struct sql_query sql;
    enum err err = sql_query_write(&sql, query, false);
    if (err != ERR_NONE || sql.nothing)
        return err;
    PGresult *result = NULL;
    err = run_query(r, &sql, query->limit, &result);
    int lines = err == ERR_NONE ? PQntuples(result) : 0;
    for (int i = 0; i < lines && err == ERR_NONE; i++) {
        alignas(max_align_t) uint8_t bytes[ROW_SIZE_MAX] = {0};
        err = pg_row_read(result, i, query->table, arena, bytes);
        if (err == ERR_NONE)
            err = row(ctx, bytes);
    }
    PQclear(result);
    return err;
}

enum err pg_reader_count(struct database_reader *r, const struct store_query *query,
                         uint64_t *ret_count)
{
    struct sql_query sql;
    int64_t count = 0;
    enum err err = sql_query_write(&sql, query, true);
    if (err != ERR_NONE)
        return err;
    PGresult *result = NULL;
    if (!sql.nothing)
        err = run_query(r, &sql, query->limit, &result);
    if (err == ERR_NONE && result != NULL)
        err = pg_result_integer(result, &count);
    if (err == ERR_NONE)
        *ret_count = (uint64_t)count;
    PQclear(result);
    return err;
}
