#include "hub/subjects/keytree.h"

#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"

static const struct slice magic = SLICE_LITERAL("holdfast-keytree-1\n");

/* ---- life ---- */

static enum err make_room(struct keytree *tree, size_t nodes)
{
    if (nodes > KEYTREE_NODES_MAX)
        return ERR_LIMIT;
    if (nodes <= tree->room)
        return ERR_NONE;
    size_t room = 2 * nodes;
    struct keytree_node *more = malloc(room * sizeof *more);
    if (more == NULL)
        return ERR_NO_MEMORY;
    if (tree->len > 0)
        memcpy(more, tree->nodes, tree->len * sizeof *more);
    if (tree->nodes != NULL)
        mem_wipe(tree->nodes, tree->room * sizeof *more);
    free(tree->nodes);
    tree->nodes = more;
    tree->room = room;
    return ERR_NONE;
}

enum err keytree_make(struct keytree *ret_tree)
{
    struct keytree tree = {0};
    enum err err = make_room(&tree, 1);
    if (err != ERR_NONE)
        return err;
    tree.nodes[0] = (struct keytree_node){0};
    tree.len = 1;
    err = crypto_random(tree.name_key.bytes, sizeof tree.name_key.bytes);
    if (err == ERR_NONE)
        err = crypto_random(tree.nodes[0].key.bytes, sizeof tree.nodes[0].key.bytes);
    if (err == ERR_NONE)
        *ret_tree = tree;
    else
        keytree_wipe(&tree);
    return err;
}

void keytree_wipe(struct keytree *tree)
{
    if (tree->nodes != NULL)
        mem_wipe(tree->nodes, tree->room * sizeof *tree->nodes);
    free(tree->nodes);
    mem_wipe(tree, sizeof *tree);
}

/* ---- leaves ---- */

static uint32_t leaves_below(unsigned depth) /* less one, so that the root's fit */
{
    return depth == KEYTREE_DEPTH ? 0 : UINT32_MAX >> depth;
}

/* The node that `leaf` is below, or NULL. */
static struct keytree_node *find(const struct keytree *tree, uint32_t leaf)
{
    size_t low = 0, high = tree->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct keytree_node *node = &tree->nodes[middle];
        if (leaf < node->first)
            high = middle;
        else if (leaf - node->first > leaves_below(node->depth))
            low = middle + 1;
        else
            return node;
    }
    return NULL;
}

static struct keytree_node child_of(const struct keytree_node *node, uint8_t side)
{
    struct keytree_node child = {.first = node->first, .depth = (uint8_t)(node->depth + 1)};
    if (side == 1)
        child.first += leaves_below(child.depth) + 1;
    crypto_hmac_sha256(node->key.bytes, slice_of(&side, 1), child.key.bytes);
    return child;
}

static uint8_t side_of(uint32_t leaf, unsigned depth) /* of the child at depth + 1 */
{
    return (uint8_t)(leaf >> (KEYTREE_DEPTH - 1 - depth) & 1);
}

enum err keytree_leaf(const struct keytree *tree, uint32_t leaf, struct hash *ret_key)
{
    const struct keytree_node *found = find(tree, leaf);
    if (found == NULL)
        return ERR_NOT_FOUND;
    struct keytree_node node = *found;
    while (node.depth < KEYTREE_DEPTH)
        node = child_of(&node, side_of(leaf, node.depth));
    *ret_key = node.key;
    mem_wipe(&node, sizeof node);
    return ERR_NONE;
}

