#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store_fixture.h"

/* How often a store has told of changes by others. */
struct news {
    pthread_mutex_t lock;
    pthread_cond_t came;
    unsigned told;
};

static void news_come(void *ctx)
{
    struct news *news = ctx;
    pthread_mutex_lock(&news->lock);
    news->told++;
    pthread_cond_signal(&news->came);
    pthread_mutex_unlock(&news->lock);
}

static unsigned news_told(struct news *news)
{
    pthread_mutex_lock(&news->lock);
    unsigned told = news->told;
    pthread_mutex_unlock(&news->lock);
    return told;
}

static void news_wait(struct news *news, unsigned beyond)
{
    pthread_mutex_lock(&news->lock);
    while (news->told <= beyond)
        pthread_cond_wait(&news->came, &news->lock);
    pthread_mutex_unlock(&news->lock);
}

/* Another hub's connection to the same database. */
static void open_second(struct fixture *f, struct fixture *ret_second)
{
    *ret_second = *f;
    ret_second->store = NULL;
    ret_second->arena = arena_new((size_t)16 << 20);
    assert_non_null(ret_second->arena);
    fixture_open(ret_second);
    assert_int_equal(store_start(ret_second->store), ERR_NONE);
}

static void close_second(struct fixture *second)
{
    fixture_close(second);
    arena_free(second->arena);
}

static enum err run_count(struct step *step, struct tx *tx)
{
    (void)step;
    struct device_seen_row row = seen_row("counted");
    enum err err = tx_get(tx, &table_device_seen, &row);
    row.checkins++;
    return err != ERR_NONE ? err : tx_update(tx, &table_device_seen, &row);
}

static void two_hubs_take_turns_and_lose_no_update(void **state)
{
    (void)state;
    enum { WRITES = 300 };
    struct fixture f;
    struct fixture second;
    static struct step steps[2][WRITES];
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    open_second(&f, &second);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"counted"), ERR_NONE);
    for (size_t i = 0; i < WRITES; i++) {
        steps[0][i] = step_of(&f, STORE_LANE_NORMAL, run_count, NULL);
        steps[1][i] = step_of(&second, STORE_LANE_NORMAL, run_count, NULL);
        assert_int_equal(store_submit(f.store, &steps[0][i].write), ERR_NONE);
        assert_int_equal(store_submit(second.store, &steps[1][i].write), ERR_NONE);
    }
    for (size_t i = 0; i < WRITES; i++) {
        assert_int_equal(step_wait(&steps[0][i]), ERR_NONE);
        assert_int_equal(step_wait(&steps[1][i]), ERR_NONE);
    }
    struct device_seen_row row = seen_row("counted");
    assert_int_equal(store_get(f.reader, &table_device_seen, f.arena, &row), ERR_NONE);
    assert_int_equal(row.checkins, 1 + 2 * WRITES);
    close_second(&second);
    fixture_remove(&f);
}

/* Inserts are sent without a look: one that meets another hub's row still fails alone, exactly. */
static void a_row_of_another_hub_refuses_one_insert_of_a_batch(void **state)
{
    (void)state;
    struct fixture f;
    struct fixture second;
    static const char *const names[] = {"a", "theirs", "b"};
    static const enum err errs[] = {ERR_NONE, ERR_EXISTS, ERR_NONE};
    struct step steps[ARRAY_LEN(names)];
    fixture_make(&f);
    fixture_open(&f);
    open_second(&f, &second);
    assert_int_equal(fixture_write(&second, run_insert, (void *)"theirs"), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        steps[i] = step_of(&f, STORE_LANE_NORMAL, run_insert, (void *)names[i]);
        assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
    }
    assert_int_equal(store_start(f.store), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(step_wait(&steps[i]), errs[i]);
        assert_int_equal(steps[i].ends, 1);
        assert_int_equal(get_seen(&f, names[i]), ERR_NONE);
    }
    close_second(&second);
    fixture_remove(&f);
}

#define CUT_SQL                                                                                    \
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "                                \
    "WHERE application_name = 'holdfast-hub'"

/* Reads until there is an answer: for the test runner to end where there never is one. */
static enum err read_until_answered(struct fixture *f, const char *name)
{
    enum err err;
    while ((err = get_seen(f, name)) == ERR_UNAVAILABLE)
        usleep(10000);
    return err;
}

