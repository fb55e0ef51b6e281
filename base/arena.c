#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#endif

#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* A request's decoded fields and its answer fit into one block as a rule; what is larger than a
 * block gets one of its own, which a reset gives back. */
#define BLOCK_SIZE ((size_t)8192)
#define ALIGNMENT  alignof(max_align_t)

struct block {
    struct block *next;
    size_t used;
    alignas(max_align_t) uint8_t bytes[];
};

struct arena {
    struct block *small; /* of BLOCK_SIZE; the newest, which is filled, first */
    struct block *large; /* one allocation each */
    size_t max;
    size_t used;
    bool secret; /* wipe before giving back */
};

struct arena *arena_new(size_t max)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a != NULL)
        a->max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2;
    return a;
}

static void wipe_block(struct block *b)
{
    UNPOISON(b->bytes, b->used);
    mem_wipe(b->bytes, b->used);
}

static void free_blocks(const struct arena *a, struct block *b)
{
    while (b != NULL) {
        struct block *next = b->next;
        if (a->secret)
            wipe_block(b);
        free(b);
        b = next;
    }
}

void arena_free(struct arena *a)
{
    if (a == NULL)
        return;
    free_blocks(a, a->small);
    free_blocks(a, a->large);
    free(a);
}

void arena_reset(struct arena *a)
{
    free_blocks(a, a->large);
    a->large = NULL;
    if (a->small != NULL) {
        free_blocks(a, a->small->next);
        a->small->next = NULL;
        if (a->secret)
            wipe_block(a->small);
        a->small->used = 0;
        POISON(a->small->bytes, BLOCK_SIZE);
    }
    a->used = 0;
    a->secret = false;
}

void arena_mark_secret(struct arena *a)
{
    a->secret = true;
}

static struct block *push_block(struct block **list, size_t size)
{
    struct block *b = malloc(sizeof *b + size);
    if (b == NULL)
        return NULL;
    b->next = *list;
    b->used = 0;
    *list = b;
    POISON(b->bytes, size);
    return b;
}

static void *take(struct arena *a, size_t n)
{
    if (n > a->max - a->used)
        return NULL;
    size_t wanted = n == 0 ? 1 : n; /* so that nothing, too, has an address of its own */
    size_t rounded = (wanted + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct block *b = a->small;
    if (rounded > BLOCK_SIZE)
        b = push_block(&a->large, rounded);
    else if (b == NULL || BLOCK_SIZE - b->used < rounded)
        b = push_block(&a->small, BLOCK_SIZE);
    if (b == NULL)
        return NULL;
    uint8_t *p = b->bytes + b->used;
    b->used += rounded;
    a->used += rounded < a->max - a->used ? rounded : a->max - a->used;
    UNPOISON(p, wanted);
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = take(a, n);
    if (p != NULL)
        memset(p, 0, n == 0 ? 1 : n);
    return p;
}

char *arena_text(struct arena *a, struct slice text)
{
    if (text.len == SIZE_MAX)
        return NULL;
    char *copy = take(a, text.len + 1);
    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

enum err arena_copy(struct arena *a, struct slice bytes, struct slice *ret_copy)
{
    uint8_t *copy = take(a, bytes.len);
    if (copy == NULL)
        return ERR_NO_MEMORY;
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    *ret_copy = slice_of(copy, bytes.len);
    return ERR_NONE;
}

struct writer arena_writer(struct arena *a, size_t max)
{
    uint8_t *space = take(a, max);
    struct writer w = writer_over(space, space == NULL ? 0 : max);
    if (space == NULL)
        writer_fail(&w, ERR_NO_MEMORY);
    return w;
}
