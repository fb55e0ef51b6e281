#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "core/csr.h"
#include "tests/vectors/x509_vectors.h"

static const struct {
    struct slice der;
    enum key_kind kind;
    unsigned bits;
    enum signature_kind signature;
    const char *common_name, *password;
} good[] = {
    {VECTOR(csr_p256), KEY_P256, 256, SIGNATURE_ECDSA_SHA256, "sensor-0001",
     "c2VjcmV0LXRscy11bmlxdWU="},
    {VECTOR(csr_p384), KEY_P384, 384, SIGNATURE_ECDSA_SHA256, "sensor-0001",
     "c2VjcmV0LXRscy11bmlxdWU="},
    {VECTOR(csr_p384_sha384), KEY_P384, 384, SIGNATURE_ECDSA_SHA384, "sensor-0002", ""},
    {VECTOR(csr_ed25519), KEY_ED25519, 256, SIGNATURE_ED25519, "sensor-0001",
     "c2VjcmV0LXRscy11bmlxdWU="},
    {VECTOR(csr_rsa2048), KEY_RSA, 2048, SIGNATURE_RSA_SHA256, "sensor-0001",
     "c2VjcmV0LXRscy11bmlxdWU="},
    {VECTOR(csr_rsa_e3), KEY_RSA, 2048, SIGNATURE_RSA_SHA256, "e3", ""},
    {VECTOR(csr_empty_subject), KEY_P256, 256, SIGNATURE_ECDSA_SHA256, "", ""},
};

/* A request as OpenSSL sees it; the caller frees it. */
static X509_REQ *openssl_read(struct slice der)
{
    const uint8_t *at = der.data;
    X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)der.len);
    assert_non_null(req);
    assert_ptr_equal(at, der.data + der.len);
    return req;
}

static void agrees_with_openssl(const struct csr *csr, struct slice der)
{
    X509_REQ *req = openssl_read(der);
    assert_int_equal(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);

    uint8_t *out = NULL;
    int len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &out);
    assert_true(slice_equal(slice_of(out, (size_t)len), csr->spki.der));
    OPENSSL_free(out);
    out = NULL;
    len = i2d_re_X509_REQ_tbs(req, &out);
    assert_true(slice_equal(slice_of(out, (size_t)len), csr->signed_part));
    OPENSSL_free(out);
    const ASN1_BIT_STRING *signature;
    X509_REQ_get0_signature(req, &signature, NULL);
    assert_true(slice_equal(slice_of(signature->data, (size_t)signature->length), csr->signature));
    assert_int_equal(EVP_PKEY_get_bits(X509_REQ_get0_pubkey(req)), csr->spki.bits);
    X509_REQ_free(req);
}

static void reads_what_openssl_wrote(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct csr csr;
        assert_int_equal(csr_read(good[i].der, &csr), ERR_NONE);
        assert_int_equal(csr.spki.kind, good[i].kind);
        assert_int_equal(csr.spki.bits, good[i].bits);
        assert_int_equal(csr.signature_kind, good[i].signature);
        assert_true(slice_equal(csr.common_name, slice_of_text(good[i].common_name)));
        assert_true(slice_equal(csr.challenge_password, slice_of_text(good[i].password)));
        agrees_with_openssl(&csr, good[i].der);
    }
    assert_string_equal(key_kind_text(KEY_P256), "P-256");
    assert_string_equal(key_kind_text(KEY_RSA), "RSA");
    assert_string_equal(key_kind_text(KEY_KIND_COUNT), "unknown");
}

static void refuses_kinds_we_do_not_take(void **state)
{
    (void)state;
    static const struct slice cases[] = {
        VECTOR(csr_p521),          VECTOR(csr_rsa1024),
        VECTOR(csr_p256_explicit), VECTOR(csr_p256_compressed),
        VECTOR(csr_two_cn),        VECTOR(csr_ecdsa_sha512),
        VECTOR(csr_rsa_sha1),      VECTOR(csr_rsa_pss),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct csr csr = {.spki.bits = 7};
        if (csr_read(cases[i], &csr) != ERR_UNSUPPORTED)
            fail_msg("case %zu", i);
        assert_int_equal(csr.spki.bits, 7);
    }
}

