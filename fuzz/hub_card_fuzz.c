#include "pki/hub_card.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* There is one way to write either: what was read is a beginning of the note. */
static void assert_written(struct slice note, const struct writer *w)
{
    assert(w->err == ERR_NONE);
    assert(slice_starts_with(note, writer_bytes(w)));
    assert(note.data[w->len] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t storage[HUB_CARD_STORAGE], buffer[NOTE_MAX];
    struct slice note = slice_of(data, len);
    struct writer w = writer_over(buffer, sizeof buffer);
    struct hub_request request;
    struct hub_card card;
    if (hub_request_read(note, storage, &request) == ERR_NONE) {
        assert(hub_card_is_name(request.name));
        hub_request_write(&w, &request);
        assert_written(note, &w);
    }
    w = writer_over(buffer, sizeof buffer);
    if (hub_card_read(note, NULL, storage, &card) == ERR_NONE) {
        assert(hub_card_is_name(card.name));
        assert(card.chain_len >= 2 && card.chain_len <= CA_CHAIN_MAX);
        hub_card_write(&w, &card);
        assert_written(note, &w);
        struct hub_card again;
        assert(hub_card_read(note, &card.bundle_key, storage, &again) == ERR_NONE);
        assert(hub_card_read(note, &card.ledger_key, storage, &again) != ERR_NONE);
    }
    return 0;
}
