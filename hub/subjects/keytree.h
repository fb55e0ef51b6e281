/* 2^32 keys in one file, each of which can be destroyed for good while the others stay: a tree of
 * pseudo-random keys (Goldreich, Goldwasser and Micali 1986). Each node's key makes those of its
 * two children, HMAC-SHA256(key, 0 or 1); leaves are the keys in use. The tree starts as its root
 * alone. Destroying a leaf replaces the node above it by the siblings along the way down: nothing
 * that is left leads to that leaf, and every other one is still what it was.
 *
 *   file = "holdfast-keytree-1\n" name_key(32) count(4) node{count} sha256(32)
 *   node = first(4) depth(1) key(32)
 *
 * Numbers are big-endian; nodes stand in order, and none lies below another. */
#ifndef HUB_SUBJECTS_KEYTREE_H
#define HUB_SUBJECTS_KEYTREE_H

#include "core/cursor.h"
#include "core/merkle.h"

#define KEYTREE_DEPTH 32
#define KEYTREE_NODES_MAX                                                                          \
    ((size_t)1 << 18) /* 10 MB; thousands of leaves destroyed here and there */
#define KEYTREE_FIXED     (19 + 32 + 4 + 32) /* bytes of a file beside its nodes */
#define KEYTREE_NODE_SIZE 37

struct keytree_node {
    uint32_t first; /* its leftmost leaf */
    uint8_t depth;  /* 0: the root, of all leaves; 32: a leaf */
    struct hash key;
};

struct keytree {
    struct hash name_key; /* one more, for looking names up */
    struct keytree_node *nodes;
    size_t len, room;
};

/* A new one, random. Ends with keytree_wipe(), as do those that were read. */
MUST_USE enum err keytree_make(struct keytree *ret_tree);
void keytree_wipe(struct keytree *tree);

/* ERR_NOT_FOUND: destroyed. */
MUST_USE enum err keytree_leaf(const struct keytree *tree, uint32_t leaf, struct hash *ret_key);
/* That it is destroyed already is no error. ERR_LIMIT, ERR_NO_MEMORY: the tree is as before. */
MUST_USE enum err keytree_destroy(struct keytree *tree, uint32_t leaf);

size_t keytree_file_size(const struct keytree *tree);
void keytree_write(struct writer *w, const struct keytree *tree);
/* ERR_SYNTAX, ERR_NO_MEMORY. */
MUST_USE enum err keytree_read(struct slice file, struct keytree *ret_tree);

#endif
