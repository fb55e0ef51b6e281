#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "base/clock.h"
#include "store_fixture.h"

static uint8_t large_blob[SETTING_VALUE_MAX];

/* ---- transactions ---- */

static enum err run_insert_then_refuse(struct step *step, struct tx *tx)
{
    enum err err = insert_seen(tx, step->ctx);
    assert_int_equal(err, ERR_NONE);
    assert_ptr_equal(tx_write(tx), &step->write);
    return problem_set(&step->write.problem, 409, "no", "field", "no, %d", 1);
}

static enum err run_insert_then_conflict(struct step *step, struct tx *tx)
{
    enum err err = insert_seen(tx, step->ctx);
    return err != ERR_NONE ? err : ERR_CONFLICT;
}

static enum err run_insert_then_fail(struct step *step, struct tx *tx)
{
    enum err err = insert_seen(tx, step->ctx);
    return err != ERR_NONE ? err : ERR_CRYPTO;
}

static enum err run_insert_twice(struct step *step, struct tx *tx)
{
    assert_int_equal(insert_seen(tx, step->ctx), ERR_NONE);
    assert_int_equal(insert_seen(tx, step->ctx), ERR_EXISTS);
    return ERR_NONE;
}

/* Asks for what can't be, and pretends that nothing happened. */
static enum err run_swallow_fault(struct step *step, struct tx *tx)
{
    struct device_seen_row row = seen_row(step->ctx);
    memset(row.device, 'x', sizeof row.device);
    (void)insert_seen(tx, step->ctx);
    if (tx_insert(tx, &table_device_seen, &row) != ERR_INTERNAL)
        abort();
    return ERR_NONE;
}

static void a_refusal_rolls_back_one_write_and_no_other(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    struct {
        const char *device;
        enum err (*run)(struct step *step, struct tx *tx);
        enum err err;
        enum err stored;
    } cases[] = {
        {"a", run_insert, ERR_NONE, ERR_NONE},
        {"b", run_insert_then_refuse, ERR_REFUSED, ERR_NOT_FOUND},
        {"c", run_insert, ERR_NONE, ERR_NONE},
        {"d", run_insert_then_conflict, ERR_CONFLICT, ERR_NOT_FOUND},
        {"c", run_insert, ERR_EXISTS, ERR_NONE},
        {"b", run_insert_twice, ERR_NONE, ERR_NONE},
        {"e", run_insert, ERR_NONE, ERR_NONE},
    };
    struct step steps[ARRAY_LEN(cases)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        steps[i] = step_of(&f, STORE_LANE_NORMAL, cases[i].run, (void *)cases[i].device);
        assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
    }
    assert_int_equal(store_start(f.store), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(step_wait(&steps[i]), cases[i].err);
        assert_int_equal(steps[i].runs, 1);
        assert_int_equal(steps[i].ends, 1);
    }
    assert_int_equal(steps[1].write.problem.status, 409);
    assert_string_equal(steps[1].write.problem.detail, "no, 1");
    assert_int_equal(get_seen(&f, "a"), ERR_NONE);
    assert_int_equal(get_seen(&f, "b"), ERR_NONE);
    assert_int_equal(get_seen(&f, "c"), ERR_NONE);
    assert_int_equal(get_seen(&f, "d"), ERR_NOT_FOUND);
    assert_int_equal(get_seen(&f, "e"), ERR_NONE);
    struct store_stats stats;
    store_stats(f.store, &stats);
    assert_int_equal(stats.commits, 1);
    assert_int_equal(stats.writes, 4);
    assert_int_equal(stats.refused, 3);
    assert_int_equal(stats.abandoned, 0);
    fixture_remove(&f);
}

static void a_faulty_write_fails_alone(void **state)
{
    (void)state;
    /* How many of twelve are faulty: none replayed, some, more than are replayed as a batch. */
    static const unsigned faulty[] = {1, 3, 4, 7, 12};
    for (size_t c = 0; c < ARRAY_LEN(faulty); c++) {
        struct fixture f;
        fixture_make(&f);
        fixture_open(&f);
        struct step steps[12];
        char names[ARRAY_LEN(steps)][8];
        for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
            bool bad = i * faulty[c] / 12 != (i + 1) * faulty[c] / 12;
            (void)snprintf(names[i], sizeof names[i], "%s%u", bad ? "bad" : "ok", i);
            steps[i] = step_of(&f, STORE_LANE_NORMAL,
                               !bad         ? run_insert
                               : i % 2 == 0 ? run_insert_then_fail
                                            : run_swallow_fault,
                               names[i]);
            assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
        }
        assert_int_equal(store_start(f.store), ERR_NONE);
        unsigned failed = 0;
        for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
            bool bad = names[i][0] == 'b';
            enum err expected = !bad ? ERR_NONE : i % 2 == 0 ? ERR_CRYPTO : ERR_INTERNAL;
            failed += bad;
            assert_int_equal(step_wait(&steps[i]), expected);
            assert_int_equal(steps[i].ends, 1);
            assert_true(steps[i].runs <= 5);
            assert_int_equal(get_seen(&f, names[i]), bad ? ERR_NOT_FOUND : ERR_NONE);
        }
        assert_int_equal(failed, faulty[c]);
        fixture_remove(&f);
    }
}

