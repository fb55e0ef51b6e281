/* policy_diff(): every kind of change, in words; and what must hold of all of them. */
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

static struct policy policy_of(const char *text)
{
    struct policy_complaint complaint;
    struct policy policy = {.fleet = ""};
    if (policy_read(slice_of_text(text), arena, &policy, &complaint) != ERR_NONE)
        fail_msg("%u:%u: %s in\n%s", complaint.line, complaint.column, complaint.text, text);
    return policy;
}

/* "+m what\n" for a gain, "-" for a loss, "~" for a change; groups as "@g". */
static const char *told(const struct policy *old, const struct policy *new)
{
    static const char signs[] = {
        [POLICY_GAINS] = '+', [POLICY_LOSES] = '-', [POLICY_CHANGES] = '~'};
    struct policy_difference *list = NULL;
    size_t len = 0;
    assert_int_equal(policy_diff(old, new, arena, &list, &len), ERR_NONE);
    struct writer w = arena_writer(arena, 1 << 20);
    for (size_t i = 0; i < len; i++) {
        writer_u8(&w, (uint8_t)signs[list[i].effect]);
        writer_text(&w, list[i].is_group ? "@" : "");
        writer_put(&w, list[i].name);
        writer_text(&w, list[i].name.len > 0 ? " " : "");
        writer_put(&w, list[i].what);
        writer_u8(&w, '\n');
    }
    writer_u8(&w, '\0');
    assert_int_equal(w.err, ERR_NONE);
    return (const char *)writer_bytes(&w).data;
}

#define HEAD     "holdfast: 1\nfleet: f\n"
#define M(what)  HEAD "models: {m: {identity: {maker: x}, " what "}}\n"
#define ID(what) HEAD "models: {m: {identity: {maker: x, " what "}}}\n"
#define G(what)  HEAD "models: {}\ngroups: {" what "}\n"
#define F(what)  HEAD "models: {}\n" what "\n"
#define KEY_1    POLICY_FIXTURE_KEY
#define TWO      HEAD "models: {m: {identity: {maker: x}}, o: {identity: {maker: x}}}\n"

