/* What those who were admitted at a broker may do, and who has to go: decided without Mosquitto. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "tests/unit/gate_fixture.h"

/* ---- what they may do ---- */

static void holds_each_act_against_the_rules(void **state)
{
    int client, stranger;
    (void)state;
    struct device_record a = record_of("a", "thermo", 0);
    (void)take(&a);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    for (int i = 0; i < 2; i++) { /* decided, and remembered */
        assert_true(may(&client, GATE_PUBLISH, "up/a/t"));
        assert_true(may(&client, GATE_RECEIVE, "down/a/t"));
        assert_denied(REFUSAL_TOPIC, may(&client, GATE_PUBLISH, "up/b/t"));
        assert_denied(REFUSAL_TOPIC, may(&client, GATE_RECEIVE, "up/a/t"));
    }
    assert_true(may(&client, GATE_SUBSCRIBE, "down/a/#"));
    assert_denied(REFUSAL_TOPIC, may(&client, GATE_SUBSCRIBE, "#"));
    assert_denied(REFUSAL_FORM, may(&client, GATE_SUBSCRIBE, "down/a/#/x"));
    assert_denied(REFUSAL_FORM, may(&client, GATE_PUBLISH, "up/a/#"));
    assert_false(may(&stranger, GATE_PUBLISH, "up/a/t"));
    assert_true(may(&stranger, GATE_UNSUBSCRIBE, "#"));
    /* What was granted is void as soon as the device stands otherwise. */
    a.state = DEVICE_QUARANTINED;
    (void)take(&a);
    assert_denied(REFUSAL_STATE, may(&client, GATE_PUBLISH, "up/a/t"));
    assert_denied(REFUSAL_STATE, may(&client, GATE_RECEIVE, "down/a/t"));
}

static void decides_for_sessions_that_are_away(void **state)
{
    (void)state;
    const struct device_record a = record_of("a", "thermo", 0);
    (void)take(&a);
    struct gate_request q = {
        .username = "default/a", .access = GATE_RECEIVE, .topic = SLICE_LITERAL("down/a/t")};
    assert_true(gate_allows(&b, &q));
    q.topic = SLICE_LITERAL("down/b/t");
    assert_false(gate_allows(&b, &q));
    q.topic = SLICE_LITERAL("down/a/t");
    q.username = "other/a";
    assert_false(gate_allows(&b, &q));
    q.username = NULL;
    assert_false(gate_allows(&b, &q));
    q.access = GATE_PUBLISH; /* no client at all is none of the plugin's own */
    q.topic = SLICE_LITERAL(CONTROL);
    assert_false(gate_allows(&b, &q));
}

static void holds_devices_to_their_limits(void **state)
{
    int client;
    (void)state;
    const struct device_record a = record_of("a", "thermo", 0);
    (void)take(&a);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    struct gate_request q = {
        .client = &client, .access = GATE_PUBLISH, .topic = SLICE_LITERAL("up/a/t")};
    q.payload_len = thermo.limits.payload_max;
    assert_true(gate_allows(&b, &q));
    q.payload_len++; /* of a topic that was granted a moment ago */
    assert_denied(REFUSAL_PAYLOAD, gate_allows(&b, &q));
    assert_true(may(&client, GATE_SUBSCRIBE, "down/a/1"));
    assert_true(may(&client, GATE_SUBSCRIBE, "down/a/2"));
    assert_true(may(&client, GATE_SUBSCRIBE, "down/a/1"));
    assert_denied(REFUSAL_SUBSCRIPTIONS, may(&client, GATE_SUBSCRIBE, "down/a/3"));
    assert_true(may(&client, GATE_UNSUBSCRIBE, "down/a/1"));
    assert_true(may(&client, GATE_SUBSCRIBE, "down/a/3"));
    unsigned admitted = 1;
    while (admit(&client, "a", 0) == GATE_ADMIT)
        admitted++;
    assert_int_equal(admitted, thermo.limits.connects_per_minute);
    assert_int_equal(b.reports.total[REFUSAL_CONNECTS], 1);
}

static void ends_a_flood(void **state)
{
    int client;
    struct gate_ending ending;
    unsigned taken = 0;
    (void)state;
    const struct device_record a = record_of("a", "thermo", 0);
    (void)take(&a);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    /* Twice as many as make a flood, so that it is one whichever minute they fall into. */
    for (unsigned i = 0; i < 2 * BROKER_FLOOD * thermo.limits.messages_per_minute + 2; i++)
        taken += may(&client, GATE_PUBLISH, "up/a/t");
    assert_in_range(taken, thermo.limits.messages_per_minute,
                    2 * thermo.limits.messages_per_minute);
    assert_true(b.reports.total[REFUSAL_RATE] > 0);
    assert_true(gate_next_ending(&b, NULL, &ending));
    assert_ptr_equal(ending.client, &client);
    assert_false(may(&client, GATE_RECEIVE, "down/a/t")); /* it is as good as gone */
    gate_left(&b, &client);
    assert_false(gate_next_ending(&b, NULL, &ending));
}

