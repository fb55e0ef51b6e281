/* Merkle trees the naive way: RFC 6962 section 2.1 as it stands there. */
#ifndef TESTS_UNIT_NAIVE_TREE_H
#define TESTS_UNIT_NAIVE_TREE_H

#include "core/merkle.h"

#ifndef NAIVE_SHA256 /* who includes this without base/ brings its own */
#include "base/crypto.h"
#define NAIVE_SHA256 crypto_sha256
#endif

static inline size_t split(size_t n)
{
    size_t k = 1;
    while (k * 2 < n)
        k *= 2;
    return k;
}

static inline struct hash tree_root(const struct hash *leaves, size_t n)
{
    if (n == 0)
        return merkle_empty_root(NAIVE_SHA256);
    if (n == 1)
        return leaves[0];
    size_t k = split(n);
    struct hash left = tree_root(leaves, k);
    struct hash right = tree_root(leaves + k, n - k);
    return merkle_node_hash(NAIVE_SHA256, &left, &right);
}

/* PATH(m, D[n]) */
static inline size_t tree_path(const struct hash *leaves, size_t m, size_t n, struct hash *proof)
{
    if (n == 1)
        return 0;
    size_t k = split(n);
    size_t len =
        m < k ? tree_path(leaves, m, k, proof) : tree_path(leaves + k, m - k, n - k, proof);
    proof[len] = m < k ? tree_root(leaves + k, n - k) : tree_root(leaves, k);
    return len + 1;
}

/* SUBPROOF(m, D[n], b) */
static inline size_t tree_subproof(const struct hash *leaves, size_t m, size_t n, bool whole,
                                   struct hash *proof)
{
    if (m == n) {
        if (whole)
            return 0;
        proof[0] = tree_root(leaves, n);
        return 1;
    }
    size_t k = split(n);
    size_t len = m <= k ? tree_subproof(leaves, m, k, whole, proof)
                        : tree_subproof(leaves + k, m - k, n - k, false, proof);
    proof[len] = m <= k ? tree_root(leaves + k, n - k) : tree_root(leaves, k);
    return len + 1;
}

/* ---- a log of which only the sizes matter: leaf n is the hash of n ---- */

#define COUNTED_LEAVES 1200

static inline const struct hash *counted_leaves(void)
{
    static struct hash leaves[COUNTED_LEAVES];
    static bool made;
    for (uint64_t n = 0; !made && n < COUNTED_LEAVES; n++)
        leaves[n] = merkle_leaf_hash(NAIVE_SHA256, slice_of(&n, sizeof n));
    made = true;
    return leaves;
}

static inline struct hash counted_root(uint64_t size)
{
    assert_true(size <= COUNTED_LEAVES);
    return tree_root(counted_leaves(), (size_t)size);
}

/* None where there can be none. */
static inline size_t counted_proof(uint64_t old_size, uint64_t new_size, struct hash *proof)
{
    assert_true(new_size <= COUNTED_LEAVES);
    if (old_size == 0 || old_size >= new_size)
        return 0;
    return tree_subproof(counted_leaves(), (size_t)old_size, (size_t)new_size, true, proof);
}

#endif
