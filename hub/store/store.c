#include "hub/store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "hub/store/copy_format.h"
#include "hub/store/writer.h"

/* For what a batch reads besides its writes: the ledger's head, and copies of keys. */
#define BATCH_ARENA_MAX ((size_t)4 << 20)

static const struct database_ops *const databases[] = {&database_sqlite, &database_postgres};

struct store {
    const struct database_ops *ops;
    struct database *db;
    struct store_writer writer;
    pthread_t thread;
    bool started;
    bool drained;
};

struct store_reader {
    const struct database_ops *ops;
    struct database_reader *reader;
};

void explain_set(char explain[256], const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(explain, 256, format, values);
    va_end(values);
}

/* ---- life ---- */

const struct database_ops *database_find(const char *url, const char **ret_location,
                                         char explain[256])
{
    for (size_t i = 0; i < ARRAY_LEN(databases); i++) {
        size_t len = strlen(databases[i]->scheme);
        if (strncmp(url, databases[i]->scheme, len) != 0)
            continue;
        *ret_location = url + len;
        return databases[i];
    }
    /* Of what stands behind the scheme, some may be secret. */
    explain_set(explain,
                "'%.*s' is no store we know: use sqlite:/path/to/hub.db or postgresql://...",
                (int)strcspn(url, ":/ "), url);
    return NULL;
}

/* A store that is being filled is none yet, and one that was left is none any more. `err`: of
 * looking for that mark. */
static enum err explain_mark(enum err err, const struct setting_row *mark, char explain[256])
{
    if (err == ERR_NOT_FOUND)
        return ERR_NONE;
    if (err == ERR_NONE && strcmp(mark->name, COPY_MARK_LEFT) == 0)
        explain_set(explain, "the store was moved, and goes on elsewhere: set `store` in hub.conf "
                             "to where it is now");
    else if (err == ERR_NONE)
        explain_set(explain, "the store is not whole: what was filling it was cut short; run that "
                             "again, it goes on where it stopped");
    else
        explain_set(explain, "can't read the store: %s", err_text(err));
    return err == ERR_NONE ? ERR_REFUSED : err;
}

static enum err check_mark(struct store *s, struct setting_row mark, char explain[256])
{
    enum err err = s->ops->begin(s->db);
    if (err == ERR_NONE) {
        err = s->ops->get(s->db, &table_setting, s->writer.tx.arena, &mark);
        s->ops->abandon(s->db);
        arena_reset(s->writer.tx.arena);
    }
    return explain_mark(err, &mark, explain);
}

static enum err check_usable(struct store *s, char explain[256])
{
    enum err err = check_mark(s, (struct setting_row){.name = COPY_MARK_FILLING}, explain);
    return err == ERR_NONE ? check_mark(s, (struct setting_row){.name = COPY_MARK_LEFT}, explain)
                           : err;
}

enum err store_open(const char *url, struct store **ret_store, char explain[256])
{
    const char *location = NULL;
    const struct database_ops *ops = database_find(url, &location, explain);
    if (ops == NULL)
        return ERR_UNSUPPORTED;
    struct store *s = calloc(1, sizeof *s);
    struct arena *arena = arena_new(BATCH_ARENA_MAX);
    if (s == NULL || arena == NULL) {
        explain_set(explain, "out of memory");
        free(s);
        arena_free(arena);
        return ERR_NO_MEMORY;
    }
    enum err err = ops->open(location, &s->db, explain);
    if (err != ERR_NONE) {
        arena_free(arena);
        free(s);
        return err;
    }
    s->ops = ops;
    s->writer.tx =
        (struct tx){.ops = ops, .db = s->db, .changes = &s->writer.changes, .arena = arena};
    write_queue_init(&s->writer.queue);
    err = check_usable(s, explain);
    if (err != ERR_NONE) {
        store_close(s);
        return err;
    }
    *ret_store = s;
    return ERR_NONE;
}

void store_set_hooks(struct store *s, const struct store_hooks *hooks)
{
    s->writer.hooks = *hooks;
}

void store_set_watch(struct store *s, void (*changed)(void *ctx), void *ctx)
{
    if (s->ops->set_watch != NULL)
        s->ops->set_watch(s->db, changed, ctx);
}

bool store_is_shared(const struct store *s)
{
    return s->ops->set_watch != NULL;
}

int64_t store_seen_ms(const struct store *s)
{
    return s->ops->seen_ms == NULL ? INT64_MAX : s->ops->seen_ms(s->db);
}

bool store_is_away(const struct store *s, char explain[256])
{
    return s->ops->is_away != NULL && s->ops->is_away(s->db, explain);
}

const char *store_kind(const struct store *s)
{
    return s->ops->kind;
}

static void *thread_main(void *arg)
{
    struct store *s = arg;
    pthread_setname_np(pthread_self(), "store-writer");
    store_writer_run(&s->writer);
    return NULL;
}

