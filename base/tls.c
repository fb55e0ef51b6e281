#include "base/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/tls_internal.h"

#define CHAIN_MAX   8    /* certificates of our own chain */
#define ROOTS_MAX   64   /* client roots */
#define PEER_CHAIN  8192 /* bytes of certificates that a client may send: two of the largest */
#define EXPLAIN_MAX 256

struct tls_server {
    enum tls_client_auth client_auth;
    size_t sessions_max;
    int64_t session_seconds;
    uint8_t session_context[SHA256_SIZE];
    /* Taken for reading by every new connection and verification, for writing by a reload. */
    pthread_rwlock_t lock;
    SSL_CTX *ctx;
    int key_kind;      /* of the certificate in ctx; EVP_PKEY_NONE before the first */
    X509_STORE *roots; /* NULL before the first: then no client passes */
    uint64_t generation;
    struct tls_verified *verified;
    struct tls_counters before; /* of contexts that a new one has replaced */
    _Atomic uint64_t failed;
};

static void explain_with(char explain[EXPLAIN_MAX], const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (reason != NULL)
        (void)snprintf(explain, EXPLAIN_MAX, "%s (%s)", what, reason);
    else
        (void)snprintf(explain, EXPLAIN_MAX, "%s", what);
    ERR_clear_error();
}

/* Extends how long a session may be resumed no further than its certificate is valid: resuming
 * does not look at the chain again. */
static void limit_session(X509_STORE_CTX *given, int64_t session_seconds)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(given, SSL_get_ex_data_X509_STORE_CTX_idx());
    SSL_SESSION *session = ssl != NULL ? SSL_get_session(ssl) : NULL;
    int64_t not_after;
    if (session == NULL ||
        !tls_time(X509_get0_notAfter(X509_STORE_CTX_get0_cert(given)), &not_after))
        return;
    int64_t left = not_after - clock_seconds();
    if (left < 1)
        left = 1;
    if (left < session_seconds)
        SSL_SESSION_set_timeout(session, (long)left);
}

static int verify_client(X509_STORE_CTX *given, void *arg)
{
    struct tls_server *s = arg;
    limit_session(given, s->session_seconds);
    if (s->client_auth != TLS_CLIENT_REQUIRED) {
        /* That the peer has the key, the handshake proves; what it is worth, the handler judges. */
        X509_STORE_CTX_set_error(given, X509_V_OK);
        return 1;
    }
    pthread_rwlock_rdlock(&s->lock);
    X509_STORE *roots = s->roots;
    uint64_t generation = s->generation;
    if (roots != NULL)
        X509_STORE_up_ref(roots);
    pthread_rwlock_unlock(&s->lock);
    int good = tls_verify_chain(given, roots, generation, s->verified);
    X509_STORE_free(roots);
    return good;
}

static void set_session_cache(const struct tls_server *s, SSL_CTX *ctx)
{
    /* Clearing expired sessions as OpenSSL does it walks the whole cache under its lock; here the
     * size bounds it, and an expired session is refused when it is asked for. */
    if (s->sessions_max > 0) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR);
        SSL_CTX_sess_set_cache_size(ctx, (long)s->sessions_max);
        SSL_CTX_set_timeout(ctx, (long)s->session_seconds);
        SSL_CTX_set_num_tickets(ctx, 1);
    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_num_tickets(ctx, 0);
    }
}

static SSL_CTX *context_new(struct tls_server *s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL)
        return NULL;
    /* A stateless ticket would carry the client's certificate, decoded anew at every use. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* A device that is switched off says no goodbye, and still may resume its session. Requests
     * carry their own length, so that a cut-off one is seen. */
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_max_cert_list(ctx, PEER_CHAIN);
    set_session_cache(s, ctx);
    if (s->client_auth != TLS_CLIENT_NONE) {
        int fail = s->client_auth == TLS_CLIENT_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | fail, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, verify_client, s);
    }
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1 ||
        SSL_CTX_set_session_id_context(ctx, s->session_context, SHA256_SIZE) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

enum err tls_server_new(const struct tls_server_options *options, struct tls_server **ret_server)
{
    struct tls_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    if (pthread_rwlock_init(&s->lock, NULL) != 0) {
        free(s);
        return ERR_NO_MEMORY;
    }
    s->client_auth = options->client_auth;
    s->sessions_max = options->sessions_max;
    s->session_seconds = options->session_seconds;
    s->generation = 1;
    s->key_kind = EVP_PKEY_NONE;
    atomic_init(&s->failed, 0);
    crypto_sha256_one(slice_of_text(options->name), s->session_context);
    s->ctx = context_new(s);
    s->verified = s->client_auth == TLS_CLIENT_REQUIRED ? tls_verified_new() : NULL;
    if (s->ctx == NULL || (s->client_auth == TLS_CLIENT_REQUIRED && s->verified == NULL)) {
        tls_server_free(s);
        ERR_clear_error();
        return ERR_CRYPTO;
    }
    *ret_server = s;
    return ERR_NONE;
}

void tls_server_free(struct tls_server *s)
{
    if (s == NULL)
        return;
    SSL_CTX_free(s->ctx);
    X509_STORE_free(s->roots);
    tls_verified_free(s->verified);
    pthread_rwlock_destroy(&s->lock);
    free(s);
}

/* Without it OpenSSL would ask at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* Every certificate in the text, at most `max`; NULL, explained, where there is none or one is
 * damaged. */
