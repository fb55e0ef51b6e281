/* A slice points at bytes that somebody else owns. It never owns, never frees, and is not
 * NUL-terminated. */
#ifndef CORE_SLICE_H
#define CORE_SLICE_H

#include "core/mem.h"

struct slice {
    const uint8_t *data; /* may be NULL where len is 0 */
    size_t len;          /* bytes */
};

/* A slice over a string literal, without its NUL. */
#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, len};
}

/* A slice over a NUL-terminated string. */
static inline struct slice slice_of_text(const char *text)
{
    size_t len = 0;
    while (text[len] != '\0')
        len++;
    return (struct slice){(const uint8_t *)text, len};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

#endif
