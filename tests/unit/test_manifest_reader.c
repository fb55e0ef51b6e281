#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/manifest_reader.h"

#define NOW      INT64_C(1795408898) /* 2026-11-23T04:41:38Z */
#define STANDARD (NOW + 90 * 86400)
#define KEY      "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define S64      "s234567890123456789012345678901234567890123456789012345678901234"

struct input {
    struct slice left;
    size_t piece; /* bytes given at once */
    enum err then;
};

static enum err give(void *ctx, uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct input *in = ctx;
    size_t n = in->left.len < in->piece ? in->left.len : in->piece;
    n = n < max ? n : max;
    if (n == 0 && in->then != ERR_NONE)
        return in->then;
    if (n > 0)
        memcpy(buffer, in->left.data, n);
    in->left = slice_of(in->left.data + n, in->left.len - n);
    *ret_len = n;
    return ERR_NONE;
}

static struct manifest_reader reader;

static void start(enum manifest_format format, struct input *in)
{
    manifest_reader_init(&reader, format, give, in, NOW, STANDARD);
}

/* The rows of a file, each as the hub takes it, one a line; a path in angle brackets. */
static enum err read_all(enum manifest_format format, struct slice text, size_t piece, char *rows,
                         size_t size, struct manifest_error *error)
{
    struct input in = {.left = text, .piece = piece};
    struct writer w = writer_over(rows, size - 1);
    enum err err;
    start(format, &in);
    for (;;) {
        struct manifest_row row;
        bool end = false;
        err = manifest_reader_next(&reader, &row, &end, error);
        if (err != ERR_NONE || end)
            break;
        struct json_writer j = json_writer_over(&w);
        if (row.proof == MANIFEST_IDEVID_FILE) {
            writer_text(&w, row.serial);
            writer_text(&w, " <");
            writer_put(&w, row.idevid);
            writer_text(&w, ">");
        } else {
            manifest_row_write(&j, &row);
        }
        writer_text(&w, "\n");
    }
    manifest_reader_cleanup(&reader);
    assert_int_equal(w.err, ERR_NONE);
    rows[w.len] = '\0';
    return err;
}

/* ---- what is taken ---- */

static const struct {
    const char *name;
    enum manifest_format format;
    const char *text, *rows;
} good[] = {
    {"claims", MANIFEST_CSV, "serial,claim\na,yes\nb,1h\nc,2027-01-01\nd,2027-01-01T00:00:01Z\n",
     "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"2027-02-21T04:41:38Z\"}}\n"
     "{\"serial\":\"b\",\"claim\":{\"expires_at\":\"2026-11-23T05:41:38Z\"}}\n"
     "{\"serial\":\"c\",\"claim\":{\"expires_at\":\"2027-01-01T00:00:00Z\"}}\n"
     "{\"serial\":\"d\",\"claim\":{\"expires_at\":\"2027-01-01T00:00:01Z\"}}\n"},
    {"columns in any order", MANIFEST_CSV, "key_sha256,serial\n" KEY ",a-1\n",
     "{\"serial\":\"a-1\",\"key_sha256\":\"" KEY "\"}\n"},
    {"capital digits", MANIFEST_CSV,
     "serial,key_sha256\n"
     "a,9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08\n",
     "{\"serial\":\"a\",\"key_sha256\":\"" KEY "\"}\n"},
    {"all columns", MANIFEST_CSV, "serial,claim,key_sha256,idevid\na,,,certs/a.pem\nb,," KEY ",\n",
     "a <certs/a.pem>\n{\"serial\":\"b\",\"key_sha256\":\"" KEY "\"}\n"},
    {"quotes", MANIFEST_CSV, "\"serial\",\"idevid\"\n\"a\",\"x, \"\"y\"\".pem\"\n",
     "a <x, \"y\".pem>\n"},
    {"an empty quoted field", MANIFEST_CSV, "serial,claim,idevid\na,\"\",\"b\"\n", "a <b>\n"},
    {"CR LF, a mark, empty lines, no last line end", MANIFEST_CSV,
     "\xef\xbb\xbfserial,idevid\r\n\r\na,b\r\n\nc,d", "a <b>\nc <d>\n"},
    {"a heading alone", MANIFEST_CSV, "serial,claim\n", ""},
    {"nothing", MANIFEST_CSV, "", ""},
    {"the longest serial", MANIFEST_CSV, "serial,idevid\n" S64 ",x\n", S64 " <x>\n"},
    {"objects", MANIFEST_JSON_LINES,
     "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"2027-01-01T00:00:00Z\"}}\n"
     " {\"key_sha256\" : \"" KEY "\", \"serial\":\"b.-_\"}\r\n\n"
     "{\"serial\":\"c\",\"idevid_pem\":\"-----BEGIN\\n-\\r\\n\"}",
     "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"2027-01-01T00:00:00Z\"}}\n"
     "{\"serial\":\"b.-_\",\"key_sha256\":\"" KEY "\"}\n"
     "{\"serial\":\"c\",\"idevid_pem\":\"-----BEGIN\\n-\\r\\n\"}\n"},
    {"no objects", MANIFEST_JSON_LINES, "\n\n", ""},
};

