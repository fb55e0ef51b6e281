#include "tests/unit/log_fixture.h"

static struct log_reader reader;
static struct hash last_leaf;
static uint64_t next, fetches;

static enum err count(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    fetches++;
    return fetch(ctx, path, buffer, max, ret_len);
}

static enum err listen(void *ctx, uint64_t number, struct slice data, const struct hash *leaf)
{
    (void)ctx;
    assert_int_equal(number, next++);
    assert_true(slice_equal(data, entry_text(the_log.entries[number])));
    last_leaf = *leaf;
    return ERR_NONE;
}

static enum err check(const struct checkpoint *now, const struct checkpoint *saved, uint64_t first,
                      uint64_t end, struct log_report *report)
{
    static uint8_t bundle[BUNDLE_MAX];
    next = first;
    fetches = 0;
    log_reader_init(&reader, test_sha256, count, &the_log, bundle, sizeof bundle);
    enum err err = log_reader_check_range(&reader, now, saved, first, end, listen, NULL, report);
    assert_true((err == ERR_NONE) == (report->fault == LOG_SOUND));
    assert_int_equal(report->entries, next - first);
    if (err == ERR_NONE)
        assert_int_equal(next, end);
    return err;
}

static void test_sound_ranges(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 255, 256, 257, 511, 512, 1000, 65536, SIZE_MADE};
    struct log_report report;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t size = sizes[i];
        make_log(size);
        struct checkpoint now = checkpoint_at(size);
        const struct {
            uint64_t first, end;
        } ranges[] = {{0, size},   {0, 1}, {size - 1, size}, {size / 2, size}, {size / 3, size / 2},
                      {size, size}};
        for (size_t k = 0; k < ARRAY_LEN(ranges); k++)
            assert_int_equal(check(&now, NULL, ranges[k].first, ranges[k].end, &report), ERR_NONE);
    }
}

/* One entry costs its bundle and one tile a level, however long the log is. */
static void test_only_what_is_needed_is_fetched(void **state)
{
    (void)state;
    struct log_report report;
    make_log(SIZE_MADE);
    struct checkpoint now = checkpoint_at(SIZE_MADE);
    assert_int_equal(check(&now, NULL, 1000, 1001, &report), ERR_NONE);
    assert_int_equal(fetches, 3 + 2 + 1); /* three at the edge, two full ones, the bundle */
    assert_int_equal(check(&now, NULL, 0, 2560, &report), ERR_NONE);
    assert_int_equal(fetches, 3 + 1 + 10 + 10);
    assert_int_equal(check(&now, NULL, 65999, 66000, &report), ERR_NONE);
    assert_int_equal(fetches, 3 + 1);
}

static void test_every_saved_size(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {530, 512, 66000};
    struct log_report report;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        make_log(sizes[i]);
        struct checkpoint now = checkpoint_at(sizes[i]);
        for (uint64_t size = 0; size <= sizes[i]; size += sizes[i] < 1000 ? 1 : 9999) {
            struct checkpoint saved = checkpoint_at(size);
            assert_int_equal(check(&now, &saved, 3, 4, &report), ERR_NONE);
            assert_true(report.matches_saved);
            saved.root.bytes[size % SHA256_SIZE] ^= 4;
            assert_int_equal(check(&now, &saved, 3, 4, &report), ERR_CONFLICT);
            assert_int_equal(report.fault,
                             size == sizes[i] ? LOG_FAULT_FORKED : LOG_FAULT_REWRITTEN);
        }
    }
}

static void test_ranges_that_are_not_there(void **state)
{
    (void)state;
    struct log_report report;
    make_log(300);
    struct checkpoint now = checkpoint_at(300), none = checkpoint_at(0), saved = now;
    assert_int_equal(check(&now, NULL, 0, 301, &report), ERR_LIMIT);
    assert_int_equal(report.fault, LOG_FAULT_RANGE);
    assert_int_equal(report.first, 300);
    assert_int_equal(report.end, 301);
    assert_int_equal(check(&now, NULL, 7, 6, &report), ERR_LIMIT);
    assert_int_equal(check(&none, NULL, 0, 1, &report), ERR_LIMIT);
    assert_int_equal(check(&none, NULL, 0, 0, &report), ERR_NONE);
    saved.size = 301;
    assert_int_equal(check(&now, &saved, 0, 1, &report), ERR_CONFLICT);
    assert_int_equal(report.fault, LOG_FAULT_SHRUNK);
    now.size = LOG_SIZE_MAX + 1;
    assert_int_equal(check(&now, NULL, 0, 1, &report), ERR_LIMIT);
    assert_int_equal(report.fault, LOG_FAULT_SIZE);
}

