/* Certificates that a hub should not have given, and what a device gives up for one when. */
#include "tests/unit/device_world.h"

#define DAY   INT64_C(86400)
#define YEARS (INT64_C(20) * 365 * DAY)

/* The server's certificate as a hub has it: a third of its life is over. */
static int set_up_server(void **state)
{
    (void)set_up(state);
    world.fake.proves =
        (struct port_server){.not_before = T0 - 10 * DAY, .not_after = T0 + 20 * DAY};
    return 0;
}

static void steps(struct world *w, enum device_event_kind until)
{
    for (unsigned n = 0; w->events[until] == 0; n++) {
        int64_t delay;
        (void)device_step(&w->device, &delay);
        if (w->events[until] == 0)
            pass(w, delay);
        assert_true(n < 1000);
    }
}

static void assert_nothing_given_up(struct world *w)
{
    assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 0);
    assert_true(w->options.claim.len > 0);
    assert_null(fake_record(&w->fake, "certificate-a"));
    assert_false(device_has_certificate(&w->device));
    assert_true(device_time(&w->device) <= w->fake.wall + 1);
    assert_true(w->device.state.time <= w->fake.wall + 1);
}

/* ---- its start ---- */

static bool serve_of_another_time(struct fake *f)
{
    struct test_hub *h = f->server;
    int64_t time = h->time;
    h->time = time + YEARS;
    bool comes = hub_serve(f);
    h->time = time;
    return comes;
}

static void operator_expects_it_anew(struct world *w)
{
    w->hub.claim_used = false;
    w->hub.newest = -1;
}

static void test_start_years_ahead(void **state)
{
    struct world *w = *state;
    w->fake.serve = serve_of_another_time;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(live(w, 3600), DEVICE_NEW);
    assert_int_equal(w->hub.enrolments, 1);
    assert_true(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED] > 0);
    assert_int_equal(w->last[DEVICE_EVENT_CERTIFICATE_REJECTED].err, ERR_CONFLICT);
    assert_nothing_given_up(w);

    /* the genuine hub, or the honest one once its clock is right */
    fake_restart(&w->fake);
    w->fake.serve = hub_serve;
    operator_expects_it_anew(w);
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(live(w, 600), DEVICE_ENROLLED);
    assert_int_equal(w->fake.keys_made, 1);
    assert_in_range(device_time(&w->device), w->hub.time - 2, w->hub.time + 2);
}

static void test_start_and_the_servers_end(void **state)
{
    static const struct {
        int64_t from_end;
        enum device_phase phase;
    } cases[] = {{-1, DEVICE_ENROLLED}, {0, DEVICE_ENROLLED}, {1, DEVICE_NEW}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)set_up(state);
        struct world *w = *state;
        /* the hub issues from five minutes before its time */
        w->fake.proves.not_before = T0 - DAY;
        w->fake.proves.not_after = T0 - 300 - cases[i].from_end;
        assert_int_equal(start(w), ERR_NONE);
        assert_int_equal(settle(w), cases[i].phase);
        assert_int_equal(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED],
                         cases[i].phase == DEVICE_NEW ? 1 : 0);
    }
}

static void test_renewal_years_ahead(void **state)
{
    struct world *w = *state;
    enrol(w);
    w->hub.issued[0].not_after = T0 + 2 * YEARS; /* for the hub alone: it is years ahead */
    w->fake.serve = serve_of_another_time;
    device_renew(&w->device);
    struct slice before = SLICE_LITERAL(TEST_NAME);
    steps(w, DEVICE_EVENT_CERTIFICATE_REJECTED);
    assert_true(slice_equal(before, slice_of_text(w->device.name)));
    assert_null(fake_record(&w->fake, "certificate-b"));
    assert_true(device_time(&w->device) <= w->fake.wall + 1);
    assert_int_equal(device_phase_of(&w->device), DEVICE_ENROLLED);
}

/* ---- its chain ---- */

static size_t certificates_kept(struct world *w)
{
    size_t n = 0;
    const struct fake_record *record = fake_record(&w->fake, "certificate-a");
    assert_non_null(record);
    struct reader r = reader_over(slice_of(record->bytes, record->len));
    for (; reader_left(&r) > 0; n++)
        (void)der_read_any(&r, NULL);
    assert_int_equal(reader_finish(&r), ERR_NONE);
    return n;
}

/* The issuing authority is under a root that we do not know, and ours has signed that root. */
static void test_new_root_under_the_old(void **state)
{
    struct world *w = *state;
    w->hub.new_with_old = true;
    w->fake.chain_min = 3;
    enrol(w);
    assert_int_equal(certificates_kept(w), 3);
    /* where it has not, the certificate is none for us */
    (void)set_up(state);
    w->fake.chain_min = 3;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_NEW);
    assert_int_equal(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED], 1);
    /* and where our root is above the issuing authority itself, it is left out */
    (void)set_up(state);
    w->hub.new_with_old = true;
    enrol(w);
    assert_int_equal(certificates_kept(w), 2);
}

