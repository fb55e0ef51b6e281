/* Merkle trees as RFC 6962 section 2.1 (and RFC 9162) define them: leaf = H(0x00 | data), node =
 * H(0x01 | left | right). Appending, roots, and proofs, with no allocation. */
#ifndef CORE_MERKLE_H
#define CORE_MERKLE_H

#include "core/crypto.h"

#define MERKLE_PROOF_MAX 64 /* hashes: a tree of 2^63 leaves needs no more */

struct hash {
    uint8_t bytes[SHA256_SIZE];
};

struct hash merkle_empty_root(sha256_fn *sha256);
struct hash merkle_leaf_hash(sha256_fn *sha256, struct slice data);
struct hash merkle_node_hash(sha256_fn *sha256, const struct hash *left, const struct hash *right);

/* The right edge of a growing tree: one root for each complete subtree, largest first; there are
 * as many as `size` has bits set. Copying the struct is a snapshot. */
struct merkle_frontier {
    uint64_t size;
    struct hash nodes[MERKLE_PROOF_MAX];
};

void merkle_frontier_init(struct merkle_frontier *f);
void merkle_frontier_append(struct merkle_frontier *f, sha256_fn *sha256, const struct hash *leaf);
struct hash merkle_frontier_root(const struct merkle_frontier *f, sha256_fn *sha256);

/* Proof checks (RFC 9162 sections 2.1.3.2 and 2.1.4.2). ERR_NONE, or ERR_BAD_SIGNATURE where the
 * proof does not lead from the one to the other, whatever is wrong with it. */
MUST_USE enum err merkle_verify_inclusion(sha256_fn *sha256, const struct hash *leaf,
                                          uint64_t index, uint64_t size, const struct hash *proof,
                                          size_t proof_len, const struct hash *root);
MUST_USE enum err merkle_verify_consistency(sha256_fn *sha256, uint64_t old_size,
                                            const struct hash *old_root, uint64_t new_size,
                                            const struct hash *new_root, const struct hash *proof,
                                            size_t proof_len);

#endif
