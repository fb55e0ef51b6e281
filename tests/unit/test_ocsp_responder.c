#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "pki/ocsp_check.h"
#include "pki/ocsp_responder.h"
#include "tests/unit/temporary_folder.h"

#define DAY 86400

static X509 *root, *issuing;
static EVP_PKEY *issuing_key;
static struct issuer *issuer;
static struct ocsp_responder *responder;

static X509 *read_certificate(const char *folder, const char *name)
{
    char path[PATH_MAX + 32];
    X509 *chain[CA_CHAIN_MAX];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    assert_int_equal(n, 1);
    return chain[0];
}

static void make_responder(void)
{
    uint8_t der[CERTIFICATE_MAX];
    uint8_t *at = der;
    int len = i2d_X509(issuing, &at);
    assert_in_range(len, 1, sizeof der);
    assert_int_equal(
        ocsp_responder_new(issuer, slice_of(der, (size_t)len), "acme.example", &responder),
        ERR_NONE);
}

static int set_up(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX + 32], explain[256] = "";
    temporary_folder_make(folder);
    if (ca_init(folder, "acme.example", NULL, explain) != ERR_NONE)
        fail_msg("%s", explain);
    root = read_certificate(folder, "root.pem");
    issuing = read_certificate(folder, "signer/issuing.pem");
    (void)snprintf(path, sizeof path, "%s/signer/issuing.key", folder);
    assert_int_equal(ca_key_read(path, &issuing_key), ERR_NONE);
    temporary_folder_remove(folder);
    assert_int_equal(issuer_new(issuing_key, issuing, &issuer), ERR_NONE);
    make_responder();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ocsp_responder_free(responder);
    ocsp_responder_free(NULL);
    issuer_free(issuer);
    EVP_PKEY_free(issuing_key);
    X509_free(issuing);
    X509_free(root);
    return 0;
}

static const uint8_t serial[] = {0xea, 0x0b, 0x0c, 0x0d, 0x01, 0x02};

static struct ocsp_answer good(void)
{
    int64_t now = clock_seconds();
    struct ocsp_answer a = {.hash = OCSP_SHA256,
                            .serial_len = sizeof serial,
                            .status = OCSP_GOOD,
                            .this_update = now,
                            .next_update = now + 3600};
    memcpy(a.serial, serial, sizeof serial);
    return a;
}

static OCSP_BASICRESP *respond(const struct ocsp_answer *answer)
{
    uint8_t der[OCSP_RESPONSE_MAX];
    size_t len = 0;
    assert_int_equal(ocsp_respond(responder, answer, der, sizeof der, &len), ERR_NONE);
    const uint8_t *at = der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)len);
    assert_non_null(response);
    assert_ptr_equal(at, der + len);
    /* OpenSSL writes the same bytes again. */
    uint8_t *again = NULL;
    assert_int_equal(i2d_OCSP_RESPONSE(response, &again), len);
    assert_memory_equal(again, der, len);
    OPENSSL_free(again);
    assert_int_equal(OCSP_response_status(response), OCSP_RESPONSE_STATUS_SUCCESSFUL);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    assert_non_null(basic);
    OCSP_RESPONSE_free(response);
    return basic;
}

static void assert_verifies(OCSP_BASICRESP *basic)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_true(sk_X509_push(between, issuing) > 0);
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), (time_t)clock_seconds());
    assert_int_equal(OCSP_basic_verify(basic, between, store, 0), 1);
    sk_X509_free(between);
    X509_STORE_free(store);
}

static OCSP_CERTID *id_of(const EVP_MD *hash)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    BIGNUM *bn = BN_bin2bn(serial, sizeof serial, NULL);
    assert_non_null(BN_to_ASN1_INTEGER(bn, number));
    OCSP_CERTID *id = OCSP_cert_id_new(hash, X509_get_subject_name(issuing),
                                       X509_get0_pubkey_bitstr(issuing), number);
    assert_non_null(id);
    ASN1_INTEGER_free(number);
    BN_free(bn);
    return id;
}

