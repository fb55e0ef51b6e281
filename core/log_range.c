#include "core/log_scan.h"

/* The last tile of each level, where it is partial: together they hold the frontier of the tree,
 * and so its root, which tells whether they belong to the checkpoint. */
static enum err read_edge(struct log_scan *s)
{
    uint64_t size = s->checkpoint->size;
    for (int level = TILE_LEVEL_MAX; level >= 0; level--) {
        merkle_frontier_init(&s->lr->levels[level].tree);
        struct tile tile = {.level = level, .index = (size >> log_scan_shift(level)) / TILE_WIDTH};
        tile.width = tile_width(level, tile.index, size);
        if (tile.width == 0)
            continue;
        enum err err = log_scan_fetch_hashes(s, &tile);
        if (err != ERR_NONE)
            return err;
        for (unsigned i = 0; i < tile.width; i++) {
            struct hash h;
            memcpy(h.bytes, s->lr->tile + (size_t)i * SHA256_SIZE, SHA256_SIZE);
            log_scan_add_hash(s->lr, level, &h);
        }
    }
    struct hash root = log_scan_root(s->lr, size);
    if (memcmp(root.bytes, s->checkpoint->root.bytes, SHA256_SIZE) != 0)
        return log_scan_fail(s, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 0, size);
    return ERR_NONE;
}

/* The hashes of a tile that is on the path to the entry last gone to; NULL where the log has no
 * such tile, or it is on another path. */
static const struct hash *hashes_of(const struct log_reader *lr, int level, uint64_t index,
                                    uint64_t size)
{
    unsigned width = tile_width(level, index, size);
    if (width == 0)
        return NULL;
    if (width < TILE_WIDTH)
        return lr->levels[level].hashes;
    return lr->path[level].is_there && lr->path[level].index == index ? lr->path[level].hashes
                                                                      : NULL;
}

/* Brings a full tile onto the path; the one above it must be there. */
static enum err load_tile(struct log_scan *s, int level, uint64_t index)
{
    struct log_reader *lr = s->lr;
    struct tile tile = {.level = level, .index = index, .width = TILE_WIDTH};
    const struct hash *above = hashes_of(lr, level + 1, index / TILE_WIDTH, s->checkpoint->size);
    if (above == NULL)
        return ERR_INTERNAL;
    enum err err = log_scan_fetch_hashes(s, &tile);
    if (err != ERR_NONE)
        return err;
    struct merkle_frontier tree;
    merkle_frontier_init(&tree);
    lr->path[level].is_there = false;
    for (unsigned i = 0; i < TILE_WIDTH; i++) {
        struct hash *h = &lr->path[level].hashes[i];
        memcpy(h->bytes, lr->tile + (size_t)i * SHA256_SIZE, SHA256_SIZE);
        merkle_frontier_append(&tree, lr->sha256, h);
    }
    struct hash root = merkle_frontier_root(&tree, lr->sha256);
    if (memcmp(root.bytes, above[index % TILE_WIDTH].bytes, SHA256_SIZE) != 0)
        return log_scan_fail_tile(s, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, &tile, 0, TILE_WIDTH);
    lr->path[level].index = index;
    lr->path[level].is_there = true;
    return ERR_NONE;
}

