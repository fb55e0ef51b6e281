#include "hub/revocation/ocsp_cache.h"

#include <pthread.h>
#include <stdlib.h>

/* 16,384 responses of some 800 bytes are 13 MiB. What does not fit costs the signer 60 us. */
#define SETS          4096
#define WAYS          4
#define LOCKS         64
#define RENEWAL_GRACE 10 /* seconds until another question may ask for a new one */

struct entry {
    uint8_t *response; /* NULL: free */
    size_t len;
    uint8_t authority, hash, serial_len;
    uint8_t serial[SERIAL_MAX];
    struct standing standing;
    struct standing_stamps stamps;
    int64_t this_update, next_update;
    int64_t renew_at;
    uint8_t tag[OCSP_TAG_SIZE];
};

struct ocsp_cache {
    const struct store *store;
    pthread_mutex_t locks[LOCKS];
    struct entry entries[SETS][WAYS];
};

enum err ocsp_cache_new(const struct store *store, struct ocsp_cache **ret_cache)
{
    struct ocsp_cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->store = store;
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_init(&c->locks[i], NULL);
    *ret_cache = c;
    return ERR_NONE;
}

void ocsp_cache_free(struct ocsp_cache *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++)
            free(c->entries[i][j].response);
    for (size_t i = 0; i < LOCKS; i++)
        (void)pthread_mutex_destroy(&c->locks[i]);
    free(c);
}

/* Only serials that we have issued are kept, and their last bytes are random. */
static size_t set_of(const struct ocsp_question *q)
{
    const struct ocsp_request *id = &q->id;
    size_t set = id->hash;
    for (size_t i = id->serial.len < 4 ? 0 : id->serial.len - 4; i < id->serial.len; i++)
        set = set << 8 | id->serial.data[i];
    return set % SETS;
}

static bool is_of(const struct entry *e, const struct ocsp_question *q)
{
    return e->response != NULL && e->authority == (uint8_t)q->authority &&
           e->hash == (uint8_t)q->id.hash &&
           slice_equal(slice_of(e->serial, e->serial_len), q->id.serial);
}

static bool says(const struct entry *e, const struct standing *standing)
{
    return e->standing.status == standing->status && e->standing.reason == standing->reason &&
           e->standing.since == standing->since;
}

static enum err take(struct entry *e, struct ocsp_question *q, int64_t now)
{
    if (now >= e->renew_at) {
        e->renew_at = now + RENEWAL_GRACE;
        return ERR_NOT_FOUND;
    }
    enum err err = arena_copy(q->arena, slice_of(e->response, e->len), &q->response);
    if (err != ERR_NONE)
        return err;
    q->this_update = e->this_update;
    q->next_update = e->next_update;
    memcpy(q->tag, e->tag, sizeof q->tag);
    return ERR_NONE;
}

static bool is_unchanged(const struct ocsp_cache *c, const struct entry *e)
{
    return store_is_unchanged(c->store, &e->stamps.certificate) &&
           store_is_unchanged(c->store, &e->stamps.device);
}

static enum err find(struct ocsp_cache *c, struct ocsp_question *q, int64_t now, bool looked_up)
{
    size_t set = set_of(q);
    pthread_mutex_t *lock = &c->locks[set % LOCKS];
    enum err err = ERR_NOT_FOUND;
    (void)pthread_mutex_lock(lock);
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *e = &c->entries[set][i];
        /* A clock that was set back makes it one of the future. */
        if (!is_of(e, q) || now < e->this_update || now >= e->next_update)
            continue;
        if (looked_up ? !says(e, &q->standing) : !is_unchanged(c, e))
            continue;
        if (!looked_up && now >= e->renew_at)
            break; /* whoever has it renewed looks first */
        if (looked_up)
            e->stamps = q->stamps;
        else
            q->standing = e->standing;
        err = take(e, q, now);
        break;
    }
    (void)pthread_mutex_unlock(lock);
    return err;
}

enum err ocsp_cache_find_unchanged(struct ocsp_cache *c, struct ocsp_question *q, int64_t now)
{
    return find(c, q, now, false);
}

enum err ocsp_cache_find(struct ocsp_cache *c, struct ocsp_question *q, int64_t now)
{
    return find(c, q, now, true);
}

static struct entry *place_for(struct entry *ways, const struct ocsp_question *q)
{
    struct entry *oldest = &ways[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (is_of(&ways[i], q))
            return &ways[i];
        if (oldest->response != NULL &&
            (ways[i].response == NULL || ways[i].this_update < oldest->this_update))
            oldest = &ways[i];
    }
    return oldest;
}

void ocsp_cache_keep(struct ocsp_cache *c, const struct ocsp_question *q)
{
    uint8_t *copy = malloc(q->response.len);
    if (copy == NULL)
        return;
    memcpy(copy, q->response.data, q->response.len);
    struct entry fresh = {
        .response = copy,
        .len = q->response.len,
        .authority = (uint8_t)q->authority,
        .hash = (uint8_t)q->id.hash,
        .serial_len = (uint8_t)q->id.serial.len,
        .standing = q->standing,
        .stamps = q->stamps,
        .this_update = q->this_update,
        .next_update = q->next_update,
        .renew_at = q->this_update + (q->next_update - q->this_update + 1) / 2,
    };
    memcpy(fresh.serial, q->id.serial.data, q->id.serial.len);
    memcpy(fresh.tag, q->tag, sizeof fresh.tag);
    size_t set = set_of(q);
    pthread_mutex_t *lock = &c->locks[set % LOCKS];
    (void)pthread_mutex_lock(lock);
    struct entry *place = place_for(c->entries[set], q);
    free(place->response);
    *place = fresh;
    (void)pthread_mutex_unlock(lock);
}
