#include "core/log_scan.h"

unsigned log_scan_shift(int level)
{
    return level == TILE_ENTRIES ? 0 : 8 * (unsigned)level;
}

enum err log_scan_fail(struct log_scan *s, enum err err, enum log_fault fault, uint64_t first,
                       uint64_t end)
{
    s->report->fault = fault;
    s->report->first = first;
    s->report->end = end;
    return err;
}

enum err log_scan_fail_tile(struct log_scan *s, enum err err, enum log_fault fault,
                            const struct tile *tile, unsigned from, unsigned to)
{
    unsigned shift = log_scan_shift(tile->level);
    uint64_t start = tile->index * TILE_WIDTH;
    s->report->tile = *tile;
    return log_scan_fail(s, err, fault, (start + from) << shift, (start + to) << shift);
}

enum err log_scan_checkpoints(struct log_scan *s)
{
    const struct checkpoint *now = s->checkpoint;
    const struct checkpoint *saved = s->saved;
    if (now->size > LOG_SIZE_MAX)
        return log_scan_fail(s, ERR_LIMIT, LOG_FAULT_SIZE, LOG_SIZE_MAX, now->size);
    if (saved == NULL)
        return ERR_NONE;
    if (!slice_equal(slice_of_text(now->origin), slice_of_text(saved->origin)))
        return log_scan_fail(s, ERR_CONFLICT, LOG_FAULT_ORIGIN, 0, 0);
    if (now->size < saved->size)
        return log_scan_fail(s, ERR_CONFLICT, LOG_FAULT_SHRUNK, now->size, saved->size);
    if (now->size == saved->size && memcmp(now->root.bytes, saved->root.bytes, SHA256_SIZE) != 0)
        return log_scan_fail(s, ERR_CONFLICT, LOG_FAULT_FORKED, 0, now->size);
    return ERR_NONE;
}

static enum err fetch_path(struct log_reader *lr, const struct tile *tile, uint8_t *buffer,
                           size_t max, size_t *ret_len)
{
    uint8_t path[TILE_PATH_MAX];
    struct writer w = writer_over(path, sizeof path);
    tile_write_path(&w, tile);
    if (w.err != ERR_NONE)
        return w.err;
    size_t len = 0;
    enum err err = lr->fetch(lr->fetch_ctx, writer_bytes(&w), buffer, max, &len);
    if (err == ERR_NONE && len > max)
        err = ERR_INTERNAL;
    if (err == ERR_NONE)
        *ret_len = len;
    return err;
}

/* Fetches a tile, or, where it is partial and gone, the full one that has taken its place: a log
 * may drop partial tiles then. *ret_fetched says which it is. */
static enum err fetch_tile(struct log_scan *s, const struct tile *tile, uint8_t *buffer, size_t max,
                           size_t *ret_len, struct tile *ret_fetched)
{
    struct tile fetched = *tile;
    enum err err = fetch_path(s->lr, &fetched, buffer, max, ret_len);
    if (err == ERR_NOT_FOUND && tile->width < TILE_WIDTH) {
        fetched.width = TILE_WIDTH;
        err = fetch_path(s->lr, &fetched, buffer, max, ret_len);
    }
    if (err != ERR_NONE)
        return log_scan_fail_tile(s, err, LOG_FAULT_FETCH, tile, 0, tile->width);
    *ret_fetched = fetched;
    return ERR_NONE;
}

enum err log_scan_fetch_hashes(struct log_scan *s, const struct tile *tile)
{
    size_t len = 0;
    struct tile fetched = {.width = 0};
    enum err err = fetch_tile(s, tile, s->lr->tile, sizeof s->lr->tile, &len, &fetched);
    if (err == ERR_NONE && len != (size_t)fetched.width * SHA256_SIZE)
        err = log_scan_fail_tile(s, ERR_SYNTAX, LOG_FAULT_TILE, tile, 0, tile->width);
    return err;
}

void log_scan_add_hash(struct log_reader *lr, int level, const struct hash *h)
{
    struct merkle_frontier *tree = &lr->levels[level].tree;
    lr->levels[level].hashes[tree->size] = *h;
    merkle_frontier_append(tree, lr->sha256, h);
}

/* Trees that are not full hold the complete subtrees of the whole: put after each other from the
 * top level down, they are its frontier. */
struct merkle_frontier log_scan_frontier(const struct log_reader *lr, uint64_t size)
{
    struct merkle_frontier whole = {.size = size};
    size_t at = 0;
    for (int level = TILE_LEVEL_MAX; level >= 0; level--) {
        const struct merkle_frontier *tree = &lr->levels[level].tree;
        size_t i = 0;
        for (uint64_t rest = tree->size; rest != 0; rest &= rest - 1)
            whole.nodes[at++] = tree->nodes[i++];
    }
    return whole;
}

struct hash log_scan_root(const struct log_reader *lr, uint64_t size)
{
    struct merkle_frontier whole = log_scan_frontier(lr, size);
    return merkle_frontier_root(&whole, lr->sha256);
}

/* Entry `at` of a level 0 tile. */
static enum err take_entry(struct log_scan *s, const struct tile *tile, const uint8_t *hashes,
                           unsigned at, struct slice data, struct hash *ret_leaf)
{
    uint64_t number = tile->index * TILE_WIDTH + at;
    *ret_leaf = merkle_leaf_hash(s->lr->sha256, data);
    if (memcmp(hashes + (size_t)at * SHA256_SIZE, ret_leaf->bytes, SHA256_SIZE) != 0)
        return log_scan_fail_tile(s, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, tile, at, at + 1);
    if (number < s->first || number >= s->end)
        return ERR_NONE;
    if (s->entry != NULL) {
        enum err err = s->entry(s->entry_ctx, number, data, ret_leaf);
        if (err != ERR_NONE)
            return log_scan_fail(s, err, LOG_FAULT_CALLER, number, number + 1);
    }
    s->report->entries++;
    return ERR_NONE;
}

enum err log_scan_bundle(struct log_scan *s, const struct tile *leaves, const uint8_t *hashes,
                         enum err (*taken)(struct log_scan *s, const struct hash *leaf))
{
    struct tile bundle = {.level = TILE_ENTRIES, .index = leaves->index, .width = leaves->width};
    struct tile fetched = {.width = 0};
    size_t len = 0;
    enum err err = fetch_tile(s, &bundle, s->lr->bundle, s->lr->bundle_max, &len, &fetched);
    if (err != ERR_NONE)
        return err;

    struct reader r = reader_over(slice_of(s->lr->bundle, len));
    for (unsigned i = 0; i < fetched.width; i++) {
        struct slice data = tile_read_entry(&r);
        if (r.err != ERR_NONE)
            return log_scan_fail_tile(s, ERR_SYNTAX, LOG_FAULT_BUNDLE, &bundle,
                                      i < bundle.width ? i : 0, bundle.width);
        /* A full bundle in a partial one's place holds entries that are not ours to judge. */
        if (i >= bundle.width)
            continue;
        struct hash leaf;
        err = take_entry(s, leaves, hashes, i, data, &leaf);
        if (err == ERR_NONE && taken != NULL)
            err = taken(s, &leaf);
        if (err != ERR_NONE)
            return err;
    }
    if (reader_finish(&r) != ERR_NONE)
        return log_scan_fail_tile(s, ERR_SYNTAX, LOG_FAULT_BUNDLE, &bundle, 0, bundle.width);
    return ERR_NONE;
}
