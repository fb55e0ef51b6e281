/* Consistency proofs (RFC 6962 section 2.1.2) made from the nodes that tiles hold. A proof climbs
 * from the old tree's edge and along the new one's: on each level it needs two tiles at most. */
#ifndef CORE_CONSISTENCY_H
#define CORE_CONSISTENCY_H

#include "core/merkle.h"
#include "core/tile.h"

/* The node `number` of a tile's level, in the tree of the new size: leaf hashes on level 0, above
 * them the roots of 256 nodes each. Any error ends the proof. */
typedef enum err tile_node_fn(void *ctx, int level, uint64_t number, struct hash *ret_node);

/* What leads from the first `old_size` entries to the first `new_size`; empty where there is
 * nothing to prove. ERR_LIMIT where the old tree is the larger. */
MUST_USE enum err consistency_prove(sha256_fn *sha256, uint64_t old_size, uint64_t new_size,
                                    tile_node_fn *node, void *ctx,
                                    struct hash ret_proof[MERKLE_PROOF_MAX], size_t *ret_len);

#endif
