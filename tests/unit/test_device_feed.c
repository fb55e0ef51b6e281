#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/device_feed.h"

#define NAME_64 "0123456789012345678901234567890123456789012345678901234567890123"

static struct device_record record_of(const char *device, enum device_state state)
{
    struct device_record d = {.tenant = SLICE_LITERAL("acme"),
                              .device = slice_of_text(device),
                              .model = SLICE_LITERAL("thermo"),
                              .group = SLICE_LITERAL("floor-1"),
                              .state = state};
    return d;
}

static struct device_record full_record(void)
{
    struct device_record d = {.tenant = SLICE_LITERAL(NAME_64),
                              .device = SLICE_LITERAL(NAME_64),
                              .model = SLICE_LITERAL(NAME_64),
                              .group = SLICE_LITERAL(NAME_64),
                              .state = DEVICE_TRUSTED,
                              .cut = true,
                              .certificates_len = DEVICE_CERTIFICATES_MAX,
                              .password = {.present = true, .iterations = DEVICE_ITERATIONS_MAX},
                              .previous = {.present = true, .iterations = 4096}};
    memset(d.certificates[0].sha256, 0xa0, SHA256_SIZE);
    memset(d.certificates[1].sha256, 0xa1, SHA256_SIZE);
    d.certificates[0].not_after = INT64_MAX;
    d.certificates[1].not_after = 1795892400;
    memset(d.password.salt, 0xb0, DEVICE_SALT_SIZE);
    memset(d.password.stored_key, 0xb1, SHA256_SIZE);
    d.password.until = INT64_MAX;
    memset(d.previous.salt, 0xc0, DEVICE_SALT_SIZE);
    memset(d.previous.stored_key, 0xc1, SHA256_SIZE);
    d.previous.until = 1795892400;
    return d;
}

static void assert_same_password(const struct device_password *a, const struct device_password *b)
{
    assert_int_equal(a->present, b->present);
    if (!a->present)
        return;
    assert_memory_equal(a->salt, b->salt, DEVICE_SALT_SIZE);
    assert_int_equal(a->iterations, b->iterations);
    assert_memory_equal(a->stored_key, b->stored_key, SHA256_SIZE);
    assert_int_equal(a->until, b->until);
}

static void assert_same(const struct device_record *a, const struct device_record *b)
{
    assert_true(slice_equal(a->tenant, b->tenant));
    assert_true(slice_equal(a->device, b->device));
    assert_true(slice_equal(a->model, b->model));
    assert_true(slice_equal(a->group, b->group));
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->cut, b->cut);
    assert_int_equal(a->certificates_len, b->certificates_len);
    for (size_t i = 0; i < a->certificates_len; i++) {
        assert_memory_equal(a->certificates[i].sha256, b->certificates[i].sha256, SHA256_SIZE);
        assert_int_equal(a->certificates[i].not_after, b->certificates[i].not_after);
    }
    assert_same_password(&a->password, &b->password);
    assert_same_password(&a->previous, &b->previous);
}

static uint8_t bytes[8 * DEVICE_RECORD_MAX];

static struct slice written(const struct device_record *records, uint32_t len)
{
    struct writer w = writer_over(bytes, sizeof bytes);
    device_feed_write_head(&w, 4711, 3, len);
    for (uint32_t i = 0; i < len; i++)
        device_record_write(&w, &records[i]);
    assert_int_equal(w.err, ERR_NONE);
    return writer_bytes(&w);
}

static enum err read_all(struct slice feed_bytes, uint32_t *ret_count)
{
    struct device_feed feed;
    struct device_record d;
    enum err err = device_feed_read_head(feed_bytes, &feed);
    if (err != ERR_NONE)
        return err;
    for (uint32_t i = 0; i < feed.count && feed.records.err == ERR_NONE; i++)
        device_record_read(&feed.records, &d);
    *ret_count = feed.count;
    return reader_finish(&feed.records);
}

static void test_both_ways(void **state)
{
    (void)state;
    struct device_record records[] = {
        record_of("t-1", DEVICE_TRUSTED),
        full_record(),
        record_of("t-2", DEVICE_QUARANTINED),
        record_of("t-3", DEVICE_REVOKED),
        record_of("a/+#", DEVICE_ENROLLED), /* odd, and for the rules to refuse */
        full_record(),
    };
    records[5].previous.present = false;
    records[0].certificates_len = 1;
    records[0].group = slice_of(NULL, 0);
    records[2].cut = true;
    records[3].cut = true;
    struct slice feed_bytes = written(records, ARRAY_LEN(records));
    struct device_feed feed;
    assert_int_equal(device_feed_read_head(feed_bytes, &feed), ERR_NONE);
    assert_int_equal(feed.at, 4711);
    assert_int_equal(feed.rules, 3);
    assert_int_equal(feed.count, ARRAY_LEN(records));
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        struct device_record d;
        device_record_read(&feed.records, &d);
        assert_int_equal(feed.records.err, ERR_NONE);
        assert_same(&d, &records[i]);
    }
    assert_int_equal(reader_finish(&feed.records), ERR_NONE);
}

