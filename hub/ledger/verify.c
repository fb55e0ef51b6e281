/* The check at start: do the head, its frontier, the stored nodes and the newest entries agree? It
 * looks at the right edge of the tree alone, so it takes no longer for a large log; that older
 * entries are what they were is for an auditor to check, against checkpoints of their own. */
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "hub/ledger/internal.h"

/* One entry at a time; with room to spare. */
#define VERIFY_ARENA_MAX ((size_t)256 << 10)

struct edge {
    struct arena *arena;
    int64_t next;             /* the number that must come next */
    struct merkle_frontier f; /* over what came so far */
    bool leaves_do;           /* of an entry that is archived the leaf is taken as it is */
    bool wrong;
    int64_t wrong_number;
};

static enum err take_entry(void *ctx, const void *bytes)
{
    struct edge *edge = ctx;
    const struct ledger_entry_row *row = bytes;
    struct hash leaf = row->data.len == 0 && edge->leaves_do
                           ? row->leaf
                           : merkle_leaf_hash(crypto_sha256, row->data);
    if (row->number != edge->next || memcmp(leaf.bytes, row->leaf.bytes, sizeof leaf.bytes) != 0) {
        edge->wrong = true;
        edge->wrong_number = edge->next;
        return ERR_CONFLICT;
    }
    merkle_frontier_append(&edge->f, crypto_sha256, &row->leaf);
    edge->next++;
    arena_reset(edge->arena);
    return ERR_NONE;
}

static enum err take_node(void *ctx, const void *bytes)
{
    struct edge *edge = ctx;
    const struct ledger_node_row *row = bytes;
    if (row->number != edge->next) {
        edge->wrong = true;
        edge->wrong_number = edge->next;
        return ERR_CONFLICT;
    }
    merkle_frontier_append(&edge->f, crypto_sha256, &row->hash);
    edge->next++;
    return ERR_NONE;
}

/* Entries `first` up to `end` (not included), their leaves hashed anew. */
static enum err read_entries(struct store_reader *reader, struct edge *edge, uint64_t first,
                             uint64_t end)
{
    const struct ledger_entry_row before = {.number = (int64_t)first - 1};
    const struct store_query query = {
        .table = &table_ledger_entry,
        .after = &before,
        .limit = (size_t)(end - first),
    };
    merkle_frontier_init(&edge->f);
    edge->next = (int64_t)first;
    enum err err = store_list(reader, &query, edge->arena, take_entry, edge);
    if (err == ERR_NONE && edge->next != (int64_t)end) {
        edge->wrong = true;
        edge->wrong_number = edge->next;
        err = ERR_CONFLICT;
    }
    return err;
}

static enum err read_nodes(struct store_reader *reader, struct edge *edge, int level,
                           uint64_t first, uint64_t end)
{
    const struct ledger_node_row before = {.level = level, .number = (int64_t)first - 1};
    const struct ledger_node_row last = {.level = level, .number = (int64_t)end - 1};
    const struct store_query query = {
        .table = &table_ledger_node,
        .after = &before,
        .until = &last,
        .limit = TILE_WIDTH,
    };
    merkle_frontier_init(&edge->f);
    edge->next = (int64_t)first;
    enum err err = store_list(reader, &query, edge->arena, take_node, edge);
    if (err == ERR_NONE && edge->next != (int64_t)end) {
        edge->wrong = true;
        edge->wrong_number = edge->next;
        err = ERR_CONFLICT;
    }
    return err;
}

static enum err explain_edge(const struct edge *edge, enum err err, int level, char explain[256])
{
    if (!edge->wrong)
        (void)snprintf(explain, 256, "can't read the ledger: %s", err_text(err));
    else if (level == 0)
        (void)snprintf(explain, 256,
                       "the ledger's entry %lld is missing or was changed: restore the database "
                       "from a backup, and find out who wrote to it",
                       (long long)edge->wrong_number);
    else
        (void)snprintf(explain, 256,
                       "the ledger's node %lld of level %d is missing: restore the database from "
                       "a backup, and find out who wrote to it",
                       (long long)edge->wrong_number, level);
    return err;
}

/* The frontier as entries and nodes give it: each level's nodes at the right edge, fewer than a
 * tile is wide, are subtrees side by side; those of higher levels stand left of those of lower
 * ones. */
static enum err rebuild(struct store_reader *reader, struct edge *edge, uint64_t size,
                        struct merkle_frontier *ret_frontier, char explain[256])
{
    struct merkle_frontier whole;
    size_t len = 0;
    for (int level = TILE_LEVEL_MAX; level >= 0; level--) {
        uint64_t nodes = size >> (8 * (unsigned)level);
        uint64_t first = nodes - (level == TILE_LEVEL_MAX ? nodes : nodes % TILE_WIDTH);
        enum err err = ERR_NONE;
        if (first < nodes)
            err = level == 0 ? read_entries(reader, edge, first, nodes)
                             : read_nodes(reader, edge, level, first, nodes);
        if (err != ERR_NONE)
            return explain_edge(edge, err, level, explain);
        size_t count = first < nodes ? (size_t)__builtin_popcountll(nodes - first) : 0;
        memcpy(whole.nodes + len, edge->f.nodes, count * sizeof whole.nodes[0]);
        len += count;
    }
    whole.size = size;
    *ret_frontier = whole;
    return ERR_NONE;
}

/* The newest complete tile: so that some entries are looked at just after one was completed, too.
 */
