/* The last tree the signer signed, in a file of its own: what keeps it from ever signing one that
 * does not continue it.
 *
 * Two slots, each in a block of the disk of its own, written in turn: a power cut in the middle of
 * a write spoils the slot whose checkpoint was not given out yet. A slot: "HFLEDGR1" | size u64 |
 * root [32] | SHA-256 of what stands before */
#ifndef HUB_SIGNER_LEDGER_STATE_H
#define HUB_SIGNER_LEDGER_STATE_H

#include "core/merkle.h"

struct ledger_state {
    int fd;
    unsigned slot; /* the one that holds size and root */
    bool signed_any;
    bool accept_roll_back; /* the next larger tree needs no proof: its owner vouches for it */
    uint64_t size;
    struct hash root;
};

/* Opens or, at the first start, makes the file. ERR_IO, ERR_DISK_FULL; ERR_SYNTAX where neither
 * slot is sound: then somebody has to look. */
MUST_USE enum err ledger_state_open(const char *path, struct ledger_state *ret_state);
void ledger_state_close(struct ledger_state *s);

/* ERR_REFUSED for a tree that is smaller than the last, of its size with another root, or not
 * proven to continue it (RFC 6962 section 2.1.2). */
MUST_USE enum err ledger_state_check(const struct ledger_state *s, uint64_t size,
                                     const struct hash *root, const struct hash *proof,
                                     size_t proof_len);
/* As above; durable when it returns ERR_NONE. ERR_IO and ERR_DISK_FULL change nothing. */
MUST_USE enum err ledger_state_advance(struct ledger_state *s, uint64_t size,
                                       const struct hash *root, const struct hash *proof,
                                       size_t proof_len);

#endif
