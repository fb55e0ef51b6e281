#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/checkpoint_update.h"

#define HASH  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define HASHB "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

static void test_reads_what_it_writes(void **state)
{
    (void)state;
    static uint8_t text[UPDATE_MAX];
    struct hash proof[UPDATE_PROOF_MAX], found[UPDATE_PROOF_MAX];
    for (size_t i = 0; i < UPDATE_PROOF_MAX; i++)
        memset(proof[i].bytes, (int)(i * 5), sizeof proof[i].bytes);
    for (size_t len = 0; len <= UPDATE_PROOF_MAX; len++) {
        const struct checkpoint_update update = {.old_size = UINT64_MAX - len,
                                                 .proof = proof,
                                                 .proof_len = len,
                                                 .note = SLICE_LITERAL("note\n\nlines\n")};
        struct checkpoint_update read;
        struct writer w = writer_over(text, sizeof text);
        checkpoint_update_write(&w, &update);
        assert_int_equal(w.err, ERR_NONE);
        assert_int_equal(checkpoint_update_read(writer_bytes(&w), found, &read), ERR_NONE);
        assert_true(read.old_size == update.old_size);
        assert_int_equal(read.proof_len, len);
        assert_ptr_equal(read.proof, found);
        if (len > 0)
            assert_memory_equal(found, proof, len * sizeof proof[0]);
        assert_true(slice_equal(read.note, update.note));
    }
    const struct checkpoint_update longer = {.proof_len = UPDATE_PROOF_MAX + 1};
    struct writer w = writer_over(text, sizeof text);
    checkpoint_update_write(&w, &longer);
    assert_int_equal(w.err, ERR_LIMIT);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        {"old 7\n" HASH HASHB "\nx", ERR_NONE},
        {"old 0\n\nx\n", ERR_NONE},
        {"", ERR_SYNTAX},
        {"old", ERR_SYNTAX},
        {"new 7\n\nx", ERR_SYNTAX},
        {"old  7\n\nx", ERR_SYNTAX},
        {"old 07\n\nx", ERR_SYNTAX},
        {"old -7\n\nx", ERR_SYNTAX},
        {"old +7\n\nx", ERR_SYNTAX},
        {"old 7 \n\nx", ERR_SYNTAX},
        {"old 7\r\n\nx", ERR_SYNTAX},
        {"old \n\nx", ERR_SYNTAX},
        {"old 18446744073709551616\n\nx", ERR_LIMIT},
        {"old 7", ERR_SYNTAX},
        {"old 7\n", ERR_SYNTAX},
        {"old 7\n" HASH, ERR_SYNTAX},      /* no empty line */
        {"old 7\n" HASH "\n", ERR_SYNTAX}, /* no note */
        {"old 7\nAAAA\n\nx", ERR_SYNTAX},
        {"old 7\n" HASH "=\n\nx", ERR_SYNTAX},
        {"old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n\nx", ERR_SYNTAX}, /* stray bits */
        {"old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\nx", ERR_SYNTAX},
        {"old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\nx", ERR_SYNTAX}, /* 33 bytes */
        {"old 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\nx", ERR_LIMIT},
    };
    struct hash proof[UPDATE_PROOF_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct checkpoint_update update = {.old_size = 77};
        enum err err = checkpoint_update_read(slice_of_text(cases[i].text), proof, &update);
        if (err != cases[i].err)
            fail_msg("'%s': %d", cases[i].text, (int)err);
        if (err != ERR_NONE)
            assert_int_equal(update.old_size, 77);
    }
}

static void test_is_bounded(void **state)
{
    (void)state;
    static uint8_t text[UPDATE_MAX + 100];
    struct hash proof[UPDATE_PROOF_MAX];
    struct checkpoint_update update;
    struct writer w = writer_over(text, sizeof text);
    writer_text(&w, "old 7\n");
    for (size_t i = 0; i <= UPDATE_PROOF_MAX; i++)
        writer_text(&w, HASH);
    writer_text(&w, "\nx");
    assert_int_equal(checkpoint_update_read(writer_bytes(&w), proof, &update), ERR_LIMIT);
    w = writer_over(text, sizeof text);
    writer_text(&w, "old 7\n\n");
    while (w.len < NOTE_MAX + 8)
        writer_u8(&w, 'x');
    assert_int_equal(checkpoint_update_read(writer_bytes(&w), proof, &update), ERR_LIMIT);
    w.len--;
    assert_int_equal(checkpoint_update_read(writer_bytes(&w), proof, &update), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_it_writes),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
