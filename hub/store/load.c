/* Filling a database with the rows of a copy, a batch at a time. A mark in its settings says so,
 * and how far it has come; it changes with each batch, in the same transaction. */
#include <stdlib.h>
#include <string.h>

#include "hub/store/copy_format.h"
#include "hub/store/database.h"

#define BATCH_ROWS  1000
#define BATCH_BYTES ((size_t)1 << 20)
#define MARK_SIZE   (SHA256_SIZE + 8 * TABLE_COUNT)

struct store_load {
    const struct database_ops *ops;
    struct database *db;
    bool started; /* the database's housekeeping */
    bool in_batch;
    size_t batch_rows, batch_bytes;
    struct hash source;
    uint64_t kept[TABLE_COUNT]; /* rows in the database, with those of this batch */
    uint64_t seen[TABLE_COUNT]; /* rows that came by */
};

/* ---- the mark ---- */

static enum err read_mark(struct store_load *l, struct slice value, const struct hash *source)
{
    struct reader r = reader_over(value);
    struct slice found = reader_take(&r, SHA256_SIZE);
    uint64_t kept[TABLE_COUNT];
    for (size_t i = 0; i < TABLE_COUNT; i++)
        kept[i] = reader_be64(&r);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    if (memcmp(found.data, source->bytes, SHA256_SIZE) != 0)
        return ERR_EXISTS;
    memcpy(l->kept, kept, sizeof kept);
    return ERR_NONE;
}

static enum err write_mark(struct store_load *l,
                           enum err (*how)(struct database *db, const struct table *table,
                                           const void *row))
{
    uint8_t bytes[MARK_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_put(&w, slice_of(l->source.bytes, SHA256_SIZE));
    for (size_t i = 0; i < TABLE_COUNT; i++)
        writer_be64(&w, l->kept[i]);
    const struct setting_row mark = {.name = COPY_MARK_FILLING, .value = writer_bytes(&w)};
    return w.err == ERR_NONE ? how(l->db, &table_setting, &mark) : w.err;
}

static enum err is_empty(struct store_load *l, bool *ret_empty)
{
    struct database_reader *reader = NULL;
    uint64_t rows = 0;
    enum err err = l->ops->reader_new(l->db, &reader);
    if (err != ERR_NONE)
        return err;
    for (size_t i = 0; i < TABLE_COUNT && err == ERR_NONE && rows == 0; i++) {
        const struct store_query any = {.table = store_tables[i], .limit = 1};
        err = l->ops->reader_count(reader, &any, &rows);
    }
    l->ops->reader_free(reader);
    if (err == ERR_NONE)
        *ret_empty = rows == 0;
    return err;
}

/* Inside a transaction: goes on where the mark says, or puts it there. */
static enum err begin_filling(struct store_load *l, const struct hash *source, bool empty)
{
    struct arena *arena = arena_new(SETTING_VALUE_MAX + 64);
    struct setting_row mark = {.name = COPY_MARK_FILLING};
    enum err err = arena == NULL ? ERR_NO_MEMORY : l->ops->get(l->db, &table_setting, arena, &mark);
    if (err == ERR_NONE)
        err = read_mark(l, mark.value, source);
    else if (err == ERR_NOT_FOUND)
        err = empty ? write_mark(l, l->ops->insert) : ERR_EXISTS;
    arena_free(arena);
    return err;
}

/* ---- life ---- */

static enum err begin(struct store_load *l)
{
    enum err err = l->ops->begin(l->db);
    if (err == ERR_NONE)
        l->in_batch = true;
    return err;
}

static enum err commit(struct store_load *l)
{
    enum err err = l->ops->commit(l->db);
    if (err != ERR_NONE)
        l->ops->abandon(l->db);
    l->in_batch = false;
    l->batch_rows = 0;
    l->batch_bytes = 0;
    return err;
}

enum err store_load_new(const char *url, const struct hash *source, struct store_load **ret_load,
                        char explain[256])
{
    const char *location = NULL;
    const struct database_ops *ops = database_find(url, &location, explain);
    if (ops == NULL)
        return ERR_UNSUPPORTED;
    struct store_load *l = calloc(1, sizeof *l);
    if (l == NULL) {
        explain_set(explain, "out of memory");
        return ERR_NO_MEMORY;
    }
    l->ops = ops;
    l->source = *source;
    bool empty = false;
    enum err err = ops->open(location, &l->db, explain);
    if (err != ERR_NONE) {
        free(l);
        return err;
    }
    err = ops->start(l->db);
    l->started = err == ERR_NONE;
    if (err == ERR_NONE)
        err = is_empty(l, &empty);
    if (err == ERR_NONE)
        err = begin(l);
    if (err == ERR_NONE)
        err = begin_filling(l, source, empty);
    if (err == ERR_NONE)
        err = commit(l);
    if (err == ERR_NONE) {
        *ret_load = l;
        return ERR_NONE;
    }
    if (err == ERR_EXISTS)
        explain_set(explain,
                    "the store is not empty, and nothing is written over: choose a new one");
    else
        explain_set(explain, "can't fill the store: %s", err_text(err));
    store_load_free(l);
    return err;
}

void store_load_free(struct store_load *l)
{
    if (l == NULL)
        return;
    if (l->in_batch)
        l->ops->abandon(l->db);
    if (l->started)
        l->ops->stop(l->db);
    l->ops->close(l->db);
    free(l);
}

/* ---- rows ---- */

static size_t bytes_of(const struct table *table, const void *row)
{
    size_t bytes = table->row_size;
    for (size_t i = 0; i < table->columns_len; i++) {
        struct slice blob;
        if (table->columns[i].kind != COLUMN_BLOB)
            continue;
        memcpy(&blob, (const uint8_t *)row + table->columns[i].offset, sizeof blob);
        bytes += blob.len;
    }
    return bytes;
}

static enum err end_batch(struct store_load *l)
{
    if (!l->in_batch)
        return ERR_NONE;
    enum err err = write_mark(l, l->ops->update);
    return err == ERR_NONE ? commit(l) : err;
}

enum err store_load_row(struct store_load *l, const struct table *table, const void *row)
{
    if (l->seen[table->id]++ < l->kept[table->id])
        return ERR_NONE;
    enum err err = l->in_batch ? ERR_NONE : begin(l);
    if (err == ERR_NONE)
        err = l->ops->insert(l->db, table, row);
    if (err != ERR_NONE)
        return err;
    l->kept[table->id]++;
    l->batch_rows++;
    l->batch_bytes += bytes_of(table, row);
    bool full = l->batch_rows >= BATCH_ROWS || l->batch_bytes >= BATCH_BYTES;
    return full ? end_batch(l) : ERR_NONE;
}

enum err store_load_flush(struct store_load *l, struct store_reader **ret_snapshot)
{
    struct database_reader *reader = NULL;
    enum err err = end_batch(l);
    if (err == ERR_NONE)
        err = l->ops->reader_new(l->db, &reader);
    return err == ERR_NONE ? store_reader_over(l->ops, reader, ret_snapshot) : err;
}

enum err store_load_end(struct store_load *l)
{
    const struct setting_row mark = {.name = COPY_MARK_FILLING};
    enum err err = end_batch(l);
    if (err == ERR_NONE)
        err = begin(l);
    if (err == ERR_NONE)
        err = l->ops->delete (l->db, &table_setting, &mark);
    return err == ERR_NONE ? commit(l) : err;
}
