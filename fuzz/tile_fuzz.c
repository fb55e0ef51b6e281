#include "core/tile.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_path(struct slice path)
{
    struct tile tile;
    if (tile_read_path(path, &tile) != ERR_NONE)
        return;
    uint8_t buffer[TILE_PATH_MAX];
    struct writer w = writer_over(buffer, sizeof buffer);
    tile_write_path(&w, &tile);
    assert(w.err == ERR_NONE);
    assert(slice_equal(path, writer_bytes(&w)));
}

static void check_bundle(struct slice bundle)
{
    static uint8_t buffer[1 << 20];
    struct writer w = writer_over(buffer, sizeof buffer);
    struct reader r = reader_over(bundle);
    while (reader_left(&r) > 0) {
        struct slice entry = tile_read_entry(&r);
        if (r.err == ERR_NONE)
            tile_write_entry(&w, entry);
    }
    if (reader_finish(&r) == ERR_NONE && bundle.len <= sizeof buffer) {
        assert(w.err == ERR_NONE);
        assert(slice_equal(bundle, writer_bytes(&w)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    check_path(slice_of(data, len));
    check_bundle(slice_of(data, len));
    return 0;
}
