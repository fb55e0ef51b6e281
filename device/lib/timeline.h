/* A device's time. The system's clock may be wrong, so there is an anchor: a moment that is certain
 * to have passed (build, what was persisted, the trust bundle's floor, the start of a certificate
 * that was issued and then taken by the hub, the last exchange with a hub that proved itself). Time
 * never runs before the anchor, which moves on with the monotonic clock; the wall clock counts
 * where it is later and not absurd, but becomes part of the anchor only once a hub's certificate
 * was valid at that time. So a clock that was wrong for a while leaves no trace.
 *
 * What is learnt over a connection is worth no more than the server's certificate there. Two bounds
 * follow, so that no hub with a wrong clock, or in wrong hands, puts a device where the right one
 * cannot reach it any more:
 * - A certificate that starts after the server's own ends is rejected.
 * - The anchor is not moved past timeline_credible(), where two thirds of the server certificate's
 *   life are over. A hub renews it there at the latest, so a right hub's time is never cut; and a
 *   device is never ahead by more than these two thirds, so that it can reach the hub at least in
 *   the third of a life after each renewal. Up to the very end would not do: the next certificate
 *   would be over, in the device's eyes, when it came. */
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
/* The latest moment that an exchange with a server whose certificate lives from `not_before` to
 * `not_after` makes certain. */
int64_t timeline_credible(int64_t not_before, int64_t not_after);
/* That `seconds` has passed is now certain. Earlier than the anchor, or absurd: nothing happens. */
void timeline_raise(struct timeline *t, int64_t seconds, int64_t monotonic_ms);

#endif
