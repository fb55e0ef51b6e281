/* TLS on OpenSSL: the client's side over a non-blocking socket, with a
 * deadline for each call. The server's certificate is always checked. For base/http_client.c, and
 * for what speaks another protocol over TLS. */
#ifndef BASE_TLS_CLIENT_H
#define BASE_TLS_CLIENT_H

#include "core/compiler.h"
#include "core/crypto.h"

struct tls_client; /* trusted roots, and one connection at a time */

/* `roots_path`: PEM, or NULL for the system's. ERR_IO or ERR_CRYPTO, explained. */
MUST_USE enum err tls_client_new(const char *roots_path, struct tls_client **ret_client,
                                 char explain[256]);
void tls_client_free(struct tls_client *c); /* NULL is fine */
/* The certificate, with what it is issued by, and its key, both PEM, that servers are shown from
 * now on. ERR_IO or ERR_CRYPTO, explained. */
MUST_USE enum err tls_client_set_certificate(struct tls_client *c, const char *chain_path,
                                             const char *key_path, char explain[256]);

/* Whatever waits is over, with ERR_CLOSED, as soon as there is something to read from `cancel_fd`.
 */
void tls_client_set_cancel(struct tls_client *c, int cancel_fd);
/* Shakes hands over `fd`, which stays the caller's, with `host` (a name or an IP address) as it has
 * to stand in the certificate. Deadlines are of clock_monotonic_ms(). ERR_BAD_SIGNATURE,
 * ERR_TIMEOUT, ERR_CLOSED, ERR_IO. */
MUST_USE enum err tls_client_connect(struct tls_client *c, int fd, const char *host,
                                     int64_t deadline_ms, char explain[256]);
/* At least one byte; ERR_CLOSED where the server ended the connection properly, ERR_IO where it was
 * cut off. */
MUST_USE enum err tls_client_read(struct tls_client *c, uint8_t *buffer, size_t max,
                                  int64_t deadline_ms, size_t *ret_len);
MUST_USE enum err tls_client_write(struct tls_client *c, struct slice bytes, int64_t deadline_ms);
/* The digest of the certificate that the server showed on this connection. ERR_NOT_FOUND. */
MUST_USE enum err tls_client_peer_sha256(const struct tls_client *c,
                                         uint8_t ret_digest[SHA256_SIZE]);
/* Ends the connection, if there is one; before its fd is closed. */
void tls_client_disconnect(struct tls_client *c);

#endif
