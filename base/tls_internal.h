/* What base/http_tls.c needs of base/tls.c, and the parts of the latter share. */
#ifndef BASE_TLS_INTERNAL_H
#define BASE_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "base/tls.h"

/* A fresh server-side connection with the certificate of now; NULL where memory is out. */
SSL *tls_server_connection(struct tls_server *s);
/* Counts a connection that ended before its handshake did. */
void tls_server_count_failed(struct tls_server *s);

/* Seconds since 1970; false where the time cannot be read. */
bool tls_time(const ASN1_TIME *time, int64_t *ret_seconds);

/* Chains that have been verified, by the SHA-256 of their leaf: a device that comes again costs no
 * second path building. Holds so many; the oldest of a set gives way. Safe from any thread. */
#define TLS_VERIFIED_MAX 8192

struct tls_verified;
struct tls_verified *tls_verified_new(void);
void tls_verified_free(struct tls_verified *v); /* NULL is fine */
void tls_verified_forget(struct tls_verified *v);
/* What is learned under one generation of roots is void under the next. */
uint64_t tls_verified_generation(struct tls_verified *v);
bool tls_verified_has(struct tls_verified *v, const uint8_t leaf[SHA256_SIZE], int64_t now);
/* `not_before` and `not_after` bound the validity of every certificate of the chain. */
void tls_verified_add(struct tls_verified *v, uint64_t generation, const uint8_t leaf[SHA256_SIZE],
                      int64_t not_before, int64_t not_after);

/* Verifies the chain in `given` against `roots`, at the date of base/clock.h. */
int tls_verify_chain(X509_STORE_CTX *given, X509_STORE *roots, uint64_t generation,
                     struct tls_verified *verified);

#endif