static const struct {
    const char *old, *new, *there, *back;
} cases[] = {
    {M("publish: [a]"), M("publish: [a, b]"), "+m publish to 'b'\n", "-m publish to 'b'\n"},
    {M("publish: [\"f/{device}\"]"), M("publish: [f/+]"),
     "+m publish to 'f/+'\n~m publish to 'f/{device}' is no longer written; 'f/+' covers it\n",
     "~m publish to 'f/{device}' is written, too; 'f/+' covers it\n-m publish to 'f/+'\n"},
    {M("publish: [\"f/{device}\"]"), M("publish: [f/x]"),
     "+m publish to 'f/x'\n-m publish to 'f/{device}'\n",
     "+m publish to 'f/{device}'\n-m publish to 'f/x'\n"},
    {M("subscribe: [a/#]"), M("subscribe: [a/#, a]"),
     "~m subscribe to 'a' is written, too; 'a/#' covers it\n",
     "~m subscribe to 'a' is no longer written; 'a/#' covers it\n"},
    {M("subscribe: [a]"), M("publish: [a]"), "+m publish to 'a'\n-m subscribe to 'a'\n",
     "-m publish to 'a'\n+m subscribe to 'a'\n"},
    {M("publish: [a, b]"), M("publish: [b, a, a]"), "", ""},
    {M("limits: {messages: 60/min}"), M("limits: {messages: 2/s}"),
     "+m messages: 120/min, was 60/min\n", "-m messages: 60/min, was 120/min\n"},
    {M("limits: {messages: 60/min}"), M("limits: {messages: unlimited}"),
     "+m messages: unlimited, was 60/min\n", "-m messages: 60/min, was unlimited\n"},
    {M("limits: {bytes: 1MiB/min}"), M("limits: {bytes: 2MiB/min}"),
     "+m bytes: 2MiB/min, was 1MiB/min\n", "-m bytes: 1MiB/min, was 2MiB/min\n"},
    {M("limits: {payload: 1KiB}"), M("limits: {payload: 2KiB}"), "+m payload: 2KiB, was 1KiB\n",
     "-m payload: 1KiB, was 2KiB\n"},
    {M("limits: {subscriptions: 1}"), M("limits: {subscriptions: unlimited}"),
     "+m subscriptions: unlimited, was 1\n", "-m subscriptions: 1, was unlimited\n"},
    {M("limits: {connects: 1/min}"), M("limits: {connects: 2/min}"),
     "+m connects: 2/min, was 1/min\n", "-m connects: 1/min, was 2/min\n"},
    {M("limits: {stale: none}"), M("limits: {stale: 1d}"),
     "+m service by a broker without a hub: 1d, was none\n",
     "-m service by a broker without a hub: none, was 1d\n"},
    {M("password: false"), M("password: true"), "+m a password in place of a certificate\n",
     "-m a password in place of a certificate\n"},
    {M("cut: {will: drop}"), M("cut: {will: send}"),
     "+m its last will is sent when it is cut off\n",
     "-m its last will is sent when it is cut off\n"},
    {M("cut: {retained: clear}"), M("cut: {retained: keep}"),
     "+m what it published to be retained stays when it is cut off\n",
     "-m what it published to be retained stays when it is cut off\n"},
    {M("cut: {queue: drop}"), M("cut: {queue: keep}"),
     "+m its subscriptions and waiting messages stay when it is cut off\n",
     "-m its subscriptions and waiting messages stay when it is cut off\n"},
    {M("respond: {topics: 10/min, floods: 5/s}"), M("respond: {topics: 20/min}"),
     "+m refused topics until the hub quarantines it: 20/min, was 10/min\n"
     "+m refused floods until the hub quarantines it: unlimited, was 300/min\n",
     "-m refused topics until the hub quarantines it: 10/min, was 20/min\n"
     "-m refused floods until the hub quarantines it: 300/min, was unlimited\n"},
    {M("respond: {copies: true}"), M("respond: {topics: none}"),
     "+m a copy of its identity seen, without quarantine\n",
     "-m a copy of its identity seen, without quarantine\n"},
    {M("reach: {quarantined: []}"), M("reach: {quarantined: [enrolment, api]}"),
     "+m reach of enrolment while quarantined\n+m reach of the API while quarantined\n",
     "-m reach of enrolment while quarantined\n-m reach of the API while quarantined\n"},
    {M("reach: {enrolled: [api]}"), M("reach: {enrolled: [mqtt]}"),
     "-m reach of the API while enrolled\n+m reach of MQTT brokers while enrolled\n",
     "+m reach of the API while enrolled\n-m reach of MQTT brokers while enrolled\n"},
    {ID("proof: approval"), ID("proof: manifest"),
     "+m trust by the manifest alone, without a person's approval\n",
     "-m trust by the manifest alone, without a person's approval\n"},
    {ID("keys: [RSA]"), ID("keys: [P-256]"), "+m P-256 keys\n-m RSA keys\n",
     "-m P-256 keys\n+m RSA keys\n"},
    {ID("lifetime: 1d"), ID("lifetime: 2d"), "+m lifetime of certificates: 2d, was 1d\n",
     "-m lifetime of certificates: 1d, was 2d\n"},
    {ID("enrolled-lifetime: 1h"), ID("enrolled-lifetime: 2h"),
     "+m lifetime of certificates while enrolled: 2h, was 1h\n",
     "-m lifetime of certificates while enrolled: 1h, was 2h\n"},
    {ID("renewal: two-thirds"), ID("renewal: 7d"),
     "-m age of certificates that are replaced: 7d, was two-thirds\n",
     "+m age of certificates that are replaced: two-thirds, was 7d\n"},
    {ID("renewal: 3d"), ID("renewal: 7d"), "+m age of certificates that are replaced: 7d, was 3d\n",
     "-m age of certificates that are replaced: 3d, was 7d\n"},
    {ID("grace: none"), ID("grace: 30d"), "+m grace: 30d, was none\n", "-m grace: none, was 30d\n"},
    {HEAD "models: {m: {identity: {maker: x}}}\n", HEAD "models: {m: {identity: {maker: w}}}\n",
     "+m devices made by 'w'\n-m devices made by 'x'\n",
     "+m devices made by 'x'\n-m devices made by 'w'\n"},
    {G(""), G("g: {publish: [a]}"), "+@g a place in the policy\n+@g publish to 'a'\n",
     "-@g a place in the policy\n-@g publish to 'a'\n"},
    {G("g: {}, h: {}"), G("h: {subscribe: [a]}"),
     "-@g a place in the policy\n+@h subscribe to 'a'\n",
     "+@g a place in the policy\n-@h subscribe to 'a'\n"},
    {HEAD "models: {}\n", M("publish: [\"{device}\"], reach: {trusted: [mqtt]}, password: true"),
     "+m identities: made by 'x', trusted by the manifest, certificates of 30d, or a password\n"
     "+m reach of enrolment while enrolled\n+m reach of MQTT brokers while trusted\n"
     "+m reach of enrolment while quarantined\n+m publish to '{device}'\n",
     "-m identities: made by 'x', trusted by the manifest, certificates of 30d, or a password\n"
     "-m reach of enrolment while enrolled\n-m reach of MQTT brokers while trusted\n"
     "-m reach of enrolment while quarantined\n-m publish to '{device}'\n"},
    {"holdfast: 1\nfleet: f\nmodels: {}", "holdfast: 1\nfleet: g\nmodels: {}",
     "+rules for the fleet 'g'\n-rules for the fleet 'f'\n",
     "+rules for the fleet 'f'\n-rules for the fleet 'g'\n"},
    {F("changes: {approvals: 2}"), F("changes: {approvals: 1}"),
     "+changes of the policy by 1 instead of 2 people\n",
     "-changes of the policy by 1 instead of 2 people\n"},
    {F("changes: {loosening-key: \"" KEY_1 "\"}"), F(""),
     "+changes that loosen, without an offline signature\n",
     "-changes that loosen, without an offline signature\n"},
    {F("cuts: {automatic-per-hour: 20}"), F("cuts: {automatic-per-hour: 0}"),
     "+automatic cuts: 0 an hour, were 20\n", "-automatic cuts: 20 an hour, were 0\n"},
    {M("publish: []"),
     M("publish: []") "tests: [{device: d, model: m, state: revoked, reaches-not: [mqtt, api]}]",
     "~test added: a revoked m 'd' does not reach api\n"
     "~test added: a revoked m 'd' does not reach mqtt\n",
     "~test removed: a revoked m 'd' does not reach api\n"
     "~test removed: a revoked m 'd' does not reach mqtt\n"},
    {M(""), M("") "tenants: {t: {}}", "+tenant 't': devices of all models\n",
     "-tenant 't': devices of all models\n"},
    {M(""), M("") "tenants: {default: {}}", "", ""},
    {M(""), M("") "tenants: {t: {models: [m]}}",
     "+tenant 't': devices of these models\n+tenant 't': devices of the model 'm'\n",
     "-tenant 't': devices of these models\n-tenant 't': devices of the model 'm'\n"},
    {TWO "tenants: {default: {models: [m]}}", TWO,
     "+tenant 'default': devices of the model 'o'\n"
     "+tenant 'default': models that are yet to come\n",
     "-tenant 'default': devices of the model 'o'\n"
     "-tenant 'default': models that are yet to come\n"},
    {TWO "tenants: {t: {models: [m]}}", TWO "tenants: {t: {models: [o]}}",
     "-tenant 't': devices of the model 'm'\n+tenant 't': devices of the model 'o'\n",
     "+tenant 't': devices of the model 'm'\n-tenant 't': devices of the model 'o'\n"},
};

