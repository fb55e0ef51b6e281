#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mosquitto.h>
#include <stdio.h>
#include <string.h>

#include "core/topic.h"

#define VARIABLE(n) ((char)(TOPIC_VARIABLE + (n)))

static char long_text[TOPIC_MAX + 2];

static struct slice levels_of(size_t n)
{
    static char text[2 * TOPIC_LEVELS_MAX + 2];
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = 'a';
        text[2 * i + 1] = '/';
    }
    return slice_of(text, 2 * n - 1);
}

static void test_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err name, filter;
    } cases[] = {
        {"", ERR_SYNTAX, ERR_SYNTAX},
        {"a", ERR_NONE, ERR_NONE},
        {"/", ERR_NONE, ERR_NONE},
        {"a//b", ERR_NONE, ERR_NONE},
        {"$SYS/broker", ERR_NONE, ERR_NONE},
        {"gr\xc3\xbc\xc3\x9f/\xf0\x9f\x8c\xa1", ERR_NONE, ERR_NONE},
        {"+", ERR_SYNTAX, ERR_NONE},
        {"#", ERR_SYNTAX, ERR_NONE},
        {"a/+/b", ERR_SYNTAX, ERR_NONE},
        {"+/+/#", ERR_SYNTAX, ERR_NONE},
        {"/#", ERR_SYNTAX, ERR_NONE},
        {"a+", ERR_SYNTAX, ERR_SYNTAX},
        {"+a", ERR_SYNTAX, ERR_SYNTAX},
        {"a/b+/c", ERR_SYNTAX, ERR_SYNTAX},
        {"++", ERR_SYNTAX, ERR_SYNTAX},
        {"a#", ERR_SYNTAX, ERR_SYNTAX},
        {"#/a", ERR_SYNTAX, ERR_SYNTAX},
        {"a/#/", ERR_SYNTAX, ERR_SYNTAX},
        {"##", ERR_SYNTAX, ERR_SYNTAX},
        {"a\x80", ERR_SYNTAX, ERR_SYNTAX},
        {"a\xc3", ERR_SYNTAX, ERR_SYNTAX},         /* cut off */
        {"a\xc0\xaf", ERR_SYNTAX, ERR_SYNTAX},     /* an overlong slash */
        {"a\xed\xa0\x80", ERR_SYNTAX, ERR_SYNTAX}, /* a surrogate */
        {"a\xf8", ERR_SYNTAX, ERR_SYNTAX},         /* a pattern's variable */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice text = slice_of_text(cases[i].text);
        assert_int_equal(topic_name_check(text), cases[i].name);
        assert_int_equal(topic_filter_check(text), cases[i].filter);
    }
    assert_int_equal(topic_name_check(slice_of("a\0b", 3)), ERR_SYNTAX);
    assert_int_equal(topic_filter_check(slice_of("a\0b", 3)), ERR_SYNTAX);
}

static void test_limits(void **state)
{
    (void)state;
    memset(long_text, 'x', sizeof long_text);
    assert_int_equal(topic_name_check(slice_of(long_text, TOPIC_MAX)), ERR_NONE);
    assert_int_equal(topic_name_check(slice_of(long_text, TOPIC_MAX + 1)), ERR_LIMIT);
    assert_int_equal(topic_filter_check(slice_of(long_text, TOPIC_MAX + 1)), ERR_LIMIT);
    assert_int_equal(topic_name_check(levels_of(TOPIC_LEVELS_MAX)), ERR_NONE);
    assert_int_equal(topic_name_check(levels_of(TOPIC_LEVELS_MAX + 1)), ERR_LIMIT);
    assert_int_equal(topic_filter_check(levels_of(TOPIC_LEVELS_MAX + 1)), ERR_LIMIT);
}

