/* Rate limits by the generic cell rate algorithm (GCRA): one number a key, no timers. A table of
 * fixed size; when it is full, the key that has been quiet longest gives way. For any thread. */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

struct rate_table;

struct rate {
    unsigned per_minute; /* sustained */
    unsigned burst;      /* at once; at least 1 */
};

MUST_USE enum err rate_table_new(size_t keys_max, struct rate_table **ret_table);
void rate_table_free(struct rate_table *t);
/* Counts one event of `key` now. True where it is within the rate; else *ret_wait_ms says when the
 * next would be. */
bool rate_allow(struct rate_table *t, struct slice key, const struct rate *rate, int64_t now_ms,
                int64_t *ret_wait_ms);
/* Looks without counting. */
bool rate_would_allow(struct rate_table *t, struct slice key, const struct rate *rate,
                      int64_t now_ms, int64_t *ret_wait_ms);

#endif
