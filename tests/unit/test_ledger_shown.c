/* What devices are shown of a ledger. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/checkpoint_update.h"
#include "ledger_fixture.h"

static struct slice show(struct ledger_shown *s, struct ledger_fixture *lf, uint64_t size)
{
    struct slice update = SLICE_LITERAL("untouched");
    assert_int_equal(ledger_shown_to(s, size, false, lf->f.arena, &update), ERR_NONE);
    return update;
}

/* The update leads from `size` to the log of `shown` entries, with that checkpoint. */
static void check(struct ledger_shown *s, struct ledger_fixture *lf, const struct tree *t,
                  uint64_t size, uint64_t shown, const char *note)
{
    struct hash proof[UPDATE_PROOF_MAX];
    struct checkpoint_update update;
    struct hash old_root = tree_root(t->leaves, (size_t)size);
    struct hash new_root = tree_root(t->leaves, (size_t)shown);
    assert_int_equal(checkpoint_update_read(show(s, lf, size), proof, &update), ERR_NONE);
    assert_true(update.old_size == size);
    assert_true(slice_equal(update.note, slice_of_text(note)));
    assert_int_equal(merkle_verify_consistency(crypto_sha256, size, &old_root, shown, &new_root,
                                               proof, update.proof_len),
                     ERR_NONE);
}

static void shows_what_is_newer(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    struct ledger_shown *s = NULL;
    struct tree t = {0};
    struct hash proof[UPDATE_PROOF_MAX];
    struct checkpoint_update update;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_shown_new(lf.ledger, lf.f.reader, &s), ERR_NONE);
    /* nothing signed, nothing to show */
    assert_int_equal(show(s, &lf, 0).len, 0);
    assert_int_equal(show(s, &lf, 9).len, 0);
    assert_int_equal(ledger_fixture_append(&lf, 600), ERR_NONE);
    tree_follow(&t, &lf);
    assert_int_equal(show(s, &lf, 0).len, 0);
    assert_int_equal(ledger_set_checkpoint(lf.ledger, 500, SLICE_LITERAL("first")), ERR_NONE);
    for (unsigned twice = 0; twice < 2; twice++) /* more trees than proofs are kept for */
        for (uint64_t size = 0; size < 500; size++)
            check(s, &lf, &t, size, 500, "first");
    assert_int_equal(show(s, &lf, 500).len, 0);
    struct slice again;
    assert_int_equal(ledger_shown_to(s, 500, true, lf.f.arena, &again), ERR_NONE);
    assert_true(slice_equal(again, SLICE_LITERAL("old 500\n\nfirst")));
    /* a newer one was signed: shown after the pause, and who has seen it already is not misled */
    assert_int_equal(ledger_set_checkpoint(lf.ledger, 600, SLICE_LITERAL("second")), ERR_NONE);
    assert_int_equal(show(s, &lf, 600).len, 0);
    check(s, &lf, &t, 499, 500, "first");
    ledger_shown_free(s);
    assert_int_equal(ledger_shown_new(lf.ledger, lf.f.reader, &s), ERR_NONE);
    check(s, &lf, &t, 499, 600, "second");
    check(s, &lf, &t, 500, 600, "second");
    /* more than there is: what there is, without a proof */
    static const uint64_t beyond[] = {601, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(beyond); i++) {
        assert_int_equal(checkpoint_update_read(show(s, &lf, beyond[i]), proof, &update), ERR_NONE);
        assert_true(update.old_size == beyond[i]);
        assert_int_equal(update.proof_len, 0);
        assert_true(slice_equal(update.note, SLICE_LITERAL("second")));
    }
    ledger_shown_free(s);
    ledger_shown_free(NULL);
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_what_is_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
