#include "broker/sessions.h"

#include <stdlib.h>

#define PRESENCE_BITS 10
#define PRESENCE_LEN  (1U << PRESENCE_BITS)
#define FIRST_ROOM    64U /* sessions; a power of two */

struct presence {
    struct limits_usage usage;
    uint32_t first_session; /* 1 + number */
};

struct sessions {
    uint32_t devices_max, max, len, used, room, first_free;
    struct session *all;
    uint32_t *buckets; /* 1 + number of the first in each chain; as many as there is room */
    uint32_t bucket_mask;
    struct presence **presences;
};

static uint32_t *bucket_of(const struct sessions *s, const void *client)
{
    uint64_t h = ((uint64_t)(uintptr_t)client >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return &s->buckets[(h >> 40) & s->bucket_mask];
}

/* Twice as much. A message looks at one bucket, so these are no more than have to be: what is small
 * stays in the processor's cache between two messages. */
static bool make_room(struct sessions *s)
{
    uint32_t room = s->room == 0 ? FIRST_ROOM : s->room * 2;
    struct session *all = reallocarray(s->all, room, sizeof *all);
    if (all != NULL)
        s->all = all;
    uint32_t *buckets = calloc(room, sizeof *buckets);
    if (all == NULL || buckets == NULL) {
        free(buckets);
        return false;
    }
    free(s->buckets);
    s->buckets = buckets;
    s->bucket_mask = room - 1;
    s->room = room;
    for (uint32_t i = 0; i < s->used; i++) {
        struct session *x = &s->all[i];
        uint32_t *bucket = bucket_of(s, x->client);
        x->chain = *bucket;
        *bucket = i + 1;
    }
    return true;
}

enum err sessions_new(uint32_t devices_max, uint32_t max, struct sessions **ret_sessions)
{
    struct sessions *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    s->devices_max = devices_max;
    s->max = max;
    s->presences = calloc((devices_max >> PRESENCE_BITS) + 1, sizeof *s->presences);
    if (s->presences == NULL || !make_room(s)) {
        sessions_free(s);
        return ERR_NO_MEMORY;
    }
    *ret_sessions = s;
    return ERR_NONE;
}

void sessions_free(struct sessions *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->used; i++)
        free(s->all[i].filters);
    for (uint32_t i = 0; s->presences != NULL && i <= s->devices_max >> PRESENCE_BITS; i++)
        free(s->presences[i]);
    free(s->presences);
    free(s->buckets);
    free(s->all);
    free(s);
}

static struct presence *presence_of(struct sessions *s, uint32_t device)
{
    struct presence **chunk = &s->presences[device >> PRESENCE_BITS];
    if (*chunk == NULL)
        *chunk = calloc(PRESENCE_LEN, sizeof **chunk);
    return *chunk == NULL ? NULL : &(*chunk)[device & (PRESENCE_LEN - 1)];
}

struct limits_usage *sessions_usage(struct sessions *s, uint32_t device)
{
    struct presence *p = presence_of(s, device);
    return p == NULL ? NULL : &p->usage;
}

static uint32_t place_new(struct sessions *s)
{
    if (s->first_free != 0) {
        uint32_t at = s->first_free;
        s->first_free = s->all[at - 1].chain;
        return at;
    }
    if (s->used == s->max)
        return 0;
    if (s->used == s->room && !make_room(s))
        return 0;
    return ++s->used;
}

enum err sessions_add(struct sessions *s, const void *client, uint32_t device,
                      struct slice client_id, const uint8_t key[SHA256_SIZE], bool by_password)
{
    (void)sessions_remove(s, client);
    if (client_id.len > BROKER_CLIENT_ID_MAX || device >= s->devices_max)
        return ERR_LIMIT;
    struct presence *p = presence_of(s, device);
    if (p == NULL)
        return ERR_NO_MEMORY;
    uint32_t at = place_new(s);
    if (at == 0)
        return s->len == s->max ? ERR_LIMIT : ERR_NO_MEMORY;
    uint32_t *bucket = bucket_of(s, client);
    struct session *x = &s->all[at - 1];
    *x = (struct session){.client = client,
                          .device = device,
                          .chain = *bucket,
                          .next_of_device = p->first_session,
                          .by_password = by_password};
    memcpy(x->key, key, SHA256_SIZE);
    if (client_id.len > 0)
        memcpy(x->client_id, client_id.data, client_id.len);
    *bucket = at;
    p->first_session = at;
    s->len++;
    return ERR_NONE;
}

