/* TLS 1.2 and 1.3 for servers, on OpenSSL: ECDHE with AEAD only, sessions kept on the server (no
 * stateless tickets), and what the peer's certificate says, worked out once a connection. */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "core/crypto.h"
#include "core/x509.h"

struct tls_server; /* certificate, trusted roots, session cache; shared by all loops */

enum tls_client_auth {
    TLS_CLIENT_NONE,     /* no certificate is asked for */
    TLS_CLIENT_ANY,      /* asked for, and any is let through: the handler pins it */
    TLS_CLIENT_REQUIRED, /* asked for, must chain to the client roots */
};

struct tls_server_options {
    const char *name; /* session id context: sessions of one listener do not open another */
    enum tls_client_auth client_auth;
    size_t sessions_max;     /* of the server-side cache */
    int64_t session_seconds; /* how long a session may be resumed */
};

/* PEM throughout. ERR_SYNTAX, ERR_CRYPTO; `explain` (256 bytes) says which file and why. */
MUST_USE enum err tls_server_new(const struct tls_server_options *options,
                                 struct tls_server **ret_server);
void tls_server_free(struct tls_server *s);
/* Replaces certificate and key for handshakes from now on; open connections are not disturbed.
 * Key and certificate must belong together. From any thread. */
MUST_USE enum err tls_server_set_certificate(struct tls_server *s, struct slice chain_pem,
                                             struct slice key_pem, char explain[256]);
/* Replaces what client certificates must chain to; forgets cached sessions and verifications. */
MUST_USE enum err tls_server_set_client_roots(struct tls_server *s, struct slice roots_pem,
                                              char explain[256]);

/* Certificate of the peer, as worked out after the handshake. Valid as long as the connection. */
struct tls_peer {
    bool present;
    uint8_t certificate_sha256[SHA256_SIZE];
    uint8_t spki_sha256[SHA256_SIZE];
    uint8_t serial[SERIAL_MAX];
    size_t serial_len;
    int64_t not_before, not_after; /* seconds since 1970 */
};

struct tls_counters {
    uint64_t handshakes, resumed, failed;
};
void tls_server_counters(const struct tls_server *s, struct tls_counters *ret_counters);

#endif
