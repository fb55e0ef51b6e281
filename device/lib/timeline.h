/* A device's time. The system's clock may be wrong, so there is an anchor: a moment that is certain
 * to have passed (build, what was persisted, the trust bundle's floor, the start of a certificate
 * just issued, the last exchange with a hub that proved itself). Time never runs before the anchor,
 * which moves on with the monotonic clock; the wall clock counts where it is later and not absurd,
 * but becomes part of the anchor only once a hub's certificate was valid at that time. So a clock
 * that was wrong for a while leaves no trace. */
#ifndef DEVICE_LIB_TIMELINE_H
#define DEVICE_LIB_TIMELINE_H

#include "device/lib/limits.h"

struct timeline {
    int64_t anchor;    /* seconds since 1970 */
    int64_t anchor_ms; /* the monotonic clock when it was set */
    int64_t latest;    /* the latest time that is plausible */
};

struct timeline timeline_from_build(int64_t build_time, int64_t monotonic_ms);
int64_t timeline_now(const struct timeline *t, int64_t wall, int64_t monotonic_ms);
/* That `seconds` has passed is now certain. Earlier than the anchor, or absurd: nothing happens. */
void timeline_raise(struct timeline *t, int64_t seconds, int64_t monotonic_ms);

#endif
