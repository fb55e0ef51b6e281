/* The whole ledger from its rows: every leaf from its entry, every node from those below it, the
 * head from all of them. ledger_verify() at start looks at the right edge alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "hub/ledger/archive.h"
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
    uint64_t cleared;  /* entries without data; all stand before those with it */
    uint64_t archived; /* entries that may be without */
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
    bool is_cleared = row->data.len == 0 && a->cleared == a->f.size;
    struct hash leaf = is_cleared ? row->leaf : merkle_leaf_hash(crypto_sha256, row->data);
    if (row->number != (int64_t)a->f.size ||
        memcmp(leaf.bytes, row->leaf.bytes, sizeof leaf.bytes) != 0)
        return wrong(explain, "entry", (int64_t)a->f.size);
    merkle_frontier_append(&a->f, crypto_sha256, &leaf);
    a->cleared += is_cleared ? 1 : 0;
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

static enum err take_setting(struct ledger_audit *a, const struct setting_row *row,
                             char explain[256])
{
    struct ledger_archive archive;
    if (strcmp(row->name, LEDGER_ARCHIVE_NAME) != 0)
        return ERR_NONE;
    if (ledger_archive_parse(row->value, &archive) != ERR_NONE) {
        (void)snprintf(explain, 256, "the setting %s is not of its form", row->name);
        return ERR_CONFLICT;
    }
    a->archived = archive.cleared;
    return ERR_NONE;
}

enum err ledger_audit_row(struct ledger_audit *a, const struct table *table, const void *row,
                          char explain[256])
{
    if (table == &table_ledger_entry)
        return take_entry(a, row, explain);
    if (table == &table_ledger_node)
        return take_node(a, row, explain);
    if (table == &table_setting)
        return take_setting(a, row, explain);
    return table == &table_ledger_head ? take_head(a, row, explain) : ERR_NONE;
}

enum err ledger_audit_end(const struct ledger_audit *a, uint64_t size, const struct hash *root,
                          char explain[256])
{
    for (size_t number = 1; number <= TILE_LEVEL_MAX; number++)
        if (a->levels[number].told != a->levels[number].len)
            return wrong(explain, "node", (int64_t)a->levels[number].told);
    if (a->cleared != a->archived)
        return wrong(explain, "what is archived: entry",
                     (int64_t)(a->cleared < a->archived ? a->cleared : a->archived));
    bool as_told =
        size == a->f.size &&
        (a->has_head ? memcmp(a->root.bytes, root->bytes, sizeof root->bytes) == 0 : size == 0);
    return as_told ? ERR_NONE : wrong(explain, "the head at", (int64_t)a->f.size);
}
