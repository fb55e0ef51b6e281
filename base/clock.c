#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t shift_ms;

static int64_t microseconds_of(clockid_t id)
{
    struct timespec now = {0};
    (void)clock_gettime(id, &now); /* cannot fail for these two clocks */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return microseconds_of(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

int64_t clock_milliseconds(void)
{
    return microseconds_of(CLOCK_REALTIME) / 1000 + atomic_load(&shift_ms);
}

int64_t clock_seconds(void)
{
    return clock_milliseconds() / 1000;
}

void clock_shift(int64_t seconds)
{
    atomic_fetch_add(&shift_ms, seconds * 1000);
}