static void connections_that_were_cut_come_back_by_themselves(void **state)
{
    (void)state;
    struct fixture f;
    struct store_stats stats;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"before"), ERR_NONE);
    assert_int_equal(get_seen(&f, "before"), ERR_NONE);
    for (int i = 0; i < 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "while-%d", i);
        postgres_sql(CUT_SQL);
        assert_int_equal(fixture_write(&f, run_insert, name), ERR_NONE);
        assert_int_equal(read_until_answered(&f, name), ERR_NONE);
    }
    store_stats(f.store, &stats);
    assert_true(stats.replayed >= 3);
    assert_true(stats.connections_lost >= 3);
    assert_false(store_is_away(f.store, NULL));
    fixture_remove(&f);
}

static enum err run_insert_and_cut(struct step *step, struct tx *tx)
{
    enum err err = run_insert(step, tx);
    if (step->runs == 1)
        postgres_sql(CUT_SQL);
    return err;
}

/* Between its first statement and the COMMIT: surely not kept, so run again as a whole. */
static void a_batch_that_was_cut_short_is_run_again(void **state)
{
    (void)state;
    enum { WRITES = 20 };
    struct fixture f;
    static struct step steps[WRITES];
    static char names[WRITES][NAME_MAX_BYTES];
    fixture_make(&f);
    fixture_open(&f);
    for (size_t i = 0; i < WRITES; i++) {
        (void)snprintf(names[i], sizeof names[i], "batch-%zu", i);
        steps[i] =
            step_of(&f, STORE_LANE_NORMAL, i == 10 ? run_insert_and_cut : run_insert, names[i]);
        assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
    }
    assert_int_equal(store_start(f.store), ERR_NONE);
    for (size_t i = 0; i < WRITES; i++) {
        assert_int_equal(step_wait(&steps[i]), ERR_NONE);
        assert_int_equal(steps[i].runs, 2);
        assert_int_equal(steps[i].ends, 1);
    }
    for (size_t i = 0; i < WRITES; i++)
        assert_int_equal(read_until_answered(&f, names[i]), ERR_NONE);
    fixture_remove(&f);
}

/* ---- a server that is stopped in its tracks, as by a host that swaps or a network that drops ----
 */

static pid_t server_pids[64];
static size_t server_pids_len;

static void server_freeze(void)
{
    PGconn *conn = PQconnectdb(fixture_postgres());
    PGresult *result = PQexec(conn, "SELECT pid FROM pg_stat_activity UNION ALL SELECT "
                                    "split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int");
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    server_pids_len = (size_t)PQntuples(result);
    assert_in_range(server_pids_len, 2, ARRAY_LEN(server_pids));
    for (size_t i = 0; i < server_pids_len; i++)
        server_pids[i] = (pid_t)strtol(PQgetvalue(result, (int)i, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    for (size_t i = 0; i < server_pids_len; i++)
        (void)kill(server_pids[i], SIGSTOP); /* our own connection's process has ended */
}

static void server_thaw(void)
{
    for (size_t i = 0; i < server_pids_len; i++)
        (void)kill(server_pids[i], SIGCONT);
}

static void a_server_that_hangs_is_given_up_and_taken_up_again(void **state)
{
    (void)state;
    struct fixture f;
    char explain[256] = "";
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"before"), ERR_NONE);
    assert_int_equal(get_seen(&f, "before"), ERR_NONE);
    struct step sent = step_of(&f, STORE_LANE_NORMAL, run_insert, (void *)"sent");
    struct step refused = step_of(&f, STORE_LANE_NORMAL, run_insert, (void *)"refused");
    server_freeze();
    assert_int_equal(store_submit(f.store, &sent.write), ERR_NONE);
    assert_int_equal(get_seen(&f, "before"), ERR_UNAVAILABLE);
    /* Given up once, it is not waited for again. */
    int64_t began_ms = clock_monotonic_ms();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(get_seen(&f, "before"), ERR_UNAVAILABLE);
    assert_true(clock_monotonic_ms() - began_ms < 10000); /* 1000 times its patience is more */
    while (!store_is_away(f.store, explain))
        usleep(10000);
    assert_string_equal(explain, "the server does not answer");
    assert_int_equal(store_submit(f.store, &refused.write), ERR_UNAVAILABLE);
    server_thaw();
    while (store_is_away(f.store, NULL))
        usleep(10000);
    enum err err = step_wait(&sent);
    assert_true(err == ERR_NONE || err == ERR_UNAVAILABLE);
    assert_int_equal(read_until_answered(&f, "sent"), err == ERR_NONE ? ERR_NONE : ERR_NOT_FOUND);
    assert_int_equal(read_until_answered(&f, "refused"), ERR_NOT_FOUND);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"after"), ERR_NONE);
    assert_int_equal(read_until_answered(&f, "after"), ERR_NONE);
    fixture_remove(&f);
}

