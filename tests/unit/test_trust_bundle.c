#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509.h>
#include <string.h>

#include "core/base64.h"
#include "core/trust_bundle.h"
#include "tests/unit/openssl_crypto.h"

/* Key pairs: each seed is one byte repeated. */
enum { OWNER = 1, NEXT_OWNER, STRANGER, LEDGER, ROOT, POLICY };

static uint8_t root_der[CERTIFICATE_MAX];
static size_t root_len;

static const uint8_t *seed_of(int who)
{
    static uint8_t seed[32];
    memset(seed, who, sizeof seed);
    return seed;
}

static struct note_key key_of(int who)
{
    uint8_t public_key[ED25519_KEY_SIZE];
    test_ed25519_public(seed_of(who), public_key);
    const char *name = who == LEDGER   ? "fleet.example/ledger"
                       : who == POLICY ? "fleet.example/policy"
                                       : "fleet.example/bundle";
    struct note_key k;
    assert_int_equal(note_key_init(&k, test_sha256, slice_of_text(name), public_key), ERR_NONE);
    return k;
}

static int make_root(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed_of(ROOT), 32);
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    test_require(X509_set_version(x, X509_VERSION_3) == 1 &&
                 ASN1_INTEGER_set(X509_get_serialNumber(x), 77) == 1 &&
                 X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"Root",
                                            -1, -1, 0) == 1 &&
                 X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1 &&
                 X509_gmtime_adj(X509_getm_notBefore(x), 0) != NULL &&
                 X509_gmtime_adj(X509_getm_notAfter(x), 3600) != NULL &&
                 X509_sign(x, key, NULL) > 0);
    uint8_t *to = root_der;
    test_require(i2d_X509(x, NULL) <= (int)sizeof root_der);
    root_len = (size_t)i2d_X509(x, &to);
    X509_free(x);
    EVP_PKEY_free(key);
    return 0;
}

static struct trust_bundle bundle_of(uint64_t version, int owner)
{
    struct trust_bundle b = {
        .fleet = "fleet.example",
        .version = version,
        .time_floor = 1795407698, /* 2026-11-23T04:21:38Z */
        .bundle_key = key_of(owner),
        .ledger_keys = {key_of(LEDGER)},
        .ledger_keys_len = 1,
        .policy_keys = {key_of(POLICY)},
        .policy_keys_len = 1,
        .server_roots = {slice_of(root_der, root_len)},
        .server_roots_len = 1,
    };
    return b;
}

static void sign(struct writer *w, int who, int also)
{
    uint8_t signature[ED25519_SIGNATURE_SIZE], second[ED25519_SIGNATURE_SIZE];
    struct note_key key = key_of(who);
    test_ed25519_sign(seed_of(who), writer_bytes(w), signature);
    if (also == 0) {
        note_write_signature(w, &key, signature);
        return;
    }
    struct note_key second_key = key_of(also);
    test_ed25519_sign(seed_of(also), writer_bytes(w), second);
    note_write_signature(w, &key, signature);
    note_write_further_signature(w, &second_key, second);
}

static uint8_t note[NOTE_MAX];
static uint8_t storage[NOTE_MAX];

static enum err read_note(struct slice bytes, const struct trust_bundle *held,
                          struct trust_bundle *ret_bundle)
{
    return trust_bundle_read(bytes, held, test_sha256, test_ed25519_verify, storage, sizeof storage,
                             ret_bundle);
}

