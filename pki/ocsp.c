#include "pki/ocsp.h"

#include <openssl/err.h>
#include <openssl/evp.h>

static const struct {
    const char *name;
    size_t size;
} hashes[OCSP_HASH_COUNT] = {
    [OCSP_SHA1] = {"SHA1", 20},
    [OCSP_SHA256] = {"SHA256", 32},
};

size_t ocsp_hash_size(enum ocsp_hash hash)
{
    return hashes[hash].size;
}

/* SHA-1 is a name here, not a proof: whose certificate is meant. What is signed is signed over
 * SHA-256. */
static bool digest(enum ocsp_hash hash, struct slice bytes, uint8_t ret_hash[OCSP_HASH_MAX])
{
    size_t len = 0;
    return EVP_Q_digest(NULL, hashes[hash].name, NULL, bytes.data, bytes.len, ret_hash, &len) ==
               1 &&
           len == hashes[hash].size;
}

enum err ocsp_issuer_read(struct slice certificate, struct ocsp_issuer *ret_issuer)
{
    struct certificate c;
    enum err err = certificate_read(certificate, &c);
    if (err != ERR_NONE)
        return err;
    struct ocsp_issuer issuer = {.not_after = c.not_after,
                                 .number = authority_number(c.subject_key)};
    for (unsigned i = 0; err == ERR_NONE && i < OCSP_HASH_COUNT; i++)
        if (!digest((enum ocsp_hash)i, c.subject, issuer.name_hash[i]) ||
            !digest((enum ocsp_hash)i, c.spki.key, issuer.key_hash[i]))
            err = ERR_CRYPTO;
    ERR_clear_error();
    if (err == ERR_NONE)
        *ret_issuer = issuer;
    return err;
}

bool ocsp_is_issuer(const struct ocsp_issuer *issuer, const struct ocsp_request *request)
{
    size_t size = hashes[request->hash].size;
    return slice_equal(request->issuer_name_hash,
                       slice_of(issuer->name_hash[request->hash], size)) &&
           slice_equal(request->issuer_key_hash, slice_of(issuer->key_hash[request->hash], size));
}
