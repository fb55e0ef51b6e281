#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/rate.h"

static const struct slice alice = {(const uint8_t *)"alice", 5};
static const struct slice bob = {(const uint8_t *)"bob", 3};

static struct rate_table *table_of(size_t keys)
{
    struct rate_table *t = NULL;
    assert_int_equal(rate_table_new(keys, &t), ERR_NONE);
    return t;
}

static void allows_a_burst_then_the_rate(void **state)
{
    (void)state;
    struct rate_table *t = table_of(100);
    const struct rate rate = {.per_minute = 60, .burst = 3};
    int64_t wait = -1;
    for (int i = 0; i < 3; i++)
        assert_true(rate_allow(t, alice, &rate, 1000, &wait));
    assert_int_equal(wait, -1);
    assert_false(rate_allow(t, alice, &rate, 1000, &wait));
    assert_int_equal(wait, 1000);
    assert_false(rate_allow(t, alice, &rate, 1400, &wait));
    assert_int_equal(wait, 600);
    assert_true(rate_allow(t, bob, &rate, 1400, &wait)); /* another's limit is another's */
    assert_false(rate_allow(t, alice, &rate, 1999, &wait));
    assert_int_equal(wait, 1);
    assert_true(rate_allow(t, alice, &rate, 2000, &wait)); /* refusals did not count */
    assert_false(rate_allow(t, alice, &rate, 2000, NULL));
    for (int i = 0; i < 3; i++)
        assert_true(rate_allow(t, alice, &rate, 100000, &wait));
    assert_false(rate_allow(t, alice, &rate, 100000, &wait));
    rate_table_free(t);
    rate_table_free(NULL);
}

static void allows_no_more_than_it_says(void **state)
{
    (void)state;
    static const struct {
        struct rate rate;
        unsigned in_ten_minutes;
    } cases[] = {
        {{.per_minute = 1, .burst = 1}, 10},      {{.per_minute = 10, .burst = 5}, 104},
        {{.per_minute = 600, .burst = 20}, 6019}, {{.per_minute = 1, .burst = 0}, 10},
        {{.per_minute = 0, .burst = 5}, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rate_table *t = table_of(10);
        unsigned allowed = 0;
        int64_t wait = 0;
        for (int64_t now = 0; now < 600000; now += 10)
            allowed += rate_allow(t, alice, &cases[i].rate, now, &wait);
        assert_int_equal(allowed, cases[i].in_ten_minutes);
        rate_table_free(t);
    }
}

static void survives_odd_numbers(void **state)
{
    (void)state;
    struct rate_table *t = table_of(10);
    const struct rate widest = {.per_minute = UINT32_MAX, .burst = UINT32_MAX};
    const struct rate slow = {.per_minute = 1, .burst = UINT32_MAX};
    int64_t wait = 0;
    for (int i = 0; i < 1000; i++) {
        assert_true(rate_allow(t, alice, &widest, 5, &wait));
        assert_true(rate_allow(t, bob, &slow, 5, &wait));
    }
    assert_true(rate_allow(t, slice_of(NULL, 0), &slow, 5, &wait));
    /* time that steps back makes nobody wait longer than the burst's worth */
    const struct rate one = {.per_minute = 60, .burst = 1};
    assert_true(rate_allow(t, SLICE_LITERAL("c"), &one, 10000, &wait));
    assert_false(rate_allow(t, SLICE_LITERAL("c"), &one, 9000, &wait));
    assert_int_equal(wait, 2000);
    rate_table_free(t);

    t = NULL;
    assert_int_equal(rate_table_new(0, &t), ERR_LIMIT);
    assert_int_equal(rate_table_new(SIZE_MAX, &t), ERR_LIMIT);
    assert_null(t);
}

static void looking_does_not_count(void **state)
{
    (void)state;
    struct rate_table *t = table_of(10);
    const struct rate rate = {.per_minute = 60, .burst = 1};
    int64_t wait = 0;
    for (int i = 0; i < 10; i++)
        assert_true(rate_would_allow(t, alice, &rate, 0, &wait));
    assert_true(rate_allow(t, alice, &rate, 0, &wait));
    for (int i = 0; i < 10; i++)
        assert_false(rate_would_allow(t, alice, &rate, 0, &wait));
    assert_int_equal(wait, 1000);
    assert_true(rate_would_allow(t, alice, &rate, 1000, &wait));
    rate_table_free(t);
}

static void the_quietest_gives_way(void **state)
{
    (void)state;
    struct rate_table *t = table_of(3);
    const struct rate rate = {.per_minute = 1, .burst = 1};
    int64_t wait = 0;
    assert_true(rate_allow(t, SLICE_LITERAL("a"), &rate, 0, &wait));
    assert_true(rate_allow(t, SLICE_LITERAL("b"), &rate, 0, &wait));
    assert_true(rate_allow(t, SLICE_LITERAL("c"), &rate, 0, &wait));
    assert_false(rate_allow(t, SLICE_LITERAL("a"), &rate, 1, &wait)); /* heard again */
    assert_true(rate_allow(t, SLICE_LITERAL("d"), &rate, 2, &wait));  /* instead of b */
    assert_false(rate_allow(t, SLICE_LITERAL("a"), &rate, 3, &wait));
    assert_false(rate_allow(t, SLICE_LITERAL("c"), &rate, 3, &wait));
    assert_false(rate_allow(t, SLICE_LITERAL("d"), &rate, 3, &wait));
    assert_true(rate_allow(t, SLICE_LITERAL("b"), &rate, 3, &wait));
    rate_table_free(t);

    /* and over many: the table stays whole */
    t = table_of(5000);
    char key[16];
    for (unsigned i = 0; i < 200000; i++) {
        int n = snprintf(key, sizeof key, "k%u", i * 7919U % 20000U);
        (void)rate_allow(t, slice_of(key, (size_t)n), &rate, i, &wait);
        if (i % 100 == 0)
            (void)rate_allow(t, alice, &rate, i, &wait);
    }
    assert_false(rate_would_allow(t, alice, &rate, 200000, &wait));
    rate_table_free(t);
}

static struct rate_table *shared;
static _Atomic unsigned total;

static void *hammer(void *nothing)
{
    const struct rate rate = {.per_minute = 1, .burst = 1000};
    for (int i = 0; i < 20000; i++) {
        int64_t wait;
        total += rate_allow(shared, alice, &rate, 0, &wait);
        (void)rate_allow(shared, slice_of(&i, sizeof i), &rate, 0, &wait);
    }
    return nothing;
}

static void counts_right_between_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    shared = table_of(100000);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(total, 1000);
    rate_table_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_a_burst_then_the_rate),
        cmocka_unit_test(allows_no_more_than_it_says),
        cmocka_unit_test(survives_odd_numbers),
        cmocka_unit_test(looking_does_not_count),
        cmocka_unit_test(the_quietest_gives_way),
        cmocka_unit_test(counts_right_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