/* The server keeps the commit, and cuts the line before it can say so. */
static void a_commit_whose_answer_was_lost_is_looked_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"before"), ERR_NONE);
    /* With nobody to confirm it, a commit is kept, and waits to be confirmed until it is cut. */
    postgres_sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    postgres_sql("SELECT pg_reload_conf()");
    usleep(300000);
    struct step step = step_of(&f, STORE_LANE_NORMAL, run_insert, (void *)"kept");
    assert_int_equal(store_submit(f.store, &step.write), ERR_NONE);
    usleep(300000);
    postgres_sql("ALTER SYSTEM RESET synchronous_standby_names");
    postgres_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                 "WHERE application_name = 'holdfast-hub' AND wait_event = 'SyncRep'");
    postgres_sql("SELECT pg_reload_conf()");
    assert_int_equal(step_wait(&step), ERR_NONE);
    assert_int_equal(step.runs, 1);
    assert_int_equal(read_until_answered(&f, "kept"), ERR_NONE);
    fixture_remove(&f);
}

/* It was kept, and nobody is left who could say so: neither yes nor no would be true. */
static void a_commit_that_nobody_answers_for_is_in_doubt(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"before"), ERR_NONE);
    postgres_sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    postgres_sql("SELECT pg_reload_conf()");
    usleep(300000);
    struct step step = step_of(&f, STORE_LANE_NORMAL, run_insert, (void *)"kept");
    assert_int_equal(store_submit(f.store, &step.write), ERR_NONE);
    usleep(300000);
    server_freeze();
    assert_int_equal(step_wait(&step), ERR_IN_DOUBT);
    assert_int_equal(step.runs, 1);
    server_thaw();
    postgres_sql("ALTER SYSTEM RESET synchronous_standby_names");
    postgres_sql("SELECT pg_reload_conf()");
    /* What was kept is seen once the server has let go of who waited for the confirmation. */
    while (read_until_answered(&f, "kept") != ERR_NONE)
        usleep(10000);
    while (store_is_away(f.store, NULL))
        usleep(10000);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"after"), ERR_NONE);
    fixture_remove(&f);
}

/* Waits until the hub has seen everything up to now. */
static void wait_until_seen(struct fixture *f)
{
    int64_t now = clock_monotonic_ms();
    while (store_seen_ms(f->store) < now)
        usleep(1000);
}

static void what_another_hub_commits_is_told(void **state)
{
    (void)state;
    struct news news = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct fixture f;
    struct fixture second;
    fixture_make(&f);
    fixture_open(&f);
    store_set_watch(f.store, news_come, &news);
    int64_t now = clock_monotonic_ms();
    assert_true(store_seen_ms(f.store) < now);
    assert_int_equal(store_start(f.store), ERR_NONE);
    wait_until_seen(&f);
    open_second(&f, &second);
    for (int i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "theirs-%d", i);
        unsigned told = news_told(&news);
        assert_int_equal(fixture_write(&second, run_insert, name), ERR_NONE);
        news_wait(&news, told);
        assert_int_equal(get_seen(&f, name), ERR_NONE);
    }
    close_second(&second);
    fixture_remove(&f);
}

/* Whatever is committed while nobody listens has been told of once the clock passes it. */
static void a_deaf_hub_hears_of_everything_later(void **state)
{
    (void)state;
    struct news news = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    store_set_watch(f.store, news_come, &news);
    assert_int_equal(store_start(f.store), ERR_NONE);
    wait_until_seen(&f);
    postgres_sql("CREATE TABLE elsewhere (n INT)");
    for (int i = 0; i < 3; i++) {
        unsigned told = news_told(&news);
        postgres_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                     "WHERE application_name = 'holdfast-hub' AND query LIKE '%snapshot%'");
        /* Not by a hub: so nobody notifies. */
        postgres_sql("INSERT INTO elsewhere VALUES (1)");
        wait_until_seen(&f);
        assert_true(news_told(&news) > told);
    }
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hubs_take_turns_and_lose_no_update),
        cmocka_unit_test(a_row_of_another_hub_refuses_one_insert_of_a_batch),
        cmocka_unit_test(connections_that_were_cut_come_back_by_themselves),
        cmocka_unit_test(a_batch_that_was_cut_short_is_run_again),
        cmocka_unit_test(a_server_that_hangs_is_given_up_and_taken_up_again),
        cmocka_unit_test(a_commit_whose_answer_was_lost_is_looked_up),
        cmocka_unit_test(a_commit_that_nobody_answers_for_is_in_doubt),
        cmocka_unit_test(what_another_hub_commits_is_told),
        cmocka_unit_test(a_deaf_hub_hears_of_everything_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
