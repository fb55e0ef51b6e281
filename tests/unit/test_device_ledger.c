/* A device and a hub that shows it more than one ledger. */
#include "tests/unit/device_world.h"

/* Enrolled, with a ledger of `size` entries seen. */
static void know(struct world *w, uint64_t size)
{
    w->hub.log_size = size;
    enrol(w);
    (void)live(w, 120);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    assert_true(w->device.ledger.size >= size);
}

static unsigned refusals(const struct world *w)
{
    return w->events[DEVICE_EVENT_LEDGER_REFUSED];
}

static void assert_misled(struct world *w, enum ledger_finding finding, const char *code)
{
    assert_int_equal(device_phase_of(&w->device), DEVICE_MISLED);
    assert_int_equal(w->device.ledger.finding, finding);
    assert_true(refusals(w) > 0);
    assert_string_equal(w->last_code[DEVICE_EVENT_LEDGER_REFUSED], code);
}

/* Nothing is reported, no wish is followed, and the hub is asked rarely. */
static void assert_believes_nothing(struct world *w)
{
    unsigned checkins = w->hub.checkins, reports = w->hub.reports;
    int64_t interval = w->device.checkin_interval;
    w->device.state.reported = false; /* there is something new to report */
    w->hub.next_checkin = 7;
    (void)live(w, 10 * DEVICE_REFUSED_STANDARD);
    w->hub.next_checkin = 60;
    assert_int_equal(w->device.checkin_interval, interval);
    assert_int_equal(w->hub.reports, reports);
    assert_in_range(w->hub.checkins - checkins, 7, 11);
    assert_int_equal(device_phase_of(&w->device), DEVICE_MISLED);
}

static void long_lived(struct world *w)
{
    w->device.renew_at = w->device.not_after = 2 * T0;
    for (size_t i = 0; i < w->hub.issued_len; i++)
        w->hub.issued[i].not_after = 2 * T0;
}

static void test_follows_a_ledger_that_grows(void **state)
{
    struct world *w = *state;
    know(w, 3);
    for (unsigned i = 0; i < 100; i++) {
        w->hub.log_size += i % 3;
        (void)live(w, 61);
        assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    }
    (void)live(w, 61);
    assert_true(w->device.ledger.size == w->hub.log_size);
    assert_true(w->hub.told_size == w->hub.log_size);
    assert_int_equal(refusals(w), 0);
    assert_int_equal(w->device.ledger.owed, 0);
}

/* What was seen last is on storage within an hour, and the first at once. */
static void test_remembers_over_a_start(void **state)
{
    struct world *w = *state;
    enrol(w);
    assert_true(w->device.state.ledger.size > 0);
    w->hub.log_size = 100;
    (void)live(w, DEVICE_TIME_SAVE + 120);
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_true(w->device.ledger.size >= 100);
    w->hub.log_size = 99;
    assert_int_equal(settle(w), DEVICE_MISLED);
}

static void test_shrunk(void **state)
{
    struct world *w = *state;
    know(w, 50);
    long_lived(w);
    uint64_t known = w->device.ledger.size;
    w->hub.log_size = known - 1;
    (void)live(w, 61);
    assert_misled(w, LEDGER_SHRUNK, "shrunk");
    assert_string_equal(w->hub.told_finding, ""); /* found in its answer */
    assert_believes_nothing(w);
    assert_string_equal(w->hub.told_finding, "shrunk");
    assert_true(w->hub.told_size == known);
    /* nor after a start */
    fake_restart(&w->fake);
    unsigned before = refusals(w);
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(refusals(w), before + 1);
    long_lived(w);
    assert_int_equal(settle(w), DEVICE_MISLED);
    /* the database was put back, and has grown since */
    w->hub.log_size = known + 5;
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    assert_int_equal(w->events[DEVICE_EVENT_LEDGER_SOUND], 1);
    assert_true(w->device.ledger.size == known + 5);
    assert_string_equal(w->hub.told_finding, "");
}

static void test_forked(void **state)
{
    for (unsigned i = 0; i < 3; i++) {
        (void)set_up(state);
        struct world *w = *state;
        know(w, 50);
        long_lived(w);
        uint64_t known = w->device.ledger.size;
        w->hub.fork_at = i == 2 ? 0 : 30;
        w->hub.log_size = known + (i == 0 ? 10 : 1);
        (void)live(w, 61);
        assert_misled(w, LEDGER_FORKED, "forked");
        assert_true(w->device.ledger.size == known);
        assert_believes_nothing(w);
        /* it is shown the right one again, and has not forgotten the other */
        w->hub.fork_at = UINT64_MAX;
        assert_believes_nothing(w);
        fake_restart(&w->fake);
        assert_int_equal(start(w), ERR_NONE);
        long_lived(w);
        assert_int_equal(settle(w), DEVICE_MISLED);
        assert_int_equal(w->events[DEVICE_EVENT_LEDGER_SOUND], 0);
    }
}

