#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/merkle.h"
#include "tests/unit/openssl_crypto.h"

#define SIZE_MAX_TESTED 130

static struct hash hash_from_hex(const char *hex)
{
    struct hash h;
    assert_int_equal(strlen(hex), 2 * sizeof h.bytes);
    for (size_t i = 0; i < sizeof h.bytes; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        h.bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return h;
}

static void assert_hash(struct hash got, struct hash expected)
{
    assert_memory_equal(got.bytes, expected.bytes, sizeof got.bytes);
}

/* The inputs and roots of Certificate Transparency's reference implementation. */
static const struct {
    const char *leaf;
    size_t len;
    const char *root; /* of the tree that ends with this leaf */
} reference[] = {
    {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {"\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
    {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
    {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
    {"\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
    {"\x50\x51\x52\x53\x54\x55\x56\x57", 8,
     "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
    {"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16,
     "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
};

static void test_reference_roots(void **state)
{
    (void)state;
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    struct hash empty =
        hash_from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_hash(merkle_empty_root(test_sha256), empty);
    assert_hash(merkle_frontier_root(&f, test_sha256), empty);
    for (size_t i = 0; i < ARRAY_LEN(reference); i++) {
        struct hash leaf =
            merkle_leaf_hash(test_sha256, slice_of(reference[i].leaf, reference[i].len));
        merkle_frontier_append(&f, test_sha256, &leaf);
        assert_int_equal(f.size, i + 1);
        assert_hash(merkle_frontier_root(&f, test_sha256), hash_from_hex(reference[i].root));
    }
}

static void test_reference_proofs(void **state)
{
    (void)state;
    struct hash root8 = hash_from_hex(reference[7].root);
    struct hash leaf5 = merkle_leaf_hash(test_sha256, slice_of(reference[5].leaf, 4));
    struct hash inclusion_5_8[] = {
        hash_from_hex("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
        hash_from_hex("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
        hash_from_hex("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    };
    assert_int_equal(merkle_verify_inclusion(test_sha256, &leaf5, 5, 8, inclusion_5_8, 3, &root8),
                     ERR_NONE);

    struct hash root6 = hash_from_hex(reference[5].root);
    struct hash consistency_6_8[] = {
        hash_from_hex("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
        hash_from_hex("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
        hash_from_hex("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    };
    assert_int_equal(
        merkle_verify_consistency(test_sha256, 6, &root6, 8, &root8, consistency_6_8, 3), ERR_NONE);
}

/* RFC 6962 section 2.1 to the letter, over leaves made of their number; MTH is remembered. */
static struct hash mth_known[SIZE_MAX_TESTED + 1][SIZE_MAX_TESTED + 1];
static bool mth_is_known[SIZE_MAX_TESTED + 1][SIZE_MAX_TESTED + 1];

static size_t split(size_t n)
{
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    return k;
}

static struct hash leaf_of(size_t i)
{
    uint8_t number[2] = {(uint8_t)(i >> 8), (uint8_t)i};
    return merkle_leaf_hash(test_sha256, slice_of(number, sizeof number));
}

static struct hash mth(size_t from, size_t to)
{
    if (mth_is_known[from][to])
        return mth_known[from][to];
    struct hash h;
    if (from == to) {
        test_sha256(NULL, 0, h.bytes);
    } else if (to - from == 1) {
        h = leaf_of(from);
    } else {
        size_t k = split(to - from);
        struct hash left = mth(from, from + k);
        struct hash right = mth(from + k, to);
        uint8_t node[1 + 2 * SHA256_SIZE] = {1};
        memcpy(node + 1, left.bytes, SHA256_SIZE);
        memcpy(node + 1 + SHA256_SIZE, right.bytes, SHA256_SIZE);
        struct slice part = slice_of(node, sizeof node);
        test_sha256(&part, 1, h.bytes);
    }
    mth_known[from][to] = h;
    mth_is_known[from][to] = true;
    return h;
}

static size_t path(size_t m, size_t from, size_t to, struct hash *proof)
{
    if (to - from == 1)
        return 0;
    size_t k = split(to - from);
    size_t n;
    if (m < k) {
        n = path(m, from, from + k, proof);
        proof[n] = mth(from + k, to);
    } else {
        n = path(m - k, from + k, to, proof);
        proof[n] = mth(from, from + k);
    }
    return n + 1;
}

static size_t subproof(size_t m, size_t from, size_t to, bool complete, struct hash *proof)
{
    size_t n = to - from;
    if (m == n) {
        if (complete)
            return 0;
        proof[0] = mth(from, to);
        return 1;
    }
    size_t k = split(n);
    size_t len;
    if (m <= k) {
        len = subproof(m, from, from + k, complete, proof);
        proof[len] = mth(from + k, to);
    } else {
        len = subproof(m - k, from + k, to, false, proof);
        proof[len] = mth(from, from + k);
    }
    return len + 1;
}

static void test_frontier_against_definition(void **state)
{
    (void)state;
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    for (size_t n = 0; n <= SIZE_MAX_TESTED; n++) {
        struct merkle_frontier snapshot = f;
        assert_hash(merkle_frontier_root(&snapshot, test_sha256), mth(0, n));
        struct hash leaf = leaf_of(n);
        merkle_frontier_append(&f, test_sha256, &leaf);
    }
}

/* One proof of either kind, so that tampering is written once. */
struct claim {
    bool is_consistency;
    size_t small; /* leaf number, or old size */
    size_t size;
    struct hash start; /* leaf, or old root */
    struct hash root;
    struct hash proof[MERKLE_PROOF_MAX];
    size_t len;
};

static enum err check(const struct claim *c)
{
    if (c->is_consistency)
        return merkle_verify_consistency(test_sha256, c->small, &c->start, c->size, &c->root,
                                         c->proof, c->len);
    return merkle_verify_inclusion(test_sha256, &c->start, c->small, c->size, c->proof, c->len,
                                   &c->root);
}

static void assert_refused(struct claim c)
{
    assert_int_equal(check(&c), ERR_BAD_SIGNATURE);
}

static void assert_tampering_refused(const struct claim *good)
{
    struct claim c;
    for (size_t i = 0; i < good->len; i++) {
        c = *good;
        c.proof[i].bytes[(i * 7) % SHA256_SIZE] ^= 1;
        assert_refused(c);
        c = *good;
        memmove(&c.proof[i], &c.proof[i + 1], (c.len - i - 1) * sizeof c.proof[0]);
        c.len--;
        assert_refused(c);
        if (i > 0) {
            c = *good;
            c.proof[i] = good->proof[i - 1];
            c.proof[i - 1] = good->proof[i];
            assert_refused(c);
        }
    }
    c = *good;
    c.proof[c.len++] = good->root;
    assert_refused(c);
    c = *good;
    memmove(&c.proof[1], &c.proof[0], c.len * sizeof c.proof[0]);
    c.proof[0] = good->start;
    c.len++;
    assert_refused(c);
    c = *good;
    c.start.bytes[31] ^= 0x80;
    assert_refused(c);
    c = *good;
    c.root.bytes[0] ^= 1;
    assert_refused(c);
    c = *good;
    c.small = c.size + 1;
    assert_refused(c);
}

static void test_inclusion_against_definition(void **state)
{
    (void)state;
    for (size_t size = 1; size <= SIZE_MAX_TESTED; size++) {
        for (size_t i = 0; i < size; i++) {
            struct claim c = {.small = i, .size = size, .start = leaf_of(i), .root = mth(0, size)};
            c.len = path(i, 0, size, c.proof);
            assert_int_equal(check(&c), ERR_NONE);
            assert_tampering_refused(&c);
            c.small = i == 0 ? size - 1 : i - 1;
            if (size > 1)
                assert_refused(c);
            c.small = size;
            assert_refused(c);
        }
    }
}

static void test_consistency_against_definition(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SIZE_MAX_TESTED; size++) {
        for (size_t old = 0; old <= size; old++) {
            struct claim c = {.is_consistency = true,
                              .small = old,
                              .size = size,
                              .start = mth(0, old),
                              .root = mth(0, size)};
            c.len = old == 0 ? 0 : subproof(old, 0, size, true, c.proof);
            assert_int_equal(check(&c), ERR_NONE);
            if (old > 0)
                assert_tampering_refused(&c);
        }
    }
}

static void test_consistency_edges(void **state)
{
    (void)state;
    struct hash empty = mth(0, 0);
    struct hash one = mth(0, 1);
    struct hash two = mth(0, 2);
    struct {
        size_t old_size;
        const struct hash *old_root;
        size_t new_size;
        const struct hash *new_root;
        size_t proof_len;
        enum err expected;
    } cases[] = {
        {0, &empty, 0, &empty, 0, ERR_NONE},
        {0, &one, 0, &one, 0, ERR_BAD_SIGNATURE},
        {0, &empty, 0, &one, 0, ERR_BAD_SIGNATURE},
        {0, &empty, 2, &two, 0, ERR_NONE},
        {0, &one, 2, &two, 0, ERR_BAD_SIGNATURE},
        {0, &empty, 2, &two, 1, ERR_BAD_SIGNATURE},
        {1, &one, 1, &one, 0, ERR_NONE},
        {1, &one, 1, &one, 1, ERR_BAD_SIGNATURE},
        {1, &one, 1, &two, 0, ERR_BAD_SIGNATURE},
        {1, &one, 2, &one, 0, ERR_BAD_SIGNATURE},
        {2, &two, 1, &one, 0, ERR_BAD_SIGNATURE},
        {2, &two, 1, &two, 0, ERR_BAD_SIGNATURE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(merkle_verify_consistency(test_sha256, cases[i].old_size,
                                                   cases[i].old_root, cases[i].new_size,
                                                   cases[i].new_root, &one, cases[i].proof_len),
                         cases[i].expected);
    assert_int_equal(merkle_verify_inclusion(test_sha256, &one, 0, 0, NULL, 0, &one),
                     ERR_BAD_SIGNATURE);
}

/* The widest numbers the functions take: no endless loop, no shift out of range. */
static void test_huge_sizes(void **state)
{
    (void)state;
    struct hash proof[MERKLE_PROOF_MAX + 1] = {{{0}}};
    struct hash any = mth(0, 1);
    for (size_t len = 0; len <= MERKLE_PROOF_MAX + 1; len++) {
        assert_int_equal(merkle_verify_inclusion(test_sha256, &any, UINT64_MAX - 1, UINT64_MAX,
                                                 proof, len, &any),
                         ERR_BAD_SIGNATURE);
        assert_int_equal(merkle_verify_consistency(test_sha256, UINT64_C(1) << 63, &any, UINT64_MAX,
                                                   &any, proof, len),
                         ERR_BAD_SIGNATURE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_roots),
        cmocka_unit_test(test_reference_proofs),
        cmocka_unit_test(test_frontier_against_definition),
        cmocka_unit_test(test_inclusion_against_definition),
        cmocka_unit_test(test_consistency_against_definition),
        cmocka_unit_test(test_consistency_edges),
        cmocka_unit_test(test_huge_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
