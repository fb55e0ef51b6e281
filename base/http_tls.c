#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/crypto.h"
#include "base/http_internal.h"
#include "base/tls_internal.h"

struct bufferevent *http_tls_bufferevent(struct tls_server *tls, struct event_base *base)
{
    SSL *ssl = tls_server_connection(tls);
    if (ssl == NULL)
        return NULL;
    /* Frees the SSL also where it fails. */
    return bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

/* By the peer's Finished message: OpenSSL's own notion is gone after a later error. */
static bool handshake_done(const SSL *ssl)
{
    return SSL_get_peer_finished(ssl, NULL, 0) > 0;
}

bool http_tls_handshake_done(struct bufferevent *bev)
{
    return handshake_done(bufferevent_openssl_get_ssl(bev));
}

void http_tls_ending(struct tls_server *tls, struct bufferevent *bev, bool orderly)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    if (!handshake_done(ssl)) {
        tls_server_count_failed(tls);
        return;
    }
    /* A connection freed without a close_notify sent takes its session out of the cache. Where the
     * other side is gone there is no point in sending one. */
    if (orderly && SSL_get_shutdown(ssl) == 0)
        (void)SSL_shutdown(ssl);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ERR_clear_error();
}

bool http_tls_write_now(struct bufferevent *bev, struct slice bytes)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    ERR_clear_error();
    bool written = SSL_write(ssl, bytes.data, (int)bytes.len) == (int)bytes.len;
    ERR_clear_error();
    return written;
}

static void hash_public_key(const X509 *certificate, uint8_t ret_hash[SHA256_SIZE])
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    crypto_sha256_one(slice_of(der, len > 0 ? (size_t)len : 0), ret_hash);
    OPENSSL_free(der);
}

static void hash_certificate(X509 *certificate, uint8_t ret_hash[SHA256_SIZE])
{
    unsigned char *der = NULL;
    int len = i2d_X509(certificate, &der);
    crypto_sha256_one(slice_of(der, len > 0 ? (size_t)len : 0), ret_hash);
    OPENSSL_free(der);
}

void http_tls_peer(struct bufferevent *bev, struct tls_peer *ret_peer)
{
    struct tls_peer peer = {0};
    X509 *certificate = SSL_get0_peer_certificate(bufferevent_openssl_get_ssl(bev));
    if (certificate != NULL) {
        const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
        size_t len = (size_t)ASN1_STRING_length(serial);
        peer.present = tls_time(X509_get0_notBefore(certificate), &peer.not_before) &&
                       tls_time(X509_get0_notAfter(certificate), &peer.not_after) &&
                       len <= SERIAL_MAX;
        if (peer.present) {
            memcpy(peer.serial, ASN1_STRING_get0_data(serial), len);
            peer.serial_len = len;
            hash_certificate(certificate, peer.certificate_sha256);
            hash_public_key(certificate, peer.spki_sha256);
        }
    }
    *ret_peer = peer.present ? peer : (struct tls_peer){0};
    ERR_clear_error();
}

enum err http_tls_peer_certificate(struct bufferevent *bev, struct arena *arena,
                                   struct slice *ret_der)
{
    X509 *certificate = SSL_get0_peer_certificate(bufferevent_openssl_get_ssl(bev));
    if (certificate == NULL)
        return ERR_NOT_FOUND;
    int len = i2d_X509(certificate, NULL);
    uint8_t *der = len > 0 ? arena_alloc(arena, (size_t)len) : NULL;
    uint8_t *end = der;
    if (der == NULL)
        return len > 0 ? ERR_NO_MEMORY : ERR_CRYPTO;
    if (i2d_X509(certificate, &end) != len)
        return ERR_CRYPTO;
    *ret_der = slice_of(der, (size_t)len);
    return ERR_NONE;
}
