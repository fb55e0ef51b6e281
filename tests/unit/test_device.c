#include "tests/unit/device_world.h"

/* ---- a life without trouble ---- */

static void test_enrols_by_claim(void **state)
{
    struct world *w = *state;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(device_phase_of(&w->device), DEVICE_NEW);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(w->hub.checkins, 1);
    assert_int_equal(w->hub.reports, 1);
    assert_int_equal(w->events[DEVICE_EVENT_KEY_MADE], 1);
    assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 1);
    assert_string_equal(w->device.name, TEST_NAME);
    assert_int_equal(w->device.not_after, T0 + TEST_LIFE);
    assert_int_equal(keys_there(w), 1);
    const char report[] =
        "{\"agent_version\":\"0.1.0\",\"platform\":\"test\",\"key_storage\":\"file\","
        "\"facts\":{\"os\":\"test \\\"1\\\"\"}}";
    assert_int_equal(w->hub.report_len, sizeof report - 1);
    assert_memory_equal(w->hub.report, report, sizeof report - 1);
    /* one connection for the enrolment and the chain, one for the rest */
    assert_int_equal(w->fake.connects, 2);
    assert_false(w->fake.connected);
}

static void test_enrols_by_manufacturer(void **state)
{
    struct world *w = *state;
    uint8_t buffer[512];
    struct slice idevid = hub_authority("maker", "device", buffer, sizeof buffer);
    w->options.proof = DEVICE_PROOF_MANUFACTURER;
    w->options.claim = slice_of(NULL, 0);
    w->options.manufacturer_chain = idevid;
    fake_make_key(&w->fake, PORT_KEY_MANUFACTURER, KEY_P256);
    test_sha256(&idevid, 1, w->hub.idevid_sha256);
    enrol(w);
    assert_int_equal(w->hub.enrolments, 1);
}

static void test_enrols_by_pinned_key(void **state)
{
    struct world *w = *state;
    uint8_t hash[SHA256_SIZE], again[SHA256_SIZE];
    w->options.proof = DEVICE_PROOF_KEY;
    w->options.claim = slice_of(NULL, 0);
    w->hub.takes_pinned = true;
    /* whatever the configuration says by then, the first key stays */
    assert_int_equal(device_first_key(&w->fake.port, KEY_ED25519, w->hub.pinned_sha256), ERR_NONE);
    assert_int_equal(device_first_key(&w->fake.port, KEY_P256, hash), ERR_NONE);
    assert_memory_equal(hash, w->hub.pinned_sha256, sizeof hash);
    enrol(w);
    assert_int_equal(w->fake.keys_made, 1);
    assert_int_equal(device_first_key(&w->fake.port, KEY_P256, again), ERR_EXISTS);
}

static void test_every_key_kind(void **state)
{
    static const enum key_kind kinds[] = {KEY_P256, KEY_P384, KEY_ED25519};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        (void)set_up(state);
        struct world *w = *state;
        w->options.key_kind = kinds[i];
        enrol(w);
        assert_int_equal(w->fake.keys[0].kind, kinds[i]);
    }
}

static void test_renews_and_rotates(void **state)
{
    struct world *w = *state;
    enrol(w);
    int64_t first = w->device.renew_at;
    int64_t middle = T0 - 300 + (TEST_LIFE + 300) / 3 * 2;
    assert_in_range(first, middle - (TEST_LIFE + 300) / 15, middle + (TEST_LIFE + 300) / 15);
    /* not a second too early */
    assert_int_equal(live(w, first - T0 - 30), DEVICE_ENROLLED);
    assert_int_equal(w->hub.renewals, 0);
    assert_int_equal(live(w, 100), DEVICE_ENROLLED);
    assert_int_equal(w->hub.renewals, 1);
    assert_int_equal(w->events[DEVICE_EVENT_RENEWED], 1);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
    assert_int_equal(w->events[DEVICE_EVENT_KEY_RETIRED], 1);
    assert_int_equal(w->fake.keys_made, 2);
    assert_false(w->fake.keys[PORT_KEY_A].there);
    assert_true(w->fake.keys[PORT_KEY_B].there);
    assert_int_equal(w->hub.cacerts, 1); /* the chain was known by then */
    assert_true(w->device.renew_at > first);
    /* and on and on */
    assert_int_equal(live(w, INT64_C(10) * TEST_LIFE), DEVICE_ENROLLED);
    assert_in_range(w->hub.renewals, 12, 18);
    assert_int_equal(keys_there(w), 1);
    assert_int_equal(w->hub.refusals, 0);
}

