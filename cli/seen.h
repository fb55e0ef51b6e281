/* A growing set of short keys, each with a number: what a file has had already, and where. */
#ifndef CLI_SEEN_H
#define CLI_SEEN_H

#include <stdint.h>

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define SEEN_KEY_MAX 255 /* bytes */

struct seen;

/* ERR_NO_MEMORY, ERR_CRYPTO. */
MUST_USE enum err seen_new(struct seen **ret_seen);
void seen_free(struct seen *s); /* NULL is fine */
/* ERR_EXISTS where the key is in it, and then *ret_value is what was added with it; ERR_LIMIT,
 * ERR_NO_MEMORY. */
MUST_USE enum err seen_add(struct seen *s, struct slice key, uint64_t value, uint64_t *ret_value);
/* ERR_NOT_FOUND. */
MUST_USE enum err seen_find(const struct seen *s, struct slice key, uint64_t *ret_value);

#endif
