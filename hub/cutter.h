/* Cuts at this hub: closes the live connections of devices that were cut off, on every loop, and
 * says so as this hub's leg (hub/identity). What a killed hub left open, or could not write, is
 * looked up again and again until it is done. */
#ifndef HUB_CUTTER_H
#define HUB_CUTTER_H

#include "hub/hub.h"

struct cutter_target {
    const char *device; /* copied */
    int64_t entry;      /* the ledger's, of the cut */
};
/* At most IDENTITY_CUT_MAX. `done` (may be NULL) runs on the calling loop once all connections are
 * closed, `closed` of them by the monotonic time `at_us`, and once that is confirmed, or could not
 * be for now. */
typedef void cutter_done_fn(void *ctx, size_t closed, int64_t at_us);
void cutter_close(struct hub_loop *here, const char *tenant, const struct cutter_target *targets,
                  size_t n, cutter_done_fn *done, void *ctx);
/* On loop 0, with every tick: looks for cuts that are open here. */
void cutter_turn(struct hub_loop *here);

#endif
