#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/der.h"

static void takes_distinguished_lengths_only(void **state)
{
    (void)state;
    static const struct {
        struct slice der;
        enum err err;
    } cases[] = {
        {SLICE_LITERAL("\x04\x00"), ERR_NONE},
        {SLICE_LITERAL("\x04\x02\xaa\xbb"), ERR_NONE},
        {SLICE_LITERAL(""), ERR_SYNTAX},
        {SLICE_LITERAL("\x04"), ERR_SYNTAX},
        {SLICE_LITERAL("\x04\x02\xaa"), ERR_SYNTAX},
        {SLICE_LITERAL("\x04\x01\xaa\xbb"), ERR_SYNTAX},                 /* trailing byte */
        {SLICE_LITERAL("\x04\x80\xaa\x00\x00"), ERR_SYNTAX},             /* indefinite */
        {SLICE_LITERAL("\x04\x81"), ERR_SYNTAX},                         /* length cut off */
        {SLICE_LITERAL("\x04\x81\x01\xaa"), ERR_SYNTAX},                 /* not the shortest */
        {SLICE_LITERAL("\x04\x82\x00\x01\xaa"), ERR_SYNTAX},             /* not the shortest */
        {SLICE_LITERAL("\x04\x84\xff\xff\xff\xff\xaa"), ERR_SYNTAX},     /* beyond the end */
        {SLICE_LITERAL("\x04\x85\x01\x00\x00\x00\x00\xaa"), ERR_SYNTAX}, /* absurd */
        {SLICE_LITERAL("\x04\xff\xaa"), ERR_SYNTAX},
        {SLICE_LITERAL("\x05\x00"), ERR_SYNTAX}, /* another tag */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader r = reader_over(cases[i].der);
        (void)der_read(&r, DER_OCTET_STRING);
        assert_int_equal(reader_finish(&r), cases[i].err);
    }
    static const struct slice bad_tags[] = {SLICE_LITERAL("\x1f\x01\x00"),
                                            SLICE_LITERAL("\xbf\x85\x49\x00"),
                                            SLICE_LITERAL("\x00\x00")};
    for (size_t i = 0; i < ARRAY_LEN(bad_tags); i++) {
        struct reader r = reader_over(bad_tags[i]);
        unsigned tag = 77;
        assert_null(der_read_any(&r, &tag).data);
        assert_int_equal(r.err, ERR_SYNTAX);
        assert_int_equal(tag, 77);
    }
}

static void lengths_of_every_width_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 127, 128, 129, 255, 256, 257, 65535, 65536, 70000};
    static uint8_t contents[70000], buffer[70010];
    memset(contents, 0x5a, sizeof contents);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        der_put(&w, DER_OCTET_STRING, slice_of(contents, sizes[i]));
        struct slice der = der_writer_bytes(&w);
        assert_int_equal(w.err, ERR_NONE);
        struct reader r = reader_over(der);
        unsigned tag = 0;
        struct slice whole = der_read_any(&r, &tag);
        assert_int_equal(tag, DER_OCTET_STRING);
        assert_true(slice_equal(whole, der));
        assert_int_equal(reader_finish(&r), ERR_NONE);
        r = reader_over(der);
        assert_true(slice_equal(der_read(&r, DER_OCTET_STRING), slice_of(contents, sizes[i])));
        assert_int_equal(reader_finish(&r), ERR_NONE);
        /* no room for its last byte */
        w = der_writer_over(buffer, der.len - 1);
        der_put(&w, DER_OCTET_STRING, slice_of(contents, sizes[i]));
        assert_int_equal(w.err, ERR_LIMIT);
        assert_null(der_writer_bytes(&w).data);
    }
}

