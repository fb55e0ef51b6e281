/* Allocation n fails, for all n: an error and no leak, never a half-made thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pki/issue.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/signer_fixture.h"

#define MANY 100 /* more allocations than any of these makes */

static void starts_or_says_why(void **state)
{
    struct fixture *f = *state;
    for (long n = 0; n < MANY; n++) {
        char explain[256] = "";
        struct signer *s = NULL;
        allocations_left = n;
        enum err err = signer_start(&f->options, &s, &f->facts, explain);
        allocations_left = -1;
        assert_true((err == ERR_NONE) == (s != NULL));
        assert_true((err == ERR_NONE) == (explain[0] == '\0'));
        signer_stop(s);
        if (err == ERR_NONE)
            return;
    }
    fail();
}

static void links_or_says_why(void **state)
{
    struct fixture *f = *state;
    struct loop *loop;
    char explain[256] = "";
    f->options.links = 1;
    assert_int_equal(signer_start(&f->options, &f->signer, &f->facts, explain), ERR_NONE);
    assert_int_equal(loop_new("test", &loop), ERR_NONE);
    f->loop = loop;
    for (long n = 0; n < MANY && f->link == NULL; n++) {
        allocations_left = n;
        enum err err = signer_link_new(f->signer, loop, &f->link);
        allocations_left = -1;
        assert_true(err == ERR_NO_MEMORY || err == ERR_NONE);
        assert_true((err == ERR_NONE) == (f->link != NULL));
    }
    assert_non_null(f->link);
}

/* The socket is full, and there is no memory to queue in. */
static void asks_or_says_why(void **state)
{
    struct fixture *f = *state;
    static struct answer answers[SIGNER_IN_FLIGHT_MAX];
    start(f, 1);
    struct certificate_request request = device_request(f);
    size_t refused = 0;
    allocations_left = 0;
    for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++) {
        signer_issue(f->link, &request, answered, &answers[i]);
        if (answers[i].called == 1) {
            assert_int_equal(answers[i].err, ERR_NO_MEMORY);
            refused++;
        }
    }
    allocations_left = -1;
    assert_in_range(refused, 1, SIGNER_IN_FLIGHT_MAX - 1);
    for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++) {
        wait_for(f, &answers[i]);
        assert_true(answers[i].err == ERR_NONE || answers[i].err == ERR_NO_MEMORY);
    }
    struct answer a;
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
}

static void issuers_or_says_why(void **state)
{
    const struct fixture *f = *state;
    char path[PATH_MAX + 32];
    X509 *chain[CA_CHAIN_MAX];
    EVP_PKEY *key;
    size_t n;
    (void)snprintf(path, sizeof path, "%s/issuing.pem", f->signer_folder);
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_NONE);
    (void)snprintf(path, sizeof path, "%s/issuing.key", f->signer_folder);
    assert_int_equal(ca_key_read(path, &key), ERR_NONE);
    struct issuer *issuer = NULL;
    allocations_left = 0;
    assert_int_equal(issuer_new(key, chain[0], &issuer), ERR_NO_MEMORY);
    allocations_left = -1;
    assert_null(issuer);
    assert_int_equal(issuer_new(key, chain[0], &issuer), ERR_NONE);
    issuer_free(issuer);
    X509_free(chain[0]);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(starts_or_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_or_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asks_or_says_why, set_up, tear_down),
        cmocka_unit_test_setup_teardown(issuers_or_says_why, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
