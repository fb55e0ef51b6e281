#include "tests/unit/device_world.h"

/* ---- storage that fails ---- */

static void test_failing_write_n(void **state)
{
    for (unsigned late = 0; late < 2; late++) {
        for (unsigned n = 1;; n++) {
            (void)set_up(state);
            struct world *w = *state;
            w->fake.fail_at = n;
            w->fake.fail_late = late == 1;
            w->fake.fail_with = n % 2 == 0 ? ERR_DISK_FULL : ERR_IO;
            assert_int_equal(start(w), ERR_NONE);
            assert_int_equal(live(w, INT64_C(2) * TEST_LIFE), DEVICE_ENROLLED);
            assert_true(w->hub.renewals >= 1);
            assert_int_equal(keys_there(w), 1);
            assert_int_equal(w->hub.enrolments, 1);
            if (w->fake.operations < n)
                break;
            enrol(w);
        }
    }
}

static void test_full_disk_for_a_while(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->fake.fail_at = w->fake.operations + 1;
    w->fake.fail_from = true;
    /* check-ins go on, and nothing runs hot */
    unsigned checkins = w->hub.checkins;
    (void)live(w, w->device.renew_at - T0 + 300);
    assert_true(w->events[DEVICE_EVENT_STORAGE_FAILED] > 0);
    assert_true(w->hub.checkins > checkins + 10);
    assert_int_equal(w->hub.renewals, 0);
    w->fake.fail_from = false;
    assert_int_equal(live(w, 1000), DEVICE_ENROLLED);
    assert_int_equal(w->hub.renewals, 1);
}

/* The power goes at operation n, for all n and every way a write can end; then again at a later
 * one. Whatever happens, the device ends with one identity and one key, and the claim was enough.
 * False where the life was over before the first cut came. */
static bool cut_and_recover(void **state, unsigned n, unsigned m, enum fake_cut how)
{
    (void)set_up(state);
    struct world *w = *state;
    const unsigned cuts[] = {n, m};
    bool came = false;
    w->hub.next_checkin = 600;
    w->hub.bundle_version = 2;
    w->hub.bundle = make_bundle(2, T0 - 60, w->other_bundle);
    for (size_t i = 0; i < ARRAY_LEN(cuts) && cuts[i] > 0; i++) {
        w->fake.cut_at = w->fake.operations + cuts[i];
        w->fake.cut_how = how;
        if (start(w) == ERR_NONE)
            (void)live(w, 2500);
        came = i == 0 ? w->fake.dead : came;
        fake_restart(&w->fake);
        /* the claim goes with the event; a start reads it anew where the file is still there */
        if (w->events[DEVICE_EVENT_ENROLLED] == 0)
            w->options.claim = SLICE_LITERAL(TEST_CLAIM);
    }
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(live(w, INT64_C(2) * TEST_LIFE), DEVICE_ENROLLED);
    assert_int_equal(keys_there(w), 1);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(w->hub.refusals, 0);
    assert_int_equal(w->device.bundle.version, 2);
    assert_int_equal(state_slot(&w->device.state, SLOT_PENDING), -1);
    /* no key was made in vain but one that was not known to be durable */
    assert_in_range(w->fake.keys_made, w->hub.renewals + 1, w->hub.renewals + 1 + ARRAY_LEN(cuts));
    return came;
}

static void test_power_cut_at_every_operation(void **state)
{
    for (enum fake_cut how = 0; how < FAKE_CUT_COUNT; how++) {
        unsigned n = 1;
        while (cut_and_recover(state, n, 0, how))
            n++;
        assert_in_range(n, 25, 200); /* a life has some dozens of operations */
    }
}

static void test_two_power_cuts(void **state)
{
    for (enum fake_cut how = 0; how < FAKE_CUT_COUNT; how++)
        for (unsigned m = 1; m < 12; m++)
            for (unsigned n = 1; cut_and_recover(state, n, m, how);)
                n += n < 24 ? 1 : 5;
}

static void test_damaged_renewal_is_asked_for_again(void **state)
{
    struct world *w = *state;
    int64_t delay;
    enrol(w);
    while (w->events[DEVICE_EVENT_RENEWED] == 0) {
        (void)device_step(&w->device, &delay);
        pass(w, delay);
    }
    fake_record(&w->fake, "certificate-b")->len = 100;
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->hub.repeats, 1);
    assert_int_equal(w->hub.renewals, 1);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
}

/* ---- the state record ---- */

static void test_state_round_trip(void **state)
{
    struct world *w = *state;
    enrol(w);
    uint8_t bytes[STATE_SIZE];
    struct writer writer = writer_over(bytes, sizeof bytes);
    state_write(&writer, &w->device.state, test_sha256);
    assert_int_equal(writer.err, ERR_NONE);
    assert_int_equal(writer.len, STATE_SIZE);
    struct state back;
    assert_int_equal(state_read(writer_bytes(&writer), test_sha256, &back), ERR_NONE);
    assert_int_equal(back.sequence, w->device.state.sequence);
    assert_int_equal(back.time, w->device.state.time);
    assert_memory_equal(back.slots[0].chain_sha256, w->device.state.slots[0].chain_sha256, 32);
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_int_equal(state_read(slice_of(bytes, len), test_sha256, &back), ERR_SYNTAX);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(state_read(writer_bytes(&writer), test_sha256, &back), ERR_SYNTAX);
        bytes[i] ^= 0x10;
    }
}

