#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/asn1.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "core/x509.h"
#include "tests/vectors/x509_vectors.h"

static const struct {
    struct slice der;
    enum key_kind kind;
    const char *uri;
} good[] = {
    {VECTOR(cert_p256), KEY_P256, "spiffe://fleet.example/device/1"},
    {VECTOR(cert_ed25519), KEY_ED25519, "spiffe://fleet.example/device/1"},
    {VECTOR(cert_rsa2048), KEY_RSA, "spiffe://fleet.example/device/1"},
    {VECTOR(cert_root_p384), KEY_P384, ""},
};

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(time, &tm), 1);
    return timegm(&tm);
}

static void agrees_with_openssl(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct certificate c;
        assert_int_equal(certificate_read(good[i].der, &c), ERR_NONE);
        assert_true(slice_equal(c.der, good[i].der));
        assert_int_equal(c.spki.kind, good[i].kind);
        assert_true(slice_equal(c.uri, slice_of_text(good[i].uri)));

        const uint8_t *at = good[i].der.data;
        X509 *x = d2i_X509(NULL, &at, (long)good[i].der.len);
        assert_non_null(x);
        const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
        assert_true(slice_equal(slice_of(serial->data, (size_t)serial->length), c.serial));
        assert_true(seconds_of(X509_get0_notBefore(x)) == c.not_before);
        assert_true(seconds_of(X509_get0_notAfter(x)) == c.not_after);
        const ASN1_OCTET_STRING *keys[] = {X509_get0_authority_key_id(x),
                                           X509_get0_subject_key_id(x)};
        const struct slice found[] = {c.authority_key, c.subject_key};
        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            assert_true(keys[k] == NULL ? found[k].len == 0
                                        : slice_equal(found[k], slice_of(keys[k]->data,
                                                                         (size_t)keys[k]->length)));
        const uint8_t *name;
        size_t len;
        assert_int_equal(X509_NAME_get0_der(X509_get_issuer_name(x), &name, &len), 1);
        assert_true(slice_equal(slice_of(name, len), c.issuer));
        assert_int_equal(X509_NAME_get0_der(X509_get_subject_name(x), &name, &len), 1);
        assert_true(slice_equal(slice_of(name, len), c.subject));
        uint8_t *spki = NULL;
        int spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
        assert_true(slice_equal(slice_of(spki, (size_t)spki_len), c.spki.der));
        OPENSSL_free(spki);
        X509_free(x);
    }
    struct certificate leaf;
    assert_int_equal(certificate_read(good[0].der, &leaf), ERR_NONE);
    assert_true(
        slice_equal(leaf.serial,
                    SLICE_LITERAL("\xf1\xe2\xd3\xc4\xb5\xa6\x97\x88\x79\x6a\x5b\x4c\x3d\x2e\x1f")));
}

static void refuses_every_truncation_and_any_byte_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint8_t copy[CERTIFICATE_MAX];
        size_t len = good[i].der.len;
        memcpy(copy, good[i].der.data, len);
        copy[len] = 0;
        struct certificate c = {.not_before = 5};
        assert_int_equal(certificate_read(slice_of(copy, len + 1), &c), ERR_SYNTAX);
        for (size_t n = 0; n < len; n++) {
            uint8_t *cut = test_malloc(n + 1);
            memcpy(cut, copy, n);
            assert_int_equal(certificate_read(slice_of(cut, n), &c), ERR_SYNTAX);
            test_free(cut);
        }
        assert_true(c.not_before == 5);
    }
    static const uint8_t large[CERTIFICATE_MAX + 1] = {0x30};
    struct certificate c;
    assert_int_equal(certificate_read(slice_of(large, sizeof large), &c), ERR_LIMIT);
    assert_int_equal(certificate_read(VECTOR(cert_v1), &c), ERR_UNSUPPORTED);
    /* Where no version stands, it is version 1. */
    assert_int_equal(certificate_read(VECTOR(csr_p256), &c), ERR_UNSUPPORTED);
}

/* cert_p256 with the `nth` of `from` replaced by `to`, which is as long. */
static enum err read_patched(struct slice from, struct slice to, size_t nth,
                             struct certificate *ret_certificate)
{
    static uint8_t copy[CERTIFICATE_MAX];
    struct slice der = VECTOR(cert_p256);
    memcpy(copy, der.data, der.len);
    assert_int_equal(from.len, to.len);
    bool found = false;
    for (size_t i = 0; i + from.len <= der.len && !found; i++) {
        if (memcmp(der.data + i, from.data, from.len) != 0 || nth-- > 0)
            continue;
        memcpy(copy + i, to.data, to.len);
        found = true;
    }
    assert_true(found);
    return certificate_read(slice_of(copy, der.len), ret_certificate);
}

