#include "base/rate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SHARDS_MAX    16
#define SHARD_MIN     256 /* keys; fewer are not worth a lock of their own */
#define KEYS_MAX      ((size_t)1 << 24)
#define NONE          UINT32_MAX
#define US_PER_MS     1000
#define US_PER_MINUTE 60000000

/* A key is known by its keyed hash alone: 64 secret-keyed bits, so that nobody can aim for a
 * collision, and an accidental one merely shares a limit. */
struct entry {
    uint64_t hash;
    int64_t arrival_us;    /* GCRA's theoretical arrival time */
    uint32_t chain;        /* next of the same bucket */
    uint32_t older, newer; /* by last use */
};

struct shard {
    pthread_mutex_t lock;
    struct entry *entries;
    uint32_t *buckets;
    uint32_t n, max, bucket_mask;
    uint32_t oldest, newest;
};

struct rate_table {
    uint64_t key[2];
    uint32_t shards_n;
    struct shard shards[SHARDS_MAX];
};

static uint64_t rotate(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012) */
static uint64_t sip_hash(const uint64_t key[2], struct slice bytes)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t whole = bytes.len / 8;
    for (size_t i = 0; i <= whole; i++) {
        size_t n = i < whole ? 8 : bytes.len % 8;
        uint64_t word = i < whole ? 0 : (uint64_t)bytes.len << 56;
        for (size_t b = 0; b < n; b++)
            word |= (uint64_t)bytes.data[i * 8 + b] << (8 * b);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool shard_init(struct shard *s, uint32_t max)
{
    uint32_t buckets = 1;
    while (buckets < max)
        buckets *= 2;
    s->entries = calloc(max, sizeof *s->entries);
    s->buckets = malloc(buckets * sizeof *s->buckets);
    if (s->entries == NULL || s->buckets == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s->entries);
        free(s->buckets);
        return false;
    }
    memset(s->buckets, 0xff, buckets * sizeof *s->buckets);
    s->bucket_mask = buckets - 1;
    s->max = max;
    s->oldest = s->newest = NONE;
    return true;
}

enum err rate_table_new(size_t keys_max, struct rate_table **ret_table)
{
    if (keys_max == 0 || keys_max > KEYS_MAX)
        return ERR_LIMIT;
    struct rate_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NO_MEMORY;
    if (getrandom(t->key, sizeof t->key, 0) != (ssize_t)sizeof t->key) {
        free(t);
        return ERR_IO;
    }
    size_t shards = keys_max / SHARD_MIN;
    shards = shards < 1 ? 1 : shards > SHARDS_MAX ? SHARDS_MAX : shards;
    for (; t->shards_n < shards; t->shards_n++) {
        if (!shard_init(&t->shards[t->shards_n], (uint32_t)(keys_max / shards))) {
            rate_table_free(t);
            return ERR_NO_MEMORY;
        }
    }
    *ret_table = t;
    return ERR_NONE;
}

void rate_table_free(struct rate_table *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->shards_n; i++) {
        (void)pthread_mutex_destroy(&t->shards[i].lock);
        free(t->shards[i].entries);
        free(t->shards[i].buckets);
    }
    mem_wipe(t->key, sizeof t->key);
    free(t);
}

static uint32_t *bucket_of(struct shard *s, uint64_t hash)
{
    return &s->buckets[(hash >> 32) & s->bucket_mask];
}

static struct entry *find(struct shard *s, uint64_t hash)
{
    for (uint32_t at = *bucket_of(s, hash); at != NONE; at = s->entries[at].chain)
        if (s->entries[at].hash == hash)
            return &s->entries[at];
    return NULL;
}

static void leave_order(struct shard *s, const struct entry *e)
{
    if (e->older == NONE)
        s->oldest = e->newer;
    else
        s->entries[e->older].newer = e->newer;
    if (e->newer == NONE)
        s->newest = e->older;
    else
        s->entries[e->newer].older = e->older;
}

static void become_newest(struct shard *s, struct entry *e)
{
    uint32_t at = (uint32_t)(e - s->entries);
    e->older = s->newest;
    e->newer = NONE;
    if (s->newest == NONE)
        s->oldest = at;
    else
        s->entries[s->newest].newer = at;
    s->newest = at;
}

static struct entry *give_way(struct shard *s)
{
    struct entry *e = &s->entries[s->oldest];
    leave_order(s, e);
    uint32_t *at = bucket_of(s, e->hash);
    while (&s->entries[*at] != e)
        at = &s->entries[*at].chain;
    *at = e->chain;
    return e;
}

static struct entry *find_or_add(struct shard *s, uint64_t hash, int64_t now_us)
{
    struct entry *e = find(s, hash);
    if (e != NULL) {
        leave_order(s, e);
    } else {
        e = s->n < s->max ? &s->entries[s->n++] : give_way(s);
        e->hash = hash;
        e->arrival_us = now_us;
        e->chain = *bucket_of(s, hash);
        *bucket_of(s, hash) = (uint32_t)(e - s->entries);
    }
    become_newest(s, e);
    return e;
}

/* `from_us` is the theoretical arrival time, not before now; *ret_next_us the one after the event.
 */
static bool conforms(const struct rate *rate, int64_t now_us, int64_t from_us, int64_t *ret_next_us,
                     int64_t *ret_wait_ms)
{
    if (rate->per_minute == 0) {
        if (ret_wait_ms != NULL)
            *ret_wait_ms = US_PER_MINUTE / US_PER_MS;
        return false;
    }
    int64_t interval = US_PER_MINUTE / (int64_t)rate->per_minute;
    interval = interval < 1 ? 1 : interval;
    int64_t burst = rate->burst < 1 ? 1 : (int64_t)rate->burst;
    int64_t early = from_us - now_us - (burst - 1) * interval;
    if (early > 0) {
        if (ret_wait_ms != NULL)
            *ret_wait_ms = (early + US_PER_MS - 1) / US_PER_MS;
        return false;
    }
    *ret_next_us = from_us + interval;
    return true;
}

static bool decide(struct rate_table *t, struct slice key, const struct rate *rate, int64_t now_ms,
                   int64_t *ret_wait_ms, bool count)
{
    uint64_t hash = sip_hash(t->key, key);
    int64_t now_us = now_ms * US_PER_MS;
    struct shard *s = &t->shards[(uint32_t)hash % t->shards_n];
    (void)pthread_mutex_lock(&s->lock);
    struct entry *e = count ? find_or_add(s, hash, now_us) : find(s, hash);
    int64_t from_us = e != NULL && e->arrival_us > now_us ? e->arrival_us : now_us;
    int64_t next_us = 0;
    bool allowed = conforms(rate, now_us, from_us, &next_us, ret_wait_ms);
    if (allowed && count)
        e->arrival_us = next_us;
    (void)pthread_mutex_unlock(&s->lock);
    return allowed;
}

bool rate_allow(struct rate_table *t, struct slice key, const struct rate *rate, int64_t now_ms,
                int64_t *ret_wait_ms)
{
    return decide(t, key, rate, now_ms, ret_wait_ms, true);
}

bool rate_would_allow(struct rate_table *t, struct slice key, const struct rate *rate,
                      int64_t now_ms, int64_t *ret_wait_ms)
{
    return decide(t, key, rate, now_ms, ret_wait_ms, false);
}
