#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/cosignature.h"
#include "tests/unit/openssl_crypto.h"

#define DASH "\xe2\x80\x94 "
#define NAME "witness.example.com/w1"
#define TIME 1679315147

/* The checkpoint of C2SP tlog-cosignature's example. Key and line were made from the specification
 * with Node.js; the key's seed is the bytes 1 to 32. */
#define TEXT "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
#define KEY  "witness.example.com/w1+8561c71e+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk"
#define LINE                                                                                       \
    DASH NAME " hWHHHgAAAABkGFDLQB2dbiQ7rPMIDjq/"                                                  \
              "twq5Ixt42T+awjiYS4+fxrnLnI31x5abVjZlhDVvZAcRRLyAiG4oQlhTgi4DsxiPwiDaDg=="           \
              "\n"
#define NOTE TEXT "\n" LINE

static struct witness_key key_of(const char *text)
{
    struct witness_key k;
    assert_int_equal(witness_key_read(slice_of_text(text), test_sha256, &k), ERR_NONE);
    return k;
}

static void seed_of(unsigned number, uint8_t ret_seed[32])
{
    for (size_t i = 0; i < 32; i++)
        ret_seed[i] = (uint8_t)(number + i);
}

static struct witness_key witness(unsigned number, const char *name)
{
    uint8_t seed[32], public_key[ED25519_KEY_SIZE];
    struct witness_key k;
    seed_of(number, seed);
    test_ed25519_public(seed, public_key);
    assert_int_equal(witness_key_init(&k, test_sha256, slice_of_text(name), public_key), ERR_NONE);
    return k;
}

/* `number` says whose key signs, whatever `k` is. */
static void cosign(struct writer *w, unsigned number, const struct witness_key *k, uint64_t time)
{
    uint8_t seed[32], message[COSIGNED_MESSAGE_MAX], signature[ED25519_SIGNATURE_SIZE];
    struct writer m = writer_over(message, sizeof message);
    cosignature_write_message(&m, time, SLICE_LITERAL(TEXT));
    assert_int_equal(m.err, ERR_NONE);
    seed_of(number, seed);
    test_ed25519_sign(seed, writer_bytes(&m), signature);
    cosignature_write(w, k, time, signature);
    assert_int_equal(w->err, ERR_NONE);
}

static void test_vector_both_ways(void **state)
{
    (void)state;
    struct witness_key k = witness(1, NAME);
    uint64_t time = 0;
    assert_int_equal(cosignature_verify(SLICE_LITERAL(NOTE), &k, test_ed25519_verify, &time),
                     ERR_NONE);
    assert_int_equal(time, TIME);

    uint8_t buffer[1024];
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_text(&w, TEXT "\n");
    cosign(&w, 1, &k, TIME);
    assert_true(slice_equal(writer_bytes(&w), SLICE_LITERAL(NOTE)));

    w = writer_over(buffer, sizeof buffer);
    witness_key_write(&w, &k);
    assert_true(slice_equal(writer_bytes(&w), SLICE_LITERAL(KEY)));
    assert_memory_equal(key_of(KEY).note.key, k.note.key, ED25519_KEY_SIZE);
}

/* A log's key is no witness's, nor the other way about. */
static void test_types_are_kept_apart(void **state)
{
    (void)state;
    static const char log_key[] =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    struct witness_key k;
    struct note_key log;
    assert_int_equal(witness_key_read(SLICE_LITERAL(log_key), test_sha256, &k), ERR_UNSUPPORTED);
    assert_int_equal(note_key_read(SLICE_LITERAL(KEY), test_sha256, &log), ERR_UNSUPPORTED);

    /* the same public key as a log's: its cosignature does not sign the log */
    struct witness_key w1 = witness(1, NAME);
    struct slice text;
    assert_int_equal(note_key_init(&log, test_sha256, SLICE_LITERAL(NAME), w1.note.key), ERR_NONE);
    assert_int_equal(note_verify(SLICE_LITERAL(NOTE), &log, test_ed25519_verify, &text),
                     ERR_NOT_FOUND);
    log.id = w1.note.id;
    assert_int_equal(note_verify(SLICE_LITERAL(NOTE), &log, test_ed25519_verify, &text),
                     ERR_BAD_SIGNATURE);
}

static void test_every_change_refused(void **state)
{
    (void)state;
    struct witness_key k = witness(1, NAME);
    uint8_t note[sizeof NOTE - 1];
    memcpy(note, NOTE, sizeof note);
    for (size_t len = 0; len < sizeof note; len++) {
        uint64_t time = 77;
        assert_int_not_equal(
            cosignature_verify(slice_of(note, len), &k, test_ed25519_verify, &time), ERR_NONE);
        assert_int_equal(time, 77);
    }
    for (size_t i = 0; i < sizeof note; i++) {
        for (unsigned bit = 1; bit < 256; bit *= 2) {
            uint64_t time = 77;
            note[i] ^= (uint8_t)bit;
            assert_int_not_equal(
                cosignature_verify(slice_of(note, sizeof note), &k, test_ed25519_verify, &time),
                ERR_NONE);
            assert_int_equal(time, 77);
            note[i] ^= (uint8_t)bit;
        }
    }
}

