/* policy_read(): every key, every standard, every refusal with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/spki.h"
#include "core/topic.h"
#include "policy/quantity.h"
#include "tests/unit/policy_fixture.h"

#define ALL (RULES_REACH_ENROLMENT | RULES_REACH_API | RULES_REACH_MQTT)

static struct arena *arena;
static struct policy_complaint complaint;
static struct policy policy;

static enum err read_text(const char *text)
{
    arena_reset(arena);
    memset(&policy, 0, sizeof policy);
    return policy_read(slice_of_text(text), arena, &policy, &complaint);
}

static void assert_slice(struct slice got, const char *text)
{
    if (!slice_equal(got, slice_of_text(text)))
        fail_msg("'%.*s' is not '%s'", (int)got.len, (const char *)got.data, text);
}

static void reads_every_key(void **state)
{
    (void)state;
    if (read_text(policy_fixture) != ERR_NONE)
        fail_msg("%u:%u: %s", complaint.line, complaint.column, complaint.text);
    assert_string_equal(policy.fleet, "acme-hq");
    assert_int_equal(policy.changes.approvals, 2);
    assert_string_equal(policy.changes.loosening_key, POLICY_FIXTURE_KEY);
    assert_int_equal(policy.cuts_per_hour, 5);
    assert_int_equal(policy.groups_len, 2);
    assert_slice(policy.groups[0].name, "floor-1"); /* in order */
    assert_int_equal(policy.groups[0].line, 7);
    assert_int_equal(policy.groups[0].topics.publish_len, 1);
    assert_slice(policy.groups[0].topics.subscribe[0], "floor/{group}/alarm");
    assert_slice(policy.groups[1].name, "floor-2");
    assert_int_equal(policy.groups[1].topics.subscribe_len, 0);
    assert_int_equal(policy.models_len, 2);
    const struct policy_model *m = &policy.models[0];
    assert_slice(m->name, "thermo");
    assert_int_equal(m->line, 11);
    assert_string_equal(m->identity.maker, "acme");
    assert_false(m->identity.by_manifest);
    assert_int_equal(m->identity.key_kinds, 1U << KEY_RSA | 1U << KEY_ED25519);
    assert_int_equal(m->identity.lifetime, 7 * 86400);
    assert_int_equal(m->identity.enrolled_lifetime, 900);
    assert_int_equal(m->identity.grace, 0);
    assert_int_equal(m->rules.reach[DEVICE_ENROLLED], 0);
    assert_int_equal(m->rules.reach[DEVICE_TRUSTED], RULES_REACH_MQTT);
    assert_int_equal(m->rules.reach[DEVICE_QUARANTINED], RULES_REACH_API | RULES_REACH_ENROLMENT);
    assert_int_equal(m->topics.publish_len, 2);
    assert_slice(m->topics.publish[1], "t/{tenant}");
    assert_slice(m->topics.subscribe[0], "fleet/{model}/{device}/down/#");
    assert_int_equal(m->rules.limits.messages_per_minute, 120);
    assert_int_equal(m->rules.limits.bytes_per_minute, 2 << 20);
    assert_int_equal(m->rules.limits.payload_max, 1024);
    assert_int_equal(m->rules.limits.subscriptions_max, 0);
    assert_int_equal(m->rules.limits.connects_per_minute, 3);
    assert_int_equal(m->rules.limits.stale_seconds, 90);
    assert_true(m->rules.password_ok);
    assert_int_equal(m->rules.cut, RULES_CUT_SEND_WILL | RULES_CUT_KEEP_QUEUE);
    assert_int_equal(m->respond.topics, 10);
    assert_int_equal(m->respond.floods, 120);
    assert_true(m->respond.copies);
}

