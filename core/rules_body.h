/* What the body of rules looks like; for core/rules*.c alone.
 *
 *   body     = format{8} cuts_per_hour{32} models{16} groups{16} tenants{16}
 *              at{32}*models at{32}*groups at{32}*tenants entry*models entry*groups tenant*tenants
 *   at       = where that entry starts, in bytes from the start of the body
 *   entry    = name8 [of a model: settings] publish subscribe
 *   settings = reach{8}*6 limit{32}*6 cut{8} password{8}
 *   publish, subscribe = length{16} filter*
 *   filter   = variables{8} length{16} pattern
 *   tenant   = name8 n{16} model{16}*n        n = 0xffff: all models, and none follow
 *
 * Entries follow each other without gaps, each kind in the order of their names' bytes, so that a
 * name is found by halving and there is one way to write a policy. A filter is a pattern as in
 * core/topic.h, whose variables are in the order of enum rules_variable; `variables` is the mask of
 * those that it has. So a decision reads no braces and puts no text together.
 *
 * A tenant's models are numbers of entries, the least first. RULES_STANDARD_TENANT stands among the
 * tenants only where it may not have all: a fleet of one tenant has none, and pays a comparison. */
#ifndef CORE_RULES_BODY_H
#define CORE_RULES_BODY_H

#include "core/rules.h"
#include "core/topic.h"

#define RULES_FORMAT        1
#define RULES_HEAD_SIZE     11
#define RULES_ALL_MODELS    0xffff
#define RULES_SETTINGS_SIZE (DEVICE_STATE_COUNT + 6 * 4 + 2)
#define RULES_FILTER_HEAD   3

enum rules_variable {
    RULES_TENANT,
    RULES_DEVICE,
    RULES_MODEL,
    RULES_GROUP,
    RULES_VARIABLE_COUNT,
};
_Static_assert(RULES_VARIABLE_COUNT == TOPIC_VARIABLES_MAX, "patterns have as many");

/* ---- reads of bytes that were checked ---- */

static inline uint32_t rules_be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t rules_be32(const uint8_t *at)
{
    return rules_be16(at) << 16 | rules_be16(at + 2);
}

/* A slice after its length of one byte. */
static inline struct slice rules_name_at(const uint8_t *at)
{
    return slice_of(at + 1, at[0]);
}

/* A slice after its length of two bytes. */
static inline struct slice rules_list_at(const uint8_t *at)
{
    return slice_of(at + 2, rules_be16(at));
}

/* The n-th entry of the table at `table`, from the start of its name. */
static inline const uint8_t *rules_entry_at(const struct rules *r, uint32_t table, uint32_t n)
{
    return r->body.data + rules_be32(r->body.data + table + (size_t)n * 4);
}

/* Shorter names first where one is the start of the other. */
static inline int rules_name_compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

#endif
