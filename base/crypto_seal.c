#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/crypto.h"

#define NONCE_SIZE 12
#define TAG_SIZE   16
_Static_assert(CRYPTO_SEAL_OVERHEAD == NONCE_SIZE + TAG_SIZE, "a box around a text");

void crypto_hmac_sha256(const uint8_t key[SHA256_SIZE], struct slice bytes,
                        uint8_t ret_mac[SHA256_SIZE])
{
    unsigned len = 0;
    /* as with hashes: a program that can't must not go on */
    if (HMAC(EVP_sha256(), key, SHA256_SIZE, bytes.data, bytes.len, ret_mac, &len) == NULL ||
        len != SHA256_SIZE)
        abort();
}

/* Over the whole text in one go; `in` and `out` of the same length. */
static bool run_gcm(EVP_CIPHER_CTX *ctx, bool seals, const uint8_t *key, const uint8_t *nonce,
                    struct slice context, struct slice in, uint8_t *out)
{
    int n = 0;
    return EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, seals) == 1 &&
           (context.len == 0 ||
            EVP_CipherUpdate(ctx, NULL, &n, context.data, (int)context.len) == 1) &&
           (in.len == 0 || EVP_CipherUpdate(ctx, out, &n, in.data, (int)in.len) == 1);
}

enum err crypto_seal(const uint8_t key[SHA256_SIZE], struct slice context, struct slice text,
                     struct writer *w)
{
    uint8_t nonce[NONCE_SIZE], tag[TAG_SIZE], sealed[CRYPTO_SEAL_TEXT_MAX];
    int n = 0;
    if (text.len > sizeof sealed || context.len > CRYPTO_SEAL_TEXT_MAX)
        return ERR_LIMIT;
    enum err err = crypto_random(nonce, sizeof nonce);
    if (err != ERR_NONE)
        return err;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool done = ctx != NULL && run_gcm(ctx, true, key, nonce, context, text, sealed) &&
                EVP_CipherFinal_ex(ctx, sealed, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, tag) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!done)
        return ERR_CRYPTO;
    writer_put(w, slice_of(nonce, sizeof nonce));
    writer_put(w, slice_of(sealed, text.len));
    writer_put(w, slice_of(tag, sizeof tag));
    return w->err;
}

enum err crypto_unseal(const uint8_t key[SHA256_SIZE], struct slice context, struct slice box,
                       struct writer *w)
{
    uint8_t text[CRYPTO_SEAL_TEXT_MAX], tag[TAG_SIZE];
    int n = 0;
    if (box.len < CRYPTO_SEAL_OVERHEAD || box.len - CRYPTO_SEAL_OVERHEAD > sizeof text ||
        context.len > CRYPTO_SEAL_TEXT_MAX)
        return ERR_BAD_SIGNATURE;
    struct slice sealed = slice_of(box.data + NONCE_SIZE, box.len - CRYPTO_SEAL_OVERHEAD);
    memcpy(tag, sealed.data + sealed.len, sizeof tag);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool genuine = ctx != NULL && run_gcm(ctx, false, key, box.data, context, sealed, text) &&
                   EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
                   EVP_CipherFinal_ex(ctx, text, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (genuine)
        writer_put(w, slice_of(text, sealed.len));
    mem_wipe(text, sizeof text);
    return genuine ? w->err : ERR_BAD_SIGNATURE;
}
