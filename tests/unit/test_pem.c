#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/crypto.h"
#include "core/base64.h"
#include "pki/pem.h"
#include "tests/vectors/x509_vectors.h"

#define BEGIN    "-----BEGIN CERTIFICATE-----"
#define END      "-----END CERTIFICATE-----"
#define TEXT_MAX 20000

static const struct {
    struct slice der;
    enum key_kind kind;
} good[] = {
    {VECTOR(cert_p256), KEY_P256},
    {VECTOR(cert_root_p384), KEY_P384},
    {VECTOR(cert_ed25519), KEY_ED25519},
    {VECTOR(cert_rsa2048), KEY_RSA},
};

/* As OpenSSL, which wrote the same format long before us, has it; NUL-terminated. */
static void write_pem(struct slice der, const char *label, char text[TEXT_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio(bio, label, "", der.data, (long)der.len) > 0);
    int n = BIO_read(bio, text, TEXT_MAX - 1);
    assert_in_range(n, 1, TEXT_MAX - 2);
    text[n] = '\0';
    BIO_free(bio);
}

/* Outputs are untouched where it fails. */
static enum err hashes(struct slice pem, struct slice der)
{
    uint8_t certificate[SHA256_SIZE], spki[SHA256_SIZE], expected[SHA256_SIZE];
    uint8_t untouched[SHA256_SIZE];
    memset(untouched, 0x5a, sizeof untouched);
    memset(certificate, 0x5a, sizeof certificate);
    memset(spki, 0x5a, sizeof spki);
    enum err err = pem_certificate_hashes(pem, certificate, spki);
    if (err != ERR_NONE) {
        assert_memory_equal(certificate, untouched, sizeof untouched);
        assert_memory_equal(spki, untouched, sizeof untouched);
        return err;
    }
    crypto_sha256_one(der, expected);
    assert_memory_equal(certificate, expected, sizeof expected);
    const uint8_t *at = der.data;
    X509 *x = d2i_X509(NULL, &at, (long)der.len);
    uint8_t *key = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &key);
    assert_true(n > 0);
    crypto_sha256_one(slice_of(key, (size_t)n), expected);
    assert_memory_equal(spki, expected, sizeof expected);
    OPENSSL_free(key);
    X509_free(x);
    return ERR_NONE;
}

static enum err hashes_of_text(const char *pem, struct slice der)
{
    return hashes(slice_of_text(pem), der);
}

static void takes_one_certificate(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char text[TEXT_MAX];
        write_pem(good[i].der, "CERTIFICATE", text);
        assert_int_equal(hashes_of_text(text, good[i].der), ERR_NONE);
        struct certificate c;
        assert_int_equal(certificate_read(good[i].der, &c), ERR_NONE);
        assert_int_equal(c.spki.kind, good[i].kind);
    }
}

static void writes_what_openssl_writes(void **state)
{
    (void)state;
    char all[TEXT_MAX] = "";
    uint8_t ders[4 * CERTIFICATE_MAX], written[TEXT_MAX];
    size_t ders_len = 0;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char text[TEXT_MAX];
        write_pem(good[i].der, "CERTIFICATE", text);
        struct writer w = writer_over(written, sizeof written);
        pem_write_certificate(&w, good[i].der);
        assert_int_equal(w.err, ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(text)));
        memcpy(ders + ders_len, good[i].der.data, good[i].der.len);
        ders_len += good[i].der.len;
        (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s", text);
    }
    struct writer w = writer_over(written, sizeof written);
    assert_int_equal(pem_write_certificates(&w, slice_of(ders, ders_len)), ERR_NONE);
    assert_true(slice_equal(writer_bytes(&w), slice_of_text(all)));
    assert_int_equal(hashes(writer_bytes(&w), good[0].der), ERR_SYNTAX); /* four are not one */

    w = writer_over(written, sizeof written);
    assert_int_equal(pem_write_certificates(&w, slice_of(NULL, 0)), ERR_NONE);
    assert_int_equal(w.len, 0);
    assert_int_equal(pem_write_certificates(&w, slice_of(ders, ders_len - 1)), ERR_SYNTAX);
    w = writer_over(written, strlen(all) - 1);
    assert_int_equal(pem_write_certificates(&w, slice_of(ders, ders_len)), ERR_LIMIT);
}