enum err store_start(struct store *s)
{
    enum err err = s->ops->start(s->db);
    if (err != ERR_NONE)
        return err;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        s->ops->stop(s->db);
        return ERR_NO_MEMORY;
    }
    s->started = true;
    return ERR_NONE;
}

void store_drain(struct store *s)
{
    if (s->drained)
        return;
    s->drained = true;
    write_queue_close(&s->writer.queue);
    if (s->started)
        pthread_join(s->thread, NULL);
    else
        store_writer_run(&s->writer);
    s->ops->stop(s->db);
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    store_drain(s);
    s->ops->close(s->db);
    write_queue_destroy(&s->writer.queue);
    arena_free(s->writer.tx.arena);
    free(s);
}

void store_stats(struct store *s, struct store_stats *ret_stats)
{
    struct writer_counts *counts = &s->writer.counts;
    struct store_stats stats = {
        .commits = atomic_load(&counts->commits),
        .writes = atomic_load(&counts->writes),
        .refused = atomic_load(&counts->refused),
        .abandoned = atomic_load(&counts->abandoned),
        .replayed = atomic_load(&counts->replayed),
        .connections_lost = s->ops->losses == NULL ? 0 : s->ops->losses(s->db),
        .wal_bytes = s->ops->log_bytes(s->db),
    };
    write_queue_lengths(&s->writer.queue, stats.queued);
    *ret_stats = stats;
}

/* ---- writes ---- */

enum err store_submit(struct store *s, struct write *w)
{
    static const uint8_t none[STORE_REQUEST_ID] = {0};
    if (memcmp(w->request_id, none, sizeof none) == 0) {
        enum err err = crypto_random(w->request_id, sizeof w->request_id);
        if (err != ERR_NONE)
            return err;
    }
    if (store_is_away(s, NULL))
        return ERR_UNAVAILABLE;
    w->err = ERR_NONE;
    w->queued_us = clock_monotonic_us();
    return write_queue_put(&s->writer.queue, w);
}

/* ---- reads ---- */

enum err store_reader_over(const struct database_ops *ops, struct database_reader *reader,
                           struct store_reader **ret_reader)
{
    struct store_reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        ops->reader_free(reader);
        return ERR_NO_MEMORY;
    }
    *r = (struct store_reader){.ops = ops, .reader = reader};
    *ret_reader = r;
    return ERR_NONE;
}

enum err store_reader_new(struct store *s, struct store_reader **ret_reader)
{
    struct database_reader *reader = NULL;
    enum err err = s->ops->reader_new(s->db, &reader);
    return err == ERR_NONE ? store_reader_over(s->ops, reader, ret_reader) : err;
}

enum err store_snapshot_new(const char *url, struct store_reader **ret_snapshot, char explain[256])
{
    const char *location = NULL;
    struct database_reader *reader = NULL;
    const struct database_ops *ops = database_find(url, &location, explain);
    if (ops == NULL)
        return ERR_UNSUPPORTED;
    enum err err = ops->snapshot_new(location, &reader, explain);
    if (err != ERR_NONE)
        return err;
    struct setting_row mark = {.name = COPY_MARK_FILLING};
    struct arena *arena = arena_new(SETTING_VALUE_MAX + 64);
    err = arena == NULL ? ERR_NO_MEMORY : ops->reader_get(reader, &table_setting, arena, &mark);
    arena_free(arena);
    if (err == ERR_NOT_FOUND)
        return store_reader_over(ops, reader, ret_snapshot);
    ops->reader_free(reader);
    return explain_mark(err, &mark, explain);
}

void store_reader_free(struct store_reader *r)
{
    if (r == NULL)
        return;
    r->ops->reader_free(r->reader);
    free(r);
}

enum err store_get(struct store_reader *r, const struct table *table, struct arena *arena,
                   void *row)
{
    return r->ops->reader_get(r->reader, table, arena, row);
}

struct row_stamp store_stamp(const struct store *s, const struct table *table,
                             const void *row_with_key)
{
    struct row_stamp stamp = {.place = row_place(table, row_with_key)};
    stamp.count = atomic_load(&s->writer.changes.counts[stamp.place]);
    return stamp;
}

bool store_is_unchanged(const struct store *s, const struct row_stamp *stamp)
{
    /* A watch is kept on what other hubs commit, but does not tell which rows. */
    return s->ops->set_watch == NULL &&
           atomic_load(&s->writer.changes.counts[stamp->place]) == stamp->count;
}

enum err store_list(struct store_reader *r, const struct store_query *query, struct arena *arena,
                    enum err (*row)(void *ctx, const void *row), void *ctx)
{
    return r->ops->reader_list(r->reader, query, arena, row, ctx);
}

enum err store_count(struct store_reader *r, const struct store_query *query, uint64_t *ret_count)
{
    return r->ops->reader_count(r->reader, query, ret_count);
}
