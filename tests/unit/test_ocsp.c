#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/base64.h"
#include "core/der.h"
#include "core/ocsp.h"
#include "core/oid.h"
#include "tests/vectors/ocsp_vectors.h"

#define SERIAL SLICE_LITERAL("\x6a\x0b\x0c\x0d\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c")

static void reads_what_openssl_writes(void **state)
{
    (void)state;
    static const struct {
        struct slice der;
        enum ocsp_hash hash;
        size_t size;
    } cases[] = {
        {VECTOR(ocsp_sha1), OCSP_SHA1, 20},
        {VECTOR(ocsp_sha256), OCSP_SHA256, 32},
        {VECTOR(ocsp_nonce), OCSP_SHA1, 20},
        {VECTOR(ocsp_signed), OCSP_SHA1, 20},
    };
    struct ocsp_request first, r;
    assert_int_equal(ocsp_request_read(cases[0].der, &first), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(ocsp_request_read(cases[i].der, &r), ERR_NONE);
        assert_int_equal(r.hash, cases[i].hash);
        assert_int_equal(r.issuer_name_hash.len, cases[i].size);
        assert_int_equal(r.issuer_key_hash.len, cases[i].size);
        assert_true(slice_equal(r.serial, SERIAL));
        if (r.hash == OCSP_SHA1)
            assert_true(slice_equal(r.issuer_key_hash, first.issuer_key_hash) &&
                        slice_equal(r.issuer_name_hash, first.issuer_name_hash));
    }
    assert_int_equal(ocsp_request_read(VECTOR(ocsp_high_bit), &r), ERR_NONE);
    assert_true(slice_equal(r.serial, SLICE_LITERAL("\xff")));
}

static void refuses_what_it_does_not_answer(void **state)
{
    (void)state;
    struct ocsp_request r = {.hash = OCSP_HASH_COUNT};
    assert_int_equal(ocsp_request_read(VECTOR(ocsp_two), &r), ERR_LIMIT);
    assert_int_equal(ocsp_request_read(VECTOR(ocsp_sha384), &r), ERR_UNSUPPORTED);
    uint8_t *large = calloc(1, OCSP_REQUEST_MAX + 1);
    assert_non_null(large);
    assert_int_equal(ocsp_request_read(slice_of(large, OCSP_REQUEST_MAX + 1), &r), ERR_LIMIT);
    assert_int_equal(ocsp_request_read(slice_of(large, OCSP_REQUEST_MAX), &r), ERR_SYNTAX);
    free(large);
    assert_int_equal(r.hash, OCSP_HASH_COUNT); /* untouched */
}

/* Every prefix, and every byte behind the end. */
static void refuses_what_is_cut_or_lengthened(void **state)
{
    (void)state;
    static const struct slice whole[] = {VECTOR(ocsp_sha1), VECTOR(ocsp_nonce),
                                         VECTOR(ocsp_signed)};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
        uint8_t bytes[1024];
        struct ocsp_request r;
        for (size_t n = 0; n < whole[i].len; n++)
            assert_int_equal(ocsp_request_read(slice_of(whole[i].data, n), &r), ERR_SYNTAX);
        memcpy(bytes, whole[i].data, whole[i].len);
        bytes[whole[i].len] = 0;
        assert_int_equal(ocsp_request_read(slice_of(bytes, whole[i].len + 1), &r), ERR_SYNTAX);
    }
}

/* ---- requests made by hand ---- */

struct parts {
    struct slice oid, parameters; /* of the hash */
    size_t hash_len;
    struct slice serial;                                            /* a whole element */
    struct slice version, requestor, single_extensions, extensions; /* whole elements, or empty */
};

static const struct parts sound = {
    .oid = {(const uint8_t *)"\x2b\x0e\x03\x02\x1a", 5},
    .hash_len = 20,
    .serial = {(const uint8_t *)"\x02\x01\x05", 3},
};

static struct slice make(const struct parts *p, uint8_t *buffer, size_t max)
{
    static const uint8_t hash[64] = {1};
    struct der_writer w = der_writer_over(buffer, max);
    size_t whole = der_mark(&w);
    der_put_raw(&w, p->extensions);
    size_t list = der_mark(&w);
    der_put_raw(&w, p->single_extensions);
    size_t id = der_mark(&w);
    der_put_raw(&w, p->serial);
    der_put(&w, DER_OCTET_STRING, slice_of(hash, p->hash_len));
    der_put(&w, DER_OCTET_STRING, slice_of(hash, p->hash_len));
    size_t algorithm = der_mark(&w);
    der_put_raw(&w, p->parameters);
    der_put(&w, DER_OID, p->oid);
    der_wrap(&w, DER_SEQUENCE, algorithm);
    der_wrap(&w, DER_SEQUENCE, id);
    der_wrap(&w, DER_SEQUENCE, list);
    der_wrap(&w, DER_SEQUENCE, list);
    der_put_raw(&w, p->requestor);
    der_put_raw(&w, p->version);
    der_wrap(&w, DER_SEQUENCE, whole);
    der_wrap(&w, DER_SEQUENCE, whole);
    assert_int_equal(w.err, ERR_NONE);
    return der_writer_bytes(&w);
}

static enum err read_parts(const struct parts *p)
{
    uint8_t buffer[512];
    struct ocsp_request r;
    return ocsp_request_read(make(p, buffer, sizeof buffer), &r);
}