/* An empty proof, for two trees of one size. */
static void show_same_size(const struct test_hub *h, uint64_t known, struct writer *w)
{
    write_update(h, known, 0, w);
}

static void test_two_trees_of_one_size(void **state)
{
    struct world *w = *state;
    know(w, 50);
    w->hub.show = show_same_size;
    (void)live(w, 61);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    w->hub.fork_at = 30;
    (void)live(w, 61);
    assert_misled(w, LEDGER_FORKED, "forked");
}

/* A fork behind a shrunk one is no way back. */
static void test_shrunk_then_forked(void **state)
{
    struct world *w = *state;
    know(w, 50);
    long_lived(w);
    w->hub.log_size = 20;
    (void)live(w, 61);
    assert_misled(w, LEDGER_SHRUNK, "shrunk");
    int64_t found_at = w->device.ledger.found_at;
    w->hub.fork_at = 20;
    w->hub.log_size = 200;
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    assert_misled(w, LEDGER_FORKED, "forked");
    assert_true(w->device.ledger.found_at == found_at);
}

static void show_nothing(const struct test_hub *h, uint64_t known, struct writer *w)
{
    (void)h;
    (void)known;
    (void)w;
}

/* Its own enrolment is an entry: a hub that has nothing to show keeps it from the device. */
static void test_hidden_from_the_start(void **state)
{
    struct world *w = *state;
    w->hub.show = show_nothing;
    enrol(w);
    long_lived(w);
    (void)live(w, (DEVICE_LEDGER_GRACE - 3) * 60);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    (void)live(w, 5 * 60);
    assert_misled(w, LEDGER_HIDDEN, "hidden");
    assert_believes_nothing(w);
    w->hub.show = show_ledger;
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
}

/* A frozen ledger lasts until the next renewal, also over starts in between. */
static void test_hidden_after_a_renewal(void **state)
{
    struct world *w = *state;
    know(w, 50);
    w->hub.show = show_nothing;
    (void)live(w, 30 * 60);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    device_renew(&w->device);
    for (unsigned i = 0; i < DEVICE_LEDGER_GRACE && refusals(w) == 0; i++) {
        (void)live(w, 61);
        fake_restart(&w->fake);
        assert_int_equal(start(w), ERR_NONE);
    }
    assert_int_equal(w->hub.renewals, 1);
    assert_misled(w, LEDGER_HIDDEN, "hidden");
    /* the tree it knew, once more, is not what was owed */
    long_lived(w);
    w->hub.log_size = w->device.ledger.size;
    w->hub.show = show_same_size;
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    assert_misled(w, LEDGER_HIDDEN, "hidden");
}

/* ---- what is no evidence ---- */

static void show_signed_by_another(const struct test_hub *h, uint64_t known, struct writer *w)
{
    write_update(h, known, 1, w);
}

static void show_from_another_size(const struct test_hub *h, uint64_t known, struct writer *w)
{
    write_update(h, known - 1, 0, w);
}

static void show_damaged(const struct test_hub *h, uint64_t known, struct writer *w)
{
    write_update(h, known, 0, w);
    w->start[w->len - 9] ^= 1;
}

static void show_no_update(const struct test_hub *h, uint64_t known, struct writer *w)
{
    (void)h;
    (void)known;
    writer_text(w, "{}");
}

static void test_what_is_not_signed_is_no_answer(void **state)
{
    void (*const shows[])(const struct test_hub *, uint64_t, struct writer *) = {
        show_signed_by_another, show_from_another_size, show_damaged, show_no_update};
    for (size_t i = 0; i < ARRAY_LEN(shows); i++) {
        (void)set_up(state);
        struct world *w = *state;
        know(w, 50);
        long_lived(w);
        unsigned checked_in = w->events[DEVICE_EVENT_CHECKED_IN];
        int64_t interval = w->device.checkin_interval;
        w->hub.log_size += 10;
        w->hub.fork_at = 30;
        w->hub.show = shows[i];
        w->hub.next_checkin = 7;
        (void)live(w, 3600);
        assert_int_equal(w->device.ledger.finding, LEDGER_SOUND);
        assert_int_equal(w->events[DEVICE_EVENT_CHECKED_IN], checked_in);
        assert_int_equal(w->device.checkin_interval, interval);
        assert_true(w->events[DEVICE_EVENT_FAILED] > 2);
        w->hub.fork_at = UINT64_MAX;
        w->hub.show = show_ledger;
        (void)live(w, 3600);
        assert_true(w->events[DEVICE_EVENT_CHECKED_IN] > checked_in);
        assert_true(w->device.ledger.size == w->hub.log_size);
    }
}