static void has_safe_standards(void **state)
{
    (void)state;
    assert_int_equal(read_text("holdfast: 1\nfleet: f\nmodels: {m: {identity: {maker: x}}}\n"),
                     ERR_NONE);
    const struct policy_model *m = policy_find_model(&policy, SLICE_LITERAL("m"));
    assert_non_null(m);
    assert_true(m->identity.by_manifest);
    assert_int_equal(m->identity.key_kinds, 1U << KEY_P256 | 1U << KEY_P384 | 1U << KEY_ED25519);
    assert_int_equal(m->identity.lifetime, 30 * 86400);
    assert_int_equal(m->identity.enrolled_lifetime, 3600);
    assert_int_equal(m->identity.grace, 30 * 86400);
    assert_int_equal(m->rules.reach[DEVICE_EXPECTED], 0);
    assert_int_equal(m->rules.reach[DEVICE_ENROLLED], RULES_REACH_ENROLMENT);
    assert_int_equal(m->rules.reach[DEVICE_TRUSTED], ALL);
    assert_int_equal(m->rules.reach[DEVICE_QUARANTINED], RULES_REACH_ENROLMENT);
    assert_int_equal(m->rules.reach[DEVICE_REVOKED], 0);
    assert_int_equal(m->rules.reach[DEVICE_RETIRED], 0);
    assert_int_equal(m->topics.publish_len + m->topics.subscribe_len, 0);
    assert_int_equal(m->rules.limits.messages_per_minute, 60);
    assert_int_equal(m->rules.limits.bytes_per_minute, 1 << 20);
    assert_int_equal(m->rules.limits.payload_max, 64 << 10);
    assert_int_equal(m->rules.limits.subscriptions_max, 10);
    assert_int_equal(m->rules.limits.connects_per_minute, 10);
    assert_int_equal(m->rules.limits.stale_seconds, 3600);
    assert_false(m->rules.password_ok);
    assert_int_equal(m->rules.cut, RULES_CUT_CLEAR_RETAINED);
    assert_int_equal(m->respond.topics + m->respond.floods, 0);
    assert_false(m->respond.copies);
    assert_int_equal(policy.changes.approvals, 1);
    assert_string_equal(policy.changes.loosening_key, "");
    assert_int_equal(policy.cuts_per_hour, POLICY_AUTOMATIC_CUTS);
    assert_int_equal(policy.groups_len + policy.tests_len, 0);
    assert_null(policy_find_group(&policy, SLICE_LITERAL("m")));
    assert_int_equal(read_text("holdfast: 1\nfleet: f\nmodels: {}\n"), ERR_NONE);
    assert_null(policy_find_model(&policy, SLICE_LITERAL("m")));
}

static void has_tenants(void **state)
{
    (void)state;
    assert_int_equal(read_text(policy_fixture), ERR_NONE);
    assert_int_equal(policy.tenants_len, 2);
    assert_slice(policy.tenants[0].name, "default"); /* it is always there */
    assert_true(policy.tenants[0].all);
    assert_int_equal(policy.tenants[0].line, 0);
    const struct policy_tenant *other = policy_find_tenant(&policy, SLICE_LITERAL("other"));
    assert_ptr_equal(other, &policy.tenants[1]);
    assert_int_equal(other->line, 33);
    assert_false(policy_tenant_has(other, 0)); /* thermo */
    assert_true(policy_tenant_has(other, 1));
    assert_null(policy_find_tenant(&policy, SLICE_LITERAL("othe")));

    static const char models[] = "holdfast: 1\nfleet: f\nmodels:\n"
                                 "  c: {identity: {maker: x}}\n  a: {identity: {maker: x}}\n";
    char text[512];
    (void)snprintf(text, sizeof text,
                   "%stenants: {z: {}, a: {models: [c, a]}, default: {models: [c]}}\n", models);
    assert_int_equal(read_text(text), ERR_NONE);
    assert_int_equal(policy.tenants_len, 3);
    assert_slice(policy.tenants[0].name, "a");
    assert_int_equal(policy.tenants[0].models_len, 2);
    assert_int_equal(policy.tenants[0].models[0], 0);
    assert_slice(policy.tenants[1].name, "default");
    assert_int_equal(policy.tenants[1].models_len, 1);
    assert_int_equal(policy.tenants[1].models[0], 1);
    assert_slice(policy.tenants[2].name, "z");
    assert_int_equal(read_text(models), ERR_NONE);
    assert_int_equal(policy.tenants_len, 1);
}

