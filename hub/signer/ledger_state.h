/* The last tree the signer signed: what keeps it from ever signing one that does not continue it.
 * The file's slots hold size and root. */
#ifndef HUB_SIGNER_LEDGER_STATE_H
#define HUB_SIGNER_LEDGER_STATE_H

#include "hub/signer/slots.h"

struct ledger_state {
    struct slots signed_last;
    bool accept_roll_back; /* the next larger tree needs no proof: its owner vouches for it */
};

/* As slots_open(). */
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
