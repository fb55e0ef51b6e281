#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/tile.h"

static const struct {
    const char *path;
    struct tile tile;
} good_paths[] = {
    {"tile/0/000", {0, 0, 256}},
    {"tile/0/001", {0, 1, 256}},
    {"tile/0/999.p/1", {0, 999, 1}},
    {"tile/0/x001/000", {0, 1000, 256}},
    {"tile/0/x001/234", {0, 1234, 256}},
    {"tile/0/x001/x234/067", {0, 1234067, 256}},
    {"tile/0/x999/x999/999.p/255", {0, 999999999, 255}},
    {"tile/0/x001/x099/x511/x627/775", {0, (UINT64_C(1) << 40) - 1, 256}},
    {"tile/1/x001/000.p/17", {1, 1000, 17}},
    {"tile/5/000.p/9", {5, 0, 9}},
    {"tile/entries/000.p/12", {TILE_ENTRIES, 0, 12}},
    {"tile/entries/x123/456", {TILE_ENTRIES, 123456, 256}},
    {"tile/entries/x001/x099/x511/x627/775", {TILE_ENTRIES, (UINT64_C(1) << 40) - 1, 256}},
};

static void test_paths_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_paths); i++) {
        uint8_t buffer[TILE_PATH_MAX];
        struct writer w = writer_over(buffer, sizeof buffer);
        tile_write_path(&w, &good_paths[i].tile);
        assert_int_equal(w.err, ERR_NONE);
        assert_int_equal(w.len, strlen(good_paths[i].path));
        assert_memory_equal(buffer, good_paths[i].path, w.len);

        struct tile tile;
        assert_int_equal(tile_read_path(slice_of_text(good_paths[i].path), &tile), ERR_NONE);
        assert_int_equal(tile.level, good_paths[i].tile.level);
        assert_int_equal(tile.index, good_paths[i].tile.index);
        assert_int_equal(tile.width, good_paths[i].tile.width);
    }
}

static void test_bad_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum err expected;
    } cases[] = {
        {"", ERR_SYNTAX},
        {"tile", ERR_SYNTAX},
        {"tile/", ERR_SYNTAX},
        {"/tile/0/000", ERR_SYNTAX},
        {"tile/0", ERR_SYNTAX},
        {"tile/0/", ERR_SYNTAX},
        {"tile/00/000", ERR_SYNTAX},
        {"tile/-1/000", ERR_SYNTAX},
        {"tile/+1/000", ERR_SYNTAX},
        {"tile/6/000", ERR_LIMIT},
        {"tile/63/000", ERR_LIMIT},
        {"tile/0/0", ERR_SYNTAX},
        {"tile/0/00", ERR_SYNTAX},
        {"tile/0/0000", ERR_SYNTAX},
        {"tile/0/1000", ERR_SYNTAX},
        {"tile/0/00a", ERR_SYNTAX},
        {"tile/0/ 01", ERR_SYNTAX},
        {"tile/0/-01", ERR_SYNTAX},
        {"tile/0/x000/001", ERR_SYNTAX},
        {"tile/0/x000/x001/000", ERR_SYNTAX},
        {"tile/0/x001", ERR_SYNTAX},
        {"tile/0/x001/", ERR_SYNTAX},
        {"tile/0/001/234", ERR_SYNTAX},
        {"tile/0/x01/234", ERR_SYNTAX},
        {"tile/0/X001/234", ERR_SYNTAX},
        {"tile/0/x001/x234", ERR_SYNTAX},
        {"tile/0/000/", ERR_SYNTAX},
        {"tile/0/000 ", ERR_SYNTAX},
        {"tile/0/000.p", ERR_SYNTAX},
        {"tile/0/000.p/", ERR_SYNTAX},
        {"tile/0/000.p/0", ERR_SYNTAX},
        {"tile/0/000.p/01", ERR_SYNTAX},
        {"tile/0/000.p/256", ERR_LIMIT},
        {"tile/0/000.p/1/", ERR_SYNTAX},
        {"tile/0/000.q/1", ERR_SYNTAX},
        {"tile/0/../000", ERR_SYNTAX},
        {"tile/entry/000", ERR_SYNTAX},
        {"tile/entries", ERR_SYNTAX},
        {"tile/data/000", ERR_SYNTAX},
        {"tile/0/x001/x099/x511/x627/776", ERR_LIMIT},
        {"tile/entries/x001/x099/x511/x627/776", ERR_LIMIT},
        {"tile/5/001", ERR_LIMIT},
        {"tile/4/256", ERR_LIMIT},
        {"tile/0/x999/x999/x999/x999/x999/x999/999", ERR_LIMIT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tile tile = {77, 77, 77};
        assert_int_equal(tile_read_path(slice_of_text(cases[i].path), &tile), cases[i].expected);
        assert_int_equal(tile.level, 77);
    }
}