static enum err run_insert_large(struct step *step, struct tx *tx)
{
    struct setting_row row = {.value = slice_of(large_blob, SETTING_VALUE_MAX)};
    (void)snprintf(row.name, sizeof row.name, "%s", (const char *)step->ctx);
    enum err err = tx_insert(tx, &table_setting, &row);
    /* An apply() that hides what it was told changes nothing. */
    return err == ERR_DISK_FULL ? ERR_NONE : err;
}

static enum err get_setting(struct fixture *f, const char *name)
{
    struct setting_row row = {0};
    (void)snprintf(row.name, sizeof row.name, "%s", name);
    enum err err = store_get(f->reader, &table_setting, f->arena, &row);
    arena_reset(f->arena);
    return err;
}

static enum err run_insert_only(struct step *step, struct tx *tx)
{
    return insert_seen(tx, step->ctx);
}

/* By the time that a write has been answered, what was read before it is known to be old. */
static void a_stamp_tells_that_a_row_may_have_changed(void **state)
{
    (void)state;
    struct fixture f;
    bool alone = fixture_postgres() == NULL; /* of others' commits nothing is known */
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    const struct device_seen_row a = seen_row("a"), b = seen_row("b");
    struct row_stamp at_first = store_stamp(f.store, &table_device_seen, &a);
    struct row_stamp of_other = store_stamp(f.store, &table_device_seen, &b);
    const struct device_row same_key = {.tenant = "default", .id = "a"};
    struct row_stamp of_table = store_stamp(f.store, &table_device, &same_key);
    assert_int_equal(store_is_unchanged(f.store, &at_first), alone);

    char name[] = "a";
    assert_int_equal(fixture_write(&f, run_insert_only, name), ERR_NONE);
    assert_false(store_is_unchanged(f.store, &at_first));
    assert_int_equal(store_is_unchanged(f.store, &of_other), alone);
    assert_int_equal(store_is_unchanged(f.store, &of_table), alone);
    struct row_stamp then = store_stamp(f.store, &table_device_seen, &a);
    assert_int_equal(store_is_unchanged(f.store, &then), alone);

    /* A batch that came to nothing may count as a change, but once only. */
    char other[] = "b";
    assert_int_equal(fixture_write(&f, run_insert_then_fail, other), ERR_CRYPTO);
    then = store_stamp(f.store, &table_device_seen, &b);
    assert_int_equal(store_is_unchanged(f.store, &then), alone);
    fixture_remove(&f);
}

static void a_full_disk_abandons_the_batch_and_the_writer_goes_on(void **state)
{
    (void)state;
    if (fixture_postgres() != NULL)
        skip(); /* its disk is not ours */
    static const struct {
        int error;
        bool stays;
        enum err err;
    } cases[] = {
        {ENOSPC, true, ERR_DISK_FULL}, {ENOSPC, false, ERR_DISK_FULL},
        {EDQUOT, true, ERR_DISK_FULL}, {EFBIG, true, ERR_DISK_FULL},
        {EIO, true, ERR_IO},
    };
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct fixture f;
        struct step steps[20];
        char names[ARRAY_LEN(steps)][NAME_MAX_BYTES];
        fixture_make(&f);
        fixture_open(&f);
        assert_int_equal(store_start(f.store), ERR_NONE);
        submit_all(&f, steps, names, ARRAY_LEN(steps), "before", run_insert_large);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            assert_int_equal(steps[i].write.err, ERR_NONE);

        disk_fail_after(0, cases[c].error, cases[c].stays);
        submit_all(&f, steps, names, ARRAY_LEN(steps), "while", run_insert_large);
        size_t failed = 0;
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            bool ok = steps[i].write.err == ERR_NONE;
            failed += !ok;
            if (!ok)
                assert_int_equal(steps[i].write.err, cases[c].err);
            assert_int_equal(get_setting(&f, names[i]), ok ? ERR_NONE : ERR_NOT_FOUND);
        }
        assert_true(failed > 0);
        assert_true(!cases[c].stays || failed == ARRAY_LEN(steps));

        disk_heal();
        submit_all(&f, steps, names, ARRAY_LEN(steps), "after", run_insert_large);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            assert_int_equal(steps[i].write.err, ERR_NONE);
        fixture_close(&f);
        fixture_open(&f);
        assert_int_equal(get_setting(&f, "before19"), ERR_NONE);
        assert_int_equal(get_setting(&f, "after19"), ERR_NONE);
        fixture_remove(&f);
    }
}

