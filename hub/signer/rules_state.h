/* The last rules the signer signed: what keeps it from ever signing older ones, or others of the
 * same version. The file's slots hold the version and the body's digest. */
#ifndef HUB_SIGNER_RULES_STATE_H
#define HUB_SIGNER_RULES_STATE_H

#include "hub/signer/slots.h"

#define RULES_BURST 32 /* versions that may be signed one after the other */
#define RULES_PAUSE_MS                                                                             \
    10000 /* between two of more than that: each flushes the disk, and in the                      \
             meantime nothing else is signed */

struct rules_state {
    struct slots signed_last;
    int64_t free_ms; /* the burst is whole again at this time of the monotonic clock */
};

/* As slots_open(). */
MUST_USE enum err rules_state_open(const char *path, struct rules_state *ret_state);
void rules_state_close(struct rules_state *s);

/* Durable when it returns ERR_NONE. ERR_REFUSED for a version older than the last, or the last with
 * another body; ERR_BUSY where they come too fast. ERR_IO and ERR_DISK_FULL change nothing. */
MUST_USE enum err rules_state_advance(struct rules_state *s, uint64_t version,
                                      const struct hash *body, int64_t now_ms);

#endif