static void tells_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        arena_reset(arena);
        struct policy old = policy_of(cases[i].old), new = policy_of(cases[i].new);
        assert_string_equal(told(&old, &new), cases[i].there);
        assert_string_equal(told(&new, &old), cases[i].back);
        assert_string_equal(told(&old, &old), "");
        assert_string_equal(told(&new, &new), "");
    }
}

static void another_key_is_a_gain(void **state)
{
    (void)state;
    arena_reset(arena);
    struct policy old = policy_of(policy_fixture), new = policy_of(policy_fixture);
    (void)snprintf(new.changes.loosening_key, sizeof new.changes.loosening_key, "mallory+1+x");
    assert_string_equal(told(&old, &new),
                        "+changes that loosen, signed by mallory+1+x\n"
                        "-changes that loosen, signed by " POLICY_FIXTURE_KEY "\n");
}

static void all_is_gained_where_nothing_was(void **state)
{
    (void)state;
    arena_reset(arena);
    struct policy new = policy_of(M("publish: [a]"));
    assert_string_equal(told(NULL, &new),
                        "+m identities: made by 'x', trusted by the manifest, certificates of 30d\n"
                        "+m reach of enrolment while enrolled\n"
                        "+m reach of enrolment while trusted\n+m reach of the API while trusted\n"
                        "+m reach of MQTT brokers while trusted\n"
                        "+m reach of enrolment while quarantined\n+m publish to 'a'\n");
}

