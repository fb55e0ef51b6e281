#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "pki/csr_check.h"

#define ALL_KINDS ((1U << KEY_KIND_COUNT) - 1)

struct request {
    uint8_t der[CSR_MAX];
    size_t len;
};

static EVP_PKEY *make_rsa(unsigned bits, unsigned exponent)
{
    EVP_PKEY *key = NULL;
    BIGNUM *e = BN_new();
    assert_non_null(e);
    assert_int_equal(BN_set_word(e, exponent), 1);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits), 1);
    assert_int_equal(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e), 1);
    assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    BN_free(e);
    return key;
}

/* "P-256", "ED25519", "RSA2048", "RSA1024", "RSA2048e3" */
static EVP_PKEY *make_key(const char *kind)
{
    if (strcmp(kind, "ED25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (strcmp(kind, "RSA1024") == 0)
        return make_rsa(1024, 65537);
    if (strcmp(kind, "RSA2048") == 0)
        return make_rsa(2048, 65537);
    if (strcmp(kind, "RSA2048e3") == 0)
        return make_rsa(2048, 3);
    return EVP_EC_gen(kind);
}

/* `signer` signs what names `key`. */
static void make_request(EVP_PKEY *key, EVP_PKEY *signer, const char *digest, struct request *r)
{
    X509_REQ *req = X509_REQ_new();
    assert_non_null(req);
    X509_NAME *name = X509_REQ_get_subject_name(req);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                (const uint8_t *)"thermo-1", -1, -1, 0),
                     1);
    assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
    const EVP_MD *md = digest == NULL ? NULL : EVP_get_digestbyname(digest);
    assert_true(X509_REQ_sign(req, signer, md) > 0);
    int len = i2d_X509_REQ(req, NULL);
    assert_in_range(len, 1, sizeof r->der);
    uint8_t *at = r->der;
    r->len = (size_t)i2d_X509_REQ(req, &at);
    X509_REQ_free(req);
}

static enum err check(const struct request *r, unsigned kinds, struct problem *problem)
{
    struct csr csr;
    memset(&csr, 0x5a, sizeof csr);
    struct csr before = csr;
    memset(problem, 0, sizeof *problem);
    enum err err = csr_check(slice_of(r->der, r->len), kinds, &csr, problem);
    if (err == ERR_NONE) {
        assert_null(problem->code);
        assert_int_equal(problem->status, 0);
        assert_true(csr.signed_part.data > r->der && csr.signed_part.data < r->der + r->len);
    } else {
        assert_memory_equal(&csr, &before, sizeof csr);
        assert_in_range(problem->status, 400, 599);
        assert_true(problem->detail[0] != '\0');
    }
    return err;
}

static void assert_refused(const struct request *r, const char *code)
{
    struct problem problem;
    assert_int_equal(check(r, ALL_KINDS, &problem), ERR_REFUSED);
    assert_string_equal(problem.code, code);
    assert_int_equal(problem.status, strcmp(code, "csr-weak-key") == 0 ? 422 : 400);
}

static const struct {
    const char *kind, *digest;
    enum key_kind reads_as;
} good[] = {
    {"P-256", "SHA256", KEY_P256},    {"P-256", "SHA384", KEY_P256},
    {"P-384", "SHA384", KEY_P384},    {"P-384", "SHA256", KEY_P384},
    {"ED25519", NULL, KEY_ED25519},   {"RSA2048", "SHA256", KEY_RSA},
    {"RSA2048", "SHA384", KEY_RSA},   {"RSA2048", "SHA512", KEY_RSA},
    {"RSA2048e3", "SHA256", KEY_RSA},
};

