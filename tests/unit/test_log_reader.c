#include "tests/unit/log_fixture.h"

struct listener {
    uint64_t seen;
    uint64_t stop_at; /* UINT64_MAX: never */
};

static enum err listen(void *ctx, uint64_t number, struct slice data, const struct hash *leaf)
{
    struct listener *l = ctx;
    if (number == l->stop_at)
        return ERR_CLOSED;
    assert_int_equal(number, l->seen);
    assert_true(slice_equal(data, entry_text(the_log.entries[number])));
    struct hash expected = merkle_leaf_hash(test_sha256, data);
    assert_memory_equal(leaf->bytes, expected.bytes, SHA256_SIZE);
    l->seen++;
    return ERR_NONE;
}

static enum err check(const struct checkpoint *now, const struct checkpoint *saved,
                      struct log_report *report)
{
    static struct log_reader lr;
    static uint8_t bundle[BUNDLE_MAX];
    struct listener l = {.stop_at = UINT64_MAX};
    log_reader_init(&lr, test_sha256, fetch, &the_log, bundle, sizeof bundle);
    enum err err = log_reader_check(&lr, now, saved, listen, &l, report);
    assert_int_equal(report->entries, l.seen);
    assert_true((err == ERR_NONE) == (report->fault == LOG_SOUND));
    return err;
}

static void assert_sound(const struct checkpoint *now, const struct checkpoint *saved)
{
    struct log_report report;
    assert_int_equal(check(now, saved, &report), ERR_NONE);
    assert_int_equal(report.entries, now->size);
    assert_int_equal(report.matches_saved, saved != NULL);
}

static void test_sound_logs(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0,   1,   2,    255,   256,   257,   511,      512,
                                     513, 768, 2000, 65535, 65536, 65537, SIZE_MADE};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        make_log(sizes[i]);
        struct checkpoint now = checkpoint_at(sizes[i]);
        assert_sound(&now, NULL);
        for (size_t k = sizes[i] > 2000 ? i % 5 : 0; k <= i; k += sizes[i] > 2000 ? 5 : 1) {
            struct checkpoint saved = checkpoint_at(sizes[k]);
            assert_sound(&now, &saved);
        }
    }
}

static void test_every_saved_size(void **state)
{
    (void)state;
    make_log(530);
    struct checkpoint now = checkpoint_at(530);
    for (uint64_t size = 0; size <= 530; size++) {
        struct checkpoint saved = checkpoint_at(size);
        assert_sound(&now, &saved);
        saved.root.bytes[size % SHA256_SIZE] ^= 4;
        struct log_report report;
        assert_int_equal(check(&now, &saved, &report), ERR_CONFLICT);
        assert_int_equal(report.fault, size == 530 ? LOG_FAULT_FORKED : LOG_FAULT_REWRITTEN);
        assert_int_equal(report.first, 0);
        assert_int_equal(report.end, size);
        assert_false(report.matches_saved);
    }
}

/* An older checkpoint's partial tiles may be gone once the full ones are there. */
static void test_dropped_partial_tiles(void **state)
{
    (void)state;
    make_log(65536);
    the_log.partial_tiles_are_gone = true;
    static const uint64_t sizes[] = {1, 200, 256, 300, 65500};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct checkpoint now = checkpoint_at(sizes[i]);
        assert_sound(&now, NULL);
    }
    /* The last level 2 tile is partial, and no full one has come. */
    struct checkpoint now = checkpoint_at(65536);
    struct log_report report;
    assert_int_equal(check(&now, NULL, &report), ERR_NOT_FOUND);
    assert_int_equal(report.fault, LOG_FAULT_FETCH);
    assert_int_equal(report.tile.level, 2);
    assert_int_equal(report.tile.width, 1);
}