static void takes(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 65536};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
            char rows[2048];
            struct manifest_error error = {.text = ""};
            enum err err = read_all(good[i].format, slice_of_text(good[i].text), pieces[k], rows,
                                    sizeof rows, &error);
            if (err != ERR_NONE)
                fail_msg("%s: %s", good[i].name, error.text);
            assert_string_equal(rows, good[i].rows);
        }
}

/* ---- what is refused ---- */

static const struct {
    enum manifest_format format;
    const char *text;
    uint64_t line;
    const char *says; /* part of the message */
} bad[] = {
    {MANIFEST_CSV, "a-1,yes\n", 1, "not known"},
    {MANIFEST_CSV, "serial,claim,owner\n", 1, "not known"},
    {MANIFEST_CSV, "serial, claim\n", 1, "not known"},
    {MANIFEST_CSV, "serial\na\n", 1, "none of"},
    {MANIFEST_CSV, "claim\nyes\n", 1, "does not name serial"},
    {MANIFEST_CSV, "serial,claim,claim\n", 1, "twice"},
    {MANIFEST_CSV, "serial,claim,key_sha256,idevid,serial\n", 1, "more than 4"},
    {MANIFEST_CSV, "serial,claim\na\n", 2, "1 fields"},
    {MANIFEST_CSV, "serial,claim\na,yes,\n", 2, "3 fields"},
    {MANIFEST_CSV, "serial,claim\n,yes\n", 2, "serial:"},
    {MANIFEST_CSV, "serial,claim\n-a,yes\n", 2, "serial:"},
    {MANIFEST_CSV, "serial,claim\na b,yes\n", 2, "serial:"},
    {MANIFEST_CSV, "serial,claim\na/b,yes\n", 2, "serial:"},
    {MANIFEST_CSV, "serial,claim\n" S64 "x,yes\n", 2, "serial:"},
    {MANIFEST_CSV, "serial,claim\n\xc3\xa4,yes\n", 2, "serial:"},
    {MANIFEST_CSV, "serial,claim\nok,yes\n\na,\n", 4, "no way"},
    {MANIFEST_CSV, "serial,claim,idevid\na,yes,x\n", 2, "only one way"},
    {MANIFEST_CSV, "serial,claim\na,no\n", 2, "claim:"},
    {MANIFEST_CSV, "serial,claim\na,YES\n", 2, "claim:"},
    {MANIFEST_CSV, "serial,claim\na,0\n", 2, "in the past"},
    {MANIFEST_CSV, "serial,claim\na,2026-11-23\n", 2, "in the past"},
    {MANIFEST_CSV, "serial,claim\na,2026-13-01\n", 2, "claim:"},
    {MANIFEST_CSV, "serial,claim\na,9000y\n", 2, "claim:"},
    {MANIFEST_CSV, "serial,key_sha256\na,9f86\n", 2, "key_sha256:"},
    {MANIFEST_CSV, "serial,key_sha256\na,x" KEY "\n", 2, "key_sha256:"},
    {MANIFEST_CSV,
     "serial,key_sha256\na,gf86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n", 2,
     "key_sha256:"},
    {MANIFEST_CSV, "serial,idevid\n\"a,b\n", 2, "does not end"},
    {MANIFEST_CSV, "serial,idevid\na,\"b\"c\n", 2, "quote"},
    {MANIFEST_CSV, "serial,idevid\na,b\"c\"\n", 2, "quote"},
    {MANIFEST_CSV, "serial,idevid\na,b\tc\n", 2, "control"},
    {MANIFEST_CSV, "serial,idevid\na,\"b\rc\"\n", 2, "control"},
    {MANIFEST_CSV, "serial,idevid\na,\x7f\n", 2, "control"},
    {MANIFEST_CSV, "\n\xef\xbb\xbfserial,idevid\n", 2, "not known"},
    {MANIFEST_JSON_LINES, "[]\n", 1, "one JSON object"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\n\"key_sha256\":\"" KEY "\"}\n", 1,
     "one JSON object"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"key_sha256\":\"" KEY "\"}{}\n", 1,
     "one JSON object"},
    {MANIFEST_JSON_LINES, "{}\n", 1, "serial: it is missing"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\"}\n", 1, "no way"},
    {MANIFEST_JSON_LINES, "{\"serial\":1,\"key_sha256\":\"" KEY "\"}\n", 1, "serial:"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"serial\":\"a\",\"key_sha256\":\"" KEY "\"}\n", 1,
     "twice"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"owner\":\"b\",\"key_sha256\":\"" KEY "\"}\n", 1,
     "not known"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"key_sha256\":null}\n", 1, "key_sha256:"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"claim\":\"yes\"}\n", 1, "claim:"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"claim\":{}}\n", 1, "claim:"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"30d\"}}\n", 1, "claim:"},
    {MANIFEST_JSON_LINES,
     "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"2027-01-01T00:00:00Z\",\"x\":1}}\n", 1,
     "claim:"},
    {MANIFEST_JSON_LINES,
     "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"2020-01-01T00:00:00Z\"}}\n", 1, "in the past"},
    {MANIFEST_JSON_LINES,
     "{\"serial\":\"a\",\"claim\":{\"expires_at\":\"2027-01-01T00:00:00Z\"},\"key_sha256\":\"" KEY
     "\"}\n",
     1, "only one way"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"idevid_pem\":\"\"}\n", 1, "idevid_pem:"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"idevid_pem\":\"\\t\"}\n", 1, "idevid_pem:"},
    {MANIFEST_JSON_LINES, "{\"serial\":\"a\",\"idevid_pem\":\"\xc3\xa4\"}\n", 1, "idevid_pem:"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char rows[2048];
        struct manifest_error error = {.text = ""};
        enum err err =
            read_all(bad[i].format, slice_of_text(bad[i].text), 5, rows, sizeof rows, &error);
        if (err != ERR_SYNTAX || error.line != bad[i].line ||
            strstr(error.text, bad[i].says) == NULL)
            fail_msg("%s gave %s, \"%s\"", bad[i].text, err_text(err), error.text);
    }
}

