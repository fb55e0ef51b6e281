/* What brokers tell, and what the hub does about it: by the model's figures, about devices of the
 * broker's tenant, and about nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "hub/watch/responder.h"
#include "tests/unit/identity_fixture.h"

#define POLICY                                                                                     \
    "holdfast: 1\nfleet: " FLEET "\ncuts: {automatic-per-hour: 2}\nmodels:\n"                      \
    "  listed: {identity: {maker: acme}, respond: {topics: 10/min, floods: 100/min}}\n"            \
    "  approved: {identity: {maker: acme, proof: approval}, respond: {copies: true}}\n"            \
    "  quiet: {identity: {maker: acme}}\n"

struct cut {
    char device[NAME_MAX_BYTES + 1];
    int64_t entry;
    unsigned n;
};

static struct policies *policies;
static struct policy_force *force;
static struct responder *responder;
static struct cut last;

static void cut_off(void *ctx, const char *tenant, const char *device, int64_t entry)
{
    struct cut *cut = ctx;
    assert_string_equal(tenant, TENANT);
    (void)snprintf(cut->device, sizeof cut->device, "%s", device);
    cut->entry = entry;
    cut->n++;
}

static void enrol(struct house *h, const char *manifest, const char *device)
{
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    expect_device(h, manifest, device, code);
    enrol_by_claim(h, &x, device, code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

static int fleet_set_up(void **state)
{
    char explain[256] = "";
    unsigned ended;
    struct manifest_act manifest;
    int code = house_set_up(state);
    struct house *h = *state;
    const struct policies_options options = {.store = h->store,
                                             .ledger = h->ledger,
                                             .fleet = FLEET,
                                             .policy_key = h->s->facts.policy_key,
                                             .operators = 1};
    assert_int_equal(policies_new(&options, &policies), ERR_NONE);
    assert_int_equal(policies_reload(policies, h->reader, explain), ERR_NONE);
    identity_set_policies(h->identity, policies);
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    struct policy_act a = {.step = POLICY_SUBMIT, .text = SLICE_LITERAL(POLICY), .comment = "why"};
    policies_change(policies, &origin, h->reader, h->s->link, &a);
    if (wait_act(h, &a.act) != ERR_NONE)
        fail_msg("%s: %s", a.act.write.problem.code, a.act.write.problem.detail);
    force = policies_hold(policies);
    assert_int_equal(responder_new(h->identity, cut_off, &responder), ERR_NONE);
    for (size_t i = 0; i < force->policy.models_len; i++) {
        char model[16];
        (void)snprintf(model, sizeof model, "%.*s", (int)force->policy.models[i].name.len,
                       (const char *)force->policy.models[i].name.data);
        assert_int_equal(create_manifest(h, &manifest, model, model), ERR_NONE);
    }
    last = (struct cut){.n = 0};
    return code;
}

static int fleet_tear_down(void **state)
{
    int code = house_tear_down(state);
    responder_free(responder);
    policies_let_go(force);
    policies_free(policies);
    return code;
}

static struct responder_site site(struct house *h)
{
    return (struct responder_site){
        .loop = h->s->loop, .reader = h->reader, .force = force, .ctx = &last};
}

/* An act of our own behind those that the responder may have handed in: then they have ended. */
static void settle(struct house *h)
{
    struct move_act m;
    (void)move(h, &m, "nobody", MOVE_APPROVE);
    assert_problem(&m.act, 404, "device-not-found", "device");
}

static void tell(struct house *h, const char *device, enum count_kind kind, uint64_t n,
                 int64_t seconds)
{
    const struct responder_told told = {.device = device, .kind = kind, .count = n};
    const struct responder_site here = site(h);
    responder_tell(responder, &here, TENANT, "mqtt-1", seconds, &told, 1);
    settle(h);
}

static int64_t state_of(struct house *h, const char *device)
{
    return read_device(h, device).state;
}

static int64_t metric(const char *name, const char *label, const char *value)
{
    return metric_get(metric_counter(name, "", label), value);
}

static void who_reaches_the_figure_is_cut_off(void **state)
{
    struct house *h = *state;
    char reason[REASON_MAX_BYTES + 1];
    int64_t before = metric("holdfast_automatic_cuts_total", "outcome", "cut");
    enrol(h, "listed", "a");
    enrol(h, "listed", "b");
    tell(h, "a", COUNT_TOPICS, 5, 10);
    tell(h, "a", COUNT_TOPICS, 4, 10);
    tell(h, "b", COUNT_TOPICS, 9, 10);
    tell(h, "a", COUNT_FLOODS, 99, 10);
    assert_int_equal(state_of(h, "a"), DEVICE_TRUSTED);
    uint64_t size = ledger_size(h);
    tell(h, "a", COUNT_TOPICS, 3, 10);
    assert_int_equal(state_of(h, "a"), DEVICE_QUARANTINED);
    assert_int_equal(state_of(h, "b"), DEVICE_TRUSTED);
    assert_int_equal(last.n, 1);
    assert_string_equal(last.device, "a");
    assert_int_equal(last.entry, size);
    const struct device_row device = read_device(h, "a");
    assert_int_equal(
        subjects_unseal(h->subjects, TENANT, "a", slice_of_text(device.reason), reason), ERR_NONE);
    assert_string_equal(reason, "12 refused for their topics within a minute, last at broker "
                                "mqtt-1; the policy cuts off at 10");
    assert_int_equal(metric("holdfast_automatic_cuts_total", "outcome", "cut"), before + 1);
    tell(h, "a", COUNT_TOPICS, 1000, 10); /* it is cut off already */
    assert_int_equal(ledger_size(h), size + 1);
    tell(h, "b", COUNT_FLOODS, 100, 10);
    assert_int_equal(state_of(h, "b"), DEVICE_QUARANTINED);
}

