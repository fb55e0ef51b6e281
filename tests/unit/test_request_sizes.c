/* Requests as large as they may be, and one more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/requests.h"
#include "base/clock.h"

#define ARENA_MAX ((size_t)8 * 1024 * 1024)

/* The largest manifest chunk: as many rows as there may be, and one more. */
static void takes_a_full_chunk(void **state)
{
    (void)state;
    size_t max = (size_t)2 * 1024 * 1024;
    char *body = malloc(max);
    char *pem = malloc(4000);
    memset(pem, 'A', 3999);
    pem[3999] = '\0';
    for (size_t rows = 250; rows <= 251; rows++) {
        size_t len = (size_t)snprintf(body, max, "{\"rows\":[");
        for (size_t i = 0; i < rows; i++)
            len += (size_t)snprintf(body + len, max - len,
                                    "%s{\"serial\":\"thermo-%zu\",\"idevid_pem\":\"%s\"}",
                                    i == 0 ? "" : ",", i, pem);
        len += (size_t)snprintf(body + len, max - len, "]}");
        struct arena *a = arena_new(ARENA_MAX);
        struct problem p = {0};
        struct request_manifest_add_devices add;
        int64_t start = clock_monotonic_us();
        enum err err = request_manifest_add_devices_read(slice_of(body, len), a, &add, &p);
        int64_t us = clock_monotonic_us() - start;
        print_message("%zu rows, %zu bytes: %lld us\n", rows, len, (long long)us);
        if (rows == 250) {
            assert_int_equal(err, ERR_NONE);
            assert_int_equal(add.rows_len, 250);
            assert_string_equal(add.rows[249].serial, "thermo-249");
            assert_string_equal(add.rows[249].idevid_pem, pem);
        } else {
            assert_int_equal(err, ERR_REFUSED);
            assert_string_equal(p.field, "rows");
            assert_string_equal(p.code, "field-size");
        }
        arena_free(a);
    }
    free(pem);
    free(body);
}

static void takes_certificates_up_to_their_limit(void **state)
{
    (void)state;
    for (int n = 4095; n <= 4097; n++) {
        char body[4200];
        int len = snprintf(body, sizeof body,
                           "{\"rows\":[{\"serial\":\"a\",\"idevid_pem\":\"%0*d\"}]}", n, 7);
        assert_in_range(len, n, sizeof body - 1);
        struct arena *a = arena_new(ARENA_MAX);
        struct problem p = {0};
        struct request_manifest_add_devices add;
        enum err err = request_manifest_add_devices_read(slice_of(body, (size_t)len), a, &add, &p);
        assert_int_equal(err, n <= 4096 ? ERR_NONE : ERR_REFUSED);
        if (err == ERR_NONE) {
            assert_int_equal(strlen(add.rows[0].idevid_pem), n);
        } else {
            assert_string_equal(p.code, "field-size");
            assert_string_equal(p.field, "rows[0].idevid_pem");
        }
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_full_chunk),
        cmocka_unit_test(takes_certificates_up_to_their_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