static void refuses_a_nul(void **state)
{
    (void)state;
    static const char csv[] = "serial,idevid\na,b\0c\n";
    static const char json[] = "{\"serial\":\"a\",\"idevid_pem\":\"b\\u0000\"}\n";
    char rows[256];
    struct manifest_error error;
    assert_int_equal(
        read_all(MANIFEST_CSV, slice_of(csv, sizeof csv - 1), 64, rows, sizeof rows, &error),
        ERR_SYNTAX);
    assert_int_equal(read_all(MANIFEST_JSON_LINES, slice_of(json, sizeof json - 1), 64, rows,
                              sizeof rows, &error),
                     ERR_SYNTAX);
}

/* ---- limits ---- */

static enum err read_long_line(size_t len, struct manifest_error *error)
{
    static const char heading[] = "serial,idevid\na,";
    static char rows[MANIFEST_LINE_MAX + 64];
    size_t head = sizeof heading - 1;
    uint8_t *text = malloc(head + len);
    assert_non_null(text);
    memcpy(text, heading, head);
    memset(text + head, 'x', len);
    enum err err =
        read_all(MANIFEST_CSV, slice_of(text, head + len - 2), SIZE_MAX, rows, sizeof rows, error);
    free(text);
    return err;
}

static void bounds_lines(void **state)
{
    (void)state;
    struct manifest_error error = {.text = ""};
    assert_int_equal(read_long_line(MANIFEST_LINE_MAX, &error), ERR_NONE);
    assert_int_equal(read_long_line(MANIFEST_LINE_MAX + 1, &error), ERR_LIMIT);
    assert_int_equal(error.line, 2);
    assert_int_equal(read_long_line(10 * MANIFEST_LINE_MAX, &error), ERR_LIMIT);
}

