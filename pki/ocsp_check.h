/* Asks and judges as others do who meet a certificate: makes an OCSP request, and checks the signed
 * answer (RFC 6960 section 3.2). */
#ifndef PKI_OCSP_CHECK_H
#define PKI_OCSP_CHECK_H

#include "pki/ocsp.h"

#define OCSP_ANSWER_MAX 16384 /* bytes of an answer that is looked at; ours have 2 KB */

/* The request for one certificate, by its serial number (struct certificate) and its issuer's
 * certificate, DER. ERR_SYNTAX, ERR_LIMIT, ERR_CRYPTO. */
MUST_USE enum err ocsp_ask_write(struct writer *w, struct slice issuer, struct slice serial);

struct ocsp_said {
    enum ocsp_response_status response_status;
    enum ocsp_status status; /* where that is OCSP_SUCCESSFUL, as is the rest */
    enum crl_reason reason;  /* OCSP_REVOKED; REASON_UNSPECIFIED where none is given */
    int64_t this_update, next_update;
};
/* ERR_SYNTAX: no response; ERR_BAD_SIGNATURE: not signed by the issuer, or by a responder of its
 * making; ERR_CONFLICT: it is about another certificate; ERR_EXPIRED: not of now. */
MUST_USE enum err ocsp_answer_check(struct slice answer, struct slice issuer, struct slice serial,
                                    struct ocsp_said *ret_said);

#endif
