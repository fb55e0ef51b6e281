/* core/crypto.h's functions over libcrypto, for one thread. */
#ifndef VERIFY_CRYPTO_H
#define VERIFY_CRYPTO_H

#include "core/crypto.h"

/* Once, before the others; ERR_CRYPTO, ERR_NO_MEMORY. */
MUST_USE enum err verify_crypto_init(void);
void verify_crypto_end(void);

void verify_sha256(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE]);
MUST_USE enum err verify_ed25519(const uint8_t key[ED25519_KEY_SIZE], struct slice message,
                                 const uint8_t signature[ED25519_SIGNATURE_SIZE]);

#endif
