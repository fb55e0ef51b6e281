/* What core needs of cryptography. Core computes no hash and checks no signature itself: whoever
 * calls it passes these functions in (OpenSSL on the hub, anything on a microcontroller). */
#ifndef CORE_CRYPTO_H
#define CORE_CRYPTO_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define SHA256_SIZE            32
#define ED25519_KEY_SIZE       32
#define ED25519_SIGNATURE_SIZE 64

/* SHA-256 (FIPS 180-4) over the concatenation of n parts. Cannot fail. */
typedef void sha256_fn(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE]);

/* Ed25519 (RFC 8032): ERR_NONE or ERR_BAD_SIGNATURE. */
typedef enum err ed25519_verify_fn(const uint8_t key[ED25519_KEY_SIZE], struct slice message,
                                   const uint8_t signature[ED25519_SIGNATURE_SIZE]);

#endif
