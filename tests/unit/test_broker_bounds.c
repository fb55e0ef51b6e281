/* What bounds a device at a broker: rates, subscriptions, client ids and retained topics, reports.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "broker/cuts.h"
#include "broker/reports.h"
#include "broker/sessions.h"
#include "broker/table.h"
#include "broker/traces.h"

#define SECOND 1000000

static void test_rates(void **state)
{
    (void)state;
    int64_t arrival = 0, now = 1000 * (int64_t)SECOND;
    for (unsigned i = 0; i < 60; i++)
        assert_true(limits_take(&arrival, 60, 1, now)); /* a minute's at once */
    assert_false(limits_take(&arrival, 60, 1, now));
    assert_false(limits_take(&arrival, 60, 1, now + SECOND / 2));
    assert_true(limits_take(&arrival, 60, 1, now + SECOND));
    assert_false(limits_take(&arrival, 60, 1, now + SECOND));
    assert_true(limits_take(&arrival, 0, UINT32_MAX, now)); /* no limit */
    arrival = 0;
    assert_false(limits_take(&arrival, 1000, 1001, now)); /* more than ever fits */
    assert_true(limits_take(&arrival, 1000, 1000, now));
    assert_true(limits_take(&arrival, 1000, 1000, now + 60 * (int64_t)SECOND));
    arrival = 0;
    assert_false(limits_take(&arrival, 1, UINT32_MAX, now));
}

static void test_messages_and_flood(void **state)
{
    (void)state;
    const struct rules_limits limits = {.messages_per_minute = 10, .bytes_per_minute = 1000};
    struct limits_usage usage = {0};
    int64_t now = 60 * (int64_t)SECOND;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(limits_message(&usage, &limits, 50, now), LIMITS_FINE);
    for (unsigned i = 10; i < 10 * BROKER_FLOOD; i++)
        assert_int_equal(limits_message(&usage, &limits, 50, now), LIMITS_RATE);
    assert_int_equal(limits_message(&usage, &limits, 50, now), LIMITS_FLOOD);
    now += 60 * (int64_t)SECOND;
    assert_int_equal(limits_message(&usage, &limits, 1000, now), LIMITS_FINE);
    assert_int_equal(limits_message(&usage, &limits, 1, now), LIMITS_RATE); /* bytes */
    assert_int_equal(limits_message(&usage, &limits, 1000 * BROKER_FLOOD, now), LIMITS_FLOOD);
    /* What is refused for its bytes does not count as a message. */
    usage = (struct limits_usage){0};
    assert_int_equal(limits_message(&usage, &limits, 5000, now), LIMITS_RATE);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(limits_message(&usage, &limits, 1, now), LIMITS_FINE);
}

static void test_sessions(void **state)
{
    (void)state;
    struct sessions *s = NULL;
    assert_int_equal(sessions_new(10, 3, &s), ERR_NONE);
    int clients[4];
    uint8_t digest[SHA256_SIZE] = {1};
    assert_int_equal(sessions_add(s, &clients[0], 1, SLICE_LITERAL("a"), digest, false), ERR_NONE);
    assert_int_equal(sessions_add(s, &clients[1], 1, SLICE_LITERAL("a:b"), digest, true), ERR_NONE);
    assert_int_equal(sessions_add(s, &clients[2], 2, SLICE_LITERAL("c"), digest, false), ERR_NONE);
    assert_int_equal(sessions_add(s, &clients[3], 2, SLICE_LITERAL("d"), digest, false), ERR_LIMIT);
    assert_int_equal(sessions_add(s, &clients[3], 10, SLICE_LITERAL("d"), digest, false),
                     ERR_LIMIT);
    assert_true(sessions_has_client_id(s, 1, SLICE_LITERAL("a:b")));
    assert_false(sessions_has_client_id(s, 2, SLICE_LITERAL("a:b")));
    assert_int_equal(sessions_find(s, &clients[1])->by_password, true);
    /* The broker may give the same memory to another client. */
    assert_int_equal(sessions_add(s, &clients[1], 2, SLICE_LITERAL("e"), digest, false), ERR_NONE);
    assert_int_equal(sessions_len(s), 3);
    uint32_t cursor = 0, n = 0;
    while (sessions_next_of(s, 2, &cursor) != NULL)
        n++;
    assert_int_equal(n, 2);
    assert_true(sessions_remove(s, &clients[2]));
    assert_false(sessions_remove(s, &clients[2]));
    cursor = 0;
    assert_ptr_equal(sessions_next_of(s, 2, &cursor)->client, &clients[1]);
    assert_null(sessions_next_of(s, 2, &cursor));
    cursor = 0;
    n = 0;
    while (sessions_next(s, &cursor) != NULL)
        n++;
    assert_int_equal(n, 2);
    sessions_free(s);
}

