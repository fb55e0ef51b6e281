#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base64.h"
#include "core/est.h"
#include "core/x509.h"
#include "tests/vectors/x509_vectors.h"

static void requests_come_back(void **state)
{
    (void)state;
    static const struct slice cases[] = {VECTOR(csr_p256), VECTOR(csr_ed25519),
                                         VECTOR(csr_rsa2048)};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t text[EST_REQUEST_MAX], der[CSR_MAX];
        struct writer w = writer_over(text, sizeof text);
        est_write_request(&w, cases[i]);
        assert_int_equal(w.err, ERR_NONE);
        struct slice back;
        assert_int_equal(est_read_request(writer_bytes(&w), der, sizeof der, &back), ERR_NONE);
        assert_true(slice_equal(back, cases[i]));
        assert_int_equal(est_read_request(writer_bytes(&w), der, cases[i].len - 1, &back),
                         ERR_LIMIT);
        /* RFC 8951 section 3.1: unwrapped is as good. */
        w = writer_over(text, sizeof text);
        base64_write(&w, cases[i]);
        assert_int_equal(est_read_request(writer_bytes(&w), der, sizeof der, &back), ERR_NONE);
        assert_true(slice_equal(back, cases[i]));
    }
}

static void refuses_bad_requests(void **state)
{
    (void)state;
    uint8_t der[CSR_MAX];
    struct slice back = {NULL, 99};
    assert_int_equal(est_read_request(SLICE_LITERAL(""), der, sizeof der, &back), ERR_SYNTAX);
    assert_int_equal(est_read_request(SLICE_LITERAL("\r\n"), der, sizeof der, &back), ERR_SYNTAX);
    assert_int_equal(est_read_request(SLICE_LITERAL("MIIB!"), der, sizeof der, &back), ERR_SYNTAX);
    assert_int_equal(est_read_request(SLICE_LITERAL("-----BEGIN CERTIFICATE REQUEST-----\n"), der,
                                      sizeof der, &back),
                     ERR_SYNTAX);
    static uint8_t blanks[EST_REQUEST_MAX + 1];
    memset(blanks, ' ', sizeof blanks);
    assert_int_equal(est_read_request(slice_of(blanks, sizeof blanks), der, sizeof der, &back),
                     ERR_LIMIT);
    assert_int_equal(back.len, 99);
}

/* What we write for two certificates is, byte for byte, what openssl crl2pkcs7 wrote. */
static void answers_agree_with_openssl(void **state)
{
    (void)state;
    static const struct slice certificates[] = {VECTOR(cert_p256), VECTOR(cert_root_p384)};
    uint8_t text[EST_RESPONSE_MAX], expected[EST_RESPONSE_MAX], scratch[4096];
    struct writer w = writer_over(text, sizeof text);
    assert_int_equal(est_write_certificates(&w, certificates, 2, scratch, sizeof scratch),
                     ERR_NONE);
    struct writer e = writer_over(expected, sizeof expected);
    base64_write_lines(&e, VECTOR(p7_two));
    assert_true(slice_equal(writer_bytes(&w), writer_bytes(&e)));

    struct slice back[EST_CERTIFICATES_MAX];
    size_t n = 0;
    assert_int_equal(est_read_certificates(writer_bytes(&w), scratch, sizeof scratch, back, &n),
                     ERR_NONE);
    assert_int_equal(n, 2);
    assert_true(slice_equal(back[0], certificates[0]));
    assert_true(slice_equal(back[1], certificates[1]));
}

static void writes_up_to_the_limit(void **state)
{
    (void)state;
    struct slice certificates[EST_CERTIFICATES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(certificates); i++)
        certificates[i] = i % 2 ? VECTOR(cert_rsa2048) : VECTOR(cert_ed25519);
    static uint8_t text[EST_RESPONSE_MAX], scratch[EST_RESPONSE_MAX];
    for (size_t n = 0; n <= ARRAY_LEN(certificates); n++) {
        struct writer w = writer_over(text, sizeof text);
        enum err err = est_write_certificates(&w, certificates, n, scratch, sizeof scratch);
        if (n == 0 || n > EST_CERTIFICATES_MAX) {
            assert_int_equal(err, ERR_LIMIT);
            continue;
        }
        assert_int_equal(err, ERR_NONE);
        struct slice back[EST_CERTIFICATES_MAX];
        size_t back_n = 0;
        assert_int_equal(
            est_read_certificates(writer_bytes(&w), scratch, sizeof scratch, back, &back_n),
            ERR_NONE);
        assert_int_equal(back_n, n);
        for (size_t i = 0; i < n; i++)
            assert_true(slice_equal(back[i], certificates[i]));
    }
}