static void refuses_every_truncation_and_any_byte_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint8_t copy[CSR_MAX];
        size_t len = good[i].der.len;
        memcpy(copy, good[i].der.data, len);
        copy[len] = 0;
        struct csr csr;
        assert_int_equal(csr_read(slice_of(copy, len + 1), &csr), ERR_SYNTAX);
        for (size_t n = 0; n < len; n++) {
            /* its own allocation, so that a sanitizer sees a read past the end */
            uint8_t *cut = test_malloc(n + 1);
            memcpy(cut, copy, n);
            assert_int_equal(csr_read(slice_of(cut, n), &csr), ERR_SYNTAX);
            test_free(cut);
        }
    }
    static const uint8_t large[CSR_MAX + 1] = {0x30};
    struct csr csr;
    assert_int_equal(csr_read(slice_of(large, sizeof large), &csr), ERR_LIMIT);
}

/* `der` with its only occurrence of `from` replaced by `to`, which is as long. */
static enum err read_patched(struct slice der, struct slice from, struct slice to)
{
    uint8_t copy[CSR_MAX];
    memcpy(copy, der.data, der.len);
    assert_int_equal(from.len, to.len);
    size_t found = 0;
    for (size_t i = 0; i + from.len <= der.len; i++) {
        if (memcmp(der.data + i, from.data, from.len) != 0)
            continue;
        memcpy(copy + i, to.data, to.len);
        found++;
    }
    assert_int_equal(found, 1);
    struct csr csr;
    return csr_read(slice_of(copy, der.len), &csr);
}

static void refuses_patched_requests(void **state)
{
    (void)state;
#define PATCH(name, from, to, err)                                                                 \
    {                                                                                              \
        VECTOR(name), SLICE_LITERAL(from), SLICE_LITERAL(to), err                                  \
    }
    static const struct {
        struct slice der, from, to;
        enum err err;
    } cases[] = {
        /* harmless: another CN, other extensions */
        PATCH(csr_p256, "sensor-0001\x30", "sensor-0009\x30", ERR_NONE),
        PATCH(csr_p256, "\x55\x1d\x13", "\x55\x1d\x63", ERR_NONE),
        PATCH(csr_p256, "\x0c\x0bsensor-0001\x30", "\x13\x0bsensor-0001\x30", ERR_NONE),
        PATCH(csr_p256, "\x0c\x0bsensor-0001\x30", "\x16\x0bsensor-0001\x30", ERR_NONE),
        /* version 2 */
        PATCH(csr_p256, "\x02\x01\x00\x30\x2e", "\x02\x01\x01\x30\x2e", ERR_UNSUPPORTED),
        PATCH(csr_p256, "\x02\x01\x00\x30\x2e", "\x02\x01\x80\x30\x2e", ERR_SYNTAX),
        /* CN: no text, NUL, control, not UTF-8, another string type */
        PATCH(csr_p256, "sensor-0001\x30", "sensor\0000001\x30", ERR_SYNTAX),
        PATCH(csr_p256, "sensor-0001\x30", "sensor\n0001\x30", ERR_SYNTAX),
        PATCH(csr_p256, "sensor-0001\x30",
              "sensor\xff"
              "0001\x30",
              ERR_SYNTAX),
        PATCH(csr_p256, "\x0c\x0bsensor-0001\x30", "\x1e\x0bsensor-0001\x30", ERR_UNSUPPORTED),
        /* the point: hybrid form, another curve's, unused bits */
        PATCH(csr_p256, "\x03\x42\x00\x04", "\x03\x42\x00\x06", ERR_SYNTAX),
        PATCH(csr_p256, "\x03\x42\x00\x04", "\x03\x42\x01\x04", ERR_SYNTAX),
        PATCH(csr_p256, "\x2a\x86\x48\xce\x3d\x03\x01\x07", "\x2a\x86\x48\xce\x3d\x03\x01\x06",
              ERR_UNSUPPORTED),
        PATCH(csr_p256, "\x2a\x86\x48\xce\x3d\x02\x01", "\x2a\x86\x48\xce\x3d\x02\x02",
              ERR_UNSUPPORTED),
        /* RSA: exponent even, one, and parameters that are not NULL */
        PATCH(csr_rsa2048, "\x02\x03\x01\x00\x01", "\x02\x03\x01\x00\x00", ERR_UNSUPPORTED),
        PATCH(csr_rsa_e3, "\x02\x01\x03", "\x02\x01\x01", ERR_UNSUPPORTED),
        PATCH(csr_rsa_e3, "\x02\x01\x03", "\x02\x01\x02", ERR_UNSUPPORTED),
        PATCH(csr_rsa_e3, "\x02\x01\x03", "\x02\x01\x00", ERR_UNSUPPORTED),
        PATCH(csr_rsa_e3, "\x02\x01\x03", "\x02\x01\x83", ERR_SYNTAX),
        PATCH(csr_rsa2048, "\x01\x01\x01\x05\x00", "\x01\x01\x01\x04\x00", ERR_SYNTAX),
        PATCH(csr_rsa2048, "\x01\x01\x0b\x05\x00", "\x01\x01\x0b\x04\x00", ERR_SYNTAX),
        PATCH(csr_rsa2048, "\x01\x01\x0b\x05\x00", "\x01\x01\x0d\x05\x00", ERR_NONE),
        PATCH(csr_rsa2048, "\x01\x01\x0b\x05\x00", "\x01\x01\x05\x05\x00", ERR_UNSUPPORTED),
        /* a signature algorithm that does not fit the key */
        PATCH(csr_p256, "\x2a\x86\x48\xce\x3d\x04\x03\x02", "\x2a\x86\x48\xce\x3d\x04\x03\x01",
              ERR_UNSUPPORTED),
        /* attributes: another kind is read over, a set of none is not one */
        PATCH(csr_p256, "\x01\x09\x07\x31", "\x01\x09\x08\x31", ERR_NONE),
        PATCH(csr_p256, "\x01\x09\x07\x31", "\x01\x09\x07\x30", ERR_SYNTAX),
        PATCH(csr_p256, "\x01\x09\x0e\x31", "\x01\x09\x07\x31", ERR_UNSUPPORTED),
        PATCH(csr_p256, "\x01\x01\xff", "\x01\x01\x01", ERR_SYNTAX),
        PATCH(csr_p256, "\x01\x01\xff", "\x01\x01\x00", ERR_SYNTAX),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum err err = read_patched(cases[i].der, cases[i].from, cases[i].to);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
    }
}