static void test_damaged_tiles(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum damage damage;
        enum err err;
        enum log_fault fault;
    } cases[] = {
        {"tile/2/000.p/1", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT},
        {"tile/1/001.p/1", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT},
        {"tile/0/257.p/208", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT},
        {"tile/1/000", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_TREE},
        {"tile/0/003", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_TREE},
        {"tile/0/003", SHORTEN, ERR_SYNTAX, LOG_FAULT_TILE},
        {"tile/1/000", MISSING, ERR_NOT_FOUND, LOG_FAULT_FETCH},
        {"tile/entries/003", SHORTEN, ERR_SYNTAX, LOG_FAULT_BUNDLE},
        {"tile/entries/003", LENGTHEN, ERR_SYNTAX, LOG_FAULT_BUNDLE},
        {"tile/entries/003", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY},
        {"tile/entries/003", BROKEN, ERR_IO, LOG_FAULT_FETCH},
        /* none of its business */
        {"tile/0/004", FLIP, ERR_NONE, LOG_SOUND},
        {"tile/entries/002", MISSING, ERR_NONE, LOG_SOUND},
    };
    struct log_report report;
    make_log(SIZE_MADE);
    struct checkpoint now = checkpoint_at(SIZE_MADE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        the_log.damaged_path = cases[i].path;
        the_log.damage = cases[i].damage;
        assert_int_equal(check(&now, NULL, 800, 1000, &report), cases[i].err);
        assert_int_equal(report.fault, cases[i].fault);
    }
}

static void test_changed_history(void **state)
{
    (void)state;
    struct log_report report;
    for (int change = EDIT; change <= REORDER; change++)
        for (int cover = ENTRIES_ONLY; cover <= SIGNED; cover++) {
            static const enum log_fault faults[] = {LOG_FAULT_ENTRY, LOG_FAULT_TREE, LOG_FAULT_ROOT,
                                                    LOG_FAULT_REWRITTEN};
            make_log(1000);
            struct checkpoint now = checkpoint_at(1000), saved = checkpoint_at(700);
            change_history((enum change)change, 300);
            if (cover >= LEAF_TILES)
                hash_entries();
            if (cover >= ALL_TILES)
                hash_upper_levels();
            if (cover >= SIGNED)
                now = checkpoint_at(1000);
            /* after a deletion the edge has moved with the leaves */
            bool at_edge = change == DELETE && cover == LEAF_TILES;
            assert_int_not_equal(check(&now, &saved, 256, 512, &report), ERR_NONE);
            assert_int_equal(report.fault, at_edge ? LOG_FAULT_ROOT : faults[cover]);
        }
}

/* RFC 6962 section 2.1.1, as it is written there. */
static size_t path_of(uint64_t m, const struct hash *leaves, uint64_t n, struct hash *proof)
{
    if (n == 1)
        return 0;
    uint64_t k = 1;
    while (2 * k < n)
        k *= 2;
    size_t len = m < k ? path_of(m, leaves, k, proof) : path_of(m - k, leaves + k, n - k, proof);
    proof[len] = m < k ? mth(leaves + k, n - k) : mth(leaves, k);
    return len + 1;
}

static void assert_proof(const struct checkpoint *now, uint64_t number)
{
    struct log_report report;
    struct hash proof[MERKLE_PROOF_MAX], expected[MERKLE_PROOF_MAX];
    size_t len = 0;
    assert_int_equal(check(now, NULL, number, number + 1, &report), ERR_NONE);
    assert_int_equal(log_reader_prove(&reader, now, number, &last_leaf, proof, &len), ERR_NONE);
    assert_int_equal(len, path_of(number, the_log.hashes[0], now->size, expected));
    assert_memory_equal(proof, expected, len * sizeof *proof);
}

static void test_proofs(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 7, 8, 255, 256, 257, 300, 512, 513, 600};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        make_log(sizes[i]);
        struct checkpoint now = checkpoint_at(sizes[i]);
        for (uint64_t number = 0; number < sizes[i]; number++)
            assert_proof(&now, number);
    }
    make_log(SIZE_MADE);
    struct checkpoint now = checkpoint_at(SIZE_MADE);
    static const uint64_t numbers[] = {0, 1, 255, 256, 40000, 65535, 65536, 65791, 65792, 65999};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        assert_proof(&now, numbers[i]);
}

static void test_proofs_of_what_was_not_read(void **state)
{
    (void)state;
    struct log_report report;
    struct hash proof[MERKLE_PROOF_MAX];
    size_t len = 77;
    make_log(1000);
    struct checkpoint now = checkpoint_at(1000);
    assert_int_equal(check(&now, NULL, 10, 11, &report), ERR_NONE);
    assert_int_equal(log_reader_prove(&reader, &now, 11, &last_leaf, proof, &len), ERR_INTERNAL);
    assert_int_equal(log_reader_prove(&reader, &now, 300, &last_leaf, proof, &len), ERR_INTERNAL);
    assert_int_equal(log_reader_prove(&reader, &now, 1000, &last_leaf, proof, &len), ERR_INTERNAL);
    assert_int_equal(len, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_ranges),
        cmocka_unit_test(test_only_what_is_needed_is_fetched),
        cmocka_unit_test(test_every_saved_size),
        cmocka_unit_test(test_ranges_that_are_not_there),
        cmocka_unit_test(test_damaged_tiles),
        cmocka_unit_test(test_changed_history),
        cmocka_unit_test(test_proofs),
        cmocka_unit_test(test_proofs_of_what_was_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
