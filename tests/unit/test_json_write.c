#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/json_write.h"

static void writes_every_kind(void **state)
{
    (void)state;
    uint8_t buffer[512];
    struct writer w = writer_over(buffer, sizeof buffer);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "text", "a\"b");
    json_field_slice(&j, "slice", SLICE_LITERAL("x\0y"));
    json_field_integer(&j, "min", INT64_MIN);
    json_field_integer(&j, "max", INT64_MAX);
    json_field_bool(&j, "yes", true);
    json_field_bool(&j, "no", false);
    json_field_hex(&j, "hex", SLICE_LITERAL("\xde\xad"));
    json_field_time(&j, "time", 1795407698);
    json_key(&j, "empty");
    json_open_array(&j);
    json_close_array(&j);
    json_key(&j, "list");
    json_open_array(&j);
    json_none(&j);
    json_number(&j, -1);
    json_open_object(&j);
    json_close_object(&j);
    json_raw(&j, SLICE_LITERAL("[1]"));
    json_open_array(&j);
    json_hex(&j, slice_of(NULL, 0));
    json_slice(&j, slice_of(NULL, 0));
    json_close_array(&j);
    json_time(&j, 0);
    json_bool(&j, true);
    json_close_array(&j);
    json_close_object(&j);
    assert_int_equal(w.err, ERR_NONE);
    writer_u8(&w, 0);
    assert_string_equal((char *)buffer,
                        "{\"text\":\"a\\\"b\",\"slice\":\"x\\u0000y\",\"min\":-9223372036854775808,"
                        "\"max\":9223372036854775807,\"yes\":true,\"no\":false,\"hex\":\"dead\","
                        "\"time\":\"2026-11-23T04:21:38Z\",\"empty\":[],\"list\":[null,-1,{},[1],"
                        "[\"\",\"\"],\"1970-01-01T00:00:00Z\",true]}");
}

static void escapes_and_repairs_text(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "\"plain\""},
        {"\"\\/", "\"\\\"\\\\/\""},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92\""},
        {"a\xff"
         "b",
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
        {"\xe0\x9f\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* overlong */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
        {"\xf0\x8f\xbf\xbf", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* overlong */
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* too high */
        {"\xf4\x8f\xbf\xbf\xed\x9f\xbf", "\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\""},
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""}, /* cut off */
        {"\xe2\x82\"", "\"\xef\xbf\xbd\xef\xbf\xbd\\\"\""},
        {"\x80", "\"\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[64];
        struct writer w = writer_over(buffer, sizeof buffer);
        struct json_writer j = json_writer_over(&w);
        json_text(&j, cases[i].in);
        writer_u8(&w, 0);
        assert_int_equal(w.err, ERR_NONE);
        assert_string_equal((char *)buffer, cases[i].out);
    }
}

/* Letters stand for calls: { } [ ] are brackets, k a key, v a value. */
static enum err run(const char *calls)
{
    uint8_t buffer[256];
    struct writer w = writer_over(buffer, sizeof buffer);
    struct json_writer j = json_writer_over(&w);
    for (; *calls != '\0'; calls++) {
        switch (*calls) {
        case '{':
            json_open_object(&j);
            break;
        case '}':
            json_close_object(&j);
            break;
        case '[':
            json_open_array(&j);
            break;
        case ']':
            json_close_array(&j);
            break;
        case 'k':
            json_key(&j, "k");
            break;
        default:
            json_none(&j);
            break;
        }
    }
    return w.err;
}

static void calls_out_of_order_fail(void **state)
{
    (void)state;
    static const struct {
        const char *calls;
        enum err err;
    } cases[] = {
        {"{kvk[vv{}]}", ERR_NONE},
        {"v", ERR_NONE},
        {"[[[[[[[[[[[[[[[[v]]]]]]]]]]]]]]]]", ERR_NONE},
        {"[[[[[[[[[[[[[[[[[", ERR_LIMIT},
        {"vv", ERR_INTERNAL},
        {"{}[]", ERR_INTERNAL},
        {"k", ERR_INTERNAL},
        {"{v", ERR_INTERNAL},
        {"{kvv", ERR_INTERNAL},
        {"{kk", ERR_INTERNAL},
        {"{k}", ERR_INTERNAL},
        {"[k", ERR_INTERNAL},
        {"[}", ERR_INTERNAL},
        {"{]", ERR_INTERNAL},
        {"}", ERR_INTERNAL},
        {"]", ERR_INTERNAL},
        {"{k[]v", ERR_INTERNAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (run(cases[i].calls) != cases[i].err)
            fail_msg("%s", cases[i].calls);
}

static void a_full_buffer_fails(void **state)
{
    (void)state;
    uint8_t buffer[16];
    static const size_t whole = sizeof "{\"key\":\"value\"}" - 1;
    for (size_t max = 0; max <= whole; max++) {
        struct writer w = writer_over(buffer, max);
        struct json_writer j = json_writer_over(&w);
        json_open_object(&j);
        json_field_text(&j, "key", "value");
        json_close_object(&j);
        assert_int_equal(w.err, max == whole ? ERR_NONE : ERR_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_every_kind),
        cmocka_unit_test(escapes_and_repairs_text),
        cmocka_unit_test(calls_out_of_order_fail),
        cmocka_unit_test(a_full_buffer_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
