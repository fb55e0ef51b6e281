#include "pki/issue.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/crypto.h"
#include "base/host.h"
#include "core/oid.h"
#include "pki/crl.h"
#include "pki/issuer_internal.h"

#define SERIAL_SIZE     16 /* bytes: those of a time, then random ones */
#define SERIAL_TIME     4
#define KEY_IDENTIFIER  20 /* bytes of ours: RFC 7093 section 2, method 1 */
#define COMMON_NAME_MAX 64 /* ub-common-name */
#define URI_MAX         256
#define NAMES_MAX       32

#define SAN_DNS 2
#define SAN_URI 6
#define SAN_IP  7

/* Extensions that are the same in every certificate, whole: Extension, RFC 5280 section 4.1. */
#define BASIC_CONSTRAINTS_END_ENTITY                                                               \
    SLICE_LITERAL("\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00")
#define KEY_USAGE_DIGITAL_SIGNATURE                                                                \
    SLICE_LITERAL("\x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80")
#define EXTENDED_KEY_USAGE_CLIENT                                                                  \
    SLICE_LITERAL(                                                                                 \
        "\x30\x13\x06\x03\x55\x1d\x25\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03"         \
        "\x02")
#define EXTENDED_KEY_USAGE_SERVER                                                                  \
    SLICE_LITERAL(                                                                                 \
        "\x30\x13\x06\x03\x55\x1d\x25\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03"         \
        "\x01")
#define EXTENDED_KEY_USAGE_BOTH                                                                    \
    SLICE_LITERAL(                                                                                 \
        "\x30\x1d\x06\x03\x55\x1d\x25\x04\x16\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03"         \
        "\x02\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01")
#define EXTENDED_KEY_USAGE_OCSP                                                                    \
    SLICE_LITERAL(                                                                                 \
        "\x30\x13\x06\x03\x55\x1d\x25\x04\x0c\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03"         \
        "\x09")
#define OCSP_NO_CHECK                                                                              \
    SLICE_LITERAL("\x30\x0f\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x05\x04\x02\x05\x00")
#define OID_AUTHORITY_INFO_ACCESS   SLICE_LITERAL("\x2b\x06\x01\x05\x05\x07\x01\x01")
#define OID_CRL_DISTRIBUTION_POINTS SLICE_LITERAL("\x55\x1d\x1f")

void issuer_free(struct issuer *i)
{
    if (i == NULL)
        return;
    EVP_PKEY_CTX_free(i->signing);
    EVP_MD_free(i->digest);
    EVP_PKEY_free(i->key);
    free(i);
}

int64_t issuer_not_after(const struct issuer *i)
{
    return i->not_after;
}

uint32_t issuer_number(const struct issuer *i)
{
    return authority_number(slice_of(i->key_identifier, i->key_identifier_len));
}

/* May this certificate issue others, and is `key` its key? */
static enum err check_authority(EVP_PKEY *key, X509 *certificate)
{
    if (EVP_PKEY_eq(key, X509_get0_pubkey(certificate)) != 1)
        return ERR_CONFLICT;
    uint32_t flags = X509_get_extension_flags(certificate);
    bool is_ca = (flags & EXFLAG_CA) != 0 && (flags & EXFLAG_INVALID) == 0;
    bool signs =
        (flags & EXFLAG_KUSAGE) != 0 && (X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) != 0;
    return is_ca && signs ? ERR_NONE : ERR_REFUSED;
}

static enum err read_certificate(struct issuer *i, X509 *certificate)
{
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    if (len <= 0)
        return ERR_CRYPTO;
    struct certificate c;
    enum err err = certificate_read(slice_of(der, (size_t)len), &c);
    if (err == ERR_NONE && c.subject.len > sizeof i->subject_bytes)
        err = ERR_LIMIT;
    if (err == ERR_NONE) {
        memcpy(i->subject_bytes, c.subject.data, c.subject.len);
        i->subject = slice_of(i->subject_bytes, c.subject.len);
        i->not_before = c.not_before;
        i->not_after = c.not_after;
    }
    OPENSSL_free(der);
    if (err != ERR_NONE)
        return err;