static void beyond_the_cap_a_person_is_asked_once(void **state)
{
    struct house *h = *state;
    struct cut_waiting_row waiting = {.tenant = TENANT, .device = "c"};
    int64_t before = metric("holdfast_automatic_cuts_total", "outcome", "waits");
    static const char *const devices[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
        enrol(h, "listed", devices[i]);
        tell(h, devices[i], COUNT_TOPICS, 10, 10);
    }
    assert_int_equal(last.n, 2);
    assert_int_equal(state_of(h, "c"), DEVICE_TRUSTED);
    assert_int_equal(store_get(h->reader, &table_cut_waiting, h->arena, &waiting), ERR_NONE);
    assert_string_equal(waiting.kind, "topics");
    assert_int_equal(metric("holdfast_automatic_cuts_total", "outcome", "waits"), before + 1);
    uint64_t size = ledger_size(h);
    for (int i = 0; i < 3; i++)
        tell(h, "c", COUNT_TOPICS, 1000, 10);
    assert_int_equal(ledger_size(h), size);
}

/* After an hour without a hub a broker tells of an hour. */
static void what_took_longer_than_a_minute_is_spread(void **state)
{
    struct house *h = *state;
    enrol(h, "listed", "a");
    tell(h, "a", COUNT_TOPICS, 599, 3600); /* 9 a minute */
    assert_int_equal(state_of(h, "a"), DEVICE_TRUSTED);
    enrol(h, "listed", "b");
    tell(h, "b", COUNT_TOPICS, 600, 3600);
    assert_int_equal(state_of(h, "b"), DEVICE_QUARANTINED);
    enrol(h, "listed", "c");
    tell(h, "c", COUNT_TOPICS, 10, 60);
    assert_int_equal(last.n, 2);
}

static void nothing_is_done_where_the_policy_says_nothing(void **state)
{
    struct house *h = *state;
    enrol(h, "quiet", "q");
    enrol(h, "approved", "p");
    enrol(h, "listed", "a");
    uint64_t size = ledger_size(h);
    tell(h, "q", COUNT_TOPICS, 100000, 10);
    tell(h, "q", COUNT_FLOODS, 100000, 10);
    tell(h, "p", COUNT_TOPICS, 100000, 10);
    tell(h, "nobody", COUNT_TOPICS, 100000, 10);
    tell(h, "", COUNT_TOPICS, 100000, 10);
    tell(h, "192.0.2.1", COUNT_TOPICS, 100000, 10);
    struct responder_site here = site(h);
    const struct responder_told told = {.device = "a", .kind = COUNT_TOPICS, .count = 100000};
    responder_tell(responder, &here, "other", "mqtt-1", 10, &told, 1); /* another's tenant */
    here.force = NULL;
    responder_tell(responder, &here, TENANT, "mqtt-1", 10, &told, 1);
    responder_tell_copy(responder, &here, TENANT, "a");
    here.force = force;
    responder_tell_copy(responder, &here, TENANT, "a");
    responder_tell_copy(responder, &here, TENANT, "nobody");
    settle(h);
    assert_int_equal(ledger_size(h), size);
    assert_int_equal(last.n, 0);
}

static void a_copy_is_enough(void **state)
{
    struct house *h = *state;
    const struct responder_site here = site(h);
    struct device_grace_row grace = {.tenant = TENANT, .device = "p"};
    enrol(h, "approved", "p");
    responder_tell_copy(responder, &here, TENANT, "p");
    responder_tell_copy(responder, &here, TENANT, "p");
    settle(h);
    assert_int_equal(state_of(h, "p"), DEVICE_QUARANTINED);
    assert_int_equal(last.n, 1);
    assert_int_equal(store_get(h->reader, &table_device_grace, h->arena, &grace), ERR_NONE);
    assert_int_equal(grace.closed_before, GRACE_CLOSED);
}

/* More than it has room for are on their way: they are told of as not counted, and come again. */
static void what_finds_no_room_is_said(void **state)
{
    struct house *h = *state;
    struct responder_told told[RESPONDER_ACTS_MAX + 6];
    static char names[ARRAY_LEN(told)][16];
    const struct responder_site here = site(h);
    static const char uncounted[] = "holdfast_automatic_cuts_uncounted_total";
    int64_t before = metric(uncounted, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        (void)snprintf(names[i], sizeof names[i], "d-%zu", i);
        enrol(h, "listed", names[i]);
        told[i] = (struct responder_told){.device = names[i], .kind = COUNT_TOPICS, .count = 10};
    }
    responder_tell(responder, &here, TENANT, "mqtt-1", 10, told, ARRAY_LEN(told));
    settle(h);
    assert_int_equal(metric(uncounted, NULL, NULL), before + 6);
    assert_int_equal(last.n, 2);
    uint64_t waiting = 0;
    const struct store_query query = {.table = &table_cut_waiting, .limit = SIZE_MAX};
    assert_int_equal(store_count(h->reader, &query, &waiting), ERR_NONE);
    assert_int_equal(waiting, RESPONDER_ACTS_MAX - 2);
    tell(h, names[ARRAY_LEN(told) - 1], COUNT_TOPICS, 1, 10); /* what it had still counts */
    assert_int_equal(store_count(h->reader, &query, &waiting), ERR_NONE);
    assert_int_equal(waiting, RESPONDER_ACTS_MAX - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fleet_set_up, fleet_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_reaches_the_figure_is_cut_off),
        TEST(beyond_the_cap_a_person_is_asked_once),
        TEST(what_took_longer_than_a_minute_is_spread),
        TEST(nothing_is_done_where_the_policy_says_nothing),
        TEST(a_copy_is_enough),
        TEST(what_finds_no_room_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
