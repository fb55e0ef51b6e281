#include "hub/store/writer.h"

#include <poll.h>

#include "base/clock.h"

/* A write that fails by a fault of its own takes its batch with it. The others are tried again
 * without it, so often; then one by one. */
#define REPLAYS_MAX 3

/* A batch that was surely not kept, because the database was out of reach, is run again for so
 * long: a server that restarts costs its clients some patience, and no failure. */
#define PATIENCE_MS 3000
#define PAUSE_MS    20 /* between two of these runs; connecting anew has pauses of its own */

/* ---- the hooks, where they are set ---- */

static enum err hook_begin(struct store_writer *sw)
{
    return sw->hooks.begin == NULL ? ERR_NONE : sw->hooks.begin(sw->hooks.ctx, &sw->tx);
}

static enum err hook_commit(struct store_writer *sw)
{
    return sw->hooks.commit == NULL ? ERR_NONE : sw->hooks.commit(sw->hooks.ctx, &sw->tx);
}

static void hook_notify(struct store_writer *sw, void (*hook)(void *ctx))
{
    if (hook != NULL)
        hook(sw->hooks.ctx);
}

/* ---- rows ---- */

static struct arena *arena_of(const struct tx *tx)
{
    return tx->write != NULL ? tx->write->arena : tx->arena;
}

/* Remembers what went wrong, whatever apply() makes of it. */
static enum err note(struct tx *tx, enum err err)
{
    if (err == ERR_NONE)
        return err;
    bool row = err == ERR_NOT_FOUND || err == ERR_EXISTS;
    bool fault = err == ERR_LIMIT || err == ERR_INTERNAL || err == ERR_NO_MEMORY;
    if (tx->ops->is_lost(tx->db))
        tx->lost = row ? ERR_IO : err;
    else if (fault)
        tx->fault = err;
    else if (!row)
        tx->lost = err;
    return err;
}

/* The savepoint is set by a write's first change: most refusals come before it, and cost nothing.
 */
static enum err prepare_change(struct tx *tx, const struct table *table, const void *row)
{
    if (tx->lost != ERR_NONE)
        return tx->lost;
    row_changes_note(tx->changes, table, row);
    if (tx->in_savepoint)
        return ERR_NONE;
    if (tx->write != NULL) {
        enum err err = note(tx, tx->ops->savepoint(tx->db));
        if (err != ERR_NONE)
            return err;
        tx->in_savepoint = true;
    }
    tx->changed = true;
    return ERR_NONE;
}

enum err tx_get(struct tx *tx, const struct table *table, void *row)
{
    if (tx->lost != ERR_NONE)
        return tx->lost;
    return note(tx, tx->ops->get(tx->db, table, arena_of(tx), row));
}

enum err tx_insert(struct tx *tx, const struct table *table, const void *row)
{
    enum err err = prepare_change(tx, table, row);
    return err != ERR_NONE ? err : note(tx, tx->ops->insert(tx->db, table, row));
}

enum err tx_update(struct tx *tx, const struct table *table, const void *row)
{
    enum err err = prepare_change(tx, table, row);
    return err != ERR_NONE ? err : note(tx, tx->ops->update(tx->db, table, row));
}

enum err tx_delete(struct tx *tx, const struct table *table, const void *row)
{
    enum err err = prepare_change(tx, table, row);
    return err != ERR_NONE ? err : note(tx, tx->ops->delete (tx->db, table, row));
}

struct write *tx_write(struct tx *tx)
{
    return tx->write;
}

int64_t tx_now_ms(const struct tx *tx)
{
    return tx->now_ms;
}

/* ---- batches ---- */

static bool is_refusal(enum err err)
{
    return err == ERR_REFUSED || err == ERR_NOT_FOUND || err == ERR_EXISTS || err == ERR_CONFLICT;
}

static enum err end_savepoint(struct store_writer *sw, bool keep)
{
    struct tx *tx = &sw->tx;
    if (!keep)
        hook_notify(sw, sw->hooks.rollback);
    if (!tx->in_savepoint)
        return ERR_NONE;
    tx->in_savepoint = false;
    return note(tx, keep ? tx->ops->release(tx->db) : tx->ops->rollback(tx->db));
}

/* ERR_NONE where the batch can go on: then w->err says how this write ended. */
static enum err apply(struct store_writer *sw, struct write *w)
{
    struct tx *tx = &sw->tx;
    tx->write = w;
    tx->fault = ERR_NONE;
    w->problem = (struct problem){0};
    hook_notify(sw, sw->hooks.savepoint);
    enum err err = w->kind->apply(w, tx);
    tx->write = NULL;
    if (tx->lost != ERR_NONE)
        return tx->lost;
    if (tx->fault != ERR_NONE)
        return tx->fault;
    if (err != ERR_NONE && !is_refusal(err))
        return err;
    w->err = err;
    return end_savepoint(sw, err == ERR_NONE);
}

static enum err prefetch(struct store_writer *sw, const struct write_list *batch)
{
    struct tx *tx = &sw->tx;
    if (tx->ops->prefetch == NULL)
        return ERR_NONE;
    struct keyset keys = {.arena = tx->arena};
    for (struct write *w = batch->first; w != NULL; w = w->next)
        if (w->kind->reads != NULL)
            w->kind->reads(w, &keys);
    enum err err = note(tx, tx->ops->prefetch(tx->db, &keys));
    keyset_free(&keys);
    return err;
}

