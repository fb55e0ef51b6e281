/* A log in memory, served tile by tile, that a test can change as it likes. */
#ifndef TESTS_UNIT_LOG_FIXTURE_H
#define TESTS_UNIT_LOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/log_reader.h"
#include "tests/unit/openssl_crypto.h"

#define SIZE_MADE  66000 /* a full tile of level 1 and a partial one, and one of level 2 */
#define LEVELS     3
#define BUNDLE_MAX (256 * 64)

/* What happens to one tile on its way. */
enum damage { WHOLE, FLIP, SHORTEN, LENGTHEN, MISSING, BROKEN };

/* A log in memory, as it is served: each layer can be changed without the others. */
static struct {
    uint64_t size;
    uint64_t entries[SIZE_MADE + 1]; /* each entry's text is made of its value */
    struct hash hashes[LEVELS][SIZE_MADE + 1];
    const char *damaged_path;
    enum damage damage;
    bool partial_tiles_are_gone;
} the_log;

static struct slice entry_text(uint64_t value)
{
    static char text[40];
    int len = snprintf(text, sizeof text, "entry %llu%.*s", (unsigned long long)value,
                       (int)(value % 9), "........");
    return slice_of(text, (size_t)len);
}

/* RFC 6962 section 2.1, from leaf hashes. */
static struct hash mth(const struct hash *leaves, size_t n)
{
    if (n == 0)
        return merkle_empty_root(test_sha256);
    if (n == 1)
        return leaves[0];
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    struct hash left = mth(leaves, k);
    struct hash right = mth(leaves + k, n - k);
    return merkle_node_hash(test_sha256, &left, &right);
}

static void hash_entries(void)
{
    for (uint64_t i = 0; i < the_log.size; i++)
        the_log.hashes[0][i] = merkle_leaf_hash(test_sha256, entry_text(the_log.entries[i]));
}

static void hash_upper_levels(void)
{
    uint64_t n = the_log.size;
    for (int level = 1; level < LEVELS; level++) {
        n /= TILE_WIDTH;
        for (uint64_t i = 0; i < n; i++)
            the_log.hashes[level][i] = mth(&the_log.hashes[level - 1][i * TILE_WIDTH], TILE_WIDTH);
    }
}

static void make_log(uint64_t size)
{
    memset(&the_log, 0, sizeof the_log);
    the_log.size = size;
    for (uint64_t i = 0; i <= SIZE_MADE; i++)
        the_log.entries[i] = i;
    hash_entries();
    hash_upper_levels();
}

static struct checkpoint checkpoint_at(uint64_t size)
{
    struct checkpoint c = {.origin = "fleet.example/ledger", .size = size};
    c.root = mth(the_log.hashes[0], size);
    return c;
}

static enum err fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    assert_ptr_equal(ctx, &the_log);
    struct tile tile;
    assert_int_equal(tile_read_path(path, &tile), ERR_NONE);
    bool is_damaged =
        the_log.damage != WHOLE && slice_equal(path, slice_of_text(the_log.damaged_path));
    if (is_damaged && the_log.damage == BROKEN)
        return ERR_IO;
    if (is_damaged && the_log.damage == MISSING)
        return ERR_NOT_FOUND;
    if (the_log.partial_tiles_are_gone && tile.width < TILE_WIDTH)
        return ERR_NOT_FOUND;
    if (tile.width > tile_width(tile.level, tile.index, the_log.size))
        return ERR_NOT_FOUND;

    struct writer w = writer_over(buffer, max);
    for (uint64_t i = tile.index * TILE_WIDTH; i < tile.index * TILE_WIDTH + tile.width; i++) {
        if (tile.level == TILE_ENTRIES)
            tile_write_entry(&w, entry_text(the_log.entries[i]));
        else
            writer_put(&w, slice_of(the_log.hashes[tile.level][i].bytes, SHA256_SIZE));
    }
    if (is_damaged && the_log.damage == LENGTHEN)
        writer_u8(&w, 0);
    if (w.err != ERR_NONE)
        return w.err;
    if (is_damaged && the_log.damage == FLIP)
        buffer[w.len / 2] ^= 1;
    *ret_len = w.len - (is_damaged && the_log.damage == SHORTEN ? 1 : 0);
    return ERR_NONE;
}

/* What is done to history, and how far it is covered up. */
enum change { EDIT, DELETE, REORDER, TRUNCATE };
enum cover { ENTRIES_ONLY, LEAF_TILES, ALL_TILES, SIGNED };

static void change_history(enum change change, uint64_t at)
{
    uint64_t other = the_log.entries[at];
    switch (change) {
    case EDIT:
        the_log.entries[at] = 1000000 + at;
        break;
    case DELETE: /* the end is filled up with the entry that follows */
        memmove(&the_log.entries[at], &the_log.entries[at + 1],
                (SIZE_MADE - at) * sizeof the_log.entries[0]);
        break;
    case REORDER:
        the_log.entries[at] = the_log.entries[at + 1];
        the_log.entries[at + 1] = other;
        break;
    case TRUNCATE:
        the_log.size = at;
        break;
    }
}

#endif
