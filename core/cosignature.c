#include "core/cosignature.h"

enum err witness_key_init(struct witness_key *k, sha256_fn *sha256, struct slice name,
                          const uint8_t key[ED25519_KEY_SIZE])
{
    return note_typed_key_init(&k->note, sha256, NOTE_KEY_WITNESS, name, key);
}

enum err witness_key_read(struct slice text, sha256_fn *sha256, struct witness_key *ret_key)
{
    return note_typed_key_read(text, sha256, NOTE_KEY_WITNESS, &ret_key->note);
}

void witness_key_write(struct writer *w, const struct witness_key *k)
{
    note_typed_key_write(w, NOTE_KEY_WITNESS, &k->note);
}

void cosignature_write_message(struct writer *w, uint64_t time, struct slice text)
{
    if (time > INT64_MAX || text.len > COSIGNED_TEXT_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_text(w, "cosignature/v1\ntime ");
    writer_decimal(w, time);
    writer_text(w, "\n");
    writer_put(w, text);
}

void cosignature_write(struct writer *w, const struct witness_key *key, uint64_t time,
                       const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    uint8_t bytes[COSIGNATURE_SIZE];
    struct writer bytes_writer = writer_over(bytes, sizeof bytes);
    writer_be64(&bytes_writer, time);
    writer_put(&bytes_writer, slice_of(signature, ED25519_SIGNATURE_SIZE));
    if (time > INT64_MAX)
        writer_fail(w, ERR_LIMIT);
    note_write_signature_line(w, &key->note, writer_bytes(&bytes_writer));
}

static enum err verify_one(const struct note_signature *line, const struct witness_key *key,
                           struct slice text, ed25519_verify_fn *verify, uint64_t *ret_time)
{
    if (line->len != COSIGNATURE_SIZE)
        return ERR_BAD_SIGNATURE;
    struct reader r = reader_over(slice_of(line->bytes, COSIGNATURE_SIZE));
    uint64_t time = reader_be64(&r);
    struct slice signature = reader_rest(&r);
    uint8_t message[COSIGNED_MESSAGE_MAX];
    struct writer w = writer_over(message, sizeof message);
    cosignature_write_message(&w, time, text);
    if (w.err != ERR_NONE || verify(key->note.key, writer_bytes(&w), signature.data) != ERR_NONE)
        return ERR_BAD_SIGNATURE;
    *ret_time = time;
    return ERR_NONE;
}

enum err cosignature_verify(struct slice note, const struct witness_key *key,
                            ed25519_verify_fn *verify, uint64_t *ret_time)
{
    struct slice text = {NULL, 0};
    enum err err = note_text_unverified(note, &text);
    if (err != ERR_NONE)
        return err;
    if (text.len > COSIGNED_TEXT_MAX)
        return ERR_LIMIT;

    struct reader r = reader_over(slice_of(note.data + text.len + 1, note.len - text.len - 1));
    enum err verdict = ERR_NOT_FOUND;
    uint64_t latest = 0;
    size_t lines = 0;
    do {
        struct note_signature line = note_read_signature(&r);
        if (++lines > NOTE_SIGNATURES_MAX)
            reader_fail(&r, ERR_LIMIT);
        if (r.err != ERR_NONE)
            return r.err;
        if (!note_signature_is_by(&line, &key->note))
            continue;
        uint64_t time = 0;
        err = verify_one(&line, key, text, verify, &time);
        if (verdict == ERR_NOT_FOUND || err != ERR_NONE)
            verdict = err;
        if (time > latest)
            latest = time;
        /* as in note_verify(): one bad signature by a known key is enough */
        if (verdict != ERR_NONE)
            return verdict;
    } while (reader_left(&r) > 0);

    if (verdict == ERR_NONE)
        *ret_time = latest;
    return verdict;
}

static bool counted_before(const struct witness_key *keys, size_t i,
                           const struct cosignature_verdict *verdicts)
{
    for (size_t k = 0; k < i; k++)
        if (verdicts[k].err == ERR_NONE &&
            memcmp(keys[k].note.key, keys[i].note.key, ED25519_KEY_SIZE) == 0)
            return true;
    return false;
}

size_t cosignatures_count(struct slice note, const struct witness_key *keys, size_t n,
                          ed25519_verify_fn *verify, struct cosignature_verdict *ret_verdicts)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct cosignature_verdict *v = &ret_verdicts[i];
        *v = (struct cosignature_verdict){.time = 0};
        v->err = cosignature_verify(note, &keys[i], verify, &v->time);
        if (v->err == ERR_NONE && !counted_before(keys, i, ret_verdicts))
            count++;
    }
    return count;
}