static void reads_and_writes_integers(void **state)
{
    (void)state;
    static const struct {
        struct slice der;
        uint64_t v;
    } cases[] = {
        {SLICE_LITERAL("\x02\x01\x00"), 0},
        {SLICE_LITERAL("\x02\x01\x7f"), 127},
        {SLICE_LITERAL("\x02\x02\x00\x80"), 128},
        {SLICE_LITERAL("\x02\x02\x01\x00"), 256},
        {SLICE_LITERAL("\x02\x09\x00\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader r = reader_over(cases[i].der);
        assert_true(der_read_u64(&r) == cases[i].v);
        assert_int_equal(reader_finish(&r), ERR_NONE);
        uint8_t buffer[16];
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        der_put_u64(&w, cases[i].v);
        assert_true(slice_equal(der_writer_bytes(&w), cases[i].der));
    }
    static const struct {
        struct slice der;
        enum err err;
    } bad[] = {
        {SLICE_LITERAL("\x02\x00"), ERR_SYNTAX},
        {SLICE_LITERAL("\x02\x01\x80"), ERR_SYNTAX},                /* negative */
        {SLICE_LITERAL("\x02\x02\xff\x00"), ERR_SYNTAX},            /* negative */
        {SLICE_LITERAL("\x02\x02\x00\x7f"), ERR_SYNTAX},            /* padded */
        {SLICE_LITERAL("\x02\x03\x00\x00\x80"), ERR_SYNTAX},        /* padded */
        {SLICE_LITERAL("\x02\x09\x01\0\0\0\0\0\0\0\0"), ERR_LIMIT}, /* 2^64 */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct reader r = reader_over(bad[i].der);
        assert_true(der_read_u64(&r) == 0);
        assert_int_equal(r.err, bad[i].err);
    }
    struct reader r = reader_over(SLICE_LITERAL("\x02\x03\x00\xab\xcd"));
    assert_true(slice_equal(der_read_unsigned(&r), SLICE_LITERAL("\xab\xcd")));
    uint8_t buffer[16];
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    der_put_unsigned(&w, SLICE_LITERAL("\x00\x00\xab\xcd"));
    assert_true(slice_equal(der_writer_bytes(&w), SLICE_LITERAL("\x02\x03\x00\xab\xcd")));
}

static void bit_strings_have_no_unused_bits(void **state)
{
    (void)state;
    struct reader r = reader_over(SLICE_LITERAL("\x03\x03\x00\xab\xcd"));
    assert_true(slice_equal(der_read_bit_string(&r), SLICE_LITERAL("\xab\xcd")));
    assert_int_equal(reader_finish(&r), ERR_NONE);
    uint8_t buffer[16];
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    size_t mark = der_mark(&w);
    der_put_raw(&w, SLICE_LITERAL("\xab\xcd"));
    der_wrap_bit_string(&w, mark);
    assert_true(slice_equal(der_writer_bytes(&w), SLICE_LITERAL("\x03\x03\x00\xab\xcd")));
    static const struct slice bad[] = {SLICE_LITERAL("\x03\x00"), SLICE_LITERAL("\x03\x02\x01\xaa"),
                                       SLICE_LITERAL("\x23\x02\x00\xaa")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        r = reader_over(bad[i]);
        assert_null(der_read_bit_string(&r).data);
        assert_int_equal(r.err, ERR_SYNTAX);
    }
}

static void reads_and_writes_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned tag;
        int64_t seconds;
        bool written; /* the form that the writer chooses */
    } cases[] = {
        {"700101000000Z", DER_UTC_TIME, 0, true},
        {"261123042138Z", DER_UTC_TIME, 1795407698, true},
        {"500101000000Z", DER_UTC_TIME, -631152000, true},
        {"491231235959Z", DER_UTC_TIME, 2524607999, true},
        {"20500101000000Z", DER_GENERALIZED_TIME, 2524608000, true},
        {"99991231235959Z", DER_GENERALIZED_TIME, 253402300799, true},
        {"20261123042138Z", DER_GENERALIZED_TIME, 1795407698, false},
    };
    uint8_t buffer[32];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        der_put(&w, cases[i].tag, slice_of_text(cases[i].text));
        struct slice der = der_writer_bytes(&w);
        struct reader r = reader_over(der);
        assert_true(der_read_time(&r) == cases[i].seconds);
        assert_int_equal(reader_finish(&r), ERR_NONE);
        uint8_t again[32];
        w = der_writer_over(again, sizeof again);
        der_put_time(&w, cases[i].seconds);
        assert_int_equal(slice_equal(der_writer_bytes(&w), der), cases[i].written);
    }
    static const struct {
        const char *text;
        unsigned tag;
    } bad[] = {
        {"", DER_UTC_TIME},
        {"2611230421Z", DER_UTC_TIME},       /* no seconds */
        {"261123042138", DER_UTC_TIME},      /* no zone */
        {"261123042138+0000", DER_UTC_TIME}, /* another zone */
        {"261123042138Z ", DER_UTC_TIME},    /* trailing */
        {"20261123042138Z", DER_UTC_TIME},   /* the other form's length */
        {"261123042138Z", DER_GENERALIZED_TIME},
        {"20261123042138.5Z", DER_GENERALIZED_TIME},
        {"20260230000000Z", DER_GENERALIZED_TIME},
        {"20261123042160Z", DER_GENERALIZED_TIME},
        {"2026112304213:Z", DER_GENERALIZED_TIME},
        {"261123042138Z", DER_PRINTABLE_STRING},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        der_put(&w, bad[i].tag, slice_of_text(bad[i].text));
        struct reader r = reader_over(der_writer_bytes(&w));
        assert_true(der_read_time(&r) == 0);
        assert_int_equal(r.err, ERR_SYNTAX);
    }
    static const int64_t outside[] = {INT64_MIN, -631152001, 253402300800, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        der_put_time(&w, outside[i]);
        assert_int_equal(w.err, ERR_LIMIT);
        w = der_writer_over(buffer, sizeof buffer);
        der_put_generalized_time(&w, outside[i]);
        assert_int_equal(w.err, ERR_LIMIT);
    }
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    der_put_generalized_time(&w, 1795407698);
    assert_true(slice_equal(der_writer_bytes(&w), SLICE_LITERAL("\x18\x0f"
                                                                "20261123042138Z")));
}

