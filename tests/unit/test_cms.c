/* What stands around the content of a CMS AuthEnvelopedData. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/cms.h"

/* With one recipient and one algorithm that say nothing: only their tags matter here. */
static const uint8_t head_bytes[] = {
    0x30, 0x80, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17,
    0xa0, 0x80, 0x30, 0x80, 0x02, 0x01, 0x00, 0x31, 0x02, 0x05, 0x00, 0x30, 0x80, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, 0x30, 0x02, 0x05, 0x00, 0xa0, 0x80};
static const uint8_t tail_bytes[] = {0,  0,  0x04, 0x10, 1,  2,  3,  4, 5, 6, 7, 8, 9,
                                     10, 11, 12,   13,   14, 15, 16, 0, 0, 0, 0, 0, 0};

static void test_head(void **state)
{
    (void)state;
    struct cms_head head;
    assert_int_equal(cms_head_read(slice_of(head_bytes, sizeof head_bytes), &head), ERR_NONE);
    assert_int_equal(head.len, sizeof head_bytes);
    assert_ptr_equal(head.recipients.data, head_bytes + 22);
    assert_int_equal(head.recipients.len, 4);
    assert_ptr_equal(head.algorithm.data, head_bytes + 39);
    for (size_t len = 0; len < sizeof head_bytes; len++)
        assert_int_not_equal(cms_head_read(slice_of(head_bytes, len), &head), ERR_NONE);
    for (size_t i = 0; i < sizeof head_bytes; i++) {
        uint8_t copy[sizeof head_bytes];
        memcpy(copy, head_bytes, sizeof copy);
        copy[i] ^= 0x40;
        bool inside = i == 24 || i == 25 || i == 41 || i == 42; /* of the two that say nothing */
        enum err err = cms_head_read(slice_of(copy, sizeof copy), &head);
        if (inside)
            assert_int_equal(err, ERR_NONE);
        else
            assert_int_not_equal(err, ERR_NONE);
    }
}

static void test_chunk(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[CMS_CHUNK_HEAD];
        size_t given;
        enum err err;
        size_t head_len;
        uint32_t len;
        bool end;
    } cases[] = {
        {{0x04, 0x01}, 2, ERR_NONE, 2, 1, false},
        {{0x04, 0x82, 0x10, 0x00}, 6, ERR_NONE, 4, 4096, false},
        {{0x04, 0x84, 0xff, 0xff, 0xff, 0xff}, 6, ERR_NONE, 6, 0xffffffff, false},
        {{0x00, 0x00}, 2, ERR_NONE, 2, 0, true},
        {{0x04, 0x00}, 2, ERR_SYNTAX, 0, 0, false},
        {{0x04, 0x80}, 2, ERR_SYNTAX, 0, 0, false},
        {{0x04, 0x85}, 6, ERR_LIMIT, 0, 0, false},
        {{0x24, 0x01}, 6, ERR_SYNTAX, 0, 0, false},
        {{0x00, 0x01}, 6, ERR_SYNTAX, 0, 0, false},
        {{0x04, 0x82, 0x10}, 3, ERR_SYNTAX, 0, 0, false},
        {{0x04}, 1, ERR_SYNTAX, 0, 0, false},
        {{0}, 0, ERR_SYNTAX, 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t head_len = 0;
        uint32_t len = 0;
        bool end = false;
        assert_int_equal(
            cms_chunk_read(slice_of(cases[i].bytes, cases[i].given), &head_len, &len, &end),
            cases[i].err);
        assert_int_equal(head_len, cases[i].head_len);
        assert_int_equal(len, cases[i].len);
        assert_int_equal(end, cases[i].end);
    }
}

static void test_tail(void **state)
{
    (void)state;
    struct slice mac;
    uint8_t longer[sizeof tail_bytes + 1] = {0};
    memcpy(longer, tail_bytes, sizeof tail_bytes);
    assert_int_equal(cms_tail_read(slice_of(tail_bytes, sizeof tail_bytes), &mac), ERR_NONE);
    assert_int_equal(mac.len, CMS_MAC_SIZE);
    assert_ptr_equal(mac.data, tail_bytes + 4);
    assert_int_equal(cms_tail_read(slice_of(longer, sizeof longer), &mac), ERR_SYNTAX);
    for (size_t len = 0; len < sizeof tail_bytes; len++)
        assert_int_equal(cms_tail_read(slice_of(tail_bytes, len), &mac), ERR_SYNTAX);
    longer[3] = 0x0f;
    assert_int_equal(cms_tail_read(slice_of(longer, sizeof tail_bytes), &mac), ERR_SYNTAX);
}

static void test_detached(void **state)
{
    (void)state;
    static const uint8_t wanted[] = {
        0x30, 0x41, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17,
        0xa0, 0x32, 0x30, 0x30, 0x02, 0x01, 0x00, 0x31, 0x02, 0x05, 0x00, 0x30, 0x0f, 0x06, 0x09,
        0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01, 0x30, 0x02, 0x05, 0x00};
    struct cms_head head;
    struct slice mac;
    uint8_t buffer[CMS_DETACHED_MAX];
    assert_int_equal(cms_head_read(slice_of(head_bytes, sizeof head_bytes), &head), ERR_NONE);
    assert_int_equal(cms_tail_read(slice_of(tail_bytes, sizeof tail_bytes), &mac), ERR_NONE);
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    cms_write_detached(&w, &head, mac);
    assert_int_equal(w.err, ERR_NONE);
    struct slice bytes = der_writer_bytes(&w);
    assert_int_equal(bytes.len, sizeof wanted + 2 + CMS_MAC_SIZE);
    assert_memory_equal(bytes.data + sizeof wanted, tail_bytes + 2, 2 + CMS_MAC_SIZE);
    assert_memory_equal(bytes.data + 2, wanted + 2, 14);
    assert_memory_equal(bytes.data + 19, wanted + 19, sizeof wanted - 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_chunk),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_detached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
