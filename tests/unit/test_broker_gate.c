/* Who is admitted at a broker: the decisions of the plugin without Mosquitto around them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "tests/unit/gate_fixture.h"

#define ITERATIONS 2 /* of a password: enough to see that they are counted */

/* ---- by certificate ---- */

static void admits_by_the_certificate_alone(void **state)
{
    (void)state;
    int client;
    const struct device_record a = record_of("a", "thermo", 0), c = record_of("c", "thermo", 2);
    (void)take(&a);
    (void)take(&c);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    assert_string_equal(username, "default/a");
    assert_int_equal(sessions_len(b.sessions), 1);
    assert_int_equal(b.reports.connects_len, 1);
    gate_left(&b, &client);
    assert_int_equal(sessions_len(b.sessions), 0);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    assert_int_equal(b.reports.connects_len, 1); /* the first time is told, once */
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, admit(&client, "a", 1));
    assert_refused(REFUSAL_CLIENT_ID, admit(&client, "c", 0)); /* its own, but another's name */
    struct gate_peer peer = peer_of(&client, "a", 0);
    peer.username = "default/c"; /* what it calls itself does not count */
    assert_int_equal(gate_admit(&b, &peer, username), GATE_ADMIT);
    assert_string_equal(username, "default/a");
    gate_left(&b, &state); /* nobody that was admitted */
}

static void refuses_what_has_run_out(void **state)
{
    (void)state;
    int client;
    struct gate_ending ending;
    const struct device_record a = record_of("a", "thermo", 0);
    (void)take(&a);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    gate_recheck(&b);
    assert_false(gate_next_ending(&b, NULL, &ending));
    shift(DAY + 1);
    gate_recheck(&b);
    assert_true(gate_next_ending(&b, NULL, &ending));
    assert_ptr_equal(ending.client, &client);
    assert_string_equal(ending.client_id, "a");
    gate_left(&b, &client);
    assert_false(gate_next_ending(&b, NULL, &ending));
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, admit(&client, "a", 0));
    shift(-DAY - 1); /* a clock that is set back */
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
}

static void refuses_states_that_reach_no_broker(void **state)
{
    static const enum device_state states[] = {DEVICE_EXPECTED, DEVICE_ENROLLED,
                                               DEVICE_QUARANTINED};
    int client;
    (void)state;
    struct device_record a = record_of("a", "thermo", 0);
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        a.state = states[i];
        (void)take(&a);
        assert_refused(REFUSAL_STATE, admit(&client, "a", 0));
    }
    a.state = DEVICE_TRUSTED;
    a.model = SLICE_LITERAL("unheard-of");
    (void)take(&a);
    assert_refused(REFUSAL_STATE, admit(&client, "a", 0));
    a.model = SLICE_LITERAL("thermo");
    (void)take(&a);
    b.has_rules = false;
    assert_refused(REFUSAL_STATE, admit(&client, "a", 0));
    b.has_rules = true;
    a.state = DEVICE_REVOKED;
    a.certificates_len = 0;
    (void)take(&a);
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, admit(&client, "a", 0));
}

static void goes_by_what_it_knows_for_as_long_as_the_model_may(void **state)
{
    int client, other;
    struct gate_ending ending;
    (void)state;
    const struct device_record a = record_of("a", "thermo", 0), s = record_of("s", "simple", 1);
    (void)take(&a);
    (void)take(&s);
    stale_for(STALE - 2);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    assert_int_equal(b.strictest, STALE);
    stale_for(STALE);
    gate_recheck(&b);
    assert_true(gate_next_ending(&b, NULL, &ending));
    assert_ptr_equal(ending.client, &client);
    gate_left(&b, &client);
    assert_refused(REFUSAL_STATE, admit(&client, "a", 0));
    contact_init(&b.contact); /* a broker that does not know how long it was off */
    assert_refused(REFUSAL_STATE, admit(&client, "a", 0));
    assert_refused(REFUSAL_STATE, admit(&other, "s", 1)); /* 0: no staleness at all */
    in_touch();
    assert_int_equal(admit(&other, "s", 1), GATE_ADMIT);
    b.caught_up = false; /* it has come up, and waits for what happened meanwhile */
    b.admit_from_ms = clock_monotonic_ms() + 100000;
    assert_int_equal(admit(&client, "a", 0), GATE_REFUSE);
    b.admit_from_ms = 0;
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
}

/* ---- client ids ---- */

