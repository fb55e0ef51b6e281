#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/seen.h"

#define MANY 20000 /* grows the table and its bytes several times */

static struct slice key_of(uint64_t i, char text[32])
{
    (void)snprintf(text, 32, "serial-%llu", (unsigned long long)i);
    return slice_of_text(text);
}

static void knows_what_it_has_seen(void **state)
{
    (void)state;
    struct seen *s = NULL;
    char text[32];
    uint64_t value = 0;
    assert_int_equal(seen_new(&s), ERR_NONE);
    for (uint64_t i = 0; i < MANY; i++)
        assert_int_equal(seen_add(s, key_of(i, text), i * 3, &value), ERR_NONE);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(seen_find(s, key_of(i, text), &value), ERR_NONE);
        assert_int_equal(value, i * 3);
        value = 1;
        assert_int_equal(seen_add(s, key_of(i, text), 7, &value), ERR_EXISTS);
        assert_int_equal(value, i * 3); /* the first stays */
    }
    value = 42;
    assert_int_equal(seen_find(s, key_of(MANY, text), &value), ERR_NOT_FOUND);
    assert_int_equal(value, 42);
    seen_free(s);
    seen_free(NULL);
}

static void takes_keys_of_any_bytes(void **state)
{
    (void)state;
    struct seen *s = NULL;
    uint8_t key[SEEN_KEY_MAX + 1] = {0};
    uint64_t value = 0;
    assert_int_equal(seen_new(&s), ERR_NONE);
    /* each is another one than those before it, which are its beginnings */
    for (size_t len = 0; len <= SEEN_KEY_MAX; len++)
        assert_int_equal(seen_add(s, slice_of(key, len), len, &value), ERR_NONE);
    for (size_t len = 0; len <= SEEN_KEY_MAX; len++) {
        assert_int_equal(seen_find(s, slice_of(key, len), &value), ERR_NONE);
        assert_int_equal(value, len);
    }
    assert_int_equal(seen_add(s, slice_of(key, sizeof key), 0, &value), ERR_LIMIT);
    seen_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_it_has_seen),
        cmocka_unit_test(takes_keys_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
