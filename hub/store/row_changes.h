/* Which rows have changed, as counts: each row has a place among a few thousand, and shares it with
 * others. Private to hub/store; what is for everybody is in store.h (struct row_stamp). */
#ifndef HUB_STORE_ROW_CHANGES_H
#define HUB_STORE_ROW_CHANGES_H

#include <stdatomic.h>

#include "hub/store/store.h"

#define ROW_PLACES 8192 /* 64 KiB; a commit takes a few of them for changed that are not */

struct row_changes {
    atomic_uint_least64_t counts[ROW_PLACES];
    uint64_t noted[ROW_PLACES / 64]; /* a bit for each; the writer's */
};

uint32_t row_place(const struct table *table, const void *row_with_key);

/* On the writer's thread. Noted as it is changed in a transaction, and told when that has ended: of
 * one that may have failed, too, for a row that is read once more in vain is no harm. */
void row_changes_note(struct row_changes *c, const struct table *table, const void *row_with_key);
void row_changes_tell(struct row_changes *c);

#endif
