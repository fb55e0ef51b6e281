/* Time: monotonic for durations, one injectable clock for dates. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);

/* The date, in seconds and in milliseconds since 1970. Moved by clock_shift(). */
int64_t clock_seconds(void);
int64_t clock_milliseconds(void);
/* Moves the date by this much from now on: for tests, where time is moved, not slept. */
void clock_shift(int64_t seconds);

#endif
