#include "core/log_reader.h"

const char *log_fault_text(enum log_fault fault)
{
    static const char *const texts[LOG_FAULT_COUNT] = {
        [LOG_SOUND] = "the log is sound",
        [LOG_FAULT_ORIGIN] = "the checkpoints are of different logs",
        [LOG_FAULT_SIZE] = "the checkpoint is of a larger log than can be read",
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

/* One reading of a log. */
struct scan {
    struct log_reader *lr;
    const struct checkpoint *checkpoint;
    const struct checkpoint *saved; /* NULL where there is none */
    log_entry_fn *entry;
    void *entry_ctx;
    uint64_t done; /* entries hashed so far */
    bool is_rewritten;
    struct log_report *report;
};

static enum err fail(struct scan *s, enum err err, enum log_fault fault, uint64_t first,
                     uint64_t end)
{
    s->report->fault = fault;
    s->report->first = first;
    s->report->end = end;
    return err;
}

/* How far to shift an entry's number for the number of its hash on that level. */
static unsigned level_shift(int level)
{
    return level == TILE_ENTRIES ? 0 : 8 * (unsigned)level;
}

/* A fault of the hashes or entries [from, to) of a tile. */
static enum err fail_tile(struct scan *s, enum err err, enum log_fault fault,
                          const struct tile *tile, unsigned from, unsigned to)
{
    unsigned shift = level_shift(tile->level);
    uint64_t start = tile->index * TILE_WIDTH;
    s->report->tile = *tile;
    return fail(s, err, fault, (start + from) << shift, (start + to) << shift);
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
static enum err fetch_tile(struct scan *s, const struct tile *tile, uint8_t *buffer, size_t max,
                           size_t *ret_len, struct tile *ret_fetched)
{
    struct tile fetched = *tile;
    enum err err = fetch_path(s->lr, &fetched, buffer, max, ret_len);
    if (err == ERR_NOT_FOUND && tile->width < TILE_WIDTH) {
        fetched.width = TILE_WIDTH;
        err = fetch_path(s->lr, &fetched, buffer, max, ret_len);
    }
    if (err != ERR_NONE)
        return fail_tile(s, err, LOG_FAULT_FETCH, tile, 0, tile->width);
    *ret_fetched = fetched;
    return ERR_NONE;
}

/* Fetches a hash tile into lr->tile. */
static enum err fetch_hashes(struct scan *s, const struct tile *tile)
{
    size_t len = 0;
    struct tile fetched;
    enum err err = fetch_tile(s, tile, s->lr->tile, sizeof s->lr->tile, &len, &fetched);
    if (err == ERR_NONE && len != (size_t)fetched.width * SHA256_SIZE)
        err = fail_tile(s, ERR_SYNTAX, LOG_FAULT_TILE, tile, 0, tile->width);
    return err;
}

static bool fetched_hash_is(const struct log_reader *lr, unsigned at, const struct hash *h)
{
    return memcmp(lr->tile + (size_t)at * SHA256_SIZE, h->bytes, SHA256_SIZE) == 0;
}

/* Compares the hashes computed for an upper tile with what the log serves. */
static enum err check_upper_tile(struct scan *s, int level, uint64_t index, unsigned width)
{
    struct tile tile = {.level = level, .index = index, .width = width};
    enum err err = fetch_hashes(s, &tile);
    if (err != ERR_NONE)
        return err;
    for (unsigned i = 0; i < width; i++)
        if (!fetched_hash_is(s->lr, i, &s->lr->levels[level].hashes[i]))
            return fail_tile(s, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, &tile, i, i + 1);
    return ERR_NONE;
}

static void add_hash(struct log_reader *lr, int level, const struct hash *h)
{
    struct merkle_frontier *tree = &lr->levels[level].tree;
    lr->levels[level].hashes[tree->size] = *h;
    merkle_frontier_append(tree, lr->sha256, h);
}

/* Hands the roots of full tiles up to the levels above, as far as those become full in turn. */
static enum err close_full_tiles(struct scan *s)
{
    for (int level = 0; level < TILE_LEVEL_MAX; level++) {
        struct merkle_frontier *tree = &s->lr->levels[level].tree;
        if (tree->size < TILE_WIDTH)
            return ERR_NONE;
        if (level > 0) {
            uint64_t index = (s->done >> level_shift(level)) / TILE_WIDTH - 1;
            enum err err = check_upper_tile(s, level, index, TILE_WIDTH);
            if (err != ERR_NONE)
                return err;
        }
        struct hash root = merkle_frontier_root(tree, s->lr->sha256);
        merkle_frontier_init(tree);
        add_hash(s->lr, level + 1, &root);
    }
    return ERR_NONE;
}

/* The root of everything read so far. Trees that are not full hold the complete subtrees of the
 * whole: put after each other from the top level down, they are its frontier. */
static struct hash root_so_far(const struct scan *s)
{
    struct merkle_frontier whole = {.size = s->done};
    size_t at = 0;
    for (int level = TILE_LEVEL_MAX; level >= 0; level--) {
        const struct merkle_frontier *tree = &s->lr->levels[level].tree;
        size_t i = 0;
        for (uint64_t rest = tree->size; rest != 0; rest &= rest - 1)
            whole.nodes[at++] = tree->nodes[i++];
    }
    return merkle_frontier_root(&whole, s->lr->sha256);
}

static void compare_with_saved(struct scan *s)
{
    if (s->saved == NULL || s->saved->size != s->done)
        return;
    struct hash root = root_so_far(s);
    s->report->matches_saved = memcmp(root.bytes, s->saved->root.bytes, SHA256_SIZE) == 0;
    s->is_rewritten = !s->report->matches_saved;
}

/* Entry `at` of the level 0 tile that lies in lr->tile. The tile's last one may overwrite it. */
static enum err take_entry(struct scan *s, const struct tile *tile, unsigned at, struct slice data)
{
    uint64_t number = s->done;
    struct hash leaf = merkle_leaf_hash(s->lr->sha256, data);
    if (!fetched_hash_is(s->lr, at, &leaf))
        return fail_tile(s, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, tile, at, at + 1);
    if (s->entry != NULL) {
        enum err err = s->entry(s->entry_ctx, number, data, &leaf);
        if (err != ERR_NONE)
            return fail(s, err, LOG_FAULT_CALLER, number, number + 1);
    }
    s->report->entries++;
    add_hash(s->lr, 0, &leaf);
    s->done++;
    enum err err = close_full_tiles(s);
    if (err == ERR_NONE)
        compare_with_saved(s);
    return err;
}

/* The entries of one bundle, against the level 0 tile of the same index. */
static enum err read_bundle(struct scan *s, uint64_t index)
{
    struct tile hashes = {.level = 0, .index = index};
    hashes.width = tile_width(0, index, s->checkpoint->size);
    struct tile bundle = {.level = TILE_ENTRIES, .index = index, .width = hashes.width};
    struct tile fetched;
    size_t len = 0;
    enum err err = fetch_hashes(s, &hashes);
    if (err == ERR_NONE)
        err = fetch_tile(s, &bundle, s->lr->bundle, s->lr->bundle_max, &len, &fetched);
    if (err != ERR_NONE)
        return err;

    struct reader r = reader_over(slice_of(s->lr->bundle, len));
    for (unsigned i = 0; i < fetched.width; i++) {
        struct slice data = tile_read_entry(&r);
        if (r.err != ERR_NONE)
            return fail_tile(s, ERR_SYNTAX, LOG_FAULT_BUNDLE, &bundle, i < bundle.width ? i : 0,
                             bundle.width);
        /* A full bundle in a partial one's place holds entries that are not ours to judge. */
        if (i >= bundle.width)
            continue;
        err = take_entry(s, &hashes, i, data);
        if (err != ERR_NONE)
            return err;
    }
    if (reader_finish(&r) != ERR_NONE)
        return fail_tile(s, ERR_SYNTAX, LOG_FAULT_BUNDLE, &bundle, 0, bundle.width);
    return ERR_NONE;
}

static enum err read_entries(struct scan *s)
{
    compare_with_saved(s);
    for (uint64_t index = 0; s->done < s->checkpoint->size; index++) {
        enum err err = read_bundle(s, index);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

/* The upper tiles at the right edge that the log's end has left partial. */
static enum err check_partial_tiles(struct scan *s)
{
    for (int level = 1; level <= TILE_LEVEL_MAX; level++) {
        uint64_t index = (s->done >> level_shift(level)) / TILE_WIDTH;
        unsigned width = tile_width(level, index, s->done);
        if (width == 0)
            continue;
        enum err err = check_upper_tile(s, level, index, width);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err check_roots(struct scan *s)
{
    uint64_t size = s->checkpoint->size;
    struct hash root = root_so_far(s);
    if (memcmp(root.bytes, s->checkpoint->root.bytes, SHA256_SIZE) != 0)
        return fail(s, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT,
                    s->report->matches_saved ? s->saved->size : 0, size);
    if (s->is_rewritten)
        return fail(s, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, s->saved->size);
    return ERR_NONE;
}

/* What the two checkpoints tell without the log. */
static enum err check_checkpoints(struct scan *s)
{
    const struct checkpoint *now = s->checkpoint;
    const struct checkpoint *saved = s->saved;
    if (now->size > LOG_SIZE_MAX)
        return fail(s, ERR_LIMIT, LOG_FAULT_SIZE, LOG_SIZE_MAX, now->size);
    if (saved == NULL)
        return ERR_NONE;
    if (!slice_equal(slice_of_text(now->origin), slice_of_text(saved->origin)))
        return fail(s, ERR_CONFLICT, LOG_FAULT_ORIGIN, 0, 0);
    if (now->size < saved->size)
        return fail(s, ERR_CONFLICT, LOG_FAULT_SHRUNK, now->size, saved->size);
    if (now->size == saved->size && memcmp(now->root.bytes, saved->root.bytes, SHA256_SIZE) != 0)
        return fail(s, ERR_CONFLICT, LOG_FAULT_FORKED, 0, now->size);
    return ERR_NONE;
}

enum err log_reader_check(struct log_reader *lr, const struct checkpoint *checkpoint,
                          const struct checkpoint *saved, log_entry_fn *entry, void *entry_ctx,
                          struct log_report *report)
{
    *report = (struct log_report){.fault = LOG_SOUND};
    struct scan s = {
        .lr = lr,
        .checkpoint = checkpoint,
        .saved = saved,
        .entry = entry,
        .entry_ctx = entry_ctx,
        .report = report,
    };
    for (int level = 0; level <= TILE_LEVEL_MAX; level++)
        merkle_frontier_init(&lr->levels[level].tree);
    enum err err = check_checkpoints(&s);
    if (err == ERR_NONE)
        err = read_entries(&s);
    if (err == ERR_NONE)
        err = check_partial_tiles(&s);
    if (err == ERR_NONE)
        err = check_roots(&s);
    return err;
}
