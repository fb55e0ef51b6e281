/* How a policy comes into force, over a real store and signer: what the writer decides, whatever
 * the loop thought; and what is read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <stdlib.h>

#include "hub/policy/policies.h"
#include "tests/unit/identity_fixture.h"

#define TEXT(publish)                                                                              \
    "holdfast: 1\nfleet: " FLEET "\ngroups: {g: {subscribe: [a]}}\nmodels:\n"                      \
    "  thermo: {identity: {maker: acme}, publish: [\"" publish "\"]}\n"

static struct policies_options options_of(struct house *h)
{
    return (struct policies_options){.store = h->store,
                                     .ledger = h->ledger,
                                     .fleet = FLEET,
                                     .policy_key = h->s->facts.policy_key,
                                     .operators = 2};
}

static void empty_postgres(char url[PATH_MAX + 32])
{
    const char *conninfo = getenv("STORE_TEST_POSTGRES"); /* set by with_postgres.py */
    PGconn *conn = PQconnectdb(conninfo);
    PGresult *result = PQexec(conn, "SET client_min_messages = error; DROP SCHEMA public CASCADE; "
                                    "CREATE SCHEMA public");
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(conn);
    (void)snprintf(url, PATH_MAX + 32, "postgresql:%s", conninfo);
}

static struct policies *open_policies(struct house *h)
{
    struct policies *p = NULL;
    char explain[256] = "";
    const struct policies_options options = options_of(h);
    assert_int_equal(policies_new(&options, &p), ERR_NONE);
    if (policies_reload(p, h->reader, explain) != ERR_NONE)
        fail_msg("%s", explain);
    identity_set_policies(h->identity, p);
    return p;
}

static struct policy_act submission(int64_t from, const char *text)
{
    return (struct policy_act){
        .step = POLICY_SUBMIT, .from = from, .text = slice_of_text(text), .comment = "why"};
}

static void begin(struct house *h, struct policies *p, const char *actor, struct policy_act *a,
                  unsigned *ended)
{
    struct act_origin origin = origin_of(h, h->arena, ended);
    origin.actor = actor;
    policies_change(p, &origin, h->reader, h->s->link, a);
}

static enum err change(struct house *h, struct policies *p, const char *actor, struct policy_act *a)
{
    unsigned ended;
    begin(h, p, actor, a, &ended);
    return wait_act(h, &a->act);
}

static void apply(struct house *h, struct policies *p, int64_t from, const char *text)
{
    struct policy_act a = submission(from, text);
    if (change(h, p, "local:0", &a) != ERR_NONE)
        fail_msg("%s: %s", a.act.write.problem.code, a.act.write.problem.detail);
}

static void is_held_as_long_as_it_is_looked_at(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    struct policy_cache cache = {NULL};
    assert_null(policies_now(p, &cache));
    apply(h, p, 0, TEXT("one"));
    const struct policy_force *now = policies_now(p, &cache);
    assert_int_equal(now->number, 1);
    assert_ptr_equal(policies_now(p, &cache), now);
    struct policy_force *kept = policies_hold(p);
    apply(h, p, 1, TEXT("two"));
    assert_true(slice_equal(kept->text, slice_of_text(TEXT("one")))); /* still whole */
    assert_int_equal(kept->rules.version, 1);
    policies_let_go(kept);
    assert_int_equal(policies_now(p, &cache)->number, 2);
    struct rules rules;
    now = policies_now(p, &cache);
    assert_int_equal(rules_read(now->file, &h->s->facts.policy_key, crypto_sha256,
                                crypto_ed25519_verify, &rules),
                     ERR_NONE);
    assert_int_equal(rules.version, 2);
    policy_cache_drop(&cache);
    policies_free(p);
    /* and after a start */
    p = open_policies(h);
    now = policies_now(p, &cache);
    assert_int_equal(now->number, 2);
    assert_true(slice_equal(now->text, slice_of_text(TEXT("two"))));
    policy_cache_drop(&cache);
    policies_free(p);
}

