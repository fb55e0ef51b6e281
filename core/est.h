/* Bodies of EST (RFC 7030, clarified by RFC 8951): base64 outside, PKCS#10 or a certs-only
 * PKCS#7 (RFC 5652 SignedData without signers) inside. */
#ifndef CORE_EST_H
#define CORE_EST_H

#include "core/csr.h"

#define EST_CERTIFICATES_MAX 8     /* in one certs-only answer */
#define EST_REQUEST_MAX      16384 /* bytes of a request body; CSR_MAX in base64 with room */
#define EST_RESPONSE_MAX     65536

/* Request body -> DER of the request. `buffer` receives the bytes. ERR_SYNTAX or ERR_LIMIT. */
MUST_USE enum err est_read_request(struct slice body, uint8_t *buffer, size_t max,
                                   struct slice *ret_der);
void est_write_request(struct writer *w, struct slice csr_der);

/* Certificates (DER, each one element) -> certs-only PKCS#7 in wrapped base64. `scratch` holds the
 * DER meanwhile. */
MUST_USE enum err est_write_certificates(struct writer *w, const struct slice *certificates,
                                         size_t n, uint8_t *scratch, size_t scratch_max);
/* The reverse: ret_certificates[0..*ret_n) point into `buffer`, in the order they stand. */
MUST_USE enum err est_read_certificates(struct slice body, uint8_t *buffer, size_t max,
                                        struct slice ret_certificates[EST_CERTIFICATES_MAX],
                                        size_t *ret_n);

#endif