static enum err read_certificate(size_t len)
{
    static char line[2 * MANIFEST_LINE_MAX], rows[2 * MANIFEST_LINE_MAX];
    struct manifest_error error;
    struct writer w = writer_over(line, sizeof line);
    writer_text(&w, "{\"serial\":\"a\",\"idevid_pem\":\"");
    for (size_t i = 0; i < len; i++)
        writer_text(&w, "\\n");
    writer_text(&w, "\"}\n");
    assert_int_equal(w.err, ERR_NONE);
    return read_all(MANIFEST_JSON_LINES, writer_bytes(&w), 4096, rows, sizeof rows, &error);
}

static void bounds_certificates(void **state)
{
    (void)state;
    assert_int_equal(read_certificate(MANIFEST_PEM_MAX), ERR_NONE);
    assert_int_equal(read_certificate(MANIFEST_PEM_MAX + 1), ERR_SYNTAX);
}

static void a_row_fits_its_limit(void **state)
{
    (void)state;
    static uint8_t pem[MANIFEST_PEM_MAX], bytes[MANIFEST_ROW_JSON_MAX];
    memset(pem, '\n', sizeof pem);
    const struct manifest_row row = {
        .serial = S64, .proof = MANIFEST_IDEVID, .idevid = slice_of(pem, sizeof pem)};
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    manifest_row_write(&j, &row);
    assert_int_equal(w.err, ERR_NONE);
}

static void a_path_is_not_written(void **state)
{
    (void)state;
    uint8_t bytes[256];
    const struct manifest_row row = {
        .serial = "a", .proof = MANIFEST_IDEVID_FILE, .idevid = SLICE_LITERAL("x.pem")};
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    manifest_row_write(&j, &row);
    assert_int_equal(w.err, ERR_INTERNAL);
}

static void hands_on_errors_of_the_source(void **state)
{
    (void)state;
    struct input in = {.left = SLICE_LITERAL("serial,idevid\na,b\nc,"), .piece = 4, .then = ERR_IO};
    struct manifest_row row = {.serial = "untouched"};
    struct manifest_error error = {.text = ""};
    bool end = false;
    start(MANIFEST_CSV, &in);
    assert_int_equal(manifest_reader_next(&reader, &row, &end, &error), ERR_NONE);
    assert_string_equal(row.serial, "a");
    assert_int_equal(row.line, 2);
    assert_int_equal(manifest_reader_next(&reader, &row, &end, &error), ERR_IO);
    assert_string_equal(row.serial, "a");
    assert_string_equal(error.text, "");
    manifest_reader_cleanup(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_a_nul),
        cmocka_unit_test(bounds_lines),
        cmocka_unit_test(bounds_certificates),
        cmocka_unit_test(a_row_fits_its_limit),
        cmocka_unit_test(a_path_is_not_written),
        cmocka_unit_test(hands_on_errors_of_the_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