static void assert_same(const struct trust_bundle *a, const struct trust_bundle *b)
{
    assert_string_equal(a->fleet, b->fleet);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->time_floor, b->time_floor);
    assert_memory_equal(&a->bundle_key, &b->bundle_key, sizeof a->bundle_key);
    assert_int_equal(a->ledger_keys_len, b->ledger_keys_len);
    for (size_t i = 0; i < a->ledger_keys_len; i++)
        assert_memory_equal(&a->ledger_keys[i], &b->ledger_keys[i], sizeof a->ledger_keys[i]);
    assert_int_equal(a->policy_keys_len, b->policy_keys_len);
    for (size_t i = 0; i < a->policy_keys_len; i++)
        assert_memory_equal(&a->policy_keys[i], &b->policy_keys[i], sizeof a->policy_keys[i]);
    assert_int_equal(a->server_roots_len, b->server_roots_len);
    for (size_t i = 0; i < a->server_roots_len; i++)
        assert_true(slice_equal(a->server_roots[i], b->server_roots[i]));
}

static void test_both_ways(void **state)
{
    (void)state;
    static const struct {
        size_t ledgers, policies, roots;
    } cases[] = {
        {1, 1, 1}, {2, 0, 3}, {1, 2, 1}, {TRUST_LEDGERS_MAX, TRUST_POLICY_MAX, TRUST_ROOTS_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trust_bundle b = bundle_of(3, OWNER);
        b.ledger_keys_len = cases[i].ledgers;
        b.policy_keys_len = cases[i].policies;
        b.server_roots_len = cases[i].roots;
        for (size_t k = 1; k < b.ledger_keys_len; k++)
            b.ledger_keys[k] = key_of((int)(100 + k));
        for (size_t k = 1; k < b.policy_keys_len; k++)
            b.policy_keys[k] = key_of((int)(200 + k));
        for (size_t k = 1; k < b.server_roots_len; k++)
            b.server_roots[k] = b.server_roots[0];
        struct writer w = writer_over(note, sizeof note);
        trust_bundle_write(&w, &b);
        sign(&w, OWNER, 0);
        assert_int_equal(w.err, ERR_NONE);
        struct trust_bundle got;
        assert_int_equal(read_note(writer_bytes(&w), NULL, &got), ERR_NONE);
        assert_same(&got, &b);
    }
}

static void test_text_is_as_documented(void **state)
{
    (void)state;
    struct trust_bundle b = bundle_of(3, OWNER);
    struct writer w = writer_over(note, sizeof note);
    trust_bundle_write(&w, &b);
    assert_int_equal(w.err, ERR_NONE);
    assert_true(
        slice_starts_with(writer_bytes(&w), SLICE_LITERAL("holdfast-trust-bundle/v1\n"
                                                          "fleet fleet.example\n"
                                                          "version 3\n"
                                                          "time-floor 2026-11-23T04:21:38Z\n"
                                                          "bundle-key fleet.example/bundle+")));
}

static void test_upgrades(void **state)
{
    (void)state;
    static const struct {
        int owner; /* named in the new bundle */
        int signer, also;
        uint64_t version;
        const char *fleet;
        enum err after_2; /* for a device that holds version 2 by OWNER */
        enum err first;   /* for one that holds nothing */
    } cases[] = {
        {OWNER, OWNER, 0, 3, "fleet.example", ERR_NONE, ERR_NONE},
        {OWNER, OWNER, 0, UINT64_MAX, "fleet.example", ERR_NONE, ERR_NONE},
        {OWNER, OWNER, 0, 2, "fleet.example", ERR_CONFLICT, ERR_NONE},
        {OWNER, OWNER, 0, 1, "fleet.example", ERR_CONFLICT, ERR_NONE},
        {OWNER, OWNER, 0, 0, "fleet.example", ERR_CONFLICT, ERR_NONE},
        {OWNER, OWNER, 0, 3, "other.example", ERR_REFUSED, ERR_NONE},
        /* a new bundle key: signed by the old, the new, both */
        {NEXT_OWNER, OWNER, 0, 3, "fleet.example", ERR_NONE, ERR_NOT_FOUND},
        {NEXT_OWNER, NEXT_OWNER, 0, 3, "fleet.example", ERR_NOT_FOUND, ERR_NONE},
        {NEXT_OWNER, OWNER, NEXT_OWNER, 3, "fleet.example", ERR_NONE, ERR_NONE},
        {NEXT_OWNER, NEXT_OWNER, OWNER, 3, "fleet.example", ERR_NONE, ERR_NONE},
        {OWNER, STRANGER, 0, 3, "fleet.example", ERR_NOT_FOUND, ERR_NOT_FOUND},
        {STRANGER, STRANGER, 0, 3, "fleet.example", ERR_NOT_FOUND, ERR_NONE},
        {OWNER, LEDGER, 0, 3, "fleet.example", ERR_NOT_FOUND, ERR_NOT_FOUND},
    };
    struct trust_bundle held = bundle_of(2, OWNER);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trust_bundle b = bundle_of(cases[i].version, cases[i].owner);
        memcpy(b.fleet, cases[i].fleet, strlen(cases[i].fleet) + 1);
        struct writer w = writer_over(note, sizeof note);
        trust_bundle_write(&w, &b);
        sign(&w, cases[i].signer, cases[i].also);
        assert_int_equal(w.err, ERR_NONE);

        struct trust_bundle got = {.version = 77};
        assert_int_equal(read_note(writer_bytes(&w), &held, &got), cases[i].after_2);
        assert_int_equal(got.version, cases[i].after_2 == ERR_NONE ? cases[i].version : 77);
        got.version = 77;
        assert_int_equal(read_note(writer_bytes(&w), NULL, &got), cases[i].first);
        assert_int_equal(got.version, cases[i].first == ERR_NONE ? cases[i].version : 77);
    }
}

