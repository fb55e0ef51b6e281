/* What the files of this port share. */
#ifndef DEVICE_PORT_POSIX_INTERNAL_H
#define DEVICE_PORT_POSIX_INTERNAL_H

#include "device/port/posix/posix.h"

#define FILE_MAX 16384 /* bytes of a key or certificate file: a record is no longer either */

int64_t posix_monotonic_ms(void *ctx);
enum err posix_err_from_errno(void);

/* files.c: `name` in the port's folder. The new bytes are durable when this returns. */
MUST_USE enum err posix_replace(struct posix_port *p, const char *name, struct slice bytes);
MUST_USE enum err posix_delete(struct posix_port *p, const char *name);
/* Zeroes the bytes before the file goes, for what that is worth on the medium at hand. */
MUST_USE enum err posix_delete_secret(struct posix_port *p, const char *name);
MUST_USE enum err posix_read(struct posix_port *p, const char *name, uint8_t *buffer, size_t max,
                             size_t *ret_len);
MUST_USE enum err posix_read_path(const char *path, uint8_t *buffer, size_t max, size_t *ret_len);

/* keys.c: free with EVP_PKEY_free(). */
MUST_USE enum err posix_key_load(struct posix_port *p, enum port_key key, EVP_PKEY **ret_key);
enum err posix_key_generate(void *ctx, enum port_key key, enum key_kind kind);
enum err posix_key_public(void *ctx, enum port_key key, enum key_kind *ret_kind, uint8_t *buffer,
                          size_t max, size_t *ret_len);
enum err posix_key_sign(void *ctx, enum port_key key, struct slice message, uint8_t *buffer,
                        size_t max, size_t *ret_len);
enum err posix_key_delete(void *ctx, enum port_key key);

/* socket.c: sockets do not block; waiting is done here. ERR_TIMEOUT, ERR_CLOSED (wake_fd), ERR_IO.
 */
MUST_USE enum err posix_socket_connect(struct posix_port *p, const char *host, uint16_t port,
                                       int64_t deadline_ms, int *ret_fd);
MUST_USE enum err posix_socket_wait(struct posix_port *p, int fd, short events,
                                    int64_t deadline_ms);

/* tls.c */
/* What stands before each handshake: `roots`, `chain` and `key` of *tls. Free with SSL_CTX_free().
 */
MUST_USE enum err posix_tls_context(struct posix_port *p, const struct port_tls *tls,
                                    SSL_CTX **ret_context);
/* Who the server has to be (RFC 9525), and when. */
MUST_USE enum err posix_tls_expect(SSL *connection, const char *host, int64_t time);
/* What a call on the connection that gave `result` means: ERR_BUSY where *ret_events are to be
 * waited for, else as port.h has it. */
MUST_USE enum err posix_tls_outcome(const SSL *connection, int result, short *ret_events);
/* A device's certificate names it by a URI, and a hub's has none. */
bool posix_tls_is_device(const SSL *connection);
enum err posix_connect(void *ctx, const struct port_tls *tls, struct port_server *ret_server);
enum err posix_send(void *ctx, struct slice bytes, int64_t deadline_ms);
enum err posix_receive(void *ctx, uint8_t *buffer, size_t max, int64_t deadline_ms,
                       size_t *ret_len);
void posix_close(void *ctx);
enum err posix_chain_verify(void *ctx, struct slice chain, const struct slice *roots,
                            size_t roots_len);

#endif
