#include "policy/quantity.h"

struct unit {
    const char *text;
    int64_t worth;
};

#define UNITS_MAX 6
static const struct {
    struct unit units[UNITS_MAX]; /* the largest first; the last always says it exactly */
    const char *example, *pattern;
} kinds[QUANTITY_KINDS] = {
    [QUANTITY_COUNT] = {{{"", 1}}, "a number such as 10", "^(0|[1-9][0-9]*)$"},
    [QUANTITY_DURATION] = {{{"y", 31536000}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}},
                           "a time with its unit, such as 30d, 12h, 15m or 90s",
                           "^(0|[1-9][0-9]*)[smhdy]$"},
    [QUANTITY_SIZE] = {{{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}},
                       "a size with its unit, such as 512B, 64KiB or 1MiB",
                       "^(0|[1-9][0-9]*)(B|KiB|MiB)$"},
    [QUANTITY_RATE] = {{{"/s", 60}, {"/min", 1}},
                       "a rate such as 60/min or 2/s",
                       "^(0|[1-9][0-9]*)/(s|min)$"},
    [QUANTITY_SIZE_RATE] = {{{"MiB/s", 60 << 20},
                             {"MiB/min", 1 << 20},
                             {"KiB/s", 60 << 10},
                             {"KiB/min", 1 << 10},
                             {"B/s", 60},
                             {"B/min", 1}},
                            "a size for a time, such as 1MiB/min or 4KiB/s",
                            "^(0|[1-9][0-9]*)(B|KiB|MiB)/(s|min)$"},
};

enum err quantity_read(struct slice text, enum quantity kind, int64_t *ret_value)
{
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    struct slice unit = slice_of(text.data + digits, text.len - digits);
    const struct unit *u = kinds[kind].units;
    for (size_t i = 0; i < UNITS_MAX && u[i].text != NULL; i++) {
        if (!slice_equal(unit, slice_of_text(u[i].text)))
            continue;
        struct reader r = reader_over(slice_of(text.data, digits));
        int64_t v = (int64_t)reader_decimal(&r, (uint64_t)(INT64_MAX / u[i].worth));
        enum err err = reader_finish(&r);
        if (err == ERR_NONE)
            *ret_value = v * u[i].worth;
        return err;
    }
    return ERR_SYNTAX;
}

void quantity_write(struct writer *w, enum quantity kind, int64_t value)
{
    const struct unit *u = kinds[kind].units;
    size_t i = 0;
    if (value < 0) {
        writer_fail(w, ERR_INTERNAL);
        return;
    }
    /* a rate is said for the minute, as a rule: "120/min", not "2/s" */
    bool by_minute = kind == QUANTITY_RATE || kind == QUANTITY_SIZE_RATE;
    size_t step = by_minute ? 2 : 1;
    if (by_minute)
        i = 1;
    while (i + step < UNITS_MAX && u[i + step].text != NULL &&
           (value == 0 || value % u[i].worth != 0))
        i += step;
    writer_decimal(w, (uint64_t)(value / u[i].worth));
    writer_text(w, u[i].text);
}

const char *quantity_example(enum quantity kind)
{
    return kinds[kind].example;
}

const char *quantity_pattern(enum quantity kind)
{
    return kinds[kind].pattern;
}
