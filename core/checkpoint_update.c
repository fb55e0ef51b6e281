#include "core/checkpoint_update.h"

#include "core/base64.h"

void checkpoint_update_write(struct writer *w, const struct checkpoint_update *update)
{
    if (update->proof_len > UPDATE_PROOF_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_text(w, "old ");
    writer_decimal(w, update->old_size);
    writer_text(w, "\n");
    for (size_t i = 0; i < update->proof_len && w->err == ERR_NONE; i++) {
        base64_write(w, slice_of(update->proof[i].bytes, sizeof update->proof[i].bytes));
        writer_text(w, "\n");
    }
    writer_text(w, "\n");
    writer_put(w, update->note);
}

static void read_hash(struct reader *r, struct slice line, struct hash *hash)
{
    uint8_t bytes[SHA256_SIZE + 1]; /* whole groups of Base64 */
    size_t len = 0;
    reader_fail(r, base64_read(line, bytes, sizeof bytes, &len));
    if (len != SHA256_SIZE)
        reader_fail(r, ERR_SYNTAX);
    if (r->err == ERR_NONE)
        memcpy(hash->bytes, bytes, SHA256_SIZE);
}

enum err checkpoint_update_read(struct slice text, struct hash proof[UPDATE_PROOF_MAX],
                                struct checkpoint_update *ret_update)
{
    struct checkpoint_update update = {.proof = proof};
    struct reader r = reader_over(text);
    reader_expect(&r, SLICE_LITERAL("old "));
    struct reader number = reader_over(reader_until(&r, '\n'));
    update.old_size = reader_decimal(&number, UINT64_MAX);
    reader_fail(&r, reader_finish(&number));
    for (;;) {
        struct slice line = reader_until(&r, '\n');
        if (r.err != ERR_NONE || line.len == 0)
            break;
        if (update.proof_len == UPDATE_PROOF_MAX)
            reader_fail(&r, ERR_LIMIT);
        else
            read_hash(&r, line, &proof[update.proof_len++]);
    }
    update.note = reader_rest(&r);
    if (update.note.len == 0)
        reader_fail(&r, ERR_SYNTAX);
    if (update.note.len > NOTE_MAX)
        reader_fail(&r, ERR_LIMIT);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_update = update;
    return err;
}