static uint32_t place_of(const struct sessions *s, const void *client)
{
    uint32_t at = *bucket_of(s, client);
    while (at != 0 && s->all[at - 1].client != client)
        at = s->all[at - 1].chain;
    return at;
}

bool sessions_remove(struct sessions *s, const void *client)
{
    uint32_t at = place_of(s, client);
    if (at == 0)
        return false;
    struct session *x = &s->all[at - 1];
    uint32_t *link = bucket_of(s, client);
    while (*link != at)
        link = &s->all[*link - 1].chain;
    *link = x->chain;
    link = &presence_of(s, x->device)->first_session;
    while (*link != at)
        link = &s->all[*link - 1].next_of_device;
    *link = x->next_of_device;
    free(x->filters);
    *x = (struct session){.chain = s->first_free};
    s->first_free = at;
    s->len--;
    return true;
}

struct session *sessions_find(const struct sessions *s, const void *client)
{
    uint32_t at = place_of(s, client);
    return at == 0 ? NULL : &s->all[at - 1];
}

uint32_t sessions_len(const struct sessions *s)
{
    return s->len;
}

struct session *sessions_next_of(const struct sessions *s, uint32_t device, uint32_t *cursor)
{
    const struct presence *chunk = s->presences[device >> PRESENCE_BITS];
    if (chunk == NULL)
        return NULL;
    *cursor = *cursor == 0 ? chunk[device & (PRESENCE_LEN - 1)].first_session
                           : s->all[*cursor - 1].next_of_device;
    return *cursor == 0 ? NULL : &s->all[*cursor - 1];
}

struct session *sessions_next(const struct sessions *s, uint32_t *cursor)
{
    while (*cursor < s->used) {
        struct session *x = &s->all[(*cursor)++];
        if (x->client != NULL)
            return x;
    }
    return NULL;
}

bool sessions_has_client_id(const struct sessions *s, uint32_t device, struct slice client_id)
{
    uint32_t cursor = 0;
    for (const struct session *x; (x = sessions_next_of(s, device, &cursor)) != NULL;)
        if (slice_equal(slice_of_text(x->client_id), client_id))
            return true;
    return false;
}

/* FNV-1a. Two filters of one session that meet count as one: the device's own loss, or gain of one.
 */
static uint64_t filter_hash(struct slice filter)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < filter.len; i++)
        h = (h ^ filter.data[i]) * UINT64_C(0x100000001b3);
    return h;
}

bool sessions_may_subscribe(struct session *s, struct slice filter, uint32_t max, uint32_t now)
{
    if (max == 0)
        return true;
    if (max > BROKER_FILTERS_MAX)
        max = BROKER_FILTERS_MAX;
    uint64_t hash = filter_hash(filter);
    for (unsigned i = 0; i < s->filters_len; i++)
        if (s->filters[i] == hash)
            return true;
    /* A session that was resumed has subscriptions that are not in the list; asking for them again
     * is fine, so they count once more at most. */
    if (s->filters_len >= max || now >= 2 * max)
        return false;
    if (s->filters_len % 8 == 0) {
        uint64_t *filters = reallocarray(s->filters, s->filters_len + 8U, sizeof *filters);
        if (filters == NULL)
            return false;
        s->filters = filters;
    }
    s->filters[s->filters_len++] = hash;
    return true;
}

void sessions_unsubscribed(struct session *s, struct slice filter)
{
    uint64_t hash = filter_hash(filter);
    for (unsigned i = 0; i < s->filters_len; i++) {
        if (s->filters[i] != hash)
            continue;
        s->filters[i] = s->filters[--s->filters_len];
        return;
    }
}

bool session_grant_holds(const struct session_grant *grant, uint32_t epoch, struct slice topic)
{
    return grant->epoch == epoch && grant->len == topic.len && topic.len > 0 &&
           memcmp(grant->topic, topic.data, topic.len) == 0;
}

void session_grant_set(struct session_grant *grant, uint32_t epoch, struct slice topic)
{
    if (topic.len == 0 || topic.len > SESSION_GRANT_MAX)
        return;
    grant->epoch = epoch;
    grant->len = (uint16_t)topic.len;
    memcpy(grant->topic, topic.data, topic.len);
}
