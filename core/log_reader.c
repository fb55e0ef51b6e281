#include "core/log_scan.h"

const char *log_fault_text(enum log_fault fault)
{
    static const char *const texts[LOG_FAULT_COUNT] = {
        [LOG_SOUND] = "the log is sound",
        [LOG_FAULT_ORIGIN] = "the checkpoints are of different logs",
        [LOG_FAULT_SIZE] = "the checkpoint is of a larger log than can be read",
        [LOG_FAULT_RANGE] = "the log does not have all these entries",
        [LOG_FAULT_SHRUNK] = "the log is smaller than it was",
        [LOG_FAULT_FORKED] = "two checkpoints of one size have different roots",
        [LOG_FAULT_FETCH] = "a tile could not be fetched",
        [LOG_FAULT_BUNDLE] = "a bundle does not hold the entries it should",
        [LOG_FAULT_TILE] = "a hash tile has the wrong length",
        [LOG_FAULT_ENTRY] = "an entry does not agree with its hash tile",
        [LOG_FAULT_TREE] = "a hash tile does not agree with the tile below it",
        [LOG_FAULT_ROOT] = "the entries do not give the checkpoint's root",
        [LOG_FAULT_REWRITTEN] = "the entries do not give the saved checkpoint's root",
        [LOG_FAULT_CALLER] = "stopped while handling an entry",
    };
    if ((unsigned)fault >= LOG_FAULT_COUNT)
        return "unknown fault";
    return texts[fault];
}

void log_reader_init(struct log_reader *lr, sha256_fn *sha256, log_fetch_fn *fetch, void *fetch_ctx,
                     uint8_t *bundle, size_t bundle_max)
{
    lr->sha256 = sha256;
    lr->fetch = fetch;
    lr->fetch_ctx = fetch_ctx;
    lr->bundle = bundle;
    lr->bundle_max = bundle_max;
}

static bool fetched_hash_is(const struct log_reader *lr, unsigned at, const struct hash *h)
{
    return memcmp(lr->tile + (size_t)at * SHA256_SIZE, h->bytes, SHA256_SIZE) == 0;
}

/* Compares the hashes computed for an upper tile with what the log serves. */
static enum err check_upper_tile(struct log_scan *s, int level, uint64_t index, unsigned width)
{
    struct tile tile = {.level = level, .index = index, .width = width};
    enum err err = log_scan_fetch_hashes(s, &tile);
    if (err != ERR_NONE)
        return err;
    for (unsigned i = 0; i < width; i++)
        if (!fetched_hash_is(s->lr, i, &s->lr->levels[level].hashes[i]))
            return log_scan_fail_tile(s, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, &tile, i, i + 1);
    return ERR_NONE;
}

/* Hands the roots of full tiles up to the levels above, as far as those become full in turn. */
static enum err close_full_tiles(struct log_scan *s)
{
    for (int level = 0; level < TILE_LEVEL_MAX; level++) {
        struct merkle_frontier *tree = &s->lr->levels[level].tree;
        if (tree->size < TILE_WIDTH)
            return ERR_NONE;
        if (level > 0) {
            uint64_t index = (s->done >> log_scan_shift(level)) / TILE_WIDTH - 1;
            enum err err = check_upper_tile(s, level, index, TILE_WIDTH);
            if (err != ERR_NONE)
                return err;
        }
        struct hash root = merkle_frontier_root(tree, s->lr->sha256);
        merkle_frontier_init(tree);
        log_scan_add_hash(s->lr, level + 1, &root);
    }
    return ERR_NONE;
}

static void compare_with_saved(struct log_scan *s)
{
    if (s->saved == NULL || s->saved->size != s->done)
        return;
    struct hash root = log_scan_root(s->lr, s->done);
    s->report->matches_saved = memcmp(root.bytes, s->saved->root.bytes, SHA256_SIZE) == 0;
    s->is_rewritten = !s->report->matches_saved;
}

/* The last entry of a tile closes it, and lr->tile may then hold another. */
static enum err add_entry(struct log_scan *s, const struct hash *leaf)
{
    log_scan_add_hash(s->lr, 0, leaf);
    s->done++;
    enum err err = close_full_tiles(s);
    if (err == ERR_NONE)
        compare_with_saved(s);
    return err;
}

static enum err read_entries(struct log_scan *s)
{
    compare_with_saved(s);
    for (uint64_t index = 0; s->done < s->checkpoint->size; index++) {
        struct tile leaves = {.level = 0, .index = index};
        leaves.width = tile_width(0, index, s->checkpoint->size);
        enum err err = log_scan_fetch_hashes(s, &leaves);
        if (err == ERR_NONE)
            err = log_scan_bundle(s, &leaves, s->lr->tile, add_entry);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* The upper tiles at the right edge that the log's end has left partial. */
static enum err check_partial_tiles(struct log_scan *s)
{
    for (int level = 1; level <= TILE_LEVEL_MAX; level++) {
        uint64_t index = (s->done >> log_scan_shift(level)) / TILE_WIDTH;
        unsigned width = tile_width(level, index, s->done);
        if (width == 0)
            continue;
        enum err err = check_upper_tile(s, level, index, width);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err check_roots(struct log_scan *s)
{
    uint64_t size = s->checkpoint->size;
    struct hash root = log_scan_root(s->lr, s->done);
    if (memcmp(root.bytes, s->checkpoint->root.bytes, SHA256_SIZE) != 0)
        return log_scan_fail(s, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT,
                             s->report->matches_saved ? s->saved->size : 0, size);
    if (s->is_rewritten)
        return log_scan_fail(s, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, s->saved->size);
    return ERR_NONE;
}

enum err log_reader_check(struct log_reader *lr, const struct checkpoint *checkpoint,
                          const struct checkpoint *saved, log_entry_fn *entry, void *entry_ctx,
                          struct log_report *report)
{
    *report = (struct log_report){.fault = LOG_SOUND};
    struct log_scan s = {
        .lr = lr,
        .checkpoint = checkpoint,
        .saved = saved,
        .entry = entry,
        .entry_ctx = entry_ctx,
        .end = checkpoint->size,
        .report = report,
    };
    for (int level = 0; level <= TILE_LEVEL_MAX; level++)
        merkle_frontier_init(&lr->levels[level].tree);
    enum err err = log_scan_checkpoints(&s);
    if (err == ERR_NONE)
        err = read_entries(&s);
    if (err == ERR_NONE)
        err = check_partial_tiles(&s);
    if (err == ERR_NONE)
        err = check_roots(&s);
    return err;
}
