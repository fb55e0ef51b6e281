#include "core/note.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_checkpoint(struct slice text)
{
    struct checkpoint c;
    if (checkpoint_read(text, &c) != ERR_NONE)
        return;
    uint8_t buffer[512];
    struct writer w = writer_over(buffer, sizeof buffer);
    checkpoint_write(&w, &c);
    assert(w.err == ERR_NONE);
    assert(slice_starts_with(text, writer_bytes(&w)));
}

static void check_key(struct slice text)
{
    struct note_key k;
    if (note_key_read(text, toy_zero_hash, &k) != ERR_NONE)
        return;
    uint8_t buffer[NOTE_KEY_TEXT_MAX];
    struct writer w = writer_over(buffer, sizeof buffer);
    note_key_write(&w, &k);
    assert(w.err == ERR_NONE);
    assert(slice_equal(text, writer_bytes(&w)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct note_key key = {.name = "k"};
    struct slice input = slice_of(data, len);
    check_key(input);
    check_checkpoint(input);

    struct slice text = {NULL, 0};
    enum err err = note_verify(input, &key, toy_verify, &text);
    if (err != ERR_NONE) {
        assert(text.data == NULL);
        return 0;
    }
    assert(text.data == data && text.len > 0 && text.len < len);
    assert(data[text.len - 1] == '\n' && data[text.len] == '\n');
    check_checkpoint(text);

    static uint8_t buffer[NOTE_MAX + 256];
    static const uint8_t signature[ED25519_SIGNATURE_SIZE];
    struct slice again = {NULL, 0};
    struct writer w = writer_over(buffer, sizeof buffer);
    writer_put(&w, text);
    note_write_signature(&w, &key, signature);
    assert(w.err == ERR_NONE);
    err = note_verify(writer_bytes(&w), &key, toy_verify, &again);
    assert(err == ERR_LIMIT || (err == ERR_NONE && slice_equal(again, text)));
    return 0;
}
