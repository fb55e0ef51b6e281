#include "core/calendar.h"

#define DAY_SECONDS 86400
/* 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
#define SECONDS_MIN INT64_C(-62167219200)
#define SECONDS_MAX INT64_C(253402300799)
/* Days of a cycle of 400 years, and from 0000-03-01 to 1970-01-01. */
#define ERA_DAYS   146097
#define EPOCH_DAYS 719468

/* Years are counted from 1 March here, so that the day that comes and goes is a year's last. */
struct calendar calendar_from_seconds(int64_t seconds)
{
    if (seconds < SECONDS_MIN)
        seconds = SECONDS_MIN;
    if (seconds > SECONDS_MAX)
        seconds = SECONDS_MAX;
    /* One era more keeps every number below positive. */
    uint64_t from_era = (uint64_t)(seconds + (EPOCH_DAYS + ERA_DAYS) * INT64_C(86400));
    unsigned day_second = (unsigned)(from_era % DAY_SECONDS);
    unsigned days = (unsigned)(from_era / DAY_SECONDS);
    unsigned era = days / ERA_DAYS;
    unsigned era_day = days % ERA_DAYS;
    unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    unsigned month = (5 * year_day + 2) / 153; /* from March */
    return (struct calendar){
        .year = (int)(era_year + era * 400) - 400 + (month >= 10),
        .month = month < 10 ? month + 3 : month - 9,
        .day = year_day - (153 * month + 2) / 5 + 1,
        .hour = day_second / 3600,
        .minute = day_second / 60 % 60,
        .second = day_second % 60,
    };
}

static unsigned days_in_month(int year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

enum err calendar_to_seconds(const struct calendar *c, int64_t *ret_seconds)
{
    if (c->year < 0 || c->year > 9999 || c->month < 1 || c->month > 12 || c->day < 1 ||
        c->day > days_in_month(c->year, c->month) || c->hour > 23 || c->minute > 59 ||
        c->second > 59)
        return ERR_SYNTAX;
    unsigned from_march = c->month > 2 ? c->month - 3 : c->month + 9;
    unsigned year = (unsigned)c->year + 400 - (c->month <= 2);
    unsigned era_year = year % 400;
    unsigned year_day = (153 * from_march + 2) / 5 + c->day - 1;
    unsigned era_day = era_year * 365 + era_year / 4 - era_year / 100 + year_day;
    int64_t days = (int64_t)(year / 400) * ERA_DAYS + era_day - ERA_DAYS - EPOCH_DAYS;
    *ret_seconds = days * DAY_SECONDS + (int64_t)(c->hour * 3600 + c->minute * 60 + c->second);
    return ERR_NONE;
}

static void put_digits(struct writer *w, unsigned v, size_t n)
{
    uint8_t *to = writer_reserve(w, n);
    for (size_t i = n; to != NULL && i > 0; i--) {
        to[i - 1] = (uint8_t)('0' + v % 10);
        v /= 10;
    }
}

void calendar_write_rfc3339(struct writer *w, int64_t seconds)
{
    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    struct calendar c = calendar_from_seconds(seconds);
    put_digits(w, (unsigned)c.year, 4);
    writer_u8(w, '-');
    put_digits(w, c.month, 2);
    writer_u8(w, '-');
    put_digits(w, c.day, 2);
    writer_u8(w, 'T');
    put_digits(w, c.hour, 2);
    writer_u8(w, ':');
    put_digits(w, c.minute, 2);
    writer_u8(w, ':');
    put_digits(w, c.second, 2);
    writer_u8(w, 'Z');
}

void calendar_write_http(struct writer *w, int64_t seconds)
{
    static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    struct calendar c = calendar_from_seconds(seconds);
    int64_t week = 7 * 86400;
    int64_t into_week = (seconds % week + week) % week; /* 1970 began on a Thursday */
    writer_text(w, days[into_week / 86400]);
    writer_text(w, ", ");
    put_digits(w, c.day, 2);
    writer_u8(w, ' ');
    writer_text(w, months[c.month - 1]);
    writer_u8(w, ' ');
    put_digits(w, (unsigned)c.year, 4);
    writer_u8(w, ' ');
    put_digits(w, c.hour, 2);
    writer_u8(w, ':');
    put_digits(w, c.minute, 2);
    writer_u8(w, ':');
    put_digits(w, c.second, 2);
    writer_text(w, " GMT");
}

static unsigned take_digits(struct reader *r, size_t n)
{
    struct slice digits = reader_take(r, n);
    unsigned v = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            reader_fail(r, ERR_SYNTAX);
        v = v * 10 + (digits.data[i] - (unsigned)'0');
    }
    return v;
}

enum err calendar_read_rfc3339(struct slice text, int64_t *ret_seconds)
{
    struct reader r = reader_over(text);
    struct calendar c;
    c.year = (int)take_digits(&r, 4);
    reader_expect(&r, SLICE_LITERAL("-"));
    c.month = take_digits(&r, 2);
    reader_expect(&r, SLICE_LITERAL("-"));
    c.day = take_digits(&r, 2);
    reader_expect(&r, SLICE_LITERAL("T"));
    c.hour = take_digits(&r, 2);
    reader_expect(&r, SLICE_LITERAL(":"));
    c.minute = take_digits(&r, 2);
    reader_expect(&r, SLICE_LITERAL(":"));
    c.second = take_digits(&r, 2);
    reader_expect(&r, SLICE_LITERAL("Z"));
    enum err err = reader_finish(&r);
    return err != ERR_NONE ? err : calendar_to_seconds(&c, ret_seconds);
}
