#include "hub/store/postgres_connection.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define RETRY_MS   250  /* between attempts to connect */
#define ATTEMPT_MS 3000 /* for one of them */
#define SETUP_MS   2000

/* A hub that vanished must not keep the others from their turn; a statement that nobody waits for
 * any more must not run on; and an acknowledged write is durable, whatever the server's defaults
 * are. */
static const char settings_sql[] =
    "SELECT set_config('idle_in_transaction_session_timeout', '10s', false), "
    "set_config('statement_timeout', '20s', false), "
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false), "
    "set_config('default_transaction_isolation', 'read committed', false), "
    "set_config('default_transaction_read_only', 'off', false)";

/* ---- connecting ---- */

static void ignore_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message;
}

/* One line of it: the first, the others being hints. But where a name has several addresses, each
 * has a line, and the one that was tried last is the one that listens, if any does. */
static void keep_message(struct pg_connection *c, const char *message)
{
    struct slice kept = slice_of(message, strcspn(message, "\n"));
    while (*message != '\0') {
        size_t len = strcspn(message, "\n");
        if (slice_starts_with(slice_of(message, len), SLICE_LITERAL("connection to server")))
            kept = slice_of(message, len);
        message += len + (message[len] == '\n' ? 1 : 0);
    }
    size_t max = sizeof c->message - 1;
    (void)snprintf(c->message, sizeof c->message, "%.*s", (int)(kept.len < max ? kept.len : max),
                   (const char *)kept.data);
}

void pg_disconnect(struct pg_connection *c)
{
    if (c->conn != NULL)
        PQfinish(c->conn);
    c->conn = NULL;
    c->connected = false;
    c->queued = false;
    c->synced = false;
    memset(c->prepared, 0, sizeof c->prepared);
}

static enum err lose_for(struct pg_connection *c, const char *reason)
{
    if (reason[0] != '\0')
        keep_message(c, reason);
    if (c->connected && c->losses != NULL)
        atomic_fetch_add(c->losses, 1);
    pg_disconnect(c);
    return ERR_UNAVAILABLE;
}

static enum err lose(struct pg_connection *c)
{
    return lose_for(c, c->conn == NULL ? "" : PQerrorMessage(c->conn));
}

/* The server is silent: the connection may be sound or not, but its next answer would be to a
 * question that nobody asks any more. */
static enum err lose_patience(struct pg_connection *c)
{
    return lose_for(c, "the server does not answer");
}

static enum err fail_to_connect(struct pg_connection *c)
{
    c->retry_at = clock_monotonic_ms() + RETRY_MS;
    return lose(c);
}

/* What stands before "dbname", the operator's own words can change: that a peer which vanished is
 * noticed also where nothing is asked of it, and that of several hosts the one is taken which holds
 * what was committed last. What stands after it, they cannot. */
#define PARAMETERS_MAX 10

struct url_parameters {
    const char *keywords[PARAMETERS_MAX + 1];
    const char *values[PARAMETERS_MAX + 1];
};

static struct url_parameters parameters_of(const char *url)
{
    const struct {
        const char *keyword, *value;
    } all[PARAMETERS_MAX] = {
        {"target_session_attrs", "primary"},
        {"connect_timeout", "3"}, /* of pg_is_there(): elsewhere deadlines are ours */
        {"gssencmode",
         "disable"}, /* Kerberos would want the keyring, which the sandbox kills for */
        {"keepalives_idle", "5"},
        {"keepalives_interval", "2"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "5000"},
        {"dbname", url},
        {"client_encoding", "UTF8"},
        {"fallback_application_name", "holdfast-hub"},
    };
    struct url_parameters p = {{NULL}, {NULL}};
    for (size_t i = 0; i < PARAMETERS_MAX; i++) {
        p.keywords[i] = all[i].keyword;
        p.values[i] = all[i].value;
    }
    return p;
}

/* libpq says so in English, as no program of ours sets a locale for messages. */
static bool is_about_trust(const char *message)
{
    return strstr(message, "SSL error") != NULL || strstr(message, "certificate") != NULL ||
           strstr(message, "not support SSL") != NULL;
}

bool pg_is_there(const struct pg_connection *c)
{
    if (is_about_trust(c->message))
        return true;
    const struct url_parameters p = parameters_of(c->url);
    PGPing answer = PQpingParams(p.keywords, p.values, 1);
    return answer != PQPING_NO_RESPONSE && answer != PQPING_REJECT;
}

