/* From a policy to rules, its tests, and what is warned of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/policy_fixture.h"

static struct arena *arena;
static struct policy_complaint complaint;

static struct policy policy_of(const char *text)
{
    struct policy policy = {.fleet = ""};
    if (policy_read(slice_of_text(text), arena, &policy, &complaint) != ERR_NONE)
        fail_msg("%u:%u: %s in\n%s", complaint.line, complaint.column, complaint.text, text);
    return policy;
}

static struct slice body_of(const char *text)
{
    struct policy policy = policy_of(text);
    struct slice body = {NULL, 0};
    assert_int_equal(policy_compile(&policy, arena, &body), ERR_NONE);
    return body;
}

static struct rules rules_of(const char *text)
{
    struct rules rules;
    assert_int_equal(rules_read_body(body_of(text), &rules), ERR_NONE);
    return rules;
}

static void compiles_what_it_says(void **state)
{
    (void)state;
    struct rules rules = rules_of(policy_fixture);
    struct rules_model model;
    assert_int_equal(rules.models_len, 2);
    assert_int_equal(rules.groups_len, 2);
    assert_int_equal(rules.cuts_per_hour, 5);
    assert_true(rules_find_model(&rules, SLICE_LITERAL(RULES_STANDARD_TENANT),
                                 SLICE_LITERAL("thermo"), &model));
    assert_int_equal(model.reach[DEVICE_TRUSTED], RULES_REACH_MQTT);
    assert_int_equal(model.limits.messages_per_minute, 120);
    assert_int_equal(model.limits.stale_seconds, 90);
    assert_int_equal(model.cut, RULES_CUT_SEND_WILL | RULES_CUT_KEEP_QUEUE);
    assert_true(model.password_ok);
    assert_true(rules_has_group(&rules, SLICE_LITERAL("floor-2")));
    assert_false(rules_has_group(&rules, SLICE_LITERAL("floor-3")));
    struct rules_subject thermo = {.tenant = SLICE_LITERAL("default"),
                                   .device = SLICE_LITERAL("t1"),
                                   .model = SLICE_LITERAL("thermo"),
                                   .group = SLICE_LITERAL("floor-1"),
                                   .state = DEVICE_TRUSTED};
    assert_int_equal(
        rules_decide(&rules, &thermo, RULES_PUBLISH, SLICE_LITERAL("fleet/thermo/t1/up/a")),
        RULES_ALLOW);
    assert_int_equal(
        rules_decide(&rules, &thermo, RULES_PUBLISH, SLICE_LITERAL("fleet/thermo/t2/up/a")),
        RULES_DENY_TOPIC);
    assert_int_equal(
        rules_decide(&rules, &thermo, RULES_SUBSCRIBE, SLICE_LITERAL("floor/floor-1/alarm")),
        RULES_ALLOW);
}

#define MODEL(what) "holdfast: 1\nfleet: f\nmodels: {m: {identity: {maker: x}, " what "}}\n"

static void same_meaning_same_bytes(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {MODEL("publish: [a, b/#, c]"), MODEL("publish: [c, b/#, a]")},
        {MODEL("publish: [a, a]"), MODEL("publish: [a]")},
        {MODEL("publish: [b/#, b/c, b/+/d, b]"), MODEL("publish: [b/#]")},
        {MODEL("publish: [\"x/+\", \"x/{device}\"]"), MODEL("publish: [x/+]")},
        {MODEL("limits: {messages: 1/s, stale: 60m}"), MODEL("limits: {messages: 60/min}")},
        {MODEL("reach: {trusted: [mqtt, api, enrolment]}"), MODEL("password: false")},
        {"holdfast: 1\nfleet: f\nmodels: {b: {identity: {maker: x}}, a: {identity: {maker: w}}}\n"
         "groups: {h: {}, g: {}}\n",
         "# other\nmodels:\n  a:\n    identity:\n      maker: z\n  b:\n    identity:\n"
         "      maker: x\nfleet: f\nholdfast: 1\ngroups:\n  g: {}\n  h: {}\n"},
    };
    static const char *const other[][2] = {
        {MODEL("publish: [a]"), MODEL("subscribe: [a]")},
        {MODEL("publish: [\"x/{device}\"]"), MODEL("publish: [\"x/{group}\"]")},
        {MODEL("publish: [b/#]"), MODEL("publish: [b/+]")},
        {MODEL("password: true"), MODEL("password: false")},
        {MODEL("limits: {stale: none}"), MODEL("limits: {stale: 1s}")},
        {MODEL("cut: {will: send}"), MODEL("cut: {queue: keep}")},
        {MODEL("reach: {quarantined: []}"), MODEL("reach: {enrolled: []}")},
        {MODEL("publish: []") "cuts: {automatic-per-hour: 1}", MODEL("publish: []")},
    };
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        if (!slice_equal(body_of(same[i][0]), body_of(same[i][1])))
            fail_msg("not the same:\n%s\n%s", same[i][0], same[i][1]);
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        if (slice_equal(body_of(other[i][0]), body_of(other[i][1])))
            fail_msg("the same:\n%s\n%s", other[i][0], other[i][1]);
}

static void assert_written(void (*write)(struct writer *, const struct policy_test *),
                           const struct policy_test *test, const char *text)
{
    char got[512];
    struct writer w = writer_over(got, sizeof got - 1);
    write(&w, test);
    assert_int_equal(w.err, ERR_NONE);
    got[w.len] = '\0';
    assert_string_equal(got, text);
}

static void runs_tests(void **state)
{
    (void)state;
    struct policy policy = policy_of(policy_fixture);
    struct rules rules = rules_of(policy_fixture);
    for (size_t i = 0; i < policy.tests_len; i++) {
        struct policy_test t = policy.tests[i];
        assert_true(policy_test_holds(&t, &rules));
        t.expected = !t.expected;
        assert_false(policy_test_holds(&t, &rules));
    }
    assert_written(policy_test_text, &policy.tests[1],
                   "a trusted thermo 'thermo-1' in 'floor-1' may publish to "
                   "'floor/floor-1/thermo-1'");
    assert_written(policy_test_text, &policy.tests[2],
                   "a trusted thermo 'thermo-1' in 'floor-1' may not subscribe '#'");
    assert_written(policy_test_text, &policy.tests[5],
                   "a quarantined valve 'v' of 'other' does not reach mqtt");
    /* final states reach nothing, whatever they are asked */
    for (int s = 0; s < DEVICE_STATE_COUNT; s++) {
        struct policy_test t = policy.tests[0];
        t.subject.state = (enum device_state)s;
        assert_int_equal(policy_test_holds(&t, &rules), s == DEVICE_TRUSTED);
        t.question = POLICY_REACHES;
        t.reach = RULES_REACH_MQTT;
        assert_int_equal(policy_test_holds(&t, &rules), s == DEVICE_TRUSTED);
    }
}