#define NONCE    "\x30\x0f\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02\x04\x02\x04\x00"
#define CRITICAL "\x30\x12\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02\x01\x01\xff\x04\x02\x04\x00"

static void knows_every_field(void **state)
{
    (void)state;
    struct parts p = sound;
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.parameters = SLICE_LITERAL("\x05\x00");
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.parameters = SLICE_LITERAL("\x04\x00");
    assert_int_equal(read_parts(&p), ERR_SYNTAX);

    p = sound;
    p.version = SLICE_LITERAL("\xa0\x03\x02\x01\x00");
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.version = SLICE_LITERAL("\xa0\x03\x02\x01\x01");
    assert_int_equal(read_parts(&p), ERR_UNSUPPORTED);

    p = sound;
    p.requestor = SLICE_LITERAL("\xa1\x04\x82\x02hi");
    assert_int_equal(read_parts(&p), ERR_NONE);

    p = sound;
    p.hash_len = 32; /* of SHA-1 */
    assert_int_equal(read_parts(&p), ERR_SYNTAX);

    p = sound;
    p.extensions = SLICE_LITERAL("\xa2\x13\x30\x11" NONCE);
    p.single_extensions = SLICE_LITERAL("\xa0\x13\x30\x11" NONCE);
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.single_extensions = SLICE_LITERAL("\xa0\x16\x30\x14" CRITICAL);
    assert_int_equal(read_parts(&p), ERR_UNSUPPORTED);
    p = sound;
    p.extensions = SLICE_LITERAL("\xa2\x16\x30\x14" CRITICAL);
    assert_int_equal(read_parts(&p), ERR_UNSUPPORTED);
    p.extensions = SLICE_LITERAL("\xa2\x02\x30\x00");
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.extensions = SLICE_LITERAL("\xa3\x02\x30\x00");
    assert_int_equal(read_parts(&p), ERR_SYNTAX);
}

static void bounds_serial_numbers(void **state)
{
    (void)state;
    struct parts p = sound;
    p.serial = SLICE_LITERAL("\x02\x01\x00");
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.serial = SLICE_LITERAL("\x02\x14\x7f___________________");
    assert_int_equal(read_parts(&p), ERR_NONE);
    p.serial = SLICE_LITERAL("\x02\x15\x7f____________________");
    assert_int_equal(read_parts(&p), ERR_LIMIT);
    p.serial = SLICE_LITERAL("\x02\x01\xff"); /* negative */
    assert_int_not_equal(read_parts(&p), ERR_NONE);
    p.serial = SLICE_LITERAL("\x02\x00");
    assert_int_not_equal(read_parts(&p), ERR_NONE);
}

/* ---- GET ---- */

static void reads_paths(void **state)
{
    (void)state;
    char text[OCSP_GET_MAX + 1], encoded[3 * OCSP_GET_MAX];
    struct writer w = writer_over(text, sizeof text - 1);
    base64_write(&w, VECTOR(ocsp_sha256));
    text[w.len] = '\0';
    struct writer e = writer_over(encoded, sizeof encoded);
    for (size_t i = 0; i < w.len; i++) {
        if (text[i] == '+' || text[i] == '/' || text[i] == '=') {
            writer_u8(&e, '%');
            writer_hex(&e, slice_of(text + i, 1));
        } else {
            writer_u8(&e, (uint8_t)text[i]);
        }
    }
    const struct slice paths[] = {slice_of_text(text), writer_bytes(&e)};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        uint8_t buffer[OCSP_GET_MAX];
        struct slice der;
        assert_int_equal(ocsp_path_read(paths[i], buffer, &der), ERR_NONE);
        assert_true(slice_equal(der, VECTOR(ocsp_sha256)));
    }
}

static void refuses_paths(void **state)
{
    (void)state;
    static const char *const bad[] = {"%",    "%4",    "%4g",    "%%",   "A",       "AAA",
                                      "A===", "AA%3d", "%0AAAA", "AAB=", "AAAA%00", "AAAA AAAA"};
    uint8_t buffer[OCSP_GET_MAX];
    struct slice der;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (ocsp_path_read(slice_of_text(bad[i]), buffer, &der) != ERR_SYNTAX)
            fail_msg("taken: %s", bad[i]);
    char longest[OCSP_GET_MAX + 1];
    memset(longest, 'A', sizeof longest);
    assert_int_equal(ocsp_path_read(slice_of(longest, 252), buffer, &der), ERR_NONE);
    assert_int_equal(ocsp_path_read(slice_of(longest, sizeof longest), buffer, &der), ERR_LIMIT);
}

static void writes_errors(void **state)
{
    (void)state;
    uint8_t bytes[OCSP_ERROR_SIZE];
    struct writer w = writer_over(bytes, sizeof bytes);
    ocsp_write_error(&w, OCSP_UNAUTHORIZED);
    assert_true(slice_equal(writer_bytes(&w), SLICE_LITERAL("\x30\x03\x0a\x01\x06")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_openssl_writes),
        cmocka_unit_test(refuses_what_it_does_not_answer),
        cmocka_unit_test(refuses_what_is_cut_or_lengthened),
        cmocka_unit_test(knows_every_field),
        cmocka_unit_test(bounds_serial_numbers),
        cmocka_unit_test(reads_paths),
        cmocka_unit_test(refuses_paths),
        cmocka_unit_test(writes_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
