/* Who is let in through another broker, and what for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/hooks/hooks.h"
#include "tests/unit/sleeper.h"

static const struct slice publish[] = {SLICE_LITERAL("fleet/{device}/up/#")};
static const struct slice subscribe[] = {SLICE_LITERAL("fleet/{device}/down/+")};
static const struct rules_model with_passwords = {.reach = {[DEVICE_TRUSTED] = RULES_REACH_MQTT},
                                                  .password_ok = true};
static const struct rules_model without = {.reach = {[DEVICE_TRUSTED] = RULES_REACH_MQTT}};
static const struct rules_entry models[] = {
    {SLICE_LITERAL("approved"), &without, {publish, 1}, {subscribe, 1}},
    {SLICE_LITERAL("listed"), &with_passwords, {publish, 1}, {subscribe, 1}},
};

struct scene {
    struct house *h;
    struct rules rules;
    struct hook_context ctx;
    uint8_t body[4096];
    char password[IDENTITY_CLAIM_TEXT];
};

static void set_scene(struct scene *s, struct house *h)
{
    struct writer w = writer_over(s->body, sizeof s->body);
    rules_write_body(
        &w, 0, &(const struct rules_entries){.models = models, .models_len = ARRAY_LEN(models)});
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(rules_read_body(writer_bytes(&w), &s->rules), ERR_NONE);
    s->h = h;
    s->ctx = (struct hook_context){.identity = h->identity,
                                   .reader = h->reader,
                                   .loop = h->s->loop,
                                   .arena = h->arena,
                                   .rules = &s->rules,
                                   .tenant = TENANT};
    make_models(h);
}

static void give_password(struct scene *s, const char *device, char ret[IDENTITY_CLAIM_TEXT])
{
    unsigned ended;
    struct password_act p = {.removal = false};
    const struct act_origin origin = origin_of(s->h, s->h->arena, &ended);
    (void)snprintf(p.device, sizeof p.device, "%s", device);
    identity_change_password(s->h->identity, &origin, &p);
    assert_int_equal(wait_act(s->h, &p.act), ERR_NONE);
    memcpy(ret, p.password, IDENTITY_CLAIM_TEXT);
}

static enum hook_verdict ask(struct scene *s, const struct hook_client *client,
                             struct hook_device *ret_device)
{
    enum hook_verdict verdict = HOOK_VERDICT_COUNT;
    assert_int_equal(hooks_connect(&s->ctx, client, ret_device, &verdict), ERR_NONE);
    return verdict;
}

static enum hook_verdict by_password(struct scene *s, const char *user, const char *id,
                                     const char *password)
{
    struct hook_device device;
    const struct hook_client client = {.user_name = slice_of_text(user),
                                       .client_id = slice_of_text(id),
                                       .password = slice_of_text(password)};
    return ask(s, &client, &device);
}

static void by_passwords(void **state)
{
    struct scene s;
    char code[IDENTITY_CLAIM_TEXT], a[IDENTITY_CLAIM_TEXT], b[IDENTITY_CLAIM_TEXT];
    set_scene(&s, *state);
    expect_device(s.h, "listed", "a", code);
    expect_device(s.h, "listed", "a2", code);
    expect_device(s.h, "approved", "b", code);
    give_password(&s, "a", a);
    give_password(&s, "b", b); /* the policy came later, or changed */
    static const struct {
        const char *user, *id;
        enum hook_verdict verdict;
    } cases[] = {
        {"a", "a", HOOK_ALLOW},
        {"default/a", "a", HOOK_ALLOW},
        {"default/a", "a:telemetry", HOOK_ALLOW},
        {"default/a", "", HOOK_DENY_NAME},   /* it would be anybody's */
        {"default/a", "a2", HOOK_DENY_NAME}, /* and this one another's */
        {"default/a", "a2:x", HOOK_DENY_NAME},
        {"default/a", "axe", HOOK_DENY_NAME},
        {"", "a", HOOK_DENY_CREDENTIAL},    /* a password needs the name that it belongs to */
        {"other/a", "a", HOOK_DENY_DEVICE}, /* of another tenant: not there */
        {"/a", "a", HOOK_DENY_DEVICE},
        {"default/", "a", HOOK_DENY_DEVICE},
        {"default/a/b", "a", HOOK_DENY_DEVICE},
        {"nobody", "nobody", HOOK_DENY_DEVICE},
        {"#", "#", HOOK_DENY_DEVICE},
        {"a2", "a2", HOOK_DENY_STATE}, /* expected only */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(by_password(&s, cases[i].user, cases[i].id, a), cases[i].verdict);
    assert_int_equal(by_password(&s, "a", "a", b), HOOK_DENY_PASSWORD);
    assert_int_equal(by_password(&s, "a", "a", ""), HOOK_DENY_CREDENTIAL);
    struct move_act m;
    assert_int_equal(move(s.h, &m, "b", MOVE_APPROVE), ERR_NONE);
    assert_int_equal(by_password(&s, "b", "b", b), HOOK_DENY_PASSWORD);
    s.ctx.rules = NULL;
    assert_int_equal(by_password(&s, "a", "a", a), HOOK_DENY_POLICY);
}

