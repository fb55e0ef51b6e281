/* The sums over the legs of a cut: what is settled stays, what is open is counted anew each time,
 * and how soon half and nearly all were gone is by nearest rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/cut_legs.h"

#define API    "api/1"
#define BROKER "broker/mqtt-1"

static struct cut_legs legs;

static int start(void **state)
{
    (void)state;
    memset(&legs, 0, sizeof legs);
    return 0;
}

static int end(void **state)
{
    (void)state;
    cut_legs_free(&legs);
    return 0;
}

static void add(const char *leg, int64_t ms, bool settled)
{
    assert_int_equal(cut_legs_add(&legs, leg, ms, "", settled), ERR_NONE);
}

static int64_t number(size_t leg, const char *name)
{
    json_t *all = cut_legs_json(&legs);
    assert_non_null(all);
    const json_t *found = json_object_get(json_array_get(all, leg), name);
    int64_t n = found == NULL ? -1 : json_integer_value(found);
    json_decref(all);
    return n;
}

static void assert_spread(size_t leg, int64_t p50, int64_t p99, int64_t slowest)
{
    assert_int_equal(number(leg, "p50_ms"), p50);
    assert_int_equal(number(leg, "p99_ms"), p99);
    assert_int_equal(number(leg, "latency_ms"), slowest);
}

static void spreads_are_by_nearest_rank(void **state)
{
    (void)state;
    add(API, 7, true);
    assert_spread(0, 7, 7, 7);
    add(API, 3, true);
    assert_spread(0, 3, 7, 7);
    for (int64_t ms = 1000; ms > 0; ms--) /* the slowest first */
        add(BROKER, ms, true);
    assert_spread(1, 500, 990, 1000);
}

static void nobody_gone_has_no_spread(void **state)
{
    (void)state;
    add(API, -1, false);
    assert_spread(0, -1, -1, -1);
    assert_int_equal(number(0, "devices"), 1);
    assert_int_equal(number(0, "confirmed"), 0);
}

/* Two are settled between such as are open, in any order; at each look the open ones come anew. */
static void open_ones_are_counted_once(void **state)
{
    (void)state;
    for (int look = 0; look < 3; look++) {
        cut_legs_begin(&legs);
        add(API, 90, false);
        add(BROKER, -1, false);
        if (look == 1) {
            add(API, 10, true);
            add(BROKER, 20, true);
            add(API, 80, false);
            add(API, 5, true);
        }
        assert_spread(0, look == 0 ? 90 : 10, 90, 90);
    }
    uint64_t due = 0, confirmed = 0;
    cut_legs_count(&legs, &due, &confirmed);
    assert_int_equal(due, 5);
    assert_int_equal(confirmed, 4);
    assert_int_equal(number(0, "devices"), 3);
    assert_int_equal(number(1, "devices"), 2);
    cut_legs_begin(&legs);
    assert_spread(0, 5, 10, 10);
    assert_spread(1, 20, 20, 20);
}

static void open_legs_are_named_within_the_room(void **state)
{
    char text[512];
    (void)state;
    add(API, 1, true);
    add(BROKER, 1, true);
    add(BROKER, -1, false);
    assert_int_equal(cut_legs_add(&legs, CUT_LEG_OCSP, -1, "it says good", false), ERR_NONE);
    cut_legs_open(&legs, text, sizeof text);
    assert_string_equal(text, "broker/mqtt-1 (1 of 2), ocsp (it says good)");
    for (size_t i = 0; i < CUT_LEGS_MAX + 10; i++) {
        char name[CUT_LEG_NAME_MAX + 1];
        (void)snprintf(name, sizeof name, "broker/%064zu", i);
        add(name, -1, false);
    }
    assert_int_equal(legs.len, CUT_LEGS_MAX);
    cut_legs_open(&legs, text, sizeof text);
    assert_memory_equal(text, "broker/mqtt-1 (1 of 2), ocsp", 28);
    assert_true(strlen(text) < sizeof text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(spreads_are_by_nearest_rank, start, end),
        cmocka_unit_test_setup_teardown(nobody_gone_has_no_spread, start, end),
        cmocka_unit_test_setup_teardown(open_ones_are_counted_once, start, end),
        cmocka_unit_test_setup_teardown(open_legs_are_named_within_the_room, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