static enum err start(struct pg_connection *c)
{
    const struct url_parameters p = parameters_of(c->url);
    c->conn = PQconnectStartParams(p.keywords, p.values, 1);
    if (c->conn == NULL)
        return ERR_NO_MEMORY;
    if (PQstatus(c->conn) == CONNECTION_BAD)
        return fail_to_connect(c);
    c->deadline = clock_monotonic_ms() + ATTEMPT_MS;
    c->polling = PGRES_POLLING_WRITING;
    (void)PQsetNoticeProcessor(c->conn, ignore_notice, NULL);
    return ERR_NONE;
}

static int until_ms(int64_t until)
{
    int64_t left = until - clock_monotonic_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static enum err set_up(struct pg_connection *c)
{
    if (PQsetnonblocking(c->conn, 1) != 0 || PQenterPipelineMode(c->conn) != 1)
        return fail_to_connect(c);
    c->connected = true;
    enum err err = pg_exec(c, settings_sql, SETUP_MS);
    return err == ERR_NONE ? err : fail_to_connect(c);
}

enum err pg_connect(struct pg_connection *c, int64_t until)
{
    if (c->connected)
        return ERR_NONE;
    while (c->conn == NULL) {
        int64_t now = clock_monotonic_ms();
        if (now < c->retry_at && c->retry_at >= until)
            return ERR_UNAVAILABLE;
        if (now < c->retry_at)
            (void)poll(NULL, 0, until_ms(c->retry_at));
        enum err err = start(c);
        if (err != ERR_NONE)
            return err;
    }
    for (;;) {
        int64_t now = clock_monotonic_ms();
        if (now >= c->deadline) {
            c->retry_at = now + RETRY_MS;
            return lose_patience(c);
        }
        struct pollfd fd = {.fd = PQsocket(c->conn),
                            .events = c->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int ready = poll(&fd, 1, until_ms(until < c->deadline ? until : c->deadline));
        if (ready <= 0 && clock_monotonic_ms() >= until)
            return ERR_UNAVAILABLE;
        if (ready <= 0)
            continue;
        c->polling = PQconnectPoll(c->conn);
        if (c->polling == PGRES_POLLING_FAILED)
            return fail_to_connect(c);
        if (c->polling == PGRES_POLLING_OK)
            return set_up(c);
    }
}

/* ---- round trips ---- */

void pg_begin_trip(struct pg_connection *c, int64_t milliseconds)
{
    c->deadline = clock_monotonic_ms() + milliseconds;
    c->state[0] = '\0';
}

static enum err sent(struct pg_connection *c, int ok)
{
    c->queued = true;
    return ok == 1 ? ERR_NONE : lose(c);
}

enum err pg_send(struct pg_connection *c, const char *sql)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    return sent(c, PQsendQueryParams(c->conn, sql, 0, NULL, NULL, NULL, NULL, 1));
}

enum err pg_send_text(struct pg_connection *c, const char *sql, const char *parameter)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    return sent(c, PQsendQueryParams(c->conn, sql, 1, NULL, &parameter, NULL, NULL, 0));
}

enum err pg_sync(struct pg_connection *c)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    c->queued = false;
    c->synced = true;
    return PQpipelineSync(c->conn) == 1 ? ERR_NONE : lose(c);
}

/* The next thing that libpq has; NULL ends one statement's results. */
static enum err take(struct pg_connection *c, PGresult **ret_result)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    for (;;) {
        int unsent = PQflush(c->conn);
        if (unsent < 0)
            return lose(c);
        if (PQisBusy(c->conn) == 0) {
            *ret_result = PQgetResult(c->conn);
            return ERR_NONE;
        }
        struct pollfd fd = {.fd = PQsocket(c->conn),
                            .events = (short)(unsent == 1 ? POLLIN | POLLOUT : POLLIN)};
        int ready = poll(&fd, 1, until_ms(c->deadline));
        if (ready <= 0 && clock_monotonic_ms() >= c->deadline)
            return lose_patience(c);
        if (ready > 0 && PQconsumeInput(c->conn) != 1)
            return lose(c);
    }
}