    const ASN1_OCTET_STRING *identifier = X509_get0_subject_key_id(certificate);
    size_t n = identifier == NULL ? 0 : (size_t)ASN1_STRING_length(identifier);
    if (n == 0 || n > sizeof i->key_identifier)
        return ERR_UNSUPPORTED;
    memcpy(i->key_identifier, ASN1_STRING_get0_data(identifier), n);
    i->key_identifier_len = n;
    return ERR_NONE;
}

static enum err prepare_signing(struct issuer *i)
{
    bool p256 = EVP_PKEY_is_a(i->key, "EC") && EVP_PKEY_get_bits(i->key) == 256;
    bool p384 = EVP_PKEY_is_a(i->key, "EC") && EVP_PKEY_get_bits(i->key) == 384;
    if (!p256 && !p384)
        return ERR_UNSUPPORTED;
    i->signature_oid = p256 ? OID_ECDSA_SHA256 : OID_ECDSA_SHA384;
    i->digest = EVP_MD_fetch(NULL, p256 ? "SHA256" : "SHA384", NULL);
    i->signing = EVP_PKEY_CTX_new_from_pkey(NULL, i->key, NULL);
    if (i->digest == NULL || i->signing == NULL || EVP_PKEY_sign_init(i->signing) != 1)
        return ERR_CRYPTO;
    return ERR_NONE;
}

enum err issuer_new(EVP_PKEY *key, X509 *certificate, struct issuer **ret_issuer)
{
    struct issuer *i = calloc(1, sizeof *i);
    if (i == NULL)
        return ERR_NO_MEMORY;
    enum err err = check_authority(key, certificate);
    i->signs_crls = (X509_get_key_usage(certificate) & KU_CRL_SIGN) != 0;
    if (err == ERR_NONE && EVP_PKEY_up_ref(key) != 1)
        err = ERR_CRYPTO;
    if (err != ERR_NONE)
        goto out;
    i->key = key;
    err = read_certificate(i, certificate);
    if (err == ERR_NONE)
        err = prepare_signing(i);
out:
    ERR_clear_error();
    if (err == ERR_NONE)
        *ret_issuer = i;
    else
        issuer_free(i);
    return err;
}

static bool is_alphanumeric(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_printable(struct slice text, uint8_t first)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < first || text.data[i] > 0x7e)
            return false;
    return true;
}

/* scheme ":" something, RFC 3986 section 3, of visible ASCII. */
static bool is_uri(struct slice uri)
{
    size_t scheme = 0;
    while (scheme < uri.len && is_alphanumeric(uri.data[scheme]))
        scheme++;
    return uri.len <= URI_MAX && scheme > 0 && scheme + 1 < uri.len && uri.data[scheme] == ':' &&
           all_printable(uri, 0x21);
}

/* Critical where the subject is empty (RFC 5280 section 4.2.1.6). */
static void put_subject_alt_name(struct der_writer *w, const struct issue_request *request)
{
    size_t mark = der_mark(w);
    for (size_t i = request->profile != ISSUE_CLIENT ? request->names_len : 0; i-- > 0;) {
        uint8_t address[16];
        size_t n = host_address(request->names[i], address);
        if (n > 0)
            der_put(w, DER_CONTEXT(SAN_IP), slice_of(address, n));
        else
            der_put(w, DER_CONTEXT(SAN_DNS), request->names[i]);
    }
    if (request->profile != ISSUE_SERVER)
        der_put(w, DER_CONTEXT(SAN_URI), request->uri);
    der_wrap(w, DER_SEQUENCE, mark);
    put_extension(w, OID_SUBJECT_ALT_NAME, request->common_name.len == 0, mark);
}

/* AuthorityInfoAccessSyntax with id-ad-ocsp, RFC 5280 section 4.2.2.1. */
static void put_authority_info_access(struct der_writer *w, struct slice ocsp_url)
{
    size_t mark = der_mark(w);
    der_put(w, DER_CONTEXT(SAN_URI), ocsp_url);
    der_put(w, DER_OID, OID_OCSP);
    der_wrap(w, DER_SEQUENCE, mark);
    der_wrap(w, DER_SEQUENCE, mark);
    put_extension(w, OID_AUTHORITY_INFO_ACCESS, false, mark);
}

