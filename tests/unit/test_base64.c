#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base64.h"

static void agrees_with_rfc_4648(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *text;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xef\xbe", "/+++"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice plain = slice_of_text(cases[i].plain);
        struct slice text = slice_of_text(cases[i].text);
        uint8_t buffer[16];
        struct writer w = writer_over(buffer, sizeof buffer);
        base64_write(&w, plain);
        assert_int_equal(w.err, ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), text));
        assert_int_equal(BASE64_SIZE(plain.len), text.len);
        size_t len = 99;
        assert_int_equal(base64_read(text, buffer, sizeof buffer, &len), ERR_NONE);
        assert_true(slice_equal(slice_of(buffer, len), plain));
        /* exactly enough room, and one byte less */
        assert_int_equal(base64_read(text, buffer, plain.len, &len), ERR_NONE);
        if (plain.len > 0)
            assert_int_equal(base64_read(text, buffer, plain.len - 1, &len), ERR_LIMIT);
    }
}

static void refuses_what_is_not_canonical(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "Z",        "Zg",   "Zg=",   "Zg===",      "Zg==Zg==", "Zg==\n", "=",    "====",
        "Zh==",     "Zm9=", "Z===",  "Zm9v\nYmFy", " Zm9v",    "Zm9v=",  "Zm9-", "Zm9_",
        "Zm9v\x80", "Zm=v", "Zg==x", "Zm9vY",      "Zm9vYm",   "Z g==",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[16];
        size_t len = 99;
        if (base64_read(slice_of_text(cases[i]), buffer, sizeof buffer, &len) != ERR_SYNTAX)
            fail_msg("taken: %s", cases[i]);
        assert_int_equal(len, 99);
    }
    uint8_t buffer[16];
    size_t len;
    assert_int_equal(base64_read(slice_of("Zm9v\0", 5), buffer, 16, &len), ERR_SYNTAX);
}

static void skips_blanks_where_wrapped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *plain;
        enum err err;
    } cases[] = {
        {"Zm9v\r\nYmFy\r\n", "foobar", ERR_NONE},
        {"\t Z m\n9 v Y\r\n\r\nmFy", "foobar", ERR_NONE},
        {"Zg=\n=\n", "f", ERR_NONE},
        {" \n", "", ERR_NONE},
        {"Zg=\n", "", ERR_SYNTAX},
        {"Zg==\n=", "", ERR_SYNTAX},
        {"Zm9v\v", "", ERR_SYNTAX},
        {"Z\ng = = Z g = =", "", ERR_SYNTAX},
        {"Z\nh==", "", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[16];
        size_t len = 0;
        assert_int_equal(
            base64_read_wrapped(slice_of_text(cases[i].text), buffer, sizeof buffer, &len),
            cases[i].err);
        assert_true(slice_equal(slice_of(buffer, len), slice_of_text(cases[i].plain)));
    }
    uint8_t buffer[6];
    size_t len;
    assert_int_equal(base64_read_wrapped(SLICE_LITERAL("Zm\n9vYmFy"), buffer, 2, &len), ERR_LIMIT);
    assert_int_equal(base64_read_wrapped(SLICE_LITERAL("Zm\n9vYmFy"), buffer, 5, &len), ERR_LIMIT);
    assert_int_equal(base64_read_wrapped(SLICE_LITERAL("Zm\n9vYmFy"), buffer, 6, &len), ERR_NONE);
}

static void lines_are_64_wide(void **state)
{
    (void)state;
    uint8_t plain[97], text[256], back[97];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 37);
    struct writer w = writer_over(text, sizeof text);
    base64_write_lines(&w, slice_of(plain, sizeof plain));
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(w.len, 65 + 65 + 5);
    assert_int_equal(text[64], '\n');
    assert_int_equal(text[129], '\n');
    assert_int_equal(text[134], '\n');
    size_t len = 0;
    assert_int_equal(base64_read_wrapped(writer_bytes(&w), back, sizeof back, &len), ERR_NONE);
    assert_int_equal(len, sizeof plain);
    assert_memory_equal(back, plain, sizeof plain);
    w = writer_over(text, 134);
    base64_write_lines(&w, slice_of(plain, sizeof plain));
    assert_int_equal(w.err, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_rfc_4648),
        cmocka_unit_test(refuses_what_is_not_canonical),
        cmocka_unit_test(skips_blanks_where_wrapped),
        cmocka_unit_test(lines_are_64_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
