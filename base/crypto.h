/* The cryptographic primitives that programs use, on OpenSSL. */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include "core/crypto.h"

sha256_fn crypto_sha256;
ed25519_verify_fn crypto_ed25519_verify;

void crypto_sha256_one(struct slice bytes, uint8_t ret_hash[SHA256_SIZE]);
/* Random bytes from the operating system's generator by way of OpenSSL's. ERR_CRYPTO. */
MUST_USE enum err crypto_random(void *bytes, size_t n);

#endif
