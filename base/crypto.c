#include "base/crypto.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

/* The algorithm is looked up once, and each thread keeps a context: both cost more than hashing a
 * tree node does. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static EVP_MD *sha256;
static _Thread_local EVP_MD_CTX *context;

static void free_context(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void prepare(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha256 == NULL || pthread_key_create(&context_key, free_context) != 0)
        abort();
}

static EVP_MD_CTX *thread_context(void)
{
    if (context != NULL)
        return context;
    (void)pthread_once(&once, prepare);
    context = EVP_MD_CTX_new();
    if (context == NULL || pthread_setspecific(context_key, context) != 0)
        abort();
    return context;
}

/* A program that cannot hash must not go on: a wrong hash would be signed. */
void crypto_sha256(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE])
{
    EVP_MD_CTX *ctx = thread_context();
    if (EVP_DigestInit_ex2(ctx, sha256, NULL) != 1)
        abort();
    for (size_t i = 0; i < n; i++)
        if (parts[i].len > 0 && EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) != 1)
            abort();
    if (EVP_DigestFinal_ex(ctx, ret_hash, NULL) != 1)
        abort();
}

void crypto_sha256_one(struct slice bytes, uint8_t ret_hash[SHA256_SIZE])
{
    crypto_sha256(&bytes, 1, ret_hash);
}

enum err crypto_ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], struct slice message,
                               const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    static const uint8_t nothing[1] = {0};
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = pkey != NULL && ctx != NULL &&
                EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_SIZE,
                                 message.len == 0 ? nothing : message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return good ? ERR_NONE : ERR_BAD_SIGNATURE;
}

enum err crypto_scram_stored_key(struct slice password, struct slice salt, uint32_t iterations,
                                 uint8_t ret_key[SHA256_SIZE])
{
    uint8_t salted[SHA256_SIZE], client_key[SHA256_SIZE];
    if (password.len > INT_MAX || salt.len > INT_MAX || iterations == 0 || iterations > INT_MAX ||
        PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, salt.data, (int)salt.len,
                          (int)iterations, EVP_sha256(), SHA256_SIZE, salted) != 1)
        return ERR_CRYPTO;
    crypto_hmac_sha256(salted, SLICE_LITERAL("Client Key"), client_key);
    crypto_sha256_one(slice_of(client_key, sizeof client_key), ret_key);
    mem_wipe(salted, sizeof salted);
    mem_wipe(client_key, sizeof client_key);
    return ERR_NONE;
}

enum err crypto_random(void *bytes, size_t n)
{
    if (n > INT_MAX)
        return ERR_LIMIT;
    return RAND_bytes(bytes, (int)n) == 1 ? ERR_NONE : ERR_CRYPTO;
}
