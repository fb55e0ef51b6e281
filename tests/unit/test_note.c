#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/base64.h"
#include "core/note.h"
#include "tests/unit/openssl_crypto.h"

#define DASH "\xe2\x80\x94 "

/* From the documentation of Go's golang.org/x/mod/sumdb/note. */
#define PETER_KEY  "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define PETER_SEED "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz" /* base64(0x01 | seed) */
#define ENOCH_KEY  "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
#define GO_TEXT                                                                                    \
    "If you think cryptography is the answer to your problem,\n"                                   \
    "then you don't know what your problem is.\n"
#define PETER_BASE64                                                                               \
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
#define ENOCH_BASE64                                                                               \
    "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
#define PETER_LINE DASH "PeterNeumann " PETER_BASE64 "\n"
#define ENOCH_LINE DASH "EnochRoot " ENOCH_BASE64 "\n"
#define GO_NOTE    GO_TEXT "\n" PETER_LINE

/* From C2SP signed-note. */
#define FOO_KEY "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
#define FOO_NOTE                                                                                   \
    "This is an example message.\n\n" DASH "example.com/foo "                                      \
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=" \
    "\n"

static struct note_key key_of(const char *text)
{
    struct note_key k;
    assert_int_equal(note_key_read(slice_of_text(text), test_sha256, &k), ERR_NONE);
    return k;
}

static void peter_seed(uint8_t seed[32])
{
    uint8_t typed_seed[33];
    size_t len;
    assert_int_equal(base64_read(slice_of_text(PETER_SEED), typed_seed, sizeof typed_seed, &len),
                     ERR_NONE);
    assert_int_equal(len, sizeof typed_seed);
    memcpy(seed, typed_seed + 1, 32);
}

static void test_published_notes(void **state)
{
    (void)state;
    static const struct {
        const char *key, *note, *text;
    } cases[] = {
        {PETER_KEY, GO_NOTE, GO_TEXT},
        {PETER_KEY, GO_NOTE ENOCH_LINE, GO_TEXT},
        {ENOCH_KEY, GO_NOTE ENOCH_LINE, GO_TEXT},
        {FOO_KEY, FOO_NOTE, "This is an example message.\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct note_key k = key_of(cases[i].key);
        struct slice text;
        assert_int_equal(note_verify(slice_of_text(cases[i].note), &k, test_ed25519_verify, &text),
                         ERR_NONE);
        assert_true(slice_equal(text, slice_of_text(cases[i].text)));
    }
}

static void test_key_both_ways(void **state)
{
    (void)state;
    static const char *const keys[] = {PETER_KEY, ENOCH_KEY, FOO_KEY};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct note_key k = key_of(keys[i]);
        uint8_t buffer[NOTE_KEY_TEXT_MAX];
        struct writer w = writer_over(buffer, sizeof buffer);
        note_key_write(&w, &k);
        assert_int_equal(w.err, ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(keys[i])));
    }
    struct note_key peter = key_of(PETER_KEY);
    assert_int_equal(peter.id, 0xc74f20a3);
    assert_string_equal(peter.name, "PeterNeumann");
}

