/* Whatever is read from a manifest in either form is written as JSON lines, and reads back the
 * same: but for a certificate's path, which only CSV has. The file comes in pieces of any size. */
#include <assert.h>
#include <string.h>

#include "cli/manifest_reader.h"

#define NOW      INT64_C(1795000000)
#define STANDARD (NOW + 86400)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
    struct slice left;
    size_t piece;
};

static enum err give(void *ctx, uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct input *in = ctx;
    size_t n = in->left.len < in->piece ? in->left.len : in->piece;
    n = n < max ? n : max;
    if (n > 0)
        memcpy(buffer, in->left.data, n);
    in->left = slice_of(in->left.data + n, in->left.len - n);
    *ret_len = n;
    return ERR_NONE;
}

static struct manifest_reader reader, again;

static void check_again(const struct manifest_row *row)
{
    static uint8_t bytes[MANIFEST_ROW_JSON_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    struct manifest_error error;
    struct manifest_row copy;
    bool end = true;
    manifest_row_write(&j, row);
    assert(w.err == ERR_NONE);
    struct input in = {.left = writer_bytes(&w), .piece = sizeof bytes};
    manifest_reader_init(&again, MANIFEST_JSON_LINES, give, &in, NOW, STANDARD);
    enum err err = manifest_reader_next(&again, &copy, &end, &error);
    assert(err == ERR_NONE && !end);
    assert(strcmp(copy.serial, row->serial) == 0 && copy.proof == row->proof);
    assert(copy.claim_expires_at == row->claim_expires_at);
    assert(memcmp(copy.key_sha256, row->key_sha256, sizeof copy.key_sha256) == 0);
    assert(slice_equal(copy.idevid, row->idevid));
    manifest_reader_cleanup(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    enum manifest_format format = (data[0] & 1) == 0 ? MANIFEST_CSV : MANIFEST_JSON_LINES;
    struct input in = {.left = slice_of(data + 2, len - 2), .piece = 1 + (size_t)data[1] * 16};
    struct manifest_error error = {.text = ""};
    uint64_t line = 0;
    manifest_reader_init(&reader, format, give, &in, NOW, STANDARD);
    for (;;) {
        struct manifest_row row;
        bool end = false;
        enum err err = manifest_reader_next(&reader, &row, &end, &error);
        assert(err == ERR_NONE || (error.line > 0 && error.text[0] != '\0'));
        if (err != ERR_NONE || end)
            break;
        assert(row.line > line && row.serial[0] != '\0');
        line = row.line;
        if (row.proof != MANIFEST_IDEVID_FILE)
            check_again(&row);
    }
    manifest_reader_cleanup(&reader);
    return 0;
}
