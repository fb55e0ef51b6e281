/* TLS by OpenSSL. There is no way past SSL_VERIFY_PEER here, nor to other roots than those given.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "core/der.h"
#include "device/port/posix/internal.h"

#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"

void posix_close(void *ctx)
{
    struct posix_port *p = ctx;
    if (p->connection != NULL && SSL_is_init_finished(p->connection))
        (void)SSL_shutdown(p->connection); /* says goodbye, and does not wait for an answer */
    SSL_free(p->connection);
    SSL_CTX_free(p->tls);
    p->connection = NULL;
    p->tls = NULL;
    if (p->socket_fd >= 0)
        (void)close(p->socket_fd);
    p->socket_fd = -1;
    ERR_clear_error();
}

/* ---- what stands before the handshake ---- */

static enum err add_roots(X509_STORE *store, const struct slice *roots, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *at = roots[i].data;
        X509 *root = d2i_X509(NULL, &at, (long)roots[i].len);
        bool added = root != NULL && X509_STORE_add_cert(store, root) == 1;
        X509_free(root);
        if (!added)
            return ERR_CRYPTO;
    }
    return n > 0 ? ERR_NONE : ERR_CRYPTO;
}

static enum err add_client(struct posix_port *p, SSL_CTX *ctx, const struct port_tls *tls)
{
    struct reader r = reader_over(tls->chain);
    for (bool first = true; reader_left(&r) > 0; first = false) {
        struct slice der = der_read_any(&r, NULL);
        const uint8_t *at = der.data;
        X509 *certificate = r.err == ERR_NONE ? d2i_X509(NULL, &at, (long)der.len) : NULL;
        bool added =
            certificate != NULL && (first ? SSL_CTX_use_certificate(ctx, certificate) == 1
                                          : SSL_CTX_add1_chain_cert(ctx, certificate) == 1);
        X509_free(certificate);
        if (!added)
            return ERR_CRYPTO;
    }
    if (tls->chain.len == 0)
        return ERR_NONE;
    EVP_PKEY *key = NULL;
    enum err err = posix_key_load(p, tls->key, &key);
    if (err == ERR_NONE && SSL_CTX_use_PrivateKey(ctx, key) != 1)
        err = ERR_CRYPTO;
    EVP_PKEY_free(key);
    return err;
}

static bool is_address(const char *host)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

enum err posix_tls_expect(SSL *connection, const char *host, int64_t time)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(connection);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    X509_VERIFY_PARAM_set_time(param, (time_t)time);
    if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) != 1)
        return ERR_CRYPTO;
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 ? ERR_NONE : ERR_CRYPTO;
    if (X509_VERIFY_PARAM_set1_host(param, host, 0) != 1 ||
        SSL_set_tlsext_host_name(connection, host) != 1)
        return ERR_CRYPTO;
    return ERR_NONE;
}

enum err posix_tls_context(struct posix_port *p, const struct port_tls *tls, SSL_CTX **ret_context)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    enum err err = ERR_CRYPTO;
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1)
        goto out;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    err = add_roots(SSL_CTX_get_cert_store(ctx), tls->roots, tls->roots_len);
    if (err == ERR_NONE)
        err = add_client(p, ctx, tls);
out:
    if (err == ERR_NONE)
        *ret_context = ctx;
    else
        SSL_CTX_free(ctx);
    return err;
}

static enum err prepare(struct posix_port *p, const struct port_tls *tls)
{
    enum err err = posix_tls_context(p, tls, &p->tls);
    if (err != ERR_NONE)
        return err;
    p->connection = SSL_new(p->tls);
    if (p->connection == NULL || SSL_set_fd(p->connection, p->socket_fd) != 1)
        return ERR_CRYPTO;
    return posix_tls_expect(p->connection, tls->host, tls->time);
}

/* ---- the handshake and what comes after ---- */

