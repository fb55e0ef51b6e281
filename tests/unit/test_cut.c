/* Cuts: what stands of them, who confirms them, and many at a time. Runs over both databases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "tests/unit/identity_fixture.h"

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

/* ---- a fleet with hubs and brokers ---- */

struct leg_write {
    struct act act;
    struct hub_row hub;       /* id 0: none */
    struct broker_row broker; /* id empty: none */
};

static enum err leg_apply(struct write *w, struct tx *tx)
{
    const struct leg_write *l = (struct leg_write *)(void *)act_of(w);
    const struct table *table = l->hub.id != 0 ? &table_hub : &table_broker;
    const void *row = l->hub.id != 0 ? (const void *)&l->hub : (const void *)&l->broker;
    enum err err = tx_insert(tx, table, row);
    return err == ERR_EXISTS ? tx_update(tx, table, row) : err;
}

static const struct write_kind leg_kind = {
    .name = "leg", .lane = STORE_LANE_NORMAL, .apply = leg_apply, .done = act_done};

static void write_row(struct house *h, struct leg_write *l)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    act_init(&l->act, &leg_kind, h->ledger, &origin);
    act_submit(&l->act, h->store);
    assert_int_equal(wait_act(h, &l->act), ERR_NONE);
}

static void set_hub(struct house *h, int64_t id, enum hub_status status, int64_t since)
{
    struct leg_write l = {.hub = {.id = id, .status = status, .joined_at = since}};
    (void)snprintf(l.hub.name, sizeof l.hub.name, "hub-%d", (int)id);
    write_row(h, &l);
}

static void set_broker(struct house *h, const char *id, enum broker_status status, int64_t since)
{
    struct leg_write l = {.broker = {.tenant = TENANT, .status = status, .added_at = since}};
    (void)snprintf(l.broker.id, sizeof l.broker.id, "%s", id);
    write_row(h, &l);
}

static void make_fleet(struct house *h)
{
    char code[IDENTITY_CLAIM_TEXT];
    static const char *const devices[] = {"a", "b", "c", "d"};
    make_models(h);
    set_hub(h, 1, HUB_JOINED, 1);
    for (size_t i = 0; i < ARRAY_LEN(devices); i++)
        expect_device(h, "listed", devices[i], code);
}

/* ---- cuts ---- */

static struct device_cut_row read_cut(struct house *h, const char *device, enum err expected)
{
    struct device_cut_row row = {.tenant = TENANT};
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    assert_int_equal(store_get(h->reader, &table_device_cut, h->arena, &row), expected);
    return row;
}

static int64_t cut(struct house *h, const char *device, enum device_move how)
{
    struct move_act m;
    assert_int_equal(move(h, &m, device, how), ERR_NONE);
    assert_int_equal(m.entry, ledger_size(h) - 1);
    return m.entry;
}

/* Gives whether it was news. */
static bool confirm(struct house *h, const char *device, const char *leg, int64_t position)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    struct cut_seen *seen = arena_alloc(h->arena, sizeof *seen);
    *seen = (struct cut_seen){.device = device, .position = position, .detail = "seen"};
    struct cut_confirm_act c = {.seen = seen, .seen_len = 1};
    (void)snprintf(c.leg, sizeof c.leg, "%s", leg);
    uint64_t size = ledger_size(h);
    identity_cut_confirm(h->identity, &origin, h->reader, &c);
    assert_int_equal(wait_act(h, &c.act), ERR_NONE);
    assert_int_equal(ledger_size(h), size + (seen->confirmed ? 1 : 0));
    return seen->confirmed;
}

static void assert_legs(struct house *h, const char *device, const char *confirmed,
                        const char *open)
{
    char texts[2][256] = {"", ""};
    struct cut_legs legs;
    struct cut_leg_state *states;
    size_t n;
    const struct device_cut_row row = read_cut(h, device, ERR_NONE);
    assert_int_equal(identity_cut_legs(h->reader, TENANT, h->arena, &legs), ERR_NONE);
    assert_int_equal(identity_cut_read(h->reader, h->arena, &legs, &row, &states, &n), ERR_NONE);
    for (size_t i = 0; i < n; i++) {
        char *text = texts[states[i].confirmed ? 0 : 1];
        (void)snprintf(text + strlen(text), 256 - strlen(text), "%s ", states[i].name);
        assert_true(states[i].latency_ms >= 0);
        assert_string_equal(states[i].detail, states[i].confirmed ? "seen" : "");
    }
    assert_string_equal(texts[0], confirmed);
    assert_string_equal(texts[1], open);
}

