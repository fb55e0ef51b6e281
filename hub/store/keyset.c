#include <stdlib.h>
#include <string.h>

#include "hub/store/database.h"

/* What does not fit is read when it is asked for: prefetching saves time, nothing depends on it. */
void keyset_add(struct keyset *keys, const struct table *table, const void *row_with_key)
{
    if (keys->len == keys->max) {
        size_t max = keys->max == 0 ? 64 : keys->max * 2;
        struct keyset_key *more = reallocarray(keys->keys, max, sizeof *more);
        if (more == NULL)
            return;
        keys->keys = more;
        keys->max = max;
    }
    uint8_t *copy = arena_alloc(keys->arena, table->row_size);
    if (copy == NULL)
        return;
    for (size_t i = 0; i < table->key_len; i++) {
        const struct column *column = &table->columns[i];
        memcpy(copy + column->offset, (const uint8_t *)row_with_key + column->offset, column->size);
    }
    keys->keys[keys->len++] = (struct keyset_key){.table = table, .row = copy};
}

void keyset_free(struct keyset *keys)
{
    free(keys->keys);
    *keys = (struct keyset){.arena = keys->arena};
}
