/* Has the signer sign the ledger's head after commits: one signature at a time and a pause between
 * two, so that however many commits come meanwhile share the next, and the signer, which makes each
 * durable, is free for certificates. Outside every reply's path. */
#ifndef HUB_CHECKPOINTER_H
#define HUB_CHECKPOINTER_H

#include "hub/ledger/ledger.h"
#include "hub/signer/signer.h"

#define CHECKPOINTER_PAUSE_MS 100

struct checkpointer {
    struct ledger *ledger;
    struct store_reader *reader; /* these two of the loop it runs on */
    struct signer_link *signer;
    bool signing;
    uint64_t size;        /* asked for last */
    bool any;             /* something has been asked for since the start */
    int64_t asked_ms;     /* when; monotonic */
    bool unread;          /* the ledger could not be read for a proof; told once */
    uint64_t signed_size; /* what the signer signed last: the next is proven to continue that */
};

/* Does the database continue what the signer signed last? One that was set back forgets
 * revocations: nobody is served from it (ERR_CONFLICT) unless its operator has said, knowing that,
 * that it is the newest there is (`accept`). Call before the store starts. */
MUST_USE enum err checkpointer_check(struct ledger *ledger, struct store *store,
                                     const struct signer_facts *facts, bool accept,
                                     char explain[256]);
/* Call before the loops start; signs the head that is there, too, as soon as they do. */
void checkpointer_init(struct checkpointer *c, struct ledger *ledger, struct loop *loop,
                       struct store_reader *reader, struct signer_link *signer,
                       const struct signer_facts *facts);
/* On its loop: signs where there is something new and the pause is over. Called after commits, and
 * every 100 ms or so, so that the last commit of a burst is not left unsigned. */
void checkpointer_turn(struct checkpointer *c);

#endif