/* A device with a certificate, which is left in x. */
static void enrol(struct scene *s, struct enrolling *x, const char *id, EVP_PKEY *key)
{
    char code[IDENTITY_CLAIM_TEXT];
    expect_device(s->h, "listed", id, code);
    enrol_by_claim(s->h, x, id, code, key);
    assert_int_equal(enrolling_wait(s->h, x), ERR_NONE);
}

static enum hook_verdict by_certificate(struct scene *s, struct slice der, const char *user,
                                        const char *id)
{
    struct hook_device device;
    const struct hook_client client = {.user_name = slice_of_text(user),
                                       .client_id = slice_of_text(id),
                                       .certificate = der,
                                       .password = SLICE_LITERAL("whatever")};
    return ask(s, &client, &device);
}

static enum hook_verdict by_name(struct scene *s, const char *name, const char *id)
{
    struct hook_device device;
    const struct hook_client client = {.common_name = slice_of_text(name),
                                       .client_id = slice_of_text(id)};
    return ask(s, &client, &device);
}

static void by_certificates(void **state)
{
    struct scene s;
    struct enrolling x, y;
    struct move_act m;
    char code[IDENTITY_CLAIM_TEXT];
    EVP_PKEY *keys[] = {new_key(), new_key()};
    set_scene(&s, *state);
    enrol(&s, &x, "a", keys[0]);
    enrol(&s, &y, "b", keys[1]);
    struct slice a = x.e.certificate, b = y.e.certificate;
    assert_int_equal(by_certificate(&s, a, "", "a"), HOOK_ALLOW);
    assert_int_equal(by_certificate(&s, a, "default/a", "a:1"), HOOK_ALLOW);
    assert_int_equal(by_certificate(&s, a, "b", "a"), HOOK_DENY_NAME);
    assert_int_equal(by_certificate(&s, a, "", "b"), HOOK_DENY_NAME);
    assert_int_equal(by_certificate(&s, a, "", ""), HOOK_DENY_NAME);
    /* One that was changed, cut short, or is none: the name in it counts for nothing. */
    uint8_t *changed = arena_alloc(s.h->arena, a.len);
    memcpy(changed, a.data, a.len);
    changed[a.len - 1] ^= 1;
    assert_int_equal(by_certificate(&s, slice_of(changed, a.len), "a", "a"), HOOK_DENY_CERTIFICATE);
    assert_int_equal(by_certificate(&s, slice_of(a.data, a.len - 1), "a", "a"),
                     HOOK_DENY_CERTIFICATE);
    assert_int_equal(by_certificate(&s, SLICE_LITERAL("-"), "a", "a"), HOOK_DENY_CERTIFICATE);
    /* All that is passed on is a name. */
    assert_int_equal(by_name(&s, "b", "b"), HOOK_ALLOW);
    assert_int_equal(by_name(&s, "b", "a"), HOOK_DENY_NAME);
    assert_int_equal(by_name(&s, "nobody", "nobody"), HOOK_DENY_DEVICE);
    expect_device(s.h, "listed", "c", code);
    assert_int_equal(by_name(&s, "c", "c"), HOOK_DENY_CERTIFICATE);

    age(s.h, y.e.issued, 91 * DAY);
    assert_int_equal(by_certificate(&s, b, "", "b"), HOOK_DENY_CERTIFICATE);
    assert_int_equal(by_name(&s, "b", "b"), HOOK_DENY_CERTIFICATE);
    assert_int_equal(move(s.h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    assert_int_equal(by_certificate(&s, a, "", "a"), HOOK_DENY_STATE);
    assert_int_equal(move(s.h, &m, "a", MOVE_RELEASE), ERR_NONE);
    assert_int_equal(by_certificate(&s, a, "", "a"), HOOK_ALLOW);
    assert_int_equal(move(s.h, &m, "a", MOVE_REVOKE), ERR_NONE);
    assert_int_equal(by_certificate(&s, a, "", "a"), HOOK_DENY_STATE);
    enrolling_free(&x);
    enrolling_free(&y);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
}

static void topics(void **state)
{
    struct scene s;
    struct move_act m;
    char code[IDENTITY_CLAIM_TEXT];
    enum hook_verdict verdict;
    struct hook_device device;
    set_scene(&s, *state);
    expect_device(s.h, "listed", "a", code);
    give_password(&s, "a", s.password);
    const struct hook_client client = {.user_name = SLICE_LITERAL("default/a"),
                                       .client_id = SLICE_LITERAL("a")};
    assert_int_equal(hooks_find(&s.ctx, &client, &device, &verdict), ERR_NONE);
    assert_int_equal(verdict, HOOK_ALLOW);
    static const struct {
        enum rules_action action;
        struct slice topic;
        enum hook_verdict verdict;
    } cases[] = {
        {RULES_PUBLISH, SLICE_LITERAL("fleet/a/up/t"), HOOK_ALLOW},
        {RULES_PUBLISH, SLICE_LITERAL("fleet/b/up/t"), HOOK_DENY_TOPIC},
        {RULES_PUBLISH, SLICE_LITERAL("fleet/a/up/#"), HOOK_DENY_FORM},
        {RULES_PUBLISH, SLICE_LITERAL("fleet/a/up/\0"), HOOK_DENY_FORM},
        {RULES_PUBLISH, SLICE_LITERAL(""), HOOK_DENY_FORM},
        {RULES_SUBSCRIBE, SLICE_LITERAL("fleet/a/down/+"), HOOK_ALLOW},
        {RULES_SUBSCRIBE, SLICE_LITERAL("fleet/a/down/#"), HOOK_DENY_TOPIC},
        {RULES_SUBSCRIBE, SLICE_LITERAL("#"), HOOK_DENY_TOPIC},
        {RULES_RECEIVE, SLICE_LITERAL("fleet/a/down/x"), HOOK_ALLOW},
        {RULES_RECEIVE, SLICE_LITERAL("fleet/b/down/x"), HOOK_DENY_TOPIC},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(hooks_may(&s.ctx, &device, cases[i].action, cases[i].topic),
                         cases[i].verdict);
    /* In the middle of a session. */
    assert_int_equal(move(s.h, &m, "a", MOVE_REVOKE), ERR_NONE);
    assert_int_equal(hooks_find(&s.ctx, &client, &device, &verdict), ERR_NONE);
    assert_int_equal(verdict, HOOK_DENY_STATE);
    const struct hook_client nobody = {.user_name = SLICE_LITERAL("")};
    assert_int_equal(hooks_find(&s.ctx, &nobody, &device, &verdict), ERR_NONE);
    assert_int_equal(verdict, HOOK_DENY_DEVICE);
    const struct hook_client two = {.user_name = SLICE_LITERAL("default/a"),
                                    .client_id = SLICE_LITERAL("b")};
    assert_int_equal(hooks_find(&s.ctx, &two, &device, &verdict), ERR_NONE);
    assert_int_equal(verdict, HOOK_DENY_NAME);
}

/* ---- rules in another broker's words ---- */

struct listed {
    char text[1024];
    struct writer w;
};

static void take(void *out, struct slice filter)
{
    struct listed *l = out;
    writer_put(&l->w, filter);
    writer_text(&l->w, "\n");
}

static void assert_rules(const struct hook_context *ctx, const struct hook_device *device,
                         enum rules_action action, const char *expected)
{
    struct listed l = {.text = ""};
    l.w = writer_over(l.text, sizeof l.text - 1);
    hooks_list_rules(ctx, device, action, take, &l);
    assert_int_equal(l.w.err, ERR_NONE);
    assert_string_equal(l.text, expected);
}

static void lists_what_means_the_same_elsewhere(void **state)
{
    (void)state;
    static const struct slice filters[] = {
        SLICE_LITERAL("a/{device}/#"),
        SLICE_LITERAL("a/+"),
        SLICE_LITERAL("+"),
        SLICE_LITERAL("+/#"),
        SLICE_LITERAL("a/+/#"),
        SLICE_LITERAL("a/+/b"),
        SLICE_LITERAL("eq a/b"),
        SLICE_LITERAL("a/%c"),
        SLICE_LITERAL("$share/g/a"),
        SLICE_LITERAL("by/{group}/one"),
        SLICE_LITERAL("t/{tenant}"),
    };
    static const struct slice of_group[] = {SLICE_LITERAL("floor/{group}/{model}")};
    static const struct rules_entry entries[] = {{SLICE_LITERAL("m"),
                                                  &without,
                                                  {filters, ARRAY_LEN(filters)},
                                                  {filters, ARRAY_LEN(filters)}}};
    static const struct rules_entry groups[] = {
        {SLICE_LITERAL("g"), NULL, {of_group, 1}, {of_group, 1}}};
    static uint8_t body[4096];
    struct rules rules;
    struct writer w = writer_over(body, sizeof body);
    rules_write_body(&w, 0,
                     &(const struct rules_entries){
                         .models = entries, .models_len = 1, .groups = groups, .groups_len = 1});
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(rules_read_body(writer_bytes(&w), &rules), ERR_NONE);
    struct hook_context ctx = {.rules = &rules, .tenant = TENANT};
    struct hook_device device = {
        .tenant = TENANT, .device = "d", .model = "m", .state = DEVICE_TRUSTED};
    assert_rules(&ctx, &device, RULES_PUBLISH,
                 "a/d/#\na/+\n+\n+/#\na/+/#\na/+/b\n$share/g/a\nt/default\n");
    assert_rules(&ctx, &device, RULES_SUBSCRIBE, "a/d/#\na/+/b\nt/default\n");
    (void)snprintf(device.group, sizeof device.group, "g");
    assert_rules(&ctx, &device, RULES_SUBSCRIBE, "a/d/#\na/+/b\nby/g/one\nt/default\nfloor/g/m\n");
    (void)snprintf(device.device, sizeof device.device, "#"); /* a name that widens nothing */
    assert_rules(&ctx, &device, RULES_SUBSCRIBE, "a/+/b\nby/g/one\nt/default\nfloor/g/m\n");
    device.state = DEVICE_QUARANTINED;
    assert_rules(&ctx, &device, RULES_SUBSCRIBE, "");
    device.state = DEVICE_TRUSTED;
    (void)snprintf(device.model, sizeof device.model, "n");
    assert_rules(&ctx, &device, RULES_PUBLISH, "");
    ctx.rules = NULL;
    assert_rules(&ctx, &device, RULES_PUBLISH, "");
}

#define WITH_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HOUSE(by_passwords),
        WITH_HOUSE(by_certificates),
        WITH_HOUSE(topics),
        cmocka_unit_test(lists_what_means_the_same_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