static void test_follows_a_rotation(void **state)
{
    struct world *w = *state;
    enrol(w);
    assert_int_equal(live(w, 200), DEVICE_ENROLLED);
    assert_int_equal(w->hub.renewals, 0);
    w->hub.asks_rotation = true;
    assert_int_equal(live(w, 100), DEVICE_ENROLLED);
    assert_int_equal(w->events[DEVICE_EVENT_ROTATION_ASKED], 1);
    assert_int_equal(w->hub.renewals, 1);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
    assert_int_equal(w->events[DEVICE_EVENT_KEY_RETIRED], 1);
    assert_int_equal(w->fake.keys_made, 2);
    assert_int_equal(keys_there(w), 1);
    assert_int_equal(live(w, 600), DEVICE_ENROLLED);
    assert_int_equal(w->hub.renewals, 1);
}

/* A renewal that fails is not begun anew with each check-in, and its key is kept. */
static void test_rotation_goes_on_with_its_key(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.asks_rotation = true;
    w->hub.refuses_renewals = true;
    w->options.refused_retry = 300;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(live(w, 280), DEVICE_ENROLLED);
    assert_int_equal(w->fake.keys_made, 2);
    assert_int_equal(w->hub.refusals, 1);
    assert_int_equal(w->events[DEVICE_EVENT_ROTATION_ASKED], 1);
    w->hub.refuses_renewals = false;
    assert_int_equal(live(w, 400), DEVICE_ENROLLED);
    assert_int_equal(w->fake.keys_made, 2);
    assert_int_equal(w->hub.renewals, 1);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
}

/* A hub in the wrong hands asks with every answer: the storage must not wear out by it. */
static void test_is_not_worn_out_by_rotations(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.pesters = true;
    w->hub.next_checkin = 1;
    assert_int_equal(live(w, 10 * DEVICE_ROTATION_MIN), DEVICE_ENROLLED);
    assert_true(w->hub.checkins > 300);
    assert_in_range(w->hub.renewals, 8, 11);
    assert_int_equal(keys_there(w), 1);
}

static void test_chain(void **state)
{
    struct world *w = *state;
    w->hub.issuer_in_answer = true;
    enrol(w);
    assert_int_equal(w->hub.cacerts, 0);
    uint8_t buffer[512];
    struct slice issuing = hub_authority("root", "issuing", buffer, sizeof buffer);
    const struct fake_record *chain = fake_record(&w->fake, "certificate-a");
    assert_non_null(chain);
    /* ours first, then the issuer, and no root */
    assert_int_equal(chain->len, w->hub.issued[0].len + issuing.len);
    assert_memory_equal(chain->bytes, w->hub.issued[0].der, w->hub.issued[0].len);
    assert_memory_equal(chain->bytes + w->hub.issued[0].len, issuing.data, issuing.len);
}

static void test_reports_only_changes(void **state)
{
    struct world *w = *state;
    enrol(w);
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->hub.reports, 1);
    w->options.agent_version = "0.2.0";
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->hub.reports, 2);
    assert_int_equal(w->hub.enrolments, 1);
}

static void test_checkin_interval(void **state)
{
    static const struct {
        int64_t says, least, most;
    } cases[] = {{60, 57000, 63000}, {0, 950, 1050}, {INT64_C(1) << 40, 574560000, 635040000}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t delay;
        (void)set_up(state);
        struct world *w = *state;
        w->hub.next_checkin = cases[i].says;
        enrol(w);
        (void)device_step(&w->device, &delay);
        int64_t renewal = (w->device.renew_at - T0) * 1000;
        if (cases[i].least > renewal)
            assert_int_equal(delay, renewal);
        else
            assert_in_range(delay, cases[i].least, cases[i].most);
    }
}

/* ---- lost answers, busy hubs, refusals ---- */

static void test_lost_answer_gets_the_same_certificate(void **state)
{
    struct world *w = *state;
    w->hub.loses_answers = true;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_NEW);
    assert_int_equal(w->hub.enrolments, 1);
    assert_true(w->events[DEVICE_EVENT_FAILED] > 0);
    /* it starts anew in between, and keeps its key all the same */
    fake_restart(&w->fake);
    w->hub.loses_answers = false;
    enrol(w);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(w->hub.repeats, 1);
    assert_int_equal(w->fake.keys_made, 1);
}

static void test_lost_renewal_keeps_the_new_key(void **state)
{
    struct world *w = *state;
    enrol(w);
    (void)live(w, w->device.renew_at - T0 - 10);
    w->hub.loses_answers = true;
    (void)live(w, 120);
    assert_int_equal(w->hub.renewals, 1);
    assert_true(w->hub.repeats > 0);
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    w->hub.loses_answers = false;
    assert_int_equal(live(w, 1200), DEVICE_ENROLLED);
    assert_int_equal(w->hub.renewals, 1);
    assert_int_equal(w->fake.keys_made, 2);
    assert_int_equal(keys_there(w), 1);
}

