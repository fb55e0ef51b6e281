#include "broker/index.h"

#include <stdlib.h>
#include <sys/mman.h>

#define LARGE_PAGE ((size_t)2 << 20)

void *index_calloc(size_t n, size_t size)
{
    if (n * size < LARGE_PAGE)
        return calloc(n, size);
    size_t whole = (n * size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    void *p = aligned_alloc(LARGE_PAGE, whole);
    if (p == NULL)
        return NULL;
    (void)madvise(p, whole, MADV_HUGEPAGE);
    memset(p, 0, n * size);
    return p;
}

bool index_new(struct index *x, uint32_t slots)
{
    x->slots = index_calloc(slots, sizeof *x->slots);
    x->mask = slots - 1;
    x->used = 0;
    return x->slots != NULL;
}

void index_put(struct index *x, uint64_t slot)
{
    uint32_t at = index_hash(slot) & x->mask;
    while (x->slots[at] != INDEX_EMPTY)
        at = (at + 1) & x->mask;
    x->slots[at] = slot;
    x->used++;
}

static bool is_tight(const struct index *x, uint64_t n)
{
    return (x->used + n) * 4 > ((uint64_t)x->mask + 1) * 3;
}

bool index_grow(const struct index *x, uint64_t n, struct index *next)
{
    if (!is_tight(x, n) || next->slots != NULL)
        return true;
    uint64_t slots = (uint64_t)x->mask + 1;
    while ((x->used + n) * 2 > slots)
        slots *= 2;
    if (slots > UINT32_MAX || !index_new(next, (uint32_t)slots))
        return false;
    for (uint32_t i = 0; i <= x->mask; i++)
        if (x->slots[i] != INDEX_EMPTY)
            index_put(next, x->slots[i]);
    return true;
}

void index_adopt(struct index *x, struct index *next)
{
    if (next->slots == NULL)
        return;
    free(x->slots);
    *x = *next;
    *next = (struct index){0};
}
