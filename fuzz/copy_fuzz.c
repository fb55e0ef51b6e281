/* Copies of stores. Their digests stand in the way of every change, so rows are tried one by one,
 * too: the first byte says of which table. */
#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#include "hub/store/copy_format.h"
#include "hub/store/database.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum err get(void *ctx, void *buffer, size_t size, size_t *ret_len)
{
    struct slice *left = ctx;
    size_t n = left->len < size ? left->len : size;
    if (n > 0)
        memcpy(buffer, left->data, n);
    *left = slice_of(left->data + n, left->len - n);
    *ret_len = n;
    return ERR_NONE;
}

static void check_copy(struct slice bytes)
{
    struct copy_reader *reader = NULL;
    struct copy_summary summary;
    uint32_t schema = 0;
    const struct copy_source source = {.read = get, .ctx = &bytes};
    if (copy_reader_new(&source, &reader, &schema) == ERR_NONE &&
        copy_read(reader, NULL, &summary) == ERR_NONE)
        assert(summary.rows == summary.header.rows && bytes.len == 0);
    copy_reader_free(reader);
}

static void check_row(const struct table *table, struct slice fields)
{
    alignas(max_align_t) uint8_t row[ROW_SIZE_MAX] = {0};
    static uint8_t buffer[COPY_RECORD_MAX];
    if (copy_row_read(fields, table, row) != ERR_NONE)
        return;
    struct writer w = writer_over(buffer, sizeof buffer);
    copy_row_write(&w, table, row);
    assert(w.err == ERR_NONE && slice_equal(writer_bytes(&w), fields));
    assert(copy_compare_keys(table, row, row) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check_copy(slice_of(data, len));
    if (len > 0 && len <= COPY_RECORD_MAX)
        check_row(store_tables[data[0] % TABLE_COUNT], slice_of(data + 1, len - 1));
    return 0;
}