static void test_backs_off(void **state)
{
    struct world *w = *state;
    w->fake.connect_err = ERR_CLOSED;
    assert_int_equal(start(w), ERR_NONE);
    int64_t delay, most = 0;
    for (unsigned i = 0; i < 40; i++) {
        (void)device_step(&w->device, &delay);
        if (delay == 0)
            continue; /* the key was made */
        assert_in_range(delay, DEVICE_RETRY_MIN_MS, DEVICE_RETRY_STANDARD * 1000);
        most = delay > most ? delay : most;
        pass(w, delay);
    }
    assert_true(most > 300000);
    assert_int_equal(w->fake.connects, 39);
    w->fake.connect_err = ERR_NONE;
    assert_int_equal(live(w, 1800), DEVICE_ENROLLED);
}

static void test_retry_after(void **state)
{
    static const struct {
        unsigned status;
        const char *extra;
        int64_t least, most;
    } cases[] = {
        {503, "Retry-After: 120\r\n", 120000, 150000},
        {429, "Retry-After: 30\r\n", 30000, 37500},
        {202, "Retry-After: 600\r\n", 600000, 750000},
        {503, "Retry-After: 99999999999999999999999\r\n", 1000, 2000},
        {503, "Retry-After: 4000000000\r\n", 86400000, 108000000},
        {503, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", 1000, 2000},
        {503, "Retry-After: 0\r\n", 1000, 2000},
        {500, "", 1000, 2000},
        {400, "", 1000, 2000},
        {301, "", 1000, 2000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)set_up(state);
        struct world *w = *state;
        int64_t delay = 0;
        w->hub.status = cases[i].status;
        w->hub.extra = cases[i].extra;
        assert_int_equal(start(w), ERR_NONE);
        while (delay == 0)
            (void)device_step(&w->device, &delay);
        assert_in_range(delay, cases[i].least, cases[i].most);
        assert_int_equal(w->last[DEVICE_EVENT_FAILED].status, cases[i].status);
        assert_int_equal(w->events[DEVICE_EVENT_REFUSED], 0);
    }
}

static void test_wrong_claim_is_slow(void **state)
{
    struct world *w = *state;
    w->options.claim = SLICE_LITERAL("WRONG");
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_REFUSED);
    assert_int_equal(w->last[DEVICE_EVENT_REFUSED].status, 401);
    assert_string_equal(w->last_code[DEVICE_EVENT_REFUSED], "enrolment-refused");
    assert_int_equal(live(w, 86400), DEVICE_REFUSED);
    assert_in_range(w->hub.refusals, 19, 25); /* about one an hour */
}

static void test_revoked_is_an_end_state(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.revoked = true;
    assert_int_equal(live(w, 120), DEVICE_REFUSED);
    assert_string_equal(w->last_code[DEVICE_EVENT_REFUSED], "device-revoked");
    unsigned before = w->fake.connects;
    assert_int_equal(live(w, 36000), DEVICE_REFUSED);
    assert_in_range(w->fake.connects - before, 7, 12);
    assert_int_equal(w->hub.renewals, 0);
}

static void test_refused_by_handshake(void **state)
{
    struct world *w = *state;
    w->options.refused_retry = 600;
    enrol(w);
    w->fake.connect_err = ERR_REFUSED;
    assert_int_equal(live(w, 120), DEVICE_REFUSED);
    assert_int_equal(w->last[DEVICE_EVENT_REFUSED].status, 0);
    /* let in again, it goes on as if nothing had been */
    w->fake.connect_err = ERR_NONE;
    assert_int_equal(live(w, 5000), DEVICE_ENROLLED);
}

static void test_not_trusted_yet_waits_and_renews(void **state)
{
    struct world *w = *state;
    w->hub.not_trusted = true;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->events[DEVICE_EVENT_WAITING], 1);
    assert_int_equal(w->events[DEVICE_EVENT_REFUSED], 0);
    assert_int_equal(live(w, INT64_C(2) * TEST_LIFE), DEVICE_ENROLLED);
    assert_in_range(w->hub.renewals, 2, 4);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], w->hub.renewals);
    assert_int_equal(w->hub.checkins, 0);
    w->hub.not_trusted = false;
    assert_int_equal(live(w, 1000), DEVICE_ENROLLED);
    assert_true(w->hub.checkins > 0);
    assert_int_equal(w->hub.reports, 1);
}

static void test_forgotten_renewal_falls_back(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.forgets_new = true;
    assert_int_equal(live(w, w->device.renew_at - T0 + 60), DEVICE_ENROLLED);
    assert_true(w->hub.renewals >= 1);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 0);
    w->hub.forgets_new = false;
    assert_int_equal(live(w, 900), DEVICE_ENROLLED);
    assert_int_equal(w->events[DEVICE_EVENT_CONFIRMED], 1);
    assert_int_equal(live(w, INT64_C(3) * TEST_LIFE), DEVICE_ENROLLED);
    assert_int_equal(keys_there(w), 1);
}

