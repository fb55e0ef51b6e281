#include "core/trust_bundle.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum err read_again(struct slice note, const struct trust_bundle *held)
{
    static uint8_t storage[TRUST_BUNDLE_MAX];
    struct trust_bundle ignored;
    return trust_bundle_read(note, held, toy_zero_hash, toy_verify, storage, sizeof storage,
                             &ignored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t storage[TRUST_BUNDLE_MAX];
    struct slice note = slice_of(data, len);
    struct trust_bundle b;
    if (trust_bundle_read(note, NULL, toy_zero_hash, toy_verify, storage, sizeof storage, &b) !=
        ERR_NONE)
        return 0;

    /* There is one way to write a bundle. */
    static uint8_t buffer[TRUST_BUNDLE_MAX];
    struct writer w = writer_over(buffer, sizeof buffer);
    trust_bundle_write(&w, &b);
    assert(w.err == ERR_NONE);
    assert(slice_starts_with(note, writer_bytes(&w)));
    assert(data[w.len] == '\n');

    assert(read_again(note, &b) == ERR_CONFLICT);
    struct trust_bundle held = b;
    held.version--;
    assert(b.version == 0 || read_again(note, &held) == ERR_NONE);
    held.fleet[0] = held.fleet[0] == 'a' ? 'b' : 'a';
    assert(read_again(note, &held) == ERR_REFUSED);
    return 0;
}
