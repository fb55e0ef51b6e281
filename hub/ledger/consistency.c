/* Consistency proofs from stored entries and nodes. */
#include "core/consistency.h"
#include "base/crypto.h"
#include "hub/ledger/internal.h"

#define TILES_KEPT      (2 * (TILE_LEVEL_MAX + 1))
#define TILES_ARENA_MAX ((size_t)TILES_KEPT * (TILE_WIDTH * sizeof(struct hash) + 64))

struct kept_tile {
    struct tile tile;
    const struct hash *hashes;
};

struct tiles {
    struct ledger *ledger;
    struct store_reader *reader;
    struct arena *arena;
    uint64_t size; /* of the new tree */
    struct kept_tile kept[TILES_KEPT];
    size_t len;
};

static enum err find_tile(struct tiles *t, int level, uint64_t index, const struct hash **ret_tile)
{
    for (size_t i = 0; i < t->len; i++) {
        if (t->kept[i].tile.level == level && t->kept[i].tile.index == index) {
            *ret_tile = t->kept[i].hashes;
            return ERR_NONE;
        }
    }
    if (t->len == TILES_KEPT)
        return ERR_INTERNAL;
    struct kept_tile *next = &t->kept[t->len];
    next->tile =
        (struct tile){.level = level, .index = index, .width = tile_width(level, index, t->size)};
    struct slice bytes;
    enum err err = ledger_read_tile(t->ledger, t->reader, &next->tile, t->arena, &bytes);
    if (err != ERR_NONE)
        return err;
    next->hashes = (const struct hash *)bytes.data;
    t->len++;
    *ret_tile = next->hashes;
    return ERR_NONE;
}

static enum err take_node(void *ctx, int level, uint64_t number, struct hash *ret_node)
{
    const struct hash *tile;
    enum err err = find_tile(ctx, level, number / TILE_WIDTH, &tile);
    if (err == ERR_NONE)
        *ret_node = tile[number % TILE_WIDTH];
    return err;
}

enum err ledger_read_consistency(struct ledger *l, struct store_reader *reader, uint64_t old_size,
                                 uint64_t new_size, struct hash ret_proof[MERKLE_PROOF_MAX],
                                 size_t *ret_len)
{
    if (old_size > new_size || new_size > ledger_head(l).size)
        return ERR_NOT_FOUND;
    struct tiles t = {
        .ledger = l, .reader = reader, .arena = arena_new(TILES_ARENA_MAX), .size = new_size};
    if (t.arena == NULL)
        return ERR_NO_MEMORY;
    enum err err =
        consistency_prove(crypto_sha256, old_size, new_size, take_node, &t, ret_proof, ret_len);
    arena_free(t.arena);
    return err == ERR_NOT_FOUND ? ERR_IO : err;
}
