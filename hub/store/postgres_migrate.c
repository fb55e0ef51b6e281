/* Bringing the tables of a PostgreSQL database up to date: one hub at a time, all or nothing. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "hub/store/migrations.h"
#include "hub/store/postgres.h"

#define STATEMENT_MS 60000

/* Taken by whoever migrates, until its transaction ends. */
#define LOCK_SQL "SELECT pg_advisory_xact_lock(5208670143246201934)"

static const struct sql_dialect dialect = {
    .text = "TEXT COLLATE \"C\"",
    .integer = "BIGINT",
    .bytes = "BYTEA",
    .compact = "",
    .plain = "",
};

static enum err run_statement(struct pg_connection *c, const char *statement)
{
    char sql[MIGRATION_STATEMENT_MAX];
    struct writer w = writer_over(sql, sizeof sql);
    migration_write(&w, statement, &dialect);
    writer_u8(&w, '\0');
    return w.err != ERR_NONE ? w.err : pg_exec(c, sql, STATEMENT_MS);
}

static enum err run_migration(struct pg_connection *c, size_t number)
{
    const struct migration *m = &migrations[number - 1];
    enum err err = ERR_NONE;
    for (size_t i = 0; i < MIGRATION_STATEMENTS_MAX && err == ERR_NONE; i++) {
        if (m->statements[i] == NULL)
            break;
        err = run_statement(c, m->statements[i]);
    }
    char note[96];
    (void)snprintf(note, sizeof note,
                   "INSERT INTO migration (number, applied_at) VALUES (%zu, %lld)", number,
                   (long long)clock_seconds());
    return err != ERR_NONE ? err : pg_exec(c, note, STATEMENT_MS);
}

enum err pg_migrate(struct pg_connection *c, char explain[256])
{
    int64_t done = 0;
    enum err err = pg_exec(c, "BEGIN", STATEMENT_MS);
    if (err == ERR_NONE)
        err = pg_exec(c, "SET LOCAL statement_timeout = 0", STATEMENT_MS);
    if (err == ERR_NONE)
        err = pg_exec(c, LOCK_SQL, STATEMENT_MS);
    if (err == ERR_NONE)
        err = run_statement(c, migration_table_sql);
    if (err == ERR_NONE)
        err = pg_integer(c, "SELECT coalesce(max(number), 0) FROM migration", STATEMENT_MS, &done);
    if (err == ERR_NONE && (done < 0 || (uint64_t)done > migrations_len)) {
        explain_set(explain,
                    "the database was written by a newer version of Holdfast (migration %lld; this "
                    "one knows %zu): install that one",
                    (long long)done, migrations_len);
        pg_disconnect(c);
        return ERR_UNSUPPORTED;
    }
    for (size_t number = (size_t)done + 1; err == ERR_NONE && number <= migrations_len; number++)
        err = run_migration(c, number);
    if (err == ERR_NONE)
        err = pg_exec(c, "COMMIT", STATEMENT_MS);
    if (err != ERR_NONE) {
        explain_set(explain, "can't bring the tables of the database up to date: %s",
                    c->message[0] != '\0' ? c->message : err_text(err));
        pg_disconnect(c);
    }
    return err;
}