static void test_sleeps_past_the_end(void **state)
{
    struct world *w = *state;
    enrol(w);
    pass(w, INT64_C(1000) * 10 * TEST_LIFE);
    assert_int_equal(device_phase_of(&w->device), DEVICE_EXPIRED);
    assert_int_equal(settle(w), DEVICE_REFUSED);
    /* a new claim code gets it back, with the name it had */
    w->options.claim = SLICE_LITERAL(TEST_CLAIM);
    w->hub.claim_used = false;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_string_equal(w->device.name, TEST_NAME);
    assert_int_equal(keys_there(w), 1);
}

/* ---- what is not ours ---- */

static void test_foreign_certificates(void **state)
{
    static const uint8_t other_key[44] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b,
                                          0x65, 0x70, 0x03, 0x21, 0x00, 0xee};
    static const struct {
        const char *uri;
        const uint8_t *spki;
    } cases[] = {
        {TEST_NAME, other_key},
        {"spiffe://fleet.example/default/device/thermo-2", NULL},
        {"spiffe://fleet.example/default/device/thermo-1/x", NULL},
        {"spiffe://other.example/default/device/thermo-1", NULL},
        {"spiffe://fleet.example//device/thermo-1", NULL},
        {"spiffe://fleet.example/a/b/device/thermo-1", NULL},
        {"https://fleet.example/default/device/thermo-1", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)set_up(state);
        struct world *w = *state;
        w->hub.uri = cases[i].uri;
        w->hub.spki = cases[i].spki;
        assert_int_equal(start(w), ERR_NONE);
        assert_int_equal(settle(w), DEVICE_NEW);
        assert_int_equal(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED], 1);
        assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 0);
        assert_null(fake_record(&w->fake, "certificate-a"));
    }
}

static void test_renewal_may_not_change_the_name(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.uri = "spiffe://fleet.example/elsewhere/device/thermo-1";
    assert_int_equal(live(w, w->device.renew_at - T0 + 60), DEVICE_ENROLLED);
    assert_true(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED] > 0);
    assert_string_equal(w->device.name, TEST_NAME);
}

static const char *raw_body;

static bool serve_raw(struct fake *f)
{
    hub_reply(f, 200, "", slice_of_text(raw_body));
    return true;
}

static void test_malformed_answers(void **state)
{
    static const char *const bodies[] = {"", "!!!!", "MAA=", "MIAGCSqGSIb3DQEHAqCAAAAA"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        (void)set_up(state);
        struct world *w = *state;
        w->fake.serve = serve_raw;
        raw_body = bodies[i];
        assert_int_equal(start(w), ERR_NONE);
        assert_int_equal(settle(w), DEVICE_NEW);
        assert_int_equal(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED], 1);
        w->fake.serve = hub_serve;
        assert_int_equal(live(w, 60), DEVICE_ENROLLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_enrols_by_claim, set_up),
        cmocka_unit_test_setup(test_enrols_by_manufacturer, set_up),
        cmocka_unit_test_setup(test_enrols_by_pinned_key, set_up),
        cmocka_unit_test_setup(test_every_key_kind, set_up),
        cmocka_unit_test_setup(test_renews_and_rotates, set_up),
        cmocka_unit_test_setup(test_follows_a_rotation, set_up),
        cmocka_unit_test_setup(test_rotation_goes_on_with_its_key, set_up),
        cmocka_unit_test_setup(test_is_not_worn_out_by_rotations, set_up),
        cmocka_unit_test_setup(test_chain, set_up),
        cmocka_unit_test_setup(test_reports_only_changes, set_up),
        cmocka_unit_test_setup(test_checkin_interval, set_up),
        cmocka_unit_test_setup(test_lost_answer_gets_the_same_certificate, set_up),
        cmocka_unit_test_setup(test_lost_renewal_keeps_the_new_key, set_up),
        cmocka_unit_test_setup(test_backs_off, set_up),
        cmocka_unit_test_setup(test_retry_after, set_up),
        cmocka_unit_test_setup(test_wrong_claim_is_slow, set_up),
        cmocka_unit_test_setup(test_revoked_is_an_end_state, set_up),
        cmocka_unit_test_setup(test_refused_by_handshake, set_up),
        cmocka_unit_test_setup(test_not_trusted_yet_waits_and_renews, set_up),
        cmocka_unit_test_setup(test_forgotten_renewal_falls_back, set_up),
        cmocka_unit_test_setup(test_sleeps_past_the_end, set_up),
        cmocka_unit_test_setup(test_foreign_certificates, set_up),
        cmocka_unit_test_setup(test_renewal_may_not_change_the_name, set_up),
        cmocka_unit_test_setup(test_malformed_answers, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