static void lets_be_retained_what_can_be_taken_back(void **state)
{
    int client;
    char topic[32];
    (void)state;
    const struct device_record a = record_of("a", "thermo", 0);
    uint32_t device = take(&a);
    assert_int_equal(admit(&client, "a", 0), GATE_ADMIT);
    struct gate_request q = {
        .client = &client, .access = GATE_PUBLISH, .payload_len = 1, .retain = true};
    for (unsigned i = 0; i < BROKER_RETAINED_MAX; i++) {
        (void)snprintf(topic, sizeof topic, "up/a/%u", i);
        q.topic = slice_of_text(topic);
        assert_true(gate_allows(&b, &q));
    }
    q.topic = SLICE_LITERAL("up/a/more");
    assert_denied(REFUSAL_TOPIC, gate_allows(&b, &q));
    q.retain = false;
    assert_true(gate_allows(&b, &q));
    q.retain = true;
    q.topic = SLICE_LITERAL("up/a/7");
    assert_true(gate_allows(&b, &q)); /* the same again */
    q.payload_len = 0;                /* takes it back */
    assert_true(gate_allows(&b, &q));
    assert_int_equal(traces_count(b.traces, TRACE_RETAINED, device), BROKER_RETAINED_MAX - 1);
    q.payload_len = 1;
    q.topic = SLICE_LITERAL("up/a/more");
    assert_true(gate_allows(&b, &q));
}

/* ---- who has to go ---- */

static void ends_the_sessions_of_a_cut(void **state)
{
    int one, two, other;
    struct gate_ending ending;
    (void)state;
    struct device_record a = record_of("a", "thermo", 0), c = record_of("c", "thermo", 1);
    struct cut cut = {.device = take(&a)};
    (void)take(&c);
    assert_int_equal(admit(&one, "a", 0), GATE_ADMIT);
    assert_int_equal(admit(&two, "a:2", 0), GATE_ADMIT);
    assert_int_equal(admit(&other, "c", 1), GATE_ADMIT);
    a.state = DEVICE_REVOKED;
    a.cut = true;
    a.certificates_len = 0;
    (void)take(&a);
    for (unsigned n = 0; n < 2; n++) {
        assert_true(gate_next_ending(&b, &cut, &ending));
        assert_int_equal(ending.device, cut.device);
        assert_int_equal(ending.cut & RULES_CUT_SEND_WILL, RULES_CUT_SEND_WILL);
        const void *client = ending.client;
        assert_denied(REFUSAL_STATE, may(client, GATE_PUBLISH, "up/a/will"));
        gate_begin_ending(&b, &ending);
        assert_true(may(client, GATE_PUBLISH, "up/a/will")); /* its will, by the policy */
        assert_denied(REFUSAL_TOPIC, may(client, GATE_PUBLISH, "up/c/will"));
        assert_denied(REFUSAL_STATE, may(client, GATE_RECEIVE, "down/a/t"));
        assert_false(gate_end_ending(&b, &ending)); /* it is there still */
        gate_begin_ending(&b, &ending);
        gate_left(&b, client);
        assert_true(gate_end_ending(&b, &ending));
    }
    assert_false(gate_next_ending(&b, &cut, &ending));
    assert_int_equal(sessions_len(b.sessions), 1);
    assert_true(may(&other, GATE_PUBLISH, "up/c/t"));
    assert_refused(REFUSAL_UNKNOWN_CERTIFICATE, admit(&one, "a", 0));
}

static void keeps_the_queue_of_quarantined_ones_alone(void **state)
{
    int client;
    struct gate_ending ending;
    (void)state;
    struct device_record s = record_of("s", "simple", 0);
    struct cut cut = {.device = take(&s)};
    assert_int_equal(admit(&client, "s", 0), GATE_ADMIT);
    s.state = DEVICE_QUARANTINED;
    (void)take(&s);
    assert_true(gate_next_ending(&b, &cut, &ending));
    assert_int_equal(ending.cut, RULES_CUT_KEEP_QUEUE);
    s.state = DEVICE_REVOKED;
    s.certificates_len = 0;
    (void)take(&s);
    assert_true(gate_next_ending(&b, &cut, &ending));
    assert_int_equal(ending.cut, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        GATE(holds_each_act_against_the_rules),
        GATE(decides_for_sessions_that_are_away),
        GATE(holds_devices_to_their_limits),
        GATE(ends_a_flood),
        GATE(lets_be_retained_what_can_be_taken_back),
        GATE(ends_the_sessions_of_a_cut),
        GATE(keeps_the_queue_of_quarantined_ones_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
