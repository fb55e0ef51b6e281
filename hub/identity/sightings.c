/* When a device was last seen: an observation, so it is gathered here and written now and then in
 * one go. What is lost in a crash is at most a few seconds of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "hub/identity/internal.h"

#define SIGHTINGS_MAX   1024 /* devices noted between two flushes; then it flushes by itself */
#define SIGHTINGS_SLOTS 2048 /* power of two, at most half full */
#define SIGHTINGS_ARENA (8 * 1024)

struct sighting {
    char tenant[NAME_MAX_BYTES + 1];
    char device[NAME_MAX_BYTES + 1];
    int64_t seen_at;
    int64_t checkins;
};

struct sightings {
    struct identity *identity;
    struct loop *loop;
    struct sighting *noted; /* SIGHTINGS_MAX */
    size_t noted_len;
    uint16_t slots[SIGHTINGS_SLOTS]; /* index into noted plus one */
};

struct sightings_write {
    struct write write;
    struct arena *arena;
    struct sighting *noted;
    size_t noted_len;
};

static enum err sightings_apply(struct write *w, struct tx *tx)
{
    struct sightings_write *sw = CONTAINER_OF(w, struct sightings_write, write);
    for (size_t i = 0; i < sw->noted_len; i++) {
        const struct sighting *s = &sw->noted[i];
        struct device_seen_row row = {0};
        ROW_TEXT(row.tenant, s->tenant);
        ROW_TEXT(row.device, s->device);
        enum err err = tx_get(tx, &table_device_seen, &row);
        bool known = err == ERR_NONE;
        if (!known && err != ERR_NOT_FOUND)
            return err;
        row.seen_at = s->seen_at;
        row.checkins += s->checkins;
        err = known ? tx_update(tx, &table_device_seen, &row)
                    : tx_insert(tx, &table_device_seen, &row);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static void sightings_reads(const struct write *w, struct keyset *keys)
{
    const struct sightings_write *sw = (const struct sightings_write *)(const void *)w;
    for (size_t i = 0; i < sw->noted_len; i++) {
        struct device_seen_row row = {0};
        ROW_TEXT(row.tenant, sw->noted[i].tenant);
        ROW_TEXT(row.device, sw->noted[i].device);
        keyset_add(keys, &table_device_seen, &row);
    }
}

static void sightings_write_free(struct sightings_write *sw)
{
    arena_free(sw->arena);
    free(sw->noted);
    free(sw);
}

static void sightings_done(struct write *w)
{
    sightings_write_free(CONTAINER_OF(w, struct sightings_write, write));
}

static const struct write_kind sightings_kind = {
    .name = "device.seen",
    .lane = STORE_LANE_BULK,
    .reads = sightings_reads,
    .apply = sightings_apply,
    .done = sightings_done,
};

enum err sightings_new(struct identity *identity, struct loop *loop,
                       struct sightings **ret_sightings)
{
    struct sightings *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    s->noted = calloc(SIGHTINGS_MAX, sizeof *s->noted);
    if (s->noted == NULL) {
        free(s);
        return ERR_NO_MEMORY;
    }
    s->identity = identity;
    s->loop = loop;
    *ret_sightings = s;
    return ERR_NONE;
}

void sightings_free(struct sightings *s)
{
    if (s == NULL)
        return;
    free(s->noted);
    free(s);
}

static uint32_t label_hash(const char *tenant, const char *device)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (const char *c = tenant; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 16777619u;
    h = (h ^ '/') * 16777619u;
    for (const char *c = device; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 16777619u;
    return h;
}

static bool same_text(const char *a, const char *b)
{
    return slice_equal(slice_of_text(a), slice_of_text(b));
}

/* The slot where this device is noted, or the empty one where it would be. */
static size_t sightings_slot(const struct sightings *s, const char *tenant, const char *device)
{
    size_t at = label_hash(tenant, device) % SIGHTINGS_SLOTS;
    while (s->slots[at] != 0) {
        const struct sighting *held = &s->noted[s->slots[at] - 1];
        if (same_text(held->device, device) && same_text(held->tenant, tenant))
            break;
        at = (at + 1) % SIGHTINGS_SLOTS;
    }
    return at;
}

void sightings_note(struct sightings *s, const char *tenant, const char *device)
{
    if (s->noted_len == SIGHTINGS_MAX)
        sightings_flush(s);
    size_t at = sightings_slot(s, tenant, device);
    if (s->slots[at] == 0) {
        struct sighting *fresh = &s->noted[s->noted_len++];
        *fresh = (struct sighting){0};
        ROW_TEXT(fresh->tenant, tenant);
        ROW_TEXT(fresh->device, device);
        s->slots[at] = (uint16_t)s->noted_len;
    }
    struct sighting *held = &s->noted[s->slots[at] - 1];
    held->seen_at = clock_seconds();
    held->checkins++;
}

void sightings_flush(struct sightings *s)
{
    if (s->noted_len == 0)
        return;
    size_t n = s->noted_len;
    s->noted_len = 0;
    memset(s->slots, 0, sizeof s->slots);

    struct sightings_write *sw = calloc(1, sizeof *sw);
    if (sw == NULL)
        return;
    sw->arena = arena_new(SIGHTINGS_ARENA);
    sw->noted = calloc(n, sizeof *sw->noted);
    if (sw->arena == NULL || sw->noted == NULL) {
        sightings_write_free(sw);
        return;
    }
    memcpy(sw->noted, s->noted, n * sizeof *sw->noted);
    sw->noted_len = n;
    sw->write = (struct write){.kind = &sightings_kind, .loop = s->loop, .arena = sw->arena};
    /* An observation is not worth waiting for: a full queue drops it. */
    if (store_submit(s->identity->store, &sw->write) != ERR_NONE)
        sightings_write_free(sw);
}