/* Each pair is a row that is written as the policy comes into force. */
static void takes_so_many_models_of_tenants(void **state)
{
    (void)state;
    static char text[POLICY_TEXT_MAX];
    for (size_t more = 0; more < 2; more++) {
        size_t len = (size_t)snprintf(text, sizeof text, "holdfast: 1\nfleet: f\nmodels:\n");
        for (size_t i = 0; i < 128; i++)
            len += (size_t)snprintf(text + len, sizeof text - len,
                                    "  m-%zu: {identity: {maker: x}}\n", i);
        len += (size_t)snprintf(text + len, sizeof text - len, "tenants:\n");
        for (size_t i = 0; i < POLICY_PAIRS_MAX / 128 + more; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "  t-%zu: {}\n", i);
        assert_int_equal(read_text(text), more == 0 ? ERR_NONE : ERR_LIMIT);
    }
    assert_non_null(strstr(complaint.text, "more than 16384 models together"));
}

static void turns_tests_into_questions(void **state)
{
    (void)state;
    static const struct {
        unsigned line;
        enum policy_question question;
        bool expected;
        const char *topic;
        uint8_t reach;
    } expected[] = {
        {29, POLICY_MAY_PUBLISH, true, "fleet/thermo/thermo-1/up/t", 0},
        {29, POLICY_MAY_PUBLISH, true, "floor/floor-1/thermo-1", 0},
        {29, POLICY_MAY_SUBSCRIBE, false, "#", 0},
        {31, POLICY_REACHES, true, "", RULES_REACH_ENROLMENT},
        {31, POLICY_REACHES, false, "", RULES_REACH_API},
        {31, POLICY_REACHES, false, "", RULES_REACH_MQTT},
    };
    assert_int_equal(read_text(policy_fixture), ERR_NONE);
    assert_int_equal(policy.tests_len, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const struct policy_test *t = &policy.tests[i];
        assert_int_equal(t->line, expected[i].line);
        assert_int_equal(t->question, expected[i].question);
        assert_int_equal(t->expected, expected[i].expected);
        assert_slice(t->topic, expected[i].topic);
        assert_int_equal(t->reach, expected[i].reach);
    }
    assert_slice(policy.tests[0].subject.device, "thermo-1");
    assert_slice(policy.tests[0].subject.group, "floor-1");
    assert_slice(policy.tests[0].subject.tenant, "default");
    assert_int_equal(policy.tests[0].subject.state, DEVICE_TRUSTED);
    assert_slice(policy.tests[5].subject.model, "valve");
    assert_slice(policy.tests[5].subject.group, "");
    assert_slice(policy.tests[5].subject.tenant, "other");
    assert_int_equal(policy.tests[5].subject.state, DEVICE_QUARANTINED);
}

#define HEAD  "holdfast: 1\nfleet: f\n"
#define MODEL HEAD "models:\n  m:\n    identity: {maker: x}\n" /* 5 lines */
#define TESTS MODEL "tests:\n"

