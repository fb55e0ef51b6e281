/* What rules decide, and that nothing widens it. Their form: test_rules_form.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/topic.h"
#include "tests/unit/rules_fixture.h"

static uint8_t body_bytes[RULES_BODY_MAX];

static struct rules read_fixture(void)
{
    struct writer w = writer_over(body_bytes, sizeof body_bytes);
    fixture_write_body(&w);
    assert_int_equal(w.err, ERR_NONE);
    struct rules r;
    assert_int_equal(rules_read_body(writer_bytes(&w), &r), ERR_NONE);
    return r;
}

static struct rules_subject subject_of(const char *model, const char *device, const char *group)
{
    return (struct rules_subject){.tenant = SLICE_LITERAL("acme"),
                                  .device = slice_of_text(device),
                                  .model = slice_of_text(model),
                                  .group = slice_of_text(group),
                                  .state = DEVICE_TRUSTED};
}

static void test_decisions(void **state)
{
    (void)state;
    enum { P = RULES_PUBLISH, R = RULES_RECEIVE, S = RULES_SUBSCRIBE };
    static const struct {
        const char *model, *device, *group;
        int action;
        const char *topic;
        enum rules_decision decision;
    } cases[] = {
        {"thermo", "t-1", "", P, "fleet/acme/t-1/up/temperature", RULES_ALLOW},
        {"thermo", "t-1", "", P, "fleet/acme/t-1/up", RULES_ALLOW},
        {"thermo", "t-1", "", P, "fleet/acme/t-2/up/x", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "fleet/other/t-1/up/x", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "fleet/acme/t-11/up/x", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "fleet/acme/t-/up/x", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "fleet/acme/t-1", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "by-model/thermo/dev-t-1.state", RULES_ALLOW},
        {"thermo", "t-1", "", P, "by-model/thermo/dev-t-1.statex", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "by-model/thermo-2/dev-t-1.state", RULES_DENY_TOPIC},
        {"thermo-2", "t-1", "", P, "by-model/thermo-2/dev-t-1.state", RULES_ALLOW},
        /* What may be published may not be read, nor the other way round. */
        {"thermo", "t-1", "", R, "fleet/acme/t-1/up/temperature", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", P, "fleet/acme/t-1/down/set", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", R, "fleet/acme/t-1/down/set", RULES_ALLOW},
        {"thermo", "t-1", "", S, "fleet/acme/t-1/down/set", RULES_ALLOW},
        {"thermo", "t-1", "", S, "fleet/acme/t-1/down/#", RULES_ALLOW},
        {"thermo", "t-1", "", S, "fleet/acme/t-1/down/+/+", RULES_ALLOW},
        {"thermo", "t-1", "", S, "fleet/acme/+/down/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "fleet/acme/t-1/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "fleet/+/t-1/down/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "+/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "$SYS/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "announce/+", RULES_ALLOW},
        {"thermo", "t-1", "", S, "announce/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "$share/x/announce/+", RULES_DENY_TOPIC},
        {"root", "t-1", "", S, "#", RULES_ALLOW},
        {"root", "t-1", "", R, "$SYS/broker", RULES_DENY_TOPIC},
        {"root", "t-1", "", S, "$SYS/#", RULES_DENY_TOPIC},
        {"root", "t-1", "", P, "a", RULES_DENY_TOPIC},
        /* A group adds to what the model has; a model may name it. */
        {"thermo", "t-1", "floor-1", P, "fleet/acme/t-1/up/x", RULES_ALLOW},
        {"thermo", "t-1", "floor-1", P, "alarm/floor-1/t-1", RULES_ALLOW},
        {"thermo", "t-1", "floor-1", P, "alarm/floor-2/t-1", RULES_DENY_TOPIC},
        {"thermo", "t-1", "floor-1", S, "alarm/floor-1/#", RULES_ALLOW},
        {"thermo", "t-1", "floor-1", S, "$share/floor-1/jobs/+", RULES_ALLOW},
        {"thermo", "t-1", "floor-2", S, "alarm/floor-2/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "floor-2", S, "floor/floor-2/all/+", RULES_ALLOW},
        {"thermo", "t-1", "", P, "alarm/floor-1/t-1", RULES_DENY_TOPIC},
        {"thermo", "t-1", "", S, "floor//all/#", RULES_DENY_TOPIC},
        {"thermo", "t-1", "floor-3", S, "floor/floor-3/all/#", RULES_DENY_TOPIC}, /* not known */
        {"thermo", "t-1", "", P, "a/+", RULES_DENY_FORM},
        {"thermo", "t-1", "", R, "#", RULES_DENY_FORM},
        {"thermo", "t-1", "", P, "", RULES_DENY_FORM},
        {"thermo", "t-1", "", S, "", RULES_DENY_FORM},
        {"thermo", "t-1", "", S, "fleet/acme/t-1/down/#/x", RULES_DENY_FORM},
        {"thermo", "t-1", "", S, "fleet/acme/t-1/down/x+", RULES_DENY_FORM},
        {"thermo", "t-1", "", P, "fleet/acme/t-1/up/\xff", RULES_DENY_FORM},
        {"thermo", "t-1", "", P, "fleet/acme/\xf9/up/x", RULES_DENY_FORM},
        {"ther", "t-1", "", P, "fleet/acme/t-1/up/x", RULES_DENY_MODEL},
        {"thermo-", "t-1", "", P, "fleet/acme/t-1/up/x", RULES_DENY_MODEL},
        {"thermo-3", "t-1", "", P, "fleet/acme/t-1/up/x", RULES_DENY_MODEL},
        {"", "t-1", "", P, "fleet/acme/t-1/up/x", RULES_DENY_MODEL},
        {"a", "t-1", "", P, "fleet/acme/t-1/up/x", RULES_DENY_MODEL},
    };
    struct rules r = read_fixture();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rules_subject s = subject_of(cases[i].model, cases[i].device, cases[i].group);
        enum rules_decision decision =
            rules_decide(&r, &s, (enum rules_action)cases[i].action, slice_of_text(cases[i].topic));
        if (decision != cases[i].decision)
            fail_msg("%zu %s %s: %s", i, cases[i].model, cases[i].topic,
                     rules_decision_text(decision));
    }
}