static void test_several_by_one_witness(void **state)
{
    (void)state;
    struct witness_key k = witness(1, NAME);
    uint8_t buffer[2048];
    uint64_t time = 0;
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_text(&w, NOTE);
    cosign(&w, 1, &k, TIME + 5);
    cosign(&w, 1, &k, TIME - 5);
    assert_int_equal(cosignature_verify(writer_bytes(&w), &k, test_ed25519_verify, &time),
                     ERR_NONE);
    assert_int_equal(time, TIME + 5);
    cosign(&w, 9, &k, TIME + 9); /* by another's key: condemns the others, too */
    time = 77;
    assert_int_equal(cosignature_verify(writer_bytes(&w), &k, test_ed25519_verify, &time),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(time, 77);
}

static void test_quorum_counts_public_keys(void **state)
{
    (void)state;
    const struct witness_key keys[] = {
        witness(1, NAME), witness(2, "w2"),     witness(3, "w3"), witness(1, "other-name-of-w1"),
        witness(2, "w2"), witness(4, "absent"),
    };
    struct cosignature_verdict verdicts[ARRAY_LEN(keys)];
    uint8_t buffer[4096];
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_text(&w, NOTE);
    cosign(&w, 2, &keys[1], TIME + 1);
    cosign(&w, 9, &keys[2], TIME + 2);
    cosign(&w, 1, &keys[3], TIME + 3);
    assert_int_equal(
        cosignatures_count(writer_bytes(&w), keys, ARRAY_LEN(keys), test_ed25519_verify, verdicts),
        2);
    static const enum err expected[] = {ERR_NONE, ERR_NONE, ERR_BAD_SIGNATURE,
                                        ERR_NONE, ERR_NONE, ERR_NOT_FOUND};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_int_equal(verdicts[i].err, expected[i]);
    assert_int_equal(verdicts[1].time, TIME + 1);
    assert_int_equal(
        cosignatures_count(SLICE_LITERAL("no note"), keys, 2, test_ed25519_verify, verdicts), 0);
    assert_int_equal(verdicts[0].err, ERR_SYNTAX);
}

static void test_limits(void **state)
{
    (void)state;
    static uint8_t note[NOTE_MAX], message[COSIGNED_MESSAGE_MAX];
    static char text[COSIGNED_TEXT_MAX + 2];
    memset(text, 'a', sizeof text);
    struct witness_key k = witness(1, NAME);
    uint64_t time = 77;
    for (size_t over = 0; over < 2; over++) {
        size_t len = COSIGNED_TEXT_MAX + over;
        text[len - 1] = '\n';
        struct writer m = writer_over(message, sizeof message);
        cosignature_write_message(&m, INT64_MAX, slice_of(text, len));
        assert_int_equal(m.err, over ? ERR_LIMIT : ERR_NONE);
        struct writer w = writer_over(note, sizeof note);
        writer_put(&w, slice_of(text, len));
        writer_text(&w, "\n" LINE);
        assert_int_equal(cosignature_verify(writer_bytes(&w), &k, test_ed25519_verify, &time),
                         over ? ERR_LIMIT : ERR_BAD_SIGNATURE);
        text[len - 1] = 'a';
    }
    struct writer m = writer_over(message, sizeof message);
    cosignature_write_message(&m, (uint64_t)INT64_MAX + 1, SLICE_LITERAL(TEXT));
    assert_int_equal(m.err, ERR_LIMIT);
    static const uint8_t signature[ED25519_SIGNATURE_SIZE];
    struct writer w = writer_over(note, sizeof note);
    cosignature_write(&w, &k, (uint64_t)INT64_MAX + 1, signature);
    assert_int_equal(w.err, ERR_LIMIT);

    w = writer_over(note, sizeof note);
    writer_text(&w, TEXT "\n");
    for (size_t i = 0; i <= NOTE_SIGNATURES_MAX; i++)
        writer_text(&w, LINE);
    assert_int_equal(cosignature_verify(writer_bytes(&w), &k, test_ed25519_verify, &time),
                     ERR_LIMIT);
    assert_int_equal(time, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector_both_ways),
        cmocka_unit_test(test_types_are_kept_apart),
        cmocka_unit_test(test_every_change_refused),
        cmocka_unit_test(test_several_by_one_witness),
        cmocka_unit_test(test_quorum_counts_public_keys),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