static const struct {
    const char *text;
    unsigned line, column;
    const char *says;
} refusals[] = {
    {"[]", 1, 1, "'policy' must be a map"},
    {"fleet: f", 1, 1, "'holdfast' is missing"},
    {"holdfast: 2\nfleet: f\nmodels: {}", 1, 11, "'holdfast' must be 1, not '2'"},
    {"holdfast: \"1\"\nfleet: f\nmodels: {}", 1, 11, "'holdfast' must be a number"},
    {"holdfast: 1\nmodels: {}", 1, 1, "'fleet' is missing"},
    {HEAD, 1, 1, "'models' is missing in this map: Kinds of device"},
    {HEAD "models:\n", 3, 8, "'models' is empty"},
    {HEAD "models: ~\n", 3, 9, "'models' is empty"},
    {HEAD "models: []\n", 3, 9, "'models' must be a map of names"},
    {HEAD "models: {holdfast-broker: {identity: {maker: a}}}\n", 3, 10, "are the hub's own"},
    {HEAD "modells: {}\n", 3, 1, "'modells' is not known here; did you mean 'models'?"},
    {HEAD "models: {}\nzebra: 1\n", 4, 1, "'zebra' is not known here, where there are holdfast"},
    {HEAD "models: {m: {}}\n", 3, 13, "'identity' is missing"},
    {HEAD "models: {m: 1}\n", 3, 13, "'model' must be a map"},
    {HEAD "models: {m/x: {}}\n", 3, 10, "'m/x' can't be the name of a model"},
    {HEAD "models: {-m: {}}\n", 3, 10, "can't be the name of a model"},
    {HEAD "models: {no: {}}\n", 3, 10, "the name no needs quotes"},
    {HEAD "models: {2024: {}}\n", 3, 10, "the name 2024 needs quotes"},
    {HEAD "models: {m: {identity: {}}}\n", 3, 24, "'maker' is missing in this map: Who makes"},
    {HEAD "models: {m: {identity: {maker: [x]}}}\n", 3, 32, "one value here, not a list"},
    {HEAD "models: {m: {identity: {maker: {}}}}\n", 3, 32, "one value here, not a map"},
    {HEAD "models: {m: {identity: {maker: a b}}}\n", 3, 32, "'a b' can't be the name of a maker"},
    {"holdfast: 1\nfleet: Acme\nmodels: {}\n", 2, 8, "'Acme' can't be the name of a fleet"},
    {"holdfast: 1\nfleet: \"\"\nmodels: {}\n", 2, 8, "can't be the name of a fleet"},
    {HEAD "models: {m: {identity: {maker: x, lifetme: 1d}}}\n", 3, 35,
     "'lifetme' is not known here; did you mean 'lifetime'?"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: 30}}}\n", 3, 45,
     "'lifetime' must be a time with its unit, such as 30d, 12h, 15m or 90s, not '30'"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: 10m}}}\n", 3, 45,
     "'lifetime' must be from 1h to 3y, not '10m'"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: 4y}}}\n", 3, 45, "from 1h to 3y"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: 99999999999999999999d}}}\n", 3, 45,
     "from 1h to 3y"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: none}}}\n", 3, 45, "not 'none'"},
    {HEAD "models: {m: {identity: {maker: x, renewal: 1m}}}\n", 3, 44,
     "from 5m to 3y, or two-thirds"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: 1d, renewal: 1d}}}\n", 3, 58,
     "it would come when the certificate is over"},
    {HEAD "models: {m: {identity: {maker: x, grace: 0d}}}\n", 3, 42, "from 1s to 3y, or none"},
    {HEAD "models: {m: {identity: {maker: x, grace: off}}}\n", 3, 42, "or none, not 'off'"},
    {HEAD "models: {m: {identity: {maker: x, lifetime: 1h, enrolled-lifetime: 2h}}}\n", 3, 45,
     "'lifetime' is shorter than 'enrolled-lifetime'"},
    {HEAD "models: {m: {identity: {maker: x, proof: Manifest}}}\n", 3, 42,
     "'proof' can't be 'Manifest'; did you mean 'manifest'?"},
    {HEAD "models: {m: {identity: {maker: x, proof: tpm}}}\n", 3, 42,
     "'proof' must be manifest or approval, not 'tpm'"},
    {HEAD "models: {m: {identity: {maker: x, keys: P-256}}}\n", 3, 41, "must be a list, such as"},
    {HEAD "models: {m: {identity: {maker: x, keys: []}}}\n", 3, 41, "'keys' is empty"},
    {HEAD "models: {m: {identity: {maker: x, keys: [DSA]}}}\n", 3, 42, "'keys' "},
    {HEAD "models: {m: {identity: {maker: x, keys: [RSA, RSA]}}}\n", 3, 47, "stands here twice"},
    {HEAD "models: {m: {identity: {maker: x, keys: [[RSA]]}}}\n", 3, 42, "a list of words"},
    {MODEL "    reach: {revoked: [api]}\n", 6, 13,
     "'revoked' is not known here: a device that is expected, revoked or retired"},
    {MODEL "    reach: {trusted: [htp]}\n", 6, 23, "'trusted' must be enrolment, api or mqtt"},
    {MODEL "    publish: a/b\n", 6, 14, "'publish' must be a list"},
    {MODEL "    publish: [a/#/b]\n", 6, 15, "'a/#/b' is no topic filter"},
    {MODEL "    publish: [a+/b]\n", 6, 15, "is no topic filter"},
    {MODEL "    publish: [\"\"]\n", 6, 15, "is no topic filter"},
    {MODEL "    publish: [[a]]\n", 6, 15, "one value here, not a list"},
    {MODEL "    publish: [\"{devcie}/a\"]\n", 6, 15,
     "'{devcie}' is no variable; did you mean "
     "'{device}'?"},
    {MODEL "    publish: [\"{zebras}/a\"]\n", 6, 15, "'{zebras}' is no variable: there are"},
    {MODEL "    publish: [\"{device/a\"]\n", 6, 15, "'{device' is no variable"},
    {MODEL "    publish: [\"{}/a\"]\n", 6, 15, "'{}' is no variable"},
    {MODEL "    publish: [\"device}/a\"]\n", 6, 15, "a '}' without its '{'"},
    {MODEL "    publish: [\"{model}-{device}\"]\n", 6, 15, "two variables in one level"},
    {MODEL "    publish: [$SYS/broker]\n", 6, 15, "belong to the broker"},
    {MODEL "    subscribe: [$CONTROL/holdfast/v1]\n", 6, 17, "belong to the broker"},
    {MODEL "    publish: [$share/g/a]\n", 6, 15, "belong to the broker"},
    {MODEL "    limits: {messages: 60}\n", 6, 24,
     "'messages' must be a rate such as 60/min or "
     "2/s, or unlimited, not '60'"},
    {MODEL "    limits: {messages: 0/min}\n", 6, 24, "from 1/min to 1000000/min, or unlimited"},
    {MODEL "    limits: {messages: 1.5/s}\n", 6, 24, "must be a rate"},
    {MODEL "    limits: {messages: 060/min}\n", 6, 24, "must be a rate"},
    {MODEL "    limits: {bytes: 1MB/min}\n", 6, 21, "such as 1MiB/min or 4KiB/s"},
    {MODEL "    limits: {payload: 64KB}\n", 6, 23, "such as 512B, 64KiB or 1MiB"},
    {MODEL "    limits: {payload: 1GiB}\n", 6, 23, "must be a size"},
    {MODEL "    limits: {payload: 129MiB}\n", 6, 23, "from 1B to 128MiB, or unlimited"},
    {MODEL "    limits: {bytes: 1KiB/min}\n", 6, 21, "'payload' is more than the 'bytes'"},
    {MODEL "    limits: {payload: unlimited}\n", 6, 23, "'payload' is more than the 'bytes'"},
    {MODEL "    limits: {subscriptions: \"10\"}\n", 6, 29, "a number such as 10"},
    {MODEL "    limits: {subscriptions: 0}\n", 6, 29, "from 1 to 10000, or unlimited"},
    {MODEL "    limits: {stale: 31d}\n", 6, 21, "from 1s to 30d, or none"},
    {MODEL "    password: yes\n", 6, 15, "'password' must be true or false, without quotes"},
    {MODEL "    password: \"true\"\n", 6, 15, "without quotes"},
    {MODEL "    cut: {will: keep}\n", 6, 17, "'will' must be drop or send"},
    {MODEL "    cut: {queue: clear}\n", 6, 18, "'queue' must be drop or keep"},
    {MODEL "    respond: {topics: 10}\n", 6, 23, "must be a rate such as 60/min or 2/s"},
    {MODEL "    respond: {topics: 0/min}\n", 6, 23, "from 1/min to 1000000/min, or none"},
    {MODEL "    respond: {floods: 1000001/s}\n", 6, 23, "from 1/min to 60000000/min, or none"},
    {MODEL "    respond: {copies: 1/h}\n", 6, 23, "must be true or false"},
    {MODEL "    respond: {topic: 10/min}\n", 6, 15, "did you mean 'topics'?"},
    {MODEL "groups: {g: {limits: {}}}\n", 6, 14,
     "'limits' is not known here, where there are "
     "publish and subscribe"},
    {MODEL "groups: {yes: {}}\n", 6, 10, "the name yes needs quotes"},
    {MODEL "changes: {approvals: 3}\n", 6, 22, "'approvals' must be from 1 to 2"},
    {MODEL "changes: {loosening-key: owner}\n", 6, 26, "'loosening-key' is no verifier key"},
    {MODEL
     "changes: {loosening-key: owner+00000000+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB}\n",
     6, 26, "is no verifier key"},
    {MODEL "cuts: {automatic-per-hour: -1}\n", 6, 28, "must be a number such as 10"},
    {TESTS "  - {}\n", 7, 5, "'device' is missing"},
    {TESTS "  - {device: d}\n", 7, 5, "'model' is missing"},
    {TESTS "  - {device: d, model: m}\n", 7, 5, "this test asks nothing"},
    {TESTS "  - {device: d, model: m, may: {}}\n", 7, 5, "this test asks nothing"},
    {TESTS "  - {device: d, model: x, reaches: [api]}\n", 7, 24, "there is no model 'x'"},
    {TESTS "  - {device: d, model: m, group: g, reaches: [api]}\n", 7, 34, "there is no group 'g'"},
    {TESTS "  - {device: d, model: m, tenant: t, reaches: [api]}\n", 7, 35,
     "there is no tenant 't'"},
    {MODEL "  o: {identity: {maker: x}}\ntenants: {t: {models: [o]}}\n"
           "tests: [{device: d, model: m, tenant: t, reaches: [api]}]\n",
     8, 28, "devices of the tenant 't' can't be of the model 'm'"},
    {MODEL "  o: {identity: {maker: x}}\ntenants: {default: {models: [o]}}\n"
           "tests: [{device: d, model: m, reaches: [api]}]\n",
     8, 28, "devices of the tenant 'default' can't be"},
    {MODEL "tenants: {t: {models: [o]}}\n", 6, 11, "there is no model 'o' in this policy"},
    {MODEL "tenants: {t: {models: [m, m]}}\n", 6, 11, "the model 'm' stands twice"},
    {MODEL "tenants: {t: {models: []}}\n", 6, 23, "'models' is empty"},
    {MODEL "tenants: {t: {models: m}}\n", 6, 23, "'models' must be a list"},
    {MODEL "tenants: {t: }\n", 6, 14, "'tenant' is empty"},
    {MODEL "tenants: {t: {model: [m]}}\n", 6, 15, "did you mean 'models'?"},
    {MODEL "tenants: {a/b: {}}\n", 6, 11, "can't be the name of a tenant"},
    {MODEL "tenants: {holdfast-x: {}}\n", 6, 11, "are the hub's own"},
    {MODEL "tenants: [t]\n", 6, 10, "'tenants' must be a map of names"},
    {TESTS "  - {device: 12, model: m, reaches: [api]}\n", 7, 14, "the name 12 needs quotes"},
    {TESTS "  - {device: d, model: m, reaches: []}\n", 7, 36, "'reaches' is empty"},
    {TESTS "  - {device: d, model: m, state: gone, reaches: [api]}\n", 7, 34, "'state' must be"},
    {TESTS "  - {device: d, model: m, may: {publish: a/#}}\n", 7, 42, "wildcards stand in filters"},
    {TESTS "  - {device: d, model: m, may: {receive: \"+\"}}\n", 7, 42, "wildcards stand in"},
    {TESTS "  - {device: d, model: m, may-not: {subscribe: a#}}\n", 7, 48, "is no topic filter"},
    {TESTS "  - {device: d, model: m, may-not: {subscribe: []}}\n", 7, 48, "'subscribe' is empty"},
    {TESTS "  - {device: d, model: m, may-not: {publish: \"x/{device}\"}}\n", 7, 46,
     "a test asks about a real topic"},
    {TESTS "  - {device: d, model: m, may: {read: a}}\n", 7, 33, "'read' is not known here"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        enum err err = read_text(refusals[i].text);
        bool right = (err == ERR_SYNTAX || err == ERR_LIMIT) &&
                     complaint.line == refusals[i].line && complaint.column == refusals[i].column &&
                     strstr(complaint.text, refusals[i].says) != NULL && policy.models == NULL;
        if (!right)
            fail_msg("%s\n-> %s, %u:%u: %s", refusals[i].text, err_text(err), complaint.line,
                     complaint.column, complaint.text);
    }
}

