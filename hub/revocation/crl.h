/* The lists of revoked certificates that others fetch, kept as files that are always there to be
 * served: all.crl, and a list for each shard (pki/crl.h), each with its delta. While an authority
 * is rolled over there are those of both, each with what its own authority has issued.
 *
 * They are made on a thread of their own: soon after a certificate ends, is held or let go, and
 * again before they grow old. How soon depends on how long it takes: complete lists and deltas each
 * take a twentieth of a processor at most, so deltas, which are short, follow within seconds. */
#ifndef HUB_REVOCATION_CRL_H
#define HUB_REVOCATION_CRL_H

#include "hub/signer/signer.h"
#include "hub/store/store.h"

struct crl_service;

struct crl_options {
    const char *folder; /* made where it is not there */
    struct store *store;
    struct signer *signer; /* one of its links is taken */
    /* Numbers of those that the signer signs for (core/x509.h), the current one first: one, or two
     * that differ. */
    uint32_t authorities[AUTHORITY_COUNT];
    size_t authorities_len;
    /* 0: only the list of all, without a delta, for no list would say where that is. */
    unsigned shards;
    int64_t lifetime;       /* seconds from thisUpdate to nextUpdate: complete ones */
    int64_t delta_lifetime; /* deltas */
};

/* Takes up what is in the folder. */
MUST_USE enum err crl_service_new(const struct crl_options *options,
                                  struct crl_service **ret_service, char explain[256]);
/* Its thread. */
MUST_USE enum err crl_service_start(struct crl_service *s);
/* Ends the thread; what is being made is dropped. Before the store and the signer end. */
void crl_service_free(struct crl_service *s); /* NULL is fine */

struct crl_served {
    int fd; /* the caller's to close */
    uint64_t size;
    struct crl_facts facts;
    char etag[24]; /* quoted */
};
/* The newest list of that authority. `shard`: CRL_WHOLE, or one there is. ERR_NOT_FOUND: no such
 * shard. ERR_BUSY: it has not been made yet. From any thread. */
MUST_USE enum err crl_open(struct crl_service *s, enum authority authority, unsigned shard,
                           bool delta, struct crl_served *ret_served);
unsigned crl_shards(const struct crl_service *s);
/* ERR_NOT_FOUND for a number of none that lists are made for. */
MUST_USE enum err crl_authority_find(const struct crl_service *s, uint32_t number,
                                     enum authority *ret_authority);
/* Whose lists those are that are asked for without a number: the oldest, for certificates of
 * earlier versions name no number. */
enum authority crl_authority_oldest(const struct crl_service *s);

#endif
