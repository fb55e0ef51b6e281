/* Which of the words that are known did somebody mean who wrote another? For complaints: "unknown
 * key 'lisen'; did you mean 'listen'?" */
#ifndef BASE_SIMILAR_H
#define BASE_SIMILAR_H

#include "core/slice.h"

#define SIMILAR_MAX 64 /* bytes of a word; nothing is like a longer one */

struct similar {
    struct slice asked;
    const char *best; /* NULL: none of those offered is near */
    size_t best_distance;
};

struct similar similar_to(struct slice asked);
/* `word` must live as long as `best` is used. Of those equally near, the first offered stays. */
void similar_offer(struct similar *s, const char *word);

#endif