/* Appendix A of PostgreSQL's manual: error codes, by class. */
static enum err err_of_state(const char *state)
{
    static const struct {
        const char *start;
        enum err err;
    } states[] = {
        {"23505", ERR_EXISTS},    {"23", ERR_INTERNAL},     {"22", ERR_INTERNAL},
        {"53100", ERR_DISK_FULL}, {"53200", ERR_NO_MEMORY}, {"53", ERR_BUSY},
        {"55", ERR_BUSY},         {"40", ERR_UNAVAILABLE},  {"57", ERR_UNAVAILABLE},
        {"08", ERR_UNAVAILABLE},  {"25", ERR_UNAVAILABLE},  {"58", ERR_IO},
        {"XX", ERR_IO},
    };
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (strncmp(state, states[i].start, strlen(states[i].start)) == 0)
            return states[i].err;
    return ERR_INTERNAL;
}

enum err pg_next(struct pg_connection *c, PGresult **ret_result)
{
    PGresult *result = NULL;
    int ended = 0;
    while (result == NULL) {
        enum err err = take(c, &result);
        if (err != ERR_NONE)
            return err;
        /* One NULL ends the statement before; two mean that nothing more was asked. */
        if (result == NULL && ++ended > 2)
            return lose(c);
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        *ret_result = result;
        return ERR_NONE;
    }
    enum err err = ERR_IO;
    if (status == PGRES_FATAL_ERROR) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        (void)snprintf(c->state, sizeof c->state, "%.5s", state == NULL ? "08006" : state);
        err = err_of_state(c->state);
        keep_message(c, PQresultErrorMessage(result));
    } else if (status == PGRES_PIPELINE_ABORTED && c->state[0] != '\0') {
        err = err_of_state(c->state);
    }
    PQclear(result);
    return PQstatus(c->conn) == CONNECTION_BAD ? lose(c) : err;
}

enum err pg_finish(struct pg_connection *c)
{
    if (c->queued)
        return lose(c);
    if (!c->synced)
        return c->connected ? ERR_NONE : ERR_UNAVAILABLE;
    for (;;) {
        PGresult *result = NULL;
        enum err err = take(c, &result);
        if (err != ERR_NONE)
            return err;
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC) {
            c->synced = false;
            return ERR_NONE;
        }
        if (PQstatus(c->conn) == CONNECTION_BAD)
            return lose(c);
    }
}

enum err pg_end_trip(struct pg_connection *c, PGresult **ret_result)
{
    PGresult *result = NULL;
    enum err err = pg_sync(c);
    if (err == ERR_NONE)
        err = pg_next(c, &result);
    enum err end = c->connected ? pg_finish(c) : ERR_UNAVAILABLE;
    if (err == ERR_NONE)
        err = end;
    if (err == ERR_NONE)
        *ret_result = result;
    else
        PQclear(result);
    return err;
}

enum err pg_ask(struct pg_connection *c, const char *sql, int64_t milliseconds,
                PGresult **ret_result)
{
    pg_begin_trip(c, milliseconds);
    enum err err = pg_send(c, sql);
    return err == ERR_NONE ? pg_end_trip(c, ret_result) : err;
}

enum err pg_exec(struct pg_connection *c, const char *sql, int64_t milliseconds)
{
    PGresult *result = NULL;
    enum err err = pg_ask(c, sql, milliseconds, &result);
    PQclear(result);
    return err;
}

enum err pg_result_integer(const PGresult *result, int64_t *ret_value)
{
    if (PQntuples(result) == 0)
        return ERR_NONE;
    if (PQnfields(result) < 1 || PQgetlength(result, 0, 0) != 8)
        return ERR_IO;
    const uint8_t *bytes = (const uint8_t *)PQgetvalue(result, 0, 0);
    uint64_t v = 0;
    for (size_t i = 0; i < 8; i++)
        v = v << 8 | bytes[i];
    *ret_value = (int64_t)v;
    return ERR_NONE;
}

enum err pg_integer(struct pg_connection *c, const char *sql, int64_t milliseconds,
                    int64_t *ret_value)
{
    PGresult *result = NULL;
    enum err err = pg_ask(c, sql, milliseconds, &result);
    if (err == ERR_NONE)
        err = pg_result_integer(result, ret_value);
    PQclear(result);
    return err;
}

/* ---- statements ---- */

static void statement_name(char name[24], const struct table *table, enum sql_kind kind)
{
    (void)snprintf(name, 24, "row_%u_%u", table->id, (unsigned)kind);
}

