#include <assert.h>

#include "core/http1.h"

#define BUFFER_SIZE 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err feed(struct http1_response *r, struct slice text, size_t step, size_t *ret_used)
{
    *ret_used = 0;
    while (*ret_used < text.len && !http1_response_done(r)) {
        size_t n = text.len - *ret_used < step ? text.len - *ret_used : step;
        size_t used = 0;
        enum err err = http1_response_feed(r, slice_of(text.data + *ret_used, n), &used);
        if (err != ERR_NONE)
            return err;
        assert(used == n || http1_response_done(r));
        *ret_used += used;
    }
    return ERR_NONE;
}

/* The first byte chooses the method and the size of the pieces; the rest is the answer. How it is
 * cut into pieces must make no difference. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = slice_of(data + 1, size - 1);
    uint8_t whole_buffer[BUFFER_SIZE], piece_buffer[BUFFER_SIZE];
    struct http1_response whole, pieces;
    http1_response_init(&whole, whole_buffer, sizeof whole_buffer);
    http1_response_init(&pieces, piece_buffer, sizeof piece_buffer);
    whole.to_head = pieces.to_head = (data[0] & 0x80) != 0;
    size_t whole_used, piece_used;
    enum err err = feed(&whole, text, size, &whole_used);
    assert(feed(&pieces, text, 1 + (data[0] & 0x0f), &piece_used) == err);
    assert(whole.len <= sizeof whole_buffer && whole.head_len <= whole.len);
    if (err != ERR_NONE)
        return 0;
    assert(whole_used == piece_used && whole.status == pieces.status);
    assert(http1_response_done(&whole) == http1_response_done(&pieces));
    assert(slice_equal(http1_response_body(&whole), http1_response_body(&pieces)));
    err = http1_response_end(&whole);
    assert(err == ERR_NONE || err == ERR_CLOSED);
    assert(http1_response_end(&pieces) == err && whole.keep_alive == pieces.keep_alive);

    struct slice value;
    if (http1_response_header(&whole, "Retry-After", &value))
        assert(value.len == 0 || (value.data > whole_buffer &&
                                  value.data + value.len < whole_buffer + whole.head_len));
    return 0;
}