enum err keytree_destroy(struct keytree *tree, uint32_t leaf)
{
    struct keytree_node *found = find(tree, leaf);
    if (found == NULL)
        return ERR_NONE;
    size_t at = (size_t)(found - tree->nodes);
    size_t siblings = KEYTREE_DEPTH - found->depth;
    enum err err = make_room(tree, tree->len + siblings);
    if (err != ERR_NONE)
        return err;
    struct keytree_node node = tree->nodes[at];
    memmove(&tree->nodes[at + siblings], &tree->nodes[at + 1],
            (tree->len - at - 1) * sizeof *tree->nodes);
    tree->len = tree->len - 1 + siblings;
    /* from outside inwards: what is left of the leaf grows from the left, the rest from the right
     */
    size_t left = at, right = at + siblings;
    while (node.depth < KEYTREE_DEPTH) {
        uint8_t side = side_of(leaf, node.depth);
        struct keytree_node sibling = child_of(&node, side ^ 1);
        tree->nodes[side == 1 ? left++ : --right] = sibling;
        node = child_of(&node, side);
    }
    mem_wipe(&node, sizeof node);
    mem_wipe(&tree->nodes[tree->len], (tree->room - tree->len) * sizeof *tree->nodes);
    return ERR_NONE;
}

/* ---- the file ---- */

size_t keytree_file_size(const struct keytree *tree)
{
    return KEYTREE_FIXED + tree->len * KEYTREE_NODE_SIZE;
}

static struct hash digest_of(struct slice bytes)
{
    struct hash digest;
    crypto_sha256_one(bytes, digest.bytes);
    return digest;
}

void keytree_write(struct writer *w, const struct keytree *tree)
{
    size_t start = w->len;
    writer_put(w, magic);
    writer_put(w, slice_of(tree->name_key.bytes, sizeof tree->name_key.bytes));
    writer_be32(w, (uint32_t)tree->len);
    for (size_t i = 0; i < tree->len; i++) {
        const struct keytree_node *node = &tree->nodes[i];
        writer_be32(w, node->first);
        writer_u8(w, node->depth);
        writer_put(w, slice_of(node->key.bytes, sizeof node->key.bytes));
    }
    if (w->err != ERR_NONE)
        return;
    struct hash digest = digest_of(slice_of(w->start + start, w->len - start));
    writer_put(w, slice_of(digest.bytes, sizeof digest.bytes));
}

static void read_key(struct reader *r, struct hash *ret_key)
{
    struct slice bytes = reader_take(r, sizeof ret_key->bytes);
    if (bytes.len == sizeof ret_key->bytes)
        memcpy(ret_key->bytes, bytes.data, bytes.len);
}

/* `before`: the last leaf of the node before it, where it is not the first. */
static bool node_fits(const struct keytree_node *node, const uint32_t *before)
{
    return node->depth <= KEYTREE_DEPTH && (node->first & leaves_below(node->depth)) == 0 &&
           (before == NULL || node->first > *before);
}

static enum err read_nodes(struct reader *r, struct keytree *tree, size_t count)
{
    uint32_t last = 0;
    for (size_t i = 0; i < count; i++) {
        struct keytree_node *node = &tree->nodes[i];
        node->first = reader_be32(r);
        node->depth = reader_u8(r);
        read_key(r, &node->key);
        if (r->err != ERR_NONE || !node_fits(node, i == 0 ? NULL : &last))
            return ERR_SYNTAX;
        last = node->first + leaves_below(node->depth);
    }
    tree->len = count;
    return ERR_NONE;
}

enum err keytree_read(struct slice file, struct keytree *ret_tree)
{
    struct keytree tree = {0};
    if (file.len < KEYTREE_FIXED || !slice_starts_with(file, magic))
        return ERR_SYNTAX;
    size_t body = file.len - SHA256_SIZE;
    struct hash digest = digest_of(slice_of(file.data, body));
    if (memcmp(digest.bytes, file.data + body, sizeof digest.bytes) != 0)
        return ERR_SYNTAX;
    struct reader r = reader_over(slice_of(file.data + magic.len, body - magic.len));
    read_key(&r, &tree.name_key);
    size_t count = reader_be32(&r);
    if (count > KEYTREE_NODES_MAX ||
        body != KEYTREE_FIXED - SHA256_SIZE + count * KEYTREE_NODE_SIZE)
        return ERR_SYNTAX;
    enum err err = make_room(&tree, count + 1);
    if (err == ERR_NONE)
        err = read_nodes(&r, &tree, count);
    if (err == ERR_NONE)
        *ret_tree = tree;
    else
        keytree_wipe(&tree);
    return err;
}