/* ---- the time ---- */

static void test_time_is_raised_by_what_the_hub_took(void **state)
{
    struct world *w = *state;
    w->fake.wall = 0; /* so the bundle's floor is all it knows */
    assert_int_equal(start(w), ERR_NONE);
    while (!device_has_certificate(&w->device)) {
        int64_t delay;
        (void)device_step(&w->device, &delay);
        assert_int_equal(delay, 0);
    }
    assert_int_equal(device_time(&w->device), T0 - 3600);
    assert_true(w->device.state.time <= T0 - 3600);
    assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 0);
    assert_int_equal(device_phase_of(&w->device), DEVICE_NEW);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(device_time(&w->device), T0 - 300);
    assert_int_equal(w->device.state.time, T0 - 300);
}

/* However far ahead the times are that a hub claims, it moves the device no further than to where
 * the next server certificate is there. */
static void test_time_is_raised_no_further_than_credible(void **state)
{
    struct world *w = *state;
    w->fake.wall = 0;
    w->hub.time = T0 + 19 * DAY;
    enrol(w);
    assert_int_equal(device_time(&w->device), T0 + 10 * DAY);
    /* nor does a wrong clock of its own */
    fake_restart(&w->fake);
    w->fake.wall = T0 + 15 * DAY;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    w->fake.wall = T0;
    assert_int_equal(device_time(&w->device), T0 + 10 * DAY);
}

static void test_credible_time(void **state)
{
    (void)state;
    assert_int_equal(timeline_credible(1000, 1090), 1060);
    assert_int_equal(timeline_credible(1000, 1000), 1000);
}

/* ---- its signature, and its first use ---- */

/* As one that has the server's key and no more. */
static bool serve_unsigned(struct fake *f)
{
    if (hub_is(f, TEST_BOOTSTRAP_PORT, "GET /.well-known/est/cacerts ")) {
        uint8_t buffer[512];
        struct slice nobody = hub_authority("nobody", "issuing", buffer, sizeof buffer);
        hub_certificates(f, &nobody, 1);
        return true;
    }
    return hub_serve(f);
}

static void test_signed_by_nobody(void **state)
{
    struct world *w = *state;
    w->fake.serve = serve_unsigned;
    assert_int_equal(start(w), ERR_NONE);
    assert_int_equal(settle(w), DEVICE_NEW);
    assert_int_equal(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED], 1);
    assert_int_equal(w->last[DEVICE_EVENT_CERTIFICATE_REJECTED].err, ERR_BAD_SIGNATURE);
    assert_nothing_given_up(w);
    w->fake.serve = hub_serve;
    assert_int_equal(live(w, 600), DEVICE_ENROLLED);
    assert_int_equal(w->fake.keys_made, 1);
    assert_int_equal(w->hub.repeats, 1);
}

/* A chain that was known by name is not enough, once the hub's issuer is another. */
static void test_known_issuer_has_changed(void **state)
{
    struct world *w = *state;
    enrol(w);
    uint8_t buffer[512];
    struct slice other = hub_authority("elsewhere", "issuing", buffer, sizeof buffer);
    struct fake_record *chain = fake_record(&w->fake, "certificate-a");
    size_t own = w->hub.issued[0].len;
    memcpy(chain->bytes + own, other.data, other.len);
    chain->len = own + other.len;
    struct slice bytes = slice_of(chain->bytes, chain->len);
    test_sha256(&bytes, 1, w->device.state.slots[0].chain_sha256);
    unsigned fetched = w->hub.cacerts;
    device_renew(&w->device);
    steps(w, DEVICE_EVENT_CONFIRMED);
    assert_int_equal(w->hub.cacerts, fetched + 1);
}

static bool serve_without_issuer(struct fake *f)
{
    return !hub_is(f, TEST_BOOTSTRAP_PORT, "GET /.well-known/est/cacerts ") && hub_serve(f);
}

static void test_chain_that_does_not_come(void **state)
{
    struct world *w = *state;
    w->fake.serve = serve_without_issuer;
    assert_int_equal(start(w), ERR_NONE);
    steps(w, DEVICE_EVENT_FAILED);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(w->events[DEVICE_EVENT_CERTIFICATE_REJECTED], 0); /* nothing is known of it */
    assert_nothing_given_up(w);
    w->fake.serve = hub_serve;
    assert_int_equal(live(w, 60), DEVICE_ENROLLED);
    assert_int_equal(w->hub.repeats, 1);
}

