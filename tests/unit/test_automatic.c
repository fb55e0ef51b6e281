/* Cuts that the hub makes by itself: as many in any hour as the policy says, and what becomes of
 * those beyond. Runs over both databases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <stdlib.h>

#include "hub/policy/policies.h"
#include "tests/unit/identity_fixture.h"

#define HOUR   3600
#define MARGIN 600 /* seconds: no test takes as long */

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

/* ---- a fleet under a policy ---- */

static struct policies *policies;
static int64_t number, shifted;

static void apply(struct house *h, unsigned per_hour)
{
    char text[256];
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    (void)snprintf(text, sizeof text,
                   "holdfast: 1\nfleet: " FLEET "\ncuts: {automatic-per-hour: %u}\n"
                   "models: {thermo: {identity: {maker: acme}}}\n",
                   per_hour);
    struct policy_act a = {
        .step = POLICY_SUBMIT, .from = number, .text = slice_of_text(text), .comment = "why"};
    policies_change(policies, &origin, h->reader, h->s->link, &a);
    if (wait_act(h, &a.act) != ERR_NONE)
        fail_msg("%s: %s", a.act.write.problem.code, a.act.write.problem.detail);
    number = a.row.number;
}

static int fleet_set_up(void **state)
{
    char explain[256] = "";
    int code = house_set_up(state);
    struct house *h = *state;
    const struct policies_options options = {.store = h->store,
                                             .ledger = h->ledger,
                                             .fleet = FLEET,
                                             .policy_key = h->s->facts.policy_key,
                                             .operators = 1};
    number = shifted = 0;
    assert_int_equal(policies_new(&options, &policies), ERR_NONE);
    assert_int_equal(policies_reload(policies, h->reader, explain), ERR_NONE);
    identity_set_policies(h->identity, policies);
    make_models(h);
    return code;
}

static int fleet_tear_down(void **state)
{
    struct policies *p = policies;
    int code = house_tear_down(state);
    policies_free(p);
    clock_shift(-shifted);
    return code;
}

static void pass(int64_t seconds)
{
    clock_shift(seconds);
    shifted += seconds;
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

static void trust(struct house *h, const char *devices)
{
    for (char name[2] = {devices[0], '\0'}; *devices != '\0'; name[0] = *++devices)
        enrol(h, "listed", name);
}

static void begin(struct house *h, struct automatic_act *a, const char *device, unsigned *ended)
{
    struct act_origin origin = origin_of(h, h->arena, ended);
    origin.actor = "policy";
    *a = (struct automatic_act){.kind = "topics", .reason = "12 topics refused"};
    (void)snprintf(a->device, sizeof a->device, "%s", device);
    identity_cut_automatically(h->identity, &origin, a);
}

/* Gives what came of it: each but "nothing" is one entry. */
static enum automatic_outcome respond(struct house *h, const char *device)
{
    unsigned ended;
    struct automatic_act a;
    uint64_t size = ledger_size(h);
    begin(h, &a, device, &ended);
    assert_int_equal(wait_act(h, &a.act), ERR_NONE);
    assert_int_equal(a.entry, a.outcome == AUTOMATIC_NOTHING ? -1 : (int64_t)size);
    assert_int_equal(ledger_size(h), size + (a.outcome == AUTOMATIC_NOTHING ? 0 : 1));
    return a.outcome;
}

static enum err read_waiting(struct house *h, const char *device, struct cut_waiting_row *row)
{
    *row = (struct cut_waiting_row){.tenant = TENANT};
    (void)snprintf(row->device, sizeof row->device, "%s", device);
    return store_get(h->reader, &table_cut_waiting, h->arena, row);
}

static bool waits(struct house *h, const char *device)
{
    struct cut_waiting_row row;
    return read_waiting(h, device, &row) == ERR_NONE;
}

static struct slice last_entry(struct house *h)
{
    struct ledger_entry_row row = {.number = (int64_t)ledger_size(h) - 1};
    assert_int_equal(store_get(h->reader, &table_ledger_entry, h->arena, &row), ERR_NONE);
    return row.data;
}

static void assert_last_entry_says(struct house *h, const char *text)
{
    struct slice entry = last_entry(h);
    if (memmem(entry.data, entry.len, text, strlen(text)) == NULL)
        fail_msg("%s is not in %.*s", text, (int)entry.len, (const char *)entry.data);
}

/* ---- the cap ---- */

static void no_more_than_the_policy_says_in_any_hour(void **state)
{
    struct house *h = *state;
    apply(h, 2);
    trust(h, "abcdef");
    assert_int_equal(respond(h, "a"), AUTOMATIC_CUT);
    assert_last_entry_says(h, "\"act\":\"device.quarantine\",\"tenant\":\"default\","
                              "\"actor\":\"policy\",\"subject\":\"device/a\"");
    assert_int_equal(read_device(h, "a").state, DEVICE_QUARANTINED);
    pass(HOUR / 2);
    assert_int_equal(respond(h, "b"), AUTOMATIC_CUT);
    assert_int_equal(respond(h, "c"), AUTOMATIC_WAITS);
    assert_int_equal(read_device(h, "c").state, DEVICE_TRUSTED);
    pass(HOUR / 2 - MARGIN);
    assert_int_equal(respond(h, "d"), AUTOMATIC_WAITS);
    pass(MARGIN); /* the first lies an hour back, the second does not */
    assert_int_equal(respond(h, "e"), AUTOMATIC_CUT);
    assert_int_equal(respond(h, "f"), AUTOMATIC_WAITS);
    /* whoever waits goes on waiting, whatever the hour */
    pass(2 * HOUR);
    assert_int_equal(respond(h, "c"), AUTOMATIC_NOTHING);
    assert_true(waits(h, "c"));
}

static void none_where_the_policy_says_none(void **state)
{
    struct house *h = *state;
    apply(h, 0);
    trust(h, "ab");
    assert_int_equal(respond(h, "a"), AUTOMATIC_WAITS);
    pass(2 * HOUR);
    assert_int_equal(respond(h, "b"), AUTOMATIC_WAITS);
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);
}

