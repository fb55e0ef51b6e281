/* When the broker last heard from a hub, and how stale what it knows is by now: over restarts and
 * reboots, and never fooled by a clock that was set back.
 *
 * While the machine runs, time is CLOCK_BOOTTIME's. From one boot to the next there is only the
 * wall clock, and what was noted before: where it stands before that, nobody knows how long the
 * broker was off, so what it knows is stale without end until a hub answers. */
#ifndef BROKER_CONTACT_H
#define BROKER_CONTACT_H

#include "core/cursor.h"

#define CONTACT_BOOT_SIZE  16
#define CONTACT_STALE_EVER INT64_MAX

/* The clocks as they stand. */
struct contact_now {
    int64_t wall;                    /* seconds since 1970, as the system says */
    int64_t boot_seconds;            /* since this boot */
    uint8_t boot[CONTACT_BOOT_SIZE]; /* which boot */
};
void contact_now(struct contact_now *ret_now);

struct contact {
    bool in_touch; /* the last request was answered, and the next is not late */
    int64_t stale; /* seconds, when `boot_seconds` was; CONTACT_STALE_EVER: not known */
    int64_t boot_seconds;
    int64_t wall;     /* the latest date there ever was */
    int64_t answered; /* the date of the last answer; 0: never */
};

void contact_init(struct contact *c);
/* A hub answered; it failed to. */
void contact_answered(struct contact *c, const struct contact_now *now);
void contact_lost(struct contact *c);
/* Seconds since a hub answered; 0 while in touch. */
int64_t contact_stale(const struct contact *c, const struct contact_now *now);
/* The date, for certificates: never before what it was when a hub last answered, and since. */
int64_t contact_date(const struct contact *c, const struct contact_now *now);

/* As it is kept on disk. ERR_SYNTAX. */
void contact_write(struct writer *w, const struct contact *c, const struct contact_now *now);
MUST_USE enum err contact_read(struct slice bytes, const struct contact_now *now,
                               struct contact *ret_contact);

#endif
