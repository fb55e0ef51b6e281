#include "core/cosignature.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_key(struct slice text)
{
    struct witness_key k;
    if (witness_key_read(text, toy_zero_hash, &k) != ERR_NONE)
        return;
    uint8_t buffer[NOTE_KEY_TEXT_MAX];
    struct writer w = writer_over(buffer, sizeof buffer);
    witness_key_write(&w, &k);
    assert(w.err == ERR_NONE);
    assert(slice_equal(text, writer_bytes(&w)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct witness_key key = {.note = {.name = "k"}};
    struct slice input = slice_of(data, len);
    check_key(input);

    uint64_t time = UINT64_MAX;
    enum err err = cosignature_verify(input, &key, toy_verify, &time);
    const struct witness_key twice[] = {key, key};
    struct cosignature_verdict verdicts[2];
    size_t count = cosignatures_count(input, twice, 2, toy_verify, verdicts);
    assert(count == (err == ERR_NONE ? 1 : 0));
    assert(verdicts[0].err == err && verdicts[1].err == err);
    if (err != ERR_NONE) {
        assert(time == UINT64_MAX);
        return 0;
    }
    assert(time <= INT64_MAX);

    static uint8_t buffer[NOTE_MAX + 256];
    static const uint8_t signature[ED25519_SIGNATURE_SIZE];
    uint64_t later = 0;
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_put(&w, input);
    cosignature_write(&w, &key, INT64_MAX, signature);
    assert(w.err == ERR_NONE);
    err = cosignature_verify(writer_bytes(&w), &key, toy_verify, &later);
    assert(err == ERR_LIMIT || (err == ERR_NONE && later == INT64_MAX));
    return 0;
}
