/* Certificates and trust bundles for tests of device/lib: well formed; certificates are not signed,
 * since only a TLS library would look. */
#ifndef TESTS_UNIT_DEVICE_CERTIFICATES_H
#define TESTS_UNIT_DEVICE_CERTIFICATES_H

#include <stdlib.h>
#include <string.h>

#include "core/oid.h"
#include "core/trust_bundle.h"

struct test_certificate {
    const char *issuer, *subject; /* common names */
    const char *uri;              /* NULL: none */
    uint8_t serial;
    int64_t not_before, not_after;
    struct slice spki; /* SubjectPublicKeyInfo; empty: a made-up Ed25519 key */
};

static inline void test_put_name(struct der_writer *w, const char *common_name)
{
    size_t name = der_mark(w);
    der_put(w, DER_UTF8_STRING, slice_of_text(common_name));
    der_put(w, DER_OID, OID_COMMON_NAME);
    der_wrap(w, DER_SEQUENCE, name);
    der_wrap(w, DER_SET, name);
    der_wrap(w, DER_SEQUENCE, name);
}

static inline void test_put_algorithm(struct der_writer *w)
{
    size_t algorithm = der_mark(w);
    der_put(w, DER_OID, OID_ED25519);
    der_wrap(w, DER_SEQUENCE, algorithm);
}

static inline void test_put_extensions(struct der_writer *w, const char *uri)
{
    size_t extensions = der_mark(w);
    der_put(w, DER_CONTEXT(6), slice_of_text(uri));
    der_wrap(w, DER_SEQUENCE, extensions);
    der_wrap(w, DER_OCTET_STRING, extensions);
    der_put(w, DER_OID, OID_SUBJECT_ALT_NAME);
    der_wrap(w, DER_SEQUENCE, extensions);
    der_wrap(w, DER_SEQUENCE, extensions);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(3), extensions);
}

/* Stands at the end of `buffer`. */
static inline struct slice test_write_certificate(const struct test_certificate *c, uint8_t *buffer,
                                                  size_t max)
{
    static const uint8_t key[32] = {7};
    static const uint8_t signature[64] = {1};
    struct der_writer w = der_writer_over(buffer, max);
    size_t whole = der_mark(&w);
    der_put_raw(&w, slice_of(signature, sizeof signature));
    der_wrap_bit_string(&w, whole);
    test_put_algorithm(&w);
    size_t signed_part = der_mark(&w);
    if (c->uri != NULL)
        test_put_extensions(&w, c->uri);
    if (c->spki.len > 0)
        der_put_raw(&w, c->spki);
    else
        spki_write(&w, KEY_ED25519, slice_of(key, sizeof key));
    test_put_name(&w, c->subject);
    size_t validity = der_mark(&w);
    der_put_time(&w, c->not_after);
    der_put_time(&w, c->not_before);
    der_wrap(&w, DER_SEQUENCE, validity);
    test_put_name(&w, c->issuer);
    test_put_algorithm(&w);
    der_put_u64(&w, c->serial);
    size_t version = der_mark(&w);
    der_put_u64(&w, 2);
    der_wrap(&w, DER_CONTEXT_CONSTRUCTED(0), version);
    der_wrap(&w, DER_SEQUENCE, signed_part);
    der_wrap(&w, DER_SEQUENCE, whole);
    if (w.err != ERR_NONE)
        abort();
    return der_writer_bytes(&w);
}

typedef void test_sign_fn(const uint8_t seed[32], struct slice message,
                          uint8_t ret_signature[ED25519_SIGNATURE_SIZE]);

/* A bundle for fleet `fleet`, signed with the keys of the given seeds; `key` and `ledger` are
 * public keys, and the first of the seeds' keys is the bundle key unless `next` names another. */
static inline struct slice test_write_bundle(const char *fleet, uint64_t version, int64_t floor,
                                             const struct note_key *bundle_key,
                                             const struct note_key *signers,
                                             const uint8_t (*seeds)[32], size_t signers_len,
                                             test_sign_fn *sign, uint8_t *buffer, size_t max)
{
    uint8_t root[512];
    struct trust_bundle b = {.version = version, .time_floor = floor, .bundle_key = *bundle_key};
    memcpy(b.fleet, fleet, strlen(fleet) + 1);
    b.ledger_keys[0] = *bundle_key;
    b.ledger_keys_len = 1;
    const struct test_certificate c = {
        .issuer = "root", .subject = "root", .serial = 1, .not_before = 0, .not_after = 4000000000};
    b.server_roots[0] = test_write_certificate(&c, root, sizeof root);
    b.server_roots_len = 1;
    struct writer w = writer_over(buffer, max);
    trust_bundle_write(&w, &b);
    size_t text_len = w.len;
    for (size_t i = 0; i < signers_len; i++) {
        uint8_t signature[ED25519_SIGNATURE_SIZE];
        sign(seeds[i], slice_of(buffer, text_len), signature);
        if (i == 0)
            note_write_signature(&w, &signers[i], signature);
        else
            note_write_further_signature(&w, &signers[i], signature);
    }
    if (w.err != ERR_NONE)
        abort();
    return writer_bytes(&w);
}

#endif
