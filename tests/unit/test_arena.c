#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdalign.h>

#include "base/arena.h"
#include "tests/unit/failing_malloc.h"

static void gives_aligned_zeroed_memory(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 100, 4096, 8192, 8193, 100000};
    struct arena *a = arena_new(1 << 20);
    assert_non_null(a);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            uint8_t *p = arena_alloc(a, sizes[i]);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(p[k], 0);
            memset(p, 0xA5, sizes[i]); /* what a reset has to hide from the next user */
        }
        arena_reset(a);
    }
    arena_free(a);
    arena_free(NULL);
}

static void pieces_do_not_overlap(void **state)
{
    (void)state;
    uint8_t *pieces[500];
    struct arena *a = arena_new(1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        pieces[i] = arena_alloc(a, i);
        assert_non_null(pieces[i]);
        memset(pieces[i], (int)(i & 0xFF), i);
    }
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal(pieces[i][k], i & 0xFF);
    arena_free(a);
}

static void keeps_its_limit(void **state)
{
    (void)state;
    struct arena *a = arena_new(100);
    assert_null(arena_alloc(a, 101));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 7));
    assert_non_null(arena_alloc(a, 100));
    assert_null(arena_alloc(a, 1));
    arena_reset(a);
    assert_non_null(arena_alloc(a, 60));
    assert_null(arena_alloc(a, 60));
    arena_free(a);

    /* many small ones are counted, too */
    a = arena_new(10000);
    size_t n = 0;
    while (n < 10000 && arena_alloc(a, 1) != NULL)
        n++;
    assert_in_range(n, 500, 9999);
    arena_free(a);
}

static void copies(void **state)
{
    (void)state;
    struct arena *a = arena_new(1000);
    char source[] = "thermo-1";
    struct slice copy = {NULL, 0};
    char *text = arena_text(a, slice_of(source, 6));
    assert_int_equal(arena_copy(a, slice_of(source, 8), &copy), ERR_NONE);
    memset(source, 'x', 8);
    assert_string_equal(text, "thermo");
    assert_true(slice_equal(copy, SLICE_LITERAL("thermo-1")));
    assert_string_equal(arena_text(a, slice_of(NULL, 0)), "");
    assert_int_equal(arena_copy(a, slice_of(NULL, 0), &copy), ERR_NONE);
    assert_int_equal(copy.len, 0);

    static const uint8_t large[2000];
    copy = SLICE_LITERAL("as before");
    assert_int_equal(arena_copy(a, slice_of(large, sizeof large), &copy), ERR_NO_MEMORY);
    assert_true(slice_equal(copy, SLICE_LITERAL("as before")));
    assert_null(arena_text(a, slice_of(large, SIZE_MAX)));
    arena_free(a);
}

static void writes(void **state)
{
    (void)state;
    struct arena *a = arena_new(100);
    struct writer w = arena_writer(a, 8);
    writer_text(&w, "12345678");
    assert_int_equal(w.err, ERR_NONE);
    writer_u8(&w, '9');
    assert_int_equal(w.err, ERR_LIMIT);
    w = arena_writer(a, 200);
    assert_int_equal(w.err, ERR_NO_MEMORY);
    writer_text(&w, "harmless");
    assert_int_equal(w.err, ERR_NO_MEMORY);
    assert_int_equal(w.len, 0);
    arena_free(a);
}

static size_t use_everything(void)
{
    struct arena *a = arena_new(1 << 20);
    if (a == NULL)
        return 1;
    size_t failures = 0;
    struct slice copy;
    failures += arena_alloc(a, 10) == NULL;
    failures += arena_alloc(a, 50000) == NULL;
    failures += arena_text(a, SLICE_LITERAL("text")) == NULL;
    failures += arena_copy(a, SLICE_LITERAL("copy"), &copy) != ERR_NONE;
    failures += arena_writer(a, 8000).err != ERR_NONE;
    arena_reset(a);
    failures += arena_alloc(a, 8000) == NULL;
    failures += arena_alloc(a, 8000) == NULL;
    arena_free(a);
    return failures;
}

static void survives_every_failing_allocation(void **state)
{
    (void)state;
    long n = 0;
    for (;; n++) {
        allocations_left = n;
        size_t failures = use_everything();
        allocations_left = -1;
        if (failures == 0)
            break;
        assert_in_range(n, 0, 100);
    }
    assert_in_range(n, 4, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_aligned_zeroed_memory),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(keeps_its_limit),
        cmocka_unit_test(copies),
        cmocka_unit_test(writes),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