static void keeps_client_ids_apart(void **state)
{
    static const char *const bad[] = {"", "ab", "b", "a\n", "a:\x7f", "a:\xff", "a:\xed\xa0\x80"};
    char longest[BROKER_CLIENT_ID_MAX + 2] = "a:";
    int client;
    (void)state;
    const struct device_record a = record_of("a", "simple", 0), ab = record_of("a:b", "simple", 1);
    (void)take(&a);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(REFUSAL_CLIENT_ID, admit(&client, bad[i], 0));
    memset(longest + 2, 'x', sizeof longest - 3);
    assert_refused(REFUSAL_CLIENT_ID, admit(&client, longest, 0));
    longest[sizeof longest - 2] = '\0';
    assert_int_equal(admit(&client, longest, 0), GATE_ADMIT);
    struct gate_peer nul = peer_of(&client, "", 0);
    nul.client_id = SLICE_LITERAL("a\0");
    assert_refused(REFUSAL_CLIENT_ID, gate_admit(&b, &nul, username));
    assert_int_equal(admit(&client, "a:b", 0), GATE_ADMIT); /* nobody is called that yet */
    assert_int_equal(admit(&client, "a:", 0), GATE_ADMIT);
    (void)take(&ab);
    /* The longest name that fits is meant: from now on these are the other device's. */
    assert_refused(REFUSAL_CLIENT_ID, admit(&client, "a:b", 0));
    assert_refused(REFUSAL_CLIENT_ID, admit(&client, "a:b:c", 0));
    assert_int_equal(admit(&client, "a:bc", 0), GATE_ADMIT);
    assert_int_equal(admit(&client, "a:b:c", 1), GATE_ADMIT);
    /* A session that may still be there under this id is the first one's. */
    assert_refused(REFUSAL_CLIENT_ID, admit(&client, "a:b", 1));
}

static void discards_the_session_of_the_oldest_client_id(void **state)
{
    int clients[BROKER_CLIENT_IDS_MAX + 1];
    char id[8];
    (void)state;
    const struct device_record a = record_of("a", "simple", 0);
    (void)take(&a);
    for (int i = 0; i < BROKER_CLIENT_IDS_MAX; i++) {
        (void)snprintf(id, sizeof id, "a:%d", i);
        assert_int_equal(admit(&clients[i], id, 0), GATE_ADMIT);
    }
    /* All are connected: none is given up for another. */
    assert_refused(REFUSAL_CLIENT_ID, admit(&clients[BROKER_CLIENT_IDS_MAX], "a:x", 0));
    gate_left(&b, &clients[1]);
    gate_left(&b, &clients[2]);
    assert_int_equal(admit(&clients[BROKER_CLIENT_IDS_MAX], "a:x", 0), GATE_ADMIT);
    assert_int_equal(b.tidy_len, 1);
    assert_string_equal(b.tidy[0], "a:1");
}

/* ---- by password ---- */

static struct device_password password_of(const char *text, uint8_t salt, int64_t until)
{
    struct device_password p = {.present = true, .iterations = ITERATIONS, .until = until};
    memset(p.salt, salt, sizeof p.salt);
    assert_int_equal(crypto_scram_stored_key(slice_of_text(text), slice_of(p.salt, sizeof p.salt),
                                             ITERATIONS, p.stored_key),
                     ERR_NONE);
    return p;
}

static struct device_record meter_of(const char *device, const char *text)
{
    struct device_record d = record_of(device, "simple", 0);
    d.certificates_len = 0;
    d.password = password_of(text, 1, clock_seconds() + DAY);
    return d;
}

static void admits_by_password_where_all_allow_it(void **state)
{
    int client;
    (void)state;
    struct device_record m = meter_of("m", "right"), t = meter_of("t", "right");
    t.model = SLICE_LITERAL("thermo"); /* whose devices may have none */
    (void)take(&m);
    (void)take(&t);
    assert_int_equal(admit_by(&client, "m", "m", "right", "1"), GATE_ADMIT);
    assert_string_equal(username, "default/m");
    assert_int_equal(admit_by(&client, "default/m", "m:x", "right", "1"), GATE_ADMIT);
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "other/m", "m", "right", "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "/m", "m", "right", "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "nobody", "m", "right", "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "m", "m", "wrong", "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "m", "m", "", "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "m", "m", NULL, "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, NULL, "m", "right", "2"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "t", "t", "right", "2"));
    assert_refused(REFUSAL_CLIENT_ID, admit_by(&client, "m", "t", "right", "2"));
    b.settings.passwords = false;
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "m", "m", "right", "3"));
    struct gate_ending ending;
    gate_recheck(&b); /* nor may a session stay that came by one */
    assert_true(gate_next_ending(&b, NULL, &ending));
}

