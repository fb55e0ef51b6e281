/* Revocation for others: what relying parties (brokers, proxies, gates) are told about the
 * certificates of devices. The hub itself never asks this; it looks into its own rows on every
 * request (hub/identity). This is the domain's public header. */
#ifndef HUB_REVOCATION_REVOCATION_H
#define HUB_REVOCATION_REVOCATION_H

#include "hub/signer/signer.h"
#include "hub/store/store.h"
#include "pki/ocsp.h"

/* ---- the state of a certificate ---- */

struct standing {
    enum ocsp_status status;
    enum crl_reason reason; /* OCSP_REVOKED; else unspecified */
    int64_t since;          /* OCSP_REVOKED; else 0 */
};

/* The device's state weighs more than its certificate's:
 *
 *   device revoked        revoked, privilegeWithdrawn
 *   device retired        revoked, cessationOfOperation
 *   certificate retired   revoked, superseded (a newer one is in use)
 *   device quarantined    revoked, certificateHold, until it is released
 *   else                  good: of one that is enrolled only, too, for its few minutes */
struct standing revocation_standing(const struct device_row *device,
                                    const struct certificate_row *certificate);
/* What a standing was read from: while none of it has changed, it holds. */
struct standing_stamps {
    struct row_stamp certificate, device;
};
/* `serial` as in struct certificate, of one that `authority` issued (its number, core/x509.h). One
 * that is in no row, or is another authority's, is OCSP_UNKNOWN; then, and after an error of
 * store_get(), the stamps say nothing. */
MUST_USE enum err revocation_look_up(const struct store *store, struct store_reader *reader,
                                     struct arena *arena, struct slice serial, uint32_t authority,
                                     struct standing *ret_standing,
                                     struct standing_stamps *ret_stamps);

/* ---- OCSP ---- */

/* Answers are signed once and used again for half their life. Each time, the standing is looked up
 * first, unless its rows are known to be unchanged, and only an answer that says that very standing
 * is used: so there is nothing to invalidate, and once a revocation has been answered nobody gets
 * `good` from here. Others who have an answer from before may use it until its nextUpdate. */
struct ocsp_service;

struct ocsp_options {
    const struct store *store;
    struct slice issuers[AUTHORITY_COUNT]; /* certificates, DER; the previous may be empty */
    int64_t validity; /* seconds from thisUpdate to nextUpdate; at most OCSP_VALIDITY_MAX */
};
MUST_USE enum err ocsp_service_new(const struct ocsp_options *options,
                                   struct ocsp_service **ret_service);
void ocsp_service_free(struct ocsp_service *s); /* NULL is fine */
/* Until when an answer that was given before now may still be used. */
int64_t ocsp_exposed_until(const struct ocsp_service *s);

#define OCSP_TAG_SIZE 16

struct ocsp_question {
    struct slice request; /* DER */
    struct store_reader *reader;
    struct signer_link *signer;
    struct arena *arena;
    /* Runs once, on the loop of reader and signer, perhaps before ocsp_ask() returns. */
    void (*done)(struct ocsp_question *q);
    void *ctx;

    /* the outcome */
    enum ocsp_response_status response_status;
    enum err err;            /* OCSP_TRY_LATER and OCSP_INTERNAL_ERROR: why */
    enum ocsp_status status; /* OCSP_SUCCESSFUL, as is the rest */
    struct slice response;   /* DER, in the arena; of an error, too */
    bool is_kept;            /* caches may keep it until next_update: not where it is unknown */
    int64_t this_update, next_update;
    uint8_t tag[OCSP_TAG_SIZE]; /* tells this response from every other */

    /* private to ocsp.c */
    struct ocsp_service *service;
    struct ocsp_request id;
    enum authority authority;
    struct standing standing;
    struct standing_stamps stamps;
    struct ocsp_answer asked;
    unsigned rounds;
};
/* From any loop. What is signed for strangers who make serials up is bounded by time; beyond that
 * they are told to try later. */
void ocsp_ask(struct ocsp_service *s, struct ocsp_question *q);

#endif
