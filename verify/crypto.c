#include "verify/crypto.h"

#include <openssl/evp.h>
#include <stdlib.h>

/* Looked up once: that costs more than hashing a tree node does. */
static EVP_MD *sha256;
static EVP_MD_CTX *context;

enum err verify_crypto_init(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    context = EVP_MD_CTX_new();
    if (context == NULL)
        return ERR_NO_MEMORY;
    return sha256 == NULL ? ERR_CRYPTO : ERR_NONE;
}

void verify_crypto_end(void)
{
    EVP_MD_CTX_free(context);
    EVP_MD_free(sha256);
    context = NULL;
    sha256 = NULL;
}

/* A verifier that cannot hash must not give a verdict. */
void verify_sha256(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE])
{
    if (EVP_DigestInit_ex2(context, sha256, NULL) != 1)
        abort();
    for (size_t i = 0; i < n; i++)
        if (parts[i].len > 0 && EVP_DigestUpdate(context, parts[i].data, parts[i].len) != 1)
            abort();
    if (EVP_DigestFinal_ex(context, ret_hash, NULL) != 1)
        abort();
}

enum err verify_ed25519(const uint8_t key[ED25519_KEY_SIZE], struct slice message,
                        const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good =
        pkey != NULL && ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
        EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_SIZE, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return good ? ERR_NONE : ERR_BAD_SIGNATURE;
}
