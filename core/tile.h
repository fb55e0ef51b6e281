/* Tiles of a log as C2SP tlog-tiles lays them out: height 8, so 256 hashes or entries wide. */
#ifndef CORE_TILE_H
#define CORE_TILE_H

#include "core/cursor.h"
#include "core/merkle.h"

#define TILE_WIDTH     256
#define TILE_LEVEL_MAX 5    /* levels 0..5 hold 2^48 entries, more than a log will have */
#define TILE_ENTRIES   (-1) /* the level of an entry bundle: "tile/entries/" */
#define TILE_PATH_MAX  64
#define ENTRY_MAX      65535 /* bytes of one entry in a bundle, which has 16-bit lengths */

struct tile {
    int level;      /* 0..TILE_LEVEL_MAX or TILE_ENTRIES */
    uint64_t index; /* which tile of that level */
    unsigned width; /* 1..TILE_WIDTH; less than TILE_WIDTH is a partial tile (".p/W") */
};

/* "tile/0/x001/234", "tile/entries/000.p/12". The reader takes the canonical form alone. */
void tile_write_path(struct writer *w, const struct tile *tile);
MUST_USE enum err tile_read_path(struct slice path, struct tile *ret_tile);
/* How many hashes or entries tile `index` of `level` has in a log of that size; 0 where none. */
unsigned tile_width(int level, uint64_t index, uint64_t size);

/* Entry bundles: each entry is a 16-bit big-endian length and its bytes. Writing one over ENTRY_MAX
 * is ERR_LIMIT. */
void tile_write_entry(struct writer *w, struct slice entry);
struct slice tile_read_entry(struct reader *r);

#endif
