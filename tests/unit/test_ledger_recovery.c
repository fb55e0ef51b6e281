/* What the ledger is after refusals, full disks, kills and tampering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "ledger_fixture.h"

/* The head is that of the entries, and every entry can be read. */
static size_t check_whole(struct ledger_fixture *lf)
{
    struct tree t = {0};
    tree_follow(&t, lf);
    struct checkpoint head = ledger_head(lf->ledger);
    struct hash root = tree_root(t.leaves, t.len);
    assert_int_equal(head.size, t.len);
    assert_hashes_equal(&head.root, &root);
    free(t.leaves);
    return t.len;
}

/* ---- refusals and faults ---- */

static void what_is_refused_leaves_no_entry(void **state)
{
    (void)state;
    /* The 256th entry, which completes a tile, is among the refused ones, too. */
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 250), ERR_NONE);
    static const struct {
        unsigned count;
        enum err result;
    } cases[] = {
        {1, ERR_NONE},     {2, ERR_REFUSED}, {0, ERR_REFUSED},   {3, ERR_NONE}, {9, ERR_CONFLICT},
        {1, ERR_INTERNAL}, {1, ERR_NONE},    {300, ERR_REFUSED}, {1, ERR_NONE}, {300, ERR_NONE},
    };
    struct appending appendings[ARRAY_LEN(cases)];
    struct step steps[ARRAY_LEN(cases)];
    /* Queued while the writer is away, so that they share a batch. */
    ledger_fixture_close(&lf);
    char explain[256];
    assert_int_equal(ledger_fixture_try(&lf, explain), ERR_NONE);
    size_t size = 250;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        appendings[i] = (struct appending){
            .ledger = lf.ledger, .count = cases[i].count, .result = cases[i].result};
        steps[i] = step_of(&lf.f, STORE_LANE_NORMAL, run_append, &appendings[i]);
        size += cases[i].result == ERR_NONE ? cases[i].count : 0;
        assert_int_equal(store_submit(lf.f.store, &steps[i].write), ERR_NONE);
    }
    assert_int_equal(store_start(lf.f.store), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(step_wait(&steps[i]), cases[i].result);
    assert_int_equal(check_whole(&lf), size);
    struct store_stats stats;
    store_stats(lf.f.store, &stats);
    assert_int_equal(stats.commits, 1);
    assert_int_equal(stats.abandoned, 1);
    ledger_fixture_close(&lf);
    ledger_fixture_open(&lf);
    assert_int_equal(check_whole(&lf), size);
    ledger_fixture_remove(&lf);
}

/* ---- full and failing disks ---- */

static void a_disk_that_fails_at_any_write_loses_nothing_acknowledged(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    size_t acknowledged = 0;
    unsigned failures = 0;
    for (long n = 0; n < 120; n++) {
        struct appending appendings[8];
        struct step steps[ARRAY_LEN(appendings)];
        char rows[ARRAY_LEN(appendings)][32];
        disk_fail_after(n % 40, n % 3 == 0 ? EIO : ENOSPC, n % 2 == 0);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            (void)snprintf(rows[i], sizeof rows[i], "r%ld-%zu", n, i);
            appendings[i] = (struct appending){.ledger = lf.ledger, .count = 30, .row = rows[i]};
            steps[i] = step_of(&lf.f, STORE_LANE_NORMAL, run_append, &appendings[i]);
            assert_int_equal(store_submit(lf.f.store, &steps[i].write), ERR_NONE);
        }
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            (void)step_wait(&steps[i]);
        disk_heal();
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            bool ok = steps[i].write.err == ERR_NONE;
            if (!ok)
                assert_true(steps[i].write.err == ERR_DISK_FULL || steps[i].write.err == ERR_IO);
            assert_int_equal(get_seen(&lf.f, rows[i]), ok ? ERR_NONE : ERR_NOT_FOUND);
            acknowledged += ok ? appendings[i].count : 0;
            failures += !ok;
        }
        assert_int_equal(ledger_head(lf.ledger).size, acknowledged);
        if (n % 10 == 0) {
            assert_int_equal(check_whole(&lf), acknowledged);
            ledger_fixture_close(&lf);
            ledger_fixture_open(&lf);
            assert_int_equal(check_whole(&lf), acknowledged);
        }
    }
    assert_true(failures > 100);
    assert_true(acknowledged > 0);
    ledger_fixture_remove(&lf);
}

/* ---- kill -9 ---- */

#define SUBMITTERS 64

struct submitter {
    struct step step; /* first */
    struct appending appending;
    struct ledger_fixture *lf;
    char row[32];
    uint32_t id;
    uint32_t round;
    int pipe;
};