static void another_policy_counts_what_was_before(void **state)
{
    struct house *h = *state;
    apply(h, 3);
    trust(h, "abcdef");
    assert_int_equal(respond(h, "a"), AUTOMATIC_CUT);
    assert_int_equal(respond(h, "b"), AUTOMATIC_CUT);
    apply(h, 1);
    assert_int_equal(respond(h, "c"), AUTOMATIC_WAITS);
    apply(h, 3);
    assert_int_equal(respond(h, "d"), AUTOMATIC_CUT);
    assert_int_equal(respond(h, "e"), AUTOMATIC_WAITS);
    apply(h, 100000);
    assert_int_equal(respond(h, "f"), AUTOMATIC_CUT);
}

/* Of those that lie further back nothing is kept. */
static void keeps_the_last_hour_alone(void **state)
{
    struct house *h = *state;
    uint64_t rows = 0;
    char device[] = "a";
    const struct store_query query = {.table = &table_automatic_cut, .limit = SIZE_MAX};
    apply(h, 4);
    trust(h, "abcdefghi");
    for (; device[0] <= 'd'; device[0]++)
        assert_int_equal(respond(h, device), AUTOMATIC_CUT);
    assert_int_equal(store_count(h->reader, &query, &rows), ERR_NONE);
    assert_int_equal(rows, 4);
    pass(HOUR + MARGIN);
    for (; device[0] <= 'h'; device[0]++)
        assert_int_equal(respond(h, device), AUTOMATIC_CUT);
    assert_int_equal(store_count(h->reader, &query, &rows), ERR_NONE);
    assert_int_equal(rows, 4);
    assert_int_equal(respond(h, "i"), AUTOMATIC_WAITS);
}

/* ---- whom ---- */

static void leaves_alone_whom_it_can_not_cut(void **state)
{
    struct house *h = *state;
    struct move_act m;
    struct model_act model;
    struct manifest_act manifest;
    char code[IDENTITY_CLAIM_TEXT];
    apply(h, 10);
    trust(h, "abc");
    expect_device(h, "listed", "new", code);
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    assert_int_equal(move(h, &m, "b", MOVE_REVOKE), ERR_NONE);
    assert_int_equal(move(h, &m, "c", MOVE_RETIRE), ERR_NONE);
    assert_int_equal(change_model(h, &model, MODEL_CREATE, IDENTITY_BROKER_MODEL, PROOF_MANIFEST),
                     ERR_NONE);
    assert_int_equal(create_manifest(h, &manifest, "brokers", IDENTITY_BROKER_MODEL), ERR_NONE);
    enrol(h, "brokers", "mqtt-1");
    static const char *const devices[] = {"a", "b", "c", "new", "nobody", "mqtt-1"};
    for (size_t i = 0; i < ARRAY_LEN(devices); i++)
        assert_int_equal(respond(h, devices[i]), AUTOMATIC_NOTHING);
    assert_int_equal(read_device(h, "mqtt-1").state, DEVICE_TRUSTED);
    /* nor do they count */
    apply(h, 1);
    enrol(h, "approved", "enrolled");
    assert_int_equal(respond(h, "enrolled"), AUTOMATIC_CUT);
}

