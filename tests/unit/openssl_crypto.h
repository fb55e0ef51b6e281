/* core/crypto.h's functions over OpenSSL, for tests. */
#ifndef TESTS_UNIT_OPENSSL_CRYPTO_H
#define TESTS_UNIT_OPENSSL_CRYPTO_H

#include "core/crypto.h"

#include <openssl/evp.h>
#include <stdlib.h>

static inline void test_require(bool ok)
{
    if (!ok)
        abort();
}

static inline void test_sha256(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE])
{
    static EVP_MD_CTX *ctx;
    static EVP_MD *sha256;
    if (ctx == NULL) {
        ctx = EVP_MD_CTX_new();
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    }
    test_require(ctx != NULL && EVP_DigestInit_ex(ctx, sha256, NULL) == 1);
    for (size_t i = 0; i < n; i++)
        test_require(EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1);
    test_require(EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1);
}

static inline enum err test_ed25519_verify(const uint8_t key[ED25519_KEY_SIZE],
                                           struct slice message,
                                           const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        pkey != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
        EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_SIZE, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return ok ? ERR_NONE : ERR_BAD_SIGNATURE;
}

static inline void test_ed25519_public(const uint8_t seed[32], uint8_t ret_key[ED25519_KEY_SIZE])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    size_t len = ED25519_KEY_SIZE;
    test_require(pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, ret_key, &len) == 1);
    EVP_PKEY_free(pkey);
}

static inline void test_ed25519_sign(const uint8_t seed[32], struct slice message,
                                     uint8_t ret_signature[ED25519_SIGNATURE_SIZE])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = ED25519_SIGNATURE_SIZE;
    test_require(pkey != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                 EVP_DigestSign(ctx, ret_signature, &len, message.data, message.len) == 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
}

#endif
