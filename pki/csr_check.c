#include "pki/csr_check.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "pki/public_key.h"

#define STATUS_BAD_REQUEST   400
#define STATUS_UNPROCESSABLE 422

static const char *digest_name(enum signature_kind kind)
{
    switch (kind) {
    case SIGNATURE_ECDSA_SHA256:
    case SIGNATURE_RSA_SHA256:
        return "SHA256";
    case SIGNATURE_ECDSA_SHA384:
    case SIGNATURE_RSA_SHA384:
        return "SHA384";
    case SIGNATURE_RSA_SHA512:
        return "SHA512";
    case SIGNATURE_ED25519:
        break;
    }
    return NULL; /* it hashes by itself */
}

/* RSA: PKCS #1 v1.5, the only padding csr_read() takes. */
static enum err verify(EVP_PKEY *key, const struct csr *csr)
{
    enum err err = ERR_CRYPTO;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_DigestVerifyInit_ex(ctx, NULL, digest_name(csr->signature_kind), NULL,
                                               NULL, key, NULL) == 1)
        err = EVP_DigestVerify(ctx, csr->signature.data, csr->signature.len, csr->signed_part.data,
                               csr->signed_part.len) == 1
                  ? ERR_NONE
                  : ERR_BAD_SIGNATURE;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return err;
}

static enum err refuse_form(enum err err, struct problem *problem)
{
    if (err == ERR_UNSUPPORTED)
        return problem_set(problem, STATUS_BAD_REQUEST, "csr-key-not-allowed", "",
                           "The request's key or signature algorithm is of a kind that is not "
                           "taken; use P-256, P-384, Ed25519, or RSA of %d bits and more, signed "
                           "with SHA-256 or stronger.",
                           RSA_BITS_MIN);
    if (err == ERR_LIMIT)
        return problem_set(problem, STATUS_BAD_REQUEST, "csr-malformed", "",
                           "The certification request is larger than %d bytes, or a part of it is "
                           "larger than its own limit.",
                           CSR_MAX);
    return problem_set(problem, STATUS_BAD_REQUEST, "csr-malformed", "",
                       "The body is not a DER certification request (PKCS#10, RFC 2986).");
}

enum err csr_check(struct slice der, unsigned key_kinds, struct csr *ret_csr,
                   struct problem *problem)
{
    struct csr csr;
    enum err err = csr_read(der, &csr);
    if (err != ERR_NONE)
        return refuse_form(err, problem);
    if ((key_kinds & 1U << csr.spki.kind) == 0)
        return problem_set(problem, STATUS_BAD_REQUEST, "csr-key-not-allowed", "",
                           "Keys of kind %s are not taken here.", key_kind_text(csr.spki.kind));

    EVP_PKEY *key = NULL;
    const char *reason = NULL;
    err = public_key_new(&csr.spki, &key, &reason);
    if (err == ERR_REFUSED)
        return problem_set(problem, STATUS_UNPROCESSABLE, "csr-weak-key", "",
                           "The key is weak: %s. Make a new one.", reason);
    if (err != ERR_NONE) {
        problem_from_err(problem, err);
        return err;
    }
    err = verify(key, &csr);
    EVP_PKEY_free(key);
    if (err == ERR_BAD_SIGNATURE)
        return problem_set(problem, STATUS_BAD_REQUEST, "csr-bad-signature", "",
                           "The request is not signed by the key that it holds.");
    if (err != ERR_NONE) {
        problem_from_err(problem, err);
        return err;
    }
    *ret_csr = csr;
    return ERR_NONE;
}
