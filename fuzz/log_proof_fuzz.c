#include "core/log_proof.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What is read says the same when it is written again; and the hash of a proof's own path, and that
 * alone, makes it good. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t entry[ENTRY_MAX], written[LOG_PROOF_MAX];
    struct log_proof p = {.number = 7};
    struct slice text = slice_of(data, len);
    enum err err = log_proof_read(text, entry, sizeof entry, &p);
    if (err != ERR_NONE) {
        assert(p.number == 7 && p.entry.data == NULL);
        return 0;
    }
    struct writer w = writer_over(written, sizeof written);
    log_proof_write(&w, &p);
    assert(w.err == ERR_NONE && slice_equal(writer_bytes(&w), text));

    struct checkpoint c = {.size = 1, .root = merkle_leaf_hash(toy_hash, p.entry)};
    bool is_alone = p.number == 0 && p.hashes_len == 0;
    assert((log_proof_verify(&p, toy_hash, &c) == ERR_NONE) == is_alone);
    if (p.hashes_len != 1 || p.number > 1)
        return 0;
    struct hash leaf = c.root;
    c.size = 2;
    c.root = p.number == 0 ? merkle_node_hash(toy_hash, &leaf, &p.hashes[0])
                           : merkle_node_hash(toy_hash, &p.hashes[0], &leaf);
    assert(log_proof_verify(&p, toy_hash, &c) == ERR_NONE);
    c.root.bytes[0] ^= 1;
    assert(log_proof_verify(&p, toy_hash, &c) == ERR_BAD_SIGNATURE);
    return 0;
}
