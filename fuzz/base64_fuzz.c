#include <assert.h>
#include <stdlib.h>

#include "core/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    size_t room = size / 4 * 3 + 3;
    uint8_t *bytes = malloc(room);
    uint8_t *again = malloc(2 * size + 8);
    assert(bytes != NULL && again != NULL);

    /* There is one text for any bytes. */
    size_t len = 0;
    bool strict = base64_read(text, bytes, room, &len) == ERR_NONE;
    if (strict) {
        struct writer w = writer_over(again, size);
        base64_write(&w, slice_of(bytes, len));
        assert(w.err == ERR_NONE && slice_equal(writer_bytes(&w), text));
        size_t unused;
        assert(len == 0 || base64_read(text, bytes, len - 1, &unused) == ERR_LIMIT);
    }
    size_t wrapped_len = 0;
    enum err err = base64_read_wrapped(text, bytes, room, &wrapped_len);
    assert(!strict || (err == ERR_NONE && wrapped_len == len));
    if (err == ERR_NONE) {
        struct writer w = writer_over(again, 2 * size + 8);
        base64_write_lines(&w, slice_of(bytes, wrapped_len));
        assert(w.err == ERR_NONE);
        uint8_t *back = malloc(room);
        assert(back != NULL);
        assert(base64_read_wrapped(writer_bytes(&w), back, room, &len) == ERR_NONE);
        assert(slice_equal(slice_of(back, len), slice_of(bytes, wrapped_len)));
        free(back);
    }
    free(again);
    free(bytes);
    return 0;
}