static void says_what_is_reached(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    struct policy_cache cache = {NULL};
    apply(h, p, 0, TEXT("one"));
    const struct policy_force *f = policies_now(p, &cache);
    const struct slice thermo = SLICE_LITERAL("thermo");
    assert_int_equal(policy_reach(f, SLICE_LITERAL(RULES_STANDARD_TENANT), thermo, DEVICE_TRUSTED),
                     RULES_REACH_ENROLMENT | RULES_REACH_API | RULES_REACH_MQTT);
    assert_int_equal(
        policy_reach(f, SLICE_LITERAL(RULES_STANDARD_TENANT), thermo, DEVICE_QUARANTINED),
        RULES_REACH_ENROLMENT);
    assert_int_equal(policy_reach(f, SLICE_LITERAL(RULES_STANDARD_TENANT), thermo, DEVICE_REVOKED),
                     0);
    assert_int_equal(
        policy_reach(f, SLICE_LITERAL(RULES_STANDARD_TENANT), thermo, DEVICE_STATE_COUNT), 0);
    assert_int_equal(policy_reach(f, SLICE_LITERAL(RULES_STANDARD_TENANT), thermo, -1), 0);
    /* a model that it does not know */
    assert_int_equal(
        policy_reach(f, SLICE_LITERAL(RULES_STANDARD_TENANT), SLICE_LITERAL("x"), DEVICE_TRUSTED),
        RULES_REACH_ENROLMENT);
    policy_cache_drop(&cache);
    policies_free(p);
}

/* Both were judged against the same policy, and both signed: one comes into force. */
static void two_at_once_do_not_both_win(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    apply(h, p, 0, TEXT("one"));
    uint64_t size = ledger_size(h);
    struct policy_act a = submission(1, TEXT("a")), b = submission(1, TEXT("b"));
    unsigned ended_a, ended_b;
    begin(h, p, "local:0", &a, &ended_a);
    begin(h, p, "local:1", &b, &ended_b);
    enum err first = wait_act(h, &a.act), second = wait_act(h, &b.act);
    assert_int_equal((first == ERR_NONE) + (second == ERR_NONE), 1);
    const struct policy_act *lost = first == ERR_NONE ? &b : &a;
    assert_int_equal(lost->act.write.err, ERR_REFUSED);
    assert_int_equal(ledger_size(h), size + 1);
    /* whoever lost tries again, by what is in force now */
    struct policy_force *now = policies_hold(p);
    int64_t from = (int64_t)now->number;
    policies_let_go(now);
    apply(h, p, from, TEXT("c"));
    policies_free(p);
}

static void its_models_come_with_it(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    struct model_act m;
    assert_int_equal(change_model(h, &m, MODEL_CREATE, "thermo", PROOF_APPROVAL), ERR_NONE);
    uint64_t size = ledger_size(h);
    apply(h, p, 0, TEXT("one"));
    assert_int_equal(ledger_size(h), size + 1);
    struct model_row row = {.tenant = TENANT, .id = "thermo"};
    assert_int_equal(store_get(h->reader, &table_model, h->arena, &row), ERR_NONE);
    assert_int_equal(row.proof, PROOF_MANIFEST);
    assert_int_equal(row.lifetime, 30 * DAY);
    (void)change_model(h, &m, MODEL_REPLACE, "thermo", PROOF_APPROVAL);
    assert_problem(&m.act, 409, "model-of-policy", "model");
    (void)change_model(h, &m, MODEL_DELETE, "thermo", PROOF_APPROVAL);
    assert_problem(&m.act, 409, "model-of-policy", "model");
    assert_int_equal(change_model(h, &m, MODEL_CREATE, "other", PROOF_APPROVAL), ERR_NONE);
    policies_free(p);
}

static int64_t model_state(struct house *h, const char *tenant, const char *id)
{
    struct model_row row = {0};
    (void)snprintf(row.tenant, sizeof row.tenant, "%s", tenant);
    (void)snprintf(row.id, sizeof row.id, "%s", id);
    enum err err = store_get(h->reader, &table_model, h->arena, &row);
    assert_true(err == ERR_NONE || err == ERR_NOT_FOUND);
    return err == ERR_NONE ? row.lifetime : 0;
}

