/* A number that only grows, and a digest that belongs to it, in a file of their own: what the
 * signer signed last, so that it never signs anything older.
 *
 * Two slots, each in a block of the disk of its own, written in turn: a power cut in the middle of
 * a write spoils the slot of which nothing was given out yet. A slot: magic [8] | number u64 |
 * digest [32] | SHA-256 of what stands before */
#ifndef HUB_SIGNER_SLOTS_H
#define HUB_SIGNER_SLOTS_H

#include "core/cursor.h"
#include "core/merkle.h"

struct slots {
    struct slice magic; /* 8 bytes that last: what the file is */
    int fd;
    unsigned slot; /* the one that holds number and digest */
    bool held;
    uint64_t number;
    struct hash hash;
};

/* Opens or, at the first start, makes the file. ERR_IO, ERR_DISK_FULL; ERR_SYNTAX where neither
 * slot is sound: then somebody has to look. */
MUST_USE enum err slots_open(const char *path, struct slice magic, struct slots *ret_slots);
void slots_close(struct slots *s);
/* Durable when it returns ERR_NONE; the caller has seen that the number grows. ERR_IO and
 * ERR_DISK_FULL change nothing. */
MUST_USE enum err slots_write(struct slots *s, uint64_t number, const struct hash *hash);

#endif
