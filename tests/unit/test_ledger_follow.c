/* A ledger that others write, followed: its head, and what its entries are about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/ledger/internal.h"
#include "ledger_fixture.h"

/* Ledgers over stores of their own: what another hub over one database would read is read here with
 * the reader of the one that is written. */
static void the_head_of_others_is_followed(void **state)
{
    (void)state;
    static struct ledger_fixture written, other, set_back;
    ledger_fixture_make(&written);
    ledger_fixture_make(&other);
    ledger_fixture_make(&set_back);
    struct ledger *l = other.ledger;
    struct arena *arena = other.f.arena;
    assert_int_equal(ledger_follow(l, written.f.reader, arena), ERR_NONE);
    assert_int_equal(ledger_head(l).size, 0);
    for (unsigned i = 1; i < 5; i++) {
        assert_int_equal(ledger_fixture_append(&written, i * 100), ERR_NONE);
        assert_int_equal(ledger_follow(l, written.f.reader, arena), ERR_NONE);
        struct checkpoint head = ledger_head(l), own = ledger_head(written.ledger);
        assert_int_equal(head.size, own.size);
        assert_hashes_equal(&head.root, &own.root);
        assert_int_equal(ledger_follow(l, written.f.reader, arena), ERR_NONE); /* nothing new */
    }
    /* a database that knows less than what was seen */
    assert_int_equal(ledger_follow(l, set_back.f.reader, arena), ERR_CONFLICT);
    assert_int_equal(ledger_fixture_append(&set_back, 10), ERR_NONE);
    assert_int_equal(ledger_follow(l, set_back.f.reader, arena), ERR_CONFLICT);
    /* or another history of the same length */
    assert_int_equal(ledger_fixture_append(&set_back, 990), ERR_NONE);
    assert_int_equal(ledger_head(set_back.ledger).size, ledger_head(l).size);
    assert_int_equal(ledger_follow(l, set_back.f.reader, arena), ERR_CONFLICT);
    ledger_fixture_remove(&set_back);
    ledger_fixture_remove(&other);
    ledger_fixture_remove(&written);
}

/* One's own commit after a look at a newer head does not take the head back. */
static void a_commit_never_takes_the_head_back(void **state)
{
    (void)state;
    static struct ledger_fixture written, ahead;
    ledger_fixture_make(&written);
    ledger_fixture_make(&ahead);
    assert_int_equal(ledger_fixture_append(&ahead, 50), ERR_NONE);
    assert_int_equal(ledger_follow(written.ledger, ahead.f.reader, written.f.arena), ERR_NONE);
    assert_int_equal(ledger_fixture_append(&written, 20), ERR_NONE);
    assert_int_equal(ledger_head(written.ledger).size, 50);
    assert_int_equal(ledger_fixture_append(&written, 40), ERR_NONE);
    assert_int_equal(ledger_head(written.ledger).size, 60);
    ledger_fixture_remove(&ahead);
    ledger_fixture_remove(&written);
}

static void entries_say_what_they_are_about(void **state)
{
    (void)state;
    uint8_t bytes[LEDGER_ENTRY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    const struct ledger_act act = {.act = "device.revoke",
                                   .tenant = "default",
                                   .actor = "a\"\\\n\",\"subject\":\"device/other",
                                   .subject = "device/thermo-1",
                                   .data = SLICE_LITERAL("{\"act\":\"x\"}")};
    const uint8_t request[STORE_REQUEST_ID] = {1};
    struct ledger_entry e;
    assert_int_equal(ledger_entry_write(&w, &act, request, 1764291600000), ERR_NONE);
    struct slice whole = writer_bytes(&w);
    assert_int_equal(ledger_entry_read(whole, &e), ERR_NONE);
    assert_true(slice_equal(e.act, SLICE_LITERAL("device.revoke")));
    assert_true(slice_equal(e.tenant, SLICE_LITERAL("default")));
    assert_true(slice_equal(e.subject, SLICE_LITERAL("device/thermo-1")));
    size_t needed = (size_t)(e.subject.data + e.subject.len + 1 - whole.data);
    for (size_t n = 0; n < needed; n++) {
        /* of its own, so that reading past its end is noticed */
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, whole.data, n);
        assert_int_equal(ledger_entry_read(slice_of(cut, n), &e), ERR_SYNTAX);
        free(cut);
    }
    static const char *const wrong[] = {"", "{}", "{\"v\":2,\"n\":\"\"", "{\"v\":1,\"n\":\"\\"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(ledger_entry_read(slice_of_text(wrong[i]), &e), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_of_others_is_followed),
        cmocka_unit_test(a_commit_never_takes_the_head_back),
        cmocka_unit_test(entries_say_what_they_are_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
