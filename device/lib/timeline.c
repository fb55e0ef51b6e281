#include "device/lib/timeline.h"

struct timeline timeline_from_build(int64_t build_time, int64_t monotonic_ms)
{
    return (struct timeline){.anchor = build_time,
                             .anchor_ms = monotonic_ms,
                             .latest = build_time + DEVICE_TIME_PLAUSIBLE};
}

static int64_t anchored(const struct timeline *t, int64_t monotonic_ms)
{
    int64_t elapsed = monotonic_ms - t->anchor_ms;
    return t->anchor + (elapsed > 0 ? elapsed / 1000 : 0);
}

int64_t timeline_now(const struct timeline *t, int64_t wall, int64_t monotonic_ms)
{
    int64_t now = anchored(t, monotonic_ms);
    return wall > now && wall <= t->latest ? wall : now;
}

int64_t timeline_credible(int64_t not_before, int64_t not_after)
{
    return not_before + (not_after - not_before) / 3 * 2;
}

void timeline_raise(struct timeline *t, int64_t seconds, int64_t monotonic_ms)
{
    if (seconds <= anchored(t, monotonic_ms) || seconds > t->latest)
        return;
    t->anchor = seconds;
    t->anchor_ms = monotonic_ms;
}
