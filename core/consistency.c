#include "core/consistency.h"

struct proving {
    sha256_fn *sha256;
    tile_node_fn *node;
    void *ctx;
    uint64_t size; /* of the new tree */
};

/* The root of the complete subtree number `index` of 2^height leaves. */
static enum err subtree_root(const struct proving *p, unsigned height, uint64_t index,
                             struct hash *ret_root)
{
    unsigned level = height / 8 < TILE_LEVEL_MAX ? height / 8 : TILE_LEVEL_MAX;
    unsigned above = height - 8 * level;
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    for (uint64_t i = index << above; i < (index + 1) << above; i++) {
        struct hash node;
        enum err err = p->node(p->ctx, (int)level, i, &node);
        if (err != ERR_NONE)
            return err;
        merkle_frontier_append(&f, p->sha256, &node);
    }
    *ret_root = merkle_frontier_root(&f, p->sha256);
    return ERR_NONE;
}

/* MTH(D[from:to]), where `from` is a multiple of the largest power of two in to - from. */
static enum err range_root(const struct proving *p, uint64_t from, uint64_t to,
                           struct hash *ret_root)
{
    struct hash roots[MERKLE_PROOF_MAX];
    size_t len = 0;
    while (from < to) {
        unsigned height = 63 - (unsigned)__builtin_clzll(to - from);
        enum err err = subtree_root(p, height, from >> height, &roots[len++]);
        if (err != ERR_NONE)
            return err;
        from += UINT64_C(1) << height;
    }
    struct hash root = roots[--len];
    while (len > 0)
        root = merkle_node_hash(p->sha256, &roots[--len], &root);
    *ret_root = root;
    return ERR_NONE;
}

/* The largest power of two below n, which is at least 2. */
static uint64_t split(uint64_t n)
{
    return UINT64_C(1) << (63 - (unsigned)__builtin_clzll(n - 1));
}

/* SUBPROOF(old, D[0:new], true), from the root downwards: so the last hash comes first. */
static enum err descend(const struct proving *p, uint64_t old_size,
                        struct hash proof[MERKLE_PROOF_MAX], size_t *ret_len)
{
    uint64_t from = 0, to = p->size;
    size_t len = 0;
    enum err err = ERR_NONE;
    while (err == ERR_NONE && old_size != to) {
        uint64_t middle = from + split(to - from);
        if (old_size <= middle) {
            err = range_root(p, middle, to, &proof[len++]);
            to = middle;
        } else {
            err = range_root(p, from, middle, &proof[len++]);
            from = middle;
        }
    }
    /* An old tree that is complete in the new one is known to whoever asks. */
    if (err == ERR_NONE && from > 0)
        err = range_root(p, from, to, &proof[len++]);
    *ret_len = len;
    return err;
}

enum err consistency_prove(sha256_fn *sha256, uint64_t old_size, uint64_t new_size,
                           tile_node_fn *node, void *ctx, struct hash ret_proof[MERKLE_PROOF_MAX],
                           size_t *ret_len)
{
    if (old_size > new_size)
        return ERR_LIMIT;
    const struct proving p = {.sha256 = sha256, .node = node, .ctx = ctx, .size = new_size};
    struct hash down[MERKLE_PROOF_MAX];
    size_t len = 0;
    enum err err = ERR_NONE;
    if (old_size > 0 && old_size < new_size)
        err = descend(&p, old_size, down, &len);
    if (err != ERR_NONE)
        return err;
    for (size_t i = 0; i < len; i++)
        ret_proof[i] = down[len - 1 - i];
    *ret_len = len;
    return ERR_NONE;
}