static void takes_what_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        EVP_PKEY *key = make_key(good[i].kind);
        struct request r;
        make_request(key, key, good[i].digest, &r);
        struct csr csr;
        struct problem problem = {0};
        assert_int_equal(csr_check(slice_of(r.der, r.len), ALL_KINDS, &csr, &problem), ERR_NONE);
        assert_int_equal(csr.spki.kind, good[i].reads_as);
        assert_true(slice_equal(csr.common_name, SLICE_LITERAL("thermo-1")));
        /* the key as OpenSSL writes it */
        uint8_t *spki = NULL;
        int len = i2d_PUBKEY(key, &spki);
        assert_true(len > 0 && slice_equal(csr.spki.der, slice_of(spki, (size_t)len)));
        OPENSSL_free(spki);
        EVP_PKEY_free(key);
    }
}

/* Each kind is taken where its bit is set, and nowhere else. */
static void looks_at_the_mask(void **state)
{
    (void)state;
    static const char *const kinds[KEY_KIND_COUNT] = {"P-256", "P-384", "ED25519", "RSA2048"};
    for (unsigned i = 0; i < KEY_KIND_COUNT; i++) {
        EVP_PKEY *key = make_key(kinds[i]);
        struct request r;
        struct problem problem;
        make_request(key, key, i == KEY_ED25519 ? NULL : "SHA256", &r);
        assert_int_equal(check(&r, 1U << i, &problem), ERR_NONE);
        assert_int_equal(check(&r, ALL_KINDS & ~(1U << i), &problem), ERR_REFUSED);
        assert_string_equal(problem.code, "csr-key-not-allowed");
        assert_non_null(strstr(problem.detail, key_kind_text((enum key_kind)i)));
        EVP_PKEY_free(key);
    }
}

static void refuses_bad_signatures(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        EVP_PKEY *key = make_key(good[i].kind);
        EVP_PKEY *foreign = make_key(good[i].kind);
        struct request r;
        /* signed by another key of the same kind */
        make_request(key, foreign, good[i].digest, &r);
        assert_refused(&r, "csr-bad-signature");
        /* one bit of the signature */
        make_request(key, key, good[i].digest, &r);
        r.der[r.len - 1] ^= 1;
        assert_refused(&r, "csr-bad-signature");
        r.der[r.len - 1] ^= 1;
        /* one bit of what is signed: the subject */
        struct csr csr;
        struct problem problem = {0};
        assert_int_equal(csr_check(slice_of(r.der, r.len), ALL_KINDS, &csr, &problem), ERR_NONE);
        r.der[csr.common_name.data - r.der] ^= 1;
        assert_refused(&r, "csr-bad-signature");
        EVP_PKEY_free(key);
        EVP_PKEY_free(foreign);
    }
}

/* A request whose key, of `kind`, is replaced by these bytes. */
static void with_key(const char *kind, const char *digest, struct slice raw, struct request *r)
{
    EVP_PKEY *key = make_key(kind);
    make_request(key, key, digest, r);
    EVP_PKEY_free(key);
    struct csr csr;
    assert_int_equal(csr_read(slice_of(r->der, r->len), &csr), ERR_NONE);
    if (csr.spki.kind != KEY_RSA) {
        assert_int_equal(csr.spki.key.len, raw.len);
        memcpy(r->der + (csr.spki.key.data - r->der), raw.data, raw.len);
        return;
    }
    /* SEQUENCE (4) INTEGER (4) 00 | modulus */
    assert_int_equal(raw.len, 256);
    memcpy(r->der + (csr.spki.key.data - r->der) + 9, raw.data, raw.len);
}

static void refuses_points_off_the_curve(void **state)
{
    (void)state;
    static const char *const curves[] = {"P-256", "P-384"};
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        struct request r;
        struct csr csr;
        EVP_PKEY *key = make_key(curves[i]);
        make_request(key, key, "SHA256", &r);
        EVP_PKEY_free(key);
        assert_int_equal(csr_read(slice_of(r.der, r.len), &csr), ERR_NONE);
        r.der[csr.spki.key.data - r.der + (ptrdiff_t)csr.spki.key.len - 1] ^= 1;
        assert_refused(&r, "csr-weak-key");
        /* coordinates beyond the field */
        uint8_t point[97];
        memset(point, 0xff, sizeof point);
        point[0] = 4;
        with_key(curves[i], "SHA256", slice_of(point, csr.spki.key.len), &r);
        assert_refused(&r, "csr-weak-key");
        /* x = y = 0 */
        memset(point + 1, 0, sizeof point - 1);
        with_key(curves[i], "SHA256", slice_of(point, csr.spki.key.len), &r);
        assert_refused(&r, "csr-weak-key");
    }
}

