#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/problem.h"

static void check_json(const struct problem *p, const char *expected)
{
    char bytes[2048];
    struct writer w = writer_over(bytes, sizeof bytes - 1);
    problem_write(&w, p);
    assert_int_equal(w.err, ERR_NONE);
    bytes[w.len] = '\0';
    assert_string_equal(bytes, expected);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    struct problem p = {0};
    assert_int_equal(problem_set(&p, 422, "claim-expired", "rows[3].claim",
                                 "The claim of %s ended; make a new one.", "thermo-1"),
                     ERR_REFUSED);
    assert_int_equal(p.status, 422);
    assert_string_equal(p.code, "claim-expired");
    check_json(&p, "{\"title\":\"Unprocessable Content\",\"status\":422,\"code\":\"claim-expired\","
                   "\"field\":\"rows[3].claim\","
                   "\"detail\":\"The claim of thermo-1 ended; make a new one.\"}");
    /* set again without a field: nothing of the former is left */
    (void)problem_set(&p, 400, "x", NULL, "say \"%s\"", "\n");
    check_json(&p, "{\"title\":\"Bad Request\",\"status\":400,\"code\":\"x\","
                   "\"detail\":\"say \\\"\\n\\\"\"}");
}

static void cuts_between_characters(void **state)
{
    (void)state;
    struct problem p = {0};
    char field[300], detail[900];
    /* characters of two bytes, so that a byte-wise cut would split one */
    for (size_t i = 0; i + 2 < sizeof field; i += 2)
        memcpy(field + i, "\xC3\xA4\0", 3);
    memset(detail, 'd', sizeof detail - 1);
    detail[sizeof detail - 1] = '\0';
    (void)problem_set(&p, 400, "long", field, "%s", detail);
    assert_int_equal(strlen(p.field), 94);
    assert_int_equal(strlen(p.detail), sizeof p.detail - 1);
    assert_memory_equal(p.field + 92, "\xC3\xA4", 3);
}

static void knows_every_error(void **state)
{
    (void)state;
    static const struct {
        enum err err;
        unsigned status;
        const char *code;
    } cases[] = {
        {ERR_SYNTAX, 400, "malformed"},
        {ERR_LIMIT, 413, "too-large"},
        {ERR_REFUSED, 403, "refused"},
        {ERR_NOT_FOUND, 404, "not-found"},
        {ERR_EXISTS, 409, "exists"},
        {ERR_CONFLICT, 409, "conflict"},
        {ERR_BUSY, 503, "busy"},
        {ERR_CLOSED, 503, "closing"},
        {ERR_NO_MEMORY, 503, "no-memory"},
        {ERR_DISK_FULL, 507, "disk-full"},
        {ERR_IO, 500, "internal"},
        {ERR_CRYPTO, 500, "internal"},
        {ERR_INTERNAL, 500, "internal"},
        {ERR_COUNT, 500, "internal"},
        {(enum err)12345, 500, "internal"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct problem p = {0};
        problem_from_err(&p, cases[i].err);
        assert_int_equal(p.status, cases[i].status);
        assert_string_equal(p.code, cases[i].code);
    }
    for (int e = ERR_NONE + 1; e < ERR_COUNT; e++) {
        struct problem p = {0};
        problem_from_err(&p, (enum err)e);
        assert_in_range(p.status, 400, 599);
        assert_true(strlen(p.detail) > 10);
    }
    struct problem p = {.status = 400};
    problem_from_err(&p, ERR_NONE);
    assert_int_equal(p.status, 0);
}

static void does_not_overrun_a_small_buffer(void **state)
{
    (void)state;
    struct problem p = {0};
    problem_from_err(&p, ERR_BUSY);
    for (size_t n = 0; n < 60; n++) {
        uint8_t *bytes = malloc(n + 1);
        struct writer w = writer_over(bytes, n);
        problem_write(&w, &p);
        assert_int_equal(w.err, ERR_LIMIT);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(knows_every_error),
        cmocka_unit_test(does_not_overrun_a_small_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