/* CRLDistributionPoints, RFC 5280 section 4.2.1.13. */
static void put_crl_distribution_points(struct der_writer *w, const struct issuer *i,
                                        const struct issue_request *request,
                                        const uint8_t serial[SERIAL_SIZE])
{
    uint8_t bytes[CRL_URL_MAX];
    struct writer url = writer_over(bytes, sizeof bytes);
    const struct crl_url list = {
        .base = request->public_url,
        .authority = issuer_number(i),
        .shards = request->crl_shards,
        .shard = crl_shard_of(slice_of(serial, SERIAL_SIZE), request->crl_shards),
    };
    crl_url_write(&url, &list);
    if (url.err != ERR_NONE)
        der_writer_fail(w, url.err);
    put_distribution_points(w, OID_CRL_DISTRIBUTION_POINTS, writer_bytes(&url));
}

/* What the certificate is for, and who or where that is. */
static void put_purpose(struct der_writer *w, const struct issue_request *request)
{
    if (request->ocsp_url.len > 0)
        put_authority_info_access(w, request->ocsp_url);
    switch (request->profile) {
    case ISSUE_CLIENT:
        put_subject_alt_name(w, request);
        der_put_raw(w, EXTENDED_KEY_USAGE_CLIENT);
        return;
    case ISSUE_SERVER:
        put_subject_alt_name(w, request);
        der_put_raw(w, EXTENDED_KEY_USAGE_SERVER);
        return;
    case ISSUE_BROKER:
        put_subject_alt_name(w, request);
        der_put_raw(w, EXTENDED_KEY_USAGE_BOTH);
        return;
    case ISSUE_OCSP_RESPONDER:
        der_put_raw(w, OCSP_NO_CHECK);
        der_put_raw(w, EXTENDED_KEY_USAGE_OCSP);
        return;
    default:
        der_writer_fail(w, ERR_INTERNAL);
    }
}

static void put_key_identifiers(struct der_writer *w, const struct issuer *i,
                                const struct spki *spki)
{
    put_authority_key_identifier(w, i);
    uint8_t hash[SHA256_SIZE];
    crypto_sha256_one(spki->key, hash);
    size_t mark = der_mark(w);
    der_put(w, DER_OCTET_STRING, slice_of(hash, KEY_IDENTIFIER));
    put_extension(w, OID_SUBJECT_KEY_IDENTIFIER, false, mark);
}

static void put_subject(struct der_writer *w, struct slice common_name)
{
    size_t mark = der_mark(w);
    if (common_name.len > 0) {
        der_put(w, DER_UTF8_STRING, common_name);
        der_put(w, DER_OID, OID_COMMON_NAME);
        der_wrap(w, DER_SEQUENCE, mark);
        der_wrap(w, DER_SET, mark);
    }
    der_wrap(w, DER_SEQUENCE, mark);
}

/* TBSCertificate, RFC 5280 section 4.1; from the last field to the first. */
static void put_tbs(struct der_writer *w, const struct issuer *i,
                    const struct issue_request *request, const struct spki *spki,
                    int64_t not_before, int64_t not_after, const uint8_t serial[SERIAL_SIZE])
{
    size_t whole = der_mark(w);
    if (request->crl_shards > 0)
        put_crl_distribution_points(w, i, request, serial);
    put_key_identifiers(w, i, spki);
    put_purpose(w, request);
    der_put_raw(w, KEY_USAGE_DIGITAL_SIGNATURE);
    der_put_raw(w, BASIC_CONSTRAINTS_END_ENTITY);
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(3), whole);
    der_put_raw(w, spki->der);
    put_subject(w, request->common_name);
    size_t validity = der_mark(w);
    der_put_time(w, not_after);
    der_put_time(w, not_before);
    der_wrap(w, DER_SEQUENCE, validity);
    der_put_raw(w, i->subject);
    put_signature_algorithm(w, i);
    der_put_unsigned(w, slice_of(serial, SERIAL_SIZE));
    size_t version = der_mark(w);
    der_put_u64(w, 2);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), version);
    der_wrap(w, DER_SEQUENCE, whole);
}

/* Random beyond what a forger could guess, after the certificate's own start: so that in a database
 * they come in order, each beside the one before. */