static void put_attribute(struct der_writer *w, struct slice oid, struct slice values)
{
    size_t mark = der_mark(w);
    der_put(w, DER_SET, values);
    der_put(w, DER_OID, oid);
    der_wrap(w, DER_SEQUENCE, mark);
}

/* A request around the given subject and attributes, whose signature verifies for nobody. */
static enum err read_built(struct slice subject, struct slice attributes, size_t repeat)
{
    uint8_t point[65] = {4}, buffer[CSR_MAX];
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    size_t whole = der_mark(&w);
    der_put_raw(&w, SLICE_LITERAL("\x30\x06\x02\x01\x01\x02\x01\x01"));
    der_wrap_bit_string(&w, whole);
    der_put(&w, DER_SEQUENCE, SLICE_LITERAL("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"));
    size_t info = der_mark(&w);
    for (size_t i = 0; i < repeat; i++)
        der_put_raw(&w, attributes);
    der_wrap(&w, DER_CONTEXT_CONSTRUCTED(0), info);
    spki_write(&w, KEY_P256, slice_of(point, sizeof point));
    der_put(&w, DER_SEQUENCE, subject);
    der_put_u64(&w, 0);
    der_wrap(&w, DER_SEQUENCE, info);
    der_wrap(&w, DER_SEQUENCE, whole);
    assert_int_equal(w.err, ERR_NONE);
    struct csr csr;
    return csr_read(der_writer_bytes(&w), &csr);
}

