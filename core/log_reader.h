/* Reads a log from its tiles (C2SP tlog-tiles) and checks it: that its entries hash to the
 * checkpoint's root, that an older checkpoint kept elsewhere is a beginning of the same history,
 * and that the hash tiles served beside the entries say the same as the entries. The signatures on
 * both checkpoints are the caller's to verify first (core/note.h).
 *
 * The whole log is read once from front to back, and computed from its entries. A part of it is
 * read from the root down: the tiles at the right edge give the root, and each other tile is what
 * the tile above it says. Memory does not grow with the log. */
#ifndef CORE_LOG_READER_H
#define CORE_LOG_READER_H

#include "core/note.h"
#include "core/tile.h"

#define LOG_SIZE_MAX ((UINT64_C(1) << 48) - 1) /* what tiles of TILE_LEVEL_MAX can hold */

/* The largest entry bundle. A log whose entries are known to be small does with less. */
#define LOG_BUNDLE_MAX (TILE_WIDTH * (2 + (size_t)ENTRY_MAX))

/* Brings the tile at `path` ("tile/entries/x001/234") into `buffer`. ERR_NOT_FOUND where the log
 * does not have it, ERR_LIMIT where it is longer than `max`; other errors end the reading, too. */
typedef enum err log_fetch_fn(void *ctx, struct slice path, uint8_t *buffer, size_t max,
                              size_t *ret_len);

/* Takes one entry, in order from number 0. `data` is only valid during the call. Its leaf hash
 * agrees with the log's hash tile; that both belong to the checkpoint is only known when
 * log_reader_check() has returned ERR_NONE. Any error ends the reading. */
typedef enum err log_entry_fn(void *ctx, uint64_t number, struct slice data,
                              const struct hash *leaf);

/* What was found wrong. */
enum log_fault {
    LOG_SOUND,
    LOG_FAULT_ORIGIN,    /* the two checkpoints are of different logs */
    LOG_FAULT_SIZE,      /* the checkpoint is larger than LOG_SIZE_MAX */
    LOG_FAULT_RANGE,     /* the log does not have the entries that are asked for */
    LOG_FAULT_SHRUNK,    /* the checkpoint is smaller than the saved one */
    LOG_FAULT_FORKED,    /* two checkpoints of one size with different roots */
    LOG_FAULT_FETCH,     /* a tile could not be fetched, the error says why */
    LOG_FAULT_BUNDLE,    /* an entry bundle has fewer or more entries than the log's size asks */
    LOG_FAULT_TILE,      /* a hash tile is not as long as the log's size asks */
    LOG_FAULT_ENTRY,     /* an entry does not hash to what the level 0 tile says */
    LOG_FAULT_TREE,      /* a hash of an upper tile is not that of the tile below it */
    LOG_FAULT_ROOT,      /* entries or tiles do not hash to the checkpoint's root */
    LOG_FAULT_REWRITTEN, /* they do, but not to the saved root: history was replaced and signed */
    LOG_FAULT_CALLER,    /* the entry callback returned an error */
    LOG_FAULT_COUNT
};

/* A short phrase, never NULL. */
const char *log_fault_text(enum log_fault fault);

struct log_report {
    enum log_fault fault;
    uint64_t entries; /* handed to the callback */
    /* Which entries the fault concerns: numbers from `first` up to, and without, `end`. */
    uint64_t first, end;
    struct tile tile;   /* for FETCH, BUNDLE, TILE, ENTRY and TREE */
    bool matches_saved; /* the entries were read up to the saved size and give the saved root */
};

struct log_reader {
    sha256_fn *sha256;
    log_fetch_fn *fetch;
    void *fetch_ctx;
    uint8_t *bundle; /* the caller's */
    size_t bundle_max;
    uint8_t tile[TILE_WIDTH * SHA256_SIZE];
    /* Of each level the last tile, as far as it has come: its hashes and their tree. */
    struct {
        struct merkle_frontier tree;
        struct hash hashes[TILE_WIDTH];
    } levels[TILE_LEVEL_MAX + 1];
    /* Of each level a full tile that belongs to the root; on the highest there is none. */
    struct {
        uint64_t index;
        bool is_there;
        struct hash hashes[TILE_WIDTH];
    } path[TILE_LEVEL_MAX];
};

/* `bundle` receives entry bundles, one at a time: LOG_BUNDLE_MAX bytes always suffice. The struct
 * itself takes about 120 KiB. */
void log_reader_init(struct log_reader *lr, sha256_fn *sha256, log_fetch_fn *fetch, void *fetch_ctx,
                     uint8_t *bundle, size_t bundle_max);

/* Reads and checks the log of `checkpoint`; against `saved` as well, and `entry` is called, where
 * they are not NULL. ERR_NONE means that everything agrees. The report is filled in always.
 * Otherwise: the error of a callback; ERR_LIMIT; ERR_SYNTAX for bundles and tiles of a wrong
 * length; ERR_CONFLICT where the checkpoints contradict each other (ORIGIN, SHRUNK, FORKED,
 * REWRITTEN); ERR_BAD_SIGNATURE where hashes do not agree. */
MUST_USE enum err log_reader_check(struct log_reader *lr, const struct checkpoint *checkpoint,
                                   const struct checkpoint *saved, log_entry_fn *entry,
                                   void *entry_ctx, struct log_report *report);

/* The same for the entries from number `first` up to, and without, `end`. Needs their bundles and
 * level 0 tiles, the tiles above those, the last tile of each level, and those on the way to
 * entry number saved->size: nothing else is fetched. An empty range checks the tree's edge, and
 * what was saved, alone. ERR_LIMIT for a range that the log does not have. */
MUST_USE enum err log_reader_check_range(struct log_reader *lr, const struct checkpoint *checkpoint,
                                         const struct checkpoint *saved, uint64_t first,
                                         uint64_t end, log_entry_fn *entry, void *entry_ctx,
                                         struct log_report *report);

/* The inclusion proof (RFC 6962 section 2.1.1) of entry `number`, for merkle_verify_inclusion(),
 * right after log_reader_check_range() has found that entry, alone or as the last one, sound.
 * ERR_INTERNAL otherwise. `leaf` is what the callback was given. */
MUST_USE enum err log_reader_prove(const struct log_reader *lr, const struct checkpoint *checkpoint,
                                   uint64_t number, const struct hash *leaf,
                                   struct hash ret_proof[MERKLE_PROOF_MAX], size_t *ret_len);

#endif
