/* TLS for base/http_client.c, on OpenSSL: the client's side over a non-blocking socket, with a
 * deadline for each call. The server's certificate is always checked. Private to base/. */
#ifndef BASE_TLS_CLIENT_H
#define BASE_TLS_CLIENT_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

struct tls_client; /* trusted roots, and one connection at a time */

/* `roots_path`: PEM, or NULL for the system's. ERR_IO or ERR_CRYPTO, explained. */
MUST_USE enum err tls_client_new(const char *roots_path, struct tls_client **ret_client,
                                 char explain[256]);
void tls_client_free(struct tls_client *c); /* NULL is fine */

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
/* Ends the connection, if there is one; before its fd is closed. */
void tls_client_disconnect(struct tls_client *c);

#endif