static void test_every_truncation_and_flip_refused(void **state)
{
    (void)state;
    struct trust_bundle b = bundle_of(3, OWNER), held = bundle_of(2, OWNER), got;
    struct writer w = writer_over(note, sizeof note);
    trust_bundle_write(&w, &b);
    sign(&w, OWNER, 0);
    for (size_t len = 0; len < w.len; len++) {
        assert_int_not_equal(read_note(slice_of(note, len), NULL, &got), ERR_NONE);
        assert_int_not_equal(read_note(slice_of(note, len), &held, &got), ERR_NONE);
    }
    for (size_t i = 0; i < w.len; i++) {
        for (unsigned bits = 1; bits < 256; bits *= 2) {
            note[i] ^= (uint8_t)bits;
            assert_int_not_equal(read_note(writer_bytes(&w), NULL, &got), ERR_NONE);
            assert_int_not_equal(read_note(writer_bytes(&w), &held, &got), ERR_NONE);
            note[i] ^= (uint8_t)bits;
        }
    }
}

/* A bundle's lines, of which one is replaced; in the replacement % stands for the line itself. */
static void write_changed(struct writer *w, struct slice text, size_t changed,
                          const char *replacement)
{
    struct reader r = reader_over(text);
    for (size_t at = 0; reader_left(&r) > 0; at++) {
        struct slice line = reader_until(&r, '\n');
        if (at != changed) {
            writer_put(w, line);
            writer_text(w, "\n");
            continue;
        }
        for (const char *c = replacement; *c != '\0'; c++) {
            if (*c == '%')
                writer_put(w, line);
            else
                writer_u8(w, (uint8_t)*c);
        }
    }
}