/* A tenant's devices may be of its models alone; and who is of no tenant that there is, of none. */
static void test_tenants(void **state)
{
    (void)state;
    static const struct {
        const char *tenant;
        bool may[ARRAY_LEN(fixture_models)];
    } cases[] = {
        {"acme", {true, true, true, true}},
        {RULES_STANDARD_TENANT, {true, true, true, true}},
        {"bare-ones", {true, false, false, true}},
        {"bare-one", {false, false, false, false}},
        {"bare-ones-", {false, false, false, false}},
        {"a", {false, false, false, false}},
        {"z", {false, false, false, false}},
        {"", {false, false, false, false}},
    };
    struct rules r = read_fixture();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t m = 0; m < ARRAY_LEN(fixture_models); m++) {
            struct rules_model model;
            struct rules_subject s = subject_of("", "t-1", "");
            s.tenant = slice_of_text(cases[i].tenant);
            s.model = fixture_models[m].name;
            bool denied =
                rules_decide(&r, &s, RULES_SUBSCRIBE, SLICE_LITERAL("x")) == RULES_DENY_MODEL;
            assert_int_equal(denied, !cases[i].may[m]);
            assert_int_equal(rules_find_model(&r, s.tenant, s.model, &model), cases[i].may[m]);
        }
    assert_true(rules_has_tenant(&r, SLICE_LITERAL("acme")));
    assert_true(rules_has_tenant(&r, SLICE_LITERAL(RULES_STANDARD_TENANT)));
    assert_false(rules_has_tenant(&r, SLICE_LITERAL("acm")));
}

static void test_states(void **state)
{
    (void)state;
    struct rules r = read_fixture();
    struct slice topic = SLICE_LITERAL("fleet/acme/t-1/up/x");
    for (int device_state = -1; device_state <= DEVICE_STATE_COUNT; device_state++) {
        struct rules_subject s = subject_of("thermo", "t-1", "");
        s.state = (enum device_state)device_state;
        assert_int_equal(rules_decide(&r, &s, RULES_PUBLISH, topic),
                         device_state == DEVICE_TRUSTED ? RULES_ALLOW : RULES_DENY_STATE);
    }
}

