#include "hub/watch/counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES (2 * COUNTS_DEVICES) /* at most half full */
#define KEY    (2 * NAME_MAX_BYTES + 2)

struct counted {
    char key[KEY]; /* "tenant/device" */
    int64_t slot;  /* the newest; the others lie before it */
    uint32_t n[COUNT_KINDS][COUNTS_SLOTS];
};

struct counts {
    struct counted devices[COUNTS_DEVICES];
    size_t len;
    int64_t tidied;          /* in this slot those that have nothing any more were taken out */
    uint16_t places[PLACES]; /* index into devices plus one */
};

_Static_assert(COUNTS_DEVICES < UINT16_MAX, "places hold indices");

enum err counts_new(struct counts **ret_counts)
{
    struct counts *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->tidied = -1;
    *ret_counts = c;
    return ERR_NONE;
}

void counts_free(struct counts *c)
{
    free(c);
}

static void make_key(char ret_key[KEY], const char *tenant, const char *device)
{
    (void)snprintf(ret_key, KEY, "%s/%s", tenant, device);
}

/* Where it is, or would be. */
static uint16_t *place_of(struct counts *c, const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (const char *k = key; *k != '\0'; k++)
        h = (h ^ (uint8_t)*k) * UINT64_C(0x100000001b3);
    size_t at = (size_t)(h >> 16) % PLACES;
    while (c->places[at] != 0 && strcmp(c->devices[c->places[at] - 1].key, key) != 0)
        at = (at + 1) % PLACES;
    return &c->places[at];
}

static bool is_past(const struct counted *device, int64_t slot)
{
    return slot - device->slot >= COUNTS_SLOTS;
}

/* Takes out those that have nothing any more; once in a slot, since it looks at all. */
static void tidy(struct counts *c, int64_t slot)
{
    size_t kept = 0;
    if (c->tidied == slot)
        return;
    c->tidied = slot;
    memset(c->places, 0, sizeof c->places);
    for (size_t i = 0; i < c->len; i++) {
        if (is_past(&c->devices[i], slot))
            continue;
        if (kept != i)
            c->devices[kept] = c->devices[i];
        kept++;
        *place_of(c, c->devices[kept - 1].key) = (uint16_t)kept;
    }
    c->len = kept;
}

static struct counted *find_or_make(struct counts *c, const char *key, int64_t slot)
{
    uint16_t *place = place_of(c, key);
    if (*place != 0)
        return &c->devices[*place - 1];
    if (c->len == COUNTS_DEVICES) {
        tidy(c, slot);
        place = place_of(c, key);
    }
    if (c->len == COUNTS_DEVICES)
        return NULL;
    struct counted *device = &c->devices[c->len++];
    *device = (struct counted){.slot = slot};
    memcpy(device->key, key, strlen(key) + 1);
    *place = (uint16_t)c->len;
    return device;
}

/* The slots between the newest there was and now had nothing. */
static void move_on(struct counted *device, int64_t slot)
{
    if (is_past(device, slot))
        memset(device->n, 0, sizeof device->n);
    for (int64_t s = device->slot + 1; s <= slot && !is_past(device, slot); s++)
        for (size_t kind = 0; kind < COUNT_KINDS; kind++)
            device->n[kind][s % COUNTS_SLOTS] = 0;
    device->slot = slot;
}

enum err counts_add(struct counts *c, enum count_kind kind, const char *tenant, const char *device,
                    uint64_t n, int64_t now_ms, uint64_t *ret_sum)
{
    char key[KEY];
    int64_t slot = now_ms / COUNTS_SLOT_MS;
    make_key(key, tenant, device);
    struct counted *found = find_or_make(c, key, slot);
    if (found == NULL)
        return ERR_LIMIT;
    move_on(found, slot);
    uint32_t *now = &found->n[kind][slot % COUNTS_SLOTS];
    *now = n < UINT32_MAX - *now ? *now + (uint32_t)n : UINT32_MAX;
    *ret_sum = 0;
    for (size_t i = 0; i < COUNTS_SLOTS; i++)
        *ret_sum += found->n[kind][i];
    return ERR_NONE;
}

void counts_clear(struct counts *c, const char *tenant, const char *device)
{
    char key[KEY];
    make_key(key, tenant, device);
    const uint16_t *place = place_of(c, key);
    if (*place != 0)
        memset(c->devices[*place - 1].n, 0, sizeof c->devices[*place - 1].n);
}
