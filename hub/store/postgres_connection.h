/* One connection to PostgreSQL: always in pipeline mode, every wait with a deadline, parameters and
 * results in binary. What is asked is sent with pg_send*(), then pg_sync(), then each answer is
 * taken with pg_next() and the round trip is over with pg_finish(). */
#ifndef HUB_STORE_POSTGRES_CONNECTION_H
#define HUB_STORE_POSTGRES_CONNECTION_H

#include <libpq-fe.h>
#include <stdatomic.h>

#include "hub/store/database.h"
#include "hub/store/sql.h"

struct pg_connection {
    const char *url;               /* the caller's */
    atomic_uint_least64_t *losses; /* counts connections that were made and lost; may be NULL */
    PGconn *conn;                  /* NULL where there is none */
    bool connected;
    PostgresPollingStatusType polling;
    int64_t retry_at; /* monotonic milliseconds: no attempt to connect begins before */
    int64_t deadline; /* monotonic milliseconds: of the round trip under way */
    bool queued;      /* something was asked, and no pg_sync() sent after it */
    bool synced;      /* pg_finish() has something to wait for */
    char state[6];    /* SQLSTATE of the last error that the server told */
    char message[256];
    bool prepared[TABLE_COUNT][SQL_KIND_COUNT];
    struct sql_columns binds[TABLE_COUNT][SQL_KIND_COUNT];
};

/* Gets on with connecting until the monotonic time `until`; a time that has passed means: one step,
 * without waiting (but for the resolver). ERR_NONE once it is connected, else ERR_UNAVAILABLE. */
MUST_USE enum err pg_connect(struct pg_connection *c, int64_t until);
void pg_disconnect(struct pg_connection *c); /* harmless where it is not connected */
/* After pg_connect() failed: whether a server answers there that is neither starting nor ending,
 * but one of us does not take the other: then waiting helps nothing. Takes up to 3 s for each of
 * its addresses. */
bool pg_is_there(const struct pg_connection *c);

/* ERR_UNAVAILABLE: the connection is lost, or the server ended what was asked (a deadlock, a
 * timeout of its own): whatever was sent and not committed is undone. */
void pg_begin_trip(struct pg_connection *c, int64_t milliseconds);
MUST_USE enum err pg_send(struct pg_connection *c, const char *sql);
MUST_USE enum err pg_send_text(struct pg_connection *c, const char *sql, const char *parameter);
/* Asks for, or changes, the row; prepare it beforehand, as that is a round trip of its own. */
MUST_USE enum err pg_prepare(struct pg_connection *c, const struct table *table,
                             enum sql_kind kind);
MUST_USE enum err pg_send_row(struct pg_connection *c, const struct table *table,
                              enum sql_kind kind, const void *row);
MUST_USE enum err pg_send_query(struct pg_connection *c, const struct sql_query *sql, size_t limit);
MUST_USE enum err pg_sync(struct pg_connection *c);
/* The answer to the next statement; to be cleared by the caller with PQclear(). An error that the
 * server tells becomes an error here: ERR_EXISTS, ERR_DISK_FULL, ERR_INTERNAL, ERR_BUSY, ... */
MUST_USE enum err pg_next(struct pg_connection *c, PGresult **ret_result);
MUST_USE enum err pg_finish(struct pg_connection *c);
/* After the only statement of a trip was sent: sync, its answer as from pg_next(), finish. */
MUST_USE enum err pg_end_trip(struct pg_connection *c, PGresult **ret_result);

/* A round trip for one statement: with its answer (to be cleared by the caller with PQclear()),
 * without, and for one integer (untouched where no row). */
MUST_USE enum err pg_ask(struct pg_connection *c, const char *sql, int64_t milliseconds,
                         PGresult **ret_result);
MUST_USE enum err pg_exec(struct pg_connection *c, const char *sql, int64_t milliseconds);
MUST_USE enum err pg_integer(struct pg_connection *c, const char *sql, int64_t milliseconds,
                             int64_t *ret_value);
MUST_USE enum err pg_result_integer(const PGresult *result, int64_t *ret_value);

/* Can this row be stored? ERR_INTERNAL for a text without end or not UTF-8, ERR_LIMIT for a blob
 * that is too large. Of the first `columns` columns. */
MUST_USE enum err pg_row_check(const struct table *table, size_t columns, const void *row);
/* Fills in a whole row from a line of a result; its blobs are copied to the arena. */
MUST_USE enum err pg_row_read(const PGresult *result, int line, const struct table *table,
                              struct arena *arena, void *row);

#endif
