#include "policy/policy.h"

static bool reaches(const struct policy_test *test, const struct rules *rules)
{
    struct rules_model model;
    const struct rules_subject *s = &test->subject;
    return (unsigned)s->state < DEVICE_STATE_COUNT &&
           rules_find_model(rules, s->tenant, s->model, &model) &&
           (model.reach[s->state] & test->reach) != 0;
}

static enum rules_decision decide(const struct policy_test *test, const struct rules *rules)
{
    static const enum rules_action actions[] = {[POLICY_MAY_PUBLISH] = RULES_PUBLISH,
                                                [POLICY_MAY_SUBSCRIBE] = RULES_SUBSCRIBE,
                                                [POLICY_MAY_RECEIVE] = RULES_RECEIVE};
    return rules_decide(rules, &test->subject, actions[test->question], test->topic);
}

bool policy_test_holds(const struct policy_test *test, const struct rules *rules)
{
    bool allowed = test->question == POLICY_REACHES ? reaches(test, rules)
                                                    : decide(test, rules) == RULES_ALLOW;
    return allowed == test->expected;
}

static const char *reach_text(uint8_t reach)
{
    return reach == RULES_REACH_ENROLMENT ? "enrolment" : reach == RULES_REACH_API ? "api" : "mqtt";
}

static void quoted(struct writer *w, struct slice text)
{
    writer_u8(w, '\'');
    writer_put(w, text);
    writer_u8(w, '\'');
}

void policy_test_text(struct writer *w, const struct policy_test *test)
{
    static const char *const states[DEVICE_STATE_COUNT] = {
        [DEVICE_EXPECTED] = "an expected ", [DEVICE_ENROLLED] = "an enrolled ",
        [DEVICE_TRUSTED] = "a trusted ",    [DEVICE_QUARANTINED] = "a quarantined ",
        [DEVICE_REVOKED] = "a revoked ",    [DEVICE_RETIRED] = "a retired "};
    static const char *const questions[] = {[POLICY_MAY_PUBLISH] = "publish to ",
                                            [POLICY_MAY_SUBSCRIBE] = "subscribe ",
                                            [POLICY_MAY_RECEIVE] = "receive "};
    const struct rules_subject *s = &test->subject;
    writer_text(w, states[s->state]);
    writer_put(w, s->model);
    writer_u8(w, ' ');
    quoted(w, s->device);
    if (s->group.len > 0) {
        writer_text(w, " in ");
        quoted(w, s->group);
    }
    if (!slice_equal(s->tenant, SLICE_LITERAL(RULES_STANDARD_TENANT))) {
        writer_text(w, " of ");
        quoted(w, s->tenant);
    }
    if (test->question == POLICY_REACHES) {
        writer_text(w, test->expected ? " reaches " : " does not reach ");
        writer_text(w, reach_text(test->reach));
        return;
    }
    writer_text(w, test->expected ? " may " : " may not ");
    writer_text(w, questions[test->question]);
    quoted(w, test->topic);
}

void policy_test_verdict(struct writer *w, const struct policy_test *test,
                         const struct rules *rules)
{
    if (test->question == POLICY_REACHES) {
        writer_text(w, reaches(test, rules) ? "it does" : "it does not");
        return;
    }
    switch (decide(test, rules)) {
    case RULES_ALLOW:
        writer_text(w, "it may: a filter of its model or group covers that");
        return;
    case RULES_DENY_MODEL:
        writer_text(w, "it may not: the rules do not know its model");
        return;
    case RULES_DENY_STATE:
        writer_text(w, "it may not: in its state it reaches no broker");
        return;
    case RULES_DENY_TOPIC:
        writer_text(w, "it may not: no filter of its model or group covers that");
        return;
    default:
        writer_text(w, "it may not: that is no topic of MQTT");
        return;
    }
}
