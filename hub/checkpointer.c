#include "hub/checkpointer.h"

#include "base/clock.h"
#include "base/log.h"

enum err checkpointer_check(struct ledger *ledger, struct store *store,
                            const struct signer_facts *facts, bool accept, char explain[256])
{
    if (facts->signed_size == 0)
        return ERR_NONE;
    enum err err =
        ledger_check_continues(ledger, store, facts->signed_size, &facts->signed_root, explain);
    if (err != ERR_CONFLICT || !accept)
        return err;
    log_event(LOG_LEVEL_WARNING, "ledger.roll_back_accepted",
              F_INTEGER("size", (int64_t)ledger_head(ledger).size),
              F_INTEGER("signed_size", (int64_t)facts->signed_size), F_TEXT("detail", explain));
    return ERR_NONE;
}

static void on_commit(void *ctx)
{
    checkpointer_turn(ctx);
}

void checkpointer_init(struct checkpointer *c, struct ledger *ledger, struct loop *loop,
                       struct store_reader *reader, struct signer_link *signer,
                       const struct signer_facts *facts)
{
    *c = (struct checkpointer){
        .ledger = ledger, .reader = reader, .signer = signer, .signed_size = facts->signed_size};
    ledger_on_commit(ledger, loop, on_commit, c);
}

static void tell_failed(uint64_t size, enum err err)
{
    log_event(
        LOG_LEVEL_ERROR, "ledger.checkpoint_failed", F_INTEGER("size", (int64_t)size), F_ERR(err),
        F_TEXT("detail", err == ERR_REFUSED
                             ? "this ledger does not continue what the signer has signed: the "
                               "database was set back, replaced or edited"
                             : ""));
}

static void on_signed(void *ctx, enum err err, struct slice note)
{
    struct checkpointer *c = ctx;
    c->signing = false;
    if (err == ERR_CLOSED) /* the hub is ending: the next start signs the head it finds */
        return;
    if (err == ERR_NONE) {
        c->signed_size = c->size;
        err = ledger_set_checkpoint(c->ledger, c->size, note);
    }
    if (err != ERR_NONE)
        /* A signer that refuses has seen a larger or another tree: somebody must look at that. */
        tell_failed(c->size, err);
}

void checkpointer_turn(struct checkpointer *c)
{
    struct checkpoint head = ledger_head(c->ledger);
    int64_t now = clock_monotonic_ms();
    bool pausing = c->any && now - c->asked_ms < CHECKPOINTER_PAUSE_MS;
    if (c->signing || pausing || (c->any && head.size == c->size))
        return;
    struct hash proof[MERKLE_PROOF_MAX];
    struct checkpoint_request request = {.size = head.size, .root = head.root, .proof = proof};
    c->asked_ms = now;
    enum err err = ledger_read_consistency(c->ledger, c->reader, c->signed_size, head.size, proof,
                                           &request.proof_len);
    c->any = true;
    /* A smaller tree has no proof: the signer is asked all the same, and its word is what is told.
     * After any other error the next turn tries again. */
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        if (!c->unread)
            tell_failed(head.size, err);
        c->unread = true;
        return;
    }
    c->unread = false;
    c->signing = true;
    c->size = head.size;
    signer_sign_checkpoint(c->signer, &request, on_signed, c);
}