static void says_what_it_is_told(void **state)
{
    (void)state;
    static const struct {
        enum ocsp_status status;
        enum crl_reason reason;
        int openssl_status, openssl_reason;
    } cases[] = {
        {OCSP_GOOD, REASON_UNSPECIFIED, V_OCSP_CERTSTATUS_GOOD, OCSP_REVOKED_STATUS_NOSTATUS},
        {OCSP_UNKNOWN, REASON_UNSPECIFIED, V_OCSP_CERTSTATUS_UNKNOWN, OCSP_REVOKED_STATUS_NOSTATUS},
        {OCSP_REVOKED, REASON_UNSPECIFIED, V_OCSP_CERTSTATUS_REVOKED, OCSP_REVOKED_STATUS_NOSTATUS},
        {OCSP_REVOKED, REASON_SUPERSEDED, V_OCSP_CERTSTATUS_REVOKED, 4},
        {OCSP_REVOKED, REASON_CERTIFICATE_HOLD, V_OCSP_CERTSTATUS_REVOKED, 6},
        {OCSP_REVOKED, REASON_PRIVILEGE_WITHDRAWN, V_OCSP_CERTSTATUS_REVOKED, 9},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases) * OCSP_HASH_COUNT; i++) {
        struct ocsp_answer answer = good();
        answer.hash = (enum ocsp_hash)(i % OCSP_HASH_COUNT);
        answer.status = cases[i / OCSP_HASH_COUNT].status;
        answer.reason = cases[i / OCSP_HASH_COUNT].reason;
        answer.revoked_at = answer.status == OCSP_REVOKED ? answer.this_update - 77 : 0;
        OCSP_BASICRESP *basic = respond(&answer);
        assert_verifies(basic);
        OCSP_CERTID *id = id_of(answer.hash == OCSP_SHA1 ? EVP_sha1() : EVP_sha256());
        int status = -2, reason = -2;
        ASN1_GENERALIZEDTIME *revoked_at = NULL, *this_update = NULL, *next_update = NULL;
        assert_int_equal(OCSP_resp_find_status(basic, id, &status, &reason, &revoked_at,
                                               &this_update, &next_update),
                         1);
        assert_int_equal(status, cases[i / OCSP_HASH_COUNT].openssl_status);
        if (status == V_OCSP_CERTSTATUS_REVOKED) {
            assert_int_equal(reason, cases[i / OCSP_HASH_COUNT].openssl_reason);
            assert_int_equal(ASN1_TIME_cmp_time_t(revoked_at, (time_t)answer.revoked_at), 0);
        }
        assert_int_equal(ASN1_TIME_cmp_time_t(this_update, (time_t)answer.this_update), 0);
        assert_int_equal(ASN1_TIME_cmp_time_t(next_update, (time_t)answer.next_update), 0);
        assert_int_equal(OCSP_resp_count(basic), 1);
        OCSP_CERTID_free(id);
        OCSP_BASICRESP_free(basic);
    }
}

static X509 *signer_of(OCSP_BASICRESP *basic)
{
    X509 *signer = NULL;
    assert_int_equal(OCSP_resp_get0_signer(basic, &signer, NULL), 1);
    return signer;
}

/* RFC 6960 section 4.2.2.2. */
static void is_delegated(void **state)
{
    (void)state;
    struct ocsp_answer answer = good();
    OCSP_BASICRESP *basic = respond(&answer);
    X509 *c = signer_of(basic);
    assert_int_equal(X509_get_extended_key_usage(c), XKU_OCSP_SIGN);
    assert_int_equal(X509_get_key_usage(c), KU_DIGITAL_SIGNATURE);
    assert_true(X509_get_ext_by_NID(c, NID_id_pkix_OCSP_noCheck, -1) >= 0);
    assert_int_equal(X509_get_ext_by_NID(c, NID_subject_alt_name, -1), -1);
    assert_int_equal(X509_check_issued(issuing, c), X509_V_OK);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(c), X509_get0_pubkey(issuing)), 0);
    assert_true(ASN1_TIME_cmp_time_t(X509_get0_notAfter(c),
                                     (time_t)(clock_seconds() + OCSP_RESPONDER_LIFETIME)) <= 0);
    OCSP_BASICRESP_free(basic);
}