static void test_damaged_tiles(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum damage damage;
        enum err err;
        enum log_fault fault;
        uint64_t first, end;
    } cases[] = {
        {"tile/0/000", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 128, 129},
        {"tile/0/001", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 256 + 128, 256 + 129},
        {"tile/0/257.p/208", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 65896, 65897},
        {"tile/1/000", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, 128 * 256, 129 * 256},
        {"tile/1/001.p/1", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, 65536, 65792},
        {"tile/2/000.p/1", FLIP, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, 0, 65536},
        {"tile/0/003", SHORTEN, ERR_SYNTAX, LOG_FAULT_TILE, 768, 1024},
        {"tile/0/003", LENGTHEN, ERR_LIMIT, LOG_FAULT_FETCH, 768, 1024},
        {"tile/0/257.p/208", LENGTHEN, ERR_SYNTAX, LOG_FAULT_TILE, 65792, 66000},
        {"tile/1/000", SHORTEN, ERR_SYNTAX, LOG_FAULT_TILE, 0, 65536},
        {"tile/2/000.p/1", LENGTHEN, ERR_SYNTAX, LOG_FAULT_TILE, 0, 65536},
        {"tile/entries/002", SHORTEN, ERR_SYNTAX, LOG_FAULT_BUNDLE, 767, 768},
        {"tile/entries/002", LENGTHEN, ERR_SYNTAX, LOG_FAULT_BUNDLE, 512, 768},
        {"tile/entries/257.p/208", SHORTEN, ERR_SYNTAX, LOG_FAULT_BUNDLE, 65999, 66000},
        {"tile/entries/257.p/208", MISSING, ERR_NOT_FOUND, LOG_FAULT_FETCH, 65792, 66000},
        {"tile/entries/000", MISSING, ERR_NOT_FOUND, LOG_FAULT_FETCH, 0, 256},
        {"tile/entries/009", BROKEN, ERR_IO, LOG_FAULT_FETCH, 2304, 2560},
        {"tile/0/009", BROKEN, ERR_IO, LOG_FAULT_FETCH, 2304, 2560},
        {"tile/1/000", MISSING, ERR_NOT_FOUND, LOG_FAULT_FETCH, 0, 65536},
        {"tile/1/001.p/1", BROKEN, ERR_IO, LOG_FAULT_FETCH, 65536, 65792},
    };
    make_log(SIZE_MADE);
    struct checkpoint now = checkpoint_at(SIZE_MADE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        the_log.damaged_path = cases[i].path;
        the_log.damage = cases[i].damage;
        struct log_report report;
        assert_int_equal(check(&now, NULL, &report), cases[i].err);
        assert_int_equal(report.fault, cases[i].fault);
        assert_int_equal(report.first, cases[i].first);
        assert_int_equal(report.end, cases[i].end);
        uint8_t path[TILE_PATH_MAX];
        struct writer w = writer_over(path, sizeof path);
        tile_write_path(&w, &report.tile);
        /* A bundle's entries are judged by their tile. */
        assert_true(slice_equal(writer_bytes(&w), slice_of_text(cases[i].path)));
    }
}

