/* What strangers can trigger - refusals, failed logins, limits - must not grow the ledger at their
 * will: it is counted here by kind and source, and enters as one finding for each in a window. */
#ifndef HUB_WATCH_REFUSALS_H
#define HUB_WATCH_REFUSALS_H

#include "hub/ledger/ledger.h"

#define REFUSALS_WINDOW  60 /* seconds between two flushes */
#define REFUSALS_SOURCES 64 /* kinds x sources told apart in a window; the rest are one finding */
#define REFUSALS_KEPT                                                                              \
    16 /* of these are kept for alarms, which name a device: noise can't push them out */

struct refusals;

MUST_USE enum err refusals_new(struct store *store, struct ledger *ledger,
                               struct refusals **ret_refusals);
void refusals_free(struct refusals *r);
/* `kind` is a problem code; `source` an address or "tenant/device". From any thread. */
void refusals_count(struct refusals *r, const char *kind, const char *source);
/* So many at once, as somebody else has counted them. */
void refusals_add(struct refusals *r, const char *kind, const char *source, uint64_t n);
/* The same for what somebody should look at, and a stranger can't make up. */
void refusals_alarm(struct refusals *r, const char *kind, const char *source);
/* Hands the window's findings to the writer. Called every REFUSALS_WINDOW seconds and at the end.
 */
void refusals_flush(struct refusals *r);

#endif