static void test_bad_texts(void **state)
{
    (void)state;
    enum { HEAD, FLEET, VERSION, FLOOR, BUNDLE_KEY, LEDGER_KEY, POLICY_KEY, SERVER_ROOT };
#define LABEL_63 "a23456789b23456789c23456789d23456789e23456789f23456789g23456789"
    static const struct {
        size_t line;
        const char *replacement;
        enum err expected;
    } cases[] = {
        {HEAD, "%\n", ERR_NONE},
        {HEAD, "", ERR_SYNTAX},
        {HEAD, "holdfast-trust-bundle/v2\n", ERR_SYNTAX},
        {HEAD, "%\n\n", ERR_SYNTAX},
        {HEAD, "%\nowner me\n", ERR_SYNTAX},
        {HEAD, "# %\n", ERR_SYNTAX},
        {FLEET, "", ERR_SYNTAX},
        {FLEET, "%\n%\n", ERR_SYNTAX},
        {FLEET, "fleet a\n", ERR_NONE},
        {FLEET, "fleet a-b.c0\n", ERR_NONE},
        {FLEET, "fleet a--b\n", ERR_NONE},
        {FLEET, "fleet " LABEL_63 "\n", ERR_NONE},
        {FLEET, "fleet " LABEL_63 "a\n", ERR_LIMIT},
        {FLEET, "fleet \n", ERR_SYNTAX},
        {FLEET, "fleet\n", ERR_SYNTAX},
        {FLEET, "fleet  a\n", ERR_SYNTAX},
        {FLEET, "fleet A\n", ERR_SYNTAX},
        {FLEET, "fleet a_b\n", ERR_SYNTAX},
        {FLEET, "fleet a b\n", ERR_SYNTAX},
        {FLEET, "fleet a/b\n", ERR_SYNTAX},
        {FLEET, "fleet .a\n", ERR_SYNTAX},
        {FLEET, "fleet a.\n", ERR_SYNTAX},
        {FLEET, "fleet a..b\n", ERR_SYNTAX},
        {FLEET, "fleet -a\n", ERR_SYNTAX},
        {FLEET, "fleet a-\n", ERR_SYNTAX},
        {FLEET, "fleet a.-b\n", ERR_SYNTAX},
        {FLEET, "fleet a-.b\n", ERR_SYNTAX},
        {VERSION, "", ERR_SYNTAX},
        {VERSION, "version \n", ERR_SYNTAX},
        {VERSION, "version 0\n", ERR_NONE},
        {VERSION, "version 03\n", ERR_SYNTAX},
        {VERSION, "version -3\n", ERR_SYNTAX},
        {VERSION, "version 3 \n", ERR_SYNTAX},
        {VERSION, "version 18446744073709551615\n", ERR_NONE},
        {VERSION, "version 18446744073709551616\n", ERR_LIMIT},
        {VERSION, "%\n%\n", ERR_SYNTAX},
        {FLOOR, "", ERR_SYNTAX},
        {FLOOR, "time-floor 2026-11-23\n", ERR_SYNTAX},
        {FLOOR, "time-floor 2026-13-23T04:21:38Z\n", ERR_SYNTAX},
        {FLOOR, "%\n%\n", ERR_SYNTAX},
        {BUNDLE_KEY, "", ERR_SYNTAX},
        {BUNDLE_KEY, "bundle-key x\n", ERR_SYNTAX},
        {BUNDLE_KEY, "%\n%\n", ERR_SYNTAX},
        {BUNDLE_KEY, "% \n", ERR_SYNTAX},
        {LEDGER_KEY, "", ERR_SYNTAX},
        {LEDGER_KEY, "%\n%\n", ERR_NONE},
        {LEDGER_KEY, "%\n%\n%\n%\n%\n%\n%\n%\n", ERR_NONE},
        {LEDGER_KEY, "%\n%\n%\n%\n%\n%\n%\n%\n%\n", ERR_LIMIT},
        {LEDGER_KEY, "%\nlocation here\n", ERR_SYNTAX},
        {LEDGER_KEY, "ledger-key PeterNeumann+c74f20a4+AR\n", ERR_SYNTAX},
        {LEDGER_KEY,
         "ledger-key remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2\n",
         ERR_UNSUPPORTED},
        {POLICY_KEY, "", ERR_NONE}, /* a fleet of before there were policies */
        {POLICY_KEY, "%\n%\n%\n%\n%\n%\n%\n%\n", ERR_NONE},
        {POLICY_KEY, "%\n%\n%\n%\n%\n%\n%\n%\n%\n", ERR_LIMIT},
        {POLICY_KEY, "policy-key PeterNeumann+c74f20a4+AR\n", ERR_SYNTAX},
        {POLICY_KEY, "policy-keys x\n", ERR_SYNTAX},
        {LEDGER_KEY, "policy-key x\n%\n", ERR_SYNTAX},
        {SERVER_ROOT, "", ERR_SYNTAX},
        {SERVER_ROOT, "%\n%\n%\n%\n", ERR_NONE},
        {SERVER_ROOT, "%\n%\n%\n%\n%\n", ERR_LIMIT},
        {SERVER_ROOT, "server-root \n", ERR_SYNTAX},
        {SERVER_ROOT, "server-root ????\n", ERR_SYNTAX},
        {SERVER_ROOT, "server-root MAA=\n", ERR_SYNTAX},
        {SERVER_ROOT, "%AAAA\n", ERR_SYNTAX},
        {SERVER_ROOT, "%\nrelease-root x\n", ERR_SYNTAX},
        {SERVER_ROOT, "%\n\n", ERR_SYNTAX},
    };
    uint8_t text[NOTE_MAX];
    struct writer good = writer_over(text, sizeof text);
    struct trust_bundle b = bundle_of(3, OWNER);
    trust_bundle_write(&good, &b);
    assert_int_equal(good.err, ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer w = writer_over(note, sizeof note);
        write_changed(&w, writer_bytes(&good), cases[i].line, cases[i].replacement);
        sign(&w, OWNER, 0);
        assert_int_equal(w.err, ERR_NONE);
        struct trust_bundle got = {.version = 77};
        enum err err = read_note(writer_bytes(&w), NULL, &got);
        if (err != cases[i].expected)
            print_error("text %zu: %s\n", i, err_text(err));
        assert_int_equal(err, cases[i].expected);
        if (err != ERR_NONE)
            assert_int_equal(got.version, 77);
    }
}

