/* Parties with certificates of every sort, a server with a listener for each way of asking for
 * them, and TLS clients. */
#ifndef TESTS_TLS_FIXTURE_H
#define TESTS_TLS_FIXTURE_H

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/crypto.h"
#include "base/tls.h"
#include "tests/unit/http_fixture.h"

#define H     "Host: h\r\n"
#define DAY   86400
#define KINDS 3

/* A certificate and its key, with both in PEM. */
struct party {
    X509 *certificate;
    EVP_PKEY *key;
    char *certificate_pem;
    char *key_pem;
};

static struct party ca, other_ca, server_ec, server_ec2, server_rsa;
static struct party client, client2, foreign, expired, early, self_signed;

static struct tls_server *required, *any, *none;
static struct http_listener *listeners[KINDS]; /* by enum tls_client_auth */

static inline char *pem_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)len);
    assert_non_null(text);
    BIO_free(bio);
    return text;
}

static inline struct party make_party(const char *name, const struct party *issuer, int64_t from,
                                      int64_t until, const char *kind)
{
    static long serial = 0x0102030405;
    struct party p = {.certificate = X509_new()};
    p.key = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    assert_non_null(p.key);
    X509_set_version(p.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(p.certificate), serial++);
    time_t now = time(NULL);
    X509_time_adj_ex(X509_getm_notBefore(p.certificate), 0, (long)from, &now);
    X509_time_adj_ex(X509_getm_notAfter(p.certificate), 0, (long)until, &now);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(p.certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_pubkey(p.certificate, p.key);
    const struct party *by = issuer != NULL ? issuer : &p;
    X509_set_issuer_name(p.certificate, X509_get_subject_name(by->certificate));
    if (issuer == NULL) {
        X509_EXTENSION *e =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(p.certificate, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(p.certificate, by->key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, p.certificate);
    p.certificate_pem = pem_of(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, p.key, NULL, NULL, 0, NULL, NULL);
    p.key_pem = pem_of(bio);
    return p;
}

static inline void free_party(struct party *p)
{
    X509_free(p->certificate);
    EVP_PKEY_free(p->key);
    free(p->certificate_pem);
    free(p->key_pem);
}

static inline int make_parties(void **state)
{
    (void)state;
    ca = make_party("ca", NULL, -DAY, 3650 * DAY, "EC");
    other_ca = make_party("other", NULL, -DAY, 3650 * DAY, "EC");
    server_ec = make_party("server", &ca, -DAY, 365 * DAY, "EC");
    server_ec2 = make_party("server two", &ca, -DAY, 365 * DAY, "EC");
    server_rsa = make_party("server rsa", &ca, -DAY, 365 * DAY, "RSA");
    client = make_party("client", &ca, -DAY, 30 * DAY, "EC");
    client2 = make_party("client two", &ca, -DAY, 30 * DAY, "EC");
    foreign = make_party("foreign", &other_ca, -DAY, 30 * DAY, "EC");
    expired = make_party("expired", &ca, -DAY, -60, "EC");
    early = make_party("early", &ca, DAY, 30 * DAY, "EC");
    self_signed = make_party("self", NULL, -DAY, 30 * DAY, "EC");
    return 0;
}

static inline int free_parties(void **state)
{
    struct party *all[] = {&ca,      &other_ca, &server_ec, &server_ec2, &server_rsa, &client,
                           &client2, &foreign,  &expired,   &early,      &self_signed};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free_party(all[i]);
    return 0;
}

static inline void install(struct tls_server *s, const struct party *p)
{
    char explain[256] = "";
    assert_int_equal(tls_server_set_certificate(s, slice_of_text(p->certificate_pem),
                                                slice_of_text(p->key_pem), explain),
                     ERR_NONE);
}

static inline struct tls_server *make_tls(const char *name, enum tls_client_auth auth)
{
    struct tls_server *s = NULL;
    const struct tls_server_options options = {
        .name = name, .client_auth = auth, .sessions_max = 100, .session_seconds = 300};
    char explain[256] = "";
    assert_int_equal(tls_server_new(&options, &s), ERR_NONE);
    install(s, &server_ec);
    assert_int_equal(tls_server_set_client_roots(s, slice_of_text(ca.certificate_pem), explain),
                     ERR_NONE);
    return s;
}

static inline void set_up_listeners(void)
{
    fixture_new();
    required = make_tls("required", TLS_CLIENT_REQUIRED);
    any = make_tls("any", TLS_CLIENT_ANY);
    none = make_tls("none", TLS_CLIENT_NONE);
    struct tls_server *const servers[KINDS] = {
        [TLS_CLIENT_REQUIRED] = required, [TLS_CLIENT_ANY] = any, [TLS_CLIENT_NONE] = none};
    for (size_t i = 0; i < KINDS; i++) {
        struct http_listener_options options = fixture_options("127.0.0.1:0", servers[i]);
        assert_int_equal(http_server_listen(fixture.server, &options, &listeners[i]), ERR_NONE);
    }
}

static inline int set_up(void **state)
{
    (void)state;
    set_up_listeners();
    fixture_start();
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    fixture_free();
    tls_server_free(required);
    tls_server_free(any);
    tls_server_free(none);
    return 0;
}

static inline struct http_counters counters(enum tls_client_auth kind)
{
    struct http_counters c;
    http_listener_counters(listeners[kind], &c);
    return c;
}

/* A blocking TLS client. */
struct peer {
    int fd;
    SSL *ssl;
};

static inline SSL_CTX *client_context(const struct party *p, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (p != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, p->certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, p->key), 1);
    }
    return ctx;
}

/* False where the server does not let it in; in TLS 1.3 that may show at the first read only. */
static inline bool connect_with(struct peer *c, SSL_CTX *ctx, SSL_SESSION *session, unsigned port)
{
    struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    c->fd = connect_tcp(port);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    c->ssl = SSL_new(ctx);
    assert_non_null(c->ssl);
    SSL_set_fd(c->ssl, c->fd);
    if (session != NULL)
        SSL_set_session(c->ssl, session);
    bool connected = SSL_connect(c->ssl) == 1;
    ERR_clear_error();
    return connected;
}

static inline bool connect_as(struct peer *c, const struct party *p, int version,
                              enum tls_client_auth kind)
{
    SSL_CTX *ctx = client_context(p, version);
    bool connected = connect_with(c, ctx, NULL, http_listener_port(listeners[kind]));
    SSL_CTX_free(ctx);
    return connected;
}

static inline void disconnect(struct peer *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    ERR_clear_error();
}

static inline ssize_t receive_tls(void *from, void *to, size_t max)
{
    struct peer *c = from;
    int n = SSL_read(c->ssl, to, (int)max);
    ERR_clear_error();
    return n;
}

static inline void say(struct peer *c, const char *text)
{
    (void)SSL_write(c->ssl, text, (int)strlen(text));
    ERR_clear_error();
}

static inline struct answer ask(struct peer *c, const char *text)
{
    say(c, text);
    return read_answer_by(receive_tls, c, false);
}

static inline unsigned ask_status(struct peer *c, const char *text)
{
    struct answer a = ask(c, text);
    unsigned status = a.status;
    answer_free(&a);
    return status;
}

static inline bool is_let_in(const struct party *p, int version, enum tls_client_auth kind)
{
    struct peer c;
    bool in =
        connect_as(&c, p, version, kind) && ask_status(&c, "GET / HTTP/1.1\r\n" H "\r\n") == 404;
    disconnect(&c);
    return in;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static inline void hex(char *to, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        (void)snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

/* What /peer must say of a party. */
static inline void expect_peer(struct peer *c, const struct party *p)
{
    char wanted[512];
    uint8_t *der = NULL;
    uint8_t hash[SHA256_SIZE];
    char certificate[65];
    char key[65];
    int len = i2d_X509(p->certificate, &der);
    crypto_sha256_one(slice_of(der, (size_t)len), hash);
    hex(certificate, hash, sizeof hash);
    OPENSSL_free(der);
    der = NULL;
    int key_len = i2d_PUBKEY(p->key, &der);
    crypto_sha256_one(slice_of(der, (size_t)key_len), hash);
    hex(key, hash, sizeof hash);
    OPENSSL_free(der);
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(p->certificate), &tm), 1);
    (void)snprintf(wanted, sizeof wanted, "present %s %s %010llx %lld %d", certificate, key,
                   (unsigned long long)ASN1_INTEGER_get(X509_get0_serialNumber(p->certificate)),
                   (long long)timegm(&tm), len);
    struct answer a = ask(c, "GET /peer HTTP/1.1\r\n" H "\r\n");
    assert_string_equal(a.body, wanted);
    answer_free(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