/* ---- of any two policies ---- */

static uint32_t seed = 20261128;
static unsigned below(unsigned n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 16) % n;
}

#define PICK(...)                                                                                  \
    ({                                                                                             \
        static const char *const of[] = {__VA_ARGS__};                                             \
        of[below(ARRAY_LEN(of))];                                                                  \
    })
#define SAY(...) len += (size_t)snprintf(text + len, size - len, __VA_ARGS__)

static void any_topics(char *text, size_t size)
{
    static const char *const filters[] = {"a",       "a/#",         "a/+",   "\"{device}/a\"",
                                          "\"+/a\"", "\"{group}\"", "\"#\"", "a/b/c"};
    size_t len = 0;
    SAY("[");
    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        if (below(3) == 0)
            SAY("%s, ", filters[i]);
    SAY("]");
}

static void any_policy(char *text, size_t size)
{
    char publish[256], subscribe[256];
    size_t len = 0;
    SAY("holdfast: 1\nfleet: %s\n", PICK("f", "f", "f", "g"));
    SAY("changes: {approvals: %s%s}\n", PICK("1", "2"),
        PICK("", "", ", loosening-key: \"" KEY_1 "\""));
    SAY("cuts: {automatic-per-hour: %s}\nmodels:\n  z: {identity: {maker: x}}\n",
        PICK("0", "20", "30"));
    for (char name = 'a'; name < 'd'; name++) {
        if (below(4) == 0)
            continue;
        any_topics(publish, sizeof publish);
        any_topics(subscribe, sizeof subscribe);
        SAY("  %c:\n    identity: {maker: %s, proof: %s, keys: %s, lifetime: %s, grace: %s}\n",
            name, PICK("x", "x", "w"), PICK("manifest", "approval"), PICK("[RSA]", "[P-256, RSA]"),
            PICK("1d", "30d"), PICK("none", "1d"));
        SAY("    publish: %s\n    subscribe: %s\n    reach: {trusted: %s, quarantined: %s}\n",
            publish, subscribe, PICK("[]", "[mqtt]", "[mqtt, api]"), PICK("[]", "[enrolment]"));
        SAY("    limits: {messages: %s, subscriptions: %s, stale: %s}\n    password: %s\n",
            PICK("1/s", "2/s", "unlimited"), PICK("1", "unlimited"), PICK("none", "1h"),
            PICK("true", "false"));
        SAY("    cut: {will: %s, retained: %s, queue: %s}\n", PICK("drop", "send"),
            PICK("clear", "keep"), PICK("keep", "drop"));
    }
    any_topics(publish, sizeof publish);
    SAY("groups: {g: {publish: %s}, %s: {}}\n", publish, PICK("h", "i"));
    SAY("tenants: {%s}\n",
        PICK("", "t: {}", "t: {models: [z]}", "default: {models: [z]}", "t: {}, u: {models: [z]}"));
    SAY("tests: [{device: d, model: z, state: %s, reaches: [api]}]\n", PICK("revoked", "trusted"));
}

static size_t count(const char *text, char sign)
{
    size_t n = *text == sign;
    for (; *text != '\0'; text++)
        n += text[0] == '\n' && text[1] == sign;
    return n;
}