/* Alerts by which a server says that it does not take our certificate (RFC 8446 section 6.2). */
static bool is_refusal(int reason)
{
    switch (reason) {
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static enum err verdict_on_server(const SSL *connection)
{
    switch (SSL_get_verify_result(connection)) {
    case X509_V_OK:
        return ERR_IO;
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return ERR_EXPIRED;
    default:
        return ERR_BAD_SIGNATURE;
    }
}

enum err posix_tls_outcome(const SSL *connection, int result, short *ret_events)
{
    switch (SSL_get_error(connection, result)) {
    case SSL_ERROR_WANT_READ:
        *ret_events = POLLIN;
        return ERR_BUSY;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = POLLOUT;
        return ERR_BUSY;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_CLOSED;
    default:
        if (is_refusal(ERR_GET_REASON(ERR_peek_error())))
            return ERR_REFUSED;
        return verdict_on_server(connection);
    }
}

/* After a call on the connection that gave `result`: waits where it has to, else says what it was.
 */
static enum err go_on(struct posix_port *p, int result, int64_t deadline_ms)
{
    short events = 0;
    enum err err = posix_tls_outcome(p->connection, result, &events);
    return err == ERR_BUSY ? posix_socket_wait(p, p->socket_fd, events, deadline_ms) : err;
}

static bool read_time(const ASN1_TIME *time, int64_t *ret_seconds)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *ret_seconds = (int64_t)timegm(&tm);
    return true;
}

bool posix_tls_is_device(const SSL *connection)
{
    const X509 *certificate = SSL_get0_peer_certificate(connection);
    if (certificate == NULL)
        return false;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        found = found || sk_GENERAL_NAME_value(names, i)->type == GEN_URI;
    GENERAL_NAMES_free(names);
    return found;
}

static enum err read_server(const SSL *connection, struct port_server *ret_server)
{
    const X509 *certificate = SSL_get0_peer_certificate(connection);
    struct port_server server;
    /* Brokers are devices whose certificates are servers', too: none of them is taken for a hub,
     * whatever its hosts. */
    if (certificate == NULL || posix_tls_is_device(connection) ||
        !read_time(X509_get0_notBefore(certificate), &server.not_before) ||
        !read_time(X509_get0_notAfter(certificate), &server.not_after))
        return ERR_BAD_SIGNATURE;
    *ret_server = server;
    return ERR_NONE;
}

enum err posix_connect(void *ctx, const struct port_tls *tls, struct port_server *ret_server)
{
    struct posix_port *p = ctx;
    posix_close(p);
    enum err err = posix_socket_connect(p, tls->host, tls->port, tls->deadline_ms, &p->socket_fd);
    if (err == ERR_NONE)
        err = prepare(p, tls);
    while (err == ERR_NONE) {
        ERR_clear_error();
        int result = SSL_connect(p->connection);
        if (result == 1) {
            err = read_server(p->connection, ret_server);
            break;
        }
        err = go_on(p, result, tls->deadline_ms);
    }
    if (err != ERR_NONE)
        posix_close(p);
    return err;
}

enum err posix_send(void *ctx, struct slice bytes, int64_t deadline_ms)
{
    struct posix_port *p = ctx;
    if (p->connection == NULL)
        return ERR_CLOSED;
    while (bytes.len > 0) {
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_write_ex(p->connection, bytes.data, bytes.len, &n);
        if (result == 1) {
            bytes = slice_of(bytes.data + n, bytes.len - n);
            continue;
        }
        enum err err = go_on(p, result, deadline_ms);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

enum err posix_receive(void *ctx, uint8_t *buffer, size_t max, int64_t deadline_ms, size_t *ret_len)
{
    struct posix_port *p = ctx;
    if (p->connection == NULL)
        return ERR_CLOSED;
    for (;;) {
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_read_ex(p->connection, buffer, max, &n);
        if (result == 1) {
            *ret_len = n;
            return ERR_NONE;
        }
        enum err err = go_on(p, result, deadline_ms);
        if (err != ERR_NONE)
            return err;
    }
}

/* ---- certificates that are not a server's ---- */

static enum err read_chain(struct slice chain, STACK_OF(X509) * certificates)
{
    struct reader r = reader_over(chain);
    while (reader_left(&r) > 0) {
        struct slice der = der_read_any(&r, NULL);
        const uint8_t *at = der.data;
        X509 *certificate = r.err == ERR_NONE ? d2i_X509(NULL, &at, (long)der.len) : NULL;
        if (certificate == NULL)
            return ERR_BAD_SIGNATURE;
        if (sk_X509_push(certificates, certificate) == 0) {
            X509_free(certificate);
            return ERR_NO_MEMORY;
        }
    }
    return sk_X509_num(certificates) > 0 ? ERR_NONE : ERR_BAD_SIGNATURE;
}

enum err posix_chain_verify(void *ctx, struct slice chain, const struct slice *roots,
                            size_t roots_len)
{
    (void)ctx;
    STACK_OF(X509) *certificates = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    enum err err = ERR_NO_MEMORY;
    if (certificates == NULL || store == NULL || check == NULL)
        goto out;
    err = add_roots(store, roots, roots_len);
    if (err == ERR_NONE)
        err = read_chain(chain, certificates);
    if (err != ERR_NONE)
        goto out;
    int64_t issued_at;
    err = ERR_CRYPTO;
    if (!read_time(X509_get0_notBefore(sk_X509_value(certificates, 0)), &issued_at))
        goto out;
    if (X509_STORE_CTX_init(check, store, sk_X509_value(certificates, 0), certificates) != 1)
        goto out;
    X509_STORE_CTX_set_flags(check, X509_V_FLAG_PARTIAL_CHAIN);
    /* As of when it was issued: whether that is now, device/lib asks, which knows the time. */
    X509_STORE_CTX_set_time(check, 0, (time_t)issued_at);
    err = X509_verify_cert(check) == 1 ? ERR_NONE : ERR_BAD_SIGNATURE;
out:
    X509_STORE_CTX_free(check);
    X509_STORE_free(store);
    sk_X509_pop_free(certificates, X509_free);
    ERR_clear_error();
    return err;
}