/* `every` characters of base64 to a line, between `before` and `after`, lines ended by `eol`. */
static void lay_out(struct slice der, size_t every, const char *eol, const char *before,
                    const char *after, char text[TEXT_MAX])
{
    char one_line[BASE64_SIZE(CERTIFICATE_MAX) + 1];
    struct writer w = writer_over(one_line, sizeof one_line - 1);
    base64_write(&w, der);
    assert_int_equal(w.err, ERR_NONE);
    one_line[w.len] = '\0';
    int n = snprintf(text, TEXT_MAX, "%s" BEGIN "%s", before, eol);
    for (size_t at = 0; at < w.len; at += every)
        n += snprintf(text + n, TEXT_MAX - (size_t)n, "%.*s%s", (int)every, one_line + at, eol);
    (void)snprintf(text + n, TEXT_MAX - (size_t)n, END "%s", after);
}

static void forgives_how_it_is_laid_out(void **state)
{
    (void)state;
    static const struct {
        size_t every;
        const char *eol, *before, *after;
    } cases[] = {
        {64, "\n", "", "\n"},
        {64, "\r\n", "", "\r\n"},
        {64, "\n", "", ""},
        {76, "\n", "", "\n"},
        {TEXT_MAX, "\n", "", "\n"},
        {TEXT_MAX, "", "", ""},
        {1, "\n", "", "\n"},
        {63, "\r", "", "\r"},
        {64, "\n", "\n\n", "\n\n"},
        {64, " \t\r\n", " \t\r\n", " \t\r\n"},
        {64, "\n\n", "\r\n", "\r\n "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[TEXT_MAX];
        lay_out(good[0].der, cases[i].every, cases[i].eol, cases[i].before, cases[i].after, text);
        if (hashes_of_text(text, good[0].der) != ERR_NONE)
            fail_msg("case %zu: %s", i, text);
    }
}

/* Parts of the text: what stands before, the body's first and last, what stands after. */
static void refuses_what_is_not_one_certificate(void **state)
{
    (void)state;
    char pem[TEXT_MAX], text[2 * TEXT_MAX];
    write_pem(good[0].der, "CERTIFICATE", pem);
    const char *body = strchr(pem, '\n') + 1;
    int body_len = (int)(strstr(pem, "-----END") - body);
    static const struct {
        const char *before, *begin, *inside, *end, *after;
    } cases[] = {
        {"x", BEGIN "\n", "", END, "\n"},
        {"", BEGIN "\n", "", END, "\nx"},
        {"", BEGIN "\n", "", END "-", "\n"},
        {"", "-" BEGIN "\n", "", END, "\n"},
        {"", "-----BEGIN CERTIFICATE----\n", "", END, "\n"},
        {"", "-----BEGIN CERTIFICATE-----x\n!", "", END, "\n"},
        {"", "-----begin certificate-----\n", "", "-----end certificate-----", "\n"},
        {"", "-----BEGIN TRUSTED CERTIFICATE-----\n", "", "-----END TRUSTED CERTIFICATE-----", ""},
        {"", "-----BEGIN X509 CERTIFICATE-----\n", "", "-----END X509 CERTIFICATE-----", ""},
        {"", "-----BEGIN PRIVATE KEY-----\n", "", "-----END PRIVATE KEY-----", ""},
        {"", "-----BEGIN PRIVATE KEY-----\n", "", END, "\n"},
        {"", BEGIN "\n", "", "-----END PRIVATE KEY-----", "\n"},
        {"", BEGIN "\nProc-Type: 4,ENCRYPTED\n\n", "", END, "\n"},
        {"", BEGIN "\n", "=", END, "\n"},
        {"", BEGIN "\n", "AAAA", END, "\n"}, /* bytes behind the certificate */
        {"", BEGIN "\n", "A", END, "\n"},
        {"", BEGIN "\n", "\xc3\xa9", END, "\n"},
        {"", BEGIN "\n", END "\n" BEGIN, END, "\n"},
        {"subject=CN = x\n", BEGIN "\n", "", END, "\n"},
        {"", "", "", END, "\n"},
        {"", BEGIN "\n", "", "", "\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)snprintf(text, sizeof text, "%s%s%.*s%s%s%s", cases[i].before, cases[i].begin,
                       body_len, body, cases[i].inside, cases[i].end, cases[i].after);
        if (hashes_of_text(text, good[0].der) != ERR_SYNTAX)
            fail_msg("case %zu is taken: %s", i, text);
    }
    /* the same without any of that is taken */
    (void)snprintf(text, sizeof text, BEGIN "\n%.*s" END "\n", body_len, body);
    assert_int_equal(hashes_of_text(text, good[0].der), ERR_NONE);

    static const char *const empty[] = {
        "",
        " \n",
        "x",
        BEGIN,
        END,
        BEGIN END,
        BEGIN "\n" END "\n",
        END "\n" BEGIN,
        "-----BEGIN CERTIFICATE-----END CERTIFICATE-----",
    };
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        assert_int_equal(hashes_of_text(empty[i], good[0].der), ERR_SYNTAX);
    assert_int_equal(hashes(slice_of(NULL, 0), good[0].der), ERR_SYNTAX);
}

static void refuses_two_certificates(void **state)
{
    (void)state;
    char first[TEXT_MAX], second[TEXT_MAX], both[2 * TEXT_MAX];
    write_pem(good[0].der, "CERTIFICATE", first);
    write_pem(good[1].der, "CERTIFICATE", second);
    (void)snprintf(both, sizeof both, "%s%s", first, second);
    assert_int_equal(hashes_of_text(both, good[0].der), ERR_SYNTAX);
    (void)snprintf(both, sizeof both, "%s\r\n%s", first, first);
    assert_int_equal(hashes_of_text(both, good[0].der), ERR_SYNTAX);
    /* two in one: DER after DER */
    uint8_t ders[2 * CERTIFICATE_MAX];
    memcpy(ders, good[0].der.data, good[0].der.len);
    memcpy(ders + good[0].der.len, good[0].der.data, good[0].der.len);
    write_pem(slice_of(ders, 2 * good[0].der.len), "CERTIFICATE", both);
    assert_int_equal(hashes_of_text(both, good[0].der), ERR_SYNTAX);
}

/* Each prefix, each byte changed: refused, or (where white space or the unlooked-at signature was
 * changed) another certificate; never a crash, never half an answer. */
static void survives_damage(void **state)
{
    (void)state;
    char pem[TEXT_MAX], text[TEXT_MAX];
    write_pem(good[0].der, "CERTIFICATE", pem);
    size_t len = strlen(pem) - 1; /* without the last line end */
    for (size_t n = 0; n < len; n++)
        assert_int_equal(hashes(slice_of(pem, n), good[0].der), ERR_SYNTAX);
    uint8_t whole[SHA256_SIZE], damaged[SHA256_SIZE], spki[SHA256_SIZE];
    assert_int_equal(pem_certificate_hashes(slice_of(pem, len), whole, spki), ERR_NONE);
    for (size_t n = 0; n < len; n++) {
        memcpy(text, pem, len);
        text[n] = (char)(text[n] ^ 2);
        enum err err = pem_certificate_hashes(slice_of(text, len), damaged, spki);
        if (err == ERR_NONE)
            assert_memory_not_equal(damaged, whole, sizeof whole);
        bool frame = n < strlen(BEGIN) || n >= len - strlen(END);
        assert_true(!frame || err == ERR_SYNTAX);
    }
}

/* A certificate for `key` with a name of so many characters. */
static struct slice make_certificate(EVP_PKEY *key, size_t name_len, uint8_t *der, size_t max)
{
    static char uri[2 * CERTIFICATE_MAX];
    X509 *x = X509_new();
    X509V3_CTX ctx;
    (void)snprintf(uri, sizeof uri, "URI:urn:%0*d", (int)name_len, 7);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, uri);
    assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 17), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                                (const uint8_t *)"sensor", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(x, X509_get_subject_name(x)), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
    assert_int_equal(X509_set_pubkey(x, key), 1);
    assert_int_equal(X509_add_ext(x, name, -1), 1);
    /* by a key of its own, whose signatures are all of one length */
    EVP_PKEY *signer = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_true(X509_sign(x, signer, NULL) > 0);
    int n = i2d_X509(x, NULL);
    assert_in_range(n, 1, max);
    uint8_t *at = der;
    (void)i2d_X509(x, &at);
    EVP_PKEY_free(signer);
    X509_EXTENSION_free(name);
    X509_free(x);
    return slice_of(der, (size_t)n);
}

