#include "hub/signer/ledger_state.h"

#include "base/crypto.h"

#define MAGIC SLICE_LITERAL("HFLEDGR1")

enum err ledger_state_open(const char *path, struct ledger_state *ret_state)
{
    struct ledger_state s = {.accept_roll_back = false};
    enum err err = slots_open(path, MAGIC, &s.signed_last);
    if (err == ERR_NONE)
        *ret_state = s;
    return err;
}

void ledger_state_close(struct ledger_state *s)
{
    slots_close(&s->signed_last);
}

enum err ledger_state_check(const struct ledger_state *s, uint64_t size, const struct hash *root,
                            const struct hash *proof, size_t proof_len)
{
    const struct slots *last = &s->signed_last;
    if (!last->held || (s->accept_roll_back && size > last->number))
        return ERR_NONE;
    enum err err = merkle_verify_consistency(crypto_sha256, last->number, &last->hash, size, root,
                                             proof, proof_len);
    return err == ERR_NONE ? ERR_NONE : ERR_REFUSED;
}

enum err ledger_state_advance(struct ledger_state *s, uint64_t size, const struct hash *root,
                              const struct hash *proof, size_t proof_len)
{
    enum err err = ledger_state_check(s, size, root, proof, proof_len);
    if (err != ERR_NONE || (s->signed_last.held && size == s->signed_last.number))
        return err;
    err = slots_write(&s->signed_last, size, root);
    if (err == ERR_NONE)
        s->accept_roll_back = false;
    return err;
}