static void test_subscriptions(void **state)
{
    (void)state;
    struct sessions *s = NULL;
    int client;
    static const uint8_t digest[SHA256_SIZE];
    assert_int_equal(sessions_new(1, 1, &s), ERR_NONE);
    assert_int_equal(sessions_add(s, &client, 0, SLICE_LITERAL("a"), digest, true), ERR_NONE);
    struct session *x = sessions_find(s, &client);
    char filter[8];
    for (uint32_t i = 0; i < 20; i++) {
        (void)snprintf(filter, sizeof filter, "f/%u", i);
        assert_int_equal(sessions_may_subscribe(x, slice_of_text(filter), 20, i), true);
    }
    assert_false(sessions_may_subscribe(x, SLICE_LITERAL("f/20"), 20, 20));
    assert_true(sessions_may_subscribe(x, SLICE_LITERAL("f/3"), 20, 20)); /* once more */
    sessions_unsubscribed(x, SLICE_LITERAL("f/3"));
    sessions_unsubscribed(x, SLICE_LITERAL("f/3"));
    assert_true(sessions_may_subscribe(x, SLICE_LITERAL("f/20"), 20, 19));
    assert_false(sessions_may_subscribe(x, SLICE_LITERAL("f/3"), 20, 20));
    /* A session that was resumed may ask for what it has, and for no more. */
    assert_int_equal(sessions_add(s, &client, 0, SLICE_LITERAL("a"), digest, true), ERR_NONE);
    x = sessions_find(s, &client);
    assert_true(sessions_may_subscribe(x, SLICE_LITERAL("f/1"), 20, 20));
    assert_false(sessions_may_subscribe(x, SLICE_LITERAL("f/2"), 20, 40));
    sessions_free(s);
}

struct change_log {
    char text[256];
};

static void log_change(void *context, enum trace_kind kind, uint32_t device, bool remembered,
                       struct slice text)
{
    struct change_log *log = context;
    size_t len = strlen(log->text);
    (void)snprintf(log->text + len, sizeof log->text - len, "%c%u%d%.*s ",
                   kind == TRACE_CLIENT_ID ? 'c' : 'r', device, remembered, (int)text.len,
                   (const char *)text.data);
}

