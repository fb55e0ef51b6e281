/* Makes OCSP responses from typed answers: the only place that decides what stands in one. Used by
 * the signer.
 *
 * The issuing key delegates this (RFC 6960 section 4.2.2.2): the responder has a key of its own
 * that lives in memory alone, under a certificate that lasts for days and is made anew in time. */
#ifndef PKI_OCSP_RESPONDER_H
#define PKI_OCSP_RESPONDER_H

#include "pki/issue.h"
#include "pki/ocsp.h"

#define OCSP_RESPONDER_LIFETIME (8LL * 86400) /* seconds, of its certificate; renewed at half */

struct ocsp_responder;

/* Makes the key; the certificate comes with the first answer. `issuer` stays the caller's and must
 * outlive it; `certificate` is the issuer's own, DER. `fleet`: for the responder's name.
 * ERR_CRYPTO; else as certificate_read(). One thread at a time. */
MUST_USE enum err ocsp_responder_new(struct issuer *issuer, struct slice certificate,
                                     const char *fleet, struct ocsp_responder **ret_responder);
void ocsp_responder_free(struct ocsp_responder *r); /* NULL is fine */

/* A whole OCSPResponse, DER, at the start of `buffer`; OCSP_RESPONSE_MAX bytes always do. What it
 * says is for the caller to know, but for its form: ERR_SYNTAX. ERR_EXPIRED: it would outlast the
 * responder's certificate, which means that the issuer is near its end. ERR_CRYPTO, ERR_LIMIT. */
MUST_USE enum err ocsp_respond(struct ocsp_responder *r, const struct ocsp_answer *answer,
                               uint8_t *buffer, size_t max, size_t *ret_len);

#endif
