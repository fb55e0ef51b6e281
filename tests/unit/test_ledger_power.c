/* Power cuts at any moment: what was acknowledged is there, and the ledger is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_fixture.h"
#include "power_cut.h"

#define SUBMITTERS 24
#define CUTS       12
#define WRITES_MAX 40000

struct submitter {
    struct step step; /* first */
    struct ledger_fixture *lf;
    uint32_t id;
};

static uint8_t large_value[2500];
static uint32_t acknowledged[WRITES_MAX]; /* under disk_lock */
static size_t acknowledged_len;
static atomic_uint next_id;
static atomic_bool stopping;

static enum err run_submitter(struct step *step, struct tx *tx)
{
    struct submitter *s = (struct submitter *)(void *)step;
    struct setting_row row = {.value = slice_of(large_value, sizeof large_value)};
    struct appending a = {.ledger = s->lf->ledger, .count = 1};
    (void)snprintf(row.name, sizeof row.name, "s%u", s->id);
    large_value[s->id % sizeof large_value]++;
    step->ctx = &a;
    enum err err = tx_insert(tx, &table_setting, &row);
    return err != ERR_NONE ? err : run_append(step, tx);
}

static void submit_next(struct submitter *s)
{
    s->id = atomic_fetch_add(&next_id, 1);
    if (s->id < WRITES_MAX && !atomic_load(&stopping) &&
        store_submit(s->lf->f.store, &s->step.write) != ERR_NONE)
        abort();
}

static void acknowledge(struct write *w)
{
    struct submitter *s = (struct submitter *)(void *)w;
    if (w->err != ERR_NONE)
        abort();
    pthread_mutex_lock(&disk_lock);
    acknowledged[acknowledged_len++] = s->id;
    pthread_mutex_unlock(&disk_lock);
    submit_next(s);
}

static const struct write_kind submitter_kind = {
    .name = "test.submitter", .lane = STORE_LANE_NORMAL, .apply = step_apply, .done = acknowledge};

static bool keeps_any(void)
{
    static uint32_t random_state = 77;
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 16 & 3) != 0;
}

static bool keeps_none(void)
{
    return false;
}

static bool keeps_all(void)
{
    return true;
}

struct cut {
    struct ledger_fixture lf;
    size_t acknowledged; /* by then */
};

static void check_cut(struct cut *cut)
{
    ledger_fixture_open(&cut->lf);
    for (size_t i = 0; i < cut->acknowledged; i++) {
        struct setting_row row = {0};
        (void)snprintf(row.name, sizeof row.name, "s%u", acknowledged[i]);
        if (store_get(cut->lf.f.reader, &table_setting, cut->lf.f.arena, &row) != ERR_NONE)
            fail_msg("write %u was acknowledged and is lost", acknowledged[i]);
        arena_reset(cut->lf.f.arena);
    }
    struct tree t = {0};
    tree_follow(&t, &cut->lf);
    uint64_t rows = 0;
    const struct store_query query = {.table = &table_setting, .limit = SIZE_MAX};
    assert_int_equal(store_count(cut->lf.f.reader, &query, &rows), ERR_NONE);
    struct checkpoint head = ledger_head(cut->lf.ledger);
    if (head.size > 0)
        rows--; /* the one that says whose ledger it is */
    struct hash root = tree_root(t.leaves, t.len);
    assert_int_equal(head.size, rows);
    assert_int_equal(t.len, rows);
    assert_true(rows >= cut->acknowledged);
    assert_hashes_equal(&head.root, &root);
    free(t.leaves);
    assert_int_equal(ledger_fixture_append(&cut->lf, 300), ERR_NONE);
    ledger_fixture_remove(&cut->lf);
}

static void what_was_acknowledged_survives_a_power_cut(void **state)
{
    (void)state;
    static struct submitter submitters[SUBMITTERS];
    static struct cut cuts[CUTS];
    static bool (*const keeps[])(void) = {keeps_none, keeps_any, keeps_all, keeps_any};
    struct ledger_fixture lf = {.ledger = NULL};
    fixture_make(&lf.f);
    memcpy(disk_folder, lf.f.folder, sizeof lf.f.folder);
    power_cut_install();
    ledger_fixture_open(&lf);
    for (size_t i = 0; i < SUBMITTERS; i++) {
        struct submitter *s = &submitters[i];
        s->lf = &lf;
        s->step = step_of(&lf.f, STORE_LANE_NORMAL, run_submitter, NULL);
        s->step.write.kind = &submitter_kind;
        submit_next(s);
    }
    for (size_t i = 0; i < CUTS; i++) {
        fixture_make(&cuts[i].lf.f);
        usleep(8000 + (useconds_t)i * 1771);
        pthread_mutex_lock(&disk_lock);
        power_cut(cuts[i].lf.f.folder, keeps[i % ARRAY_LEN(keeps)]);
        cuts[i].acknowledged = acknowledged_len;
        pthread_mutex_unlock(&disk_lock);
    }
    atomic_store(&stopping, true);
    usleep(50000);
    struct store_stats stats;
    store_stats(lf.f.store, &stats);
    print_message("%zu writes, log of %llu KiB\n", acknowledged_len,
                  (unsigned long long)stats.wal_bytes / 1024);
    ledger_fixture_remove(&lf);
    for (size_t i = 0; i < CUTS; i++)
        check_cut(&cuts[i]);
    assert_true(cuts[CUTS - 1].acknowledged > cuts[0].acknowledged);
    power_cut_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