static void each_tenant_has_its_models(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    static const struct slice thermo = SLICE_LITERAL("thermo"), cafe = SLICE_LITERAL("cafe");
    assert_true(policy_has_tenant(NULL, SLICE_LITERAL(TENANT)));
    assert_false(policy_has_tenant(NULL, cafe));
    assert_string_equal(STORE_TENANT, RULES_STANDARD_TENANT);
    apply(h, p, 0,
          TEXT("one") "  valve: {identity: {maker: acme}}\n"
                      "tenants: {cafe: {models: [thermo]}, spa: {}}\n");
    assert_int_equal(model_state(h, "cafe", "thermo"), 30 * DAY);
    assert_int_equal(model_state(h, "cafe", "valve"), 0);
    assert_int_equal(model_state(h, "spa", "valve"), 30 * DAY);
    assert_int_equal(model_state(h, TENANT, "valve"), 30 * DAY);
    struct policy_force *force = policies_hold(p);
    assert_true(policy_has_tenant(force, cafe));
    assert_false(policy_has_tenant(force, SLICE_LITERAL("nobody")));
    assert_int_not_equal(policy_reach(force, cafe, thermo, DEVICE_TRUSTED), RULES_REACH_ENROLMENT);
    assert_int_equal(policy_reach(force, cafe, SLICE_LITERAL("valve"), DEVICE_TRUSTED),
                     RULES_REACH_ENROLMENT);
    assert_int_equal(policy_reach(force, SLICE_LITERAL("nobody"), thermo, DEVICE_TRUSTED),
                     RULES_REACH_ENROLMENT);
    policies_let_go(force);

    /* One that goes locks its devices out: that is to be meant. */
    static const char without[] = TEXT("one") "tenants: {spa: {}}\n";
    struct policy_act a = submission(1, without);
    assert_int_equal(change(h, p, "local:0", &a), ERR_REFUSED);
    assert_problem(&a.act, 409, "policy-lock-out", "text");
    a = submission(1, without);
    a.lock_out_ok = true;
    assert_int_equal(change(h, p, "local:0", &a), ERR_NONE);
    force = policies_hold(p);
    assert_false(policy_has_tenant(force, cafe));
    policies_let_go(force);
    policies_free(p);
}

#define TWO "changes: {approvals: 2}\n"

static void two_people_are_two_people(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    apply(h, p, 0, TEXT("one") TWO);
    struct policy_act proposal = submission(1, TEXT("two") TWO);
    assert_int_equal(change(h, p, "local:7", &proposal), ERR_NONE);
    assert_int_equal(proposal.row.status, POLICY_PROPOSED);
    struct policy_act approval = {.step = POLICY_APPROVE, .number = proposal.row.number, .from = 1};
    (void)change(h, p, "local:7", &approval);
    assert_problem(&approval.act, 403, "policy-same-person", "policy");
    approval =
        (struct policy_act){.step = POLICY_APPROVE, .number = proposal.row.number, .from = 1};
    assert_int_equal(change(h, p, "local:8", &approval), ERR_NONE);
    assert_string_equal(approval.row.proposed_by, "local:7");
    assert_string_equal(approval.row.approved_by, "local:8");
    approval = (struct policy_act){
        .step = POLICY_APPROVE, .number = proposal.row.number, .from = proposal.row.number};
    (void)change(h, p, "local:9", &approval);
    assert_problem(&approval.act, 409, "policy-not-proposed", "policy");
    policies_free(p);
}

/* Rules that no hub of this fleet signed are not enforced: a database that was edited. */
static void foreign_rules_are_refused(void **state)
{
    struct house *h = *state;
    struct policies *p = open_policies(h);
    apply(h, p, 0, TEXT("one"));
    policies_free(p);
    char explain[256] = "";
    struct policies_options options = options_of(h);
    options.policy_key = h->s->facts.ledger_key;
    assert_int_equal(policies_new(&options, &p), ERR_NONE);
    assert_int_equal(policies_reload(p, h->reader, explain), ERR_CONFLICT);
    assert_non_null(strstr(explain, "not signed by a hub"));
    assert_null(policies_hold(p));
    policies_free(p);
    options = options_of(h);
    options.fleet = "other.example";
    assert_int_equal(policies_new(&options, &p), ERR_NONE);
    assert_int_equal(policies_reload(p, h->reader, explain), ERR_CONFLICT);
    policies_free(p);
}

/* Numbers that the signer has used for what came to nothing are passed over. */
static void a_number_that_was_signed_is_not_used_again(void **state)
{
    struct house *h = *state;
    struct policies *p = NULL;
    struct policies_options options = options_of(h);
    options.signed_version = 41;
    assert_int_equal(policies_new(&options, &p), ERR_NONE);
    struct policy_act a = submission(0, TEXT("one"));
    assert_int_equal(change(h, p, "local:0", &a), ERR_NONE);
    assert_int_equal(a.row.number, 42);
    policies_free(p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_held_as_long_as_it_is_looked_at), TEST(says_what_is_reached),
        TEST(two_at_once_do_not_both_win),        TEST(its_models_come_with_it),
        TEST(each_tenant_has_its_models),         TEST(two_people_are_two_people),
        TEST(foreign_rules_are_refused),          TEST(a_number_that_was_signed_is_not_used_again),
    };
    if (getenv("STORE_TEST_POSTGRES") != NULL)
        house_store = empty_postgres;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
