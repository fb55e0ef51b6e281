#include "core/tile.h"

#define TILE_BITS 8 /* 2^8 is TILE_WIDTH */

/* An entry bundle covers the same entries as the level 0 tile of its index. */
static unsigned level_shift(int level)
{
    return level == TILE_ENTRIES ? 0 : TILE_BITS * (unsigned)level;
}

/* The first index at this level that would lie beyond the log's largest size, 2^48 entries. */
static uint64_t index_end(int level)
{
    return UINT64_C(1) << (TILE_BITS * TILE_LEVEL_MAX - level_shift(level));
}

static bool is_tile(const struct tile *t)
{
    return t->level >= TILE_ENTRIES && t->level <= TILE_LEVEL_MAX && t->width > 0 &&
           t->width <= TILE_WIDTH && t->index < index_end(t->level);
}

static void write_index_group(struct writer *w, uint64_t group)
{
    writer_u8(w, (uint8_t)('0' + group / 100));
    writer_u8(w, (uint8_t)('0' + group / 10 % 10));
    writer_u8(w, (uint8_t)('0' + group % 10));
}

void tile_write_path(struct writer *w, const struct tile *tile)
{
    if (!is_tile(tile)) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    writer_text(w, "tile/");
    if (tile->level == TILE_ENTRIES)
        writer_text(w, "entries");
    else
        writer_decimal(w, (uint64_t)tile->level);
    writer_text(w, "/");
    uint64_t unit = 1;
    while (tile->index / unit >= 1000)
        unit *= 1000;
    for (; unit > 1; unit /= 1000) {
        writer_text(w, "x");
        write_index_group(w, tile->index / unit % 1000);
        writer_text(w, "/");
    }
    write_index_group(w, tile->index % 1000);
    if (tile->width < TILE_WIDTH) {
        writer_text(w, ".p/");
        writer_decimal(w, tile->width);
    }
}

static uint64_t read_index_group(struct reader *r)
{
    struct slice digits = reader_take(r, 3);
    uint64_t v = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            reader_fail(r, ERR_SYNTAX);
        v = v * 10 + (uint64_t)(digits.data[i] - '0');
    }
    return v;
}

static uint64_t read_index(struct reader *r, int level)
{
    uint64_t index = 0;
    while (reader_peek(r) == 'x') {
        reader_expect(r, SLICE_LITERAL("x"));
        index = index * 1000 + read_index_group(r);
        reader_expect(r, SLICE_LITERAL("/"));
        if (index == 0)
            reader_fail(r, ERR_SYNTAX);
        if (index >= index_end(level))
            reader_fail(r, ERR_LIMIT);
    }
    index = index * 1000 + read_index_group(r);
    if (index >= index_end(level))
        reader_fail(r, ERR_LIMIT);
    return index;
}

enum err tile_read_path(struct slice path, struct tile *ret_tile)
{
    struct tile t = {.level = TILE_ENTRIES, .width = TILE_WIDTH};
    struct reader r = reader_over(path);
    reader_expect(&r, SLICE_LITERAL("tile/"));
    if (reader_peek(&r) == 'e')
        reader_expect(&r, SLICE_LITERAL("entries"));
    else
        t.level = (int)reader_decimal(&r, TILE_LEVEL_MAX);
    reader_expect(&r, SLICE_LITERAL("/"));
    t.index = read_index(&r, t.level);
    if (reader_left(&r) > 0) {
        reader_expect(&r, SLICE_LITERAL(".p/"));
        t.width = (unsigned)reader_decimal(&r, TILE_WIDTH - 1);
        if (t.width == 0)
            reader_fail(&r, ERR_SYNTAX);
    }
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_tile = t;
    return err;
}

unsigned tile_width(int level, uint64_t index, uint64_t size)
{
    if (level < TILE_ENTRIES || level > TILE_LEVEL_MAX)
        return 0;
    uint64_t hashes = size >> level_shift(level);
    uint64_t full_tiles = hashes / TILE_WIDTH;
    if (index < full_tiles)
        return TILE_WIDTH;
    return index == full_tiles ? (unsigned)(hashes % TILE_WIDTH) : 0;
}

void tile_write_entry(struct writer *w, struct slice entry)
{
    if (entry.len > ENTRY_MAX) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    writer_be16(w, (uint16_t)entry.len);
    writer_put(w, entry);
}

struct slice tile_read_entry(struct reader *r)
{
    return reader_take(r, reader_be16(r));
}