/* ---- queue and lanes ---- */

struct order {
    pthread_mutex_t lock;
    char text[2048];
    size_t len;
    int64_t batch_date;
};

/* Notes the lane of each write that is applied, and "|" where another date tells another batch. */
static enum err run_note_order(struct step *step, struct tx *tx)
{
    static const char letters[] = {'P', 'N', 'B'};
    struct order *order = step->ctx;
    if (order->batch_date != 0 && order->batch_date != tx_now_ms(tx))
        order->text[order->len++] = '|';
    order->batch_date = tx_now_ms(tx);
    order->text[order->len++] = letters[step->write.kind->lane];
    return ERR_NONE;
}

static void done_moves_the_clock(struct write *w)
{
    clock_shift(1);
    step_done(w);
}

static void priority_comes_first_and_bulk_chunks_stand_alone(void **state)
{
    (void)state;
    static const struct write_kind last_normal = {.name = "test.last",
                                                  .lane = STORE_LANE_NORMAL,
                                                  .apply = step_apply,
                                                  .done = done_moves_the_clock};
    static struct step steps[3 + 600 + 2];
    struct order order = {.len = 0};
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    size_t n = 0;
    for (int i = 0; i < 3; i++)
        steps[n++] = step_of(&f, STORE_LANE_BULK, run_note_order, &order);
    for (int i = 0; i < 600; i++)
        steps[n++] = step_of(&f, STORE_LANE_NORMAL, run_note_order, &order);
    for (int i = 0; i < 2; i++)
        steps[n++] = step_of(&f, STORE_LANE_PRIORITY, run_note_order, &order);
    for (size_t i = 0; i < n; i++) {
        if (steps[i].write.kind->lane == STORE_LANE_NORMAL)
            steps[i].write.kind = &last_normal;
        assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
    }
    struct store_stats stats;
    store_stats(f.store, &stats);
    assert_int_equal(stats.queued[STORE_LANE_PRIORITY], 2);
    assert_int_equal(stats.queued[STORE_LANE_NORMAL], 600);
    assert_int_equal(stats.queued[STORE_LANE_BULK], 3);
    assert_int_equal(store_start(f.store), ERR_NONE);
    store_drain(f.store);
    clock_shift(-600);

    char expected[2048];
    size_t at = 0;
    expected[at++] = 'P';
    expected[at++] = 'P';
    for (int i = 0; i < STORE_BATCH_MAX - 2; i++)
        expected[at++] = 'N';
    expected[at++] = '|';
    expected[at++] = 'B';
    expected[at] = '\0';
    order.text[order.len] = '\0';
    /* The first batch is full, then one chunk, then the rest of the normal lane, then chunks. */
    assert_memory_equal(order.text, expected, at);
    assert_int_equal(order.text[at] == '|' ? order.text[at + 1] : order.text[at], 'N');
    assert_int_equal(order.text[order.len - 1], 'B');
    fixture_remove(&f);
}

static enum err run_wait(struct step *step, struct tx *tx)
{
    (void)tx;
    atomic_bool *go = step->ctx;
    while (!atomic_load(go))
        usleep(100);
    return ERR_NONE;
}

static void a_cut_overtakes_chunks_that_wait(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    struct order order = {.len = 0};
    atomic_bool go = false;
    struct step first = step_of(&f, STORE_LANE_BULK, run_wait, &go);
    assert_int_equal(store_submit(f.store, &first.write), ERR_NONE);
    struct step chunks[5];
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        chunks[i] = step_of(&f, STORE_LANE_BULK, run_note_order, &order);
        assert_int_equal(store_submit(f.store, &chunks[i].write), ERR_NONE);
    }
    struct step cut = step_of(&f, STORE_LANE_PRIORITY, run_note_order, &order);
    assert_int_equal(store_submit(f.store, &cut.write), ERR_NONE);
    atomic_store(&go, true);
    assert_int_equal(step_wait(&cut), ERR_NONE);
    store_drain(f.store);
    assert_int_equal(order.text[0], 'P');
    fixture_remove(&f);
}

static enum err run_nothing(struct step *step, struct tx *tx)
{
    (void)step;
    (void)tx;
    return ERR_NONE;
}

