/* The first bytes say which proof is made over which tree, the rest how it is damaged: a proof
 * holds exactly while it is whole. What is left over is also taken for a proof as it stands. */
#include "core/cursor.h"
#include "core/merkle.h"
#include "fuzz/toy_crypto.h"

#include <assert.h>

#define LEAVES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct hash leaf_of(size_t number)
{
    uint8_t bytes[] = {(uint8_t)number};
    return merkle_leaf_hash(toy_hash, slice_of(bytes, sizeof bytes));
}

static struct hash root_of(size_t from, size_t to)
{
    struct merkle_frontier f;
    merkle_frontier_init(&f);
    for (size_t i = from; i < to; i++) {
        struct hash leaf = leaf_of(i);
        merkle_frontier_append(&f, toy_hash, &leaf);
    }
    return merkle_frontier_root(&f, toy_hash);
}

static size_t split(size_t n)
{
    size_t k = 1;
    while (2 * k < n)
        k *= 2;
    return k;
}

/* RFC 6962 sections 2.1.1 and 2.1.2. */
static size_t prove_inclusion(size_t m, size_t from, size_t to, struct hash *proof)
{
    if (to - from == 1)
        return 0;
    size_t k = split(to - from);
    size_t n;
    if (m < k) {
        n = prove_inclusion(m, from, from + k, proof);
        proof[n] = root_of(from + k, to);
    } else {
        n = prove_inclusion(m - k, from + k, to, proof);
        proof[n] = root_of(from, from + k);
    }
    return n + 1;
}

static size_t prove_consistency(size_t m, size_t from, size_t to, bool complete, struct hash *proof)
{
    if (m == to - from) {
        if (!complete)
            proof[0] = root_of(from, to);
        return complete ? 0 : 1;
    }
    size_t k = split(to - from);
    size_t n;
    if (m <= k) {
        n = prove_consistency(m, from, from + k, complete, proof);
        proof[n] = root_of(from + k, to);
    } else {
        n = prove_consistency(m - k, from + k, to, false, proof);
        proof[n] = root_of(from, from + k);
    }
    return n + 1;
}

/* Returns false where nothing came out changed. */
static bool damage(struct reader *r, struct hash *proof, size_t *proof_len, struct hash *start,
                   struct hash *root)
{
    struct hash *targets[] = {start, root, &proof[0]};
    uint8_t how = reader_u8(r);
    uint8_t where = reader_u8(r);
    uint8_t bits = reader_u8(r);
    switch (how % 3) {
    case 0: {
        size_t target = where % (2 + *proof_len);
        struct hash *h = target < 2 ? targets[target] : &proof[target - 2];
        h->bytes[(where / 8) % SHA256_SIZE] ^= bits;
        return bits != 0;
    }
    case 1:
        if (*proof_len == 0)
            return false;
        (*proof_len)--;
        return true;
    default:
        memset(proof[*proof_len].bytes, bits, SHA256_SIZE);
        (*proof_len)++;
        return true;
    }
}

static void check_made_proof(struct reader *r)
{
    bool is_consistency = (reader_u8(r) & 1) != 0;
    size_t size = 1 + reader_u8(r) % LEAVES_MAX;
    size_t small = reader_u8(r) % size + (is_consistency ? 1 : 0);
    struct hash proof[MERKLE_PROOF_MAX];
    struct hash start = is_consistency ? root_of(0, small) : leaf_of(small);
    struct hash root = root_of(0, size);
    size_t proof_len = is_consistency ? prove_consistency(small, 0, size, true, proof)
                                      : prove_inclusion(small, 0, size, proof);
    bool is_damaged = reader_left(r) >= 3 && damage(r, proof, &proof_len, &start, &root);
    enum err err =
        is_consistency
            ? merkle_verify_consistency(toy_hash, small, &start, size, &root, proof, proof_len)
            : merkle_verify_inclusion(toy_hash, &start, small, size, proof, proof_len, &root);
    assert(err == (is_damaged ? ERR_BAD_SIGNATURE : ERR_NONE));
}

static void check_any_proof(struct reader *r)
{
    uint64_t small = reader_be64(r);
    uint64_t size = reader_be64(r);
    struct hash start = {{0}}, root = {{1}};
    struct hash proof[MERKLE_PROOF_MAX + 4];
    size_t n = 0;
    while (reader_left(r) > 0 && n < ARRAY_LEN(proof))
        memset(proof[n++].bytes, reader_u8(r), SHA256_SIZE);
    if (r->err != ERR_NONE)
        return;
    enum err err = merkle_verify_inclusion(toy_hash, &start, small, size, proof, n, &root);
    assert(err == ERR_BAD_SIGNATURE);
    err = merkle_verify_consistency(toy_hash, small, &start, size, &root, proof, n);
    assert(err == ERR_BAD_SIGNATURE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = reader_over(slice_of(data, len));
    check_made_proof(&r);
    check_any_proof(&r);
    return 0;
}
