/* The port for Linux and other systems with POSIX and OpenSSL 3: TLS by libssl, keys as PKCS#8
 * files of mode 0600, records as files, all in one folder. The process must ignore SIGPIPE. */
#ifndef DEVICE_PORT_POSIX_POSIX_H
#define DEVICE_PORT_POSIX_POSIX_H

#include <openssl/types.h>
#include <poll.h>
#include <signal.h>

#include "device/lib/port.h"

#define POSIX_ASIDE_MAX 2

/* What the process serves, too, while the port waits for a hub or the process for its next turn. It
 * does not wait itself, and calls neither this port's connection nor device/lib. */
struct posix_aside {
    /* What is waited for, and until when at the latest (on the monotonic clock). */
    size_t (*prepare)(void *ctx, struct pollfd fds[POSIX_ASIDE_MAX], int64_t *ret_at_ms);
    void (*serve)(void *ctx);
    void *ctx;
};

struct posix_options {
    const char *folder;           /* made where it is missing (mode 0700); its parent must exist */
    const char *manufacturer_key; /* path, PEM or DER, without a passphrase; NULL: there is none */
    int wake_fd; /* once readable, waiting ends at once with ERR_CLOSED; -1: none */
    const struct posix_aside *aside; /* may be NULL; may change while the port is open */
};

struct posix_port {
    struct port port;
    struct posix_options options;
    int folder_fd;
    int socket_fd;
    SSL_CTX *tls;
    SSL *connection;
};

/* Fills in p->port; *p must not move afterwards. ERR_IO (errno says why), ERR_CRYPTO. */
MUST_USE enum err posix_port_open(struct posix_port *p, const struct posix_options *options);
void posix_port_close(struct posix_port *p);

/* Certificates of a file, PEM (any number) or DER (one), as DER one behind the other.
 * ERR_NOT_FOUND, ERR_IO, ERR_SYNTAX, ERR_LIMIT. */
MUST_USE enum err posix_read_certificates(const char *path, uint8_t *buffer, size_t max,
                                          size_t *ret_len);

/* Copies of the identity in that slot for other programs, in `folder` (made where it is missing):
 * identity.pem, the key, the certificate and those between it and the root; and roots.pem, the
 * roots and those between. Each is replaced whole, and readable by its owner alone. */
MUST_USE enum err posix_write_copies(struct posix_port *p, const char *folder, enum port_key slot,
                                     struct slice chain, const struct slice *roots,
                                     size_t roots_len);

/* Waits without a connection, and serves what is aside. ERR_TIMEOUT once the time has come,
 * ERR_CLOSED where wake_fd is readable, ERR_BUSY where a signal came that is not in `mask`. */
MUST_USE enum err posix_rest(struct posix_port *p, int64_t until_ms, const sigset_t *mask);

/* 1 while a name is being looked up: the resolver does not hear of wake_fd, and nothing is written
 * meanwhile, so a signal's handler may end the process there and then. */
extern volatile sig_atomic_t posix_resolving;

#endif
