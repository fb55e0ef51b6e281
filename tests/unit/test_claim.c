#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "hub/identity/internal.h"

#define CHARS  26
#define TEXT   30 /* with four dashes */
#define SAMPLE 4096

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* What the hash of a code is to be, worked out from the secret it stands for. */
static struct hash hash_of(const uint8_t secret[IDENTITY_CLAIM_BYTES])
{
    struct hash hash;
    const struct slice parts[] = {SLICE_LITERAL("holdfast-claim/v1\n"),
                                  slice_of(secret, IDENTITY_CLAIM_BYTES)};
    crypto_sha256(parts, ARRAY_LEN(parts), hash.bytes);
    return hash;
}

/* Five bits a character, the most significant first, bit by bit. */
static void encode(const uint8_t secret[IDENTITY_CLAIM_BYTES], char code[CHARS + 1])
{
    for (size_t i = 0; i < CHARS; i++) {
        unsigned digit = 0;
        for (size_t bit = 5 * i; bit < 5 * i + 5; bit++) {
            bool set =
                bit < 8 * IDENTITY_CLAIM_BYTES && (secret[bit / 8] >> (7 - bit % 8) & 1) != 0;
            digit = digit << 1 | set;
        }
        code[i] = alphabet[digit];
    }
    code[CHARS] = '\0';
}

static void assert_hash(const char *code, const struct hash *expected)
{
    struct hash hash = {{0}};
    enum err err = identity_claim_hash(slice_of_text(code), &hash);
    if (err != ERR_NONE || memcmp(&hash, expected, sizeof hash) != 0)
        fail_msg("'%s': %s", code, err_text(err));
}

static void assert_refused(const char *code)
{
    struct hash hash, before;
    memset(&hash, 0x5a, sizeof hash);
    before = hash;
    if (identity_claim_hash(slice_of_text(code), &hash) != ERR_SYNTAX)
        fail_msg("taken: '%s'", code);
    assert_memory_equal(&hash, &before, sizeof hash);
}

static void stands_for_its_secret(void **state)
{
    (void)state;
    uint8_t secret[IDENTITY_CLAIM_BYTES];
    char code[CHARS + 1];
    for (unsigned n = 0; n < 300; n++) {
        memset(secret, n == 0 ? 0 : 0xff, sizeof secret);
        if (n >= 2 && n < 2 + 8 * sizeof secret) { /* each bit alone */
            memset(secret, 0, sizeof secret);
            secret[(n - 2) / 8] = (uint8_t)(1U << (n - 2) % 8);
        } else if (n >= 2) {
            assert_int_equal(crypto_random(secret, sizeof secret), ERR_NONE);
        }
        encode(secret, code);
        struct hash expected = hash_of(secret);
        assert_hash(code, &expected);
    }
    /* as anybody can compute it: the bytes 0 to 15 */
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)i;
    struct hash expected = hash_of(secret);
    assert_hash("000G40R40M30E209185GR38E1W", &expected);
}

static void is_made_as_it_is_read(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 200; n++) {
        char code[IDENTITY_CLAIM_TEXT];
        struct hash hash = {{0}};
        assert_int_equal(claim_make(code, &hash), ERR_NONE);
        assert_int_equal(strlen(code), TEXT);
        for (size_t i = 0; i < TEXT; i++) {
            bool dash = i == 5 || i == 11 || i == 17 || i == 23;
            if (dash ? code[i] != '-' : strchr(alphabet, code[i]) == NULL)
                fail_msg("'%s' at %zu", code, i);
        }
        assert_hash(code, &hash);
    }
}

/* People read it from a label, type it, paste it. */
static void forgives_how_it_is_written(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "01ABC-DEFGH-JKMNP-QRSTV-WXYZ10",      "01ABCDEFGHJKMNPQRSTVWXYZ10",
        "01abc-defgh-jkmnp-qrstv-wxyz10",      "01aBCdEfgHJkmnPqrSTvWxYz10",
        "OIABC-DEFGH-JKMNP-QRSTV-WXYZIO",      "oiabc-defgh-jkmnp-qrstv-wxyzio",
        "0LABC-DEFGH-JKMNP-QRSTV-WXYZL0",      "olabc-defgh-jkmnp-qrstv-wxyzlo",
        "0-1-A-B-C-D-E-F-GHJKMNPQRSTVWXYZ1-0", "--01ABCDEFGHJKMNPQRSTVWXYZ10--",
        "01ABCDEFGHJKMNPQRSTVWXYZ1-0",
    };
    struct hash expected;
    assert_int_equal(identity_claim_hash(slice_of_text(forms[0]), &expected), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        assert_hash(forms[i], &expected);
}

