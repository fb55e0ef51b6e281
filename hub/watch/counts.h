/* How often something was told of devices within the last minute. Bounded: of a device that finds
 * no room nothing is counted, and the caller is told so. No lock of its own. */
#ifndef HUB_WATCH_COUNTS_H
#define HUB_WATCH_COUNTS_H

#include "hub/store/rows.h"

#define COUNTS_DEVICES   4096 /* with something in the last minute; some 220 bytes each */
#define COUNTS_SLOTS     6    /* the minute moves on by a sixth at a time */
#define COUNTS_SLOT_MS   10000
#define COUNTS_WINDOW_MS (COUNTS_SLOTS * COUNTS_SLOT_MS)

enum count_kind { COUNT_TOPICS, COUNT_FLOODS, COUNT_KINDS };

struct counts;
MUST_USE enum err counts_new(struct counts **ret_counts);
void counts_free(struct counts *c); /* NULL is fine */
/* Adds n; *ret_sum is what there is of that kind in the minute that ends now. `now_ms` never goes
 * back. ERR_LIMIT: there is no room. */
MUST_USE enum err counts_add(struct counts *c, enum count_kind kind, const char *tenant,
                             const char *device, uint64_t n, int64_t now_ms, uint64_t *ret_sum);
/* From nothing on, of all kinds. */
void counts_clear(struct counts *c, const char *tenant, const char *device);

#endif