/* Whenever it is asked, the certificate holds longer than what it signs; also for a clock that is
 * set back. */
static void renews_its_certificate(void **state)
{
    (void)state;
    static const int64_t shifts[] = {OCSP_RESPONDER_LIFETIME / 2, 3 * DAY, 400 * DAY, -500 * DAY};
    int64_t shifted = 0;
    for (size_t i = 0; i < ARRAY_LEN(shifts); i++) {
        struct ocsp_answer answer = good();
        OCSP_BASICRESP *before = respond(&answer);
        answer.this_update++;
        OCSP_BASICRESP *same = respond(&answer);
        assert_int_equal(X509_cmp(signer_of(before), signer_of(same)), 0);
        OCSP_BASICRESP_free(same);

        clock_shift(shifts[i]);
        shifted += shifts[i];
        if (shifted < 0) { /* before the issuer's life there is nothing to say */
            answer = good();
            uint8_t der[OCSP_RESPONSE_MAX];
            size_t len;
            assert_int_equal(ocsp_respond(responder, &answer, der, sizeof der, &len), ERR_EXPIRED);
            OCSP_BASICRESP_free(before);
            break;
        }
        answer = good();
        answer.next_update = answer.this_update + DAY;
        OCSP_BASICRESP *after = respond(&answer);
        assert_verifies(after);
        assert_int_equal(X509_cmp(signer_of(before), signer_of(after)) != 0, i != 1);
        assert_true(ASN1_TIME_cmp_time_t(X509_get0_notAfter(signer_of(after)),
                                         (time_t)answer.next_update) >= 0);
        OCSP_BASICRESP_free(after);
        OCSP_BASICRESP_free(before);
    }
    clock_shift(-shifted);
}

static void does_not_outlive_its_issuer(void **state)
{
    (void)state;
    uint8_t der[OCSP_RESPONSE_MAX];
    size_t len = 0;
    int64_t shift = issuer_not_after(issuer) - clock_seconds() - 1800;
    clock_shift(shift);
    struct ocsp_answer answer = good();
    assert_int_equal(ocsp_respond(responder, &answer, der, sizeof der, &len), ERR_EXPIRED);
    answer.next_update = answer.this_update + 1700;
    OCSP_BASICRESP *basic = respond(&answer);
    assert_verifies(basic);
    OCSP_BASICRESP_free(basic);
    clock_shift(3600);
    answer = good();
    assert_int_equal(ocsp_respond(responder, &answer, der, sizeof der, &len), ERR_EXPIRED);
    clock_shift(-shift - 3600);
}

static void refuses_what_has_no_form(void **state)
{
    (void)state;
    uint8_t der[OCSP_RESPONSE_MAX];
    size_t len = 0;
    struct ocsp_answer bad[5];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good();
    bad[0].serial_len = 0;
    bad[1].serial_len = SERIAL_MAX + 1;
    bad[2].hash = OCSP_HASH_COUNT;
    bad[3].status = OCSP_STATUS_COUNT;
    bad[4].next_update = bad[4].this_update;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ocsp_respond(responder, &bad[i], der, sizeof der, &len), ERR_SYNTAX);
    struct ocsp_answer answer = good();
    assert_int_equal(ocsp_respond(responder, &answer, der, 700, &len), ERR_LIMIT);
    assert_int_equal(len, 0);
}

