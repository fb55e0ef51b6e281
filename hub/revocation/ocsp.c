/* OCSP (RFC 6960) in the profile of RFC 5019. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/rate.h"
#include "hub/revocation/ocsp_cache.h"

#define UNKNOWN_VALIDITY   300  /* seconds: the certificate may be about to be committed */
#define UNKNOWN_PER_MINUTE 6000 /* signed for serials that are in no row: 0.6 % of one core */
#define UNKNOWN_AT_ONCE    1000
#define ROUNDS_MAX         3 /* of signing what has changed meanwhile */

struct ocsp_service {
    const struct store *store;
    struct ocsp_issuer issuers[AUTHORITY_COUNT];
    size_t issuers_len;
    int64_t validity;
    struct ocsp_cache *cache;
    struct rate_table *unknown; /* of one key */
};

enum err ocsp_service_new(const struct ocsp_options *options, struct ocsp_service **ret_service)
{
    struct ocsp_service *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    s->store = options->store;
    s->validity = options->validity;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < AUTHORITY_COUNT && options->issuers[i].len > 0; i++) {
        if (err == ERR_NONE)
            err = ocsp_issuer_read(options->issuers[i], &s->issuers[i]);
        s->issuers_len = i + 1;
    }
    if (err == ERR_NONE)
        err = ocsp_cache_new(options->store, &s->cache);
    if (err == ERR_NONE)
        err = rate_table_new(1, &s->unknown);
    if (err == ERR_NONE)
        *ret_service = s;
    else
        ocsp_service_free(s);
    return err;
}

void ocsp_service_free(struct ocsp_service *s)
{
    if (s == NULL)
        return;
    rate_table_free(s->unknown);
    ocsp_cache_free(s->cache);
    free(s);
}

int64_t ocsp_exposed_until(const struct ocsp_service *s)
{
    return clock_seconds() + s->validity;
}

/* ---- the outcome ---- */

static void end_with_error(struct ocsp_question *q, enum ocsp_response_status status, enum err err)
{
    struct writer w = arena_writer(q->arena, OCSP_ERROR_SIZE);
    ocsp_write_error(&w, status);
    q->response_status = status;
    q->err = err;
    q->response = w.err == ERR_NONE ? writer_bytes(&w) : slice_of(NULL, 0);
    q->is_kept = false;
    q->done(q);
}

static void end_with_err(struct ocsp_question *q, enum err err)
{
    bool passes =
        err == ERR_BUSY || err == ERR_CLOSED || err == ERR_TIMEOUT || err == ERR_UNAVAILABLE;
    end_with_error(q, passes ? OCSP_TRY_LATER : OCSP_INTERNAL_ERROR, err);
}

static void end_with_response(struct ocsp_question *q)
{
    q->response_status = OCSP_SUCCESSFUL;
    q->err = ERR_NONE;
    q->status = q->standing.status;
    q->is_kept = q->status != OCSP_UNKNOWN;
    q->done(q);
}

/* ---- signing ---- */

static void answer(struct ocsp_question *q);

static enum err look_up(struct ocsp_question *q, struct standing *ret_standing)
{
    return revocation_look_up(q->service->store, q->reader, q->arena, q->id.serial,
                              q->service->issuers[q->authority].number, ret_standing, &q->stamps);
}

static bool is_same(const struct standing *a, const struct standing *b)
{
    return a->status == b->status && a->reason == b->reason && a->since == b->since;
}

