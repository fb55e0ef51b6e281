#include "pki/ocsp_responder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "core/der.h"
#include "core/oid.h"

#define BACKDATE      300 /* seconds: for clocks that are behind */
#define KEY_HASH      20  /* bytes: KeyHash is SHA-1 by definition */
#define SIGNATURE_MAX 80  /* an ECDSA-Sig-Value over P-256 takes 72 */
#define COMMON_NAME   64

struct ocsp_responder {
    struct issuer *issuer;
    struct ocsp_issuer cert_id;
    char common_name[COMMON_NAME + 1];
    EVP_PKEY *key;
    EVP_PKEY_CTX *signing; /* set up once, used for every signature */
    EVP_MD *digest;
    uint8_t spki[SPKI_MAX];
    size_t spki_len;
    uint8_t certificate[CERTIFICATE_MAX];
    size_t certificate_len;
    int64_t not_before, not_after; /* of the certificate; 0 before the first */
    uint8_t key_hash[KEY_HASH];
};

void ocsp_responder_free(struct ocsp_responder *r)
{
    if (r == NULL)
        return;
    EVP_PKEY_CTX_free(r->signing);
    EVP_MD_free(r->digest);
    EVP_PKEY_free(r->key);
    free(r);
}

static enum err make_key(struct ocsp_responder *r)
{
    enum err err = ca_key_new(KEY_P256, &r->key);
    if (err != ERR_NONE)
        return err;
    int len = i2d_PUBKEY(r->key, NULL);
    uint8_t *at = r->spki;
    if (len <= 0 || (size_t)len > sizeof r->spki || i2d_PUBKEY(r->key, &at) != len)
        return ERR_CRYPTO;
    r->spki_len = (size_t)len;
    struct spki spki;
    struct reader reader = reader_over(slice_of(r->spki, r->spki_len));
    err = spki_read(&reader, &spki);
    if (err != ERR_NONE)
        return err;
    size_t hash_len = 0;
    if (EVP_Q_digest(NULL, "SHA1", NULL, spki.key.data, spki.key.len, r->key_hash, &hash_len) != 1)
        return ERR_CRYPTO;
    r->digest = EVP_MD_fetch(NULL, "SHA256", NULL);
    r->signing = EVP_PKEY_CTX_new_from_pkey(NULL, r->key, NULL);
    bool ready = r->digest != NULL && r->signing != NULL && EVP_PKEY_sign_init(r->signing) == 1;
    return ready ? ERR_NONE : ERR_CRYPTO;
}

enum err ocsp_responder_new(struct issuer *issuer, struct slice certificate, const char *fleet,
                            struct ocsp_responder **ret_responder)
{
    struct ocsp_responder *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NO_MEMORY;
    r->issuer = issuer;
    (void)snprintf(r->common_name, sizeof r->common_name, "%s OCSP", fleet);
    enum err err = ocsp_issuer_read(certificate, &r->cert_id);
    if (err == ERR_NONE)
        err = make_key(r);
    ERR_clear_error();
    if (err == ERR_NONE)
        *ret_responder = r;
    else
        ocsp_responder_free(r);
    return err;
}

/* One whose life is half over is replaced, and one of a clock that was set back since. */
static enum err renew(struct ocsp_responder *r)
{
    int64_t now = clock_seconds();
    if (now >= r->not_before && now < r->not_before + (r->not_after - r->not_before) / 2)
        return ERR_NONE;
    const struct issue_request request = {
        .profile = ISSUE_OCSP_RESPONDER,
        .common_name = slice_of_text(r->common_name),
        .not_before = now - BACKDATE,
        .not_after = now + OCSP_RESPONDER_LIFETIME,
        .spki = slice_of(r->spki, r->spki_len),
    };
    uint8_t der[CERTIFICATE_MAX];
    size_t len = 0;
    struct certificate c;
    enum err err = issue_certificate(r->issuer, &request, der, sizeof der, &len);
    if (err == ERR_NONE)
        err = certificate_read(slice_of(der, len), &c);
    if (err != ERR_NONE)
        return err;
    memcpy(r->certificate, der, len);
    r->certificate_len = len;
    r->not_before = c.not_before;
    r->not_after = c.not_after;
    return ERR_NONE;
}

/* ---- the response, each part from its last field to its first ---- */

static void put_cert_id(struct der_writer *w, const struct ocsp_responder *r,
                        const struct ocsp_answer *answer)
{
    static const struct slice oids[OCSP_HASH_COUNT] = {
        [OCSP_SHA1] = OID_SHA1,
        [OCSP_SHA256] = OID_SHA256,
    };
    size_t size = ocsp_hash_size(answer->hash);
    size_t mark = der_mark(w);
    der_put_unsigned(w, slice_of(answer->serial, answer->serial_len));
    der_put(w, DER_OCTET_STRING, slice_of(r->cert_id.key_hash[answer->hash], size));
    der_put(w, DER_OCTET_STRING, slice_of(r->cert_id.name_hash[answer->hash], size));
    size_t algorithm = der_mark(w);
    der_put(w, DER_NULL, slice_of(NULL, 0));
    der_put(w, DER_OID, oids[answer->hash]);
    der_wrap(w, DER_SEQUENCE, algorithm);
    der_wrap(w, DER_SEQUENCE, mark);
}