static void test_traces(void **state)
{
    (void)state;
    struct traces *t = NULL;
    assert_int_equal(traces_new(100, 80, &t), ERR_NONE);
    assert_int_equal(traces_remember(t, TRACE_CLIENT_ID, 1, SLICE_LITERAL("a")), TRACES_ADDED);
    assert_int_equal(traces_remember(t, TRACE_CLIENT_ID, 1, SLICE_LITERAL("a")), TRACES_KNOWN);
    assert_int_equal(traces_remember(t, TRACE_CLIENT_ID, 2, SLICE_LITERAL("a")), TRACES_FOREIGN);
    /* A topic is whose message is retained there: the last one's. */
    assert_int_equal(traces_remember(t, TRACE_RETAINED, 1, SLICE_LITERAL("a")), TRACES_ADDED);
    assert_int_equal(traces_remember(t, TRACE_RETAINED, 2, SLICE_LITERAL("a")), TRACES_ADDED);
    assert_int_equal(traces_owner(t, TRACE_RETAINED, SLICE_LITERAL("a")), 2);
    assert_int_equal(traces_count(t, TRACE_RETAINED, 1), 0);
    assert_true(traces_forget(t, TRACE_RETAINED, SLICE_LITERAL("a")));
    assert_false(traces_forget(t, TRACE_RETAINED, SLICE_LITERAL("a")));
    struct change_log log = {""};
    assert_false(traces_take_changes(t, log_change, &log));
    assert_string_equal(log.text, "c11a r11a r21a r20a ");
    log.text[0] = '\0';
    assert_false(traces_take_changes(t, log_change, &log));
    assert_string_equal(log.text, "");
    char text[BROKER_TOPIC_MAX + 2];
    for (unsigned i = 1; i < BROKER_CLIENT_IDS_MAX; i++) {
        (void)snprintf(text, sizeof text, "a:%u", i);
        assert_int_equal(traces_remember(t, TRACE_CLIENT_ID, 1, slice_of_text(text)), TRACES_ADDED);
    }
    assert_int_equal(traces_remember(t, TRACE_CLIENT_ID, 1, SLICE_LITERAL("b")), TRACES_FULL);
    uint32_t cursor = 0, n = 0;
    struct slice found = {0};
    while (traces_next(t, TRACE_CLIENT_ID, 1, &cursor, &found))
        n++;
    assert_int_equal(n, BROKER_CLIENT_IDS_MAX);
    assert_true(slice_equal(found, SLICE_LITERAL("a"))); /* the oldest comes last */
    memset(text, 'x', sizeof text);
    assert_int_equal(traces_remember(t, TRACE_RETAINED, 1, slice_of(text, BROKER_TOPIC_MAX + 1)),
                     TRACES_NO_ROOM);
    for (unsigned i = 0;; i++) { /* all of them together are bounded, too */
        (void)snprintf(text, sizeof text, "t/%u", i);
        if (traces_remember(t, TRACE_RETAINED, 10 + i / 10, slice_of_text(text)) == TRACES_ADDED)
            continue;
        assert_int_equal(traces_len(t), 80);
        break;
    }
    traces_free(t);
}

static void test_traces_that_overflow(void **state)
{
    (void)state;
    struct traces *t = NULL;
    struct change_log log = {""};
    assert_int_equal(traces_new(10, 10, &t), ERR_NONE);
    char text[BROKER_TOPIC_MAX];
    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < 3000; i++) {
        (void)traces_remember(t, TRACE_RETAINED, 1, slice_of(text, sizeof text));
        (void)traces_forget(t, TRACE_RETAINED, slice_of(text, sizeof text));
    }
    assert_true(traces_take_changes(t, log_change, &log));
    assert_false(traces_take_changes(t, log_change, &log));
    traces_free(t);
}

