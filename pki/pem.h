/* Certificates in PEM (RFC 7468). */
#ifndef PKI_PEM_H
#define PKI_PEM_H

#include "core/crypto.h"
#include "core/x509.h"

/* SHA-256 of the certificate in DER, and of its SubjectPublicKeyInfo. ERR_SYNTAX where `pem` is not
 * exactly one certificate (white space around it is fine), ERR_LIMIT, ERR_UNSUPPORTED. */
MUST_USE enum err pem_certificate_hashes(struct slice pem, uint8_t ret_certificate[SHA256_SIZE],
                                         uint8_t ret_spki[SHA256_SIZE]);

void pem_write_certificate(struct writer *w, struct slice der);
/* The same for certificates in DER that stand one after the other. ERR_SYNTAX. */
MUST_USE enum err pem_write_certificates(struct writer *w, struct slice ders);

#endif
