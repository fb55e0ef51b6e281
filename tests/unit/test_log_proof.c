#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/log_proof.h"
#include "tests/unit/openssl_crypto.h"

#define HASH  "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ="
#define HEAD  "c2sp.org/tlog-proof@v1\n"
#define ENTRY "extra eyJlbnRyeSI6MX0=\n" /* {"entry":1} */
#define NOTE  "example.com/log\n2\n" HASH "\n\nsignatures\n"

static uint8_t entry[ENTRY_MAX];

static enum err read_text(const char *text, struct log_proof *ret_proof)
{
    return log_proof_read(slice_of_text(text), entry, sizeof entry, ret_proof);
}

static void test_both_ways(void **state)
{
    (void)state;
    static const char text[] = HEAD ENTRY "index 73894\n" HASH "\n" HASH "\n\n" NOTE;
    struct log_proof p;
    uint8_t again[1024];
    assert_int_equal(read_text(text, &p), ERR_NONE);
    assert_true(slice_equal(p.entry, SLICE_LITERAL("{\"entry\":1}")));
    assert_int_equal(p.number, 73894);
    assert_int_equal(p.hashes_len, 2);
    assert_int_equal(p.hashes[1].bytes[0], 0x81);
    assert_true(slice_equal(p.checkpoint, SLICE_LITERAL(NOTE)));
    struct writer w = writer_over(again, sizeof again);
    log_proof_write(&w, &p);
    assert_true(slice_equal(writer_bytes(&w), SLICE_LITERAL(text)));
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        {"", ERR_SYNTAX},
        {"c2sp.org/tlog-proof@v2\n" ENTRY "index 0\n\n" NOTE, ERR_UNSUPPORTED},
        {"c2sp.org/tlog-proof@v1\r\n" ENTRY "index 0\n\n" NOTE, ERR_UNSUPPORTED},
        {HEAD "index 0\n\n" NOTE, ERR_UNSUPPORTED},
        {HEAD "index 0\n" ENTRY "\n" NOTE, ERR_UNSUPPORTED},
        {HEAD "extra eyJ\nindex 0\n\n" NOTE, ERR_SYNTAX},
        {HEAD "extra  eyJlbnRyeSI6MX0=\nindex 0\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY ENTRY "index 0\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index \n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index 00\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index -1\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index 1 \n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index 18446744073709551616\n\n" NOTE, ERR_LIMIT},
        {HEAD ENTRY "index 0\n" HASH "=\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index 0\nAAAA\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index 0\n" HASH "AAAA\n\n" NOTE, ERR_SYNTAX},
        {HEAD ENTRY "index 0\n" HASH, ERR_SYNTAX},
        {HEAD ENTRY "index 0\n" HASH "\n", ERR_SYNTAX},
        {HEAD ENTRY "index 0\n\n", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct log_proof p = {.number = 77};
        if (read_text(cases[i].text, &p) != cases[i].err)
            print_error("case %zu\n", i);
        assert_int_equal(read_text(cases[i].text, &p), cases[i].err);
        assert_int_equal(p.number, 77);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static char text[LOG_PROOF_MAX + 2];
    struct log_proof p;
    for (size_t hashes = MERKLE_PROOF_MAX; hashes <= MERKLE_PROOF_MAX + 1; hashes++) {
        int at = snprintf(text, sizeof text, HEAD ENTRY "index 0\n");
        for (size_t i = 0; i < hashes; i++)
            at += snprintf(text + at, sizeof text - (size_t)at, HASH "\n");
        (void)snprintf(text + at, sizeof text - (size_t)at, "\n" NOTE);
        assert_int_equal(read_text(text, &p), hashes == MERKLE_PROOF_MAX ? ERR_NONE : ERR_LIMIT);
    }
    assert_int_equal(log_proof_read(SLICE_LITERAL(HEAD ENTRY "index 0\n\n" NOTE), entry, 10, &p),
                     ERR_LIMIT);
    memset(text, 'A', sizeof text);
    assert_int_equal(log_proof_read(slice_of(text, sizeof text), entry, sizeof entry, &p),
                     ERR_LIMIT);

    /* the largest there is can be written, and read */
    struct log_proof largest = {.entry = slice_of(text, ENTRY_MAX),
                                .number = UINT64_MAX,
                                .hashes_len = MERKLE_PROOF_MAX,
                                .checkpoint = slice_of(text, NOTE_MAX)};
    static uint8_t written[LOG_PROOF_MAX];
    struct writer w = writer_over(written, sizeof written);
    log_proof_write(&w, &largest);
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(log_proof_read(writer_bytes(&w), entry, sizeof entry, &p), ERR_NONE);
    assert_int_equal(p.entry.len, ENTRY_MAX);
    assert_int_equal(p.number, UINT64_MAX);
    largest.hashes_len++;
    w = writer_over(written, sizeof written);
    log_proof_write(&w, &largest);
    assert_int_equal(w.err, ERR_LIMIT);
}

/* Of a log of two entries, everything that can be said falsely. */
static void test_what_it_proves(void **state)
{
    (void)state;
    struct hash first = merkle_leaf_hash(test_sha256, SLICE_LITERAL("first"));
    struct hash second = merkle_leaf_hash(test_sha256, SLICE_LITERAL("second"));
    const struct checkpoint c = {.size = 2, .root = merkle_node_hash(test_sha256, &first, &second)};
    const struct log_proof good = {
        .entry = SLICE_LITERAL("second"), .number = 1, .hashes = {first}, .hashes_len = 1};
    struct log_proof p = good;
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_NONE);
    p.entry = SLICE_LITERAL("Second");
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
    p = good;
    p.number = 0;
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
    p.number = 3;
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
    p = good;
    p.hashes[0].bytes[31] ^= 1;
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
    p = good;
    p.hashes_len = 0;
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
    p.hashes_len = 2;
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
    /* a node of the tree is no entry */
    uint8_t node[2 * SHA256_SIZE];
    memcpy(node, first.bytes, SHA256_SIZE);
    memcpy(node + SHA256_SIZE, second.bytes, SHA256_SIZE);
    p = (struct log_proof){.entry = slice_of(node, sizeof node)};
    assert_int_equal(log_proof_verify(&p, test_sha256, &c), ERR_BAD_SIGNATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_what_it_proves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
