/* What a device remembers: one record, written in turn to two places, so that a write that is cut
 * short damages only the older one. It is the point of commit for everything else: keys,
 * certificates and trust bundles are made durable first, where the state in force does not point,
 * and count from the moment a state that names them is durable. */
#ifndef DEVICE_LIB_STATE_H
#define DEVICE_LIB_STATE_H

#include "device/lib/ledger.h"
#include "device/lib/port.h"

enum slot_use {
    SLOT_FREE,
    SLOT_PENDING,  /* a key to enrol with, or to renew with; with a chain: issued, not used yet */
    SLOT_ACTIVE,   /* the identity in use */
    SLOT_RETIRING, /* replaced; its key is to be destroyed */
    SLOT_USE_COUNT
};

struct slot_state {
    enum slot_use use;
    enum key_kind kind;
    bool issued; /* chain_sha256 is set */
    uint8_t spki_sha256[SHA256_SIZE];
    uint8_t chain_sha256[SHA256_SIZE]; /* of the record with the certificates */
};

#define STATE_SLOTS  2 /* PORT_KEY_A and PORT_KEY_B */
#define STATE_COPIES 2
#define STATE_SIZE                                                                                 \
    (4 + 1 + 8 + 8 + STATE_SLOTS * (3 + 2 * SHA256_SIZE) + 1 + 8 + 1 + 3 * SHA256_SIZE +           \
     STATE_LEDGER_SIZE)
#define STATE_LEDGER_SIZE (8 + SHA256_SIZE + 1 + 8 + 1)

struct state {
    uint64_t sequence; /* of the last write; 0: never written */
    int64_t time;      /* the latest moment that is certain to have passed */
    struct slot_state slots[STATE_SLOTS];
    bool has_bundle;         /* a bundle newer than the one the device was born with is stored */
    unsigned bundle_copy;    /* which of its two records */
    uint64_t bundle_version; /* the newest ever followed */
    uint8_t bundle_sha256[SHA256_SIZE];
    bool reported;
    uint8_t report_sha256[SHA256_SIZE]; /* of the last report that the hub took */
    struct ledger_view ledger;
};

void state_write(struct writer *w, const struct state *s, sha256_fn *sha256);
/* ERR_SYNTAX for anything that state_write() did not write whole; ERR_UNSUPPORTED for a whole
 * record of another format version. */
MUST_USE enum err state_read(struct slice bytes, sha256_fn *sha256, struct state *ret_state);

/* The newest whole copy. ERR_NOT_FOUND where there is none and at most one was begun; ERR_SYNTAX
 * where both are damaged; ERR_UNSUPPORTED; or what the port says. */
MUST_USE enum err state_load(const struct port *port, struct state *ret_state);
/* Writes *next with the next sequence number, and then makes it *current. On failure *current
 * stays, and so does the whole copy of it on storage. */
MUST_USE enum err state_commit(const struct port *port, struct state *current,
                               const struct state *next);

/* The slot that is used in this way; -1 where none is. */
int state_slot(const struct state *s, enum slot_use use);

#endif