static void keeps_to_its_limit(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    uint8_t der[2 * CERTIFICATE_MAX];
    char text[TEXT_MAX];
    size_t name_len = 3500;
    size_t rest = make_certificate(key, name_len, der, sizeof der).len - name_len;
    for (size_t len = CERTIFICATE_MAX - 1; len <= CERTIFICATE_MAX + 1; len++) {
        struct slice c = make_certificate(key, len - rest, der, sizeof der);
        assert_int_equal(c.len, len);
        write_pem(c, "CERTIFICATE", text);
        assert_int_equal(hashes_of_text(text, c), len <= CERTIFICATE_MAX ? ERR_NONE : ERR_LIMIT);
    }
    EVP_PKEY_free(key);
    /* base64 without end */
    static char endless[1 << 20];
    memset(endless, 'A', sizeof endless);
    memcpy(endless, BEGIN, strlen(BEGIN));
    memcpy(endless + sizeof endless - strlen(END), END, strlen(END));
    assert_int_equal(hashes(slice_of(endless, sizeof endless), good[0].der), ERR_LIMIT);
}

static void refuses_keys_that_are_not_taken(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *detail;
        size_t bits;
        enum err err;
    } cases[] = {
        {"RSA", NULL, 1024, ERR_UNSUPPORTED}, {"RSA", NULL, 2047, ERR_UNSUPPORTED},
        {"RSA", NULL, 2048, ERR_NONE},        {"EC", "P-224", 0, ERR_UNSUPPORTED},
        {"EC", "P-521", 0, ERR_UNSUPPORTED},  {"EC", "secp256k1", 0, ERR_UNSUPPORTED},
        {"ED448", NULL, 0, ERR_UNSUPPORTED},  {"X25519", NULL, 0, ERR_UNSUPPORTED},
        {"ED25519", NULL, 0, ERR_NONE},       {"EC", "P-384", 0, ERR_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EVP_PKEY *key = NULL;
        if (cases[i].bits != 0)
            key = EVP_PKEY_Q_keygen(NULL, NULL, cases[i].kind, cases[i].bits);
        else if (cases[i].detail != NULL)
            key = EVP_EC_gen(cases[i].detail);
        else
            key = EVP_PKEY_Q_keygen(NULL, NULL, cases[i].kind);
        assert_non_null(key);
        uint8_t der[CERTIFICATE_MAX];
        char text[TEXT_MAX];
        struct slice c = make_certificate(key, 20, der, sizeof der);
        write_pem(c, "CERTIFICATE", text);
        enum err err = hashes_of_text(text, c);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
        EVP_PKEY_free(key);
    }
    /* no certificate at all, and one of the first version */
    char text[TEXT_MAX];
    write_pem(VECTOR(csr_p256), "CERTIFICATE", text);
    assert_int_not_equal(hashes_of_text(text, good[0].der), ERR_NONE);
    write_pem(VECTOR(cert_v1), "CERTIFICATE", text);
    assert_int_equal(hashes_of_text(text, good[0].der), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_one_certificate),
        cmocka_unit_test(writes_what_openssl_writes),
        cmocka_unit_test(forgives_how_it_is_laid_out),
        cmocka_unit_test(refuses_what_is_not_one_certificate),
        cmocka_unit_test(refuses_two_certificates),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(keeps_to_its_limit),
        cmocka_unit_test(refuses_keys_that_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
