/* What the readers of a log share (core/log_reader.c, core/log_range.c); nobody else includes it:
 * fetching tiles, hashing bundles against them, and putting faults into the report. */
#ifndef CORE_LOG_SCAN_H
#define CORE_LOG_SCAN_H

#include "core/log_reader.h"

/* One reading of a log. */
struct log_scan {
    struct log_reader *lr;
    const struct checkpoint *checkpoint;
    const struct checkpoint *saved; /* NULL where there is none */
    log_entry_fn *entry;
    void *entry_ctx;
    uint64_t first; /* the callback is for entries from that number on */
    uint64_t end;   /* and up to that one */
    uint64_t done;  /* entries hashed so far */
    bool is_rewritten;
    struct log_report *report;
};

/* How far to shift an entry's number for the number of its hash on that level. */
unsigned log_scan_shift(int level);

/* Fills in the report, and gives `err` back. */
enum err log_scan_fail(struct log_scan *s, enum err err, enum log_fault fault, uint64_t first,
                       uint64_t end);
/* A fault of the hashes or entries [from, to) of a tile. */
enum err log_scan_fail_tile(struct log_scan *s, enum err err, enum log_fault fault,
                            const struct tile *tile, unsigned from, unsigned to);

/* What the two checkpoints tell without the log. */
MUST_USE enum err log_scan_checkpoints(struct log_scan *s);

/* Fetches a hash tile into lr->tile. */
MUST_USE enum err log_scan_fetch_hashes(struct log_scan *s, const struct tile *tile);

/* Appends a hash to the tree of its level's tile. */
void log_scan_add_hash(struct log_reader *lr, int level, const struct hash *h);
/* The root of a tree of `size` entries, of which the levels hold the right edge. */
struct hash log_scan_root(const struct log_reader *lr, uint64_t size);
/* The complete subtrees of that tree, largest first. */
struct merkle_frontier log_scan_frontier(const struct log_reader *lr, uint64_t size);

/* Fetches the bundle that goes with a level 0 tile, whose hashes are given, compares its entries
 * with them, and hands those to the caller that are asked for. After each of them `taken` is
 * called, which may be NULL, and may replace the hashes with the last one. */
MUST_USE enum err log_scan_bundle(struct log_scan *s, const struct tile *leaves,
                                  const uint8_t *hashes,
                                  enum err (*taken)(struct log_scan *s, const struct hash *leaf));

#endif
