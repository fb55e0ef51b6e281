/* Numbers found by hash, for the table of devices. A slot holds 32 bits of the hash beside the
 * number plus one, so that what only lies in the way costs no look at a device, and an index grows
 * without looking at any. Whoever looks something up starts at slot_hash() & mask and goes on,
 * round the end, to the first slot that is EMPTY: there is one, as an index is never more than
 * three quarters full. */
#ifndef BROKER_INDEX_H
#define BROKER_INDEX_H

#include "core/compiler.h"
#include "core/mem.h"

#define EMPTY 0U

struct index {
    uint64_t *slots;
    uint32_t mask; /* number of slots, a power of two, less one */
    uint32_t used;
};

static inline uint64_t slot_of(uint64_t hash, uint32_t value)
{
    return hash << 32 | value;
}

static inline uint32_t slot_value(uint64_t slot)
{
    return (uint32_t)slot;
}

static inline uint32_t slot_hash(uint64_t slot)
{
    return (uint32_t)(slot >> 32);
}

/* As calloc(). What is large is asked for in large pages, and starts where one does: with small
 * ones most lookups in a table of a million pay for finding their page as well. */
void *index_calloc(size_t n, size_t size);
/* False where memory is out. */
MUST_USE bool index_new(struct index *x, uint32_t slots);
void index_put(struct index *x, uint64_t slot);
/* Makes *next, where `n` more would fill this one too much and it isn't made yet; false where
 * memory is out. */
MUST_USE bool index_grow(const struct index *x, uint64_t n, struct index *next);
/* Takes what was made into use. */
void index_adopt(struct index *x, struct index *next);

#endif
