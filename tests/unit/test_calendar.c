#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "core/calendar.h"

static void agrees_with_libc(void **state)
{
    (void)state;
    /* Every day of the years 0 to 9999, at a time of day that moves. */
    for (int64_t day = -719528; day < 2932897; day++) {
        int64_t seconds = day * 86400 + (day * 7919 % 86400 + 86400) % 86400;
        time_t t = (time_t)seconds;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        struct calendar c = calendar_from_seconds(seconds);
        if (c.year != tm.tm_year + 1900 || (int)c.month != tm.tm_mon + 1 ||
            (int)c.day != tm.tm_mday || (int)c.hour != tm.tm_hour || (int)c.minute != tm.tm_min ||
            (int)c.second != tm.tm_sec)
            fail_msg("differs at %lld", (long long)seconds);
        int64_t back = 0;
        if (calendar_to_seconds(&c, &back) != ERR_NONE || back != seconds)
            fail_msg("no way back at %lld", (long long)seconds);
    }
}

static void stops_at_both_ends(void **state)
{
    (void)state;
    assert_int_equal(calendar_from_seconds(INT64_MIN).year, 0);
    struct calendar c = calendar_from_seconds(INT64_MAX);
    assert_int_equal(c.year, 9999);
    assert_int_equal(c.second, 59);
    uint8_t buffer[20];
    static const int64_t outside[] = {INT64_MIN, -62167219201, 253402300800, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        struct writer w = writer_over(buffer, sizeof buffer);
        calendar_write_rfc3339(&w, outside[i]);
        assert_int_equal(w.err, ERR_LIMIT);
        assert_int_equal(w.len, 0);
    }
}

static void reads_and_writes_rfc3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59Z", -1},
        {"2026-11-23T04:21:38Z", 1795407698},
        {"2024-02-29T12:00:00Z", 1709208000},
        {"2000-02-29T00:00:00Z", 951782400},
        {"0000-01-01T00:00:00Z", -62167219200},
        {"9999-12-31T23:59:59Z", 253402300799},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t seconds = 42;
        assert_int_equal(calendar_read_rfc3339(slice_of_text(cases[i].text), &seconds), ERR_NONE);
        assert_true(seconds == cases[i].seconds);
        uint8_t buffer[20];
        struct writer w = writer_over(buffer, sizeof buffer);
        calendar_write_rfc3339(&w, seconds);
        assert_int_equal(w.err, ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(cases[i].text)));
    }
}

static void writes_http_dates(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* of RFC 9110 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},          {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {1795407698, "Mon, 23 Nov 2026 04:21:38 GMT"}, {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buffer[CALENDAR_HTTP_SIZE];
        struct writer w = writer_over(buffer, sizeof buffer);
        calendar_write_http(&w, cases[i].seconds);
        assert_int_equal(w.err, ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(cases[i].text)));
    }
    char buffer[CALENDAR_HTTP_SIZE + 1];
    struct writer w = writer_over(buffer, sizeof buffer);
    calendar_write_http(&w, INT64_MAX);
    assert_int_equal(w.err, ERR_LIMIT);
}

static void refuses_other_times(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "2026-11-23",
        "2026-11-23T04:21:38",
        "2026-11-23T04:21:38z",
        "2026-11-23t04:21:38Z",
        "2026-11-23 04:21:38Z",
        "2026-11-23T04:21:38Z ",
        "2026-11-23T04:21:38.5Z",
        "2026-11-23T04:21:38+00:00",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-04-00T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-12-31T23:59:60Z",
        "+026-01-01T00:00:00Z",
        "2026-1--01T00:00:00Z",
        "20a6-01-01T00:00:00Z",
        "2026-01-01T00:00: 1Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t seconds = 42;
        if (calendar_read_rfc3339(slice_of_text(cases[i]), &seconds) != ERR_SYNTAX)
            fail_msg("taken: %s", cases[i]);
        assert_true(seconds == 42);
    }
    int64_t seconds = 42;
    struct calendar c = {.year = -1, .month = 1, .day = 1};
    assert_int_equal(calendar_to_seconds(&c, &seconds), ERR_SYNTAX);
    c.year = 10000;
    assert_int_equal(calendar_to_seconds(&c, &seconds), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_libc),         cmocka_unit_test(stops_at_both_ends),
        cmocka_unit_test(reads_and_writes_rfc3339), cmocka_unit_test(writes_http_dates),
        cmocka_unit_test(refuses_other_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
