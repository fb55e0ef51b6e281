/* What the signer signs of certificates, and what not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "hub/signer/handlers.h"
#include "tests/unit/signer_fixture.h"

static struct ocsp_answer revoked(void)
{
    int64_t now = clock_seconds();
    return (struct ocsp_answer){.hash = OCSP_SHA1,
                                .serial = {0x6a, 0x01},
                                .serial_len = 2,
                                .status = OCSP_REVOKED,
                                .reason = REASON_SUPERSEDED,
                                .revoked_at = now - 60,
                                .this_update = now,
                                .next_update = now + OCSP_VALIDITY_MAX};
}

static enum err ask(const struct fixture *f, const struct ocsp_answer *answer, struct answer *a)
{
    *a = (struct answer){.called = 0};
    signer_ocsp(f->link, answer, answered, a);
    wait_for(f, a);
    return a->err;
}

static int status_of(const struct answer *a)
{
    const uint8_t *at = a->bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)a->len);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    assert_non_null(basic);
    int status = OCSP_single_get0_status(OCSP_resp_get0(basic, 0), NULL, NULL, NULL, NULL);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return status;
}

static void signs_answers(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    struct ocsp_answer answer = revoked();
    assert_int_equal(ask(f, &answer, &a), ERR_NONE);
    assert_int_equal(status_of(&a), V_OCSP_CERTSTATUS_REVOKED);
    answer.status = OCSP_GOOD;
    answer.reason = REASON_UNSPECIFIED;
    answer.revoked_at = 0;
    assert_int_equal(ask(f, &answer, &a), ERR_NONE);
    assert_int_equal(status_of(&a), V_OCSP_CERTSTATUS_GOOD);
    answer.status = OCSP_UNKNOWN;
    assert_int_equal(ask(f, &answer, &a), ERR_NONE);
    assert_int_equal(status_of(&a), V_OCSP_CERTSTATUS_UNKNOWN);
}

/* As a hub would ask that has been taken over. */
static void refuses_answers(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    struct ocsp_answer bad[13];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = revoked();
    bad[0].next_update++;
    bad[1].next_update = bad[1].this_update;
    bad[2].next_update = INT64_MAX;
    bad[3].this_update -= SIGNER_FUTURE_MAX + 60;
    bad[4].this_update += SIGNER_FUTURE_MAX + 60; /* to be used once it is out of reach */
    bad[4].next_update = bad[4].this_update + 60;
    bad[5].this_update = INT64_MIN;
    bad[6].reason = (enum crl_reason)7; /* there is none */
    bad[7].reason = (enum crl_reason)8; /* removeFromCRL */
    bad[8].revoked_at = 0;
    bad[9].revoked_at = bad[9].this_update + SIGNER_FUTURE_MAX + 1;
    bad[10].status = OCSP_GOOD; /* with a reason */
    bad[11].status = OCSP_UNKNOWN;
    bad[11].reason = REASON_UNSPECIFIED; /* with a date */
    bad[12].revoked_at = INT64_MIN;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (ask(f, &bad[i], &a) != ERR_REFUSED)
            fail_msg("case %zu was not refused", i);
    struct ocsp_answer answer = revoked();
    answer.serial_len = 0;
    assert_int_not_equal(ask(f, &answer, &a), ERR_NONE);
    answer = revoked();
    answer.authority = AUTHORITY_PREVIOUS; /* there is none */
    assert_int_equal(ask(f, &answer, &a), ERR_REFUSED);
    answer = revoked();
    answer.authority = AUTHORITY_COUNT;
    assert_int_not_equal(ask(f, &answer, &a), ERR_NONE);
    answer = revoked();
    answer.hash = OCSP_HASH_COUNT;
    assert_int_not_equal(ask(f, &answer, &a), ERR_NONE);
    answer = revoked();
    answer.status = OCSP_STATUS_COUNT;
    assert_int_not_equal(ask(f, &answer, &a), ERR_NONE);
}

static void assert_url(const struct answer *a, const char *url)
{
    const uint8_t *at = a->bytes;
    X509 *c = d2i_X509(NULL, &at, (long)a->len);
    assert_non_null(c);
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(c);
    assert_int_equal(sk_OPENSSL_STRING_num(urls), url == NULL ? -1 : 1);
    if (url != NULL)
        assert_string_equal(sk_OPENSSL_STRING_value(urls, 0), url);
    X509_email_free(urls);
    X509_free(c);
}

/* Where to ask is what the signer was started with; no request changes it. */
static void names_the_responder_to_devices(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct certificate_request request = device_request(f);
    f->options.public_url = "http://status.acme.example:8446";
    start(f, 1);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    assert_url(&a, "http://status.acme.example:8446/ocsp");
    request = server_request(f);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    assert_url(&a, NULL);
    stop(f);

    static char longest[PUBLIC_URL_MAX + 2] = "http://";
    memset(longest + 7, 'a', PUBLIC_URL_MAX - 7);
    f->options.public_url = longest;
    start(f, 1);
    request = device_request(f);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
    stop(f);

    char explain[256] = "";
    longest[PUBLIC_URL_MAX] = 'a';
    assert_int_equal(signer_start(&f->options, &f->signer, &f->facts, explain), ERR_LIMIT);
    assert_non_null(strstr(explain, "200"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(signs_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_the_responder_to_devices, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
