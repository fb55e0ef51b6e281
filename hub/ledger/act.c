#include "hub/ledger/act.h"

#include <stdio.h>

void act_init(struct act *act, const struct write_kind *kind, struct ledger *ledger,
              const struct act_origin *origin)
{
    act->write = (struct write){.kind = kind, .loop = origin->loop, .arena = origin->arena};
    act->ledger = ledger;
    (void)snprintf(act->tenant, sizeof act->tenant, "%s", origin->tenant);
    (void)snprintf(act->actor, sizeof act->actor, "%s", origin->actor);
    act->then = origin->then;
    act->ctx = origin->ctx;
}

struct act *act_of(struct write *w)
{
    return CONTAINER_OF(w, struct act, write);
}

void act_done(struct write *w)
{
    struct act *act = act_of(w);
    act->then(act);
}

void act_end(struct act *act, enum err err)
{
    act->write.err = err;
    act->then(act);
}

void act_submit(struct act *act, struct store *store)
{
    enum err err = store_submit(store, &act->write);
    if (err != ERR_NONE)
        act_end(act, err);
}

enum err act_append(struct act *act, struct tx *tx, const char *verb, const char *subject_kind,
                    const char *subject_id, struct slice data)
{
    char subject[LEDGER_ACTOR_MAX + 1];
    int n = snprintf(subject, sizeof subject, "%s/%s", subject_kind, subject_id);
    if (n < 0 || (size_t)n >= sizeof subject)
        return ERR_LIMIT;
    const struct ledger_act entry = {
        .act = verb,
        .tenant = act->tenant,
        .actor = act->actor,
        .subject = subject,
        .data = data,
    };
    return ledger_append(act->ledger, tx, &entry);
}
