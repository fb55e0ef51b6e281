/* Numbers found by hash, in open addressing. A slot holds 32 bits of the hash beside its number
 * plus one, so that what only lies in the way costs no look at a device, and an index grows without
 * looking at any. */
#ifndef BROKER_INDEX_H
#define BROKER_INDEX_H

#include "core/compiler.h"
#include "core/mem.h"

#define INDEX_EMPTY 0U

struct index {
    uint64_t *slots;
    uint32_t mask, used; /* slots less one, and those that are not empty */
};

static inline uint64_t index_slot(uint64_t hash, uint32_t value)
{
    return hash << 32 | value;
}

static inline uint32_t index_value(uint64_t slot)
{
    return (uint32_t)slot;
}

static inline uint32_t index_hash(uint64_t slot)
{
    return (uint32_t)(slot >> 32);
}

/* As calloc(). What is large is asked for in large pages, and starts where one does: with small
 * ones most lookups in a table of a million pay for finding their page as well. */
void *index_calloc(size_t n, size_t size);
/* `slots`: a power of two. False where memory is out. */
MUST_USE bool index_new(struct index *x, uint32_t slots);
void index_put(struct index *x, uint64_t slot);
/* Makes *next, where `n` more would make this one fuller than three quarters. False where memory is
 * out. */
MUST_USE bool index_grow(const struct index *x, uint64_t n, struct index *next);
/* `next`, if it is one, takes the place of `x`. */
void index_adopt(struct index *x, struct index *next);

#endif
