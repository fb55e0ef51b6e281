/* Quantities as people write them: "30d", "60/min", "64KiB", "1MiB/min". */
#ifndef POLICY_QUANTITY_H
#define POLICY_QUANTITY_H

#include "core/cursor.h"

enum quantity {
    QUANTITY_COUNT,     /* 10 */
    QUANTITY_DURATION,  /* seconds: 90s, 15m, 12h, 30d, 1y (365 days) */
    QUANTITY_SIZE,      /* bytes: 512B, 64KiB, 1MiB */
    QUANTITY_RATE,      /* a minute: 60/min, 2/s */
    QUANTITY_SIZE_RATE, /* bytes a minute: 1MiB/min, 4KiB/s */
    QUANTITY_KINDS
};

/* ERR_SYNTAX where it is not written so, its unit missing; ERR_LIMIT where 63 bits don't hold it.
 */
MUST_USE enum err quantity_read(struct slice text, enum quantity kind, int64_t *ret_value);
/* In the largest unit that says it exactly; reads back as the same. */
void quantity_write(struct writer *w, enum quantity kind, int64_t value);
/* "a time such as 30d or 12h": for complaints. */
const char *quantity_example(enum quantity kind);
/* A regular expression (ECMA 262) that a text of that kind matches. */
const char *quantity_pattern(enum quantity kind);

#endif
