#include "core/merkle.h"

struct hash merkle_empty_root(sha256_fn *sha256)
{
    struct hash h;
    sha256(NULL, 0, h.bytes);
    return h;
}

struct hash merkle_leaf_hash(sha256_fn *sha256, struct slice data)
{
    struct slice parts[] = {SLICE_LITERAL("\x00"), data};
    struct hash h;
    sha256(parts, ARRAY_LEN(parts), h.bytes);
    return h;
}

struct hash merkle_node_hash(sha256_fn *sha256, const struct hash *left, const struct hash *right)
{
    /* in one piece: there is a node for each leaf, and a library is called once for each piece */
    uint8_t node[1 + 2 * SHA256_SIZE] = {0x01};
    memcpy(node + 1, left->bytes, SHA256_SIZE);
    memcpy(node + 1 + SHA256_SIZE, right->bytes, SHA256_SIZE);
    struct slice parts[] = {slice_of(node, sizeof node)};
    struct hash h;
    sha256(parts, ARRAY_LEN(parts), h.bytes);
    return h;
}

static bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a->bytes, b->bytes, SHA256_SIZE) == 0;
}

static size_t bits_set(uint64_t v)
{
    size_t n = 0;
    for (; v != 0; v &= v - 1)
        n++;
    return n;
}

void merkle_frontier_init(struct merkle_frontier *f)
{
    f->size = 0;
}

void merkle_frontier_append(struct merkle_frontier *f, sha256_fn *sha256, const struct hash *leaf)
{
    struct hash node = *leaf;
    size_t at = bits_set(f->size);
    for (uint64_t size = f->size; (size & 1) != 0; size >>= 1)
        node = merkle_node_hash(sha256, &f->nodes[--at], &node);
    f->nodes[at] = node;
    f->size++;
}

struct hash merkle_frontier_root(const struct merkle_frontier *f, sha256_fn *sha256)
{
    size_t at = bits_set(f->size);
    if (at == 0)
        return merkle_empty_root(sha256);
    struct hash node = f->nodes[--at];
    while (at > 0)
        node = merkle_node_hash(sha256, &f->nodes[--at], &node);
    return node;
}

/* Where a proof's walk stands: a node's number on its level, and the last number on that level.
 * The RFC calls them fn and sn. */
struct position {
    uint64_t node;
    uint64_t last;
};

static void position_rise(struct position *p)
{
    p->node >>= 1;
    p->last >>= 1;
}

/* True where the node's sibling is on its left. A node at the right edge without a sibling rises
 * to where it has one. */
static bool position_is_right(struct position *p)
{
    if ((p->node & 1) == 0 && p->node != p->last)
        return false;
    while ((p->node & 1) == 0 && p->node != 0)
        position_rise(p);
    return true;
}

enum err merkle_verify_inclusion(sha256_fn *sha256, const struct hash *leaf, uint64_t index,
                                 uint64_t size, const struct hash *proof, size_t proof_len,
                                 const struct hash *root)
{
    if (index >= size)
        return ERR_BAD_SIGNATURE;
    struct position at = {.node = index, .last = size - 1};
    struct hash node = *leaf;
    for (size_t i = 0; i < proof_len; i++) {
        if (at.last == 0)
            return ERR_BAD_SIGNATURE;
        if (position_is_right(&at))
            node = merkle_node_hash(sha256, &proof[i], &node);
        else
            node = merkle_node_hash(sha256, &node, &proof[i]);
        position_rise(&at);
    }
    return at.last == 0 && hash_equal(&node, root) ? ERR_NONE : ERR_BAD_SIGNATURE;
}

/* The sizes for which a consistency proof is empty: the same tree, or nothing as its beginning. */
static bool is_trivially_consistent(sha256_fn *sha256, uint64_t old_size,
                                    const struct hash *old_root, uint64_t new_size,
                                    const struct hash *new_root)
{
    struct hash empty = merkle_empty_root(sha256);
    if (old_size == 0 && !hash_equal(old_root, &empty))
        return false;
    return old_size != new_size || hash_equal(old_root, new_root);
}

enum err merkle_verify_consistency(sha256_fn *sha256, uint64_t old_size,
                                   const struct hash *old_root, uint64_t new_size,
                                   const struct hash *new_root, const struct hash *proof,
                                   size_t proof_len)
{
    if (old_size > new_size)
        return ERR_BAD_SIGNATURE;
    if (old_size == 0 || old_size == new_size) {
        bool ok = proof_len == 0 &&
                  is_trivially_consistent(sha256, old_size, old_root, new_size, new_root);
        return ok ? ERR_NONE : ERR_BAD_SIGNATURE;
    }
    if (proof_len == 0)
        return ERR_BAD_SIGNATURE;

    struct position at = {.node = old_size - 1, .last = new_size - 1};
    while ((at.node & 1) != 0)
        position_rise(&at);
    /* An old tree that is complete is a node of the new one, and is left out of the proof. */
    bool old_is_complete = (old_size & (old_size - 1)) == 0;
    struct hash old_node = old_is_complete ? *old_root : proof[0];
    struct hash new_node = old_node;
    for (size_t i = old_is_complete ? 0 : 1; i < proof_len; i++) {
        if (at.last == 0)
            return ERR_BAD_SIGNATURE;
        if (position_is_right(&at)) {
            old_node = merkle_node_hash(sha256, &proof[i], &old_node);
            new_node = merkle_node_hash(sha256, &proof[i], &new_node);
        } else {
            new_node = merkle_node_hash(sha256, &new_node, &proof[i]);
        }
        position_rise(&at);
    }
    bool ok = at.last == 0 && hash_equal(&old_node, old_root) && hash_equal(&new_node, new_root);
    return ok ? ERR_NONE : ERR_BAD_SIGNATURE;
}