/* One transaction. On failure nothing of it is left; *ret_faulty is the write whose own fault it
 * was, or NULL where it was the database's. */
static enum err run_transaction(struct store_writer *sw, const struct write_list *batch,
                                struct write **ret_faulty)
{
    struct tx *tx = &sw->tx;
    arena_reset(tx->arena);
    tx->now_ms = clock_milliseconds();
    tx->changed = false;
    tx->in_savepoint = false;
    tx->fault = ERR_NONE;
    tx->lost = ERR_NONE;
    *ret_faulty = NULL;
    sw->retry = RETRY_NOTHING;

    enum err err = tx->ops->begin(tx->db);
    if (err != ERR_NONE)
        return err;
    err = prefetch(sw, batch);
    if (err == ERR_NONE)
        err = hook_begin(sw);
    for (struct write *w = batch->first; w != NULL && err == ERR_NONE; w = w->next) {
        err = apply(sw, w);
        if (err != ERR_NONE && tx->lost == ERR_NONE)
            *ret_faulty = w;
    }
    if (err == ERR_NONE)
        err = hook_commit(sw);
    if (err == ERR_NONE)
        err = tx->lost;
    if (err == ERR_NONE) {
        err = tx->ops->commit(tx->db);
        sw->retry = err == ERR_CONFLICT   ? RETRY_BATCH
                    : err == ERR_INTERNAL ? RETRY_SINGLY
                                          : RETRY_NOTHING;
    }
    row_changes_tell(&sw->changes);
    if (err == ERR_NONE) {
        hook_notify(sw, sw->hooks.committed);
        atomic_fetch_add(&sw->counts.commits, tx->changed ? 1 : 0);
        return ERR_NONE;
    }
    tx->ops->abandon(tx->db);
    hook_notify(sw, sw->hooks.abandoned);
    atomic_fetch_add(&sw->counts.abandoned, 1);
    return err;
}

static bool is_away(const struct store_writer *sw)
{
    const struct tx *tx = &sw->tx;
    return tx->ops->is_away != NULL && tx->ops->is_away(tx->db, NULL);
}

static enum err run_patiently(struct store_writer *sw, const struct write_list *batch,
                              struct write **ret_faulty)
{
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    *ret_faulty = NULL;
    sw->retry = RETRY_NOTHING;
    enum err err = ERR_UNAVAILABLE;
    while (!is_away(sw)) {
        err = run_transaction(sw, batch, ret_faulty);
        if (err != ERR_UNAVAILABLE || clock_monotonic_ms() >= until)
            break;
        atomic_fetch_add(&sw->counts.replayed, 1);
        (void)poll(NULL, 0, PAUSE_MS);
    }
    return err;
}

/* ---- endings ---- */

static void run_done(struct loop_task *task)
{
    struct write *w = CONTAINER_OF(task, struct write, task);
    w->kind->done(w);
}

/* Gives the write back to whoever submitted it: it is theirs from here on. */
static void end_write(struct store_writer *sw, struct write *w)
{
    if (w->err == ERR_NONE)
        atomic_fetch_add(&sw->counts.writes, 1);
    else if (is_refusal(w->err))
        atomic_fetch_add(&sw->counts.refused, 1);
    w->task.run = run_done;
    if (w->loop == NULL)
        run_done(&w->task);
    else
        loop_post(w->loop, &w->task);
}

static void end_batch(struct store_writer *sw, struct write_list *batch)
{
    struct write *w;
    while ((w = write_list_take(batch)) != NULL)
        end_write(sw, w);
}

static void fail_batch(struct store_writer *sw, struct write_list *batch, enum err err)
{
    for (struct write *w = batch->first; w != NULL; w = w->next) {
        w->err = err;
        w->problem = (struct problem){0};
    }
    end_batch(sw, batch);
}

static void remove_write(struct write_list *list, const struct write *faulty)
{
    struct write_list rest = {0};
    struct write *w;
    while ((w = write_list_take(list)) != NULL)
        if (w != faulty)
            write_list_append(&rest, w);
    *list = rest;
}

static void run_single(struct store_writer *sw, struct write *w)
{
    struct write_list one = {0};
    struct write *faulty;
    write_list_append(&one, w);
    enum err err = run_patiently(sw, &one, &faulty);
    if (sw->retry == RETRY_BATCH)
        err = run_patiently(sw, &one, &faulty);
    if (err == ERR_NONE)
        end_batch(sw, &one);
    else
        fail_batch(sw, &one, err);
}

static void run_batch(struct store_writer *sw, struct write_list *batch)
{
    for (int i = 0; i <= REPLAYS_MAX && batch->len > 0; i++) {
        struct write *faulty;
        enum err err = run_patiently(sw, batch, &faulty);
        if (err == ERR_NONE) {
            end_batch(sw, batch);
            return;
        }
        if (sw->retry == RETRY_BATCH)
            continue;
        if (sw->retry == RETRY_SINGLY)
            break;
        if (faulty == NULL) {
            fail_batch(sw, batch, err);
            return;
        }
        remove_write(batch, faulty);
        faulty->err = err;
        end_write(sw, faulty);
    }
    struct write *w;
    while ((w = write_list_take(batch)) != NULL)
        run_single(sw, w);
}

void store_writer_run(struct store_writer *sw)
{
    bool was_bulk = true;
    struct write_list batch;
    while (write_queue_take(&sw->queue, !was_bulk, &batch)) {
        was_bulk = batch.first->kind->lane == STORE_LANE_BULK;
        run_batch(sw, &batch);
    }
}
