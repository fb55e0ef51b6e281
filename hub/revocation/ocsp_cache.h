/* Signed OCSP responses, to be used again: a table of fixed size, where a newer one takes the place
 * of the oldest of its set. For any thread. Private to hub/revocation. */
#ifndef HUB_REVOCATION_OCSP_CACHE_H
#define HUB_REVOCATION_OCSP_CACHE_H

#include "base/arena.h"
#include "hub/revocation/revocation.h"

struct ocsp_cache;

MUST_USE enum err ocsp_cache_new(const struct store *store, struct ocsp_cache **ret_cache);
void ocsp_cache_free(struct ocsp_cache *c); /* NULL is fine */

/* A response for q->id that holds at `now`; fills in the outcome in q, and copies the response into
 * its arena. ERR_NOT_FOUND, also where it is half-way to its end and this question is the first to
 * see that: then it is for this one to get a new one, while the others still have the old.
 * ERR_NO_MEMORY. */

/* One whose rows have not changed since its standing was read; fills in that, too. */
MUST_USE enum err ocsp_cache_find_unchanged(struct ocsp_cache *c, struct ocsp_question *q,
                                            int64_t now);
/* One that says q->standing, which has just been read under q->stamps. */
MUST_USE enum err ocsp_cache_find(struct ocsp_cache *c, struct ocsp_question *q, int64_t now);
/* The outcome in q. Where there is no memory it is not kept. */
void ocsp_cache_keep(struct ocsp_cache *c, const struct ocsp_question *q);

#endif
