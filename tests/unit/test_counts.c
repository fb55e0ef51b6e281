/* What is counted of devices within a minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "hub/watch/counts.h"

#define START INT64_C(1234567)

static struct counts *counts;

static int set_up(void **state)
{
    (void)state;
    return counts_new(&counts) == ERR_NONE ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    counts_free(counts);
    return 0;
}

static uint64_t add(enum count_kind kind, const char *tenant, const char *device, uint64_t n,
                    int64_t now_ms)
{
    uint64_t sum = 0;
    assert_int_equal(counts_add(counts, kind, tenant, device, n, now_ms, &sum), ERR_NONE);
    return sum;
}

static void each_device_and_kind_by_itself(void **state)
{
    (void)state;
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 3, START), 3);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 4, START + 1), 7);
    assert_int_equal(add(COUNT_FLOODS, "t", "a", 1, START + 2), 1);
    assert_int_equal(add(COUNT_TOPICS, "t", "b", 1, START + 2), 1);
    assert_int_equal(add(COUNT_TOPICS, "u", "a", 1, START + 2), 1);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 0, START + 2), 7);
    counts_clear(counts, "t", "a");
    counts_clear(counts, "t", "nobody");
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 1, START + 3), 1);
    assert_int_equal(add(COUNT_FLOODS, "t", "a", 1, START + 3), 1);
    assert_int_equal(add(COUNT_TOPICS, "t", "b", 1, START + 3), 2);
}

static void what_lies_a_minute_back_does_not_count(void **state)
{
    const int64_t slot = COUNTS_SLOT_MS, first = START / slot * slot;
    (void)state;
    for (int64_t i = 0; i < COUNTS_SLOTS; i++)
        assert_int_equal(add(COUNT_TOPICS, "t", "a", 10, first + i * slot), 10 * (i + 1));
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 1, first + COUNTS_SLOTS * slot - 1), 61);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 0, first + COUNTS_SLOTS * slot), 51);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 0, first + (COUNTS_SLOTS + 2) * slot), 31);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 0, first + (2 * COUNTS_SLOTS - 1) * slot), 0);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 5, first + 1000 * slot), 5);
    assert_int_equal(add(COUNT_TOPICS, "t", "a", 5, first + 5000 * slot), 5);
}

static void much_is_not_little(void **state)
{
    (void)state;
    assert_int_equal(add(COUNT_FLOODS, "t", "a", UINT64_MAX, START), UINT32_MAX);
    assert_int_equal(add(COUNT_FLOODS, "t", "a", 1, START), UINT32_MAX);
    assert_int_equal(add(COUNT_FLOODS, "t", "a", UINT32_MAX, START + COUNTS_SLOT_MS),
                     2 * (uint64_t)UINT32_MAX);
}

static void fill(int64_t now_ms)
{
    char device[16];
    for (int i = 0; i < COUNTS_DEVICES; i++) {
        (void)snprintf(device, sizeof device, "d-%d", i);
        assert_int_equal(add(COUNT_TOPICS, "t", device, 1, now_ms), 1);
    }
}

static void says_where_there_is_no_room(void **state)
{
    uint64_t sum = 99;
    (void)state;
    fill(START);
    for (int i = 0; i < 3; i++)
        assert_int_equal(counts_add(counts, COUNT_TOPICS, "t", "one more", 1, START + i, &sum),
                         ERR_LIMIT);
    assert_int_equal(sum, 99);
    /* whoever is in goes on */
    assert_int_equal(add(COUNT_TOPICS, "t", "d-0", 1, START + 4), 2);
    assert_int_equal(add(COUNT_FLOODS, "t", "d-4095", 1, START + 4), 1);
    /* and who had nothing for a minute makes room */
    assert_int_equal(add(COUNT_TOPICS, "t", "d-7", 1, START + COUNTS_WINDOW_MS / 2), 2);
    assert_int_equal(add(COUNT_TOPICS, "t", "one more", 1, START + COUNTS_WINDOW_MS), 1);
    assert_int_equal(add(COUNT_TOPICS, "t", "d-7", 1, START + COUNTS_WINDOW_MS), 2);
    assert_int_equal(add(COUNT_TOPICS, "t", "d-8", 1, START + COUNTS_WINDOW_MS), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_device_and_kind_by_itself),
        TEST(what_lies_a_minute_back_does_not_count),
        TEST(much_is_not_little),
        TEST(says_where_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
