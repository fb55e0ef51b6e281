#include "broker/cuts.h"

#include <stdlib.h>

enum err cuts_init(struct cuts *c)
{
    *c = (struct cuts){.all = calloc(BROKER_CUTS_MAX, sizeof *c->all)};
    return c->all == NULL ? ERR_NO_MEMORY : ERR_NONE;
}

void cuts_destroy(struct cuts *c)
{
    free(c->all);
    c->all = NULL;
}

void cuts_put(struct cuts *c, struct cut *cut, enum cut_step step)
{
    uint32_t at = (uint32_t)(cut - c->all) + 1;
    cut->next = 0;
    if (c->last[step] == 0)
        c->first[step] = at;
    else
        c->all[c->last[step] - 1].next = at;
    c->last[step] = at;
    c->count[step]++;
}

struct cut *cuts_add(struct cuts *c, enum cut_step step)
{
    uint32_t at = c->free;
    if (at != 0)
        c->free = c->all[at - 1].next;
    else if (c->used < BROKER_CUTS_MAX)
        at = ++c->used;
    else
        return NULL;
    struct cut *cut = &c->all[at - 1];
    *cut = (struct cut){0};
    cuts_put(c, cut, step);
    return cut;
}

struct cut *cuts_take(struct cuts *c, enum cut_step step)
{
    uint32_t at = c->first[step];
    if (at == 0)
        return NULL;
    struct cut *cut = &c->all[at - 1];
    c->first[step] = cut->next;
    if (cut->next == 0)
        c->last[step] = 0;
    c->count[step]--;
    return cut;
}

void cuts_drop(struct cuts *c, struct cut *cut)
{
    cut->next = c->free;
    c->free = (uint32_t)(cut - c->all) + 1;
}