static void put_status(struct der_writer *w, const struct ocsp_answer *answer)
{
    size_t mark = der_mark(w);
    switch (answer->status) {
    case OCSP_GOOD:
        der_put(w, DER_CONTEXT(0), slice_of(NULL, 0));
        return;
    case OCSP_UNKNOWN:
        der_put(w, DER_CONTEXT(2), slice_of(NULL, 0));
        return;
    case OCSP_REVOKED:
        if (answer->reason != REASON_UNSPECIFIED) {
            const uint8_t reason = (uint8_t)answer->reason;
            der_put(w, DER_ENUMERATED, slice_of(&reason, 1));
            der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), mark);
        }
        der_put_generalized_time(w, answer->revoked_at);
        der_wrap(w, DER_CONTEXT_CONSTRUCTED(1), mark);
        return;
    case OCSP_STATUS_COUNT:
    default:
        der_writer_fail(w, ERR_SYNTAX);
    }
}

/* ResponseData, section 4.2.1. */
static void put_response_data(struct der_writer *w, const struct ocsp_responder *r,
                              const struct ocsp_answer *answer)
{
    size_t whole = der_mark(w);
    der_put_generalized_time(w, answer->next_update);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), whole);
    der_put_generalized_time(w, answer->this_update);
    put_status(w, answer);
    put_cert_id(w, r, answer);
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_SEQUENCE, whole);
    der_put_generalized_time(w, answer->this_update); /* producedAt */
    size_t by_key = der_mark(w);
    der_put(w, DER_OCTET_STRING, slice_of(r->key_hash, sizeof r->key_hash));
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(2), by_key);
    der_wrap(w, DER_SEQUENCE, whole);
}

static enum err sign(struct ocsp_responder *r, struct slice message, uint8_t *signature,
                     size_t *ret_len)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_len = 0;
    size_t len = SIGNATURE_MAX;
    if (EVP_Digest(message.data, message.len, hash, &hash_len, r->digest, NULL) != 1 ||
        EVP_PKEY_sign(r->signing, signature, &len, hash, hash_len) != 1) {
        ERR_clear_error();
        return ERR_CRYPTO;
    }
    *ret_len = len;
    return ERR_NONE;
}

/* OCSPResponse around BasicOCSPResponse. */
static void put_response(struct der_writer *w, const struct ocsp_responder *r, struct slice data,
                         struct slice signature)
{
    static const uint8_t successful = OCSP_SUCCESSFUL;
    size_t whole = der_mark(w);
    der_put_raw(w, slice_of(r->certificate, r->certificate_len));
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), whole);
    size_t bits = der_mark(w);
    der_put_raw(w, signature);
    der_wrap_bit_string(w, bits);
    size_t algorithm = der_mark(w);
    der_put(w, DER_OID, OID_ECDSA_SHA256);
    der_wrap(w, DER_SEQUENCE, algorithm);
    der_put_raw(w, data);
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_OCTET_STRING, whole);
    der_put(w, DER_OID, OID_OCSP_BASIC);
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), whole);
    der_put(w, DER_ENUMERATED, slice_of(&successful, 1));
    der_wrap(w, DER_SEQUENCE, whole);
}

static bool has_form(const struct ocsp_answer *answer)
{
    return answer->hash < OCSP_HASH_COUNT && answer->status < OCSP_STATUS_COUNT &&
           answer->serial_len > 0 && answer->serial_len <= SERIAL_MAX &&
           answer->next_update > answer->this_update;
}

enum err ocsp_respond(struct ocsp_responder *r, const struct ocsp_answer *answer, uint8_t *buffer,
                      size_t max, size_t *ret_len)
{
    if (!has_form(answer))
        return ERR_SYNTAX;
    enum err err = renew(r);
    if (err == ERR_NONE && answer->next_update > r->not_after)
        err = ERR_EXPIRED;
    if (err != ERR_NONE)
        return err;
    uint8_t scratch[OCSP_RESPONSE_MAX];
    struct der_writer data = der_writer_over(scratch, sizeof scratch);
    put_response_data(&data, r, answer);
    if (data.err != ERR_NONE)
        return data.err;
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = 0;
    err = sign(r, der_writer_bytes(&data), signature, &signature_len);
    if (err != ERR_NONE)
        return err;
    struct der_writer w = der_writer_over(buffer, max);
    put_response(&w, r, der_writer_bytes(&data), slice_of(signature, signature_len));
    if (w.err != ERR_NONE)
        return w.err;
    struct slice response = der_writer_bytes(&w);
    memmove(buffer, response.data, response.len);
    *ret_len = response.len;
    return ERR_NONE;
}
