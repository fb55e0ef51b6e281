/* What an OCSP response is about (RFC 6960): for those, too, who hold no keys. How one is made, by
 * whom does, is in pki/ocsp_responder.h. */
#ifndef PKI_OCSP_H
#define PKI_OCSP_H

#include "core/ocsp.h"
#include "core/x509.h"
#include "pki/authority.h"

/* The authority whose certificates are asked for, as a CertID names it. */
struct ocsp_issuer {
    int64_t not_after; /* of its certificate */
    uint32_t number;   /* core/x509.h: authority_number() */
    uint8_t name_hash[OCSP_HASH_COUNT][OCSP_HASH_MAX];
    uint8_t key_hash[OCSP_HASH_COUNT][OCSP_HASH_MAX];
};
/* From the issuer's certificate (DER). ERR_CRYPTO; else as certificate_read(). */
MUST_USE enum err ocsp_issuer_read(struct slice certificate, struct ocsp_issuer *ret_issuer);
size_t ocsp_hash_size(enum ocsp_hash hash);
/* Does the request mean a certificate of this issuer? */
bool ocsp_is_issuer(const struct ocsp_issuer *issuer, const struct ocsp_request *request);

enum ocsp_status {
    OCSP_GOOD,
    OCSP_REVOKED,
    OCSP_UNKNOWN, /* the issuer has not issued it */
    OCSP_STATUS_COUNT
};

struct ocsp_answer {
    enum authority authority;   /* that of the question */
    enum ocsp_hash hash;        /* that of the question */
    uint8_t serial[SERIAL_MAX]; /* without leading zero octets, but for the serial 0 */
    size_t serial_len;
    enum ocsp_status status;
    enum crl_reason reason;           /* OCSP_REVOKED; REASON_UNSPECIFIED is left out */
    int64_t revoked_at;               /* OCSP_REVOKED; seconds since 1970 */
    int64_t this_update, next_update; /* until then it may be used again */
};

#define OCSP_RESPONSE_MAX 2048 /* bytes: the responder's certificate is most of it */

#endif