/* Who can choose a name gains nothing by it. */
static void test_names_widen_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "+",
        "#",
        "t/up",
        "t-2/up/x/../..",
        "/",
        "+/up/#",
        "$SYS",
        "$",
        "t+",
        "t/#",
        "t#",
        "$SYS/broker",
        "acme/t-2",
        "a-name-that-is-one-byte-longer-than-names-may-be-0123456789-01234",
    };
    static const char *const topics[] = {
        "fleet/acme/t-2/up/x",
        "fleet/acme//up/x",
        "fleet/acme/t/up/up/x",
        "$SYS",
        "$SYS/broker",
        "$/x",
        "a",
        "/x",
        "/",
        "t/up",
        "fleet/acme/$SYS/up/x",
        "fleet/acme/$/up/x",
        "floor//t-1",
        "floor/acme/t-2",
        "acme/t-2/x",
        "fleet/acme/a-name-that-is-one-byte-longer-than-names-may-be-0123456789-01234/up/x",
    };
    static const char *const filters[] = {
        "#",
        "+",
        "+/#",
        "$SYS/#",
        "fleet/acme/+/down/#",
        "fleet/acme/#/down",
        "fleet/#",
        "fleet/acme//down/#",
        "floor//all/#",
        "floor/+/all/#",
        "/#",
        "+/+/+/+",
    };
    struct rules r = read_fixture();
    for (size_t n = 0; n < ARRAY_LEN(names); n++) {
        struct rules_subject of[] = {subject_of("thermo", names[n], ""),
                                     subject_of("bare", names[n], ""),
                                     subject_of("thermo", "t-1", names[n]),
                                     subject_of("thermo", "t-1", ""), subject_of("bare", "x", "")};
        of[3].tenant = slice_of_text(names[n]);
        of[4].tenant = slice_of_text(names[n]);
        for (size_t i = 0; i < ARRAY_LEN(of); i++) {
            for (size_t t = 0; t < ARRAY_LEN(topics); t++) {
                struct slice topic = slice_of_text(topics[t]);
                assert_int_not_equal(rules_decide(&r, &of[i], RULES_PUBLISH, topic), RULES_ALLOW);
                assert_int_not_equal(rules_decide(&r, &of[i], RULES_RECEIVE, topic), RULES_ALLOW);
            }
            for (size_t f = 0; f < ARRAY_LEN(filters); f++)
                assert_int_not_equal(
                    rules_decide(&r, &of[i], RULES_SUBSCRIBE, slice_of_text(filters[f])),
                    RULES_ALLOW);
        }
    }
    /* A name that is of no use closes its own filters, not the others. */
    struct rules_subject s = subject_of("thermo", "t/1", "");
    assert_int_equal(rules_decide(&r, &s, RULES_SUBSCRIBE, SLICE_LITERAL("announce/+")),
                     RULES_ALLOW);
}

/* ---- what may be subscribed to may be received: over all that can be asked ---- */

#define TEXTS_MAX 4000

static char asked[TEXTS_MAX][24];
static size_t asked_len;

static void make_texts(const char *const *levels, size_t levels_len, size_t count_max)
{
    asked_len = 0;
    for (size_t count = 1, all = levels_len; count <= count_max; count++, all *= levels_len) {
        for (size_t n = 0; n < all; n++) {
            size_t len = 0, rest = n;
            for (size_t i = 0; i < count; i++, rest /= levels_len)
                len += (size_t)snprintf(asked[asked_len] + len, 24 - len, "%s%s", i > 0 ? "/" : "",
                                        levels[rest % levels_len]);
            assert_true(asked_len < TEXTS_MAX && len < 24);
            asked_len++;
        }
    }
}

static void test_subscribed_is_received(void **state)
{
    (void)state;
    static const char *const name_levels[] = {"", "d", "a", "$", "x"};
    static const char *const filter_levels[] = {"", "d", "a", "$", "+", "#"};
    static const char *const allowed[] = {
        "{device}",           "{device}/#", "+/{device}",   "a/{device}/+", "a/+/#",
        "{group}/{device}/#", "/{device}",  "$/{device}/#", "a/x{device}",
    };
    static bool received[ARRAY_LEN(allowed)][TEXTS_MAX];
    struct rules rules[ARRAY_LEN(allowed)];
    static uint8_t bodies[ARRAY_LEN(allowed)][256];
    struct rules_subject s = subject_of("m", "d", "a");
    s.tenant = SLICE_LITERAL(RULES_STANDARD_TENANT);

    make_texts(name_levels, ARRAY_LEN(name_levels), 4);
    static char names[TEXTS_MAX][24];
    size_t names_len = asked_len;
    memcpy(names, asked, sizeof names);
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        struct slice filter = slice_of_text(allowed[i]);
        const struct rules_entry model = {
            SLICE_LITERAL("m"), &fixture_open, {NULL, 0}, {&filter, 1}};
        const struct rules_entry group = {SLICE_LITERAL("a"), NULL, {NULL, 0}, {NULL, 0}};
        struct writer w = writer_over(bodies[i], sizeof bodies[i]);
        rules_write_body(&w, 0,
                         &(const struct rules_entries){
                             .models = &model, .models_len = 1, .groups = &group, .groups_len = 1});
        assert_int_equal(rules_read_body(writer_bytes(&w), &rules[i]), ERR_NONE);
        for (size_t n = 0; n < names_len; n++)
            received[i][n] =
                rules_decide(&rules[i], &s, RULES_RECEIVE, slice_of_text(names[n])) == RULES_ALLOW;
    }
    make_texts(filter_levels, ARRAY_LEN(filter_levels), 3);
    size_t subscribed = 0;
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        for (size_t f = 0; f < asked_len; f++) {
            struct slice filter = slice_of_text(asked[f]);
            if (rules_decide(&rules[i], &s, RULES_SUBSCRIBE, filter) != RULES_ALLOW)
                continue;
            subscribed++;
            for (size_t n = 0; n < names_len; n++)
                if (names[n][0] != '\0' && topic_matches(filter, slice_of_text(names[n])))
                    assert_true(received[i][n]);
        }
    }
    assert_true(subscribed > 50);
}