static void test_writer_refuses_impossible_tiles(void **state)
{
    (void)state;
    static const struct tile cases[] = {
        {-2, 0, 256}, {6, 0, 256}, {0, 0, 0}, {0, 0, 257}, {0, UINT64_C(1) << 40, 256}, {5, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buffer[TILE_PATH_MAX];
        struct writer w = writer_over(buffer, sizeof buffer);
        tile_write_path(&w, &cases[i]);
        assert_int_equal(w.err, ERR_LIMIT);
        assert_int_equal(w.len, 0);
    }
}

static void test_width(void **state)
{
    (void)state;
    static const struct {
        int level;
        uint64_t index, size;
        unsigned expected;
    } cases[] = {
        {0, 0, 0, 0},
        {0, 0, 1, 1},
        {0, 0, 255, 255},
        {0, 0, 256, 256},
        {0, 1, 256, 0},
        {0, 1, 257, 1},
        {1, 0, 255, 0},
        {1, 0, 256, 1},
        {1, 0, 511, 1},
        {1, 0, 512, 2},
        {TILE_ENTRIES, 1, 257, 1},
        /* the specification's example: a tree of 70,000 */
        {0, 272, 70000, 256},
        {0, 273, 70000, 112},
        {0, 274, 70000, 0},
        {1, 0, 70000, 256},
        {1, 1, 70000, 17},
        {2, 0, 70000, 1},
        {2, 1, 70000, 0},
        {3, 0, 70000, 0},
        {TILE_ENTRIES, 273, 70000, 112},
        {0, UINT64_MAX, UINT64_MAX, 0},
        {0, UINT64_MAX / 256, UINT64_MAX, 255},
        {6, 0, UINT64_MAX, 0},
        {-2, 0, 100, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(tile_width(cases[i].level, cases[i].index, cases[i].size),
                         cases[i].expected);
}

static void test_entries_both_ways(void **state)
{
    (void)state;
    static uint8_t bundle[200000];
    static uint8_t data[ENTRY_MAX + 1];
    static const size_t lengths[] = {0, 1, 255, 256, ENTRY_MAX};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31);
    struct writer w = writer_over(bundle, sizeof bundle);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        tile_write_entry(&w, slice_of(data, lengths[i]));
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(bundle[2], 0);
    assert_int_equal(bundle[3], 1);

    struct reader r = reader_over(writer_bytes(&w));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct slice entry = tile_read_entry(&r);
        assert_int_equal(r.err, ERR_NONE);
        assert_true(slice_equal(entry, slice_of(data, lengths[i])));
    }
    assert_int_equal(reader_finish(&r), ERR_NONE);

    size_t before = w.len;
    tile_write_entry(&w, slice_of(data, ENTRY_MAX + 1));
    assert_int_equal(w.err, ERR_LIMIT);
    assert_int_equal(w.len, before);
}

static void test_bad_entries(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{"", 0}, {"\x00", 1}, {"\x00\x01", 2}, {"\x01\x00 short", 8}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader r = reader_over(slice_of(cases[i].bytes, cases[i].len));
        assert_int_equal(tile_read_entry(&r).len, 0);
        assert_int_equal(r.err, ERR_SYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_both_ways),
        cmocka_unit_test(test_bad_paths),
        cmocka_unit_test(test_writer_refuses_impossible_tiles),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_entries_both_ways),
        cmocka_unit_test(test_bad_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