/* From the root down to the level 0 tile with that entry, which the log must have. */
static enum err go_to(struct log_scan *s, uint64_t number)
{
    for (int level = TILE_LEVEL_MAX; level >= 0; level--) {
        uint64_t index = (number >> log_scan_shift(level)) / TILE_WIDTH;
        bool is_full = tile_width(level, index, s->checkpoint->size) == TILE_WIDTH;
        if (!is_full || hashes_of(s->lr, level, index, s->checkpoint->size) != NULL)
            continue;
        enum err err = load_tile(s, level, index);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* The frontier of the saved tree lies in the tiles above the entry that came next. */
static enum err compare_with_saved(struct log_scan *s)
{
    const struct checkpoint *saved = s->saved;
    struct merkle_frontier tree, whole = {.size = saved->size};
    size_t at = 0;
    enum err err = saved->size < s->checkpoint->size ? go_to(s, saved->size) : ERR_NONE;
    if (err != ERR_NONE)
        return err;
    for (int level = TILE_LEVEL_MAX; level >= 0; level--) {
        uint64_t hashes = saved->size >> log_scan_shift(level);
        unsigned width = (unsigned)(hashes % TILE_WIDTH);
        const struct hash *tile = hashes_of(s->lr, level, hashes / TILE_WIDTH, s->checkpoint->size);
        if (width == 0)
            continue;
        if (tile == NULL)
            return ERR_INTERNAL;
        merkle_frontier_init(&tree);
        for (unsigned i = 0; i < width; i++)
            merkle_frontier_append(&tree, s->lr->sha256, &tile[i]);
        size_t node = 0;
        for (uint64_t rest = width; rest != 0; rest &= rest - 1)
            whole.nodes[at++] = tree.nodes[node++];
    }
    struct hash root = merkle_frontier_root(&whole, s->lr->sha256);
    s->report->matches_saved = memcmp(root.bytes, saved->root.bytes, SHA256_SIZE) == 0;
    if (!s->report->matches_saved)
        return log_scan_fail(s, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, saved->size);
    return ERR_NONE;
}

static enum err read_entries(struct log_scan *s)
{
    for (uint64_t index = s->first / TILE_WIDTH; index * TILE_WIDTH < s->end; index++) {
        struct tile leaves = {.level = 0, .index = index};
        leaves.width = tile_width(0, index, s->checkpoint->size);
        enum err err = go_to(s, index * TILE_WIDTH);
        const struct hash *hashes = hashes_of(s->lr, 0, index, s->checkpoint->size);
        if (err == ERR_NONE && hashes == NULL)
            err = ERR_INTERNAL;
        if (err == ERR_NONE)
            err = log_scan_bundle(s, &leaves, hashes->bytes, NULL);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

enum err log_reader_check_range(struct log_reader *lr, const struct checkpoint *checkpoint,
                                const struct checkpoint *saved, uint64_t first, uint64_t end,
                                log_entry_fn *entry, void *entry_ctx, struct log_report *report)
{
    *report = (struct log_report){.fault = LOG_SOUND};
    struct log_scan s = {
        .lr = lr,
        .checkpoint = checkpoint,
        .saved = saved,
        .entry = entry,
        .entry_ctx = entry_ctx,
        .first = first,
        .end = end,
        .report = report,
    };
    for (int level = 0; level < TILE_LEVEL_MAX; level++)
        lr->path[level].is_there = false;
    enum err err = log_scan_checkpoints(&s);
    if (err == ERR_NONE && (first > end || end > checkpoint->size))
        err = log_scan_fail(&s, ERR_LIMIT, LOG_FAULT_RANGE, checkpoint->size,
                            end > checkpoint->size ? end : checkpoint->size);
    if (err == ERR_NONE)
        err = read_edge(&s);
    if (err == ERR_NONE && saved != NULL)
        err = compare_with_saved(&s);
    return err == ERR_NONE ? read_entries(&s) : err;
}

/* ---- proofs ---- */

/* The root of the 2^height entries from number `node` << height on; false where not all of them
 * are there, or their tile is not. */
static bool complete_subtree(const struct log_reader *lr, unsigned height, uint64_t node,
                             uint64_t size, struct hash *ret_hash)
{
    int level = (int)(height / 8);
    uint64_t count = UINT64_C(1) << height % 8;
    uint64_t first = node * count; /* on that level */
    const struct hash *tile = hashes_of(lr, level, first / TILE_WIDTH, size);
    if (tile == NULL || (node + 1) << height > size)
        return false;
    struct merkle_frontier tree;
    merkle_frontier_init(&tree);
    for (uint64_t i = 0; i < count; i++)
        merkle_frontier_append(&tree, lr->sha256, &tile[first % TILE_WIDTH + i]);
    *ret_hash = merkle_frontier_root(&tree, lr->sha256);
    return true;
}

/* The root of the entries from number `first` to the end, fewer than the 2^height they might be:
 * the last nodes of the frontier. */
static struct hash last_subtree(const struct log_reader *lr, unsigned height, uint64_t size)
{
    struct merkle_frontier whole = log_scan_frontier(lr, size), last;
    last.size = size & ((UINT64_C(1) << height) - 1);
    size_t all = 0, some = 0;
    for (uint64_t rest = size; rest != 0; rest &= rest - 1)
        all++;
    for (uint64_t rest = last.size; rest != 0; rest &= rest - 1)
        some++;
    memcpy(last.nodes, whole.nodes + (all - some), some * sizeof(struct hash));
    return merkle_frontier_root(&last, lr->sha256);
}

enum err log_reader_prove(const struct log_reader *lr, const struct checkpoint *checkpoint,
                          uint64_t number, const struct hash *leaf,
                          struct hash ret_proof[MERKLE_PROOF_MAX], size_t *ret_len)
{
    struct hash proof[MERKLE_PROOF_MAX];
    size_t len = 0;
    uint64_t size = checkpoint->size;
    if (number >= size || size > LOG_SIZE_MAX)
        return ERR_INTERNAL;
    for (unsigned height = 0; (size - 1) >> height != 0; height++) {
        uint64_t node = number >> height, last = (size - 1) >> height;
        if (node == last && (node & 1) == 0)
            continue; /* no sibling: it rises as it is */
        if (node + 1 == last && (size & ((UINT64_C(1) << height) - 1)) != 0 && (node & 1) == 0)
            proof[len++] = last_subtree(lr, height, size);
        else if (complete_subtree(lr, height, node ^ 1, size, &proof[len]))
            len++;
        else
            return ERR_INTERNAL;
    }
    if (merkle_verify_inclusion(lr->sha256, leaf, number, size, proof, len, &checkpoint->root) !=
        ERR_NONE)
        return ERR_INTERNAL;
    memcpy(ret_proof, proof, len * sizeof *proof);
    *ret_len = len;
    return ERR_NONE;
}
