#include "base/tls_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/dial.h"

struct tls_client {
    SSL_CTX *ctx;
    BIO_METHOD *socket_method;
    SSL *ssl; /* NULL while there is no connection */
    int fd, cancel_fd;
    bool broken; /* after a fatal error nothing more may be said, not even goodbye */
};

/* OpenSSL's own socket BIO raises SIGPIPE where the server is gone; a library must not ask programs
 * to ignore that. */
static int socket_write(BIO *bio, const char *bytes, int n)
{
    const struct tls_client *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent = send(c->fd, bytes, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int socket_read(BIO *bio, char *bytes, int n)
{
    const struct tls_client *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t got = recv(c->fd, bytes, (size_t)n, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)got;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *socket_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "socket");
    if (m != NULL && BIO_meth_set_write(m, socket_write) == 1 &&
        BIO_meth_set_read(m, socket_read) == 1 && BIO_meth_set_ctrl(m, socket_control) == 1)
        return m;
    BIO_meth_free(m);
    return NULL;
}

static bool attach_socket(struct tls_client *c)
{
    BIO *bio = BIO_new(c->socket_method);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    return true;
}

enum err tls_client_new(const char *roots_path, struct tls_client **ret_client, char explain[256])
{
    struct tls_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    c->fd = -1;
    c->ctx = SSL_CTX_new(TLS_client_method());
    c->socket_method = socket_method_new();
    if (c->ctx == NULL || c->socket_method == NULL ||
        SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(c->ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) {
        (void)snprintf(explain, 256, "the TLS library cannot be set up");
        tls_client_free(c);
        return ERR_CRYPTO;
    }
    int loaded = roots_path == NULL ? SSL_CTX_set_default_verify_paths(c->ctx)
                                    : SSL_CTX_load_verify_file(c->ctx, roots_path);
    ERR_clear_error();
    if (loaded != 1) {
        (void)snprintf(explain, 256, "%s%.160s holds no certificate in PEM to trust",
                       roots_path == NULL ? "the system's store" : "the file ",
                       roots_path == NULL ? "" : roots_path);
        tls_client_free(c);
        return ERR_IO;
    }
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(c->ctx, SSL_MODE_AUTO_RETRY | SSL_MODE_ENABLE_PARTIAL_WRITE);
    *ret_client = c;
    return ERR_NONE;
}

enum err tls_client_set_certificate(struct tls_client *c, const char *chain_path,
                                    const char *key_path, char explain[256])
{
    const char *fault = NULL;
    if (SSL_CTX_use_certificate_chain_file(c->ctx, chain_path) != 1)
        fault = "holds no certificate in PEM";
    else if (SSL_CTX_use_PrivateKey_file(c->ctx, key_path, SSL_FILETYPE_PEM) != 1)
        fault = "does not belong to the key file beside it, or that cannot be read";
    ERR_clear_error();
    if (fault == NULL)
        return ERR_NONE;
    (void)snprintf(explain, 256, "the file %.150s %s", chain_path, fault);
    return ERR_IO;
}

enum err tls_client_peer_sha256(const struct tls_client *c, uint8_t ret_digest[SHA256_SIZE])
{
    X509 *certificate = c->ssl == NULL ? NULL : SSL_get0_peer_certificate(c->ssl);
    if (certificate == NULL || X509_digest(certificate, EVP_sha256(), ret_digest, NULL) != 1)
        return ERR_NOT_FOUND;
    return ERR_NONE;
}

void tls_client_set_cancel(struct tls_client *c, int cancel_fd)
{
    c->cancel_fd = cancel_fd;
}

void tls_client_free(struct tls_client *c)
{
    if (c == NULL)
        return;
    tls_client_disconnect(c);
    SSL_CTX_free(c->ctx);
    BIO_meth_free(c->socket_method);
    free(c);
}

void tls_client_disconnect(struct tls_client *c)
{
    if (c->ssl == NULL)
        return;
    if (!c->broken)
        (void)SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();
    c->ssl = NULL;
    c->fd = -1;
}

/* What to make of a call that did not succeed: ERR_NONE where it is to be made again. */
static enum err after(struct tls_client *c, int result, int64_t deadline_ms)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return dial_wait(c->fd, POLLIN, deadline_ms, c->cancel_fd);
    case SSL_ERROR_WANT_WRITE:
        return dial_wait(c->fd, POLLOUT, deadline_ms, c->cancel_fd);
    case SSL_ERROR_ZERO_RETURN:
        return ERR_CLOSED;
    default:
        c->broken = true;
        return ERR_IO;
    }
}

static bool is_address(const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* RFC 6066 section 3 has no addresses in server_name. */
static bool expect_host(SSL *ssl, const char *host)
{
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static enum err explain_handshake(struct tls_client *c, enum err err, const char *host,
                                  char explain[256])
{
    long verdict = SSL_get_verify_result(c->ssl);
    if (err == ERR_IO && verdict != X509_V_OK) {
        (void)snprintf(explain, 256, "the certificate of %.100s is not trusted: %.100s", host,
                       X509_verify_cert_error_string(verdict));
        return ERR_BAD_SIGNATURE;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    (void)snprintf(explain, 256, "%.100s does not complete the TLS handshake: %.100s", host,
                   err == ERR_TIMEOUT ? "no answer in time"
                   : reason != NULL   ? reason
                                      : "it ended the connection");
    return err;
}

enum err tls_client_connect(struct tls_client *c, int fd, const char *host, int64_t deadline_ms,
                            char explain[256])
{
    tls_client_disconnect(c);
    ERR_clear_error();
    c->ssl = SSL_new(c->ctx);
    if (c->ssl == NULL)
        return ERR_NO_MEMORY;
    c->fd = fd;
    c->broken = false;
    if (!attach_socket(c) || !expect_host(c->ssl, host)) {
        c->broken = true;
        tls_client_disconnect(c);
        (void)snprintf(explain, 256, "'%.100s' is not a host's name or address", host);
        return ERR_CRYPTO;
    }
    enum err err = ERR_NONE;
    int result;
    while (err == ERR_NONE && (result = SSL_connect(c->ssl)) != 1)
        err = after(c, result, deadline_ms);
    if (err != ERR_NONE) {
        c->broken = true;
        err = explain_handshake(c, err, host, explain);
        tls_client_disconnect(c);
    }
    return err;
}

enum err tls_client_read(struct tls_client *c, uint8_t *buffer, size_t max, int64_t deadline_ms,
                         size_t *ret_len)
{
    for (;;) {
        ERR_clear_error();
        int n = SSL_read(c->ssl, buffer, max > INT_MAX ? INT_MAX : (int)max);
        if (n > 0) {
            *ret_len = (size_t)n;
            return ERR_NONE;
        }
        enum err err = after(c, n, deadline_ms);
        if (err != ERR_NONE)
            return err;
    }
}

enum err tls_client_write(struct tls_client *c, struct slice bytes, int64_t deadline_ms)
{
    while (bytes.len > 0) {
        ERR_clear_error();
        int n = SSL_write(c->ssl, bytes.data, bytes.len > INT_MAX ? INT_MAX : (int)bytes.len);
        if (n > 0) {
            bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
            continue;
        }
        enum err err = after(c, n, deadline_ms);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}
