#include "tests/unit/device_world.h"

/* ---- trust bundles ---- */

static void test_follows_a_newer_bundle(void **state)
{
    struct world *w = *state;
    w->hub.bundle_version = 3;
    w->hub.bundle = make_bundle(3, T0 - 60, w->other_bundle);
    enrol(w);
    assert_int_equal(w->events[DEVICE_EVENT_BUNDLE_FOLLOWED], 1);
    assert_int_equal(w->device.bundle.version, 3);
    /* it stays so after a start with the bundle it was born with, and is not fetched again */
    enrol(w);
    assert_int_equal(w->device.bundle.version, 3);
    assert_int_equal(w->hub.bundles, 1);
}

static void test_rejects_bundles(void **state)
{
    struct note_key own = bundle_key(0), other = bundle_key(1);
    for (unsigned i = 0; i < 5; i++) {
        (void)set_up(state);
        struct world *w = *state;
        uint8_t *to = w->other_bundle;
        w->options.trust_bundle = make_bundle(2, T0 - 3600, w->bundle);
        w->hub.bundle_version = 9;
        switch (i) {
        case 0: /* older than the one held, whatever the header said */
            w->hub.bundle = make_bundle(1, T0, to);
            break;
        case 1: /* signed by somebody else */
            w->hub.bundle = test_write_bundle(FLEET, 3, T0, &other, &other, seeds + 1, 1,
                                              test_ed25519_sign, to, NOTE_MAX);
            break;
        case 2: /* another fleet's */
            w->hub.bundle = test_write_bundle("other.example", 3, T0, &own, &own, seeds, 1,
                                              test_ed25519_sign, to, NOTE_MAX);
            break;
        case 3: /* goes over to a key that has not signed: nobody could start with it */
            w->hub.bundle = test_write_bundle(FLEET, 3, T0, &other, &own, seeds, 1,
                                              test_ed25519_sign, to, NOTE_MAX);
            break;
        default:
            w->hub.bundle = SLICE_LITERAL("x");
        }
        enrol(w);
        assert_int_equal(w->hub.bundles, 1);
        assert_int_equal(w->events[DEVICE_EVENT_BUNDLE_REJECTED], 1);
        assert_int_equal(w->device.bundle.version, 2);
        assert_int_equal(w->device.state.bundle_version, 2);
        enrol(w); /* and what it has still works */
    }
}

static void test_bundle_key_may_change(void **state)
{
    struct world *w = *state;
    struct note_key keys[2] = {bundle_key(0), bundle_key(1)};
    w->hub.bundle_version = 2;
    w->hub.bundle = test_write_bundle(FLEET, 2, T0, &keys[1], keys, seeds, 2, test_ed25519_sign,
                                      w->other_bundle, NOTE_MAX);
    enrol(w);
    assert_int_equal(w->device.bundle.version, 2);
    enrol(w);
    assert_memory_equal(w->device.bundle.bundle_key.key, keys[1].key, ED25519_KEY_SIZE);
}

static void test_downgraded_state(void **state)
{
    struct world *w = *state;
    w->options.trust_bundle = make_bundle(5, T0 - 3600, w->bundle);
    enrol(w);
    /* the older bundle in the configuration changes nothing... */
    w->options.trust_bundle = make_bundle(4, T0 - 3600, w->other_bundle);
    enrol(w);
    assert_int_equal(w->device.bundle.version, 5);
    assert_int_equal(w->events[DEVICE_EVENT_BUNDLE_REJECTED], 0);
    /* ...and where the newer one is lost, there is no way back to the older */
    fake_record(&w->fake, "bundle-0")->bytes[100] ^= 1;
    assert_int_equal(start(w), ERR_CONFLICT);
}

/* ---- time ---- */