static void submit_next(struct submitter *s)
{
    s->id++;
    (void)snprintf(s->row, sizeof s->row, "k%u-%u", s->round, s->id);
    if (store_submit(s->lf->f.store, &s->step.write) != ERR_NONE)
        _exit(1);
}

/* Acknowledges through the pipe, as the hub would to its client, and goes on. */
static void acknowledge(struct write *w)
{
    struct submitter *s = (struct submitter *)(void *)w;
    if (w->err != ERR_NONE || write(s->pipe, &s->id, sizeof s->id) != sizeof s->id)
        _exit(1);
    s->id += SUBMITTERS - 1;
    memset(w->request_id, 0, sizeof w->request_id);
    submit_next(s);
}

static const struct write_kind submitter_kind = {
    .name = "test.submitter", .lane = STORE_LANE_NORMAL, .apply = step_apply, .done = acknowledge};

static void run_child(struct ledger_fixture *lf, uint32_t round, int pipe)
{
    static struct submitter submitters[SUBMITTERS];
    char explain[256];
    if (ledger_fixture_try(lf, explain) != ERR_NONE || store_start(lf->f.store) != ERR_NONE)
        _exit(1);
    for (uint32_t i = 0; i < SUBMITTERS; i++) {
        struct submitter *s = &submitters[i];
        *s = (struct submitter){.lf = lf, .id = i, .round = round, .pipe = pipe};
        s->appending = (struct appending){.ledger = lf->ledger, .count = 1, .row = s->row};
        s->step = step_of(&lf->f, STORE_LANE_NORMAL, run_append, &s->appending);
        s->step.write.kind = &submitter_kind;
        submit_next(s);
    }
    for (;;)
        pause();
}

static size_t kill_child_and_count(struct ledger_fixture *lf, uint32_t round, uint32_t *ids,
                                   size_t max)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        run_child(lf, round, ends[1]);
    }
    (void)close(ends[1]);
    size_t len = 0;
    int64_t end = 0;
    bool killed = false;
    while (len < max && read(ends[0], &ids[len], sizeof ids[len]) == sizeof ids[len]) {
        if (len++ == 0)
            end = clock_monotonic_ms() + 40 + 37 * (int64_t)round;
        if (!killed && clock_monotonic_ms() >= end) {
            assert_int_equal(kill(child, SIGKILL), 0);
            killed = true;
        }
    }
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return len;
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
    (void)state;
    static uint32_t ids[1 << 20];
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 200), ERR_NONE);
    size_t least = 200;
    for (uint32_t round = 0; round < 6; round++) {
        ledger_fixture_close(&lf);
        size_t len = kill_child_and_count(&lf, round, ids, ARRAY_LEN(ids));
        assert_true(len > 0);
        ledger_fixture_open(&lf);
        for (size_t i = 0; i < len; i++) {
            char row[32];
            (void)snprintf(row, sizeof row, "k%u-%u", round, ids[i]);
            if (get_seen(&lf.f, row) != ERR_NONE)
                fail_msg("round %u: %s was acknowledged and is lost", round, row);
        }
        /* Every row has its entry; what was durable but not acknowledged may be there, too. */
        uint64_t rows = 0;
        const struct store_query query = {.table = &table_device_seen, .limit = SIZE_MAX};
        assert_int_equal(store_count(lf.f.reader, &query, &rows), ERR_NONE);
        size_t size = check_whole(&lf);
        assert_int_equal(size, rows + 200);
        least += len;
        assert_true(size >= least);
    }
    print_message("%zu acknowledged\n", least);
    ledger_fixture_remove(&lf);
}

/* ---- tampering ---- */