static void bounds_filters_and_tests(void **state)
{
    (void)state;
    static char text[POLICY_TEXT_MAX + 1];
    size_t len = (size_t)snprintf(text, sizeof text, MODEL "    publish: [");
    for (size_t i = 0; i <= RULES_FILTERS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "a%zu,", i);
    (void)snprintf(text + len, sizeof text - len, "]\n");
    assert_int_equal(read_text(text), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "'publish' has more than 64 entries"));
    len = (size_t)snprintf(text, sizeof text, TESTS);
    len += (size_t)snprintf(text + len, sizeof text - len,
                            "  - {device: d, model: m, may-not: {publish: [");
    for (size_t i = 0; i < POLICY_TESTS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "a,");
    size_t short_len = len;
    len += (size_t)snprintf(text + len, sizeof text - len, "]}}\n");
    assert_int_equal(read_text(text), ERR_NONE);
    assert_int_equal(policy.tests_len, POLICY_TESTS_MAX);
    (void)snprintf(text + short_len, sizeof text - short_len, "], receive: a}}\n");
    assert_int_equal(read_text(text), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "more than 10000 questions"));
    char filter[RULES_FILTER_MAX + 2];
    memset(filter, 'x', sizeof filter);
    filter[RULES_FILTER_MAX + 1] = '\0';
    (void)snprintf(text, sizeof text, MODEL "    publish: [%s]\n", filter);
    assert_int_equal(read_text(text), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "longer than 512 bytes"));
    filter[RULES_FILTER_MAX] = '\0';
    (void)snprintf(text, sizeof text, MODEL "    publish: [%s]\n", filter);
    assert_int_equal(read_text(text), ERR_NONE);
    memset(filter, '/', TOPIC_LEVELS_MAX + 1);
    (void)snprintf(text, sizeof text, MODEL "    publish: [%s]\n", filter);
    assert_int_equal(read_text(text), ERR_LIMIT);
    assert_non_null(strstr(complaint.text, "more than 200 levels"));
}