static void test_clock_that_is_wrong(void **state)
{
    static const struct {
        int64_t wall, least, most;
    } cases[] = {
        {0, T0 - 3600, T0 - 3600}, /* no clock: the bundle's floor */
        {-5, T0 - 3600, T0 - 3600},
        {T0, T0, T0},
        {INT64_MAX, T0 - 3600, T0 - 3600}, /* absurd */
        {BUILD + DEVICE_TIME_PLAUSIBLE + 1, T0 - 3600, T0 - 3600},
        {T0 - 7200, T0 - 3600, T0 - 3600},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)set_up(state);
        struct world *w = *state;
        w->fake.wall = cases[i].wall;
        assert_int_equal(start(w), ERR_NONE);
        assert_in_range(device_time(&w->device), cases[i].least, cases[i].most);
    }
}

static void test_clock_goes_backwards(void **state)
{
    struct world *w = *state;
    enrol(w);
    int64_t now = device_time(&w->device);
    w->fake.wall -= 1000000;
    assert_int_equal(device_time(&w->device), now);
    (void)fake_pass(&w->fake, 5000);
    assert_int_equal(device_time(&w->device), now + 5);
    /* nor by a start: what was persisted holds */
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_in_range(device_time(&w->device), now - DEVICE_TIME_SAVE, now + 5);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
}

static void test_clock_ahead_leaves_no_trace(void **state)
{
    struct world *w = *state;
    w->fake.wall = T0 + INT64_C(5) * 365 * 86400;
    w->fake.connect_err = ERR_EXPIRED; /* what TLS makes of that time */
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(live(w, 7200), DEVICE_NEW);
    w->fake.wall = w->hub.time;
    w->fake.connect_err = ERR_NONE;
    assert_int_equal(live(w, 2000), DEVICE_ENROLLED);
    assert_in_range(device_time(&w->device), w->hub.time - 2, w->hub.time + 2);
}

static void test_certificate_tells_the_time(void **state)
{
    struct world *w = *state;
    w->fake.wall = 0;
    enrol(w);
    /* not before the hub has taken it: the second connection knew no better than the first */
    assert_int_equal(w->fake.time, T0 - 3600);
    assert_int_equal(device_time(&w->device), T0 - 300);
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(device_time(&w->device), T0 - 300);
}

static void test_time_is_saved_rarely(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.next_checkin = 60;
    w->device.renew_at = 2 * T0; /* nothing else to write */
    w->device.not_after = 2 * T0;
    w->hub.issued[0].not_after = 2 * T0;
    uint64_t before = w->device.state.sequence;
    (void)live(w, 10 * 3600);
    assert_in_range(w->device.state.sequence - before, 9, 10);
}

/* ---- options ---- */

static void test_endpoints_and_options(void **state)
{
    static const char *const bad[] = {"hub",    "hub:",   ":1",     "hub:0",  "hub:65536",
                                      "hub:1x", "[::1]1", "[::1:1", "hub:01", ""};
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        w->options.hub = bad[i];
        assert_int_not_equal(start(w), ERR_NONE);
    }
    w->options.hub = "[::1]:8443";
    assert_int_equal(start(w), ERR_NONE);
    assert_string_equal(w->device.endpoints[ENDPOINT_HUB].host, "::1");
    static const char *const serials[] = {"", "a b", "a:b", "a/b", "a\r\nb"};
    for (size_t i = 0; i < ARRAY_LEN(serials); i++) {
        w->options.serial = serials[i];
        assert_int_equal(start(w), ERR_SYNTAX);
    }
    w->options.serial = TEST_SERIAL;
    w->options.key_kind = KEY_RSA;
    assert_int_equal(start(w), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_follows_a_newer_bundle, set_up),
        cmocka_unit_test_setup(test_rejects_bundles, set_up),
        cmocka_unit_test_setup(test_bundle_key_may_change, set_up),
        cmocka_unit_test_setup(test_downgraded_state, set_up),
        cmocka_unit_test_setup(test_clock_that_is_wrong, set_up),
        cmocka_unit_test_setup(test_clock_goes_backwards, set_up),
        cmocka_unit_test_setup(test_clock_ahead_leaves_no_trace, set_up),
        cmocka_unit_test_setup(test_certificate_tells_the_time, set_up),
        cmocka_unit_test_setup(test_time_is_saved_rarely, set_up),
        cmocka_unit_test_setup(test_endpoints_and_options, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