static void test_covers(void **state)
{
    (void)state;
    static const struct {
        const char *allowed, *asked;
        bool covers;
    } cases[] = {
        {"a/b", "a/b", true},      {"a/b", "a/bc", false},   {"a/bc", "a/b", false},
        {"a/+", "a/b", true},      {"a/+", "a/", true},      {"a/+", "a", false},
        {"a/+", "a/b/c", false},   {"a/+", "a/+", true},     {"a/+", "a/#", false},
        {"a/b", "a/+", false},     {"a/#", "a", true},       {"a/#", "a/", true},
        {"a/#", "a/b/c", true},    {"a/#", "a/+/c", true},   {"a/#", "a/#", true},
        {"a/#", "ab", false},      {"a/#", "#", false},      {"a/#", "+", false},
        {"+/#", "a", true},        {"+/#", "#", true},      /* no name has fewer levels than one */
        {"+/+/#", "#", false},     {"/+/#", "/#", true},    /* nor is one empty */
        {"/#", "/#", true},        {"a/+/#", "a/#", false}, /* which matches "a" */
        {"#", "+/+", true},        {"#", "$SYS/a", false},   {"#", "$SYS/#", false},
        {"+/a", "$SYS/a", false},  {"$SYS/#", "$SYS", true}, {"$SYS/+", "$SYS/a", true},
        {"$SYS/#", "#", false},    {"a/+", "a/$SYS", true}, /* only the first level's dollar is
                                                               special */
        {"a/#", "a/$SYS/#", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice allowed = slice_of_text(cases[i].allowed);
        struct slice asked = slice_of_text(cases[i].asked);
        bool covers = topic_filter_covers(allowed, asked);
        if (covers != cases[i].covers)
            print_error("%s %s\n", cases[i].allowed, cases[i].asked);
        assert_int_equal(covers, cases[i].covers);
    }
}

/* ---- all names and filters of a few levels ---- */

#define LEVELS_MAX  3
#define NAMES_MAX   1400
#define FILTERS_MAX 400

/* "b" stands for all that no filter names. */
static const char *const name_levels[] = {"", "a", "b", "$"};
static const char *const filter_levels[] = {"", "a", "$", "+"};

static char names[NAMES_MAX][32];
static size_t names_len;
static char filters[FILTERS_MAX][32];
static size_t filters_len;
static uint8_t matched[FILTERS_MAX][NAMES_MAX];

/* The n-th text of so many levels, each one of four, and `last` after them. */
static void make_text(char to[32], const char *const levels[4], size_t count, size_t n,
                      const char *last)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++, n /= 4)
        len += (size_t)snprintf(to + len, 32 - len, "%s%s", i > 0 ? "/" : "", levels[n % 4]);
    (void)snprintf(to + len, 32 - len, "%s", last);
}

static void make_all(void)
{
    for (size_t count = 1, all = 4; count <= LEVELS_MAX + 2; count++, all *= 4) {
        for (size_t n = 0; n < all; n++) {
            make_text(names[names_len], name_levels, count, n, "");
            names_len += names[names_len][0] != '\0';
            if (count > LEVELS_MAX)
                continue;
            make_text(filters[filters_len], filter_levels, count, n, "");
            filters_len += filters[filters_len][0] != '\0';
            make_text(filters[filters_len++], filter_levels, count, n, "/#");
        }
    }
    make_text(filters[filters_len++], filter_levels, 0, 0, "#");
    assert_true(names_len <= NAMES_MAX && filters_len <= FILTERS_MAX);
}

/* The text's next level, which ends where the result points; NULL in *next after the last. */
static size_t split(const char *text, const char **next)
{
    size_t len = strcspn(text, "/");
    *next = text[len] == '/' ? text + len + 1 : NULL;
    return len;
}

/* Section 4.7 in the plainest words, level after level. */
static bool plainly_matches(const char *filter, const char *name, bool is_first)
{
    if (filter == NULL || name == NULL)
        return (filter == NULL || strcmp(filter, "#") == 0) && name == NULL;
    const char *filter_next = NULL, *name_next = NULL;
    size_t filter_len = split(filter, &filter_next), name_len = split(name, &name_next);
    bool is_wildcard = filter[0] == '+' || filter[0] == '#';
    if (is_wildcard && is_first && name[0] == '$')
        return false;
    if (filter[0] == '#')
        return true;
    if (!is_wildcard && (filter_len != name_len || memcmp(filter, name, name_len) != 0))
        return false;
    return plainly_matches(filter_next, name_next, false);
}

static void test_matches_all_that_it_should(void **state)
{
    (void)state;
    make_all();
    for (size_t f = 0; f < filters_len; f++) {
        struct slice filter = slice_of_text(filters[f]);
        assert_int_equal(topic_filter_check(filter), ERR_NONE);
        for (size_t n = 0; n < names_len; n++) {
            assert_int_equal(topic_name_check(slice_of_text(names[n])), ERR_NONE);
            matched[f][n] = plainly_matches(filters[f], names[n], true);
            if (topic_matches(filter, slice_of_text(names[n])) != (matched[f][n] != 0))
                fail_msg("%s %s", filters[f], names[n]);
        }
    }
}

static void test_covers_exactly(void **state)
{
    (void)state;
    size_t covered = 0;
    for (size_t a = 0; a < filters_len; a++) {
        for (size_t b = 0; b < filters_len; b++) {
            bool all = true;
            for (size_t n = 0; n < names_len && all; n++)
                all = matched[a][n] >= matched[b][n];
            if (topic_filter_covers(slice_of_text(filters[a]), slice_of_text(filters[b])) != all)
                fail_msg("%s %s", filters[a], filters[b]);
            covered += all;
        }
    }
    assert_true(covered > filters_len && covered < filters_len * filters_len / 2);
}

