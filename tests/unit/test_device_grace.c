/* A device that slept past the end of its certificate comes back with it, by a key of its own. */
#include "tests/unit/device_world.h"

#define SLEEP (INT64_C(10) * TEST_LIFE) /* seconds */

static void sleep_past_the_end(struct world *w)
{
    pass(w, SLEEP * 1000);
    assert_int_equal(device_phase_of(&w->device), DEVICE_EXPIRED);
}

static void assert_back(struct world *w)
{
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    assert_int_equal(w->hub.returns, 1);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(keys_there(w), 1);
    assert_string_equal(w->device.name, TEST_NAME);
    assert_int_equal(w->hub.confirmed, w->hub.newest);
}

static void test_comes_back_by_itself(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.grace = 2 * SLEEP;
    sleep_past_the_end(w);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_back(w);
    assert_int_equal(w->fake.keys_made, 2);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
    /* and lives on as before */
    assert_int_equal(live(w, INT64_C(2) * TEST_LIFE), DEVICE_ENROLLED);
    assert_true(w->hub.renewals > 0);
}

/* Switched off while it slept, as most of them are. */
static void test_comes_back_after_a_start(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.grace = 2 * SLEEP;
    fake_restart(&w->fake);
    pass(w, SLEEP * 1000);
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(device_phase_of(&w->device), DEVICE_EXPIRED);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_back(w);
}

/* It is enrolled then, and waits until it is trusted: that is no refusal. */
static void test_waits_until_it_is_trusted(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.grace = 2 * SLEEP;
    w->hub.not_trusted = true;
    sleep_past_the_end(w);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_back(w);
    assert_int_equal(w->events[DEVICE_EVENT_REFUSED], 0);
    assert_true(w->events[DEVICE_EVENT_WAITING] > 0);
}

static void test_asks_rarely_while_it_stays_out(void **state)
{
    struct world *w = *state;
    enrol(w);
    sleep_past_the_end(w);
    assert_int_equal(settle(w), DEVICE_REFUSED);
    assert_string_equal(w->last_code[DEVICE_EVENT_REFUSED], "grace-over");
    unsigned before = w->hub.refusals;
    assert_int_equal(live(w, 12 * 3600), DEVICE_REFUSED);
    assert_in_range(w->hub.refusals - before, 9, 12);
    assert_int_equal(w->fake.keys_made, 2); /* the fresh key is kept for when it is let in */
    w->hub.grace = 4 * SLEEP + 24 * 3600;
    assert_int_equal(live(w, 2 * 3600), DEVICE_ENROLLED);
    assert_int_equal(w->hub.returns, 1);
}

/* Its renewal was on the way when it fell asleep: the hub has issued, and the answer never came. */
static void test_lost_renewal_before_the_sleep(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.grace = 2 * SLEEP;
    device_renew(&w->device);
    w->hub.loses_answers = true;
    (void)settle(w);
    assert_int_equal(w->hub.renewals, 1);
    w->hub.loses_answers = false;
    sleep_past_the_end(w);
    (void)live(w, 60);
    assert_back(w);
    assert_int_equal(w->hub.seen_keys, 1);
    assert_int_equal(w->fake.keys_made, 3);
    assert_int_equal(w->events[DEVICE_EVENT_REFUSED], 0);
}

/* The answer came, and was not used: then the device knows by itself that the key was seen. */
static void test_unused_renewal_before_the_sleep(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.grace = 2 * SLEEP;
    device_renew(&w->device);
    for (unsigned n = 0; w->events[DEVICE_EVENT_RENEWED] == 0; n++) {
        int64_t delay;
        (void)device_step(&w->device, &delay);
        assert_true(n < 10);
    }
    sleep_past_the_end(w);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_back(w);
    assert_int_equal(w->hub.seen_keys, 0);
    assert_int_equal(w->hub.refusals, 0);
    assert_int_equal(w->fake.keys_made, 3);
}

/* As long as the certificate from that renewal lasts, nothing has run out: it is used. */
static void test_unused_renewal_that_lasts(void **state)
{
    struct world *w = *state;
    enrol(w);
    pass(w, (TEST_LIFE - 100) * INT64_C(1000));
    for (unsigned n = 0; w->events[DEVICE_EVENT_RENEWED] == 0; n++) {
        int64_t delay;
        (void)device_step(&w->device, &delay);
        assert_true(n < 10);
    }
    pass(w, 200 * 1000);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->hub.returns, 0);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
    assert_int_equal(w->fake.keys_made, 2);
}

/* Its clock is ahead, and the hub, whose clock is right, tells it so. */
static void test_its_clock_is_ahead(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.grace = 2 * SLEEP;
    w->fake.wall += TEST_LIFE + 600;
    assert_int_equal(device_phase_of(&w->device), DEVICE_EXPIRED);
    w->hub.life = 4 * TEST_LIFE; /* or it would take the next one for over, too */
    (void)live(w, 60);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
    assert_int_equal(w->hub.returns, 0);
    assert_int_equal(w->hub.renewals, 1);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
    assert_int_equal(w->events[DEVICE_EVENT_REFUSED], 0);
}

static bool says_in_date(struct fake *f)
{
    hub_problem(f, 403,
                f->to_port == TEST_HUB_PORT ? "certificate-expired" : "certificate-in-date");
    return true;
}

/* One that says so at one door and denies it at the other is asked no more often than any other. */
static void test_the_hub_contradicts_itself(void **state)
{
    struct world *w = *state;
    enrol(w);
    sleep_past_the_end(w);
    w->fake.serve = says_in_date;
    assert_int_equal(live(w, 12 * 3600), DEVICE_REFUSED);
    assert_in_range(w->hub.refusals, 12, 30);
    w->fake.serve = hub_serve;
    w->hub.grace = 4 * SLEEP + 24 * 3600;
    assert_int_equal(live(w, 2 * 3600), DEVICE_ENROLLED);
    assert_int_equal(w->hub.returns, 1);
}

/* A hub that takes no key at all wears out neither the device's storage nor its own patience. */
static void test_no_key_is_fresh_enough(void **state)
{
    struct world *w = *state;
    enrol(w);
    sleep_past_the_end(w);
    w->hub.status = 409;
    w->hub.code = "key-not-fresh";
    assert_int_equal(live(w, 12 * 3600), DEVICE_REFUSED);
    assert_in_range(w->fake.keys_made, 9, 16);
    assert_int_equal(keys_there(w), 2); /* the last one that was good is never given up for it */
    w->hub.status = 0;
    w->hub.grace = 4 * SLEEP + 24 * 3600;
    assert_int_equal(live(w, 2 * 3600), DEVICE_ENROLLED);
    assert_back(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_comes_back_by_itself, set_up),
        cmocka_unit_test_setup(test_comes_back_after_a_start, set_up),
        cmocka_unit_test_setup(test_waits_until_it_is_trusted, set_up),
        cmocka_unit_test_setup(test_asks_rarely_while_it_stays_out, set_up),
        cmocka_unit_test_setup(test_lost_renewal_before_the_sleep, set_up),
        cmocka_unit_test_setup(test_unused_renewal_before_the_sleep, set_up),
        cmocka_unit_test_setup(test_unused_renewal_that_lasts, set_up),
        cmocka_unit_test_setup(test_its_clock_is_ahead, set_up),
        cmocka_unit_test_setup(test_the_hub_contradicts_itself, set_up),
        cmocka_unit_test_setup(test_no_key_is_fresh_enough, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