static void test_storage_limit(void **state)
{
    (void)state;
    struct trust_bundle b = bundle_of(3, OWNER), got;
    b.server_roots[1] = b.server_roots[0];
    b.server_roots_len = 2;
    struct writer w = writer_over(note, sizeof note);
    trust_bundle_write(&w, &b);
    sign(&w, OWNER, 0);
    assert_int_equal(trust_bundle_read(writer_bytes(&w), NULL, test_sha256, test_ed25519_verify,
                                       storage, 2 * root_len - 1, &got),
                     ERR_LIMIT);
    assert_int_equal(trust_bundle_read(writer_bytes(&w), NULL, test_sha256, test_ed25519_verify,
                                       storage, 2 * root_len, &got),
                     ERR_NONE);
    assert_ptr_equal(got.server_roots[1].data, storage + root_len);
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct trust_bundle good = bundle_of(3, OWNER);
    for (int i = 0; i < 7; i++) {
        struct trust_bundle b = good;
        if (i == 0)
            b.ledger_keys_len = 0;
        if (i == 1)
            b.ledger_keys_len = TRUST_LEDGERS_MAX + 1;
        if (i == 2)
            b.server_roots_len = 0;
        if (i == 3)
            b.server_roots_len = TRUST_ROOTS_MAX + 1;
        if (i == 4)
            b.policy_keys_len = TRUST_POLICY_MAX + 1;
        if (i == 5)
            b.fleet[0] = '\0';
        if (i == 6)
            b.fleet[1] = '\n';
        struct writer w = writer_over(note, sizeof note);
        trust_bundle_write(&w, &b);
        assert_int_equal(w.err, i < 5 ? ERR_LIMIT : ERR_SYNTAX);
        assert_int_equal(w.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_text_is_as_documented),
        cmocka_unit_test(test_upgrades),
        cmocka_unit_test(test_every_truncation_and_flip_refused),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_storage_limit),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests(tests, make_root, NULL);
}
