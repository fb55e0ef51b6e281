#include "hub/store/postgres_cache.h"

#include <stdlib.h>
#include <string.h>

/* A batch of 512 writes, each with some rows; or a chunk of a bulk write. */
#define CACHE_ARENA_MAX ((size_t)128 << 20)
#define KEY_BYTES_MAX   512

enum err pg_cache_init(struct pg_cache *cache)
{
    *cache = (struct pg_cache){.arena = arena_new(CACHE_ARENA_MAX)};
    cache->touched_end = &cache->touched;
    return cache->arena == NULL ? ERR_NO_MEMORY : ERR_NONE;
}

void pg_cache_free(struct pg_cache *cache)
{
    arena_free(cache->arena);
    free(cache->undo);
}

void pg_cache_reset(struct pg_cache *cache)
{
    arena_reset(cache->arena);
    memset(cache->buckets, 0, sizeof cache->buckets);
    cache->touched = NULL;
    cache->touched_end = &cache->touched;
    cache->undo_len = 0;
    cache->mark = 0;
}

static void put_key(struct writer *w, const struct table *table, const void *row)
{
    for (size_t i = 0; i < table->key_len; i++) {
        const struct column *column = &table->columns[i];
        const char *field = (const char *)row + column->offset;
        bool text = column->kind == COLUMN_TEXT || column->kind == COLUMN_TENANT ||
                    column->kind == COLUMN_HEX;
        writer_put(w, slice_of(field, text ? strnlen(field, column->size) : column->size));
        if (text)
            writer_u8(w, '\0');
    }
}

/* FNV-1a. Whoever makes keys collide slows the one batch that they are in, a little. */
static uint32_t hash_of(const struct table *table, struct slice key)
{
    uint32_t h = 2166136261U ^ table->id;
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ key.data[i]) * 16777619U;
    return h ^ h >> 16;
}

enum err pg_cache_entry(struct pg_cache *cache, const struct table *table, const void *row,
                        struct cached_row **ret_entry)
{
    uint8_t bytes[KEY_BYTES_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    put_key(&w, table, row);
    if (w.err != ERR_NONE)
        return ERR_INTERNAL;
    struct slice key = writer_bytes(&w);
    struct cached_row **bucket = &cache->buckets[hash_of(table, key) % CACHE_BUCKETS];
    for (struct cached_row *e = *bucket; e != NULL; e = e->next_in_bucket) {
        if (e->table != table || !slice_equal(e->key, key))
            continue;
        *ret_entry = e;
        return ERR_NONE;
    }
    struct cached_row *entry = arena_alloc(cache->arena, sizeof *entry);
    void *copy = arena_alloc(cache->arena, table->row_size);
    if (entry == NULL || copy == NULL)
        return ERR_NO_MEMORY;
    *entry = (struct cached_row){.table = table, .next_in_bucket = *bucket};
    enum err err = arena_copy(cache->arena, key, &entry->key);
    if (err != ERR_NONE)
        return err;
    for (size_t i = 0; i < table->key_len; i++) {
        const struct column *column = &table->columns[i];
        memcpy((char *)copy + column->offset, (const char *)row + column->offset, column->size);
    }
    entry->row = copy;
    *bucket = entry;
    *ret_entry = entry;
    return ERR_NONE;
}

void pg_cache_learn(struct cached_row *entry, void *row)
{
    entry->before = entry->now = row == NULL ? ROW_ABSENT : ROW_PRESENT;
    if (row != NULL)
        entry->row = row;
}

enum err pg_row_copy(const struct table *table, const void *from, struct arena *arena, void *to)
{
    enum err err = ERR_NONE;
    memcpy(to, from, table->row_size);
    for (size_t i = 0; i < table->columns_len && err == ERR_NONE; i++) {
        const struct column *column = &table->columns[i];
        if (column->kind != COLUMN_BLOB)
            continue;
        struct slice blob;
        struct slice copy = {NULL, 0};
        memcpy(&blob, (const char *)from + column->offset, sizeof blob);
        if (blob.len > 0)
            err = arena == NULL ? ERR_INTERNAL : arena_copy(arena, blob, &copy);
        memcpy((char *)to + column->offset, &copy, sizeof copy);
    }
    return err;
}

enum err pg_cache_change(struct pg_cache *cache, struct cached_row *entry, const void *row)
{
    if (cache->undo_len == cache->undo_max) {
        size_t max = cache->undo_max == 0 ? 256 : cache->undo_max * 2;
        struct cache_undo *grown = reallocarray(cache->undo, max, sizeof *grown);
        if (grown == NULL)
            return ERR_NO_MEMORY;
        cache->undo = grown;
        cache->undo_max = max;
    }
    void *copy = entry->row;
    if (row != NULL) {
        copy = arena_alloc(cache->arena, entry->table->row_size);
        enum err err =
            copy == NULL ? ERR_NO_MEMORY : pg_row_copy(entry->table, row, cache->arena, copy);
        if (err != ERR_NONE)
            return err;
    }
    cache->undo[cache->undo_len++] = (struct cache_undo){
        .entry = entry, .now = entry->now, .row = entry->row, .changed = entry->changed};
    entry->row = copy;
    entry->now = row != NULL ? ROW_PRESENT : ROW_ABSENT;
    entry->changed = true;
    if (!entry->touched) {
        entry->touched = true;
        *cache->touched_end = entry;
        cache->touched_end = &entry->next_touched;
    }
    return ERR_NONE;
}

void pg_cache_savepoint(struct pg_cache *cache)
{
    cache->mark = cache->undo_len;
}

void pg_cache_rollback(struct pg_cache *cache)
{
    while (cache->undo_len > cache->mark) {
        const struct cache_undo *u = &cache->undo[--cache->undo_len];
        u->entry->now = u->now;
        u->entry->row = u->row;
        u->entry->changed = u->changed;
    }
}
