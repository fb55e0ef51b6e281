/* What is read is what would be written, byte for byte. */
#include "core/checkpoint_update.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t buffer[UPDATE_MAX];
    struct hash proof[UPDATE_PROOF_MAX];
    struct slice input = slice_of(data, len);
    struct checkpoint_update update = {.old_size = 77};
    if (checkpoint_update_read(input, proof, &update) != ERR_NONE) {
        assert(update.old_size == 77);
        return 0;
    }
    struct writer w = writer_over(buffer, sizeof buffer);
    checkpoint_update_write(&w, &update);
    assert(w.err == ERR_NONE);
    assert(slice_equal(writer_bytes(&w), input));
    return 0;
}
