/* Devices that misbehave are cut off by the hub itself, as their model's `respond` in policy.yaml
 * says. What brokers tell of refusals is counted here for each device, within a minute and in
 * memory: observations, of which nothing is written. Who reaches the figure of its model is
 * quarantined by an act of the actor "policy", or waits for a person (hub/identity: not more than
 * so many within an hour).
 *
 * A broker in wrong hands can tell anything of any device of its tenant. So it is told of devices
 * of that tenant alone, no broker is cut off by another's word, and the cap is what bounds it. */
#ifndef HUB_WATCH_RESPONDER_H
#define HUB_WATCH_RESPONDER_H

#include "hub/identity/identity.h"
#include "hub/watch/counts.h"

struct responder;

#define RESPONDER_ACTOR    "policy"
#define RESPONDER_ACTS_MAX 64 /* on their way to the writer */

/* A device was cut off by that entry of the ledger: its connections are to be closed. On the loop
 * that the telling came from; `ctx` is that of its site. */
typedef void responder_cut_fn(void *ctx, const char *tenant, const char *device, int64_t entry);

MUST_USE enum err responder_new(struct identity *identity, responder_cut_fn *cut,
                                struct responder **ret_responder);
/* After the loops have ended. NULL is fine. */
void responder_free(struct responder *r);

/* Where something is told. */
struct responder_site {
    struct loop *loop;
    struct store_reader *reader;      /* the loop's */
    const struct policy_force *force; /* NULL: none, and nothing is done */
    void *ctx;                        /* of responder_cut_fn */
};

struct responder_told {
    const char *device; /* as the broker says; there need not be one of that name */
    enum count_kind kind;
    uint64_t count;
};
/* What the broker refused within the last `seconds`. Where it gathered for longer than a minute,
 * since it reached no hub, that is taken as spread evenly. */
void responder_tell(struct responder *r, const struct responder_site *site, const char *tenant,
                    const char *broker, int64_t seconds, const struct responder_told *told,
                    size_t n);
/* Somebody showed a certificate of that device that was replaced: two have had its identity. */
void responder_tell_copy(struct responder *r, const struct responder_site *site, const char *tenant,
                         const char *device);

#endif