static STACK_OF(X509) * read_certificates(struct slice pem, int max, char explain[EXPLAIN_MAX])
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *bio = pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.data, (int)pem.len) : NULL;
    bool good = all != NULL && bio != NULL;
    ERR_clear_error();
    while (good) {
        X509 *one = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (one == NULL)
            break;
        good = sk_X509_num(all) < max && sk_X509_push(all, one) > 0;
        if (!good)
            X509_free(one);
    }
    /* The end of the text shows as "no start line"; anything else is damage. */
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    if (good && at_end && sk_X509_num(all) > 0) {
        ERR_clear_error();
        return all;
    }
    if (good && !at_end)
        explain_with(explain, "a certificate is damaged");
    else
        explain_with(explain, good ? "there is no certificate in PEM form"
                                   : "there are more certificates than are taken");
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

static EVP_PKEY *read_key(struct slice pem, char explain[EXPLAIN_MAX])
{
    BIO *bio = pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.data, (int)pem.len) : NULL;
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    if (key == NULL)
        explain_with(explain, "there is no private key in PEM form, or it has a passphrase");
    return key;
}

/* Swaps the pair in. Sessions outlive it, unless the key is of another kind: then OpenSSL would go
 * on offering the old pair beside the new one, and a fresh context takes over. */
static enum err install(struct tls_server *s, X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain,
                        char explain[EXPLAIN_MAX])
{
    int kind = EVP_PKEY_get_base_id(key);
    SSL_CTX *replaced = NULL;
    pthread_rwlock_wrlock(&s->lock);
    bool same = s->key_kind == EVP_PKEY_NONE || s->key_kind == kind;
    SSL_CTX *ctx = same ? s->ctx : context_new(s);
    bool good = ctx != NULL && SSL_CTX_use_cert_and_key(ctx, leaf, key, chain, 1) == 1;
    if (good && !same) {
        replaced = s->ctx;
        s->before.handshakes += (uint64_t)SSL_CTX_sess_accept_good(replaced);
        s->before.resumed += (uint64_t)SSL_CTX_sess_hits(replaced);
        s->ctx = ctx;
    } else if (!good && !same) {
        replaced = ctx;
    }
    if (good)
        s->key_kind = kind;
    pthread_rwlock_unlock(&s->lock);
    if (!good)
        explain_with(explain, "the certificate cannot be used");
    SSL_CTX_free(replaced);
    return good ? ERR_NONE : ERR_CRYPTO;
}

enum err tls_server_set_certificate(struct tls_server *s, struct slice chain_pem,
                                    struct slice key_pem, char explain[256])
{
    enum err err = ERR_SYNTAX;
    X509 *leaf = NULL;
    EVP_PKEY *key = NULL;
    STACK_OF(X509) *chain = read_certificates(chain_pem, CHAIN_MAX, explain);
    if (chain == NULL)
        goto out;
    key = read_key(key_pem, explain);
    if (key == NULL)
        goto out;
    leaf = sk_X509_shift(chain);
    if (X509_check_private_key(leaf, key) != 1) {
        explain_with(explain, "private key and certificate do not belong together");
        err = ERR_CRYPTO;
        goto out;
    }
    err = install(s, leaf, key, chain, explain);
out:
    X509_free(leaf);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return err;
}

enum err tls_server_set_client_roots(struct tls_server *s, struct slice roots_pem,
                                     char explain[256])
{
    STACK_OF(X509) *all = read_certificates(roots_pem, ROOTS_MAX, explain);
    if (all == NULL)
        return ERR_SYNTAX;
    X509_STORE *roots = X509_STORE_new();
    bool good = roots != NULL;
    for (int i = 0; good && i < sk_X509_num(all); i++)
        good = X509_STORE_add_cert(roots, sk_X509_value(all, i)) == 1;
    sk_X509_pop_free(all, X509_free);
    if (!good) {
        explain_with(explain, "a root cannot be used");
        X509_STORE_free(roots);
        return ERR_CRYPTO;
    }
    pthread_rwlock_wrlock(&s->lock);
    X509_STORE *before = s->roots;
    s->roots = roots;
    if (s->verified != NULL) {
        tls_verified_forget(s->verified);
        s->generation = tls_verified_generation(s->verified);
    }
    SSL_CTX_flush_sessions(s->ctx, 0);
    pthread_rwlock_unlock(&s->lock);
    X509_STORE_free(before);
    return ERR_NONE;
}

void tls_server_counters(const struct tls_server *s, struct tls_counters *ret_counters)
{
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&s->lock;
    pthread_rwlock_rdlock(lock);
    ret_counters->handshakes = s->before.handshakes + (uint64_t)SSL_CTX_sess_accept_good(s->ctx);
    ret_counters->resumed = s->before.resumed + (uint64_t)SSL_CTX_sess_hits(s->ctx);
    pthread_rwlock_unlock(lock);
    ret_counters->failed = atomic_load(&s->failed);
}

SSL *tls_server_connection(struct tls_server *s)
{
    pthread_rwlock_rdlock(&s->lock);
    SSL *ssl = SSL_new(s->ctx);
    pthread_rwlock_unlock(&s->lock);
    if (ssl == NULL)
        ERR_clear_error();
    return ssl;
}

void tls_server_count_failed(struct tls_server *s)
{
    atomic_fetch_add_explicit(&s->failed, 1, memory_order_relaxed);
}
