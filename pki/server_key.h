/* A key for a TLS server, made in memory. */
#ifndef PKI_SERVER_KEY_H
#define PKI_SERVER_KEY_H

#include "core/spki.h"

#define SERVER_KEY_PEM_MAX 512 /* bytes of a P-256 PKCS#8 in PEM, NUL included: 241 are used */

/* A fresh P-256 key: PKCS#8 PEM (wipe it after use) and SubjectPublicKeyInfo. ERR_CRYPTO,
 * ERR_LIMIT. */
MUST_USE enum err server_key_new(char ret_pem[SERVER_KEY_PEM_MAX], uint8_t *spki, size_t spki_max,
                                 size_t *ret_spki_len);

#endif
