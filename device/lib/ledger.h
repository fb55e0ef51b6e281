/* The hub's ledger as this device has seen it. Every act of the hub is in it, and it only ever
 * grows: so a hub that shows a device less than it knew, or something else, keeps two sets of
 * books. The device believes it nothing from then on. */
#ifndef DEVICE_LIB_LEDGER_H
#define DEVICE_LIB_LEDGER_H

#include "core/merkle.h"
#include "device/lib/limits.h"

enum ledger_finding {
    LEDGER_SOUND,
    LEDGER_SHRUNK, /* a signed checkpoint of a smaller tree; ends with one that continues ours */
    LEDGER_FORKED, /* one of another tree: the log's key has signed two histories; stays */
    LEDGER_HIDDEN, /* nothing newer was shown where there must be something; ends when it is */
    LEDGER_FINDING_COUNT
};
/* "shrunk" and so on, as check-ins have it; "" for LEDGER_SOUND. */
const char *ledger_finding_text(enum ledger_finding finding);

struct ledger_view {
    uint64_t size; /* of the newest tree seen; 0: none */
    struct hash root;
    enum ledger_finding finding;
    int64_t found_at; /* seconds since 1970 */
    /* How many more check-ins the hub has to show a larger tree, for it has issued us a
     * certificate, which is an entry. 0: it owes nothing. */
    unsigned owed;
};

#endif