static void test_what_they_know(void **state)
{
    (void)state;
    struct rules r = read_fixture();
    assert_int_equal(r.models_len, ARRAY_LEN(fixture_models));
    assert_int_equal(r.groups_len, ARRAY_LEN(fixture_groups));
    assert_int_equal(r.cuts_per_hour, 20);
    for (uint32_t i = 0; i < r.models_len; i++) {
        struct rules_model m;
        assert_true(slice_equal(rules_model_name(&r, i), fixture_models[i].name));
        assert_true(
            rules_find_model(&r, SLICE_LITERAL(RULES_STANDARD_TENANT), fixture_models[i].name, &m));
        assert_memory_equal(m.reach, fixture_models[i].model->reach, sizeof m.reach);
        assert_memory_equal(&m.limits, &fixture_models[i].model->limits, sizeof m.limits);
        assert_int_equal(m.cut, fixture_models[i].model->cut);
        assert_int_equal(m.password_ok, fixture_models[i].model->password_ok);
    }
    for (uint32_t i = 0; i < r.groups_len; i++)
        assert_true(slice_equal(rules_group_name(&r, i), fixture_groups[i].name));
    assert_true(rules_has_group(&r, SLICE_LITERAL("floor-2")));
    assert_false(rules_has_group(&r, SLICE_LITERAL("floor-3")));
    assert_false(rules_has_group(&r, SLICE_LITERAL("")));
    struct rules_model m = {.cut = 99};
    assert_false(
        rules_find_model(&r, SLICE_LITERAL(RULES_STANDARD_TENANT), SLICE_LITERAL("floor-1"), &m));
    assert_int_equal(m.cut, 99);
}

/* Every model of many is found, and nothing between them. */
static void test_finds_every_model(void **state)
{
    (void)state;
    static char names[RULES_MODELS_MAX][8];
    static struct rules_entry models[RULES_MODELS_MAX];
    for (size_t i = 0; i < RULES_MODELS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "m%04zu", i);
        models[i] =
            (struct rules_entry){slice_of_text(names[i]), &fixture_open, {NULL, 0}, {NULL, 0}};
    }
    static const size_t lens[] = {0, 1, 2, 3, 1000, RULES_MODELS_MAX};
    for (size_t l = 0; l < ARRAY_LEN(lens); l++) {
        struct writer w = writer_over(body_bytes, sizeof body_bytes);
        struct rules r;
        struct rules_model m;
        rules_write_body(&w, 0,
                         &(const struct rules_entries){.models = models, .models_len = lens[l]});
        assert_int_equal(w.err, ERR_NONE);
        assert_int_equal(rules_read_body(writer_bytes(&w), &r), ERR_NONE);
        for (size_t i = 0; i < RULES_MODELS_MAX; i++) {
            assert_int_equal(
                rules_find_model(&r, SLICE_LITERAL(RULES_STANDARD_TENANT), models[i].name, &m),
                i < lens[l]);
            assert_false(rules_find_model(&r, SLICE_LITERAL(RULES_STANDARD_TENANT),
                                          slice_of(names[i], 4), &m));
        }
        assert_false(
            rules_find_model(&r, SLICE_LITERAL(RULES_STANDARD_TENANT), SLICE_LITERAL("a"), &m));
        assert_false(
            rules_find_model(&r, SLICE_LITERAL(RULES_STANDARD_TENANT), SLICE_LITERAL("z"), &m));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_names_widen_nothing),
        cmocka_unit_test(test_subscribed_is_received),
        cmocka_unit_test(test_what_they_know),
        cmocka_unit_test(test_finds_every_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
