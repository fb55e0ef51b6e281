#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "core/cursor.h"

static void check_hash(const struct slice *parts, size_t n, const char *expected)
{
    uint8_t hash[SHA256_SIZE];
    char text[2 * SHA256_SIZE + 1] = "";
    struct writer w = writer_over(text, sizeof text - 1);
    crypto_sha256(parts, n, hash);
    writer_hex(&w, slice_of(hash, sizeof hash));
    assert_string_equal(text, expected);
}

/* FIPS 180-4's examples, as published by NIST. */
static void hashes(void **state)
{
    (void)state;
    const struct slice abc = SLICE_LITERAL("abc");
    const struct slice apart[] = {SLICE_LITERAL("a"), {NULL, 0}, SLICE_LITERAL("bc")};
    const struct slice two_blocks =
        SLICE_LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq");
    check_hash(&abc, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_hash(apart, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_hash(&two_blocks, 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_hash(NULL, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    uint8_t hash[SHA256_SIZE];
    crypto_sha256_one(abc, hash);
    assert_int_equal(hash[0], 0xba);
}

static void *hash_on_a_thread(void *nothing)
{
    const struct slice abc = SLICE_LITERAL("abc");
    for (int i = 0; i < 1000; i++)
        check_hash(&abc, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    return nothing;
}

static void hashes_on_many_threads(void **state)
{
    (void)state;
    pthread_t threads[8];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_on_a_thread, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* RFC 8032 section 7.1, tests 1 and 2 */
static const uint8_t key1[] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                               0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                               0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
static const uint8_t signature1[] = {
    0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2, 0xcc, 0x80, 0x6e, 0x82, 0x8a,
    0x84, 0x87, 0x7f, 0x1e, 0xb8, 0xe5, 0xd9, 0x74, 0xd8, 0x73, 0xe0, 0x65, 0x22, 0x49, 0x01, 0x55,
    0x5f, 0xb8, 0x82, 0x15, 0x90, 0xa3, 0x3b, 0xac, 0xc6, 0x1e, 0x39, 0x70, 0x1c, 0xf9, 0xb4, 0x6b,
    0xd2, 0x5b, 0xf5, 0xf0, 0x59, 0x5b, 0xbe, 0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b};
static const uint8_t key2[] = {0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a,
                               0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4,
                               0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
static const uint8_t signature2[] = {
    0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40,
    0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda,
    0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c,
    0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};

static void verifies_ed25519(void **state)
{
    (void)state;
    const struct slice r = SLICE_LITERAL("\x72");
    uint8_t bad[ED25519_SIGNATURE_SIZE];
    const uint8_t no_point[ED25519_KEY_SIZE] = {0x02};
    assert_int_equal(crypto_ed25519_verify(key1, slice_of(NULL, 0), signature1), ERR_NONE);
    assert_int_equal(crypto_ed25519_verify(key2, r, signature2), ERR_NONE);
    assert_int_equal(crypto_ed25519_verify(key1, r, signature2), ERR_BAD_SIGNATURE);
    assert_int_equal(crypto_ed25519_verify(key2, SLICE_LITERAL("s"), signature2),
                     ERR_BAD_SIGNATURE);
    assert_int_equal(crypto_ed25519_verify(no_point, r, signature2), ERR_BAD_SIGNATURE);
    for (size_t i = 0; i < sizeof bad; i++) {
        memcpy(bad, signature2, sizeof bad);
        bad[i] ^= 1;
        assert_int_equal(crypto_ed25519_verify(key2, r, bad), ERR_BAD_SIGNATURE);
    }
}

/* RFC 4231 has no case with a key of 32 bytes; this one is from another implementation. */
static void macs(void **state)
{
    (void)state;
    uint8_t key[SHA256_SIZE], mac[SHA256_SIZE], wanted[SHA256_SIZE];
    struct writer w = writer_over(wanted, sizeof wanted);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    writer_unhex(&w,
                 SLICE_LITERAL("4b3b1e7b87be634c1c4efb096ad95f41f66b00c3ff16bb32b76367fd5c5e7aa4"));
    crypto_hmac_sha256(key, SLICE_LITERAL("holdfast"), mac);
    assert_memory_equal(mac, wanted, sizeof mac);
}

static void seals(void **state)
{
    (void)state;
    uint8_t key[SHA256_SIZE] = {1}, other[SHA256_SIZE] = {2}, box[CRYPTO_SEAL_TEXT_MAX + 64];
    uint8_t again[sizeof box], text[CRYPTO_SEAL_TEXT_MAX];
    const struct slice context = SLICE_LITERAL("row 7");
    static const size_t lengths[] = {0, 1, 16, 64, CRYPTO_SEAL_TEXT_MAX};
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        const struct slice plain = slice_of(text, lengths[i]);
        struct writer w = writer_over(box, sizeof box), w2 = writer_over(again, sizeof again);
        assert_int_equal(crypto_seal(key, context, plain, &w), ERR_NONE);
        assert_int_equal(crypto_seal(key, context, plain, &w2), ERR_NONE);
        assert_int_equal(w.len, lengths[i] + CRYPTO_SEAL_OVERHEAD);
        assert_memory_not_equal(box, again, w.len); /* each with a nonce of its own */

        const struct slice sealed = writer_bytes(&w);
        uint8_t found[CRYPTO_SEAL_TEXT_MAX];
        struct writer out = writer_over(found, sizeof found);
        assert_int_equal(crypto_unseal(key, context, sealed, &out), ERR_NONE);
        assert_int_equal(out.len, lengths[i]);
        assert_memory_equal(found, text, out.len);
        out = writer_over(found, sizeof found);
        assert_int_equal(crypto_unseal(other, context, sealed, &out), ERR_BAD_SIGNATURE);
        assert_int_equal(crypto_unseal(key, SLICE_LITERAL("row 8"), sealed, &out),
                         ERR_BAD_SIGNATURE);
        for (size_t cut = 0; cut < sealed.len; cut++)
            assert_int_equal(crypto_unseal(key, context, slice_of(box, cut), &out),
                             ERR_BAD_SIGNATURE);
        for (size_t at = 0; at < sealed.len; at++) {
            box[at] ^= 1;
            assert_int_equal(crypto_unseal(key, context, sealed, &out), ERR_BAD_SIGNATURE);
            box[at] ^= 1;
        }
        assert_int_equal(out.len, 0);
    }
    struct writer w = writer_over(box, sizeof box);
    assert_int_equal(crypto_seal(key, context, slice_of(again, CRYPTO_SEAL_TEXT_MAX + 1), &w),
                     ERR_LIMIT);
    w = writer_over(box, CRYPTO_SEAL_OVERHEAD);
    assert_int_equal(crypto_seal(key, context, slice_of(text, 1), &w), ERR_LIMIT);
}

static void draws_random_bytes(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    assert_int_equal(crypto_random(a, sizeof a), ERR_NONE);
    assert_int_equal(crypto_random(b, sizeof b), ERR_NONE);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(crypto_random(a, SIZE_MAX), ERR_LIMIT);
    assert_int_equal(crypto_random(a, 0), ERR_NONE);
}

static void the_clock_can_be_moved(void **state)
{
    (void)state;
    int64_t before = clock_seconds(), monotonic = clock_monotonic_ms();
    assert_in_range(before, 1600000000, INT64_MAX);
    clock_shift(86400);
    assert_in_range(clock_seconds() - before, 86400, 86460);
    assert_in_range(clock_milliseconds() / 1000 - before, 86400, 86460);
    clock_shift(-86400);
    assert_in_range(clock_seconds() - before, 0, 60);
    assert_in_range(clock_monotonic_ms() - monotonic, 0, 60000);
    assert_in_range(clock_monotonic_us() / 1000 - monotonic, 0, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes),
        cmocka_unit_test(hashes_on_many_threads),
        cmocka_unit_test(verifies_ed25519),
        cmocka_unit_test(macs),
        cmocka_unit_test(seals),
        cmocka_unit_test(draws_random_bytes),
        cmocka_unit_test(the_clock_can_be_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
