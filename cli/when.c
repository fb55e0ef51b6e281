#include "cli/when.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/config.h"
#include "core/calendar.h"

#define LATEST INT64_C(253402300799) /* 9999-12-31T23:59:59Z, the last that RFC 3339 writes */
#define MINUTE 60
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEAR   (365 * DAY)

static const struct {
    int64_t size;
    const char *one, *many;
} units[] = {
    {YEAR, "year", "years"}, {DAY, "day", "days"}, {HOUR, "h", "h"}, {MINUTE, "min", "min"}};

static void write_duration(int64_t n, size_t unit, char ret_text[WHEN_TEXT_MAX])
{
    const char *name = unit == ARRAY_LEN(units) ? "s" : n == 1 ? units[unit].one : units[unit].many;
    (void)snprintf(ret_text, WHEN_TEXT_MAX, "%" PRId64 " %s", n, name);
}

void when_duration(int64_t seconds, char ret_text[WHEN_TEXT_MAX])
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (seconds < units[i].size || seconds % units[i].size != 0)
            continue;
        write_duration(seconds / units[i].size, i, ret_text);
        return;
    }
    write_duration(seconds, ARRAY_LEN(units), ret_text);
}

void when_about(int64_t seconds, char ret_text[WHEN_TEXT_MAX])
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        /* from twice its size on, so that rounding loses at most a quarter */
        if (seconds < 2 * units[i].size - units[i].size / 60)
            continue;
        write_duration((seconds + units[i].size / 2) / units[i].size, i, ret_text);
        return;
    }
    write_duration(seconds, ARRAY_LEN(units), ret_text);
}

void when_relative(int64_t seconds, int64_t now, char ret_text[WHEN_TEXT_MAX])
{
    char duration[WHEN_TEXT_MAX];
    int64_t distance = seconds < now ? now - seconds : seconds - now;
    if (distance < 2) {
        (void)snprintf(ret_text, WHEN_TEXT_MAX, "now");
        return;
    }
    when_about(distance, duration);
    (void)snprintf(ret_text, WHEN_TEXT_MAX, seconds < now ? "%.50s ago" : "in %.50s", duration);
}

void when_full(int64_t seconds, int64_t now, char ret_text[WHEN_TEXT_MAX])
{
    struct calendar c = calendar_from_seconds(seconds);
    char relative[WHEN_TEXT_MAX];
    when_relative(seconds, now, relative);
    (void)snprintf(ret_text, WHEN_TEXT_MAX, "%04d-%02u-%02u %02u:%02u:%02u UTC (%.30s)", c.year,
                   c.month, c.day, c.hour, c.minute, c.second, relative);
}

void when_count(uint64_t n, char ret_text[WHEN_TEXT_MAX])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            ret_text[at++] = ',';
        ret_text[at++] = digits[i];
    }
    ret_text[at] = '\0';
}

enum err when_read(struct slice text, int64_t now, bool past, int64_t *ret_seconds)
{
    int64_t seconds;
    enum err err = config_duration_read(text, &seconds);
    if (err == ERR_NONE) {
        if (seconds > LATEST)
            return ERR_LIMIT;
        seconds = past ? now - seconds : now + seconds;
        if (seconds < 0 || seconds > LATEST)
            return ERR_LIMIT;
        *ret_seconds = seconds;
        return ERR_NONE;
    }
    uint8_t bytes[32];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_put(&w, text);
    if (text.len == sizeof "2026-11-23" - 1)
        writer_text(&w, "T00:00:00Z");
    return w.err != ERR_NONE ? ERR_SYNTAX : calendar_read_rfc3339(writer_bytes(&w), ret_seconds);
}