static void refuses_to_write(void **state)
{
    (void)state;
    uint8_t text[4096], scratch[4096];
    struct slice one = VECTOR(cert_p256);
    struct writer w = writer_over(text, sizeof text);
    assert_int_equal(est_write_certificates(&w, &one, 1, scratch, one.len), ERR_LIMIT);
    w = writer_over(text, one.len);
    assert_int_equal(est_write_certificates(&w, &one, 1, scratch, sizeof scratch), ERR_LIMIT);
    w = writer_over(text, sizeof text);
    struct slice cut = slice_of(one.data, one.len - 1);
    assert_int_equal(est_write_certificates(&w, &cut, 1, scratch, sizeof scratch), ERR_SYNTAX);
    struct slice empty = {NULL, 0};
    assert_int_equal(est_write_certificates(&w, &empty, 1, scratch, sizeof scratch), ERR_SYNTAX);
    static uint8_t large[CERTIFICATE_MAX + 1];
    struct slice too_large = slice_of(large, sizeof large);
    assert_int_equal(est_write_certificates(&w, &too_large, 1, scratch, sizeof scratch), ERR_LIMIT);
    assert_int_equal(w.len, 0);
}

static enum err read_der(struct slice der, size_t max)
{
    static uint8_t text[EST_RESPONSE_MAX], buffer[EST_RESPONSE_MAX];
    struct writer w = writer_over(text, sizeof text);
    base64_write_lines(&w, der);
    assert_int_equal(w.err, ERR_NONE);
    struct slice back[EST_CERTIFICATES_MAX];
    size_t n = 99;
    enum err err = est_read_certificates(writer_bytes(&w), buffer, max, back, &n);
    assert_true(err == ERR_NONE ? n >= 1 && n <= EST_CERTIFICATES_MAX : n == 99);
    return err;
}

static void refuses_bad_answers(void **state)
{
    (void)state;
    static const struct slice good = VECTOR(p7_two);
    assert_int_equal(read_der(good, good.len), ERR_NONE);
    assert_int_equal(read_der(good, good.len - 1), ERR_LIMIT);
    assert_int_equal(read_der(VECTOR(p7_nine), 8192), ERR_LIMIT);
    assert_int_equal(read_der(VECTOR(p7_none), 8192), ERR_SYNTAX);
    assert_int_equal(read_der(VECTOR(p7_signed), 8192), ERR_UNSUPPORTED);
    assert_int_equal(read_der(VECTOR(cert_p256), 8192), ERR_SYNTAX);
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(read_der(slice_of(good.data, n), 8192), ERR_SYNTAX);
    uint8_t more[2048] = {0};
    memcpy(more, good.data, good.len);
    assert_int_equal(read_der(slice_of(more, good.len + 1), 8192), ERR_SYNTAX);

    static const struct {
        size_t at;
        uint8_t byte;
        enum err err;
    } patches[] = {
        {14, 0x03, ERR_UNSUPPORTED}, /* another content type: envelopedData */
        {25, 0x03, ERR_UNSUPPORTED}, /* version 3 */
        {25, 0x81, ERR_SYNTAX},      /* version negative */
        {40, 0x02, ERR_UNSUPPORTED}, /* content that is not data */
        {41, 0xa1, ERR_SYNTAX},      /* certificates missing */
        {45, 0xa1, ERR_UNSUPPORTED}, /* an attribute certificate */
    };
    for (size_t i = 0; i < ARRAY_LEN(patches); i++) {
        memcpy(more, good.data, good.len);
        more[patches[i].at] = patches[i].byte;
        enum err err = read_der(slice_of(more, good.len), 8192);
        if (err != patches[i].err)
            fail_msg("patch %zu: %s", i, err_text(err));
    }
    static uint8_t blanks[EST_RESPONSE_MAX + 1];
    memset(blanks, '\n', sizeof blanks);
    struct slice back[EST_CERTIFICATES_MAX];
    size_t n;
    assert_int_equal(
        est_read_certificates(slice_of(blanks, sizeof blanks), more, sizeof more, back, &n),
        ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_back),         cmocka_unit_test(refuses_bad_requests),
        cmocka_unit_test(answers_agree_with_openssl), cmocka_unit_test(writes_up_to_the_limit),
        cmocka_unit_test(refuses_to_write),           cmocka_unit_test(refuses_bad_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
