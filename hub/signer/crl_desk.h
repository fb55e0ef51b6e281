/* Where the signer makes revocation lists: one at a time, entry by entry, each of which it sees. */
#ifndef HUB_SIGNER_CRL_DESK_H
#define HUB_SIGNER_CRL_DESK_H

#include "hub/signer/signer.h"

#define SIGNER_CRL_BACKDATING_MAX 3600LL         /* seconds: for readers whose clocks are behind */
#define SIGNER_CRL_LIFETIME_MAX   (10LL * 86400) /* a list is believed until its nextUpdate */
#define SIGNER_CRL_FUTURE_MAX     300LL          /* for a clock set back since the hub read it */

struct crl_desk {
    char public_url[CRL_URL_MAX + 1]; /* empty: there are no shards */
    unsigned shards;
    struct crl_signing *signing; /* NULL: none under way */
    struct crl_request request;  /* of the one under way */
    /* The last ones finished since the start, of each authority: complete ones, then deltas; of
     * each shard, then of the whole. The hub keeps them growing over restarts. */
    uint64_t numbers[AUTHORITY_COUNT][2][CRL_SHARDS_MAX + 1];
};

/* ERR_SYNTAX for a URL or a number of shards that is none. */
MUST_USE enum err crl_desk_open(struct crl_desk *d, const char *public_url, unsigned shards);
void crl_desk_close(struct crl_desk *d);

/* `issuers`: by authority; NULL where there is none, and then ERR_REFUSED. */
MUST_USE enum err crl_desk_begin(struct crl_desk *d, struct issuer *const issuers[AUTHORITY_COUNT],
                                 const struct crl_request *request, struct writer *prefix);
MUST_USE enum err crl_desk_add(struct crl_desk *d, const struct crl_entry *entries, size_t n,
                               struct writer *result);
MUST_USE enum err crl_desk_finish(struct crl_desk *d, struct writer *suffix);

#endif
