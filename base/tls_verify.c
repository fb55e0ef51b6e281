#include "base/clock.h"
#include "base/crypto.h"
#include "base/tls_internal.h"

#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define SET_SIZE 4 /* entries that one fingerprint may stand in */
#define SETS     (TLS_VERIFIED_MAX / SET_SIZE)

struct entry {
    uint8_t leaf[SHA256_SIZE];
    int64_t not_before;
    int64_t not_after;
    uint64_t generation; /* 0: empty */
};

struct tls_verified {
    pthread_mutex_t lock;
    uint64_t generation;
    unsigned next; /* of a full set, who gives way */
    struct entry entries[SETS][SET_SIZE];
};

struct tls_verified *tls_verified_new(void)
{
    struct tls_verified *v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    if (pthread_mutex_init(&v->lock, NULL) != 0) {
        free(v);
        return NULL;
    }
    v->generation = 1;
    return v;
}

void tls_verified_free(struct tls_verified *v)
{
    if (v == NULL)
        return;
    pthread_mutex_destroy(&v->lock);
    free(v);
}

void tls_verified_forget(struct tls_verified *v)
{
    pthread_mutex_lock(&v->lock);
    v->generation++;
    pthread_mutex_unlock(&v->lock);
}

uint64_t tls_verified_generation(struct tls_verified *v)
{
    pthread_mutex_lock(&v->lock);
    uint64_t generation = v->generation;
    pthread_mutex_unlock(&v->lock);
    return generation;
}

static struct entry *set_of(struct tls_verified *v, const uint8_t leaf[SHA256_SIZE])
{
    size_t hash = (size_t)leaf[0] << 16 | (size_t)leaf[1] << 8 | leaf[2];
    return v->entries[hash % SETS];
}

static struct entry *find(struct tls_verified *v, const uint8_t leaf[SHA256_SIZE])
{
    struct entry *set = set_of(v, leaf);
    for (size_t i = 0; i < SET_SIZE; i++)
        if (set[i].generation == v->generation && memcmp(set[i].leaf, leaf, SHA256_SIZE) == 0)
            return &set[i];
    return NULL;
}

bool tls_verified_has(struct tls_verified *v, const uint8_t leaf[SHA256_SIZE], int64_t now)
{
    pthread_mutex_lock(&v->lock);
    const struct entry *e = find(v, leaf);
    bool has = e != NULL && e->not_before <= now && now <= e->not_after;
    pthread_mutex_unlock(&v->lock);
    return has;
}

void tls_verified_add(struct tls_verified *v, uint64_t generation, const uint8_t leaf[SHA256_SIZE],
                      int64_t not_before, int64_t not_after)
{
    pthread_mutex_lock(&v->lock);
    struct entry *e = find(v, leaf);
    struct entry *set = set_of(v, leaf);
    for (size_t i = 0; e == NULL && i < SET_SIZE; i++)
        if (set[i].generation != v->generation)
            e = &set[i];
    if (e == NULL)
        e = &set[v->next++ % SET_SIZE];
    if (generation == v->generation) {
        memcpy(e->leaf, leaf, SHA256_SIZE);
        e->not_before = not_before;
        e->not_after = not_after;
        e->generation = generation;
    }
    pthread_mutex_unlock(&v->lock);
}

bool tls_time(const ASN1_TIME *time, int64_t *ret_seconds)
{
    struct tm tm = {0};
    if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *ret_seconds = (int64_t)timegm(&tm);
    return true;
}

/* False where the leaf is larger than any that we take. */
static bool fingerprint(const X509 *leaf, uint8_t ret_hash[SHA256_SIZE])
{
    uint8_t der[CERTIFICATE_MAX];
    uint8_t *end = der;
    int len = i2d_X509(leaf, NULL);
    if (len <= 0 || len > CERTIFICATE_MAX || i2d_X509(leaf, &end) != len)
        return false;
    crypto_sha256_one(slice_of(der, (size_t)len), ret_hash);
    return true;
}

/* From when until when every certificate of the chain is valid. */
static bool validity_of_chain(STACK_OF(X509) * chain, int64_t *ret_not_before,
                              int64_t *ret_not_after)
{
    int64_t not_before = INT64_MIN;
    int64_t not_after = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        const X509 *certificate = sk_X509_value(chain, i);
        int64_t from;
        int64_t until;
        if (!tls_time(X509_get0_notBefore(certificate), &from) ||
            !tls_time(X509_get0_notAfter(certificate), &until))
            return false;
        if (from > not_before)
            not_before = from;
        if (until < not_after)
            not_after = until;
    }
    *ret_not_before = not_before;
    *ret_not_after = not_after;
    return true;
}

static int build_chain(X509_STORE_CTX *given, X509_STORE *roots, int64_t now,
                       int64_t *ret_not_before, int64_t *ret_not_after)
{
    int good = 0;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (ctx == NULL || X509_STORE_CTX_init(ctx, roots, X509_STORE_CTX_get0_cert(given),
                                           X509_STORE_CTX_get0_untrusted(given)) != 1) {
        X509_STORE_CTX_set_error(given, X509_V_ERR_OUT_OF_MEM);
        goto out;
    }
    (void)X509_STORE_CTX_set_default(ctx, "ssl_client");
    X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(ctx), 4);
    X509_STORE_CTX_set_time(ctx, 0, (time_t)now);
    good = X509_verify_cert(ctx) == 1 &&
           validity_of_chain(X509_STORE_CTX_get0_chain(ctx), ret_not_before, ret_not_after);
    X509_STORE_CTX_set_error(given, good ? X509_V_OK : X509_STORE_CTX_get_error(ctx));
    if (!good && X509_STORE_CTX_get_error(given) == X509_V_OK)
        X509_STORE_CTX_set_error(given, X509_V_ERR_UNSPECIFIED);
out:
    X509_STORE_CTX_free(ctx);
    return good;
}

int tls_verify_chain(X509_STORE_CTX *given, X509_STORE *roots, uint64_t generation,
                     struct tls_verified *verified)
{
    uint8_t leaf[SHA256_SIZE];
    int64_t now = clock_seconds();
    if (roots == NULL || !fingerprint(X509_STORE_CTX_get0_cert(given), leaf)) {
        X509_STORE_CTX_set_error(given, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
        return 0;
    }
    if (tls_verified_has(verified, leaf, now)) {
        X509_STORE_CTX_set_error(given, X509_V_OK);
        return 1;
    }
    int64_t not_before = 0;
    int64_t not_after = 0;
    if (!build_chain(given, roots, now, &not_before, &not_after))
        return 0;
    tls_verified_add(verified, generation, leaf, not_before, not_after);
    return 1;
}
