/* The thread that tells the hub what happened (POST /v1/broker/reports): cuts that are complete,
 * first connects, refusals; and that keeps the journal and the status file up to date. What the hub
 * has not taken is told again. */
#ifndef BROKER_REPORTER_H
#define BROKER_REPORTER_H

#include "broker/broker.h"

void *reporter_run(void *broker);

/* One report, taken out of what is waiting. */
struct report {
    uint64_t position, rules;
    uint32_t sessions;
    int64_t stale;
    int64_t refused_since_ms, refused_ms; /* since when refusals were gathered, and how long */
    uint32_t connects_len, cuts_len, refusals_len;
    struct report_connect connects[BROKER_REPORT_MAX];
    struct cut *cuts[BROKER_REPORT_MAX];
    struct report_refusal refusals[BROKER_REPORT_MAX];
};
/* Under the lock. */
void report_write(const struct broker *b, const struct report *report, struct writer *w);

#endif