static void test_empty(void **state)
{
    (void)state;
    uint32_t count = 99;
    assert_int_equal(read_all(written(NULL, 0), &count), ERR_NONE);
    assert_int_equal(count, 0);
}

static void test_record_is_as_documented(void **state)
{
    (void)state;
    static const char expected[] = "\x00\x1f\x03\x02"
                                   "\x04"
                                   "acme"
                                   "\x03"
                                   "t-1"
                                   "\x06"
                                   "thermo"
                                   "\x0b"
                                   "hall-floor1"
                                   "\x00";
    struct device_record d = record_of("t-1", DEVICE_QUARANTINED);
    d.group = SLICE_LITERAL("hall-floor1");
    d.cut = true;
    struct writer w = writer_over(bytes, sizeof bytes);
    device_record_write(&w, &d);
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(w.len, sizeof expected - 1);
    assert_memory_equal(bytes, expected, w.len);
}

static void test_not_written(void **state)
{
    (void)state;
    struct device_record cases[20];
    enum err errs[20];
    size_t n = 0;
#define CASE(change, err)                                                                          \
    do {                                                                                           \
        cases[n] = full_record();                                                                  \
        cases[n].change;                                                                           \
        errs[n++] = (err);                                                                         \
    } while (0)
    CASE(tenant = SLICE_LITERAL(""), ERR_SYNTAX);
    CASE(device = SLICE_LITERAL(""), ERR_SYNTAX);
    CASE(model = SLICE_LITERAL(""), ERR_SYNTAX);
    CASE(group = SLICE_LITERAL(""), ERR_NONE);
    CASE(device = SLICE_LITERAL("t\0-1"), ERR_SYNTAX); /* to C code that would be another's name */
    CASE(device = SLICE_LITERAL(NAME_64 "x"), ERR_LIMIT);
    CASE(group = SLICE_LITERAL(NAME_64 "x"), ERR_LIMIT);
    CASE(state = DEVICE_STATE_COUNT, ERR_SYNTAX);
    CASE(state = DEVICE_REVOKED, ERR_SYNTAX);
    CASE(state = DEVICE_RETIRED, ERR_SYNTAX);
    CASE(certificates_len = DEVICE_CERTIFICATES_MAX + 1, ERR_LIMIT);
    CASE(password.iterations = 0, ERR_SYNTAX);
    CASE(password.iterations = DEVICE_ITERATIONS_MAX + 1, ERR_LIMIT);
    CASE(previous.iterations = 0, ERR_SYNTAX);
    CASE(previous.iterations = DEVICE_ITERATIONS_MAX + 1, ERR_LIMIT);
    CASE(previous.present = false, ERR_NONE);
    CASE(password.present = false, ERR_SYNTAX); /* one that has no successor */
#undef CASE
    for (size_t i = 0; i < n; i++) {
        struct writer w = writer_over(bytes, sizeof bytes);
        device_record_write(&w, &cases[i]);
        assert_int_equal(w.err, errs[i]);
    }
    struct writer w = writer_over(bytes, sizeof bytes);
    device_feed_write_head(&w, 0, 0, DEVICE_FEED_RECORDS_MAX + 1);
    assert_int_equal(w.err, ERR_LIMIT);
}

static enum err read_changed(size_t at, uint8_t value)
{
    struct device_record records[] = {full_record(), record_of("t-1", DEVICE_REVOKED)};
    struct slice feed_bytes = written(records, 2);
    bytes[at] = value;
    uint32_t count = 0;
    return read_all(feed_bytes, &count);
}

