/* Consistency proofs (RFC 6962 section 2.1.2) from stored entries and nodes. A proof climbs from
 * the old tree's edge and along the new one's: on each level it needs two tiles at most. */
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

/* The root of the complete subtree number `index` of 2^height leaves. */
static enum err subtree_root(struct tiles *t, unsigned height, uint64_t index,
                             struct hash *ret_root)
{
    unsigned level = height / 8 < TILE_LEVEL_MAX ? height / 8 : TILE_LEVEL_MAX;
    unsigned above = height - 8 * level;
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    for (uint64_t i = index << above; i < (index + 1) << above; i++) {
        const struct hash *tile;
        enum err err = find_tile(t, (int)level, i / TILE_WIDTH, &tile);
        if (err != ERR_NONE)
            return err;
        merkle_frontier_append(&f, crypto_sha256, &tile[i % TILE_WIDTH]);
    }
    *ret_root = merkle_frontier_root(&f, crypto_sha256);
    return ERR_NONE;
}

/* MTH(D[from:to]), where `from` is a multiple of the largest power of two in to - from. */
static enum err range_root(struct tiles *t, uint64_t from, uint64_t to, struct hash *ret_root)
{
    struct hash roots[MERKLE_PROOF_MAX];
    size_t len = 0;
    while (from < to) {
        unsigned height = 63 - (unsigned)__builtin_clzll(to - from);
        enum err err = subtree_root(t, height, from >> height, &roots[len++]);
        if (err != ERR_NONE)
            return err;
        from += UINT64_C(1) << height;
    }
    struct hash root = roots[--len];
    while (len > 0)
        root = merkle_node_hash(crypto_sha256, &roots[--len], &root);
    *ret_root = root;
    return ERR_NONE;
}

/* The largest power of two below n, which is at least 2. */
static uint64_t split(uint64_t n)
{
    return UINT64_C(1) << (63 - (unsigned)__builtin_clzll(n - 1));
}

/* SUBPROOF(old, D[0:new], true), from the root downwards: so the last hash comes first. */
static enum err descend(struct tiles *t, uint64_t old_size, struct hash proof[MERKLE_PROOF_MAX],
                        size_t *ret_len)
{
    uint64_t from = 0, to = t->size;
    size_t len = 0;
    enum err err = ERR_NONE;
    while (err == ERR_NONE && old_size != to) {
        uint64_t middle = from + split(to - from);
        if (old_size <= middle) {
            err = range_root(t, middle, to, &proof[len++]);
            to = middle;
        } else {
            err = range_root(t, from, middle, &proof[len++]);
            from = middle;
        }
    }
    /* An old tree that is complete in the new one is known to whoever asks. */
    if (err == ERR_NONE && from > 0)
        err = range_root(t, from, to, &proof[len++]);
    *ret_len = len;
    return err;
}

enum err ledger_read_consistency(struct ledger *l, struct store_reader *reader, uint64_t old_size,
                                 uint64_t new_size, struct hash ret_proof[MERKLE_PROOF_MAX],
                                 size_t *ret_len)
{
    if (old_size > new_size || new_size > ledger_head(l).size)
        return ERR_NOT_FOUND;
    if (old_size == 0 || old_size == new_size) {
        *ret_len = 0;
        return ERR_NONE;
    }
    struct tiles t = {
        .ledger = l, .reader = reader, .arena = arena_new(TILES_ARENA_MAX), .size = new_size};
    if (t.arena == NULL)
        return ERR_NO_MEMORY;
    struct hash down[MERKLE_PROOF_MAX];
    size_t len = 0;
    enum err err = descend(&t, old_size, down, &len);
    arena_free(t.arena);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_IO : err;
    for (size_t i = 0; i < len; i++)
        ret_proof[i] = down[len - 1 - i];
    *ret_len = len;
    return ERR_NONE;
}
