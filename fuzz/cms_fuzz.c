#include "core/cms.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_head(struct slice bytes)
{
    static uint8_t buffer[CMS_DETACHED_MAX];
    static const uint8_t mac[CMS_MAC_SIZE] = {0};
    struct cms_head head;
    if (bytes.len > CMS_HEAD_MAX || cms_head_read(bytes, &head) != ERR_NONE)
        return;
    assert(head.len <= bytes.len);
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    cms_write_detached(&w, &head, slice_of(mac, sizeof mac));
    assert(w.err == ERR_NONE);
    struct slice der = der_writer_bytes(&w);
    struct reader r = reader_over(der);
    unsigned tag = 0;
    assert(der_read_any(&r, &tag).len == der.len && tag == DER_SEQUENCE);
    assert(reader_finish(&r) == ERR_NONE);
}

/* As a file is walked: from chunk to chunk, then the tail. */
static void check_content(struct slice bytes)
{
    size_t at = 0;
    bool end = false;
    while (!end) {
        size_t head_len = 0;
        uint32_t chunk = 0;
        size_t left = bytes.len - at;
        if (cms_chunk_read(slice_of(bytes.data + at, left > CMS_CHUNK_HEAD ? CMS_CHUNK_HEAD : left),
                           &head_len, &chunk, &end) != ERR_NONE)
            return;
        assert(head_len >= 2 && head_len <= left && (chunk == 0) == end);
        at += head_len;
        if (chunk > bytes.len - at)
            return;
        at += chunk;
    }
    struct slice mac;
    if (cms_tail_read(slice_of(bytes.data + at, bytes.len - at), &mac) == ERR_NONE)
        assert(mac.len == CMS_MAC_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    check_head(slice_of(data, len));
    check_content(slice_of(data, len));
    return 0;
}