enum err pg_prepare(struct pg_connection *c, const struct table *table, enum sql_kind kind)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    if (c->prepared[table->id][kind])
        return ERR_NONE;
    char text[SQL_TEXT_MAX];
    char name[24];
    struct writer w = writer_over(text, sizeof text);
    sql_row_write(&w, &c->binds[table->id][kind], kind, table);
    writer_u8(&w, '\0');
    if (w.err != ERR_NONE)
        return ERR_INTERNAL;
    statement_name(name, table, kind);
    PGresult *result = NULL;
    enum err err = sent(c, PQsendPrepare(c->conn, name, text, 0, NULL));
    if (err == ERR_NONE)
        err = pg_end_trip(c, &result);
    PQclear(result);
    if (err == ERR_NONE)
        c->prepared[table->id][kind] = true;
    return err;
}

struct parameters {
    const char *values[SQL_BINDS_MAX + 1];
    int lengths[SQL_BINDS_MAX + 1];
    int formats[SQL_BINDS_MAX + 1];
    uint8_t integers[SQL_BINDS_MAX + 1][8];
    uint8_t hex[SQL_BINDS_MAX + 1][SQL_HEX_MAX];
    int len;
};

static void add_bytes(struct parameters *p, struct slice bytes)
{
    p->values[p->len] = bytes.len == 0 ? "" : (const char *)bytes.data;
    p->lengths[p->len] = (int)bytes.len;
    p->formats[p->len++] = 1;
}

static void add_integer(struct parameters *p, int64_t v)
{
    uint8_t *to = p->integers[p->len];
    for (unsigned i = 0; i < 8; i++)
        to[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
    add_bytes(p, slice_of(to, 8));
}

/* pg_row_check() has seen that it is one. */
static void add_hex(struct parameters *p, struct slice text)
{
    size_t len = 0;
    if (sql_hex_bytes(text, p->hex[p->len], &len) != ERR_NONE)
        len = 0;
    add_bytes(p, slice_of(p->hex[p->len], len));
}

static void add_field(struct parameters *p, const struct column *column, bool is_key,
                      const void *row)
{
    static const struct hash none = {0};
    const uint8_t *field = (const uint8_t *)row + column->offset;
    struct slice blob;
    int64_t v;
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_TENANT:
        if (sql_text_stored(column, field, &blob) != ERR_NONE)
            blob = slice_of("", 0); /* pg_row_check() has seen that it is one */
        add_bytes(p, blob);
        break;
    case COLUMN_HEX:
        add_hex(p, slice_of(field, strnlen((const char *)field, column->size)));
        break;
    case COLUMN_INTEGER:
        memcpy(&v, field, sizeof v);
        add_integer(p, v);
        break;
    case COLUMN_HASH:
        add_bytes(p, slice_of(field, SHA256_SIZE));
        if (!is_key && memcmp(field, none.bytes, SHA256_SIZE) == 0)
            p->values[p->len - 1] = NULL;
        break;
    case COLUMN_BLOB:
        memcpy(&blob, field, sizeof blob);
        add_bytes(p, blob);
        break;
    }
}

enum err pg_send_row(struct pg_connection *c, const struct table *table, enum sql_kind kind,
                     const void *row)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    struct parameters p = {.len = 0};
    const struct sql_columns *binds = &c->binds[table->id][kind];
    for (size_t i = 0; i < binds->len; i++)
        add_field(&p, &table->columns[binds->numbers[i]], binds->numbers[i] < table->key_len, row);
    char name[24];
    statement_name(name, table, kind);
    return sent(c, PQsendQueryPrepared(c->conn, name, p.len, p.values, p.lengths, p.formats, 1));
}

enum err pg_send_query(struct pg_connection *c, const struct sql_query *sql, size_t limit)
{
    if (!c->connected)
        return ERR_UNAVAILABLE;
    struct parameters p = {.len = 0};
    for (size_t i = 0; i < sql->binds_len; i++) {
        if (sql->binds[i].column->kind == COLUMN_INTEGER)
            add_integer(&p, sql_bind_integer(&sql->binds[i]));
        else if (sql->binds[i].column->kind == COLUMN_HEX)
            add_hex(&p, sql_bind_bytes(&sql->binds[i]));
        else
            add_bytes(&p, sql_bind_bytes(&sql->binds[i]));
    }
    add_integer(&p, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
    char text[SQL_TEXT_MAX + 1];
    memcpy(text, sql->text, sql->len);
    text[sql->len] = '\0';
    return sent(c,
                PQsendQueryParams(c->conn, text, p.len, NULL, p.values, p.lengths, p.formats, 1));
}
