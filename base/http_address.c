#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/http_internal.h"

#define SHARDS  16  /* loops seldom meet on one */
#define BUCKETS 256 /* of each shard */

struct http_address {
    struct http_address *next;
    uint8_t key[16]; /* IPv4 as ::ffff:a.b.c.d, IPv6 by its first 64 bits */
    uint32_t hash;
    size_t connections;
};

struct shard {
    pthread_mutex_t lock;
    struct http_address *buckets[BUCKETS];
};

struct http_address_table {
    uint64_t seed; /* so that strangers cannot choose who shares a bucket */
    struct shard shards[SHARDS];
};

struct http_address_table *http_address_table_new(void)
{
    struct http_address_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    if (crypto_random(&t->seed, sizeof t->seed) != ERR_NONE) {
        free(t);
        return NULL;
    }
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&t->shards[i].lock, NULL);
    return t;
}

void http_address_table_free(struct http_address_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        for (size_t b = 0; b < BUCKETS; b++) {
            struct http_address *a = t->shards[i].buckets[b];
            while (a != NULL) {
                struct http_address *next = a->next;
                free(a);
                a = next;
            }
        }
        pthread_mutex_destroy(&t->shards[i].lock);
    }
    free(t);
}

/* Who is counted as one: an IPv4 address, or the /64 that a household or a host gets of IPv6. */
static void key_of(const struct sockaddr *sa, uint8_t ret_key[16])
{
    memset(ret_key, 0, 16);
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        ret_key[10] = 0xff;
        ret_key[11] = 0xff;
        memcpy(ret_key + 12, &in->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        size_t n = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? 16 : 8;
        memcpy(ret_key, &in6->sin6_addr, n);
    }
}

static uint32_t hash_of(const struct http_address_table *t, const uint8_t key[16])
{
    uint64_t words[2];
    memcpy(words, key, sizeof words);
    uint64_t h = t->seed;
    for (size_t i = 0; i < 2; i++) {
        h ^= words[i];
        h *= 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
        h *= t->seed | 1;
        h ^= h >> 29;
    }
    return (uint32_t)h;
}

struct http_address *http_address_enter(struct http_address_table *t, const struct sockaddr *sa,
                                        size_t max)
{
    uint8_t key[16];
    key_of(sa, key);
    uint32_t hash = hash_of(t, key);
    struct shard *shard = &t->shards[hash % SHARDS];
    struct http_address **bucket = &shard->buckets[hash / SHARDS % BUCKETS];
    pthread_mutex_lock(&shard->lock);
    struct http_address *a = *bucket;
    while (a != NULL && memcmp(a->key, key, sizeof key) != 0)
        a = a->next;
    if (a == NULL && max > 0 && (a = calloc(1, sizeof *a)) != NULL) {
        memcpy(a->key, key, sizeof key);
        a->hash = hash;
        a->next = *bucket;
        *bucket = a;
    }
    if (a != NULL && a->connections >= max)
        a = NULL;
    if (a != NULL)
        a->connections++;
    pthread_mutex_unlock(&shard->lock);
    return a;
}

void http_address_leave(struct http_address_table *t, struct http_address *a)
{
    if (a == NULL)
        return;
    struct shard *shard = &t->shards[a->hash % SHARDS];
    struct http_address **at = &shard->buckets[a->hash / SHARDS % BUCKETS];
    pthread_mutex_lock(&shard->lock);
    bool last = --a->connections == 0;
    if (last) {
        while (*at != a)
            at = &(*at)->next;
        *at = a->next;
    }
    pthread_mutex_unlock(&shard->lock);
    if (last)
        free(a);
}