static void a_copy_is_released_with_a_new_key_alone(void **state)
{
    struct house *h = *state;
    unsigned ended;
    struct move_act m;
    apply(h, 1);
    trust(h, "a");
    struct act_origin origin = origin_of(h, h->arena, &ended);
    struct automatic_act a = {
        .device = "a", .kind = "copies", .reason = "shown again", .keys_touched = true};
    identity_cut_automatically(h->identity, &origin, &a);
    assert_int_equal(wait_act(h, &a.act), ERR_NONE);
    assert_int_equal(a.outcome, AUTOMATIC_CUT);
    assert_last_entry_says(h, "\"keys\":\"touched\"");
    (void)move(h, &m, "a", MOVE_RELEASE);
    assert_problem(&m.act, 409, "key-not-new", "device");
}

/* A person and the hub at once: one of them cuts, and only the hub's own counts. */
static void a_person_comes_first_or_second(void **state)
{
    struct house *h = *state;
    unsigned ended, moved;
    struct automatic_act a;
    apply(h, 1);
    trust(h, "ab");
    uint64_t size = ledger_size(h);
    struct act_origin origin = origin_of(h, h->arena, &moved);
    struct move_act m = {.device = "a", .move = MOVE_QUARANTINE, .reason = "mine"};
    identity_move(h->identity, &origin, &m);
    begin(h, &a, "a", &ended);
    assert_int_equal(wait_act(h, &a.act), ERR_NONE);
    assert_int_equal(wait_act(h, &m.act), ERR_NONE);
    assert_int_equal(a.outcome, AUTOMATIC_NOTHING);
    assert_int_equal(ledger_size(h), size + 1);
    begin(h, &a, "b", &ended);
    m = (struct move_act){.device = "b", .move = MOVE_QUARANTINE, .reason = "mine"};
    origin = origin_of(h, h->arena, &moved);
    identity_move(h->identity, &origin, &m);
    assert_int_equal(wait_act(h, &a.act), ERR_NONE);
    (void)wait_act(h, &m.act);
    assert_problem(&m.act, 409, "move-not-possible", "device");
    assert_int_equal(a.outcome, AUTOMATIC_CUT);
    assert_int_equal(ledger_size(h), size + 2);
}

/* ---- those that wait ---- */

static void says_once_what_it_waits_for(void **state)
{
    struct house *h = *state;
    struct cut_waiting_row row;
    apply(h, 0);
    trust(h, "a");
    assert_int_equal(read_waiting(h, "a", &row), ERR_NOT_FOUND);
    assert_int_equal(respond(h, "a"), AUTOMATIC_WAITS);
    assert_last_entry_says(h, "\"act\":\"device.cut-waiting\",\"tenant\":\"default\","
                              "\"actor\":\"policy\",\"subject\":\"device/a\"");
    assert_last_entry_says(h, "\"data\":{\"kind\":\"topics\",\"reason\":\"12 topics refused\","
                              "\"automatic_per_hour\":0}");
    assert_int_equal(read_waiting(h, "a", &row), ERR_NONE);
    assert_string_equal(row.kind, "topics");
    assert_string_equal(row.reason, "12 topics refused");
    assert_int_equal(row.entry, ledger_size(h) - 1);
    assert_in_range(row.since, clock_seconds() - MARGIN, clock_seconds());
    for (int i = 0; i < 3; i++)
        assert_int_equal(respond(h, "a"), AUTOMATIC_NOTHING);
}

static void waits_no_more_once_a_person_has_decided(void **state)
{
    static const struct {
        const char *device;
        enum device_move move;
    } decided[] = {
        {"a", MOVE_QUARANTINE}, {"b", MOVE_REVOKE}, {"c", MOVE_RETIRE}, {"d", MOVE_APPROVE}};
    struct house *h = *state;
    struct move_act m;
    apply(h, 0);
    trust(h, "abc");
    enrol(h, "approved", "d");
    for (size_t i = 0; i < ARRAY_LEN(decided); i++) {
        assert_int_equal(respond(h, decided[i].device), AUTOMATIC_WAITS);
        assert_int_equal(move(h, &m, decided[i].device, decided[i].move), ERR_NONE);
        assert_false(waits(h, decided[i].device));
    }
    /* what a person does counts for nothing */
    apply(h, 1);
    assert_int_equal(respond(h, "d"), AUTOMATIC_CUT);
}

static enum err dismiss(struct house *h, struct dismiss_act *d, const char *device)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *d = (struct dismiss_act){.reason = "a test of the line"};
    (void)snprintf(d->device, sizeof d->device, "%s", device);
    identity_dismiss_cut(h->identity, &origin, d);
    return wait_act(h, &d->act);
}

