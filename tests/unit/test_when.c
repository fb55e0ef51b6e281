#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/when.h"

#define NOW INT64_C(1795408898) /* 2026-11-23T04:41:38Z */
#define DAY 86400

static void says_durations_exactly(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},          {59, "59 s"},          {60, "1 min"},          {90, "90 s"},
        {3600, "1 h"},       {5400, "90 min"},      {86400, "1 day"},       {30 * DAY, "30 days"},
        {36 * 3600, "36 h"}, {365 * DAY, "1 year"}, {730 * DAY, "2 years"}, {400 * DAY, "400 days"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[WHEN_TEXT_MAX];
        when_duration(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void says_distances_roughly(void **state)
{
    (void)state;
    static const struct {
        int64_t from_now;
        const char *text;
    } cases[] = {
        {0, "now"},
        {-1, "now"},
        {-30, "30 s ago"},
        {-119, "2 min ago"},
        {45 * 60, "in 45 min"},
        {-119 * 60, "2 h ago"},
        {30 * DAY - 1, "in 30 days"},
        {-400 * DAY, "400 days ago"},
        {INT64_C(20) * 365 * DAY, "in 20 years"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[WHEN_TEXT_MAX];
        when_relative(NOW + cases[i].from_now, NOW, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void says_times_in_full(void **state)
{
    (void)state;
    char text[WHEN_TEXT_MAX];
    when_full(NOW, NOW + 180, text);
    assert_string_equal(text, "2026-11-23 04:41:38 UTC (3 min ago)");
}

static void says_counts(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {{0, "0"},
                 {999, "999"},
                 {1000, "1,000"},
                 {1234567, "1,234,567"},
                 {UINT64_MAX, "18,446,744,073,709,551,615"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[WHEN_TEXT_MAX];
        when_count(cases[i].n, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void reads_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool past;
        enum err err;
        int64_t seconds;
    } cases[] = {
        {"2h", false, ERR_NONE, NOW + 7200},
        {"2h", true, ERR_NONE, NOW - 7200},
        {"2026-11-23", false, ERR_NONE, NOW - (4 * 3600 + 41 * 60 + 38)},
        {"2026-11-23T04:41:38Z", true, ERR_NONE, NOW},
        {"2026-02-30", false, ERR_SYNTAX, 0},
        {"2026-11-23T04:41:38", false, ERR_SYNTAX, 0},
        {"2026-11-23T04:41:38Z and far more than fits", false, ERR_SYNTAX, 0},
        {"tomorrow", false, ERR_SYNTAX, 0},
        {"", false, ERR_SYNTAX, 0},
        {"-1d", false, ERR_SYNTAX, 0},
        {"9000y", false, ERR_LIMIT, 0},
        {"100y", true, ERR_LIMIT, 0},
        {"9223372036854775807", false, ERR_LIMIT, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t seconds = 0;
        enum err err = when_read(slice_of_text(cases[i].text), NOW, cases[i].past, &seconds);
        if (err != cases[i].err || seconds != cases[i].seconds)
            fail_msg("'%s' gave %s, %lld", cases[i].text, err_text(err), (long long)seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_durations_exactly),
        cmocka_unit_test(says_distances_roughly),
        cmocka_unit_test(says_times_in_full),
        cmocka_unit_test(says_counts),
        cmocka_unit_test(reads_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