/* Whatever one device may do under `new` and not under `old`: then something is gained. */
static bool is_looser(const struct policy *old, const struct policy *new)
{
    static const char *const topics[] = {"a", "a/b", "d/a", "g", "x/a", "a/b/c", "h", "a/b/c/d"};
    static const char *const models[] = {"a", "b", "c", "z"};
    static const char *const tenants[] = {"default", "t", "u"};
    struct slice bodies[2];
    struct rules was, is;
    assert_int_equal(policy_compile(old, arena, &bodies[0]), ERR_NONE);
    assert_int_equal(policy_compile(new, arena, &bodies[1]), ERR_NONE);
    assert_int_equal(rules_read_body(bodies[0], &was), ERR_NONE);
    assert_int_equal(rules_read_body(bodies[1], &is), ERR_NONE);
    const size_t of_one = ARRAY_LEN(topics) * ARRAY_LEN(models) * DEVICE_STATE_COUNT * 4;
    for (size_t n = 0; n < of_one * ARRAY_LEN(tenants); n++) {
        size_t i = n % of_one;
        struct rules_subject s = {
            .tenant = slice_of_text(tenants[n / of_one]),
            .device = SLICE_LITERAL("d"),
            .model = slice_of_text(models[i % ARRAY_LEN(models)]),
            .group = i / ARRAY_LEN(models) % 2 == 0 ? SLICE_LITERAL("g") : SLICE_LITERAL(""),
            .state = (enum device_state)(i / ARRAY_LEN(models) / 2 % DEVICE_STATE_COUNT)};
        size_t left = i / ARRAY_LEN(models) / 2 / DEVICE_STATE_COUNT;
        struct slice topic = slice_of_text(topics[left % ARRAY_LEN(topics)]);
        enum rules_action action = left / ARRAY_LEN(topics) == 0 ? RULES_PUBLISH : RULES_RECEIVE;
        if (rules_decide(&was, &s, action, topic) != RULES_ALLOW &&
            rules_decide(&is, &s, action, topic) == RULES_ALLOW)
            return true;
    }
    return false;
}

static void holds_of_any_two(void **state)
{
    (void)state;
    static char old_text[8192], new_text[8192];
    size_t looser = 0;
    for (int round = 0; round < 300; round++) {
        arena_reset(arena);
        any_policy(old_text, sizeof old_text);
        any_policy(new_text, sizeof new_text);
        struct policy old = policy_of(old_text), new = policy_of(new_text);
        const char *there = told(&old, &new), *back = told(&new, &old);
        assert_string_equal(told(&old, &old), "");
        assert_int_equal(count(there, '+'), count(back, '-'));
        assert_int_equal(count(there, '-'), count(back, '+'));
        assert_int_equal(count(there, '~'), count(back, '~'));
        if (is_looser(&old, &new)) {
            looser++;
            if (count(there, '+') == 0)
                fail_msg("nothing gained?\n%s\n%s\n%s", old_text, new_text, there);
        }
        /* different bytes are never told as nothing */
        struct slice a, b;
        assert_int_equal(policy_compile(&old, arena, &a), ERR_NONE);
        assert_int_equal(policy_compile(&new, arena, &b), ERR_NONE);
        if (!slice_equal(a, b))
            assert_true(count(there, '+') + count(there, '-') > 0);
    }
    assert_true(looser > 50); /* else the rounds show nothing */
}

static void stays_within_the_arena(void **state)
{
    (void)state;
    arena_reset(arena);
    struct policy old = policy_of(M("publish: [a]")), new = policy_of(policy_fixture);
    struct policy_difference *list = NULL;
    size_t len = 0;
    for (size_t max = 0;; max += 64) {
        struct arena *small = arena_new(max);
        enum err err = policy_diff(&old, &new, small, &list, &len);
        arena_free(small);
        if (err == ERR_NONE)
            break;
        assert_int_equal(err, ERR_NO_MEMORY);
        assert_null(list);
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
        cmocka_unit_test(tells_in_words),
        cmocka_unit_test(another_key_is_a_gain),
        cmocka_unit_test(all_is_gained_where_nothing_was),
        cmocka_unit_test(holds_of_any_two),
        cmocka_unit_test(stays_within_the_arena),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