static void refuses_built_requests(void **state)
{
    (void)state;
    static const struct slice none = {NULL, 0};
    static const struct slice unknown = SLICE_LITERAL("\x55\x04\x7f");
    static const struct slice password = SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x07");
    static const struct slice request = SLICE_LITERAL("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e");
    static const struct {
        struct slice oid, values;
        size_t repeat;
        enum err err;
    } cases[] = {
        {unknown, SLICE_LITERAL("\x05\x00"), 1, ERR_NONE},
        {unknown, SLICE_LITERAL("\x05\x00\x05\x00"), 8, ERR_NONE},
        {unknown, SLICE_LITERAL("\x05\x00"), 9, ERR_LIMIT},
        {unknown, SLICE_LITERAL(""), 1, ERR_SYNTAX},
        {unknown, SLICE_LITERAL("\x05\x01"), 1, ERR_SYNTAX},
        {password, SLICE_LITERAL("\x13\x01p"), 1, ERR_NONE},
        {password, SLICE_LITERAL("\x13\x01p"), 2, ERR_SYNTAX},
        {password, SLICE_LITERAL("\x13\x01p\x13\x01q"), 1, ERR_SYNTAX},
        {password, SLICE_LITERAL("\x13\x00"), 1, ERR_SYNTAX},
        {password, SLICE_LITERAL("\x14\x01p"), 1, ERR_UNSUPPORTED},
        {request, SLICE_LITERAL("\x30\x00"), 1, ERR_SYNTAX},
        {request, SLICE_LITERAL("\x30\x09\x30\x07\x06\x03\x55\x1d\x0e\x04\x00"), 1, ERR_NONE},
        {request, SLICE_LITERAL("\x30\x09\x30\x07\x06\x03\x55\x1d\x0e\x05\x00"), 1, ERR_SYNTAX},
        {request, SLICE_LITERAL("\x30\x07\x30\x05\x06\x03\x55\x1d\x0e"), 1, ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[64];
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        put_attribute(&w, cases[i].oid, cases[i].values);
        assert_int_equal(w.err, ERR_NONE);
        enum err err = read_built(none, der_writer_bytes(&w), cases[i].repeat);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
    }
    static const struct {
        struct slice subject;
        enum err err;
    } subjects[] = {
        {SLICE_LITERAL("\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01x"), ERR_NONE},
        {SLICE_LITERAL("\x31\x09\x30\x07\x06\x03\x55\x04\x03\x0c\x00"), ERR_SYNTAX},
        {SLICE_LITERAL("\x31\x0a\x30\x08\x06\x03\x55\x04\x0a\xea\x01x"), ERR_UNSUPPORTED},
        {SLICE_LITERAL("\x31\x00"), ERR_SYNTAX},
        {SLICE_LITERAL("\x30\x00"), ERR_SYNTAX},
        {SLICE_LITERAL("\x31\x07\x30\x05\x06\x03\x55\x04\x03"), ERR_SYNTAX},
        /* two CNs in one RDN */
        {SLICE_LITERAL("\x31\x14\x30\x08\x06\x03\x55\x04\x03\x0c\x01x"
                       "\x30\x08\x06\x03\x55\x04\x03\x0c\x01y"),
         ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++)
        assert_int_equal(read_built(subjects[i].subject, none, 1), subjects[i].err);
    for (size_t n = CSR_COMMON_NAME_MAX; n <= CSR_COMMON_NAME_MAX + 1; n++) {
        uint8_t name[CSR_COMMON_NAME_MAX + 1], buffer[128];
        memset(name, 'n', sizeof name);
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        size_t mark = der_mark(&w);
        der_put(&w, DER_UTF8_STRING, slice_of(name, n));
        der_put(&w, DER_OID, SLICE_LITERAL("\x55\x04\x03"));
        der_wrap(&w, DER_SEQUENCE, mark);
        der_wrap(&w, DER_SET, mark);
        assert_int_equal(read_built(der_writer_bytes(&w), none, 1),
                         n <= CSR_COMMON_NAME_MAX ? ERR_NONE : ERR_LIMIT);
    }
}

static void refuses_lengths_that_are_not_the_shortest(void **state)
{
    (void)state;
    static const struct slice der = VECTOR(csr_p256); /* 30 82 LL LL */
    uint8_t copy[CSR_MAX] = {0x30, 0x83, 0x00};
    memcpy(copy + 3, der.data + 2, der.len - 2);
    struct csr csr;
    assert_int_equal(csr_read(slice_of(copy, der.len + 1), &csr), ERR_SYNTAX);
    copy[1] = 0x80;
    memcpy(copy + 2, der.data + 4, der.len - 4);
    memset(copy + der.len - 2, 0, 2);
    assert_int_equal(csr_read(slice_of(copy, der.len), &csr), ERR_SYNTAX);
}

static EVP_PKEY *generate(enum key_kind kind)
{
    if (kind == KEY_ED25519)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_EC_gen(kind == KEY_P256 ? "P-256" : "P-384");
}

static enum err sign_with_openssl(void *ctx, struct slice message, uint8_t *buffer, size_t max,
                                  size_t *ret_len)
{
    EVP_PKEY *key = ctx;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const char *digest = NULL;
    if (!EVP_PKEY_is_a(key, "ED25519"))
        digest = EVP_PKEY_get_bits(key) == 384 ? "SHA384" : "SHA256";
    size_t len = max;
    bool signed_it = EVP_DigestSignInit_ex(md, NULL, digest, NULL, NULL, key, NULL) == 1 &&
                     EVP_DigestSign(md, buffer, &len, message.data, message.len) == 1;
    EVP_MD_CTX_free(md);
    if (!signed_it)
        return ERR_CRYPTO;
    *ret_len = len;
    return ERR_NONE;
}

static enum err sign_badly(void *ctx, struct slice message, uint8_t *buffer, size_t max,
                           size_t *ret_len)
{
    (void)message;
    (void)buffer;
    *ret_len = max + 1;
    return *(enum err *)ctx;
}

static void writes_what_openssl_verifies(void **state)
{
    (void)state;
    for (unsigned kind = KEY_P256; kind <= KEY_ED25519; kind++) {
        for (unsigned named = 0; named < 2; named++) {
            EVP_PKEY *key = generate((enum key_kind)kind);
            uint8_t raw[128], buffer[1024];
            size_t len = sizeof raw;
            if (kind == KEY_ED25519)
                assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &len), 1);
            else
                assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", raw, len, &len), 1);
            struct slice name = named ? SLICE_LITERAL("sensor-\xc3\xa9") : slice_of(NULL, 0);
            struct slice der = {NULL, 0};
            assert_int_equal(csr_write((enum key_kind)kind, slice_of(raw, len), name,
                                       sign_with_openssl, key, buffer, sizeof buffer, &der),
                             ERR_NONE);
            assert_ptr_equal(der.data + der.len, buffer + sizeof buffer);
            struct csr csr;
            assert_int_equal(csr_read(der, &csr), ERR_NONE);
            assert_true(slice_equal(csr.common_name, name));
            assert_true(slice_equal(csr.spki.key, slice_of(raw, len)));
            agrees_with_openssl(&csr, der);

            /* Any smaller buffer is refused. ECDSA signatures differ in size by a few bytes. */
            for (size_t max = 0; max < der.len - 8; max++) {
                uint8_t *small = test_malloc(max + 1);
                assert_int_equal(csr_write((enum key_kind)kind, slice_of(raw, len), name,
                                           sign_with_openssl, key, small, max, &der),
                                 ERR_LIMIT);
                test_free(small);
            }
            EVP_PKEY_free(key);
        }
    }
}

