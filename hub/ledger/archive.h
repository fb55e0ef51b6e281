/* Closed periods of the ledger. Once somebody keeps a verified copy of the oldest entries
 * elsewhere, their data need not stay in the database: the leaf hashes do, and with them all
 * proofs. The act says up to which entry, and where the copy is; the data goes in chunks after
 * that. */
#ifndef HUB_LEDGER_ARCHIVE_H
#define HUB_LEDGER_ARCHIVE_H

#include "hub/ledger/act.h"

#define ARCHIVE_WHERE_MAX 255        /* bytes of the text that says where the copy is */
#define ARCHIVE_KEPT      TILE_WIDTH /* entries under the newest checkpoint that always stay */
#define ARCHIVE_CHUNK     256        /* entries whose data one write drops */

struct ledger_archive {
    uint64_t before;  /* entries below that number are archived; a multiple of TILE_WIDTH */
    uint64_t cleared; /* and below that one their data is gone */
    char where[ARCHIVE_WHERE_MAX + 1];
};

/* All zeroes where nothing was archived. */
MUST_USE enum err ledger_archive_read(struct store_reader *reader, struct arena *arena,
                                      struct ledger_archive *ret_archive);
/* From the value of its setting. */
MUST_USE enum err ledger_archive_parse(struct slice value, struct ledger_archive *ret_archive);

/* Archives the entries below `wanted.before`, with an entry where that is more than before, and
 * drops the data of one chunk: to be called until `now` says that all is cleared. Refused as
 * `archive-conflict` where less is wanted than was archived. */
struct ledger_archive_act {
    struct act act;
    struct ledger_archive wanted; /* `cleared` as the caller has read it */
    struct ledger_archive now;    /* how it stands afterwards */
};
void ledger_archive(struct store *store, struct ledger *ledger, const struct act_origin *origin,
                    struct ledger_archive_act *a);

#endif
