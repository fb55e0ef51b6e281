/* An arena: memory that is given back all at once. One for each request. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "core/cursor.h"

struct arena;

/* `max` bounds everything allocated from it until the next reset. NULL where memory is out. */
struct arena *arena_new(size_t max);
void arena_free(struct arena *a); /* NULL is fine */
/* Forgets everything; keeps a first block for the next use. */
void arena_reset(struct arena *a);
/* A secret is in it: what it holds is wiped when it is forgotten, by reset or free. */
void arena_mark_secret(struct arena *a);

/* Aligned for any type, zeroed; NULL where the limit or the memory is reached. */
void *arena_alloc(struct arena *a, size_t n);
char *arena_text(struct arena *a, struct slice text); /* NUL-terminated copy, or NULL */
MUST_USE enum err arena_copy(struct arena *a, struct slice bytes, struct slice *ret_copy);
/* A writer over `max` fresh bytes; its err is ERR_NO_MEMORY where there are none. */
struct writer arena_writer(struct arena *a, size_t max);

#endif
