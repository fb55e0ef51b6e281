/* Digests of certificates: by them, and not by a name, devices are known to a broker. */
#ifndef BROKER_CERTIFICATE_H
#define BROKER_CERTIFICATE_H

#include "core/crypto.h"

/* Of an X509 of OpenSSL's, which is freed. ERR_CRYPTO. */
MUST_USE enum err certificate_digest(void *x509, uint8_t ret_digest[SHA256_SIZE]);
/* Of the first one in a PEM file. ERR_IO, ERR_SYNTAX. */
MUST_USE enum err certificate_digest_of_file(const char *path, uint8_t ret_digest[SHA256_SIZE]);

#endif