/* ---- the way back ---- */

static void test_a_bundle_signed_since_starts_anew(void **state)
{
    struct world *w = *state;
    know(w, 50);
    long_lived(w);
    w->hub.fork_at = 30;
    w->hub.log_size += 10;
    (void)live(w, 61);
    assert_misled(w, LEDGER_FORKED, "forked");
    int64_t found_at = w->device.ledger.found_at;
    /* One that was signed before, and held back until now, does not. */
    w->hub.bundle_version = 2;
    w->hub.bundle = make_bundle(2, found_at - 1, w->other_bundle);
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    assert_int_equal(w->device.bundle.version, 2);
    assert_misled(w, LEDGER_FORKED, "forked");
    w->hub.bundle_version = 3;
    w->hub.bundle = make_bundle(3, found_at, w->other_bundle);
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    assert_int_equal(w->device.bundle.version, 3);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    assert_int_equal(w->events[DEVICE_EVENT_LEDGER_SOUND], 1);
    assert_true(w->device.ledger.size == w->hub.log_size);
    /* and what it was told by that is kept */
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_true(w->device.ledger.size > 0);
    assert_int_equal(w->device.ledger.finding, LEDGER_SOUND);
}

/* A newer bundle for another reason makes no device forget. */
static void test_a_bundle_makes_nobody_forget(void **state)
{
    struct world *w = *state;
    know(w, 50);
    long_lived(w);
    uint64_t known = w->device.ledger.size;
    w->hub.bundle_version = 2;
    w->hub.bundle = make_bundle(2, w->hub.time, w->other_bundle);
    (void)live(w, 200);
    assert_int_equal(w->device.bundle.version, 2);
    assert_true(w->device.ledger.size == known);
    w->hub.log_size = known - 1;
    (void)live(w, 61);
    assert_misled(w, LEDGER_SHRUNK, "shrunk");
}

/* It stays within reach: an identity is renewed, by a hub that is believed nothing else. */
static void test_renews_while_misled(void **state)
{
    struct world *w = *state;
    know(w, 50);
    w->hub.fork_at = 30;
    w->hub.log_size += 10;
    (void)live(w, 3 * INT64_C(1) * TEST_LIFE);
    assert_misled(w, LEDGER_FORKED, "forked");
    assert_true(w->hub.renewals >= 2);
    assert_int_equal(w->hub.enrolments, 1);
}

/* The disk is full when it finds out: it is misled all the same, and says so after a start. */
static void test_found_on_a_full_disk(void **state)
{
    struct world *w = *state;
    know(w, 50);
    w->fake.fail_at = w->fake.operations + 1;
    w->fake.fail_from = true;
    w->fake.fail_with = ERR_DISK_FULL;
    w->hub.log_size = 20;
    (void)live(w, 61);
    assert_misled(w, LEDGER_SHRUNK, "shrunk");
    w->fake.fail_from = false;
    w->fake.fail_at = 0;
    (void)live(w, 2 * DEVICE_REFUSED_STANDARD);
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_misled(w, LEDGER_SHRUNK, "shrunk");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_follows_a_ledger_that_grows, set_up),
        cmocka_unit_test_setup(test_remembers_over_a_start, set_up),
        cmocka_unit_test_setup(test_shrunk, set_up),
        cmocka_unit_test_setup(test_forked, set_up),
        cmocka_unit_test_setup(test_two_trees_of_one_size, set_up),
        cmocka_unit_test_setup(test_shrunk_then_forked, set_up),
        cmocka_unit_test_setup(test_hidden_from_the_start, set_up),
        cmocka_unit_test_setup(test_hidden_after_a_renewal, set_up),
        cmocka_unit_test_setup(test_what_is_not_signed_is_no_answer, set_up),
        cmocka_unit_test_setup(test_a_bundle_signed_since_starts_anew, set_up),
        cmocka_unit_test_setup(test_a_bundle_makes_nobody_forget, set_up),
        cmocka_unit_test_setup(test_renews_while_misled, set_up),
        cmocka_unit_test_setup(test_found_on_a_full_disk, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