static void a_full_lane_is_busy_and_the_others_are_not(void **state)
{
    (void)state;
    static struct step steps[STORE_QUEUE_MAX];
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    for (size_t i = 0; i < STORE_QUEUE_MAX; i++) {
        steps[i] = step_of(&f, STORE_LANE_NORMAL, run_nothing, NULL);
        assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
    }
    struct step more = step_of(&f, STORE_LANE_NORMAL, run_nothing, NULL);
    struct step cut = step_of(&f, STORE_LANE_PRIORITY, run_nothing, NULL);
    assert_int_equal(store_submit(f.store, &more.write), ERR_BUSY);
    assert_int_equal(store_submit(f.store, &cut.write), ERR_NONE);
    store_drain(f.store); /* without a thread: it runs them itself */
    for (size_t i = 0; i < STORE_QUEUE_MAX; i++)
        assert_int_equal(steps[i].ends, 1);
    assert_int_equal(cut.ends, 1);
    assert_int_equal(more.ends, 0);
    assert_int_equal(store_submit(f.store, &more.write), ERR_CLOSED);
    struct store_stats stats;
    store_stats(f.store, &stats);
    assert_int_equal(stats.commits, 0); /* nothing was changed */
    assert_int_equal(stats.writes, STORE_QUEUE_MAX + 1);
    fixture_remove(&f);
}

static void done_on_a_loop(struct write *w)
{
    struct step *step = (struct step *)(void *)w;
    if (loop_current() != w->loop)
        abort();
    /* What is told to be durable can be read. */
    step->ctx = (void *)(uintptr_t)(w->err == ERR_NONE);
    step_done(w);
}

static void done_runs_on_the_loop_that_submitted(void **state)
{
    (void)state;
    static const struct write_kind kind = {.name = "test.loop",
                                           .lane = STORE_LANE_NORMAL,
                                           .apply = step_apply,
                                           .done = done_on_a_loop};
    struct fixture f;
    struct loop *loop = NULL;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(loop_new("test", &loop), ERR_NONE);
    assert_int_equal(loop_start(loop), ERR_NONE);
    assert_int_equal(store_start(f.store), ERR_NONE);
    struct step steps[100];
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        steps[i] = step_of(&f, STORE_LANE_NORMAL, run_nothing, NULL);
        steps[i].write.kind = &kind;
        steps[i].write.loop = loop;
        assert_int_equal(store_submit(f.store, &steps[i].write), ERR_NONE);
    }
    store_drain(f.store);
    loop_stop(loop);
    loop_join(loop);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        assert_int_equal(steps[i].ends, 1);
        assert_non_null(steps[i].ctx);
    }
    loop_free(loop);
    fixture_remove(&f);
}

static enum err run_look(struct step *step, struct tx *tx)
{
    int64_t *date = step->ctx;
    *date = tx_now_ms(tx);
    return ERR_NONE;
}

static void writes_get_a_request_id_and_the_injected_date(void **state)
{
    (void)state;
    static const uint8_t zero[STORE_REQUEST_ID] = {0};
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    int64_t date = 0;
    struct step a = step_of(&f, STORE_LANE_NORMAL, run_look, &date);
    struct step b = step_of(&f, STORE_LANE_NORMAL, run_look, &date);
    memset(b.write.request_id, 7, sizeof b.write.request_id);
    assert_int_equal(store_submit(f.store, &a.write), ERR_NONE);
    assert_int_equal(step_wait(&a), ERR_NONE);
    assert_memory_not_equal(a.write.request_id, zero, sizeof zero);
    clock_shift(1000000);
    assert_int_equal(store_submit(f.store, &b.write), ERR_NONE);
    assert_int_equal(step_wait(&b), ERR_NONE);
    assert_int_equal(b.write.request_id[15], 7);
    assert_true(date > (int64_t)time(NULL) * 1000 + 999000000);
    clock_shift(-1000000);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_rolls_back_one_write_and_no_other),
        cmocka_unit_test(a_faulty_write_fails_alone),
        cmocka_unit_test(a_stamp_tells_that_a_row_may_have_changed),
        cmocka_unit_test(a_full_disk_abandons_the_batch_and_the_writer_goes_on),
        cmocka_unit_test(priority_comes_first_and_bulk_chunks_stand_alone),
        cmocka_unit_test(a_cut_overtakes_chunks_that_wait),
        cmocka_unit_test(a_full_lane_is_busy_and_the_others_are_not),
        cmocka_unit_test(done_runs_on_the_loop_that_submitted),
        cmocka_unit_test(writes_get_a_request_id_and_the_injected_date),
    };
    return cmocka_run_group_tests(tests, disk_install, NULL);
}