static void test_reports(void **state)
{
    (void)state;
    struct reports r;
    static struct report_refusal refusals[2 * BROKER_REFUSALS_MAX];
    static struct report_connect connects[BROKER_CONNECTS_MAX];
    assert_int_equal(reports_init(&r), ERR_NONE);
    for (unsigned i = 0; i < 3; i++)
        reports_refusal(&r, REFUSAL_TOPIC, SLICE_LITERAL("t-1"));
    reports_refusal(&r, REFUSAL_RATE, SLICE_LITERAL("t-1"));
    assert_int_equal(reports_take_refusals(&r, refusals, 10), 2);
    assert_int_equal(refusals[0].count + refusals[1].count, 4);
    assert_int_equal(reports_take_refusals(&r, refusals, 10), 0);
    uint64_t n = 0; /* strangers without end: bounded, and none is lost from the sum */
    for (unsigned i = 0; i < 100000; i++) {
        char source[24];
        (void)snprintf(source, sizeof source, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        reports_refusal(&r, REFUSAL_UNKNOWN_CERTIFICATE, slice_of_text(source));
    }
    uint32_t taken = reports_take_refusals(&r, refusals, ARRAY_LEN(refusals));
    assert_true(taken <= BROKER_REFUSALS_MAX + 1);
    for (uint32_t i = 0; i < taken; i++)
        n += refusals[i].count;
    assert_int_equal(n, 100000);
    for (unsigned i = 0; i < BROKER_CONNECTS_MAX; i++)
        assert_true(reports_connect(&r, &(struct report_connect){.device = i, .at = i}));
    assert_false(reports_connect(&r, &(struct report_connect){.device = 0}));
    assert_int_equal(reports_take_connects(&r, connects, 10), 10);
    assert_int_equal(connects[9].device, 9);
    assert_true(reports_connect(&r, &(struct report_connect){.device = 77}));
    assert_int_equal(reports_take_connects(&r, connects, BROKER_CONNECTS_MAX),
                     BROKER_CONNECTS_MAX - 9);
    assert_int_equal(connects[BROKER_CONNECTS_MAX - 10].device, 77);
    reports_destroy(&r);
}

/* Since when what is taken out was gathered: the hub takes a count by the minute. */
static void test_since_when(void **state)
{
    (void)state;
    struct reports r;
    struct report_refusal refusals[4];
    int64_t before = clock_monotonic_ms();
    assert_int_equal(reports_init(&r), ERR_NONE);
    assert_int_equal(r.refused_since_ms, 0);
    reports_refusal(&r, REFUSAL_TOPIC, SLICE_LITERAL("t-1"));
    assert_in_range(r.refused_since_ms, before, clock_monotonic_ms());
    r.refused_since_ms -= 5000; /* time passes */
    int64_t since = r.refused_since_ms;
    reports_refusal(&r, REFUSAL_TOPIC, SLICE_LITERAL("t-2"));
    assert_int_equal(r.refused_since_ms, since);
    assert_int_equal(reports_take_refusals(&r, refusals, 1), 1); /* one is left */
    assert_int_equal(r.refused_since_ms, since);
    assert_int_equal(reports_take_refusals(&r, refusals + 1, 3), 1);
    assert_int_equal(r.refused_since_ms, 0);
    /* it could not be told */
    reports_refusal(&r, REFUSAL_TOPIC, SLICE_LITERAL("t-3"));
    reports_put_refusal(&r, &refusals[0]);
    reports_put_since(&r, since);
    assert_int_equal(r.refused_since_ms, since);
    reports_put_since(&r, 0); /* nothing was taken out */
    assert_int_equal(r.refused_since_ms, since);
    reports_destroy(&r);
}

static void test_cuts(void **state)
{
    (void)state;
    struct cuts c;
    assert_int_equal(cuts_init(&c), ERR_NONE);
    for (unsigned i = 0; i < BROKER_CUTS_MAX; i++)
        cuts_add(&c, CUT_TO_END)->device = i;
    assert_null(cuts_add(&c, CUT_TO_END));
    struct cut *first = cuts_take(&c, CUT_TO_END), *second = cuts_take(&c, CUT_TO_END);
    assert_int_equal(first->device, 0);
    assert_int_equal(second->device, 1);
    cuts_put(&c, second, CUT_TO_CLEAN);
    cuts_put(&c, first, CUT_TO_CLEAN);
    assert_int_equal(c.count[CUT_TO_CLEAN], 2);
    assert_ptr_equal(cuts_take(&c, CUT_TO_CLEAN), second);
    cuts_drop(&c, second);
    assert_ptr_equal(cuts_add(&c, CUT_TO_REPORT), second);
    assert_null(cuts_add(&c, CUT_TO_REPORT));
    assert_ptr_equal(cuts_take(&c, CUT_TO_CLEAN), first);
    assert_null(cuts_take(&c, CUT_TO_CLEAN));
    cuts_destroy(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),    cmocka_unit_test(test_messages_and_flood),
        cmocka_unit_test(test_sessions), cmocka_unit_test(test_subscriptions),
        cmocka_unit_test(test_traces),   cmocka_unit_test(test_traces_that_overflow),
        cmocka_unit_test(test_reports),  cmocka_unit_test(test_since_when),
        cmocka_unit_test(test_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
