/* Memory that runs out at any allocation, of ours and of SQLite's: an error, nothing lost, nothing
 * leaked. Linked with -Wl,--wrap=malloc -Wl,--wrap=calloc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failing_malloc.h"
#include "ledger_fixture.h"

/* ---- SQLite's allocations ---- */

static sqlite3_mem_methods memory;
static atomic_long sqlite_allocations_left = -1;

static bool sqlite_allocation_fails(void)
{
    if (atomic_load(&sqlite_allocations_left) < 0)
        return false;
    if (atomic_load(&sqlite_allocations_left) == 0)
        return true;
    atomic_fetch_sub(&sqlite_allocations_left, 1);
    return false;
}

static void *failing_sqlite_malloc(int n)
{
    return sqlite_allocation_fails() ? NULL : memory.xMalloc(n);
}

static void *failing_sqlite_realloc(void *p, int n)
{
    return sqlite_allocation_fails() ? NULL : memory.xRealloc(p, n);
}

static int install(void **state)
{
    (void)state;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory) != SQLITE_OK)
        return -1;
    sqlite3_mem_methods failing = memory;
    failing.xMalloc = failing_sqlite_malloc;
    failing.xRealloc = failing_sqlite_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK ? 0 : -1;
}

/* ---- what is tried ---- */

static enum err count_row(void *ctx, const void *row)
{
    (void)row;
    (*(unsigned *)ctx)++;
    return ERR_NONE;
}

/* Opens everything and reads, and closes it again, wherever it fails. */
static enum err open_and_read(const char *url)
{
    struct store *store = NULL;
    struct ledger *ledger = NULL;
    struct store_reader *reader = NULL;
    struct arena *arena = NULL;
    char explain[256] = "";
    enum err err = store_open(url, &store, explain);
    if (err == ERR_NONE)
        err = ledger_new(store, "ledger.example/test", &ledger, explain);
    if (err != ERR_NONE) {
        assert_int_not_equal(explain[0], '\0');
        goto out;
    }
    err = store_reader_new(store, &reader);
    if (err != ERR_NONE)
        goto out;
    arena = arena_new((size_t)1 << 20);
    if (arena == NULL) {
        err = ERR_NO_MEMORY;
        goto out;
    }
    unsigned rows = 0;
    const struct store_query query = {.table = &table_ledger_entry, .limit = 10};
    err = store_list(reader, &query, arena, count_row, &rows);
    if (err != ERR_NONE)
        goto out;
    assert_int_equal(rows, 10);
    const struct tile tile = {.level = TILE_ENTRIES, .index = 0, .width = 100};
    struct slice bytes;
    err = ledger_read_tile(ledger, reader, &tile, arena, &bytes);
out:
    arena_free(arena);
    store_reader_free(reader);
    store_close(store);
    ledger_free(ledger);
    return err;
}

static void opening_and_reading_survive_every_allocation(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 300), ERR_NONE);
    ledger_fixture_close(&lf);
    enum err err = ERR_NO_MEMORY;
    for (long n = 0; err != ERR_NONE; n++) {
        assert_true(n < 1000);
        allocations_left = n;
        err = open_and_read(lf.f.url);
        allocations_left = -1;
        assert_true(err == ERR_NONE || err == ERR_NO_MEMORY);
    }
    err = ERR_NO_MEMORY;
    for (long n = 0; err != ERR_NONE; n += n < 200 ? 1 : 7) {
        assert_true(n < 20000);
        atomic_store(&sqlite_allocations_left, n);
        err = open_and_read(lf.f.url);
        atomic_store(&sqlite_allocations_left, -1);
        if (err != ERR_NONE && err != ERR_NO_MEMORY)
            fail_msg("allocation %ld: %s", n, err_text(err));
    }
    ledger_fixture_open(&lf);
    assert_int_equal(ledger_head(lf.ledger).size, 300);
    ledger_fixture_remove(&lf);
}

static void writing_survives_every_allocation_of_sqlite(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    size_t acknowledged = 0;
    unsigned failures = 0;
    for (long n = 0; n < 300; n++) {
        struct appending appendings[4];
        struct step steps[ARRAY_LEN(appendings)];
        char rows[ARRAY_LEN(appendings)][32];
        if (n % 20 == 0) { /* with statements that are yet to be prepared */
            ledger_fixture_close(&lf);
            ledger_fixture_open(&lf);
        }
        atomic_store(&sqlite_allocations_left, n * 7 % 900);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            (void)snprintf(rows[i], sizeof rows[i], "r%ld-%zu", n, i);
            appendings[i] = (struct appending){.ledger = lf.ledger, .count = 3, .row = rows[i]};
            steps[i] = step_of(&lf.f, STORE_LANE_NORMAL, run_append, &appendings[i]);
            assert_int_equal(store_submit(lf.f.store, &steps[i].write), ERR_NONE);
        }
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            (void)step_wait(&steps[i]);
        atomic_store(&sqlite_allocations_left, -1);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            bool ok = steps[i].write.err == ERR_NONE;
            if (!ok && steps[i].write.err != ERR_NO_MEMORY)
                fail_msg("allocation %ld: %s", n, err_text(steps[i].write.err));
            assert_int_equal(get_seen(&lf.f, rows[i]), ok ? ERR_NONE : ERR_NOT_FOUND);
            acknowledged += ok ? 3 : 0;
            failures += !ok;
        }
        assert_int_equal(ledger_head(lf.ledger).size, acknowledged);
    }
    assert_true(failures > 10);
    assert_true(acknowledged > 100);
    struct tree t = {0};
    tree_follow(&t, &lf);
    struct hash root = tree_root(t.leaves, t.len);
    struct checkpoint head = ledger_head(lf.ledger);
    assert_int_equal(t.len, acknowledged);
    assert_hashes_equal(&head.root, &root);
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_and_reading_survive_every_allocation),
        cmocka_unit_test(writing_survives_every_allocation_of_sqlite),
    };
    return cmocka_run_group_tests(tests, install, NULL);
}
