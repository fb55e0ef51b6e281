#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

static uint8_t large_blob[SETTING_VALUE_MAX];

static void what_was_committed_is_there_after_reopening(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    for (unsigned round = 0; round < 3; round++) {
        char name[16];
        fixture_open(&f);
        assert_int_equal(store_start(f.store), ERR_NONE);
        for (unsigned before = 0; before < round; before++) {
            (void)snprintf(name, sizeof name, "d%u", before);
            assert_int_equal(get_seen(&f, name), ERR_NONE);
        }
        (void)snprintf(name, sizeof name, "d%u", round);
        assert_int_equal(fixture_write(&f, run_insert, name), ERR_NONE);
        fixture_close(&f);
    }
    struct stat st;
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    fixture_remove(&f);
}

static void over_sqlite_nothing_is_ever_unseen(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    store_set_watch(f.store, NULL, NULL);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_true(store_seen_ms(f.store) == INT64_MAX);
    fixture_remove(&f);
}

static void expect_open(const char *url, enum err expected, const char *word)
{
    struct store *s = NULL;
    char explain[256] = "";
    assert_int_equal(store_open(url, &s, explain), expected);
    assert_null(s);
    if (strstr(explain, word) == NULL)
        fail_msg("%s: '%s' does not say '%s'", url, explain, word);
}

static void what_cannot_be_opened_says_why(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    expect_open("mysql:/tmp/x", ERR_UNSUPPORTED, "sqlite:");
    expect_open("sqlite", ERR_UNSUPPORTED, "sqlite:");
    expect_open("sqlite:", ERR_SYNTAX, "path");
    expect_open("sqlite:/nonexistent/folder/hub.db", ERR_IO, "/nonexistent/folder");
    expect_open("postgresql:", ERR_SYNTAX, "postgresql://USER@HOST/DATABASE");
    expect_open("postgresql://127.0.0.1:1/fleet", ERR_UNAVAILABLE, "127.0.0.1");

    fixture_open(&f);
    expect_open(f.url, ERR_BUSY, "another hub");
    fixture_close(&f);

    fixture_sql(&f, "INSERT INTO migration (number, applied_at) VALUES (999, 0)");
    expect_open(f.url, ERR_UNSUPPORTED, "newer");
    fixture_sql(&f, "DELETE FROM migration WHERE number = 999");
    fixture_open(&f);
    fixture_close(&f);

    fixture_sql(&f, "PRAGMA application_id = 1");
    expect_open(f.url, ERR_UNSUPPORTED, "other program");

    FILE *file = fopen(f.path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is no database. ", file);
    (void)fclose(file);
    expect_open(f.url, ERR_IO, "backup");
    assert_int_equal(truncate(f.path, 0), 0);
    fixture_open(&f);
    fixture_remove(&f);
}

static void a_migration_that_fails_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    for (long n = 0; n < 60; n += 3) {
        struct store *s = NULL;
        char explain[256] = "";
        disk_fail_after(n, ENOSPC, true);
        enum err err = store_open(f.url, &s, explain);
        disk_heal();
        if (err == ERR_NONE) {
            store_close(s);
            continue;
        }
        assert_int_not_equal(explain[0], '\0');
    }
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_insert, (void *)"a"), ERR_NONE);
    fixture_remove(&f);
}

/* ---- the log ---- */

struct reading {
    struct fixture *f;
    atomic_bool stop;
    atomic_uint reads;
};

static enum err count_row(void *ctx, const void *row)
{
    (void)row;
    (*(unsigned *)ctx)++;
    return ERR_NONE;
}

static void *read_on(void *arg)
{
    struct reading *r = arg;
    struct store_reader *reader = NULL;
    struct arena *arena = arena_new((size_t)16 << 20);
    if (store_reader_new(r->f->store, &reader) != ERR_NONE)
        abort();
    while (!atomic_load(&r->stop)) {
        const struct store_query query = {.table = &table_setting, .limit = 20};
        unsigned rows = 0;
        arena_reset(arena);
        if (store_list(reader, &query, arena, count_row, &rows) != ERR_NONE)
            abort();
        atomic_fetch_add(&r->reads, 1);
    }
    store_reader_free(reader);
    arena_free(arena);
    return NULL;
}

static enum err run_rewrite(struct step *step, struct tx *tx)
{
    const char *name = step->ctx;
    struct setting_row row = {.value = slice_of(large_blob, SETTING_VALUE_MAX)};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    /* SQLite does not write pages that stay as they are. */
    for (size_t i = 0; i < sizeof large_blob; i += 512)
        large_blob[i]++;
    enum err err = tx_update(tx, &table_setting, &row);
    return err == ERR_NOT_FOUND ? tx_insert(tx, &table_setting, &row) : err;
}

static void the_log_stays_bounded_while_others_read(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t threads[2];
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    struct reading reading = {.f = &f};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reading), 0);
    uint64_t longest = 0;
    for (unsigned round = 0; round < 150; round++) {
        struct step steps[20];
        char names[ARRAY_LEN(steps)][NAME_MAX_BYTES];
        submit_all(&f, steps, names, ARRAY_LEN(steps), "s", run_rewrite);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            assert_int_equal(steps[i].write.err, ERR_NONE);
        struct store_stats stats;
        store_stats(f.store, &stats);
        longest = stats.wal_bytes > longest ? stats.wal_bytes : longest;
    }
    atomic_store(&reading.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    /* 200 MB were written. */
    print_message("longest log %llu KiB, %u reads\n", (unsigned long long)longest / 1024,
                  atomic_load(&reading.reads));
    assert_true(longest < (uint64_t)90 << 20);
    assert_true(atomic_load(&reading.reads) > 0);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_is_there_after_reopening),
        cmocka_unit_test(over_sqlite_nothing_is_ever_unseen),
        cmocka_unit_test(what_cannot_be_opened_says_why),
        cmocka_unit_test(a_migration_that_fails_leaves_nothing),
        cmocka_unit_test(the_log_stays_bounded_while_others_read),
    };
    return cmocka_run_group_tests(tests, disk_install, NULL);
}
