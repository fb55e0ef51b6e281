#include "base/similar.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance, for words of at most SIMILAR_MAX bytes. */
static size_t distance(struct slice a, struct slice b)
{
    size_t row[SIMILAR_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = diagonal + (a.data[i - 1] != b.data[j - 1]);
            diagonal = row[j];
            row[j] = least(change, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[b.len];
}

struct similar similar_to(struct slice asked)
{
    return (struct similar){.asked = asked,
                            .best_distance = 1 + (asked.len < 9 ? 2 : asked.len / 3)};
}

void similar_offer(struct similar *s, const char *word)
{
    struct slice known = slice_of_text(word);
    if (s->asked.len > SIMILAR_MAX || known.len > SIMILAR_MAX)
        return;
    size_t d = distance(s->asked, known);
    /* two short words with nothing in common are near each other by length alone */
    if (d < s->best_distance && d < s->asked.len && d < known.len) {
        s->best = word;
        s->best_distance = d;
    }
}
