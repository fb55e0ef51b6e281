#include "core/log_proof.h"

#define VERSION SLICE_LITERAL("c2sp.org/tlog-proof@v1\n")
#define EXTRA   SLICE_LITERAL("extra ")

void log_proof_write(struct writer *w, const struct log_proof *p)
{
    if (p->entry.len > ENTRY_MAX || p->hashes_len > MERKLE_PROOF_MAX) {
        writer_fail(w, ERR_LIMIT);
        return;
    }
    writer_put(w, VERSION);
    writer_put(w, EXTRA);
    base64_write(w, p->entry);
    writer_text(w, "\nindex ");
    writer_decimal(w, p->number);
    writer_text(w, "\n");
    for (size_t i = 0; i < p->hashes_len; i++) {
        base64_write(w, slice_of(p->hashes[i].bytes, SHA256_SIZE));
        writer_text(w, "\n");
    }
    writer_text(w, "\n");
    writer_put(w, p->checkpoint);
}

static bool begins(struct slice text, struct slice with)
{
    return text.len >= with.len && slice_equal(slice_of(text.data, with.len), with);
}

static void read_hashes(struct reader *r, struct log_proof *p)
{
    while (r->err == ERR_NONE && reader_peek(r) != '\n') {
        struct slice line = reader_until(r, '\n');
        size_t len = 0;
        if (r->err != ERR_NONE)
            return;
        if (p->hashes_len == MERKLE_PROOF_MAX) {
            reader_fail(r, ERR_LIMIT);
            return;
        }
        if (base64_read(line, p->hashes[p->hashes_len].bytes, SHA256_SIZE, &len) != ERR_NONE ||
            len != SHA256_SIZE)
            reader_fail(r, ERR_SYNTAX);
        p->hashes_len++;
    }
    reader_expect(r, SLICE_LITERAL("\n"));
}

enum err log_proof_read(struct slice text, uint8_t *entry, size_t max, struct log_proof *ret_proof)
{
    struct log_proof p = {.number = 0};
    size_t entry_len = 0;
    if (text.len > LOG_PROOF_MAX)
        return ERR_LIMIT;
    struct reader r = reader_over(text);
    if (!begins(text, VERSION))
        return begins(text, SLICE_LITERAL("c2sp.org/tlog-proof@")) ? ERR_UNSUPPORTED : ERR_SYNTAX;
    reader_expect(&r, VERSION);
    if (!begins(slice_of(r.at, reader_left(&r)), EXTRA))
        return ERR_UNSUPPORTED;
    reader_expect(&r, EXTRA);
    struct slice encoded = reader_until(&r, '\n');
    if (r.err == ERR_NONE)
        reader_fail(&r, base64_read(encoded, entry, max, &entry_len));
    reader_expect(&r, SLICE_LITERAL("index "));
    struct slice number = reader_until(&r, '\n');
    struct reader digits = reader_over(number);
    p.number = reader_decimal(&digits, UINT64_MAX);
    if (r.err == ERR_NONE)
        reader_fail(&r, reader_finish(&digits));
    read_hashes(&r, &p);
    p.checkpoint = reader_rest(&r);
    if (r.err == ERR_NONE && p.checkpoint.len == 0)
        reader_fail(&r, ERR_SYNTAX);
    if (r.err != ERR_NONE)
        return r.err;
    p.entry = slice_of(entry, entry_len);
    *ret_proof = p;
    return ERR_NONE;
}

enum err log_proof_verify(const struct log_proof *p, sha256_fn *sha256,
                          const struct checkpoint *checkpoint)
{
    struct hash leaf = merkle_leaf_hash(sha256, p->entry);
    return merkle_verify_inclusion(sha256, &leaf, p->number, checkpoint->size, p->hashes,
                                   p->hashes_len, &checkpoint->root);
}