static enum err make_serial(int64_t not_before, uint8_t ret_serial[SERIAL_SIZE])
{
    struct writer w = writer_over(ret_serial, SERIAL_TIME);
    writer_be32(&w, (uint32_t)not_before);
    return crypto_random(ret_serial + SERIAL_TIME, SERIAL_SIZE - SERIAL_TIME);
}

enum err issuer_sign(struct issuer *i, struct slice hash, uint8_t signature[SIGNATURE_MAX],
                     size_t *ret_len)
{
    size_t len = SIGNATURE_MAX;
    if (EVP_PKEY_sign(i->signing, signature, &len, hash.data, hash.len) != 1) {
        ERR_clear_error();
        return ERR_CRYPTO;
    }
    *ret_len = len;
    return ERR_NONE;
}

static enum err sign(struct issuer *i, struct slice message, uint8_t signature[SIGNATURE_MAX],
                     size_t *ret_len)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(message.data, message.len, hash, &len, i->digest, NULL) != 1) {
        ERR_clear_error();
        return ERR_CRYPTO;
    }
    return issuer_sign(i, slice_of(hash, len), signature, ret_len);
}

static enum err check_names(const struct issue_request *request)
{
    if (request->common_name.len > COMMON_NAME_MAX)
        return ERR_LIMIT;
    if (!all_printable(request->common_name, 0x20))
        return ERR_SYNTAX;
    if (request->ocsp_url.len > 0 && !is_uri(request->ocsp_url))
        return ERR_SYNTAX;
    bool is_client = request->profile == ISSUE_CLIENT || request->profile == ISSUE_BROKER;
    if (is_client && !is_uri(request->uri))
        return ERR_SYNTAX;
    if (request->profile == ISSUE_CLIENT)
        return ERR_NONE;
    if (request->profile == ISSUE_OCSP_RESPONDER)
        return request->common_name.len > 0 ? ERR_NONE : ERR_SYNTAX;
    if (request->names_len == 0)
        return ERR_SYNTAX;
    if (request->names_len > NAMES_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < request->names_len; i++)
        if (!host_is_sound(request->names[i]))
            return ERR_SYNTAX;
    return ERR_NONE;
}

static enum err read_key(struct slice der, struct spki *ret_spki)
{
    struct spki spki;
    struct reader r = reader_over(der);
    enum err err = spki_read(&r, &spki);
    if (err == ERR_NONE)
        err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_spki = spki;
    return err;
}

enum err issue_certificate(struct issuer *i, const struct issue_request *request, uint8_t *buffer,
                           size_t max, size_t *ret_len)
{
    enum err err = check_names(request);
    struct spki spki;
    if (err == ERR_NONE)
        err = read_key(request->spki, &spki);
    if (err != ERR_NONE)
        return err;
    if (request->not_after <= request->not_before)
        return ERR_SYNTAX;
    int64_t not_before = request->not_before < i->not_before ? i->not_before : request->not_before;
    int64_t not_after = request->not_after > i->not_after ? i->not_after : request->not_after;
    if (not_after <= not_before)
        return ERR_EXPIRED;

    uint8_t serial[SERIAL_SIZE];
    err = make_serial(not_before, serial);
    if (err != ERR_NONE)
        return err;
    uint8_t scratch[CERTIFICATE_MAX];
    struct der_writer tbs = der_writer_over(scratch, sizeof scratch);
    put_tbs(&tbs, i, request, &spki, not_before, not_after, serial);
    if (tbs.err != ERR_NONE)
        return tbs.err;
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = 0;
    err = sign(i, der_writer_bytes(&tbs), signature, &signature_len);
    if (err != ERR_NONE)
        return err;

    struct der_writer w = der_writer_over(buffer, max < CERTIFICATE_MAX ? max : CERTIFICATE_MAX);
    size_t whole = der_mark(&w);
    der_put_raw(&w, slice_of(signature, signature_len));
    der_wrap_bit_string(&w, whole);
    put_signature_algorithm(&w, i);
    der_put_raw(&w, der_writer_bytes(&tbs));
    der_wrap(&w, DER_SEQUENCE, whole);
    if (w.err != ERR_NONE)
        return w.err;
    struct slice certificate = der_writer_bytes(&w);
    memmove(buffer, certificate.data, certificate.len);
    *ret_len = certificate.len;
    return ERR_NONE;
}
