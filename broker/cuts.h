/* Cuts on their way: a device that the hub has cut off goes through three hands, the broker's
 * thread, which ends its sessions (TO_END), the one that makes sure nothing is left (TO_CLEAN), and
 * the one that reports (TO_REPORT). Under the broker's lock. */
#ifndef BROKER_CUTS_H
#define BROKER_CUTS_H

#include "broker/limits.h"

enum cut_step { CUT_TO_END, CUT_TO_CLEAN, CUT_TO_REPORT, CUT_STEPS };

struct cut {
    uint32_t device;
    uint64_t at;      /* the ledger's size that told of it */
    int64_t taken_ms; /* when that came; monotonic */
    int64_t latency_ms;
    bool is_news;      /* it came as a change; else it stood in the table as a whole */
    uint32_t sessions; /* ended, as the broker has said */
    uint32_t kept;     /* that were kept for its return, found and discarded */
    uint32_t retained; /* topics cleared */
    uint32_t next;     /* private */
};

struct cuts {
    struct cut *all;
    uint32_t used, free, first[CUT_STEPS], last[CUT_STEPS], count[CUT_STEPS]; /* 1 + number */
    bool more; /* there was no room for one: look for it in the table */
};

MUST_USE enum err cuts_init(struct cuts *c);
void cuts_destroy(struct cuts *c);
/* NULL where there is no room. */
struct cut *cuts_add(struct cuts *c, enum cut_step step);
/* The first of a step, taken out: it goes back by cuts_put() or cuts_drop(). NULL: none. */
struct cut *cuts_take(struct cuts *c, enum cut_step step);
void cuts_put(struct cuts *c, struct cut *cut, enum cut_step step);
void cuts_drop(struct cuts *c, struct cut *cut);

#endif
