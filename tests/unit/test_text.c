#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "cli/text.h"

#define REPLACED "\xef\xbf\xbd"

/* What text_show() writes to something that is no terminal. */
static size_t show(const char *text, size_t max, char *shown, size_t size)
{
    FILE *to = tmpfile();
    assert_non_null(to);
    size_t columns = text_show(to, text, max, COLOUR_BAD);
    rewind(to);
    size_t n = fread(shown, 1, size - 1, to);
    shown[n] = '\0';
    (void)fclose(to);
    return columns;
}

static void shows_text_without_harm(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"plain", "plain"},
        {"", ""},
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x92", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x92"},
        {"a\x1b[31mb", "a" REPLACED "[31mb"},
        {"a\nb\rc\td\x7f", "a" REPLACED "b" REPLACED "c" REPLACED "d" REPLACED},
        {"\xc2\x9b"
         "31m",
         REPLACED "31m"},                            /* CSI as a C1 control */
        {"\xe2\x80\xaegnp.exe", REPLACED "gnp.exe"}, /* right to left from here */
        {"\xe2\x81\xa6\xe2\x80\xa8\xe2\x80\x8b", REPLACED REPLACED REPLACED},
        {"\xff\xc3(", REPLACED REPLACED "("}, /* not UTF-8 */
        {"\xc0\x9b\xed\xa0\x80", REPLACED REPLACED REPLACED REPLACED REPLACED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char shown[256];
        (void)show(cases[i].text, SIZE_MAX, shown, sizeof shown);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void cuts_at_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t max, columns;
        const char *shown;
    } cases[] = {
        {"abcdef", 6, 6, "abcdef"},
        {"abcdef", 5, 5, "abcd\xe2\x80\xa6"},
        {"abcdef", 1, 1, "\xe2\x80\xa6"},
        {"abcdef", 0, 0, ""},
        {"\xc3\xa4\xc3\xb6\xc3\xbc", 2, 2, "\xc3\xa4\xe2\x80\xa6"},
        {"\xc3\xa4\xc3\xb6\xc3\xbc", 3, 3, "\xc3\xa4\xc3\xb6\xc3\xbc"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char shown[64];
        assert_int_equal(show(cases[i].text, cases[i].max, shown, sizeof shown), cases[i].columns);
        assert_string_equal(shown, cases[i].shown);
    }
    assert_int_equal(text_width("\xc3\xa4\x1b\xff"), 3);
}

/* ---- tables ---- */

static const struct table_column columns[] = {
    {.name = "NAME"}, {.name = "N", .right = true}, {.name = "LAST"}};

static void print(struct table *t, char *printed, size_t size)
{
    FILE *kept = stdout, *to = tmpfile();
    assert_non_null(to);
    stdout = to;
    table_print(t);
    stdout = kept;
    rewind(to);
    size_t n = fread(printed, 1, size - 1, to);
    printed[n] = '\0';
    (void)fclose(to);
}

static void add(struct table *t, const char *const cells[3])
{
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(table_add(t, cells[i], COLOUR_NONE), ERR_NONE);
}

static void aligns_columns(void **state)
{
    (void)state;
    char printed[512];
    struct table t = table_of(columns, ARRAY_LEN(columns));
    add(&t, (const char *const[]){"a", "1", "x"});
    add(&t, (const char *const[]){"\xc3\xa4long one", "1,000", ""});
    print(&t, printed, sizeof printed);
    assert_string_equal(printed, "NAME           N  LAST\n"
                                 "a              1  x\n"
                                 "\xc3\xa4long one  1,000  -\n");
    /* the next page has no heading, and stays in line */
    add(&t, (const char *const[]){NULL, "2", "y\nz"});
    print(&t, printed, sizeof printed);
    assert_string_equal(printed, "-              2  y" REPLACED "z\n");
    print(&t, printed, sizeof printed);
    assert_string_equal(printed, "");
    table_free(&t);
}

static void grows(void **state)
{
    (void)state;
    struct table t = table_of(columns, ARRAY_LEN(columns));
    for (int i = 0; i < 1000; i++)
        add(&t, (const char *const[]){"a", "b", "c"});
    assert_int_equal(t.cells_len, 3000);
    table_free(&t);
}

int main(void)
{
    (void)unsetenv("NO_COLOR");
    (void)setenv("TERM", "xterm", 1); /* and yet no colours: there is no terminal */
    text_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_text_without_harm),
        cmocka_unit_test(cuts_at_characters),
        cmocka_unit_test(aligns_columns),
        cmocka_unit_test(grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