static void test_not_read(void **state)
{
    (void)state;
    enum { COUNT = 24, RECORD = 28, NAMES = RECORD + 4, CERTIFICATES = NAMES + 4 * 65 };
    assert_int_equal(read_changed(0, 'H'), ERR_NONE);
    assert_int_equal(read_changed(0, 'h'), ERR_SYNTAX);
    assert_int_equal(read_changed(7, '2'), ERR_SYNTAX);
    assert_int_equal(read_changed(COUNT, 1), ERR_LIMIT);
    assert_int_equal(read_changed(COUNT + 3, 1), ERR_SYNTAX); /* bytes left over */
    assert_int_equal(read_changed(COUNT + 3, 3), ERR_SYNTAX); /* too few */
    assert_int_equal(read_changed(RECORD, 2), ERR_LIMIT);
    assert_int_equal(read_changed(RECORD + 1, 0), ERR_SYNTAX);
    assert_int_equal(read_changed(RECORD + 2, DEVICE_STATE_COUNT), ERR_SYNTAX);
    assert_int_equal(read_changed(RECORD + 2, DEVICE_RETIRED), ERR_SYNTAX);
    assert_int_equal(read_changed(RECORD + 3, 8), ERR_UNSUPPORTED);
    assert_int_equal(read_changed(RECORD + 3, 4), ERR_SYNTAX); /* one without its successor */
    assert_int_equal(read_changed(RECORD + 3, 1), ERR_SYNTAX); /* one is left over */
    assert_int_equal(read_changed(RECORD + 3, 0), ERR_SYNTAX); /* its password is left over */
    assert_int_equal(read_changed(NAMES, 65), ERR_LIMIT);
    assert_int_equal(read_changed(NAMES + 65 + 5, 0), ERR_SYNTAX);
    assert_int_equal(read_changed(CERTIFICATES, 3), ERR_LIMIT);
    assert_int_equal(read_changed(CERTIFICATES, 1), ERR_SYNTAX);
}

static void test_cut_short(void **state)
{
    (void)state;
    struct device_record records[] = {full_record(), record_of("t-1", DEVICE_REVOKED)};
    struct slice feed_bytes = written(records, 2);
    uint32_t count = 0;
    for (size_t len = 0; len < feed_bytes.len; len++) {
        uint8_t *copy = malloc(len + (len == 0));
        assert_non_null(copy);
        memcpy(copy, feed_bytes.data, len);
        assert_int_not_equal(read_all(slice_of(copy, len), &count), ERR_NONE);
        free(copy);
    }
    assert_int_equal(read_all(slice_of(bytes, feed_bytes.len + 1), &count), ERR_SYNTAX);
}

/* With one bit changed it is refused, or it is one that could have been written. */
static void test_bits(void **state)
{
    (void)state;
    struct device_record records[] = {full_record(), record_of("t-1", DEVICE_REVOKED)};
    struct slice feed_bytes = written(records, 2);
    static uint8_t changed[sizeof bytes], again[sizeof bytes];
    size_t taken = 0;
    for (size_t bit = 0; bit < feed_bytes.len * 8; bit++) {
        memcpy(changed, feed_bytes.data, feed_bytes.len);
        changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        struct device_feed feed;
        if (device_feed_read_head(slice_of(changed, feed_bytes.len), &feed) != ERR_NONE)
            continue;
        struct writer w = writer_over(again, sizeof again);
        device_feed_write_head(&w, feed.at, feed.rules, feed.count);
        for (uint32_t i = 0; i < feed.count && feed.records.err == ERR_NONE; i++) {
            struct device_record d = {.state = DEVICE_TRUSTED};
            device_record_read(&feed.records, &d);
            if (feed.records.err == ERR_NONE)
                device_record_write(&w, &d);
        }
        if (reader_finish(&feed.records) != ERR_NONE)
            continue;
        taken++;
        assert_int_equal(w.err, ERR_NONE);
        assert_true(slice_equal(writer_bytes(&w), slice_of(changed, feed_bytes.len)));
    }
    assert_true(taken > 0 && taken < feed_bytes.len * 8);
}

/* What is refused leaves no half of a record behind. */
static void test_untouched(void **state)
{
    (void)state;
    struct device_record one = full_record(), d = record_of("kept", DEVICE_TRUSTED);
    struct writer w = writer_over(bytes, sizeof bytes);
    device_record_write(&w, &one);
    struct reader r = reader_over(slice_of(bytes, w.len - 1));
    device_record_read(&r, &d);
    assert_int_equal(r.err, ERR_SYNTAX);
    assert_true(slice_equal(d.device, SLICE_LITERAL("kept")));
    device_record_read(&r, &d);
    assert_int_equal(r.err, ERR_SYNTAX);
}

static void test_small_buffers(void **state)
{
    (void)state;
    struct device_record one = full_record();
    struct writer whole = writer_over(bytes, sizeof bytes);
    device_record_write(&whole, &one);
    for (size_t max = 0; max < whole.len; max++) {
        uint8_t *small = malloc(max + (max == 0));
        assert_non_null(small);
        struct writer w = writer_over(small, max);
        device_record_write(&w, &one);
        assert_int_equal(w.err, ERR_LIMIT);
        free(small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_record_is_as_documented),
        cmocka_unit_test(test_not_written),
        cmocka_unit_test(test_not_read),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_small_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