static void knows_its_issuer(void **state)
{
    (void)state;
    uint8_t der[CERTIFICATE_MAX];
    uint8_t *at = der;
    struct slice certificate = slice_of(der, (size_t)i2d_X509(issuing, &at));
    struct ocsp_issuer cert_id;
    assert_int_equal(ocsp_issuer_read(certificate, &cert_id), ERR_NONE);
    assert_int_equal(cert_id.not_after, issuer_not_after(issuer));
    for (unsigned h = 0; h < OCSP_HASH_COUNT; h++) {
        OCSP_CERTID *id = id_of(h == OCSP_SHA1 ? EVP_sha1() : EVP_sha256());
        ASN1_OCTET_STRING *name, *key;
        assert_int_equal(OCSP_id_get0_info(&name, NULL, &key, NULL, id), 1);
        size_t size = ocsp_hash_size((enum ocsp_hash)h);
        struct ocsp_request r = {
            .hash = (enum ocsp_hash)h,
            .issuer_name_hash = slice_of(ASN1_STRING_get0_data(name), size),
            .issuer_key_hash = slice_of(ASN1_STRING_get0_data(key), size),
        };
        assert_true(ocsp_is_issuer(&cert_id, &r));
        const struct slice right = r.issuer_key_hash;
        r.issuer_key_hash = r.issuer_name_hash;
        assert_false(ocsp_is_issuer(&cert_id, &r));
        r.issuer_key_hash = right;
        r.issuer_name_hash = right;
        assert_false(ocsp_is_issuer(&cert_id, &r));
        OCSP_CERTID_free(id);
    }
    assert_int_equal(ocsp_issuer_read(slice_of(der, 10), &cert_id), ERR_SYNTAX);
}

/* ---- the other side ---- */

static struct slice der_of(X509 *certificate, uint8_t der[CERTIFICATE_MAX])
{
    uint8_t *at = der;
    return slice_of(der, (size_t)i2d_X509(certificate, &at));
}

static struct slice answer_bytes(const struct ocsp_answer *answer, uint8_t der[OCSP_RESPONSE_MAX])
{
    size_t len = 0;
    assert_int_equal(ocsp_respond(responder, answer, der, OCSP_RESPONSE_MAX, &len), ERR_NONE);
    return slice_of(der, len);
}

static void is_asked_as_it_reads(void **state)
{
    (void)state;
    uint8_t certificate[CERTIFICATE_MAX], bytes[512];
    struct slice issuer_der = der_of(issuing, certificate);
    struct writer w = writer_over(bytes, sizeof bytes);
    struct ocsp_request request;
    struct ocsp_issuer id;
    assert_int_equal(ocsp_ask_write(&w, issuer_der, slice_of(serial, sizeof serial)), ERR_NONE);
    assert_int_equal(ocsp_request_read(writer_bytes(&w), &request), ERR_NONE);
    assert_true(slice_equal(request.serial, slice_of(serial, sizeof serial)));
    assert_int_equal(ocsp_issuer_read(issuer_der, &id), ERR_NONE);
    assert_true(ocsp_is_issuer(&id, &request));
    static const uint8_t long_serial[SERIAL_MAX + 1] = {1};
    assert_int_equal(ocsp_ask_write(&w, issuer_der, slice_of(long_serial, sizeof long_serial)),
                     ERR_SYNTAX);
    assert_int_equal(ocsp_ask_write(&w, slice_of(bytes, 3), slice_of(serial, 1)), ERR_SYNTAX);
    w = writer_over(bytes, 20);
    assert_int_equal(ocsp_ask_write(&w, issuer_der, slice_of(serial, sizeof serial)), ERR_LIMIT);
}