static void refuses_ed25519_points_of_small_order(void **state)
{
    (void)state;
    static const uint8_t order_8[32] = {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f,
                                        0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
                                        0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6,
                                        0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a};
    struct request r;
    uint8_t point[32] = {0};
    for (unsigned y = 0; y < 2; y++) {
        point[0] = (uint8_t)y;
        with_key("ED25519", NULL, slice_of(point, sizeof point), &r);
        assert_refused(&r, "csr-weak-key");
    }
    memcpy(point, order_8, sizeof point);
    for (unsigned sign = 0; sign < 2; sign++) {
        point[31] ^= 0x80;
        with_key("ED25519", NULL, slice_of(point, sizeof point), &r);
        assert_refused(&r, "csr-weak-key");
    }
    for (unsigned low = 0xec; low <= 0xee; low++) {
        memset(point, 0xff, sizeof point);
        point[0] = (uint8_t)low;
        point[31] = 0x7f;
        with_key("ED25519", NULL, slice_of(point, sizeof point), &r);
        assert_refused(&r, "csr-weak-key");
    }
}

static bool is_small_prime(unsigned n)
{
    for (unsigned d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return n > 1;
}

static bool has_small_factor(const BIGNUM *n)
{
    for (unsigned p = 2; p < 800; p++)
        if (is_small_prime(p) && BN_mod_word(n, p) == 0)
            return true;
    return false;
}

static void refuses_rsa_with_a_small_factor(void **state)
{
    (void)state;
    static const unsigned factors[] = {3, 5, 167, 751};
    for (size_t i = 0; i < ARRAY_LEN(factors); i++) {
        uint8_t bytes[256];
        struct request r;
        BIGNUM *n = BN_new();
        assert_int_equal(BN_rand(n, 2048, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
        while (BN_mod_word(n, factors[i]) != 0)
            assert_int_equal(BN_sub_word(n, 2), 1);
        assert_int_equal(BN_bn2binpad(n, bytes, sizeof bytes), (int)sizeof bytes);
        BN_free(n);
        with_key("RSA2048", "SHA256", slice_of(bytes, sizeof bytes), &r);
        assert_refused(&r, "csr-weak-key");
    }
}

/* A modulus with the mark of CVE-2017-15361: a power of 65537 modulo the product of small primes.
 */
static void refuses_rsa_of_the_broken_generator(void **state)
{
    (void)state;
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *product = BN_new(), *generator = BN_new(), *exponent = BN_new(), *n = BN_new();
    assert_int_equal(BN_set_word(generator, 65537), 1);
    assert_int_equal(BN_set_word(exponent, 123456789), 1);
    assert_int_equal(BN_set_word(product, 2), 1);
    for (unsigned p = 3; p <= 167; p++)
        if (is_small_prime(p))
            assert_int_equal(BN_mul_word(product, p), 1);
    assert_int_equal(BN_mod_exp(n, generator, exponent, product, ctx), 1);
    BIGNUM *step = BN_new(), *far = BN_new();
    /* up to 3 * 2^2046, so that it has 2048 bits */
    assert_int_equal(BN_set_word(far, 3), 1);
    assert_int_equal(BN_lshift(far, far, 2046), 1);
    assert_int_equal(BN_div(far, NULL, far, product, ctx), 1);
    assert_int_equal(BN_mul(step, far, product, ctx), 1);
    assert_int_equal(BN_add(n, n, step), 1);
    while (has_small_factor(n))
        assert_int_equal(BN_add(n, n, product), 1);
    assert_int_equal(BN_num_bits(n), 2048);
    uint8_t bytes[256];
    struct request r;
    assert_int_equal(BN_bn2binpad(n, bytes, sizeof bytes), (int)sizeof bytes);
    with_key("RSA2048", "SHA256", slice_of(bytes, sizeof bytes), &r);
    struct problem problem;
    assert_int_equal(check(&r, ALL_KINDS, &problem), ERR_REFUSED);
    assert_string_equal(problem.code, "csr-weak-key");
    assert_non_null(strstr(problem.detail, "CVE-2017-15361"));
    /* one off, and it is only a wrong signature */
    do
        assert_int_equal(BN_add_word(n, 2), 1);
    while (has_small_factor(n));
    assert_int_equal(BN_bn2binpad(n, bytes, sizeof bytes), (int)sizeof bytes);
    with_key("RSA2048", "SHA256", slice_of(bytes, sizeof bytes), &r);
    assert_refused(&r, "csr-bad-signature");
    BN_free(product);
    BN_free(generator);
    BN_free(exponent);
    BN_free(n);
    BN_free(step);
    BN_free(far);
    BN_CTX_free(ctx);
}

static void refuses_kinds_that_are_not_taken(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *digest;
    } cases[] = {{"RSA1024", "SHA256"}, {"P-521", "SHA256"},   {"secp256k1", "SHA256"},
                 {"P-256", "SHA512"},   {"RSA2048", "SHA1"},   {"P-256", "SHA1"},
                 {"P-224", "SHA256"},   {"RSA2048", "SHA224"}, {"brainpoolP256r1", "SHA256"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EVP_PKEY *key = make_key(cases[i].kind);
        struct request r;
        make_request(key, key, cases[i].digest, &r);
        assert_refused(&r, "csr-key-not-allowed");
        EVP_PKEY_free(key);
    }
}

static void refuses_malformed(void **state)
{
    (void)state;
    EVP_PKEY *key = make_key("P-256");
    struct request r, bad;
    make_request(key, key, "SHA256", &r);
    EVP_PKEY_free(key);
    bad = r;
    bad.len = 0;
    assert_refused(&bad, "csr-malformed");
    for (bad.len = 1; bad.len < r.len; bad.len += 7)
        assert_refused(&bad, "csr-malformed");
    bad = r;
    bad.der[bad.len++] = 0;
    assert_refused(&bad, "csr-malformed");
    static uint8_t large[CSR_MAX + 1];
    struct csr csr;
    struct problem problem = {0};
    assert_int_equal(csr_check(slice_of(large, sizeof large), ALL_KINDS, &csr, &problem),
                     ERR_REFUSED);
    assert_string_equal(problem.code, "csr-malformed");
}

static void *check_often(void *arg)
{
    const struct request *requests = arg;
    for (int n = 0; n < 200; n++) {
        struct csr csr;
        struct problem problem = {0};
        const struct request *r = &requests[n % 3];
        if (csr_check(slice_of(r->der, r->len), ALL_KINDS, &csr, &problem) != ERR_NONE)
            return arg;
    }
    return NULL;
}

static void works_on_several_threads(void **state)
{
    (void)state;
    static const char *const kinds[] = {"P-256", "P-384", "RSA2048"};
    static struct request requests[3];
    for (size_t i = 0; i < 3; i++) {
        EVP_PKEY *key = make_key(kinds[i]);
        make_request(key, key, "SHA256", &requests[i]);
        EVP_PKEY_free(key);
    }
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_often, requests), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_on_several_threads), /* first: it races to prepare */
        cmocka_unit_test(takes_what_is_sound),
        cmocka_unit_test(looks_at_the_mask),
        cmocka_unit_test(refuses_bad_signatures),
        cmocka_unit_test(refuses_points_off_the_curve),
        cmocka_unit_test(refuses_ed25519_points_of_small_order),
        cmocka_unit_test(refuses_rsa_with_a_small_factor),
        cmocka_unit_test(refuses_rsa_of_the_broken_generator),
        cmocka_unit_test(refuses_kinds_that_are_not_taken),
        cmocka_unit_test(refuses_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
