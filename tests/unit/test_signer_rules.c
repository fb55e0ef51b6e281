/* The policy key: what the signer signs of rules, and what it never does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rules.h"
#include "hub/signer/rules_state.h"
#include "tests/unit/signer_fixture.h"

static enum err sign_rules(const struct fixture *f, uint64_t version, uint8_t body, int64_t made_at,
                           struct answer *a)
{
    struct rules_request request = {.version = version, .made_at = made_at, .body_len = 1000};
    memset(request.body_sha256.bytes, body, SHA256_SIZE);
    *a = (struct answer){.called = 0};
    signer_sign_rules(f->link, &request, answered, a);
    wait_for(f, a);
    return a->err;
}

static void signs_rules(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct slice text;
    int64_t now = clock_seconds();
    start(f, 1);
    assert_int_equal(f->facts.rules_version, 0);
    assert_int_equal(sign_rules(f, 3, 9, now, &a), ERR_NONE);
    struct slice note = slice_of(a.bytes, a.len);
    assert_int_equal(note_verify(note, &f->facts.policy_key, crypto_ed25519_verify, &text),
                     ERR_NONE);
    assert_int_equal(note_verify(note, &f->facts.ledger_key, crypto_ed25519_verify, &text),
                     ERR_NOT_FOUND);
    uint8_t expected[512], digest[SHA256_SIZE];
    memset(digest, 9, sizeof digest);
    struct writer w = writer_over(expected, sizeof expected);
    rules_write_text(&w, FLEET, 3, now, 1000, digest);
    assert_true(slice_equal(text, writer_bytes(&w)));
    /* the same once more, for a hub that lost the answer */
    assert_int_equal(sign_rules(f, 3, 9, now, &a), ERR_NONE);
}

static void never_signs_older_rules(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    int64_t now = clock_seconds();
    start(f, 1);
    assert_int_equal(sign_rules(f, 0, 1, now, &a), ERR_REFUSED);
    assert_int_equal(sign_rules(f, 5, 5, now, &a), ERR_NONE);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(sign_rules(f, 4, 4, now, &a), ERR_REFUSED);
        assert_int_equal(sign_rules(f, 5, 6, now, &a), ERR_REFUSED);
        assert_int_equal(sign_rules(f, 5, 5, now, &a), ERR_NONE);
        stop(f);
        start(f, 1);
        assert_int_equal(f->facts.rules_version, 5);
    }
    /* dates that are not now, and bodies that no broker takes */
    assert_int_equal(sign_rules(f, 6, 6, now - 3600, &a), ERR_REFUSED);
    assert_int_equal(sign_rules(f, 6, 6, now + 3600, &a), ERR_REFUSED);
    struct rules_request request = {.version = 6, .made_at = now};
    static const size_t lengths[] = {0, RULES_BODY_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        request.body_len = lengths[i];
        a = (struct answer){.called = 0};
        signer_sign_rules(f->link, &request, answered, &a);
        wait_for(f, &a);
        assert_int_equal(a.err, ERR_REFUSED);
    }
    request.body_len = (size_t)UINT32_MAX + 1;
    a = (struct answer){.called = 0};
    signer_sign_rules(f->link, &request, answered, &a);
    assert_int_equal(a.err, ERR_LIMIT);
    assert_int_equal(sign_rules(f, 6, 6, now, &a), ERR_NONE);
    assert_int_equal(sign_rules(f, UINT64_MAX, 7, now, &a), ERR_NONE);
}

/* Each new version flushes the disk. */
static void signs_rules_so_often(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    int64_t now = clock_seconds();
    start(f, 1);
    enum err err = ERR_NONE;
    uint64_t version = 0;
    while (err == ERR_NONE && version < 1000) {
        version++;
        err = sign_rules(f, version, (uint8_t)version, now, &a);
    }
    assert_int_equal(err, ERR_BUSY);
    assert_in_range(version, RULES_BURST, 2 * RULES_BURST);
    /* which takes nothing from those that were signed */
    assert_int_equal(sign_rules(f, version - 1, (uint8_t)(version - 1), now, &a), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(signs_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_signs_older_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signs_rules_so_often, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
