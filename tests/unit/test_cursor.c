#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/cursor.h"

static void reads_integers_and_slices(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'a', 'b'};
    struct reader r = reader_over(slice_of(bytes, sizeof bytes));
    assert_int_equal(reader_peek(&r), 1);
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_be16(&r), 0x0203);
    assert_int_equal(reader_be32(&r), 0x04050607);
    assert_true(reader_be64(&r) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_int_equal(reader_left(&r), 2);
    assert_int_equal(reader_finish(&r), ERR_SYNTAX);
    reader_expect(&r, SLICE_LITERAL("a"));
    struct slice rest = reader_rest(&r);
    assert_ptr_equal(rest.data, bytes + 16);
    assert_int_equal(rest.len, 1);
    assert_int_equal(reader_peek(&r), -1);
    assert_int_equal(reader_finish(&r), ERR_NONE);
}

static void first_error_sticks(void **state)
{
    (void)state;
    struct reader r = reader_over(SLICE_LITERAL("ab"));
    assert_int_equal(reader_be32(&r), 0);
    assert_int_equal(r.err, ERR_SYNTAX);
    reader_fail(&r, ERR_LIMIT);
    assert_int_equal(reader_finish(&r), ERR_SYNTAX);
    assert_int_equal(reader_left(&r), 0);
    assert_int_equal(reader_peek(&r), -1);
    assert_int_equal(reader_u8(&r), 0);
    assert_null(reader_take(&r, 1).data);
    assert_null(reader_until(&r, 'b').data);
    assert_true(reader_decimal(&r, 9) == 0);

    uint8_t buffer[4];
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_be32(&w, 0x01020304);
    assert_int_equal(w.err, ERR_NONE);
    writer_u8(&w, 5);
    assert_int_equal(w.err, ERR_LIMIT);
    writer_fail(&w, ERR_SYNTAX);
    assert_int_equal(w.err, ERR_LIMIT);
    assert_null(writer_reserve(&w, 0));
    assert_int_equal(w.len, 4);
}

static void nothing_is_readable_in_an_empty_slice(void **state)
{
    (void)state;
    struct reader r = reader_over(slice_of(NULL, 0));
    assert_int_equal(reader_finish(&r), ERR_NONE);
    assert_int_equal(reader_take(&r, 0).len, 0);
    assert_int_equal(reader_finish(&r), ERR_NONE);
    (void)reader_u8(&r);
    assert_int_equal(r.err, ERR_SYNTAX);
}

static void expects_and_splits(void **state)
{
    (void)state;
    struct reader r = reader_over(SLICE_LITERAL("one two"));
    assert_true(slice_equal(reader_until(&r, ' '), SLICE_LITERAL("one")));
    assert_int_equal(reader_left(&r), 3);
    reader_expect(&r, SLICE_LITERAL("twx"));
    assert_int_equal(r.err, ERR_SYNTAX);
    r = reader_over(SLICE_LITERAL("one"));
    assert_null(reader_until(&r, ' ').data);
    assert_int_equal(r.err, ERR_SYNTAX);
}

static void reads_decimals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max, v;
        enum err err;
    } cases[] = {
        {"0", 0, 0, ERR_NONE},
        {"7", 6, 0, ERR_LIMIT},
        {"10", 9, 0, ERR_LIMIT},
        {"10", 10, 10, ERR_NONE},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, ERR_NONE},
        {"18446744073709551616", UINT64_MAX, 0, ERR_LIMIT},
        {"99999999999999999999", UINT64_MAX, 0, ERR_LIMIT},
        {"", 9, 0, ERR_SYNTAX},
        {"-1", 9, 0, ERR_SYNTAX},
        {"+1", 9, 0, ERR_SYNTAX},
        {"00", 9, 0, ERR_SYNTAX},
        {"01", 9, 0, ERR_SYNTAX},
        {"1x", 9, 1, ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader r = reader_over(slice_of_text(cases[i].text));
        assert_true(reader_decimal(&r, cases[i].max) == cases[i].v);
        assert_int_equal(reader_finish(&r), cases[i].err);
    }
}

static void writes_all_forms(void **state)
{
    (void)state;
    uint8_t buffer[64];
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_u8(&w, 'a');
    writer_be16(&w, 0x6263);
    writer_be64(&w, UINT64_C(0x6465666768696a6b));
    writer_put(&w, slice_of(NULL, 0));
    writer_decimal(&w, 0);
    writer_decimal(&w, UINT64_MAX);
    writer_hex(&w, SLICE_LITERAL("\x00\xaf"));
    writer_text(&w, "!");
    assert_int_equal(w.err, ERR_NONE);
    assert_true(
        slice_equal(writer_bytes(&w), SLICE_LITERAL("abcdefghijk01844674407370955161500af!")));
}

static void compares_and_wipes(void **state)
{
    (void)state;
    uint8_t secret[] = {1, 2, 3};
    assert_true(mem_equal_constant_time(secret, "\x01\x02\x03", 3));
    assert_false(mem_equal_constant_time(secret, "\x01\x02\x04", 3));
    assert_true(mem_equal_constant_time(secret, "", 0));
    mem_wipe(secret, sizeof secret);
    assert_memory_equal(secret, "\0\0\0", 3);
    mem_wipe(NULL, 0);
    for (int err = 0; err < ERR_COUNT; err++)
        assert_non_null(err_text((enum err)err));
    assert_string_equal(err_text(ERR_COUNT), "unknown error");
    assert_string_equal(err_text(ERR_LIMIT), "over the limit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_integers_and_slices),
        cmocka_unit_test(first_error_sticks),
        cmocka_unit_test(nothing_is_readable_in_an_empty_slice),
        cmocka_unit_test(expects_and_splits),
        cmocka_unit_test(reads_decimals),
        cmocka_unit_test(writes_all_forms),
        cmocka_unit_test(compares_and_wipes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