static void refuses_to_write(void **state)
{
    (void)state;
    uint8_t point[65] = {4}, buffer[1024], name[CSR_COMMON_NAME_MAX + 1];
    memset(name, 'n', sizeof name);
    static const struct slice none = {NULL, 0};
    struct slice key = slice_of(point, sizeof point);
    struct slice der = {NULL, 99};
    enum err result = ERR_CRYPTO;
#define WRITE(kind, key, name)                                                                     \
    csr_write(kind, key, name, sign_badly, &result, buffer, sizeof buffer, &der)
    assert_int_equal(WRITE(KEY_P256, key, none), ERR_CRYPTO);
    result = ERR_NONE;
    assert_int_equal(WRITE(KEY_P256, key, none), ERR_INTERNAL);
    assert_int_equal(WRITE(KEY_P384, key, none), ERR_SYNTAX);
    assert_int_equal(WRITE(KEY_ED25519, key, none), ERR_SYNTAX);
    assert_int_equal(WRITE(KEY_RSA, key, none), ERR_UNSUPPORTED);
    assert_int_equal(WRITE(KEY_P256, key, slice_of(name, sizeof name)), ERR_LIMIT);
    assert_int_equal(WRITE(KEY_P256, key, SLICE_LITERAL("a\nb")), ERR_SYNTAX);
    point[0] = 2;
    assert_int_equal(WRITE(KEY_P256, slice_of(point, 33), none), ERR_UNSUPPORTED);
    assert_int_equal(der.len, 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_openssl_wrote),
        cmocka_unit_test(refuses_kinds_we_do_not_take),
        cmocka_unit_test(refuses_every_truncation_and_any_byte_more),
        cmocka_unit_test(refuses_patched_requests),
        cmocka_unit_test(refuses_built_requests),
        cmocka_unit_test(refuses_lengths_that_are_not_the_shortest),
        cmocka_unit_test(writes_what_openssl_verifies),
        cmocka_unit_test(refuses_to_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
