/* The cryptographic primitives that programs use, on OpenSSL. */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include "core/crypto.h"
#include "core/cursor.h"

sha256_fn crypto_sha256;
ed25519_verify_fn crypto_ed25519_verify;

void crypto_sha256_one(struct slice bytes, uint8_t ret_hash[SHA256_SIZE]);
/* HMAC (RFC 2104) with SHA-256. */
void crypto_hmac_sha256(const uint8_t key[SHA256_SIZE], struct slice bytes,
                        uint8_t ret_mac[SHA256_SIZE]);
/* SCRAM-SHA-256's StoredKey of a password (RFC 5802 section 3, RFC 7677): some half a millisecond
 * for each 1,000 iterations. ERR_CRYPTO. */
MUST_USE enum err crypto_scram_stored_key(struct slice password, struct slice salt,
                                          uint32_t iterations, uint8_t ret_key[SHA256_SIZE]);
/* Random bytes from the operating system's generator by way of OpenSSL's. ERR_CRYPTO. */
MUST_USE enum err crypto_random(void *bytes, size_t n);

/* Short texts, sealed with AES-256-GCM under a key of their own: nonce(12) | text | tag(16). The
 * nonce is random, so a key is for some billions of texts at most (NIST SP 800-38D section 8.3).
 * `context` stands outside and must be the same when it is opened. */
#define CRYPTO_SEAL_OVERHEAD 28
#define CRYPTO_SEAL_TEXT_MAX 256 /* bytes of a text, and of a context */
/* ERR_LIMIT, ERR_CRYPTO, or the writer's. */
MUST_USE enum err crypto_seal(const uint8_t key[SHA256_SIZE], struct slice context,
                              struct slice text, struct writer *w);
/* ERR_BAD_SIGNATURE: not sealed so; or the writer's. Nothing is written unless it is genuine. */
MUST_USE enum err crypto_unseal(const uint8_t key[SHA256_SIZE], struct slice context,
                                struct slice box, struct writer *w);

#endif