static void test_changed_history(void **state)
{
    (void)state;
    static const struct {
        enum change change;
        uint64_t at;
        enum cover cover;
        uint64_t saved; /* size of the checkpoint that was kept */
        enum err err;
        enum log_fault fault;
        uint64_t first, end;
    } cases[] = {
        {EDIT, 5, ENTRIES_ONLY, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 5, 6},
        {EDIT, 999, ENTRIES_ONLY, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 999, 1000},
        {EDIT, 5, LEAF_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, 0, 256},
        {EDIT, 999, LEAF_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 0, 1000},
        {EDIT, 999, LEAF_TILES, 990, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 990, 1000},
        {EDIT, 5, ALL_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 0, 1000},
        {EDIT, 5, ALL_TILES, 500, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 0, 1000},
        {EDIT, 600, ALL_TILES, 512, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 512, 1000},
        {EDIT, 5, SIGNED, 6, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, 6},
        {EDIT, 5, SIGNED, 999, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, 999},
        {EDIT, 5, SIGNED, 1000, ERR_CONFLICT, LOG_FAULT_FORKED, 0, 1000},
        {DELETE, 300, ENTRIES_ONLY, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 300, 301},
        {DELETE, 300, LEAF_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, 256, 512},
        {DELETE, 300, ALL_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 0, 1000},
        {DELETE, 300, SIGNED, 301, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, 301},
        {DELETE, 300, SIGNED, 768, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, 768},
        {REORDER, 20, ENTRIES_ONLY, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ENTRY, 20, 21},
        {REORDER, 255, LEAF_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_TREE, 0, 256},
        {REORDER, 20, ALL_TILES, 0, ERR_BAD_SIGNATURE, LOG_FAULT_ROOT, 0, 1000},
        {REORDER, 20, SIGNED, 256, ERR_CONFLICT, LOG_FAULT_REWRITTEN, 0, 256},
        {TRUNCATE, 999, ENTRIES_ONLY, 0, ERR_NOT_FOUND, LOG_FAULT_FETCH, 768, 1000},
        {TRUNCATE, 100, ALL_TILES, 0, ERR_NOT_FOUND, LOG_FAULT_FETCH, 0, 256},
        {TRUNCATE, 999, SIGNED, 1000, ERR_CONFLICT, LOG_FAULT_SHRUNK, 999, 1000},
        {TRUNCATE, 0, SIGNED, 1, ERR_CONFLICT, LOG_FAULT_SHRUNK, 0, 1},
        /* What came after the saved checkpoint can't be known to have been something else. */
        {EDIT, 500, SIGNED, 500, ERR_NONE, LOG_SOUND, 0, 0},
        {TRUNCATE, 500, SIGNED, 500, ERR_NONE, LOG_SOUND, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make_log(1000);
        struct checkpoint now = checkpoint_at(1000);
        struct checkpoint saved = checkpoint_at(cases[i].saved);
        change_history(cases[i].change, cases[i].at);
        if (cases[i].cover >= LEAF_TILES)
            hash_entries();
        if (cases[i].cover >= ALL_TILES)
            hash_upper_levels();
        if (cases[i].cover >= SIGNED)
            now = checkpoint_at(the_log.size);

        struct log_report report;
        enum err err = check(&now, &saved, &report);
        if (report.fault != cases[i].fault)
            print_error("case %zu: %s\n", i, log_fault_text(report.fault));
        assert_int_equal(report.fault, cases[i].fault);
        assert_int_equal(err, cases[i].err);
        assert_int_equal(report.first, cases[i].first);
        assert_int_equal(report.end, cases[i].end);
    }
}

static void test_unread_logs_are_refused(void **state)
{
    (void)state;
    make_log(10);
    struct checkpoint now = checkpoint_at(10), saved = checkpoint_at(5);
    struct log_report report;
    memcpy(saved.origin, "other.example", sizeof "other.example");
    assert_int_equal(check(&now, &saved, &report), ERR_CONFLICT);
    assert_int_equal(report.fault, LOG_FAULT_ORIGIN);

    now.size = LOG_SIZE_MAX + 1;
    assert_int_equal(check(&now, NULL, &report), ERR_LIMIT);
    assert_int_equal(report.fault, LOG_FAULT_SIZE);
    assert_int_equal(report.entries, 0);
    now.size = LOG_SIZE_MAX;
    assert_int_equal(check(&now, NULL, &report), ERR_NOT_FOUND);
    assert_int_equal(report.fault, LOG_FAULT_FETCH);
}

static void test_caller(void **state)
{
    (void)state;
    static struct log_reader lr;
    static uint8_t bundle[BUNDLE_MAX];
    make_log(300);
    struct checkpoint now = checkpoint_at(300);
    struct log_report report;
    struct listener l = {.stop_at = 270};
    log_reader_init(&lr, test_sha256, fetch, &the_log, bundle, sizeof bundle);
    assert_int_equal(log_reader_check(&lr, &now, NULL, listen, &l, &report), ERR_CLOSED);
    assert_int_equal(report.fault, LOG_FAULT_CALLER);
    assert_int_equal(report.first, 270);
    assert_int_equal(report.entries, 270);
    /* A reader can be used again, and without a callback. */
    assert_int_equal(log_reader_check(&lr, &now, NULL, NULL, NULL, &report), ERR_NONE);
    assert_int_equal(report.entries, 300);

    log_reader_init(&lr, test_sha256, fetch, &the_log, bundle, 1000);
    assert_int_equal(log_reader_check(&lr, &now, NULL, NULL, NULL, &report), ERR_LIMIT);
    assert_int_equal(report.fault, LOG_FAULT_FETCH);
    assert_int_equal(report.tile.level, TILE_ENTRIES);
}

static void test_fault_texts(void **state)
{
    (void)state;
    for (int i = 0; i < LOG_FAULT_COUNT; i++)
        assert_true(strlen(log_fault_text((enum log_fault)i)) > 5);
    assert_string_equal(log_fault_text(LOG_FAULT_COUNT), "unknown fault");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_logs),
        cmocka_unit_test(test_every_saved_size),
        cmocka_unit_test(test_dropped_partial_tiles),
        cmocka_unit_test(test_damaged_tiles),
        cmocka_unit_test(test_changed_history),
        cmocka_unit_test(test_unread_logs_are_refused),
        cmocka_unit_test(test_caller),
        cmocka_unit_test(test_fault_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