static void stands_until_the_device_is_released(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct move_act m;
    EVP_PKEY *key = NULL;
    make_fleet(h);
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    expect_device(h, "approved", "e", code);
    enrol_by_claim(h, &x, "e", code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(move(h, &m, "e", MOVE_APPROVE), ERR_NONE);
    (void)read_cut(h, "e", ERR_NOT_FOUND);

    int64_t entry = cut(h, "e", MOVE_QUARANTINE);
    struct device_cut_row row = read_cut(h, "e", ERR_NONE);
    assert_int_equal(row.entry, entry);
    assert_int_equal(row.state, DEVICE_QUARANTINED);
    assert_int_equal(row.complete, 0);
    assert_true(row.cut_at_ms <= clock_milliseconds());
    assert_true(row.cut_at_ms > clock_milliseconds() - 60000);
    assert_true(confirm(h, "e", "api/1", entry + 1));
    assert_int_equal(read_cut(h, "e", ERR_NONE).complete, 1);
    assert_int_equal(move(h, &m, "e", MOVE_RELEASE), ERR_NONE);
    (void)read_cut(h, "e", ERR_NOT_FOUND);

    /* what was said of the cut before says nothing of the next */
    int64_t again = cut(h, "e", MOVE_QUARANTINE);
    assert_legs(h, "e", "", "api/1 ");
    assert_false(confirm(h, "e", "api/1", entry + 1));
    assert_false(confirm(h, "e", "api/1", again));
    assert_legs(h, "e", "", "api/1 ");
    assert_true(confirm(h, "e", "api/1", again + 100));
    assert_legs(h, "e", "api/1 ", "");

    /* from quarantine to revoked is another cut, and the last */
    int64_t last = cut(h, "e", MOVE_REVOKE);
    row = read_cut(h, "e", ERR_NONE);
    assert_int_equal(row.entry, last);
    assert_int_equal(row.state, DEVICE_REVOKED);
    assert_int_equal(row.complete, 0);
    (void)move(h, &m, "e", MOVE_RELEASE);
    assert_problem(&m.act, 409, "move-not-possible", "device");
    assert_int_equal(read_cut(h, "e", ERR_NONE).entry, last);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

static void is_complete_once_each_leg_has_seen_it(void **state)
{
    struct house *h = *state;
    make_fleet(h);
    set_hub(h, 2, HUB_JOINED, 1);
    set_hub(h, 3, HUB_LEFT, 1);
    set_broker(h, "mqtt-1", BROKER_ADDED, 1);
    set_broker(h, "mqtt-2", BROKER_REMOVED, 1);
    int64_t entry = cut(h, "a", MOVE_REVOKE);
    assert_legs(h, "a", "", "api/1 api/2 broker/mqtt-1 ");
    assert_true(confirm(h, "a", "broker/mqtt-1", entry + 1));
    assert_false(confirm(h, "a", "broker/mqtt-1", entry + 1));
    assert_true(confirm(h, "a", "api/2", entry + 7));
    assert_int_equal(read_cut(h, "a", ERR_NONE).complete, 0);
    assert_legs(h, "a", "api/2 broker/mqtt-1 ", "api/1 ");
    assert_true(confirm(h, "a", "api/1", entry + 1));
    assert_int_equal(read_cut(h, "a", ERR_NONE).complete, 1);
    assert_false(confirm(h, "a", "api/1", entry + 1));
    /* of what is not cut off nothing is said */
    assert_false(confirm(h, "b", "api/1", INT64_MAX));
    assert_false(confirm(h, "nobody", "api/1", INT64_MAX));
}

static void waits_for_nobody_who_came_later_or_has_left(void **state)
{
    struct house *h = *state;
    make_fleet(h);
    set_broker(h, "mqtt-1", BROKER_ADDED, 1);
    int64_t entry = cut(h, "a", MOVE_RETIRE);
    set_broker(h, "mqtt-2", BROKER_ADDED, clock_seconds() + 60);
    set_hub(h, 2, HUB_JOINED, clock_seconds() + 60);
    assert_legs(h, "a", "", "api/1 broker/mqtt-1 ");
    assert_true(confirm(h, "a", "api/1", entry + 1));
    assert_int_equal(read_cut(h, "a", ERR_NONE).complete, 0);
    set_broker(h, "mqtt-1", BROKER_REMOVED, 1);
    assert_legs(h, "a", "api/1 ", "");
    assert_false(confirm(h, "a", "api/1", entry + 1)); /* no news, and yet the last word */
    assert_int_equal(read_cut(h, "a", ERR_NONE).complete, 1);
}

static void takes_the_word_of_legs_alone(void **state)
{
    static const char *const strangers[] = {"api/2", "broker/mqtt-1", "api/", "broker/", "x", ""};
    struct house *h = *state;
    make_fleet(h);
    int64_t entry = cut(h, "a", MOVE_REVOKE);
    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        unsigned ended;
        const struct act_origin origin = origin_of(h, h->arena, &ended);
        struct cut_seen seen = {.device = "a", .position = entry + 1, .detail = ""};
        struct cut_confirm_act c = {.seen = &seen, .seen_len = 1};
        (void)snprintf(c.leg, sizeof c.leg, "%s", strangers[i]);
        identity_cut_confirm(h->identity, &origin, h->reader, &c);
        (void)wait_act(h, &c.act);
        assert_problem(&c.act, 404, "leg-unknown", "");
    }
    assert_legs(h, "a", "", "api/1 ");
}

/* A cut that is newer than the look at who its legs are may have one more. */
static void is_not_completed_by_who_may_not_know_all_legs(void **state)
{
    struct house *h = *state;
    make_fleet(h);
    clock_shift(3600); /* another hub's clock */
    int64_t entry = cut(h, "a", MOVE_REVOKE);
    clock_shift(-3600);
    assert_true(confirm(h, "a", "api/1", entry + 1));
    assert_int_equal(read_cut(h, "a", ERR_NONE).complete, 0);
    clock_shift(3601);
    assert_false(confirm(h, "a", "api/1", entry + 1));
    assert_int_equal(read_cut(h, "a", ERR_NONE).complete, 1);
    clock_shift(-3601);
}

/* ---- many at a time ---- */

static enum err move_all(struct house *h, struct moves_act *m, enum device_move how,
                         const char *const *ids, size_t n)
{
    unsigned ended;
    bool passes_over = m->passes_over, keys_touched = m->keys_touched;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct moves_act){
        .move = how, .reason = "a test", .passes_over = passes_over, .keys_touched = keys_touched};
    m->devices = arena_alloc(h->arena, n * sizeof *m->devices);
    m->devices_len = n;
    for (size_t i = 0; i < n; i++)
        m->devices[i].id = ids[i];
    identity_move_all(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

static void many_are_cut_in_one_write(void **state)
{
    struct house *h = *state;
    static const char *const ids[] = {"c", "a", "c", "b"};
    struct moves_act m = {.passes_over = false};
    struct store_stats before, after;
    make_fleet(h);
    uint64_t size = ledger_size(h);
    store_stats(h->store, &before);
    assert_int_equal(move_all(h, &m, MOVE_REVOKE, ids, ARRAY_LEN(ids)), ERR_NONE);
    store_stats(h->store, &after);
    assert_int_equal(after.commits, before.commits + 1);
    assert_int_equal(ledger_size(h), size + 3);
    static const int64_t entries[] = {0, 1, -1, 2};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        int64_t expected = entries[i] < 0 ? -1 : (int64_t)size + entries[i];
        assert_int_equal(m.devices[i].entry, expected);
        assert_int_equal(m.devices[i].state, DEVICE_REVOKED);
        assert_null(m.devices[i].problem);
        assert_int_equal(read_device(h, ids[i]).state, DEVICE_REVOKED);
        if (expected >= 0)
            assert_int_equal(read_cut(h, ids[i], ERR_NONE).entry, expected);
    }
    /* said once more, nothing is left to do */
    size = ledger_size(h);
    assert_int_equal(move_all(h, &m, MOVE_REVOKE, ids, ARRAY_LEN(ids)), ERR_NONE);
    assert_int_equal(m.devices[0].entry, -1);
    assert_int_equal(m.devices[0].state, DEVICE_REVOKED);
    assert_int_equal(ledger_size(h), size);
}

static void all_are_moved_or_none(void **state)
{
    struct house *h = *state;
    struct move_act one;
    struct moves_act m = {.passes_over = false};
    static const char *const unknown[] = {"a", "b", "nobody"}, *const gone[] = {"a", "d"};
    make_fleet(h);
    assert_int_equal(move(h, &one, "d", MOVE_RETIRE), ERR_NONE);
    uint64_t size = ledger_size(h);
    (void)move_all(h, &m, MOVE_REVOKE, unknown, ARRAY_LEN(unknown));
    assert_problem(&m.act, 404, "device-not-found", "devices[2].id");
    (void)move_all(h, &m, MOVE_REVOKE, gone, ARRAY_LEN(gone));
    assert_problem(&m.act, 409, "move-not-possible", "devices[1].id");
    assert_int_equal(read_device(h, "a").state, DEVICE_EXPECTED);
    (void)read_cut(h, "a", ERR_NOT_FOUND);
    assert_int_equal(ledger_size(h), size);

    /* of a filter's, those that can't be are passed over */
    m.passes_over = true;
    assert_int_equal(move_all(h, &m, MOVE_REVOKE, gone, ARRAY_LEN(gone)), ERR_NONE);
    assert_int_equal(m.devices[0].entry, size);
    assert_int_equal(m.devices[1].entry, -1);
    assert_int_equal(m.devices[1].state, DEVICE_RETIRED);
    assert_string_equal(m.devices[1].problem, "move-not-possible");
    assert_int_equal(move_all(h, &m, MOVE_REVOKE, unknown, ARRAY_LEN(unknown)), ERR_NONE);
    assert_string_equal(m.devices[2].problem, "device-not-found");
    assert_int_equal(read_device(h, "b").state, DEVICE_REVOKED);
}

static void no_more_than_a_write_may_hold(void **state)
{
    struct house *h = *state;
    static const char *ids[IDENTITY_CUT_MAX + 1];
    struct moves_act m = {.passes_over = true};
    make_fleet(h);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = "a";
    assert_int_equal(move_all(h, &m, MOVE_REVOKE, ids, ARRAY_LEN(ids)), ERR_LIMIT);
    assert_int_equal(read_device(h, "a").state, DEVICE_EXPECTED);
    assert_int_equal(move_all(h, &m, MOVE_REVOKE, ids, IDENTITY_CUT_MAX), ERR_NONE);
    assert_int_equal(read_device(h, "a").state, DEVICE_REVOKED);
}

/* That keys were touched can be said of those in quarantine, too, and is then said once. */
static void keys_that_were_touched_are_noted_once(void **state)
{
    struct house *h = *state;
    static const char *const ids[] = {"e"};
    struct move_act one;
    struct moves_act m = {.keys_touched = true};
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    EVP_PKEY *key = NULL;
    make_fleet(h);
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    expect_device(h, "listed", "e", code);
    enrol_by_claim(h, &x, "e", code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(move(h, &one, "e", MOVE_QUARANTINE), ERR_NONE);
    uint64_t size = ledger_size(h);
    assert_int_equal(move_all(h, &m, MOVE_QUARANTINE, ids, 1), ERR_NONE);
    assert_int_equal(ledger_size(h), size + 1);
    assert_int_equal(move_all(h, &m, MOVE_QUARANTINE, ids, 1), ERR_NONE);
    assert_int_equal(ledger_size(h), size + 1);
    m = (struct moves_act){.passes_over = true};
    assert_int_equal(move_all(h, &m, MOVE_RELEASE, ids, 1), ERR_NONE);
    assert_string_equal(m.devices[0].problem, "key-not-new");
    assert_int_equal(read_device(h, "e").state, DEVICE_QUARANTINED);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stands_until_the_device_is_released),
        TEST(is_complete_once_each_leg_has_seen_it),
        TEST(waits_for_nobody_who_came_later_or_has_left),
        TEST(takes_the_word_of_legs_alone),
        TEST(is_not_completed_by_who_may_not_know_all_legs),
        TEST(many_are_cut_in_one_write),
        TEST(all_are_moved_or_none),
        TEST(no_more_than_a_write_may_hold),
        TEST(keys_that_were_touched_are_noted_once),
    };
    if (getenv("STORE_TEST_POSTGRES") != NULL)
        house_store = empty_postgres;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