static void answers_are_taken_for_what_they_say(void **state)
{
    (void)state;
    static const struct {
        enum ocsp_status status;
        enum crl_reason reason;
    } cases[] = {{OCSP_GOOD, REASON_UNSPECIFIED},
                 {OCSP_UNKNOWN, REASON_UNSPECIFIED},
                 {OCSP_REVOKED, REASON_UNSPECIFIED},
                 {OCSP_REVOKED, REASON_CERTIFICATE_HOLD},
                 {OCSP_REVOKED, REASON_PRIVILEGE_WITHDRAWN}};
    uint8_t certificate[CERTIFICATE_MAX], der[OCSP_RESPONSE_MAX];
    struct slice issuer_der = der_of(issuing, certificate);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ocsp_said said;
        struct ocsp_answer answer = good();
        answer.status = cases[i].status;
        answer.reason = cases[i].reason;
        answer.revoked_at = answer.status == OCSP_REVOKED ? answer.this_update - 77 : 0;
        assert_int_equal(ocsp_answer_check(answer_bytes(&answer, der), issuer_der,
                                           slice_of(serial, sizeof serial), &said),
                         ERR_NONE);
        assert_int_equal(said.response_status, OCSP_SUCCESSFUL);
        assert_int_equal(said.status, cases[i].status);
        assert_int_equal(said.reason, cases[i].reason);
        assert_int_equal(said.this_update, answer.this_update);
        assert_int_equal(said.next_update, answer.next_update);
    }
    struct writer w = writer_over(der, sizeof der);
    struct ocsp_said said;
    ocsp_write_error(&w, OCSP_UNAUTHORIZED);
    assert_int_equal(
        ocsp_answer_check(writer_bytes(&w), issuer_der, slice_of(serial, sizeof serial), &said),
        ERR_NONE);
    assert_int_equal(said.response_status, OCSP_UNAUTHORIZED);
}

static void no_other_answer_is_taken(void **state)
{
    (void)state;
    uint8_t certificate[CERTIFICATE_MAX], other[CERTIFICATE_MAX], der[OCSP_RESPONSE_MAX + 1];
    const uint8_t another[] = {0x0a, 0x0b};
    struct slice issuer_der = der_of(issuing, certificate),
                 wanted = slice_of(serial, sizeof serial);
    struct ocsp_said said;
    struct ocsp_answer answer = good();
    struct slice right = answer_bytes(&answer, der);
    assert_int_equal(ocsp_answer_check(right, issuer_der, slice_of(another, 2), &said),
                     ERR_CONFLICT);
    assert_int_equal(ocsp_answer_check(right, der_of(root, other), wanted, &said),
                     ERR_BAD_SIGNATURE);
    der[right.len] = 0;
    assert_int_equal(ocsp_answer_check(slice_of(der, right.len + 1), issuer_der, wanted, &said),
                     ERR_SYNTAX);
    assert_int_equal(ocsp_answer_check(slice_of(der, 0), issuer_der, wanted, &said), ERR_SYNTAX);
    assert_int_equal(ocsp_answer_check(slice_of(der, right.len - 1), issuer_der, wanted, &said),
                     ERR_SYNTAX);
    answer.this_update -= 7200;
    answer.next_update = answer.this_update + 3600;
    right = answer_bytes(&answer, der);
    assert_int_equal(ocsp_answer_check(right, issuer_der, wanted, &said), ERR_EXPIRED);
}

/* Whatever byte is another, nobody is told that a revoked certificate is good. */
static void a_changed_answer_says_nothing_else(void **state)
{
    (void)state;
    uint8_t certificate[CERTIFICATE_MAX], der[OCSP_RESPONSE_MAX];
    struct slice issuer_der = der_of(issuing, certificate);
    struct ocsp_answer answer = good();
    answer.status = OCSP_REVOKED;
    answer.reason = REASON_CERTIFICATE_HOLD;
    answer.revoked_at = answer.this_update - 77;
    struct slice right = answer_bytes(&answer, der);
    for (size_t i = 0; i < right.len; i++) {
        struct ocsp_said said;
        der[i] ^= 0x20;
        enum err err = ocsp_answer_check(right, issuer_der, slice_of(serial, sizeof serial), &said);
        if (err == ERR_NONE && said.response_status == OCSP_SUCCESSFUL)
            assert_int_equal(said.reason, REASON_CERTIFICATE_HOLD);
        der[i] ^= 0x20;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_is_told),
        cmocka_unit_test(is_delegated),
        cmocka_unit_test(renews_its_certificate),
        cmocka_unit_test(does_not_outlive_its_issuer),
        cmocka_unit_test(refuses_what_has_no_form),
        cmocka_unit_test(knows_its_issuer),
        cmocka_unit_test(is_asked_as_it_reads),
        cmocka_unit_test(answers_are_taken_for_what_they_say),
        cmocka_unit_test(no_other_answer_is_taken),
        cmocka_unit_test(a_changed_answer_says_nothing_else),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