/* The broker's own matcher says the same. */
static void test_as_mosquitto(void **state)
{
    (void)state;
    for (size_t f = 0; f < filters_len; f++) {
        for (size_t n = 0; n < names_len; n++) {
            bool theirs = false;
            assert_int_equal(mosquitto_topic_matches_sub(filters[f], names[n], &theirs),
                             MOSQ_ERR_SUCCESS);
            if (theirs != (matched[f][n] != 0))
                fail_msg("%s %s: mosquitto says %d", filters[f], names[n], theirs);
        }
    }
}

/* ---- patterns ---- */

static void test_pattern_form(void **state)
{
    (void)state;
    const struct {
        char text[16];
        enum err err;
        unsigned variables;
    } cases[] = {
        {{'a', '/', VARIABLE(1), '/', '#'}, ERR_NONE, 1 << 1},
        {{VARIABLE(0), '/', VARIABLE(3)}, ERR_NONE, 1 << 0 | 1 << 3},
        {{'d', '-', VARIABLE(1), '.', 'x'}, ERR_NONE, 1 << 1},
        {{VARIABLE(1), '/', VARIABLE(1)}, ERR_NONE, 1 << 1},
        {{'a', '/', '+'}, ERR_NONE, 0},
        {{VARIABLE(1), VARIABLE(2)}, ERR_SYNTAX, 0},
        {{VARIABLE(1), '-', VARIABLE(1)}, ERR_SYNTAX, 0},
        {{VARIABLE(4)}, ERR_SYNTAX, 0},
        {{VARIABLE(-1)}, ERR_SYNTAX, 0},
        {{VARIABLE(1), '+'}, ERR_SYNTAX, 0},
        {{'+', VARIABLE(1)}, ERR_SYNTAX, 0},
        {{VARIABLE(1), '#'}, ERR_SYNTAX, 0},
        {{'\xc3', VARIABLE(1)}, ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned variables = 99;
        assert_int_equal(topic_pattern_check(slice_of_text(cases[i].text), &variables),
                         cases[i].err);
        assert_int_equal(variables, cases[i].err == ERR_NONE ? cases[i].variables : 99);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool ok;
    } cases[] = {
        {"a", true},    {"a-1.b:c", true}, {"a$", true}, {"", false},  {"$SYS", false},
        {"a/b", false}, {"/", false},      {"+", false}, {"#", false}, {"a+", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(topic_value_ok(slice_of_text(cases[i].value)), cases[i].ok);
    assert_false(topic_value_ok(slice_of("a\0", 2)));
}

/* A pattern says what the filter says that has the values in their places. */
static void test_pattern_covers(void **state)
{
    (void)state;
    const char patterns[][16] = {
        {'a', '/', VARIABLE(1)},
        {'a', '/', VARIABLE(1), '/', '#'},
        {VARIABLE(1)},
        {'a', '-', VARIABLE(1), '-', 'b', '/', '+'},
        {'x', VARIABLE(1), '/', '#'},
        {VARIABLE(0), '/', VARIABLE(1), '/', '+', '/', '#'},
    };
    static const char *const values[] = {"d", "dd", "a", "b-"};
    static const char *const asked[] = {
        "a/d",     "a/dd",    "a/ddd", "a",   "a/",      "a/d/x", "a/+",      "a/#",     "d",
        "dd",      "+",       "#",     "a/a", "a-d-b/c", "a-d-b", "a-dd-b/+", "a-d-b/#", "xd",
        "xd/e/#",  "xdd/+",   "x/d",   "xb-", "t/d",     "t/d/e", "t/+/e",    "t/dd/e",  "t/#",
        "a-b--b/", "t/d/+/#", "t/d/#", "/d",  "$d",      "a/b-",  "a/b-/$/#",
    };
    for (size_t p = 0; p < ARRAY_LEN(patterns); p++) {
        for (size_t v = 0; v < ARRAY_LEN(values); v++) {
            const struct slice put[TOPIC_VARIABLES_MAX] = {SLICE_LITERAL("t"),
                                                           slice_of_text(values[v])};
            char filter[64] = "";
            size_t len = 0;
            for (const char *c = patterns[p]; *c != '\0'; c++) {
                unsigned n = (uint8_t)*c - TOPIC_VARIABLE;
                struct slice part = n < 2 ? put[n] : slice_of(c, 1);
                memcpy(filter + len, part.data, part.len);
                len += part.len;
            }
            for (size_t a = 0; a < ARRAY_LEN(asked); a++) {
                struct slice one = slice_of_text(asked[a]);
                assert_int_equal(topic_pattern_covers(slice_of_text(patterns[p]), put, one),
                                 topic_filter_covers(slice_of(filter, len), one));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),           cmocka_unit_test(test_limits),
        cmocka_unit_test(test_covers),         cmocka_unit_test(test_matches_all_that_it_should),
        cmocka_unit_test(test_covers_exactly), cmocka_unit_test(test_as_mosquitto),
        cmocka_unit_test(test_pattern_form),   cmocka_unit_test(test_values),
        cmocka_unit_test(test_pattern_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
