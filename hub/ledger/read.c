/* What is read from the ledger: tiles, bundles, entries. */
#include <string.h>

#include "hub/ledger/archive.h"
#include "hub/ledger/internal.h"

/* The entries of one bundle. */
#define BUNDLE_ARENA_MAX ((size_t)TILE_WIDTH * (LEDGER_ENTRY_MAX + 16))

struct tile_reading {
    struct arena *scratch;
    int64_t first; /* number of the first hash or entry */
    unsigned len;
    union {
        struct hash *hashes;
        struct slice entries[TILE_WIDTH];
    } found;
};

/* What comes must be numbered without a gap; a tile with a hole would be served as a false one. */
static bool is_next(const struct tile_reading *t, int64_t number)
{
    return t->len < TILE_WIDTH && number == t->first + (int64_t)t->len;
}

static enum err take_leaf(void *ctx, const void *bytes)
{
    struct tile_reading *t = ctx;
    const struct ledger_entry_row *row = bytes;
    if (!is_next(t, row->number))
        return ERR_IO;
    t->found.hashes[t->len++] = row->leaf;
    arena_reset(t->scratch);
    return ERR_NONE;
}

static enum err take_node(void *ctx, const void *bytes)
{
    struct tile_reading *t = ctx;
    const struct ledger_node_row *row = bytes;
    if (!is_next(t, row->number))
        return ERR_IO;
    t->found.hashes[t->len++] = row->hash;
    return ERR_NONE;
}

static enum err take_entry(void *ctx, const void *bytes)
{
    struct tile_reading *t = ctx;
    const struct ledger_entry_row *row = bytes;
    if (!is_next(t, row->number))
        return ERR_IO;
    if (row->data.len == 0)
        return ERR_EXPIRED;
    t->found.entries[t->len++] = row->data;
    return ERR_NONE;
}

/* An entry without data: archived, or did somebody take it away? */
static enum err check_archived(struct store_reader *reader, uint64_t number)
{
    struct ledger_archive archive;
    struct arena *arena = arena_new(SETTING_VALUE_MAX + 1024);
    enum err err = arena == NULL ? ERR_NO_MEMORY : ledger_archive_read(reader, arena, &archive);
    arena_free(arena);
    if (err != ERR_NONE)
        return err;
    return number < archive.cleared ? ERR_EXPIRED : ERR_IO;
}

static enum err list_entries(struct store_reader *reader, struct tile_reading *t, unsigned width,
                             enum err (*row)(void *ctx, const void *row))
{
    const struct ledger_entry_row before = {.number = t->first - 1};
    const struct store_query query = {
        .table = &table_ledger_entry,
        .after = &before,
        .limit = width,
    };
    return store_list(reader, &query, t->scratch, row, t);
}

static enum err list_nodes(struct store_reader *reader, struct tile_reading *t, int level,
                           unsigned width)
{
    const struct ledger_node_row before = {.level = level, .number = t->first - 1};
    const struct ledger_node_row last = {.level = level, .number = t->first + (int64_t)width - 1};
    const struct store_query query = {
        .table = &table_ledger_node,
        .after = &before,
        .until = &last,
        .limit = width,
    };
    return store_list(reader, &query, t->scratch, take_node, t);
}

static enum err read_hashes(struct store_reader *reader, const struct tile *tile,
                            struct tile_reading *t, struct arena *arena, struct slice *ret_bytes)
{
    t->found.hashes = arena_alloc(arena, tile->width * sizeof(struct hash));
    if (t->found.hashes == NULL)
        return ERR_NO_MEMORY;
    enum err err = tile->level == 0 ? list_entries(reader, t, tile->width, take_leaf)
                                    : list_nodes(reader, t, tile->level, tile->width);
    if (err == ERR_NONE && t->len != tile->width)
        err = ERR_IO;
    if (err == ERR_NONE)
        *ret_bytes = slice_of(t->found.hashes, tile->width * sizeof(struct hash));
    return err;
}

static enum err read_bundle(struct store_reader *reader, const struct tile *tile,
                            struct tile_reading *t, struct arena *arena, struct slice *ret_bytes)
{
    enum err err = list_entries(reader, t, tile->width, take_entry);
    if (err == ERR_EXPIRED)
        err = check_archived(reader, (uint64_t)t->first + t->len);
    if (err == ERR_NONE && t->len != tile->width)
        err = ERR_IO;
    if (err != ERR_NONE)
        return err;
    size_t size = 0;
    for (unsigned i = 0; i < t->len; i++)
        size += sizeof(uint16_t) + t->found.entries[i].len;
    struct writer w = arena_writer(arena, size);
    for (unsigned i = 0; i < t->len; i++)
        tile_write_entry(&w, t->found.entries[i]);
    if (w.err == ERR_NONE)
        *ret_bytes = writer_bytes(&w);
    return w.err;
}

enum err ledger_read_tile(struct ledger *l, struct store_reader *reader, const struct tile *tile,
                          struct arena *arena, struct slice *ret_bytes)
{
    struct checkpoint head = ledger_head(l);
    if (tile->width == 0 || tile->width > tile_width(tile->level, tile->index, head.size))
        return ERR_NOT_FOUND;
    struct tile_reading t = {
        .scratch = arena_new(BUNDLE_ARENA_MAX),
        .first = (int64_t)(tile->index * TILE_WIDTH),
    };
    if (t.scratch == NULL)
        return ERR_NO_MEMORY;
    enum err err = tile->level == TILE_ENTRIES ? read_bundle(reader, tile, &t, arena, ret_bytes)
                                               : read_hashes(reader, tile, &t, arena, ret_bytes);
    arena_free(t.scratch);
    return err;
}

/* ---- entries ---- */

struct walk {
    enum err (*entry)(void *ctx, uint64_t number, struct slice data);
    void *ctx;
    bool is_expired;
    uint64_t number; /* of the entry that is */
    size_t told;
};

static enum err step(void *ctx, const void *bytes)
{
    struct walk *walk = ctx;
    const struct ledger_entry_row *row = bytes;
    if (row->data.len == 0) {
        walk->is_expired = true;
        walk->number = (uint64_t)row->number;
        return ERR_EXPIRED;
    }
    walk->told++;
    return walk->entry(walk->ctx, (uint64_t)row->number, row->data);
}

enum err ledger_read_entries(struct ledger *l, struct store_reader *reader, uint64_t first,
                             bool descending, size_t limit, struct arena *arena,
                             enum err (*entry)(void *ctx, uint64_t number, struct slice data),
                             void *ctx)
{
    struct checkpoint head = ledger_head(l);
    if (head.size == 0 || (!descending && first >= head.size))
        return ERR_NONE;
    uint64_t newest = head.size - 1;
    uint64_t start = first > newest ? newest : first;
    const struct ledger_entry_row after = {
        .number = descending ? (int64_t)start + 1 : (int64_t)start - 1,
    };
    const struct ledger_entry_row until = {.number = descending ? 0 : (int64_t)newest};
    const struct store_query query = {
        .table = &table_ledger_entry,
        .after = &after,
        .until = &until,
        .descending = descending,
        .limit = limit,
    };
    struct walk walk = {.entry = entry, .ctx = ctx};
    enum err err = store_list(reader, &query, arena, step, &walk);
    if (!walk.is_expired)
        return err;
    err = check_archived(reader, walk.number);
    return err == ERR_EXPIRED && walk.told > 0 ? ERR_NONE : err;
}