static void errors_pass_between_nested_readers(void **state)
{
    (void)state;
    /* SEQUENCE { SEQUENCE { NULL } } and a byte too many in the inner one */
    struct reader r = reader_over(SLICE_LITERAL("\x30\x05\x30\x03\x05\x00\x01"));
    struct reader outer = der_enter(&r, DER_SEQUENCE);
    assert_true(der_next_is(&outer, DER_SEQUENCE));
    assert_false(der_next_is(&outer, DER_SET));
    struct reader inner = der_enter(&outer, DER_SEQUENCE);
    (void)der_read(&inner, DER_NULL);
    assert_int_equal(inner.err, ERR_NONE);
    der_leave(&outer, &inner);
    assert_int_equal(outer.err, ERR_SYNTAX);
    assert_false(der_next_is(&outer, DER_SEQUENCE));
    /* what is entered through a failed reader has failed */
    struct reader after = der_enter(&outer, DER_SEQUENCE);
    assert_int_equal(reader_finish(&after), ERR_SYNTAX);
    der_leave(&r, &outer);
    assert_int_equal(reader_finish(&r), ERR_SYNTAX);
}

static void a_full_writer_stays_failed(void **state)
{
    (void)state;
    uint8_t buffer[4];
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    der_put_raw(&w, SLICE_LITERAL("abcde"));
    assert_int_equal(w.err, ERR_LIMIT);
    der_put_raw(&w, SLICE_LITERAL("a"));
    der_wrap(&w, DER_SEQUENCE, w.max);
    der_writer_fail(&w, ERR_SYNTAX);
    assert_int_equal(w.err, ERR_LIMIT);
    assert_int_equal(w.at, sizeof buffer);
    w = der_writer_over(NULL, 0);
    assert_int_equal(w.err, ERR_NONE);
    der_put(&w, DER_NULL, slice_of(NULL, 0));
    assert_int_equal(w.err, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_distinguished_lengths_only),
        cmocka_unit_test(lengths_of_every_width_come_back),
        cmocka_unit_test(reads_and_writes_integers),
        cmocka_unit_test(bit_strings_have_no_unused_bits),
        cmocka_unit_test(reads_and_writes_times),
        cmocka_unit_test(errors_pass_between_nested_readers),
        cmocka_unit_test(a_full_writer_stays_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