static void refuses_patched_certificates(void **state)
{
    (void)state;
#define PATCH(from, to, nth, err)                                                                  \
    {                                                                                              \
        SLICE_LITERAL(from), SLICE_LITERAL(to), nth, err                                           \
    }
    static const struct {
        struct slice from, to;
        size_t nth;
        enum err err;
    } cases[] = {
        PATCH("device/1", "device/2", 0, ERR_NONE),
        /* version: 2, 1 spelled out, none */
        PATCH("\xa0\x03\x02\x01\x02", "\xa0\x03\x02\x01\x01", 0, ERR_UNSUPPORTED),
        PATCH("\xa0\x03\x02\x01\x02", "\xa0\x03\x02\x01\x00", 0, ERR_UNSUPPORTED),
        PATCH("\xa0\x03\x02\x01\x02", "\xa3\x03\x02\x01\x02", 0, ERR_SYNTAX),
        /* serial: negative, padded */
        PATCH("\x02\x10\x00\xf1", "\x02\x10\x80\xf1", 0, ERR_SYNTAX),
        PATCH("\x02\x10\x00\xf1", "\x02\x10\x00\x71", 0, ERR_SYNTAX),
        /* the algorithm inside is not the one outside */
        PATCH("\x2a\x86\x48\xce\x3d\x04\x03\x02", "\x2a\x86\x48\xce\x3d\x04\x03\x03", 0,
              ERR_SYNTAX),
        PATCH("\x2a\x86\x48\xce\x3d\x04\x03\x02", "\x2a\x86\x48\xce\x3d\x04\x03\x03", 1,
              ERR_SYNTAX),
        /* times */
        PATCH("\x17\x0d\x32\x36\x31\x31", "\x17\x0d\x32\x36\x31\x33", 0, ERR_SYNTAX),
        PATCH("\x17\x0d\x32\x36\x31\x31", "\x16\x0d\x32\x36\x31\x31", 0, ERR_SYNTAX),
        /* the key */
        PATCH("\x03\x42\x00\x04", "\x03\x42\x00\x05", 0, ERR_SYNTAX),
        PATCH("\x2a\x86\x48\xce\x3d\x03\x01\x07", "\x2a\x86\x48\xce\x3d\x03\x01\x09", 0,
              ERR_UNSUPPORTED),
        /* extensions: subjectAltName twice, a critical flag that is not DER, URI with a blank */
        PATCH("\x55\x1d\x25", "\x55\x1d\x11", 0, ERR_SYNTAX),
        /* key identifiers: twice, of another form */
        PATCH("\x55\x1d\x25", "\x55\x1d\x23", 0, ERR_SYNTAX),
        PATCH("\x01\x01\xff", "\x01\x01\x00", 0, ERR_SYNTAX),
        PATCH("device/1", "device 1", 0, ERR_SYNTAX),
        PATCH("device/1", "device\0001", 0, ERR_SYNTAX),
        PATCH("device/1",
              "device\xff"
              "1",
              0, ERR_SYNTAX),
        PATCH("\x86\x0aurn:second", "\x86\x0aurn:se\ncnd", 0, ERR_SYNTAX),
        PATCH("\x86\x0aurn:second", "\x86\x09urn:second", 0, ERR_SYNTAX),
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct certificate c;
        enum err err = read_patched(cases[i].from, cases[i].to, cases[i].nth, &c);
        if (err != cases[i].err)
            fail_msg("case %zu: %s", i, err_text(err));
    }
    struct certificate c;
    /* Without subjectAltName there is no URI. */
    assert_int_equal(
        read_patched(SLICE_LITERAL("\x55\x1d\x11"), SLICE_LITERAL("\x55\x1d\x7f"), 0, &c),
        ERR_NONE);
    assert_int_equal(c.uri.len, 0);
}

static void limits_the_serial(void **state)
{
    (void)state;
    static const struct slice source = VECTOR(cert_p256);
    for (size_t n = SERIAL_MAX; n <= SERIAL_MAX + 1; n++) {
        /* The parts of cert_p256 around a serial of n bytes. */
        struct reader r = reader_over(source);
        struct reader outer = der_enter(&r, DER_SEQUENCE);
        struct reader tbs = der_enter(&outer, DER_SEQUENCE);
        (void)der_read(&tbs, DER_CONTEXT_CONSTRUCTED(0));
        (void)der_read(&tbs, DER_INTEGER);
        uint8_t serial[SERIAL_MAX + 1], buffer[CERTIFICATE_MAX];
        memset(serial, 0xff, sizeof serial);
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        size_t whole = der_mark(&w);
        der_put_raw(&w, reader_rest(&outer));
        size_t inner = der_mark(&w);
        der_put_raw(&w, reader_rest(&tbs));
        der_put_unsigned(&w, slice_of(serial, n));
        der_put_raw(&w, SLICE_LITERAL("\xa0\x03\x02\x01\x02"));
        der_wrap(&w, DER_SEQUENCE, inner);
        der_wrap(&w, DER_SEQUENCE, whole);
        assert_int_equal(w.err, ERR_NONE);
        struct certificate c;
        assert_int_equal(certificate_read(der_writer_bytes(&w), &c),
                         n <= SERIAL_MAX ? ERR_NONE : ERR_LIMIT);
    }
}

static void names_are_walked(void **state)
{
    (void)state;
    struct certificate c;
    assert_int_equal(certificate_read(VECTOR(cert_p256), &c), ERR_NONE);
    struct reader r = reader_over(c.subject);
    struct x509_name name = x509_name_read(&r);
    assert_int_equal(reader_finish(&r), ERR_NONE);
    assert_int_equal(name.common_names, 1);
    assert_int_equal(name.common_name_tag, DER_UTF8_STRING);
    assert_true(slice_equal(name.common_name, SLICE_LITERAL("sensor-0001")));
    assert_true(slice_equal(name.der, c.subject));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_openssl),
        cmocka_unit_test(refuses_every_truncation_and_any_byte_more),
        cmocka_unit_test(refuses_patched_certificates),
        cmocka_unit_test(limits_the_serial),
        cmocka_unit_test(names_are_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