static void reads_and_writes_quantities(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum quantity kind;
        int64_t value;
        const char *written;
    } cases[] = {
        {"10", QUANTITY_COUNT, 10, "10"},
        {"0", QUANTITY_COUNT, 0, "0"},
        {"90s", QUANTITY_DURATION, 90, "90s"},
        {"120s", QUANTITY_DURATION, 120, "2m"},
        {"24h", QUANTITY_DURATION, 86400, "1d"},
        {"365d", QUANTITY_DURATION, 31536000, "1y"},
        {"0d", QUANTITY_DURATION, 0, "0s"},
        {"1024B", QUANTITY_SIZE, 1024, "1KiB"},
        {"1000B", QUANTITY_SIZE, 1000, "1000B"},
        {"3MiB", QUANTITY_SIZE, 3 << 20, "3MiB"},
        {"2/s", QUANTITY_RATE, 120, "120/min"},
        {"7/min", QUANTITY_RATE, 7, "7/min"},
        {"1KiB/s", QUANTITY_SIZE_RATE, 61440, "60KiB/min"},
        {"100B/min", QUANTITY_SIZE_RATE, 100, "100B/min"},
        {"1MiB/s", QUANTITY_SIZE_RATE, 60 << 20, "60MiB/min"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t value = -1;
        char text[64] = "";
        assert_int_equal(quantity_read(slice_of_text(cases[i].text), cases[i].kind, &value),
                         ERR_NONE);
        assert_int_equal(value, cases[i].value);
        struct writer w = writer_over(text, sizeof text - 1);
        quantity_write(&w, cases[i].kind, value);
        assert_int_equal(w.err, ERR_NONE);
        assert_string_equal(text, cases[i].written);
        assert_int_equal(quantity_read(slice_of_text(text), cases[i].kind, &value), ERR_NONE);
        assert_int_equal(value, cases[i].value);
    }
    int64_t value = -1;
    static const char *const bad[] = {"", "d", "1", "-1d", "1 d", "1w", "1D", "01d", "1d1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(quantity_read(slice_of_text(bad[i]), QUANTITY_DURATION, &value),
                         ERR_SYNTAX);
    assert_int_equal(
        quantity_read(SLICE_LITERAL("9223372036854775807y"), QUANTITY_DURATION, &value), ERR_LIMIT);
    assert_int_equal(value, -1);
}

static void stays_within_the_arena(void **state)
{
    (void)state;
    for (size_t max = 0;; max += 64) {
        struct arena *small = arena_new(max);
        memset(&policy, 0, sizeof policy);
        enum err err = policy_read(slice_of_text(policy_fixture), small, &policy, &complaint);
        arena_free(small);
        if (err == ERR_NONE)
            break;
        assert_int_equal(err, ERR_NO_MEMORY);
        assert_null(policy.models);
        assert_true(max < 65536);
    }
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
        cmocka_unit_test(reads_every_key),
        cmocka_unit_test(has_safe_standards),
        cmocka_unit_test(has_tenants),
        cmocka_unit_test(takes_so_many_models_of_tenants),
        cmocka_unit_test(turns_tests_into_questions),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_filters_and_tests),
        cmocka_unit_test(reads_and_writes_quantities),
        cmocka_unit_test(stays_within_the_arena),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
