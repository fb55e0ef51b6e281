/* OCSP requests (RFC 6960 section 4.1), in the lightweight profile of RFC 5019: one certificate
 * each, since answers are signed before anybody asks. */
#ifndef CORE_OCSP_H
#define CORE_OCSP_H

#include "core/cursor.h"

/* One id takes 70 to 120 bytes; the rest is for a nonce, a requestor's name, and a signature with
 * its certificate, which some clients add and nobody needs. */
#define OCSP_REQUEST_MAX 4096
/* RFC 5019 section 5: clients use GET where the encoded request is no longer than this. */
#define OCSP_GET_MAX 255

enum ocsp_hash { OCSP_SHA1, OCSP_SHA256, OCSP_HASH_COUNT };
#define OCSP_HASH_MAX 32

/* CertID */
struct ocsp_request {
    enum ocsp_hash hash;
    struct slice issuer_name_hash; /* of the issuer's Name */
    struct slice issuer_key_hash;  /* of the bytes of its public key's BIT STRING */
    struct slice serial;           /* as in struct certificate: without a leading zero octet */
};

/* ERR_SYNTAX; ERR_LIMIT: too large, or for more than one certificate, which is told from its first
 * bytes; ERR_UNSUPPORTED: another hash, another version, or a critical extension. A nonce and the
 * other extensions, the requestor's name and the signature are read over. No trailing bytes. The
 * slices point into `der`. */
MUST_USE enum err ocsp_request_read(struct slice der, struct ocsp_request *ret_request);

/* The request in the path of a GET, what stands behind the responder's URL and "/": base64, with or
 * without percent-encoding (RFC 6960 appendix A.1). ERR_SYNTAX, ERR_LIMIT. */
MUST_USE enum err ocsp_path_read(struct slice path, uint8_t buffer[OCSP_GET_MAX],
                                 struct slice *ret_der);

/* OCSPResponseStatus, section 4.2.1. */
enum ocsp_response_status {
    OCSP_SUCCESSFUL = 0,
    OCSP_MALFORMED_REQUEST = 1,
    OCSP_INTERNAL_ERROR = 2,
    OCSP_TRY_LATER = 3,
    OCSP_UNAUTHORIZED = 6,
};
/* A whole response that says no more than this; not for OCSP_SUCCESSFUL. */
#define OCSP_ERROR_SIZE 5
void ocsp_write_error(struct writer *w, enum ocsp_response_status status);

#endif