static void takes_the_former_password_until_its_end(void **state)
{
    int old, new;
    struct gate_ending ending;
    struct report_connect connects[4];
    (void)state;
    struct device_record m = meter_of("m", "first");
    (void)take(&m);
    assert_int_equal(admit_by(&old, "m", "m", "first", "1"), GATE_ADMIT);
    m.previous = m.password;
    m.previous.until = clock_seconds() + 100;
    m.password = password_of("second", 2, clock_seconds() + DAY);
    (void)take(&m);
    gate_recheck(&b);
    assert_false(gate_next_ending(&b, NULL, &ending));
    assert_int_equal(admit_by(&old, "m", "m", "first", "1"), GATE_ADMIT);
    assert_refused(REFUSAL_PASSWORD, admit_by(&new, "m", "m:b", "third", "2"));
    assert_int_equal(admit_by(&new, "m", "m:b", "second", "2"), GATE_ADMIT);
    assert_int_equal(reports_take_connects(&b.reports, connects, 4), 2);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t salt[DEVICE_SALT_SIZE];
        memset(salt, (int)i + 1, sizeof salt);
        assert_true(connects[i].by_password);
        assert_memory_equal(connects[i].certificate, salt, sizeof salt);
    }
    shift(100);
    gate_recheck(&b);
    assert_true(gate_next_ending(&b, NULL, &ending));
    assert_ptr_equal(ending.client, &old);
    gate_left(&b, &old);
    assert_false(gate_next_ending(&b, NULL, &ending));
    assert_refused(REFUSAL_PASSWORD, admit_by(&old, "m", "m", "first", "3"));
    shift(DAY);
    assert_refused(REFUSAL_PASSWORD, admit_by(&old, "m", "m", "second", "4"));
    gate_recheck(&b);
    assert_true(gate_next_ending(&b, NULL, &ending));
}

static void bounds_guesses(void **state)
{
    int client;
    char address[16];
    (void)state;
    const struct device_record m = meter_of("m", "right"), n = meter_of("n", "right"),
                               o = meter_of("o", "right");
    (void)take(&m);
    (void)take(&n);
    (void)take(&o);
    assert_int_equal(admit_by(&client, "m", "m", "right", "0"), GATE_ADMIT);
    for (unsigned i = 0; i < 2 * BROKER_PASSWORDS_PER_MINUTE; i++) { /* from everywhere */
        (void)snprintf(address, sizeof address, "a-%u", i);
        assert_refused(REFUSAL_PASSWORD, admit_by(&client, "n", "n", "guess", address));
    }
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "n", "n", "right", "b"));
    for (unsigned i = 0; i < BROKER_PASSWORDS_PER_MINUTE; i++) /* from one place */
        assert_refused(REFUSAL_PASSWORD, admit_by(&client, "o", "o", "guess", "c"));
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "o", "o", "right", "c"));
    /* What was right before needs no attempt. */
    assert_int_equal(admit_by(&client, "m", "m", "right", "c"), GATE_ADMIT);
    char overlong[BROKER_PASSWORD_MAX + 2];
    memset(overlong, 'x', sizeof overlong - 1);
    overlong[sizeof overlong - 1] = '\0';
    assert_refused(REFUSAL_PASSWORD, admit_by(&client, "m", "m", overlong, "d"));
}

/* ---- the plugin's own connection ---- */

static void knows_its_own_by_certificate_and_secret(void **state)
{
    int client, many[BROKER_OWN_CLIENTS_MAX + 1];
    (void)state;
    const struct device_record a = record_of("a", "thermo", 0);
    (void)take(&a);
    struct gate_peer own = peer_of(&client, "x", 0);
    own.username = CONTROL_USERNAME;
    own.password = b.secret;
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, gate_admit(&b, &own, username));
    own.certificate = NULL;
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, gate_admit(&b, &own, username));
    own.certificate = b.settings.own[0];
    own.password = "s";
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, gate_admit(&b, &own, username));
    own.password = NULL;
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, gate_admit(&b, &own, username));
    own.password = b.secret;
    assert_false(gate_is_own(&b, &client));
    assert_false(gate_is_own(&b, NULL));
    for (unsigned i = 0; i < BROKER_OWN_CLIENTS_MAX; i++) {
        own.client = &many[i];
        assert_int_equal(gate_admit(&b, &own, username), GATE_OWN);
    }
    own.client = &many[BROKER_OWN_CLIENTS_MAX];
    assert_int_equal(gate_admit(&b, &own, username), GATE_REFUSE);
    assert_true(gate_is_own(&b, &many[0]));
    assert_true(may(&many[0], GATE_PUBLISH, CONTROL));
    assert_false(may(&many[0], GATE_RECEIVE, "up/a/x")); /* what is queued for others */
    gate_left(&b, &many[0]);
    assert_false(gate_is_own(&b, &many[0]));
    assert_false(may(&many[0], GATE_PUBLISH, CONTROL));
    assert_int_equal(gate_admit(&b, &own, username), GATE_OWN);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    assert_false(may(&client, GATE_PUBLISH, CONTROL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GATE(admits_by_the_certificate_alone),
        GATE(refuses_what_has_run_out),
        GATE(refuses_states_that_reach_no_broker),
        GATE(goes_by_what_it_knows_for_as_long_as_the_model_may),
        GATE(keeps_client_ids_apart),
        GATE(discards_the_session_of_the_oldest_client_id),
        GATE(admits_by_password_where_all_allow_it),
        GATE(takes_the_former_password_until_its_end),
        GATE(bounds_guesses),
        GATE(knows_its_own_by_certificate_and_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