static bool hub_refuses_use(struct fake *f)
{
    if (f->to_port != TEST_HUB_PORT)
        return hub_serve(f);
    hub_problem(f, 403, "certificate-unknown");
    return true;
}

static void test_first_use_is_refused(void **state)
{
    struct world *w = *state;
    w->fake.serve = hub_refuses_use;
    assert_int_equal(start(w), ERR_NONE);
    steps(w, DEVICE_EVENT_FAILED);
    assert_int_equal(w->last[DEVICE_EVENT_FAILED].err, ERR_REFUSED);
    assert_true(w->options.claim.len > 0);
    w->fake.serve = hub_serve;
    assert_int_equal(live(w, 60), DEVICE_ENROLLED);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(w->hub.repeats, 1); /* the same bytes, for the same key */
    assert_int_equal(w->fake.keys_made, 1);
    assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 1);
    assert_int_equal(w->options.claim.len, 0);
}

static void test_first_use_is_refused_for_long(void **state)
{
    struct world *w = *state;
    w->fake.serve = hub_refuses_use;
    w->options.refused_retry = 300;
    assert_int_equal(start(w), ERR_NONE);
    (void)live(w, 2400);
    assert_int_equal(device_phase_of(&w->device), DEVICE_REFUSED);
    /* it is told, and it asks as rarely as all that are refused */
    assert_in_range(w->events[DEVICE_EVENT_REFUSED], 6, 9);
    assert_int_equal(w->events[DEVICE_EVENT_FAILED], 1);
    assert_in_range(w->hub.repeats, 6, 9);
    assert_int_equal(w->hub.enrolments, 1);
    assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 0);
    assert_true(w->options.claim.len > 0);
    assert_int_equal(w->fake.keys_made, 1);
    w->fake.serve = hub_serve;
    assert_int_equal(live(w, 500), DEVICE_ENROLLED);
}

/* The hub counts the first use, but its answer is lost, and then somebody refuses: the certificate
 * is the only one there will ever be, and must not be thrown away. */
static void test_used_certificate_is_kept(void **state)
{
    struct world *w = *state;
    w->options.refused_retry = 300;
    assert_int_equal(start(w), ERR_NONE);
    while (!device_has_certificate(&w->device)) {
        int64_t delay;
        (void)device_step(&w->device, &delay);
    }
    w->hub.loses_answers = true;
    (void)settle(w);
    assert_true(w->hub.issued[0].used);
    assert_int_equal(w->events[DEVICE_EVENT_ENROLLED], 0);
    w->hub.loses_answers = false;
    w->fake.serve = hub_refuses_use;
    (void)live(w, 60);
    assert_string_equal(w->last_code[DEVICE_EVENT_REFUSED], "claim-used");
    w->fake.serve = hub_serve;
    assert_int_equal(live(w, 900), DEVICE_ENROLLED);
    assert_int_equal(w->hub.issued_len, 1);
}

static void test_claim_is_kept_over_a_start(void **state)
{
    struct world *w = *state;
    assert_int_equal(start(w), ERR_NONE);
    while (!device_has_certificate(&w->device)) {
        int64_t delay;
        (void)device_step(&w->device, &delay);
    }
    fake_restart(&w->fake);
    assert_int_equal(start(w), ERR_NONE);
    assert_true(device_has_certificate(&w->device));
    assert_int_equal(device_phase_of(&w->device), DEVICE_NEW);
    assert_true(w->options.claim.len > 0);
    assert_int_equal(settle(w), DEVICE_ENROLLED);
    assert_int_equal(w->options.claim.len, 0);
    assert_int_equal(w->hub.repeats, 0);
    assert_string_equal(w->device.name, TEST_NAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_start_years_ahead, set_up_server),
        cmocka_unit_test_setup(test_start_and_the_servers_end, set_up),
        cmocka_unit_test_setup(test_renewal_years_ahead, set_up_server),
        cmocka_unit_test_setup(test_time_is_raised_by_what_the_hub_took, set_up_server),
        cmocka_unit_test_setup(test_time_is_raised_no_further_than_credible, set_up_server),
        cmocka_unit_test(test_credible_time),
        cmocka_unit_test_setup(test_new_root_under_the_old, set_up),
        cmocka_unit_test_setup(test_signed_by_nobody, set_up_server),
        cmocka_unit_test_setup(test_known_issuer_has_changed, set_up_server),
        cmocka_unit_test_setup(test_chain_that_does_not_come, set_up_server),
        cmocka_unit_test_setup(test_first_use_is_refused, set_up_server),
        cmocka_unit_test_setup(test_first_use_is_refused_for_long, set_up_server),
        cmocka_unit_test_setup(test_used_certificate_is_kept, set_up_server),
        cmocka_unit_test_setup(test_claim_is_kept_over_a_start, set_up_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