static void test_bad_keys(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err expected;
    } cases[] = {
        {"", ERR_SYNTAX},
        {"PeterNeumann", ERR_SYNTAX},
        {"PeterNeumann+c74f20a3", ERR_SYNTAX},
        {"PeterNeumann+c74f20a3+", ERR_SYNTAX},
        {"PeterNeumann+c74f20a+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ERR_SYNTAX},
        {"PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ERR_SYNTAX},
        {"PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ERR_SYNTAX},
        {"PeterNeumanN+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ERR_SYNTAX},
        {"Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ERR_SYNTAX},
        {"+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", ERR_SYNTAX},
        {"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX", ERR_SYNTAX},
        {"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10", ERR_SYNTAX},
        {PETER_KEY "\n", ERR_SYNTAX},
        {PETER_KEY "AAAA", ERR_SYNTAX},
        /* a key of the type of cosignatures */
        {"remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct note_key k = {.id = 7};
        assert_int_equal(note_key_read(slice_of_text(cases[i].text), test_sha256, &k),
                         cases[i].expected);
        assert_int_equal(k.id, 7);
    }
    uint8_t long_text[NOTE_KEY_TEXT_MAX + 1];
    memset(long_text, 'a', sizeof long_text);
    struct note_key k;
    assert_int_equal(note_key_read(slice_of(long_text, sizeof long_text), test_sha256, &k),
                     ERR_LIMIT);
}

static void test_names(void **state)
{
    (void)state;
    char long_name[NOTE_NAME_MAX + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[NOTE_NAME_MAX + 1] = '\0';
    const struct {
        const char *name;
        enum err expected;
    } cases[] = {
        {"a", ERR_NONE},
        {"example.com/log-1", ERR_NONE},
        {"caf\xc3\xa9", ERR_NONE},
        {"\xf0\x9f\x94\x91", ERR_NONE},
        {long_name + 1, ERR_NONE},
        {long_name, ERR_LIMIT},
        {"", ERR_SYNTAX},
        {"a b", ERR_SYNTAX},
        {"a+b", ERR_SYNTAX},
        {"a\nb", ERR_SYNTAX},
        {"a\tb", ERR_SYNTAX},
        {"a\x01", ERR_SYNTAX},
        {"no\xc2\xa0"
         "break",
         ERR_SYNTAX},                     /* U+00A0 */
        {"wide\xe3\x80\x80", ERR_SYNTAX}, /* U+3000 */
        {"line\xe2\x80\xa8", ERR_SYNTAX}, /* U+2028 */
        {"\xc3", ERR_SYNTAX},             /* cut short */
        {"\x80", ERR_SYNTAX},             /* no lead */
        {"\xc0\xaf", ERR_SYNTAX},         /* not the shortest form */
        {"\xe0\x9f\xbf", ERR_SYNTAX},
        {"\xf0\x8f\xbf\xbf", ERR_SYNTAX},
        {"\xed\xa0\x80", ERR_SYNTAX},     /* surrogate */
        {"\xf4\x90\x80\x80", ERR_SYNTAX}, /* over U+10FFFF */
        {"\xff", ERR_SYNTAX},
    };
    const uint8_t public_key[ED25519_KEY_SIZE] = {1, 2, 3};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct note_key k = {.id = 7};
        assert_int_equal(note_key_init(&k, test_sha256, slice_of_text(cases[i].name), public_key),
                         cases[i].expected);
        if (cases[i].expected == ERR_NONE)
            assert_string_equal(k.name, cases[i].name);
        else
            assert_int_equal(k.id, 7);
    }
}

static void test_signing_gives_published_note(void **state)
{
    (void)state;
    uint8_t seed[32], public_key[ED25519_KEY_SIZE], signature[ED25519_SIGNATURE_SIZE];
    peter_seed(seed);
    test_ed25519_public(seed, public_key);
    struct note_key k;
    assert_int_equal(note_key_init(&k, test_sha256, slice_of_text("PeterNeumann"), public_key),
                     ERR_NONE);
    test_ed25519_sign(seed, slice_of_text(GO_TEXT), signature);

    uint8_t buffer[1024];
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_text(&w, GO_TEXT);
    note_write_signature(&w, &k, signature);
    assert_int_equal(w.err, ERR_NONE);
    assert_true(slice_equal(writer_bytes(&w), slice_of_text(GO_NOTE)));
    note_write_further_signature(&w, &k, signature);
    assert_int_equal(w.err, ERR_NONE);
    assert_true(slice_equal(writer_bytes(&w), slice_of_text(GO_NOTE PETER_LINE)));

    w = writer_over(buffer, sizeof buffer);
    writer_text(&w, "no line end");
    note_write_signature(&w, &k, signature);
    assert_int_equal(w.err, ERR_SYNTAX);
    w = writer_over(buffer, sizeof buffer);
    note_write_signature(&w, &k, signature);
    assert_int_equal(w.err, ERR_SYNTAX);
}

static void test_every_truncation_refused(void **state)
{
    (void)state;
    struct note_key k = key_of(PETER_KEY);
    for (size_t len = 0; len < sizeof GO_NOTE - 1; len++) {
        struct slice text = {NULL, 1234};
        assert_int_not_equal(note_verify(slice_of(GO_NOTE, len), &k, test_ed25519_verify, &text),
                             ERR_NONE);
        assert_int_equal(text.len, 1234);
    }
}

static void test_every_flip_refused(void **state)
{
    (void)state;
    struct note_key k = key_of(PETER_KEY);
    uint8_t note[sizeof GO_NOTE - 1];
    memcpy(note, GO_NOTE, sizeof note);
    for (size_t i = 0; i < sizeof note; i++) {
        for (unsigned bits = 1; bits < 256; bits = bits < 128 ? bits * 2 : bits + 127) {
            note[i] ^= (uint8_t)bits;
            struct slice text;
            assert_int_not_equal(
                note_verify(slice_of(note, sizeof note), &k, test_ed25519_verify, &text), ERR_NONE);
            note[i] ^= (uint8_t)bits;
        }
    }
}

static void test_bad_notes(void **state)
{
    (void)state;
#define CASE(text, expected)                                                                       \
    {                                                                                              \
        text, sizeof(text) - 1, expected                                                           \
    }
    static const struct {
        const char *note;
        size_t len;
        enum err expected;
    } cases[] = {
        CASE("", ERR_SYNTAX),
        CASE("\n", ERR_SYNTAX),
        CASE("\n\n", ERR_SYNTAX),
        CASE(GO_TEXT, ERR_SYNTAX),
        CASE(GO_TEXT "\n", ERR_SYNTAX),
        CASE(GO_TEXT PETER_LINE, ERR_SYNTAX),
        CASE("\n" PETER_LINE, ERR_SYNTAX),
        CASE(GO_TEXT "\n\n" PETER_LINE, ERR_BAD_SIGNATURE),
        CASE(GO_NOTE "\n", ERR_SYNTAX),
        CASE(GO_NOTE "x", ERR_SYNTAX),
        CASE(GO_NOTE "x\n", ERR_SYNTAX),
        CASE(GO_NOTE "\n" PETER_LINE, ERR_BAD_SIGNATURE),
        CASE(GO_TEXT "\n- PeterNeumann " PETER_BASE64 "\n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH " PeterNeumann " PETER_BASE64 "\n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH "PeterNeumann  " PETER_BASE64 "\n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH "PeterNeumann " PETER_BASE64 " \n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH "PeterNeumann " PETER_BASE64 "\r\n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH "PeterNeumann\n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH "PeterNeumann \n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH PETER_BASE64 "\n", ERR_SYNTAX),
        CASE(GO_TEXT "\n" DASH "Peter+Neumann " PETER_BASE64 "\n", ERR_SYNTAX),
        CASE("tab\t\n\n" PETER_LINE, ERR_SYNTAX),
        CASE("nul\0\n\n" PETER_LINE, ERR_SYNTAX),
        CASE("return\r\n\n" PETER_LINE, ERR_SYNTAX),
        CASE("latin \xe9\n\n" PETER_LINE, ERR_SYNTAX),
        CASE("another text\n\n" PETER_LINE, ERR_BAD_SIGNATURE),
        CASE(GO_TEXT "\n" ENOCH_LINE, ERR_NOT_FOUND),
        /* signatures by the key that are wrong, alone and beside good ones */
        CASE("another text\n\n" ENOCH_LINE PETER_LINE, ERR_BAD_SIGNATURE),
        CASE(GO_NOTE DASH "PeterNeumann x08go/ZJkuA=\n", ERR_BAD_SIGNATURE),
        CASE(GO_NOTE DASH "PeterNeumann x08go/ZJkuA=\n" PETER_LINE, ERR_BAD_SIGNATURE),
        /* the name with another's id, the id with another's name */
        CASE(GO_TEXT "\n" DASH "PeterNeumann " ENOCH_BASE64 "\n", ERR_NOT_FOUND),
        CASE(GO_TEXT "\n" DASH "EnochRoot " PETER_BASE64 "\n", ERR_NOT_FOUND),
        /* signatures by others that are not in form */
        CASE(GO_NOTE DASH "EnochRoot AAAA\n", ERR_SYNTAX),
        CASE(GO_NOTE DASH "EnochRoot AAAAAA==\n", ERR_SYNTAX),
        CASE(GO_NOTE DASH "EnochRoot " ENOCH_BASE64 "AAAA\n", ERR_SYNTAX),
        CASE(GO_NOTE DASH "EnochRoot AAAAA\n", ERR_SYNTAX),
        CASE(GO_NOTE DASH "EnochRoot AAAAAB==\n", ERR_SYNTAX),
        CASE(GO_NOTE DASH "EnochRoot AAAAAAA=AAAA\n", ERR_SYNTAX),
        CASE(GO_NOTE DASH "EnochRoot AAAA_-AA\n", ERR_SYNTAX),
    };
#undef CASE
    struct note_key k = key_of(PETER_KEY);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice text = {NULL, 1234};
        enum err err =
            note_verify(slice_of(cases[i].note, cases[i].len), &k, test_ed25519_verify, &text);
        if (err != cases[i].expected)
            print_error("note %zu: %s\n", i, err_text(err));
        assert_int_equal(err, cases[i].expected);
        assert_int_equal(text.len, 1234);
    }
}

static void test_text_may_look_like_a_note(void **state)
{
    (void)state;
    uint8_t seed[32], signature[ED25519_SIGNATURE_SIZE], buffer[2048];
    peter_seed(seed);
    struct note_key k = key_of(PETER_KEY);
    static const char *const texts[] = {"\n", "a\n\nb\n", "\n\n\n", GO_NOTE, "caf\xc3\xa9\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        test_ed25519_sign(seed, slice_of_text(texts[i]), signature);
        struct writer w = writer_over(buffer, sizeof buffer);
        writer_text(&w, texts[i]);
        note_write_signature(&w, &k, signature);
        struct slice text, unverified;
        assert_int_equal(note_verify(writer_bytes(&w), &k, test_ed25519_verify, &text), ERR_NONE);
        assert_true(slice_equal(text, slice_of_text(texts[i])));
        assert_int_equal(note_text_unverified(writer_bytes(&w), &unverified), ERR_NONE);
        assert_true(slice_equal(text, unverified));
    }
}

static void test_foreign_signatures_are_skipped(void **state)
{
    (void)state;
    static uint8_t note[NOTE_MAX + 1];
    static const uint8_t bytes[6000] = {0xc7, 0x4f, 0x20, 0xa3};
    struct note_key k = key_of(PETER_KEY);
    /* around the size of a decoding step, and that of a post-quantum signature */
    static const size_t lengths[] = {5, 67, 68, 69, 70, 77, 78, 79, 125, 126, 127, 5000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct writer w = writer_over(note, NOTE_MAX);
        writer_text(&w, GO_TEXT "\n" DASH "other ");
        base64_write(&w, slice_of(bytes, lengths[i]));
        writer_text(&w, "\n" PETER_LINE);
        assert_int_equal(w.err, ERR_NONE);
        struct slice text;
        assert_int_equal(note_verify(writer_bytes(&w), &k, test_ed25519_verify, &text), ERR_NONE);

        w = writer_over(note, NOTE_MAX);
        writer_text(&w, GO_NOTE DASH "PeterNeumann ");
        base64_write(&w, slice_of(bytes, lengths[i]));
        writer_text(&w, "\n");
        assert_int_equal(note_verify(writer_bytes(&w), &k, test_ed25519_verify, &text),
                         ERR_BAD_SIGNATURE);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static uint8_t note[NOTE_MAX + 1];
    struct note_key k = key_of(PETER_KEY);
    struct slice text;
    struct writer w = writer_over(note, sizeof note);
    writer_text(&w, GO_TEXT "\n");
    for (size_t i = 1; i < NOTE_SIGNATURES_MAX; i++)
        writer_text(&w, ENOCH_LINE);
    writer_text(&w, PETER_LINE);
    assert_int_equal(note_verify(writer_bytes(&w), &k, test_ed25519_verify, &text), ERR_NONE);
    writer_text(&w, ENOCH_LINE);
    assert_int_equal(note_verify(writer_bytes(&w), &k, test_ed25519_verify, &text), ERR_LIMIT);

    memset(note, 'a', sizeof note);
    memcpy(note + sizeof note - (sizeof GO_NOTE - 1), GO_NOTE, sizeof GO_NOTE - 1);
    assert_int_equal(note_verify(slice_of(note, sizeof note), &k, test_ed25519_verify, &text),
                     ERR_LIMIT);
    assert_int_equal(note_verify(slice_of(note + 1, NOTE_MAX), &k, test_ed25519_verify, &text),
                     ERR_BAD_SIGNATURE);
}

/* The example of C2SP tlog-checkpoint. */
#define SOFA "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

static void test_checkpoint_both_ways(void **state)
{
    (void)state;
    struct checkpoint c;
    assert_int_equal(checkpoint_read(slice_of_text(SOFA), &c), ERR_NONE);
    assert_string_equal(c.origin, "example.com/behind-the-sofa");
    assert_int_equal(c.size, 20852163);
    assert_int_equal(c.root.bytes[0], 0x0a);
    assert_int_equal(c.root.bytes[31], 0x62);
    uint8_t buffer[256];
    struct writer w = writer_over(buffer, sizeof buffer);
    checkpoint_write(&w, &c);
    assert_int_equal(w.err, ERR_NONE);
    assert_true(slice_equal(writer_bytes(&w), slice_of_text(SOFA)));
    assert_int_equal(checkpoint_read(slice_of_text(SOFA "extension 1\nextension 2\n"), &c),
                     ERR_NONE);
    assert_int_equal(c.size, 20852163);
}

#define ROOT_LINE "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

static void test_checkpoint_edges(void **state)
{
    (void)state;
    char long_origin[NOTE_NAME_MAX + 2 + sizeof "\n1\n" ROOT_LINE];
    memset(long_origin, 'o', NOTE_NAME_MAX + 1);
    memcpy(long_origin + NOTE_NAME_MAX + 1, "\n1\n" ROOT_LINE, sizeof "\n1\n" ROOT_LINE);
    const struct {
        const char *text;
        enum err expected;
    } cases[] = {
        {"o\n0\n" ROOT_LINE, ERR_NONE},
        {"origin with spaces + plus\n1\n" ROOT_LINE, ERR_NONE},
        {"o\n9223372036854775807\n" ROOT_LINE, ERR_NONE},
        {long_origin + 1, ERR_NONE},
        {long_origin, ERR_LIMIT},
        {"o\n9223372036854775808\n" ROOT_LINE, ERR_LIMIT},
        {"o\n18446744073709551616\n" ROOT_LINE, ERR_LIMIT},
        {"", ERR_SYNTAX},
        {"o\n", ERR_SYNTAX},
        {"o\n1\n", ERR_SYNTAX},
        {"\n1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n01\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n00\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n-1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n+1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n 1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n1 \n" ROOT_LINE, ERR_SYNTAX},
        {"o\n\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n0x1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n1\r\n" ROOT_LINE, ERR_SYNTAX},
        {"o\x01\n1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\xff\n1\n" ROOT_LINE, ERR_SYNTAX},
        {"o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", ERR_SYNTAX},
        {"o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n", ERR_SYNTAX},
        {"o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n", ERR_SYNTAX},
        {"o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2Ia\n", ERR_SYNTAX},
        {"o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqg==\n", ERR_SYNTAX},
        {"o\n1\n\n", ERR_SYNTAX},
        {"o\n1\n" ROOT_LINE "\n", ERR_SYNTAX},
        {"o\n1\n" ROOT_LINE "extension", ERR_SYNTAX},
        {"o\n1\n" ROOT_LINE "\nextension\n", ERR_SYNTAX},
        {"o\n1\n" ROOT_LINE "\x01\n", ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct checkpoint c = {.size = 77};
        enum err err = checkpoint_read(slice_of_text(cases[i].text), &c);
        if (err != cases[i].expected)
            print_error("checkpoint %zu: %s\n", i, err_text(err));
        assert_int_equal(err, cases[i].expected);
        if (err != ERR_NONE)
            assert_int_equal(c.size, 77);
    }
}

static void test_checkpoint_writer_refuses(void **state)
{
    (void)state;
    static const struct {
        struct checkpoint c;
        enum err expected;
    } cases[] = {
        {{.origin = ""}, ERR_SYNTAX},
        {{.origin = "two\nlines"}, ERR_SYNTAX},
        {{.origin = "\x07"}, ERR_SYNTAX},
        {{.origin = "o", .size = (uint64_t)INT64_MAX + 1}, ERR_LIMIT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[256];
        struct writer w = writer_over(buffer, sizeof buffer);
        checkpoint_write(&w, &cases[i].c);
        assert_int_equal(w.err, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_notes),
        cmocka_unit_test(test_key_both_ways),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_signing_gives_published_note),
        cmocka_unit_test(test_every_truncation_refused),
        cmocka_unit_test(test_every_flip_refused),
        cmocka_unit_test(test_bad_notes),
        cmocka_unit_test(test_text_may_look_like_a_note),
        cmocka_unit_test(test_foreign_signatures_are_skipped),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_checkpoint_both_ways),
        cmocka_unit_test(test_checkpoint_edges),
        cmocka_unit_test(test_checkpoint_writer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