static void refuses_what_is_no_code(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "-",
        "--------------------------",
        "01ABCDEFGHJKMNPQRSTVWXYZ1",   /* 25 characters */
        "01ABCDEFGHJKMNPQRSTVWXYZ100", /* 27 */
        "01ABC-DEFGH-JKMNP-QRSTV-WXYZ1",
        "01ABC-DEFGH-JKMNP-QRSTV-WXYZ100",
        "01ABCDEFGHJKMNPQRSTVWXYZ1001ABCDEFGHJKMNPQRSTVWXYZ10",
        "U1ABCDEFGHJKMNPQRSTVWXYZ10", /* not in the alphabet */
        "u1ABCDEFGHJKMNPQRSTVWXYZ10",
        "01ABC DEFGHJKMNPQRSTVWXYZ10",
        " 01ABCDEFGHJKMNPQRSTVWXYZ10",
        "01ABCDEFGHJKMNPQRSTVWXYZ10\n",
        "01ABCDEFGHJKMNPQRSTVWXYZ1=",
        "01ABC_DEFGHJKMNPQRSTVWXYZ10",
        "01ABC\xe2\x80\x93"
        "DEFGHJKMNPQRSTVWXYZ10", /* an en dash */
        "\xff"
        "1ABCDEFGHJKMNPQRSTVWXYZ10",
        "@1ABCDEFGHJKMNPQRSTVWXYZ10",
        "[1ABCDEFGHJKMNPQRSTVWXYZ10",
        "`1ABCDEFGHJKMNPQRSTVWXYZ10",
        "{1ABCDEFGHJKMNPQRSTVWXYZ10",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(cases[i]);
    /* a NUL ends a text, but not a slice; nor is it a digit, as the alphabet's own end */
    struct hash hash;
    assert_int_equal(identity_claim_hash(SLICE_LITERAL("01ABCDEFGHJKMNPQRSTVWXYZ1\0"), &hash),
                     ERR_SYNTAX);
    assert_int_equal(identity_claim_hash(SLICE_LITERAL("01ABCDEFGHJKMNPQRSTVWXYZ10\0"), &hash),
                     ERR_SYNTAX);
    assert_int_equal(identity_claim_hash(slice_of(NULL, 0), &hash), ERR_SYNTAX);
}

/* 26 characters hold 130 bits: the two that stand for nothing are zero, so there is one code for a
 * secret, not four. */
static void has_no_spare_bits(void **state)
{
    (void)state;
    char code[] = "01ABCDEFGHJKMNPQRSTVWXYZ10";
    struct hash seen[8];
    size_t taken = 0;
    for (size_t v = 0; v < 32; v++) {
        code[CHARS - 1] = alphabet[v];
        if (v % 4 != 0) {
            assert_refused(code);
            continue;
        }
        assert_int_equal(identity_claim_hash(slice_of_text(code), &seen[taken]), ERR_NONE);
        for (size_t i = 0; i < taken; i++)
            assert_memory_not_equal(&seen[i], &seen[taken], sizeof seen[0]);
        taken++;
    }
    assert_int_equal(taken, 8);
    /* I and L are one, and that is a spare bit here; O is nought */
    code[CHARS - 1] = 'L';
    assert_refused(code);
    code[CHARS - 1] = 'o';
    struct hash zero;
    assert_int_equal(identity_claim_hash(slice_of_text(code), &zero), ERR_NONE);
    assert_memory_equal(&zero, &seen[0], sizeof zero);
}

static void without_dashes(char *code)
{
    char *to = code;
    for (const char *c = code; *c != '\0'; c++)
        if (*c != '-')
            *to++ = *c;
    *to = '\0';
}

static void assert_spread(unsigned count, unsigned expected, const char *what, size_t place)
{
    /* eight standard deviations and more: by chance that happens once in 10^12 runs */
    unsigned room = expected / 5 * 4;
    if (count > expected + room || count + room < expected)
        fail_msg("%s at %zu: %u times instead of %u", what, place, count, expected);
}

/* Not a test of the generator: of no bit being lost, stuck or used twice on its way into a code. */
static void spreads_over_the_alphabet(void **state)
{
    (void)state;
    static unsigned counts[CHARS][32], repeated[CHARS];
    char code[IDENTITY_CLAIM_TEXT], before[IDENTITY_CLAIM_TEXT] = "";
    struct hash hash;
    for (size_t n = 0; n < SAMPLE; n++) {
        assert_int_equal(claim_make(code, &hash), ERR_NONE);
        without_dashes(code);
        assert_int_equal(strlen(code), CHARS);
        assert_string_not_equal(code, before);
        for (size_t i = 0; i < CHARS; i++) {
            counts[i][strchr(alphabet, code[i]) - alphabet]++;
            repeated[i] += i > 0 && code[i] == code[i - 1];
        }
        memcpy(before, code, sizeof before);
    }
    for (size_t i = 0; i < CHARS; i++) {
        const bool last = i == CHARS - 1; /* three bits instead of five */
        for (size_t v = 0; v < 32; v++) {
            const char what[] = {alphabet[v], '\0'};
            if (last && v % 4 != 0)
                assert_int_equal(counts[i][v], 0);
            else
                assert_spread(counts[i][v], last ? SAMPLE / 8 : SAMPLE / 32, what, i);
        }
        if (i > 0)
            assert_spread(repeated[i], SAMPLE / 32, "the one before", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_for_its_secret),      cmocka_unit_test(is_made_as_it_is_read),
        cmocka_unit_test(forgives_how_it_is_written), cmocka_unit_test(refuses_what_is_no_code),
        cmocka_unit_test(has_no_spare_bits),          cmocka_unit_test(spreads_over_the_alphabet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
