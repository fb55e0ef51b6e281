/* An act: a write on somebody's behalf that is told to the ledger. The head of every request with
 * which a domain changes something. */
#ifndef HUB_LEDGER_ACT_H
#define HUB_LEDGER_ACT_H

#include "hub/ledger/ledger.h"

struct act {
    struct write write; /* err and problem say how it ended */
    struct ledger *ledger;
    char tenant[NAME_MAX_BYTES + 1];
    char actor[LEDGER_ACTOR_MAX + 1];
    void (*then)(struct act *act); /* on the loop that submitted it, exactly once */
    void *ctx;                     /* the caller's */
};

/* On whose behalf, where, and what happens then. `arena` must outlive the act. */
struct act_origin {
    struct loop *loop;
    struct arena *arena;
    const char *tenant;
    const char *actor;
    void (*then)(struct act *act);
    void *ctx;
};

void act_init(struct act *act, const struct write_kind *kind, struct ledger *ledger,
              const struct act_origin *origin);
/* Queues it. Where the queue does not take it, then() is called at once with that error. */
void act_submit(struct act *act, struct store *store);
/* Ends it without a write: then() is called at once. */
void act_end(struct act *act, enum err err);
/* What a write_kind of an act has as its done(). */
void act_done(struct write *w);

struct act *act_of(struct write *w);
/* Inside apply(): appends "act" on "subject_kind/subject_id" with `data`, a JSON object. */
MUST_USE enum err act_append(struct act *act, struct tx *tx, const char *verb,
                             const char *subject_kind, const char *subject_id, struct slice data);

#endif
