/* A store in a folder of its own, writes that are waited for, and system calls that fail. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "hub/store/store.h"

/* Set by tests/unit/with_postgres.py: the same tests run over PostgreSQL then. */
static inline const char *fixture_postgres(void)
{
    return getenv("STORE_TEST_POSTGRES");
}

static inline void postgres_sql(const char *sql)
{
    PGconn *conn = PQconnectdb(fixture_postgres());
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        print_error("%s: %s\n", sql, PQerrorMessage(conn));
    assert_true(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(conn);
}

struct fixture {
    char folder[64];
    char path[80];
    char url[256];
    struct store *store;
    struct store_reader *reader;
    struct arena *arena;
};

static inline void fixture_make(struct fixture *f)
{
    *f = (struct fixture){0};
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/test-store-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->path, sizeof f->path, "%.63s/hub.db", f->folder);
    (void)snprintf(f->url, sizeof f->url, "sqlite:%s", f->path);
    if (fixture_postgres() != NULL) {
        (void)snprintf(f->url, sizeof f->url, "postgresql:%s", fixture_postgres());
        postgres_sql("SET client_min_messages = error; DROP SCHEMA public CASCADE; "
                     "CREATE SCHEMA public");
    }
    f->arena = arena_new((size_t)16 << 20);
    assert_non_null(f->arena);
}

static inline void fixture_open(struct fixture *f)
{
    char explain[256] = "";
    enum err err = store_open(f->url, &f->store, explain);
    if (err != ERR_NONE)
        print_error("store_open: %s: %s\n", err_text(err), explain);
    assert_int_equal(err, ERR_NONE);
    assert_int_equal(store_reader_new(f->store, &f->reader), ERR_NONE);
}

static inline void fixture_close(struct fixture *f)
{
    store_reader_free(f->reader);
    store_close(f->store);
    f->reader = NULL;
    f->store = NULL;
}

static inline void fixture_remove(struct fixture *f)
{
    static const char *const names[] = {"hub.db", "hub.db-wal", "hub.db-shm", "hub.db-lock"};
    fixture_close(f);
    arena_free(f->arena);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%.63s/%s", f->folder, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0);
}

/* A write whose apply() is a function over a context. */
struct step {
    struct write write; /* first */
    enum err (*run)(struct step *step, struct tx *tx);
    void *ctx;
    unsigned runs;
    unsigned ends;
};

static pthread_mutex_t step_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t step_ended = PTHREAD_COND_INITIALIZER;

static inline enum err step_apply(struct write *w, struct tx *tx)
{
    struct step *step = (struct step *)(void *)w;
    step->runs++;
    return step->run(step, tx);
}

static inline void step_done(struct write *w)
{
    struct step *step = (struct step *)(void *)w;
    pthread_mutex_lock(&step_lock);
    step->ends++;
    pthread_cond_broadcast(&step_ended);
    pthread_mutex_unlock(&step_lock);
}

static const struct write_kind step_kinds[STORE_LANE_COUNT] = {
    [STORE_LANE_PRIORITY] = {.name = "test.priority",
                             .lane = STORE_LANE_PRIORITY,
                             .apply = step_apply,
                             .done = step_done},
    [STORE_LANE_NORMAL] = {.name = "test.normal",
                           .lane = STORE_LANE_NORMAL,
                           .apply = step_apply,
                           .done = step_done},
    [STORE_LANE_BULK] = {.name = "test.bulk",
                         .lane = STORE_LANE_BULK,
                         .apply = step_apply,
                         .done = step_done},
};

static inline struct step step_of(struct fixture *f, enum store_lane lane,
                                  enum err (*run)(struct step *step, struct tx *tx), void *ctx)
{
    return (struct step){
        .write = {.kind = &step_kinds[lane], .arena = f->arena}, .run = run, .ctx = ctx};
}

static inline enum err step_wait(struct step *step)
{
    pthread_mutex_lock(&step_lock);
    while (step->ends == 0)
        pthread_cond_wait(&step_ended, &step_lock);
    pthread_mutex_unlock(&step_lock);
    return step->write.err;
}

static inline enum err fixture_write(struct fixture *f,
                                     enum err (*run)(struct step *step, struct tx *tx), void *ctx)
{
    struct step step = step_of(f, STORE_LANE_NORMAL, run, ctx);
    assert_int_equal(store_submit(f->store, &step.write), ERR_NONE);
    return step_wait(&step);
}

/* Submits `n` writes at once, so that they share batches, and waits for all. */
static inline void submit_all(struct fixture *f, struct step *steps, char (*names)[NAME_MAX_BYTES],
                              size_t n, const char *prefix,
                              enum err (*run)(struct step *step, struct tx *tx))
{
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof names[i], "%s%zu", prefix, i);
        steps[i] = step_of(f, STORE_LANE_NORMAL, run, names[i]);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(store_submit(f->store, &steps[i].write), ERR_NONE);
    for (size_t i = 0; i < n; i++)
        (void)step_wait(&steps[i]);
}

/* Runs SQL on a file that no store has open. */
static inline void fixture_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    char *message = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &message);
    if (code != SQLITE_OK)
        print_error("%s: %s\n", sql, message);
    assert_int_equal(code, SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---- rows to work with ---- */

static inline struct device_seen_row seen_row(const char *device)
{
    struct device_seen_row row = {.tenant = "default", .checkins = 1};
    (void)snprintf(row.device, sizeof row.device, "%.64s", device);
    return row;
}

static inline enum err get_seen(struct fixture *f, const char *device)
{
    struct device_seen_row row = seen_row(device);
    return store_get(f->reader, &table_device_seen, f->arena, &row);
}

static inline enum err insert_seen(struct tx *tx, const char *device)
{
    struct device_seen_row row = seen_row(device);
    return tx_insert(tx, &table_device_seen, &row);
}

static inline enum err run_insert(struct step *step, struct tx *tx)
{
    return insert_seen(tx, step->ctx);
}

/* ---- failing disks: SQLite lets its system calls be replaced ---- */

static atomic_long disk_writes;        /* so far */
static atomic_long disk_fails_at = -1; /* the number of the write that fails; -1: none does */
static atomic_bool disk_stays_full;    /* every write after that one, too */
static atomic_int disk_errno = ENOSPC;

static inline ssize_t failing_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    long number = atomic_fetch_add(&disk_writes, 1);
    long fails_at = atomic_load(&disk_fails_at);
    if (fails_at >= 0 &&
        (number == fails_at || (number > fails_at && atomic_load(&disk_stays_full)))) {
        errno = atomic_load(&disk_errno);
        return -1;
    }
    return pwrite(fd, bytes, n, at);
}

/* A group setup of cmocka. */
static inline int disk_install(void **state)
{
    (void)state;
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    static const char *const names[] = {"pwrite", "pwrite64"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (vfs->xGetSystemCall(vfs, names[i]) != NULL)
            assert_int_equal(
                vfs->xSetSystemCall(vfs, names[i], (sqlite3_syscall_ptr)failing_pwrite), SQLITE_OK);
    return 0;
}

static inline void disk_fail_after(long writes, int error, bool stays)
{
    atomic_store(&disk_errno, error);
    atomic_store(&disk_stays_full, stays);
    atomic_store(&disk_fails_at, atomic_load(&disk_writes) + writes);
}

static inline void disk_heal(void)
{
    atomic_store(&disk_fails_at, -1);
}

#endif
