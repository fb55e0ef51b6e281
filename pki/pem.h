/* One certificate in PEM (RFC 7468) from outside. */
#ifndef PKI_PEM_H
#define PKI_PEM_H

#include "core/crypto.h"
#include "core/x509.h"

/* SHA-256 of the certificate in DER, and of its SubjectPublicKeyInfo. ERR_SYNTAX where `pem` is not
 * exactly one certificate (white space around it is fine), ERR_LIMIT, ERR_UNSUPPORTED. */
MUST_USE enum err pem_certificate_hashes(struct slice pem, uint8_t ret_certificate[SHA256_SIZE],
                                         uint8_t ret_spki[SHA256_SIZE]);

#endif
