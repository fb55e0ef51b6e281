/* The whole ledger from its rows: every leaf from its entry, every node from those below it, the
 * head from all of them. ledger_verify() at start looks at the right edge alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "hub/ledger/internal.h"

/* What the entries say the nodes of a level are; 32 bytes for each 256 entries. */
struct level {
    struct hash *nodes;
    size_t len, max;
    size_t told;                 /* how many of them came as rows */
    struct merkle_frontier part; /* of the nodes below that make the next one */
};

struct ledger_audit {
    struct merkle_frontier f;
    struct level levels[TILE_LEVEL_MAX + 1]; /* 0 has no nodes */
    bool has_head;
    struct hash root;
};

enum err ledger_audit_new(struct ledger_audit **ret_audit)
{
    struct ledger_audit *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NO_MEMORY;
    merkle_frontier_init(&a->f);
    for (size_t i = 0; i <= TILE_LEVEL_MAX; i++)
        merkle_frontier_init(&a->levels[i].part);
    *ret_audit = a;
    return ERR_NONE;
}

void ledger_audit_free(struct ledger_audit *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i <= TILE_LEVEL_MAX; i++)
        free(a->levels[i].nodes);
    free(a);
}

static enum err keep_node(struct level *level, const struct hash *node)
{
    if (level->len == level->max) {
        size_t max = level->max == 0 ? 64 : level->max * 2;
        struct hash *more = realloc(level->nodes, max * sizeof *more);
        if (more == NULL)
            return ERR_NO_MEMORY;
        level->nodes = more;
        level->max = max;
    }
    level->nodes[level->len++] = *node;
    return ERR_NONE;
}

/* A leaf or a node below level `number` is there: after 256 of them there is one more node. */
static enum err add(struct ledger_audit *a, const struct hash *hash)
{
    struct hash node = *hash;
    for (size_t number = 1; number <= TILE_LEVEL_MAX; number++) {
        struct level *level = &a->levels[number];
        merkle_frontier_append(&level->part, crypto_sha256, &node);
        if (level->part.size < TILE_WIDTH)
            return ERR_NONE;
        node = merkle_frontier_root(&level->part, crypto_sha256);
        merkle_frontier_init(&level->part);
        enum err err = keep_node(level, &node);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err wrong(char explain[256], const char *what, int64_t number)
{
    (void)snprintf(explain, 256, "the ledger does not hold: %s %lld is missing or was changed",
                   what, (long long)number);
    return ERR_CONFLICT;
}

static enum err take_entry(struct ledger_audit *a, const struct ledger_entry_row *row,
                           char explain[256])
{
    struct hash leaf = merkle_leaf_hash(crypto_sha256, row->data);
    if (row->number != (int64_t)a->f.size ||
        memcmp(leaf.bytes, row->leaf.bytes, sizeof leaf.bytes) != 0)
        return wrong(explain, "entry", (int64_t)a->f.size);
    merkle_frontier_append(&a->f, crypto_sha256, &leaf);
    return add(a, &leaf);
}

static enum err take_node(struct ledger_audit *a, const struct ledger_node_row *row,
                          char explain[256])
{
    if (row->level < 1 || row->level > TILE_LEVEL_MAX)
        return wrong(explain, "node of level", row->level);
    struct level *level = &a->levels[row->level];
    if (row->number != (int64_t)level->told || level->told == level->len ||
        memcmp(level->nodes[level->told].bytes, row->hash.bytes, SHA256_SIZE) != 0)
        return wrong(explain, "node", (int64_t)level->told);
    level->told++;
    return ERR_NONE;
}

static enum err take_head(struct ledger_audit *a, const struct ledger_head_row *row,
                          char explain[256])
{
    struct hash root = merkle_frontier_root(&a->f, crypto_sha256);
    if (a->has_head || row->id != LEDGER_HEAD_ID || row->size != (int64_t)a->f.size ||
        memcmp(root.bytes, row->root.bytes, sizeof root.bytes) != 0 ||
        !slice_equal(row->frontier, ledger_frontier_bytes(&a->f)))
        return wrong(explain, "the head at", (int64_t)a->f.size);
    a->has_head = true;
    a->root = root;
    return ERR_NONE;
}

enum err ledger_audit_row(struct ledger_audit *a, const struct table *table, const void *row,
                          char explain[256])
{
    if (table == &table_ledger_entry)
        return take_entry(a, row, explain);
    if (table == &table_ledger_node)
        return take_node(a, row, explain);
    return table == &table_ledger_head ? take_head(a, row, explain) : ERR_NONE;
}

enum err ledger_audit_end(const struct ledger_audit *a, uint64_t size, const struct hash *root,
                          char explain[256])
{
    for (size_t number = 1; number <= TILE_LEVEL_MAX; number++)
        if (a->levels[number].told != a->levels[number].len)
            return wrong(explain, "node", (int64_t)a->levels[number].told);
    bool as_told =
        size == a->f.size &&
        (a->has_head ? memcmp(a->root.bytes, root->bytes, sizeof root->bytes) == 0 : size == 0);
    return as_told ? ERR_NONE : wrong(explain, "the head at", (int64_t)a->f.size);
}
