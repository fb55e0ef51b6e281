/* The tree of keys: which are there, which are not, and that what is left does not lead to those.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "hub/subjects/keytree.h"

static bool same(const struct hash *a, const struct hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Leaves where something could go wrong. */
static const uint32_t leaves[] = {
    0, 1, 2, 3, 7, 8, 1000, 0x7fffffff, 0x80000000, 0x80000001, 0xaaaaaaaa, 0xfffffffe, 0xffffffff};

static void test_leaves_differ(void **state)
{
    (void)state;
    struct keytree tree;
    struct hash keys[ARRAY_LEN(leaves)];
    assert_int_equal(keytree_make(&tree), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        assert_int_equal(keytree_leaf(&tree, leaves[i], &keys[i]), ERR_NONE);
        for (size_t k = 0; k < i; k++)
            assert_false(same(&keys[i], &keys[k]));
    }
    keytree_wipe(&tree);
}

/* As the header describes it, by another way: from the root down, bit by bit. */
static void test_leaf_by_the_book(void **state)
{
    (void)state;
    struct keytree tree;
    struct hash key, found;
    assert_int_equal(keytree_make(&tree), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        key = tree.nodes[0].key;
        for (int bit = 31; bit >= 0; bit--) {
            const uint8_t side = leaves[i] >> bit & 1;
            struct hash child;
            crypto_hmac_sha256(key.bytes, slice_of(&side, 1), child.bytes);
            key = child;
        }
        assert_int_equal(keytree_leaf(&tree, leaves[i], &found), ERR_NONE);
        assert_true(same(&key, &found));
    }
    keytree_wipe(&tree);
}

/* No node that is left covers a destroyed leaf, and those that are left cover all the others. */
static void check_cover(const struct keytree *tree, const uint32_t *gone, size_t gone_len)
{
    uint64_t covered = 0;
    for (size_t i = 0; i < tree->len; i++) {
        const struct keytree_node *node = &tree->nodes[i];
        uint64_t size = (uint64_t)1 << (KEYTREE_DEPTH - node->depth);
        covered += size;
        for (size_t k = 0; k < gone_len; k++)
            assert_false(gone[k] >= node->first && gone[k] - node->first < size);
        if (i > 0)
            assert_true(node->first > tree->nodes[i - 1].first);
    }
    assert_int_equal(covered, ((uint64_t)1 << 32) - gone_len);
}

static void test_destroy(void **state)
{
    (void)state;
    struct keytree tree;
    struct hash keys[ARRAY_LEN(leaves)], found;
    assert_int_equal(keytree_make(&tree), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++)
        assert_int_equal(keytree_leaf(&tree, leaves[i], &keys[i]), ERR_NONE);
    for (size_t gone = 0; gone < ARRAY_LEN(leaves); gone++) {
        assert_int_equal(keytree_destroy(&tree, leaves[gone]), ERR_NONE);
        size_t len = tree.len;
        assert_int_equal(keytree_destroy(&tree, leaves[gone]), ERR_NONE); /* again: nothing */
        assert_int_equal(tree.len, len);
        check_cover(&tree, leaves, gone + 1);
        for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
            enum err err = keytree_leaf(&tree, leaves[i], &found);
            assert_int_equal(err, i <= gone ? ERR_NOT_FOUND : ERR_NONE);
            if (err == ERR_NONE)
                assert_true(same(&keys[i], &found));
        }
    }
    keytree_wipe(&tree);
}

static void test_many_destroyed(void **state)
{
    (void)state;
    struct keytree tree;
    struct hash found;
    assert_int_equal(keytree_make(&tree), ERR_NONE);
    for (uint32_t i = 1; i <= 2000; i++)
        assert_int_equal(keytree_destroy(&tree, i), ERR_NONE);
    assert_true(tree.len < 64); /* neighbours cost nothing */
    assert_int_equal(keytree_leaf(&tree, 2000, &found), ERR_NOT_FOUND);
    assert_int_equal(keytree_leaf(&tree, 2001, &found), ERR_NONE);
    assert_int_equal(keytree_leaf(&tree, 0, &found), ERR_NONE);
    keytree_wipe(&tree);
}

/* ---- the file ---- */

struct file {
    uint8_t bytes[8192];
    size_t len;
};

static struct file file_of(const struct keytree *tree)
{
    struct file file;
    struct writer w = writer_over(file.bytes, sizeof file.bytes);
    keytree_write(&w, tree);
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(w.len, keytree_file_size(tree));
    file.len = w.len;
    return file;
}

static void test_file(void **state)
{
    (void)state;
    struct keytree tree, again;
    struct hash before, after;
    assert_int_equal(keytree_make(&tree), ERR_NONE);
    assert_int_equal(keytree_destroy(&tree, 7), ERR_NONE);
    assert_int_equal(keytree_destroy(&tree, 0xffffffff), ERR_NONE);
    struct file file = file_of(&tree);
    assert_int_equal(keytree_read(slice_of(file.bytes, file.len), &again), ERR_NONE);
    assert_int_equal(again.len, tree.len);
    assert_true(same(&again.name_key, &tree.name_key));
    assert_int_equal(keytree_leaf(&again, 7, &after), ERR_NOT_FOUND);
    assert_int_equal(keytree_leaf(&tree, 8, &before), ERR_NONE);
    assert_int_equal(keytree_leaf(&again, 8, &after), ERR_NONE);
    assert_true(same(&before, &after));
    keytree_wipe(&again);
    for (size_t cut = 0; cut < file.len; cut++)
        assert_int_equal(keytree_read(slice_of(file.bytes, cut), &again), ERR_SYNTAX);
    for (size_t i = 0; i < file.len; i++) {
        file.bytes[i] ^= 0x40;
        assert_int_equal(keytree_read(slice_of(file.bytes, file.len), &again), ERR_SYNTAX);
        file.bytes[i] ^= 0x40;
    }
    keytree_wipe(&tree);
}

/* Genuine by its digest, and still no tree. */
static void test_file_of_nonsense(void **state)
{
    (void)state;
    static const struct {
        uint32_t first[2];
        uint8_t depth[2];
        size_t len;
    } cases[] = {
        {.first = {1}, .depth = {0}, .len = 1},                /* not where such a node can start */
        {.first = {0}, .depth = {33}, .len = 1},               /* below the leaves */
        {.first = {0, 0}, .depth = {1, 1}, .len = 2},          /* twice */
        {.first = {0, 4}, .depth = {1, 32}, .len = 2},         /* one below another */
        {.first = {0x80000000, 0}, .depth = {1, 1}, .len = 2}, /* out of order */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct keytree_node nodes[2] = {0};
        struct keytree tree = {.nodes = nodes, .len = cases[i].len, .room = 2}, again;
        for (size_t k = 0; k < cases[i].len; k++) {
            nodes[k].first = cases[i].first[k];
            nodes[k].depth = cases[i].depth[k];
        }
        struct file file = file_of(&tree);
        assert_int_equal(keytree_read(slice_of(file.bytes, file.len), &again), ERR_SYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves_differ), cmocka_unit_test(test_leaf_by_the_book),
        cmocka_unit_test(test_destroy),       cmocka_unit_test(test_many_destroyed),
        cmocka_unit_test(test_file),          cmocka_unit_test(test_file_of_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