static void says_what_the_rules_say(void **state)
{
    (void)state;
    struct policy policy = policy_of(policy_fixture);
    struct rules rules = rules_of(policy_fixture);
    struct policy_test t = policy.tests[0];
    char got[128];
    static const struct {
        enum policy_question question;
        enum device_state state;
        const char *model, *topic, *says;
    } cases[] = {
        {POLICY_MAY_PUBLISH, DEVICE_TRUSTED, "thermo", "floor/floor-1/thermo-1",
         "it may: a filter of its model or group covers that"},
        {POLICY_MAY_PUBLISH, DEVICE_TRUSTED, "thermo", "floor/floor-1/thermo-2",
         "it may not: no filter of its model or group covers that"},
        {POLICY_MAY_RECEIVE, DEVICE_REVOKED, "thermo", "floor/floor-1/alarm",
         "it may not: in its state it reaches no broker"},
        {POLICY_MAY_PUBLISH, DEVICE_TRUSTED, "none", "a",
         "it may not: the rules do not know its model"},
        {POLICY_MAY_SUBSCRIBE, DEVICE_TRUSTED, "thermo", "a#",
         "it may not: that is no topic of MQTT"},
        {POLICY_REACHES, DEVICE_TRUSTED, "thermo", "", "it does"},
        {POLICY_REACHES, DEVICE_REVOKED, "thermo", "", "it does not"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer w = writer_over(got, sizeof got - 1);
        t.question = cases[i].question;
        t.subject.state = cases[i].state;
        t.subject.model = slice_of_text(cases[i].model);
        t.topic = slice_of_text(cases[i].topic);
        t.reach = RULES_REACH_MQTT;
        policy_test_verdict(&w, &t, &rules);
        got[w.len] = '\0';
        assert_string_equal(got, cases[i].says);
    }
}

#define HEAD    "holdfast: 1\nfleet: f\nmodels:\n"
#define TESTED  "tests: [{device: d, model: m, may-not: {publish: x}}]\n"
#define M(what) HEAD "  m: {identity: {maker: x}, " what "}\n" TESTED

static void warns(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;    /* of the only warning; 0: none */
        const char *says; /* a part of it */
    } cases[] = {
        {M("publish: [\"f/{device}/up/#\"], subscribe: [\"f/{device}/down/#\", f/all]"), 0, NULL},
        {M("publish: [\"f/{device}/#\"], subscribe: [\"#\"]"), 4,
         "every device of model 'm' reads what every other 'm' publishes: '#' meets "
         "'f/{device}/#'"},
        {M("publish: [\"f/{device}/up\"], subscribe: [f/+/+]"), 4, "reads what every other"},
        {M("publish: [\"f/{device}/up\"], subscribe: [f/+/down, f/+, \"f/+/up/+\"]"), 0, NULL},
        {M("publish: [\"f/{device}\"], subscribe: [\"f/{device}/#\"]"), 0, NULL},
        {M("publish: [\"f/{device}\"], subscribe: [\"f/other/#\"]"), 0, NULL},
        {M("publish: [\"f/{model}/{device}\", \"f/m/+\"]"), 4,
         "publishes in the name of every other 'm' publishes"},
        {M("publish: [\"f/+/cmd\"], subscribe: [\"f/{device}/cmd\"]"), 4,
         "publishes to what every other 'm' listens to"},
        {M("publish: [\"a/{device}\"]") "groups:\n  g: {subscribe: [a/+]}\n", 7,
         "every device of group 'g' reads what every 'm' publishes"},
        {M("publish: [\"a/{group}/{device}\"], subscribe: [a/floor-1/+]"), 4, "reads what every"},
        {M("publish: [\"a/g-{group}/{device}\"], subscribe: [a/g-1/+]"), 4, "reads what every"},
        {M("publish: [\"a/{model}/{device}\"], subscribe: [a/n/+]"), 0, NULL},
        {M("publish: [\"{model}/{device}\"]") "groups:\n  g: {subscribe: [\"{model}/+\"]}\n", 7,
         "every device of group 'g' reads"},
        {M("subscribe: [\"b/{group}/+\"]") "groups:\n  g: {publish: [\"b/{group}/{device}\"]}\n", 4,
         "every device of model 'm' reads what every 'g' publishes"},
        {M("reach: {quarantined: [mqtt]}"), 4, "a quarantined 'm' still reaches"},
        {M("reach: {enrolled: [enrolment, api]}"), 4, "has not proven itself"},
        {M("reach: {trusted: [mqtt]}"), 4, "can't renew"},
        {M("limits: {messages: unlimited}"), 4, "no limit of 'messages'"},
        {HEAD "  m: {identity: {maker: x}}\n", 4, "no test is about 'm'"},
        {M("") "tenants: {default: {}, t: {}}\n", 6, "no test is about the tenant 't'"},
        {HEAD "  m: {identity: {maker: x}}\n  o: {identity: {maker: x}}\n"
              "tenants: {default: {models: [o]}}\n"
              "tests: [{device: d, model: o, reaches: [api]}]\n",
         4, "no tenant may have devices of the model 'm'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = policy_of(cases[i].text);
        struct policy_complaint *warnings = NULL;
        size_t len = 0;
        assert_int_equal(policy_warn(&policy, arena, &warnings, &len), ERR_NONE);
        bool right = len == (cases[i].line != 0) &&
                     (len == 0 || (warnings[0].line == cases[i].line &&
                                   strstr(warnings[0].text, cases[i].says) != NULL));
        if (!right)
            fail_msg("%s\n-> %zu, line %u: %s", cases[i].text, len, len == 0 ? 0 : warnings[0].line,
                     len == 0 ? "" : warnings[0].text);
    }
}

static void warns_within_bounds(void **state)
{
    (void)state;
    static char text[POLICY_TEXT_MAX + 1];
    size_t len = (size_t)snprintf(text, sizeof text, HEAD);
    for (int i = 0; i < 4000; i++)
        len += (size_t)snprintf(text + len, sizeof text - len,
                                " m%d: {identity: {maker: x},publish: [\"{device}\",a/b]}\n", i);
    struct policy policy = policy_of(text);
    struct policy_complaint *warnings = NULL;
    size_t n = 0;
    assert_int_equal(policy_warn(&policy, arena, &warnings, &n), ERR_NONE);
    assert_int_equal(n, POLICY_WARNINGS_MAX);
    assert_non_null(strstr(warnings[n - 1].text, "too large to show all"));
}

static int fresh(void **state)
{
    (void)state;
    arena_reset(arena);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(POLICY_ARENA_MAX);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(compiles_what_it_says, fresh),
        cmocka_unit_test_setup(same_meaning_same_bytes, fresh),
        cmocka_unit_test_setup(runs_tests, fresh),
        cmocka_unit_test_setup(says_what_the_rules_say, fresh),
        cmocka_unit_test_setup(warns, fresh),
        cmocka_unit_test_setup(warns_within_bounds, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
