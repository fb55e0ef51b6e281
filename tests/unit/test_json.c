#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static void takes_objects(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        " {\"a\":1}\n",
        "{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
        "{\"a\":\"[[[[[[[[[[{{{{\\\"[[[[\"}",
        "{\"a\":[[[[[[[1]]]]]]]}",
        "{\"\\u00e4\":\"\xC3\xA4\xF0\x9F\x94\x91\"}",
        "{\"a\":-9223372036854775808,\"b\":9223372036854775807,\"c\":1.5e3}",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        CLEANUP(json_cleanup) json_t *j = NULL;
        struct problem p = {0};
        assert_int_equal(json_read_object(slice_of_text(good[i]), &j, &p), ERR_NONE);
        assert_true(json_is_object(j));
        assert_int_equal(p.status, 0);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        enum err err;
        const char *code;
        const char *in_detail;
    } cases[] = {
#define CASE(text, err, code, detail) {SLICE_LITERAL(text), err, code, detail}
        CASE("", ERR_SYNTAX, "json-malformed", "line 1, column 0"),
        CASE("nonsense", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("[]", ERR_SYNTAX, "json-not-object", "must be a JSON object"),
        CASE("1", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{} {}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{}x", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{}\0", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("\xEF\xBB\xBF{}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":1,\n \"a\":2}", ERR_SYNTAX, "json-duplicate-key", "line 2"),
        CASE("{\"a\":1,\"\\u0061\":2}", ERR_SYNTAX, "json-duplicate-key", "line 1"),
        CASE("{\"a\":1,}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{'a':1}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":01}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":NaN}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":1e999}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":9223372036854775808}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":\"\xC0\x80\"}", ERR_SYNTAX, "json-malformed", "decode byte"),
        CASE("{\"a\":\"\xED\xA0\x80\"}", ERR_SYNTAX, "json-malformed", "decode byte"),
        CASE("{\"a\":\"\\ud800\"}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":\"\\u0000\"}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":\"\0\"}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":\"\n\"}", ERR_SYNTAX, "json-malformed", "line 1"),
        CASE("{\"a\":[[[[[[[[1]]]]]]]]}", ERR_LIMIT, "json-too-deep", "line 1, column 13"),
        CASE("{\n\"a\":[[[[[[[\n [", ERR_LIMIT, "json-too-deep", "line 3, column 2"),
        CASE("{\"a\":\"\\\\\",\"b\":[[[[[[[[", ERR_LIMIT, "json-too-deep", "line 1"),
        CASE("{\"a\":\"\\", ERR_SYNTAX, "json-malformed", "line 1"),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *j = NULL;
        struct problem p = {0};
        assert_int_equal(json_read_object(cases[i].text, &j, &p), cases[i].err);
        assert_null(j);
        assert_in_range(p.status, 400, 499);
        assert_string_equal(p.code, cases[i].code);
        if (strstr(p.detail, cases[i].in_detail) == NULL)
            fail_msg("case %zu: '%s' is not in '%s'", i, cases[i].in_detail, p.detail);
    }
}

static void depth_costs_no_stack(void **state)
{
    (void)state;
    size_t n = 1 << 20;
    char *text = malloc(n);
    memset(text, '[', n);
    json_t *j = NULL;
    struct problem p = {0};
    assert_int_equal(json_read_object(slice_of(text, n), &j, &p), ERR_LIMIT);
    free(text);
}

static void does_not_repeat_secrets(void **state)
{
    (void)state;
    json_t *j = NULL;
    struct problem p = {0};
    assert_int_equal(json_read_object(SLICE_LITERAL("{\"claim\":\"k3w1hq\" oops}"), &j, &p),
                     ERR_SYNTAX);
    assert_null(strstr(p.detail, "k3w1hq"));
    assert_null(strstr(p.detail, "oops"));
}

static long left;

static void *failing_malloc(size_t n)
{
    return left-- > 0 ? malloc(n) : NULL;
}

static void survives_every_failing_allocation(void **state)
{
    (void)state;
    struct slice text = SLICE_LITERAL("{\"serial\":\"A-17\",\"rows\":[{\"n\":1},{\"n\":2.5}],"
                                      "\"c\":{\"d\":true},\"e\":null,\"f\":\"\\u00e4\",\"g\":7}");
    long n = 0;
    enum err err = ERR_NO_MEMORY;
    for (; err != ERR_NONE; n++) {
        json_t *j = NULL;
        struct problem p = {0};
        left = n;
        json_set_alloc_funcs(failing_malloc, free);
        err = json_read_object(text, &j, &p);
        json_set_alloc_funcs(malloc, free);
        if (err != ERR_NONE) {
            assert_null(j);
            assert_in_range(p.status, 400, 599);
            assert_in_range(n, 0, 500);
        }
        json_decref(j);
    }
    assert_in_range(n, 10, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_objects),
        cmocka_unit_test(refuses),
        cmocka_unit_test(depth_costs_no_stack),
        cmocka_unit_test(does_not_repeat_secrets),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