static void a_tampered_ledger_is_not_opened(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        const char *word;
    } cases[] = {
        {"DELETE FROM ledger_entry WHERE number = 599", "entry 599"},
        {"DELETE FROM ledger_entry WHERE number = 550", "entry 550"},
        {"DELETE FROM ledger_entry WHERE number = 512", "entry 512"},
        {"DELETE FROM ledger_entry WHERE number = 300", "entry 300"},
        {"DELETE FROM ledger_entry", "entry 512"},
        {"UPDATE ledger_entry SET data = x'7b7d' WHERE number = 598", "entry 598"},
        {"UPDATE ledger_entry SET data = x'7b7d' WHERE number = 256", "entry 256"},
        {"UPDATE ledger_entry SET leaf = zeroblob(32) WHERE number = 520", "entry 520"},
        {"UPDATE ledger_entry SET leaf = zeroblob(31) WHERE number = 520", "can't read"},
        /* An entry with the right leaf hash for its data, but not the one that was there. */
        {"UPDATE ledger_entry SET (leaf, data) = (SELECT leaf, data FROM ledger_entry WHERE "
         "number = 530) WHERE number = 531",
         "head"},
        {"INSERT INTO ledger_entry SELECT 600, leaf, data FROM ledger_entry WHERE number = 1",
         "beyond"},
        {"INSERT INTO ledger_entry SELECT 9000, leaf, data FROM ledger_entry WHERE number = 1",
         "beyond"},
        {"DELETE FROM ledger_node WHERE number = 1", "node 1"},
        {"UPDATE ledger_node SET hash = zeroblob(32) WHERE number = 1", "head"},
        {"UPDATE ledger_node SET hash = zeroblob(32) WHERE number = 0", "head"},
        {"DELETE FROM ledger_head", "no head"},
        {"UPDATE ledger_head SET size = 599", "beyond"},
        {"UPDATE ledger_head SET size = 601", "entry 600"},
        {"UPDATE ledger_head SET size = -1", "damaged"},
        {"UPDATE ledger_head SET root = zeroblob(32)", "head"},
        {"UPDATE ledger_head SET frontier = zeroblob(length(frontier))", "head"},
        {"UPDATE ledger_head SET frontier = zeroblob(0)", "head"},
    };
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 600), ERR_NONE);
    ledger_fixture_close(&lf);
    fixture_sql(&lf.f, "CREATE TABLE e AS SELECT * FROM ledger_entry;"
                       "CREATE TABLE n AS SELECT * FROM ledger_node;"
                       "CREATE TABLE h AS SELECT * FROM ledger_head");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char explain[256] = "";
        fixture_sql(&lf.f, cases[i].sql);
        enum err err = ledger_fixture_try(&lf, explain);
        if (err == ERR_NONE)
            fail_msg("opened in spite of: %s", cases[i].sql);
        assert_null(lf.ledger);
        if (strstr(explain, cases[i].word) == NULL)
            fail_msg("%s: '%s' does not say '%s'", cases[i].sql, explain, cases[i].word);
        fixture_close(&lf.f);
        fixture_sql(&lf.f, "DELETE FROM ledger_entry; INSERT INTO ledger_entry SELECT * FROM e;"
                           "DELETE FROM ledger_node; INSERT INTO ledger_node SELECT * FROM n;"
                           "DELETE FROM ledger_head; INSERT INTO ledger_head SELECT * FROM h");
        ledger_fixture_open(&lf);
        assert_int_equal(check_whole(&lf), 600);
        ledger_fixture_close(&lf);
    }
    ledger_fixture_remove(&lf);
}

/* Somebody changes the database under a hub that runs. */
static void a_head_that_goes_backwards_stops_the_writer(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 3), ERR_NONE);
    fixture_sql(&lf.f, "CREATE TABLE h AS SELECT * FROM ledger_head");
    fixture_sql(&lf.f, "UPDATE ledger_head SET size = 2");
    assert_int_equal(ledger_fixture_append(&lf, 1), ERR_INTERNAL);
    fixture_sql(&lf.f, "DELETE FROM ledger_head");
    assert_int_equal(ledger_fixture_append(&lf, 1), ERR_INTERNAL);
    fixture_sql(&lf.f, "INSERT INTO ledger_head SELECT * FROM h");
    assert_int_equal(ledger_fixture_append(&lf, 1), ERR_NONE);
    assert_int_equal(check_whole(&lf), 4);
    ledger_fixture_remove(&lf);
}

/* Every earlier tree is continued; a root that was never there, or a longer log, is not. */
static void a_log_continues_what_it_was_and_nothing_else(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 2, 255, 256, 257, 511, 512, 599, 600};
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 600), ERR_NONE);
    struct tree t = {0};
    tree_follow(&t, &lf);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char explain[256] = "";
        struct hash root = tree_root(t.leaves, sizes[i]);
        assert_int_equal(ledger_check_continues(lf.ledger, lf.f.store, sizes[i], &root, explain),
                         ERR_NONE);
        root.bytes[31] ^= 1;
        assert_int_equal(ledger_check_continues(lf.ledger, lf.f.store, sizes[i], &root, explain),
                         ERR_CONFLICT);
        assert_non_null(strstr(explain, "not those that were signed"));
    }
    char explain[256] = "";
    struct hash root = tree_root(t.leaves, 600);
    assert_int_equal(ledger_check_continues(lf.ledger, lf.f.store, 601, &root, explain),
                     ERR_CONFLICT);
    assert_non_null(strstr(explain, "was set back"));
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_continues_what_it_was_and_nothing_else),
        cmocka_unit_test(what_is_refused_leaves_no_entry),
        cmocka_unit_test(a_disk_that_fails_at_any_write_loses_nothing_acknowledged),
        cmocka_unit_test(what_was_acknowledged_survives_kill_9),
        cmocka_unit_test(a_tampered_ledger_is_not_opened),
        cmocka_unit_test(a_head_that_goes_backwards_stops_the_writer),
    };
    return cmocka_run_group_tests(tests, disk_install, NULL);
}