static enum err check_last_tile(struct store_reader *reader, struct edge *edge, uint64_t size,
                                char explain[256])
{
    uint64_t tiles = size / TILE_WIDTH;
    if (tiles == 0)
        return ERR_NONE;
    enum err err =
        read_entries(reader, edge, (tiles - 1) * TILE_WIDTH, (tiles - 1) * TILE_WIDTH + TILE_WIDTH);
    if (err != ERR_NONE)
        return explain_edge(edge, err, 0, explain);
    struct ledger_node_row node = {.level = 1, .number = (int64_t)tiles - 1};
    err = store_get(reader, &table_ledger_node, edge->arena, &node);
    struct hash root = merkle_frontier_root(&edge->f, crypto_sha256);
    if (err == ERR_NONE && memcmp(root.bytes, node.hash.bytes, sizeof root.bytes) == 0)
        return ERR_NONE;
    (void)snprintf(explain, 256,
                   "the ledger's node %lld of level 1 is not that of its entries: restore the "
                   "database from a backup, and find out who wrote to it",
                   (long long)node.number);
    return err == ERR_NONE || err == ERR_NOT_FOUND ? ERR_CONFLICT : err;
}

static enum err count_after(struct store_reader *reader, const struct ledger_entry_row *last,
                            uint64_t *ret_count)
{
    const struct store_query query = {.table = &table_ledger_entry, .after = last, .limit = 1};
    return store_count(reader, &query, ret_count);
}

static enum err compare(const struct ledger_head_row *head, const struct merkle_frontier *found,
                        char explain[256])
{
    struct merkle_frontier stored;
    enum err err = ledger_frontier_read((uint64_t)head->size, head->frontier, &stored);
    struct hash root = merkle_frontier_root(found, crypto_sha256);
    bool ok = err == ERR_NONE && slice_equal(head->frontier, ledger_frontier_bytes(found)) &&
              memcmp(root.bytes, head->root.bytes, sizeof root.bytes) == 0;
    if (ok)
        return ERR_NONE;
    (void)snprintf(explain, 256,
                   "the ledger's head (size %lld) is not that of its entries: restore the database "
                   "from a backup, and find out who wrote to it",
                   (long long)head->size);
    return ERR_CONFLICT;
}

/* Entries without a head that has them. Another hub over the database may commit between two looks:
 * then the head has grown as well, and the next look is beyond that. */
static enum err count_beyond(struct store_reader *reader, int64_t size, struct arena *arena,
                             uint64_t *ret_count)
{
    for (;;) {
        const struct ledger_entry_row last = {.number = size - 1};
        enum err err = count_after(reader, &last, ret_count);
        if (err != ERR_NONE || *ret_count == 0)
            return err;
        struct ledger_head_row now = {.id = LEDGER_HEAD_ID};
        err = store_get(reader, &table_ledger_head, arena, &now);
        if (err != ERR_NONE || now.size <= size)
            return err;
        size = now.size;
        arena_reset(arena);
    }
}

enum err ledger_verify(struct store_reader *reader, const struct ledger_head_row *head,
                       struct merkle_frontier *ret_frontier, char explain[256])
{
    if (head->size < 0) {
        (void)snprintf(explain, 256, "the ledger's head is damaged: restore the database");
        return ERR_CONFLICT;
    }
    struct edge edge = {.arena = arena_new(VERIFY_ARENA_MAX)};
    if (edge.arena == NULL) {
        (void)snprintf(explain, 256, "out of memory");
        return ERR_NO_MEMORY;
    }
    uint64_t size = (uint64_t)head->size;
    uint64_t beyond = 0;
    struct merkle_frontier found;
    enum err err = count_beyond(reader, head->size, edge.arena, &beyond);
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "can't read the ledger: %s", err_text(err));
    if (err == ERR_NONE && beyond > 0) {
        (void)snprintf(explain, 256,
                       "the ledger has entries beyond its head (size %lld): restore the database "
                       "from a backup, and find out who wrote to it",
                       (long long)head->size);
        err = ERR_CONFLICT;
    }
    if (err == ERR_NONE)
        err = rebuild(reader, &edge, size, &found, explain);
    if (err == ERR_NONE)
        err = compare(head, &found, explain);
    if (err == ERR_NONE)
        err = check_last_tile(reader, &edge, size, explain);
    if (err == ERR_NONE)
        *ret_frontier = found;
    arena_free(edge.arena);
    return err;
}

enum err ledger_verify_empty(struct store_reader *reader, char explain[256])
{
    uint64_t entries = 0;
    const struct ledger_entry_row before = {.number = -1};
    enum err err = count_after(reader, &before, &entries);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "can't read the ledger: %s", err_text(err));
        return err;
    }
    if (entries == 0)
        return ERR_NONE;
    (void)snprintf(explain, 256,
                   "the ledger has entries but no head: restore the database from a backup, and "
                   "find out who wrote to it");
    return ERR_CONFLICT;
}

enum err ledger_root_at(struct store_reader *reader, uint64_t size, struct hash *ret_root,
                        char explain[256])
{
    /* the root tells whether the leaves are right */
    struct edge edge = {.arena = arena_new(VERIFY_ARENA_MAX), .leaves_do = true};
    if (edge.arena == NULL) {
        (void)snprintf(explain, 256, "out of memory");
        return ERR_NO_MEMORY;
    }
    struct merkle_frontier found;
    enum err err = rebuild(reader, &edge, size, &found, explain);
    if (err == ERR_NONE)
        *ret_root = merkle_frontier_root(&found, crypto_sha256);
    arena_free(edge.arena);
    return err;
}