/* With a checksum that fits, so that what stands in the record is what is refused. */
static enum err read_forged(uint8_t *bytes)
{
    struct slice body = slice_of(bytes, STATE_SIZE - SHA256_SIZE);
    struct state back;
    test_sha256(&body, 1, bytes + STATE_SIZE - SHA256_SIZE);
    return state_read(slice_of(bytes, STATE_SIZE), test_sha256, &back);
}

static void test_state_that_cannot_be(void **state)
{
    enum { AT_VERSION = 4, AT_SEQUENCE = 5, AT_TIME = 13, AT_SLOT = 21, SLOT_SIZE = 67 };
    enum { AT_LEDGER = STATE_SIZE - SHA256_SIZE - STATE_LEDGER_SIZE, AT_FINDING = AT_LEDGER + 40 };
    static const struct {
        size_t at;
        uint8_t value;
        enum err err;
    } cases[] = {
        {AT_VERSION, 2, ERR_NONE},
        {AT_VERSION, 1, ERR_UNSUPPORTED},
        {AT_VERSION, 3, ERR_UNSUPPORTED},
        {AT_TIME, 0x80, ERR_SYNTAX},
        {AT_SLOT, SLOT_USE_COUNT, ERR_SYNTAX},
        {AT_SLOT, SLOT_RETIRING, ERR_SYNTAX},           /* without an active one */
        {AT_SLOT + SLOT_SIZE, SLOT_ACTIVE, ERR_SYNTAX}, /* two of them */
        {AT_SLOT + 1, KEY_RSA, ERR_SYNTAX},
        {AT_SLOT + 1, 0xff, ERR_SYNTAX},
        {AT_SLOT + 2, 0, ERR_SYNTAX}, /* active, yet never issued */
        {AT_SLOT + 2, 2, ERR_SYNTAX},
        {AT_SLOT + 2 * SLOT_SIZE, 3, ERR_SYNTAX}, /* a third copy of the bundle */
        {AT_LEDGER, 1, ERR_SYNTAX},               /* a larger ledger than can be told */
        {AT_FINDING, LEDGER_HIDDEN, ERR_NONE},
        {AT_FINDING, LEDGER_FINDING_COUNT, ERR_SYNTAX},
        {AT_FINDING + 1, 0x80, ERR_SYNTAX}, /* found before 1970 */
        {AT_FINDING + 9, DEVICE_LEDGER_GRACE, ERR_NONE},
        {AT_FINDING + 9, DEVICE_LEDGER_GRACE + 1, ERR_SYNTAX},
    };
    struct world *w = *state;
    enrol(w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t bytes[STATE_SIZE];
        struct writer writer = writer_over(bytes, sizeof bytes);
        state_write(&writer, &w->device.state, test_sha256);
        bytes[cases[i].at] = cases[i].value;
        assert_int_equal(read_forged(bytes), cases[i].err);
    }
    uint8_t bytes[STATE_SIZE];
    struct writer writer = writer_over(bytes, sizeof bytes);
    state_write(&writer, &w->device.state, test_sha256);
    memset(bytes + AT_SEQUENCE, 0, 8);
    assert_int_equal(read_forged(bytes), ERR_SYNTAX);
}

static void test_damaged_state(void **state)
{
    struct world *w = *state;
    enrol(w);
    const char *newest = w->device.state.sequence % 2 == 0 ? "state-0" : "state-1";
    const char *oldest = w->device.state.sequence % 2 == 0 ? "state-1" : "state-0";
    fake_record(&w->fake, newest)->bytes[30] ^= 1;
    enrol(w); /* from the one before */
    fake_record(&w->fake, newest)->bytes[30] ^= 1;
    fake_record(&w->fake, newest)->len = 3;
    fake_record(&w->fake, oldest)->len = 3;
    assert_int_equal(start(w), ERR_SYNTAX);
}

static void test_state_of_another(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->options.serial = "thermo-2";
    assert_int_equal(start(w), ERR_CONFLICT);
    w->options.serial = TEST_SERIAL;
    w->fake.keys[0].bytes[5] ^= 1;
    assert_int_equal(start(w), ERR_CONFLICT);
    w->fake.keys[0].there = false;
    assert_int_equal(start(w), ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_failing_write_n, set_up),
        cmocka_unit_test_setup(test_full_disk_for_a_while, set_up),
        cmocka_unit_test_setup(test_power_cut_at_every_operation, set_up),
        cmocka_unit_test_setup(test_two_power_cuts, set_up),
        cmocka_unit_test_setup(test_damaged_renewal_is_asked_for_again, set_up),
        cmocka_unit_test_setup(test_state_round_trip, set_up),
        cmocka_unit_test_setup(test_state_that_cannot_be, set_up),
        cmocka_unit_test_setup(test_damaged_state, set_up),
        cmocka_unit_test_setup(test_state_of_another, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