static void signed_now(void *ctx, enum err err, struct slice response)
{
    struct ocsp_question *q = ctx;
    struct standing standing;
    if (err == ERR_NONE)
        err = look_up(q, &standing);
    if (err != ERR_NONE) {
        end_with_err(q, err);
        return;
    }
    /* It has been revoked while this was being signed: what was true then is not said now. */
    if (!is_same(&standing, &q->standing)) {
        q->standing = standing;
        answer(q);
        return;
    }
    err = arena_copy(q->arena, response, &q->response);
    if (err != ERR_NONE) {
        end_with_err(q, err);
        return;
    }
    uint8_t hash[SHA256_SIZE];
    crypto_sha256_one(response, hash);
    memcpy(q->tag, hash, sizeof q->tag);
    q->this_update = q->asked.this_update;
    q->next_update = q->asked.next_update;
    if (q->standing.status != OCSP_UNKNOWN)
        ocsp_cache_keep(q->service->cache, q);
    end_with_response(q);
}

static bool may_sign_unknown(struct ocsp_service *s)
{
    static const struct rate rate = {.per_minute = UNKNOWN_PER_MINUTE, .burst = UNKNOWN_AT_ONCE};
    int64_t wait_ms;
    return rate_allow(s->unknown, SLICE_LITERAL("unknown"), &rate, clock_monotonic_ms(), &wait_ms);
}

static void sign(struct ocsp_question *q, int64_t now)
{
    struct ocsp_service *s = q->service;
    const struct standing *standing = &q->standing;
    bool unknown = standing->status == OCSP_UNKNOWN;
    if (++q->rounds > ROUNDS_MAX || (unknown && !may_sign_unknown(s))) {
        end_with_error(q, OCSP_TRY_LATER, ERR_BUSY);
        return;
    }
    int64_t validity = unknown && s->validity > UNKNOWN_VALIDITY ? UNKNOWN_VALIDITY : s->validity;
    int64_t next_update = now + validity;
    int64_t issuer_end = s->issuers[q->authority].not_after;
    q->asked = (struct ocsp_answer){
        .authority = q->authority,
        .hash = q->id.hash,
        .serial_len = q->id.serial.len,
        .status = standing->status,
        .reason = standing->reason,
        /* a clock that was set back since does not make it a revocation of the future */
        .revoked_at = standing->since < now ? standing->since : now,
        .this_update = now,
        .next_update = next_update < issuer_end ? next_update : issuer_end,
    };
    memcpy(q->asked.serial, q->id.serial.data, q->id.serial.len);
    signer_ocsp(q->signer, &q->asked, signed_now, q);
}

/* ---- asking ---- */

static void answer(struct ocsp_question *q)
{
    int64_t now = clock_seconds();
    enum err err = ERR_NOT_FOUND;
    if (q->standing.status != OCSP_UNKNOWN)
        err = ocsp_cache_find(q->service->cache, q, now);
    if (err == ERR_NONE)
        end_with_response(q);
    else if (err == ERR_NOT_FOUND)
        sign(q, now);
    else
        end_with_err(q, err);
}

/* Of the two: whoever asks has it from the chain that he has verified. */
static bool find_authority(struct ocsp_question *q)
{
    for (size_t i = 0; i < q->service->issuers_len; i++) {
        q->authority = (enum authority)i;
        if (ocsp_is_issuer(&q->service->issuers[i], &q->id))
            return true;
    }
    return false;
}

void ocsp_ask(struct ocsp_service *s, struct ocsp_question *q)
{
    q->service = s;
    q->rounds = 0;
    enum err err = ocsp_request_read(q->request, &q->id);
    /* RFC 5019 section 2.2.3: who cannot speak for that issuer says so, unsigned. */
    if (err == ERR_UNSUPPORTED || (err == ERR_NONE && !find_authority(q))) {
        end_with_error(q, OCSP_UNAUTHORIZED, ERR_NONE);
        return;
    }
    if (err != ERR_NONE) {
        end_with_error(q, OCSP_MALFORMED_REQUEST, ERR_NONE);
        return;
    }
    if (ocsp_cache_find_unchanged(s->cache, q, clock_seconds()) == ERR_NONE) {
        end_with_response(q);
        return;
    }
    err = look_up(q, &q->standing);
    if (err != ERR_NONE)
        end_with_err(q, err);
    else
        answer(q);
}