static void is_dismissed_and_may_come_again(void **state)
{
    struct house *h = *state;
    struct dismiss_act d;
    apply(h, 0);
    trust(h, "ab");
    assert_int_equal(respond(h, "a"), AUTOMATIC_WAITS);
    uint64_t size = ledger_size(h);
    assert_int_equal(dismiss(h, &d, "a"), ERR_NONE);
    assert_int_equal(ledger_size(h), size + 1);
    assert_last_entry_says(h, "\"act\":\"device.cut-dismiss\",\"tenant\":\"default\","
                              "\"actor\":\"local:0\",\"subject\":\"device/a\"");
    char waited[32];
    (void)snprintf(waited, sizeof waited, "\"waiting\":%d,", (int)size - 1);
    assert_last_entry_says(h, waited);
    struct slice entry = last_entry(h); /* what a person says is sealed */
    assert_null(memmem(entry.data, entry.len, "the line", 8));
    assert_false(waits(h, "a"));
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);

    (void)dismiss(h, &d, "a");
    assert_problem(&d.act, 404, "cut-not-waiting", "device");
    (void)dismiss(h, &d, "nobody");
    assert_problem(&d.act, 404, "device-not-found", "device");
    assert_int_equal(ledger_size(h), size + 1);
    assert_int_equal(respond(h, "a"), AUTOMATIC_WAITS);
    assert_true(waits(h, "a"));
}

/* ---- so many wait that nobody else is asked for ---- */

struct full_write {
    struct act act;
    int64_t waiting;
};

static enum err full_apply(struct write *w, struct tx *tx)
{
    struct full_write *f = (struct full_write *)(void *)act_of(w);
    struct automatic_count_row row = {.tenant = TENANT};
    enum err err = tx_get(tx, &table_automatic_count, &row);
    int64_t before = row.waiting;
    row.waiting = f->waiting;
    f->waiting = before;
    return err == ERR_NONE ? tx_update(tx, &table_automatic_count, &row) : err;
}

static const struct write_kind full_kind = {
    .name = "full", .lane = STORE_LANE_NORMAL, .apply = full_apply, .done = act_done};

/* Gives how many there were. */
static int64_t set_waiting(struct house *h, int64_t waiting)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    struct full_write f = {.waiting = waiting};
    act_init(&f.act, &full_kind, h->ledger, &origin);
    act_submit(&f.act, h->store);
    assert_int_equal(wait_act(h, &f.act), ERR_NONE);
    return f.waiting;
}

static void asks_for_no_more_than_a_person_can_look_at(void **state)
{
    struct house *h = *state;
    unsigned ended;
    struct automatic_act a;
    struct dismiss_act d;
    struct move_act m;
    apply(h, 0);
    trust(h, "abcd");
    assert_int_equal(respond(h, "a"), AUTOMATIC_WAITS);
    assert_int_equal(set_waiting(h, IDENTITY_WAITING_MAX - 1), 1);
    assert_int_equal(respond(h, "b"), AUTOMATIC_WAITS);
    uint64_t size = ledger_size(h);
    begin(h, &a, "c", &ended);
    assert_int_equal(wait_act(h, &a.act), ERR_NONE);
    assert_int_equal(a.outcome, AUTOMATIC_UNASKED);
    assert_int_equal(ledger_size(h), size);
    assert_false(waits(h, "c"));
    assert_int_equal(dismiss(h, &d, "a"), ERR_NONE);
    assert_int_equal(respond(h, "c"), AUTOMATIC_WAITS);
    assert_int_equal(move(h, &m, "b", MOVE_REVOKE), ERR_NONE);
    assert_int_equal(move(h, &m, "d", MOVE_REVOKE), ERR_NONE); /* which did not wait */
    assert_int_equal(set_waiting(h, 2), IDENTITY_WAITING_MAX - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fleet_set_up, fleet_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_more_than_the_policy_says_in_any_hour),
        TEST(none_where_the_policy_says_none),
        TEST(another_policy_counts_what_was_before),
        TEST(keeps_the_last_hour_alone),
        TEST(leaves_alone_whom_it_can_not_cut),
        TEST(a_copy_is_released_with_a_new_key_alone),
        TEST(a_person_comes_first_or_second),
        TEST(says_once_what_it_waits_for),
        TEST(waits_no_more_once_a_person_has_decided),
        TEST(is_dismissed_and_may_come_again),
        TEST(asks_for_no_more_than_a_person_can_look_at),
    };
    if (getenv("STORE_TEST_POSTGRES") != NULL)
        house_store = empty_postgres;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
