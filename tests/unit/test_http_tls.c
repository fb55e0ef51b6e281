#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static char *pem_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)len);
    assert_non_null(text);
    BIO_free(bio);
    return text;
}

static struct party make_party(const char *name, const struct party *issuer, int64_t from,
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

static void free_party(struct party *p)
{
    X509_free(p->certificate);
    EVP_PKEY_free(p->key);
    free(p->certificate_pem);
    free(p->key_pem);
}

static int make_parties(void **state)
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

static int free_parties(void **state)
{
    struct party *all[] = {&ca,      &other_ca, &server_ec, &server_ec2, &server_rsa, &client,
                           &client2, &foreign,  &expired,   &early,      &self_signed};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free_party(all[i]);
    return 0;
}

static void install(struct tls_server *s, const struct party *p)
{
    char explain[256] = "";
    assert_int_equal(tls_server_set_certificate(s, slice_of_text(p->certificate_pem),
                                                slice_of_text(p->key_pem), explain),
                     ERR_NONE);
}

static struct tls_server *make_tls(const char *name, enum tls_client_auth auth)
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

static int set_up(void **state)
{
    (void)state;
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
    fixture_start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_free();
    tls_server_free(required);
    tls_server_free(any);
    tls_server_free(none);
    return 0;
}

static struct http_counters counters(enum tls_client_auth kind)
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

static SSL_CTX *client_context(const struct party *p, int version)
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
static bool connect_with(struct peer *c, SSL_CTX *ctx, SSL_SESSION *session, unsigned port)
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

static bool connect_as(struct peer *c, const struct party *p, int version,
                       enum tls_client_auth kind)
{
    SSL_CTX *ctx = client_context(p, version);
    bool connected = connect_with(c, ctx, NULL, http_listener_port(listeners[kind]));
    SSL_CTX_free(ctx);
    return connected;
}

static void disconnect(struct peer *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    ERR_clear_error();
}

static ssize_t receive_tls(void *from, void *to, size_t max)
{
    struct peer *c = from;
    int n = SSL_read(c->ssl, to, (int)max);
    ERR_clear_error();
    return n;
}

static void say(struct peer *c, const char *text)
{
    (void)SSL_write(c->ssl, text, (int)strlen(text));
    ERR_clear_error();
}

static struct answer ask(struct peer *c, const char *text)
{
    say(c, text);
    return read_answer_by(receive_tls, c, false);
}

static unsigned ask_status(struct peer *c, const char *text)
{
    struct answer a = ask(c, text);
    unsigned status = a.status;
    answer_free(&a);
    return status;
}

static bool is_let_in(const struct party *p, int version, enum tls_client_auth kind)
{
    struct peer c;
    bool in =
        connect_as(&c, p, version, kind) && ask_status(&c, "GET / HTTP/1.1\r\n" H "\r\n") == 404;
    disconnect(&c);
    return in;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void hex(char *to, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        (void)snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

/* What /peer must say of a party. */
static void expect_peer(struct peer *c, const struct party *p)
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

static void test_the_peer_is_known(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct peer c;
        assert_true(connect_as(&c, &client, versions[v], TLS_CLIENT_REQUIRED));
        expect_peer(&c, &client);
        expect_peer(&c, &client);
        disconnect(&c);
        assert_true(connect_as(&c, &client2, versions[v], TLS_CLIENT_REQUIRED));
        expect_peer(&c, &client2);
        disconnect(&c);
    }
    struct tls_counters t;
    tls_server_counters(required, &t);
    assert_int_equal(t.handshakes, 4);
    assert_int_equal(t.resumed, 0);
}

static void test_who_is_let_in(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        /* Twice: what is remembered of chains must not let anybody in. */
        for (int again = 0; again < 2; again++) {
            assert_true(is_let_in(&client, versions[v], TLS_CLIENT_REQUIRED));
            assert_false(is_let_in(NULL, versions[v], TLS_CLIENT_REQUIRED));
            assert_false(is_let_in(&foreign, versions[v], TLS_CLIENT_REQUIRED));
            assert_false(is_let_in(&expired, versions[v], TLS_CLIENT_REQUIRED));
            assert_false(is_let_in(&early, versions[v], TLS_CLIENT_REQUIRED));
            assert_false(is_let_in(&self_signed, versions[v], TLS_CLIENT_REQUIRED));
        }
        assert_true(is_let_in(&client, versions[v], TLS_CLIENT_ANY));
        assert_true(is_let_in(&self_signed, versions[v], TLS_CLIENT_ANY));
        assert_true(is_let_in(&expired, versions[v], TLS_CLIENT_ANY));
        assert_true(is_let_in(NULL, versions[v], TLS_CLIENT_ANY));
        assert_true(is_let_in(NULL, versions[v], TLS_CLIENT_NONE));
        assert_true(is_let_in(&client, versions[v], TLS_CLIENT_NONE));
    }
    struct tls_counters t;
    tls_server_counters(required, &t);
    WAIT_FOR(counters(TLS_CLIENT_REQUIRED).open == 0);
    tls_server_counters(required, &t);
    assert_int_equal(t.handshakes, 4);
    assert_int_equal(t.failed, 20);
}

static void test_any_and_none_tell_who_it_is(void **state)
{
    struct peer c;
    (void)state;
    assert_true(connect_as(&c, &self_signed, TLS1_3_VERSION, TLS_CLIENT_ANY));
    expect_peer(&c, &self_signed);
    disconnect(&c);
    const enum tls_client_auth kinds[] = {TLS_CLIENT_ANY, TLS_CLIENT_NONE};
    for (size_t i = 0; i < 2; i++) {
        assert_true(connect_as(&c, i == 0 ? NULL : &client, TLS1_3_VERSION, kinds[i]));
        struct answer a = ask(&c, "GET /peer HTTP/1.1\r\n" H "\r\n");
        assert_memory_equal(a.body, "absent 0000", 11);
        answer_free(&a);
        disconnect(&c);
    }
}

/* A remembered chain holds no longer than its dates. */
static void test_expiry_of_a_remembered_chain(void **state)
{
    (void)state;
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    clock_shift(31 * DAY);
    bool later = is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED);
    clock_shift(-33 * DAY);
    bool before = is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED);
    clock_shift(2 * DAY);
    assert_false(later);
    assert_false(before);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
}

static void test_old_protocols_are_refused(void **state)
{
    (void)state;
    assert_false(is_let_in(&client, TLS1_VERSION, TLS_CLIENT_REQUIRED));
    assert_false(is_let_in(&client, TLS1_1_VERSION, TLS_CLIENT_REQUIRED));
    static const char *const ciphers[] = {"ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA",
                                          "ECDHE-ECDSA-AES128-CCM"};
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        struct peer c;
        SSL_CTX *ctx = client_context(&client, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, ciphers[i]), 1);
        assert_false(
            connect_with(&c, ctx, NULL, http_listener_port(listeners[TLS_CLIENT_REQUIRED])));
        disconnect(&c);
        SSL_CTX_free(ctx);
    }
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **slot = SSL_get_app_data(ssl);
    SSL_SESSION_free(*slot);
    *slot = session;
    return 1;
}

/* One connection with a session to offer or NULL; gives back the newest one. */
static SSL_SESSION *visit(SSL_CTX *ctx, SSL_SESSION *session, unsigned port, bool *ret_resumed,
                          const struct party *p, bool orderly)
{
    SSL_SESSION *newest = NULL;
    struct peer c;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    c.fd = connect_tcp(port);
    (void)setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    c.ssl = SSL_new(ctx);
    SSL_set_app_data(c.ssl, &newest);
    SSL_set_fd(c.ssl, c.fd);
    if (session != NULL)
        SSL_set_session(c.ssl, session);
    bool connected = SSL_connect(c.ssl) == 1;
    *ret_resumed = connected && SSL_session_reused(c.ssl);
    if (connected && p != NULL)
        expect_peer(&c, p);
    if (orderly)
        (void)SSL_shutdown(c.ssl);
    else /* sends nothing, and keeps this side from giving the session up */
        SSL_set_shutdown(c.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    if (newest == NULL && connected)
        newest = SSL_get1_session(c.ssl);
    disconnect(&c);
    SSL_SESSION_free(session);
    return newest;
}

static void test_resumption_keeps_the_peer(void **state)
{
    unsigned port = http_listener_port(listeners[TLS_CLIENT_REQUIRED]);
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        SSL_CTX *ctx = client_context(&client, versions[v]);
        bool resumed = true;
        SSL_SESSION *s = visit(ctx, NULL, port, &resumed, &client, true);
        assert_false(resumed);
        /* Whether the client says goodbye or not, its session stays. */
        for (int i = 0; i < 4; i++) {
            s = visit(ctx, s, port, &resumed, &client, i % 2 == 0);
            assert_true(resumed);
        }
        SSL_SESSION_free(s);
        SSL_CTX_free(ctx);
    }
    struct tls_counters t;
    tls_server_counters(required, &t);
    assert_int_equal(t.handshakes, 10);
    assert_int_equal(t.resumed, 8);
}

static void test_sessions_open_their_own_listener_only(void **state)
{
    SSL_CTX *ctx = client_context(&client, TLS1_3_VERSION);
    bool resumed = true;
    (void)state;
    SSL_SESSION *s =
        visit(ctx, NULL, http_listener_port(listeners[TLS_CLIENT_ANY]), &resumed, &client, true);
    s = visit(ctx, s, http_listener_port(listeners[TLS_CLIENT_REQUIRED]), &resumed, &client, true);
    assert_false(resumed);
    SSL_SESSION_free(s);
    SSL_CTX_free(ctx);
}

static void test_new_roots_forget(void **state)
{
    unsigned port = http_listener_port(listeners[TLS_CLIENT_REQUIRED]);
    SSL_CTX *ctx = client_context(&client, TLS1_3_VERSION);
    bool resumed = false;
    char explain[256] = "";
    struct peer c;
    (void)state;
    SSL_SESSION *s = visit(ctx, NULL, port, &resumed, &client, true);
    assert_true(connect_as(&c, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_int_equal(ask_status(&c, "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    assert_int_equal(
        tls_server_set_client_roots(required, slice_of_text(other_ca.certificate_pem), explain),
        ERR_NONE);
    assert_false(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_true(is_let_in(&foreign, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    s = visit(ctx, s, port, &resumed, NULL, true);
    assert_false(resumed);
    /* Who is in stays in: the handler looks at each request. */
    assert_int_equal(ask_status(&c, "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    disconnect(&c);
    SSL_SESSION_free(s);
    SSL_CTX_free(ctx);
}

static bool server_is(struct peer *c, const struct party *p)
{
    X509 *shown = SSL_get1_peer_certificate(c->ssl);
    bool is = shown != NULL && X509_cmp(shown, p->certificate) == 0;
    X509_free(shown);
    return is;
}

static void test_certificate_reload(void **state)
{
    unsigned port = http_listener_port(listeners[TLS_CLIENT_REQUIRED]);
    SSL_CTX *ctx = client_context(&client, TLS1_3_VERSION);
    bool resumed = false;
    struct peer before;
    struct peer after;
    (void)state;
    assert_true(connect_as(&before, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_true(server_is(&before, &server_ec));
    SSL_SESSION *s = visit(ctx, NULL, port, &resumed, &client, true);
    install(required, &server_ec2);
    assert_int_equal(ask_status(&before, "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    s = visit(ctx, s, port, &resumed, &client, true);
    assert_true(resumed);
    assert_true(connect_as(&after, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_true(server_is(&after, &server_ec2));
    expect_peer(&after, &client);
    disconnect(&after);
    /* A key of another kind: the old pair must not be offered any more. */
    install(required, &server_rsa);
    assert_true(connect_as(&after, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_true(server_is(&after, &server_rsa));
    expect_peer(&after, &client);
    disconnect(&after);
    assert_int_equal(ask_status(&before, "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    disconnect(&before);
    SSL_SESSION_free(s);
    SSL_CTX_free(ctx);
    struct tls_counters t;
    tls_server_counters(required, &t);
    assert_int_equal(t.handshakes, 5);
    assert_int_equal(t.resumed, 1);
}

static void test_bad_certificates_change_nothing(void **state)
{
    static const char damaged[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    char explain[256];
    const struct {
        const char *chain, *key;
        enum err err;
    } bad[] = {
        {"", server_ec.key_pem, ERR_SYNTAX},
        {"text", server_ec.key_pem, ERR_SYNTAX},
        {damaged, server_ec.key_pem, ERR_SYNTAX},
        {server_ec.certificate_pem, "", ERR_SYNTAX},
        {server_ec.certificate_pem, server_ec.certificate_pem, ERR_SYNTAX},
        {server_ec.certificate_pem, server_ec2.key_pem, ERR_CRYPTO},
        {server_ec.certificate_pem, server_rsa.key_pem, ERR_CRYPTO},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        explain[0] = '\0';
        assert_int_equal(tls_server_set_certificate(required, slice_of_text(bad[i].chain),
                                                    slice_of_text(bad[i].key), explain),
                         bad[i].err);
        assert_true(strlen(explain) > 10);
    }
    assert_int_equal(tls_server_set_client_roots(required, slice_of_text(damaged), explain),
                     ERR_SYNTAX);
    assert_int_equal(tls_server_set_client_roots(required, SLICE_LITERAL(""), explain), ERR_SYNTAX);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
}

static atomic_bool reloading;

static void *reload(void *arg)
{
    char explain[256];
    (void)arg;
    for (int i = 0; atomic_load(&reloading); i++) {
        const struct party *p = i % 3 == 0 ? &server_ec : i % 3 == 1 ? &server_ec2 : &server_rsa;
        install(required, p);
        if (i % 2 == 0)
            assert_int_equal(
                tls_server_set_client_roots(required, slice_of_text(ca.certificate_pem), explain),
                ERR_NONE);
    }
    return NULL;
}

static void test_reload_while_clients_come(void **state)
{
    pthread_t thread;
    (void)state;
    atomic_store(&reloading, true);
    assert_int_equal(pthread_create(&thread, NULL, reload, NULL), 0);
    for (int i = 0; i < 40; i++)
        assert_true(
            is_let_in(i % 2 == 0 ? &client : &client2, versions[i / 2 % 2], TLS_CLIENT_REQUIRED));
    atomic_store(&reloading, false);
    pthread_join(thread, NULL);
}

/* Half a record, half a ClientHello, nothing at all: one deadline from accept. */
static void test_stalled_handshakes_are_cut(void **state)
{
    static const char *const starts[] = {"", "\x16",
                                         "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"};
    unsigned port = http_listener_port(listeners[TLS_CLIENT_REQUIRED]);
    int fds[ARRAY_LEN(starts)];
    int64_t begun = clock_monotonic_ms();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        fds[i] = connect_tcp(port);
        send_bytes(fds[i], starts[i], i == 2 ? 11 : i);
    }
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        assert_true(wait_for_close(fds[i]));
        close(fds[i]);
    }
    assert_in_range((uint64_t)(clock_monotonic_ms() - begun), REQUEST_MS - 50, REQUEST_MS + 1000);
    /* Half a record behind a handshake that went well. */
    struct peer c;
    assert_true(connect_as(&c, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_int_equal(ask_status(&c, "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    send_bytes(c.fd, "\x17\x03\x03\x00\x40half", 9);
    assert_true(wait_for_close(c.fd));
    disconnect(&c);
    struct tls_counters t;
    tls_server_counters(required, &t);
    assert_int_equal(t.failed, 3);
    assert_int_equal(counters(TLS_CLIENT_REQUIRED).timed_out, 3);
}

static void test_garbage_instead_of_tls(void **state)
{
    (void)state;
    int fd = connect_tcp(http_listener_port(listeners[TLS_CLIENT_REQUIRED]));
    send_text(fd, "GET / HTTP/1.1\r\n" H "\r\n");
    assert_true(wait_for_close(fd));
    close(fd);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
}

static void test_caps_per_address(void **state)
{
    unsigned port = http_listener_port(listeners[TLS_CLIENT_NONE]);
    int fds[PER_ADDRESS + 5];
    (void)state;
    for (size_t i = 0; i < PER_ADDRESS; i++)
        fds[i] = connect_tcp(port);
    WAIT_FOR(counters(TLS_CLIENT_NONE).open == PER_ADDRESS);
    int64_t begun = clock_monotonic_ms();
    for (size_t i = PER_ADDRESS; i < PER_ADDRESS + 5; i++) {
        fds[i] = connect_tcp(port);
        assert_true(wait_for_close(fds[i]));
    }
    assert_true(clock_monotonic_ms() - begun < REQUEST_MS); /* at once, not by the deadline */
    assert_int_equal(counters(TLS_CLIENT_NONE).refused_address, 5);
    /* Another address has room, and another listener has a count of its own. */
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(other, (const struct sockaddr *)&in, sizeof in), 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(other, (const struct sockaddr *)&in, sizeof in), 0);
    WAIT_FOR(counters(TLS_CLIENT_NONE).open == PER_ADDRESS + 1);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    close(other);
    for (size_t i = 0; i < PER_ADDRESS + 5; i++)
        close(fds[i]);
    WAIT_FOR(counters(TLS_CLIENT_NONE).open == 0);
    assert_true(is_let_in(NULL, TLS1_3_VERSION, TLS_CLIENT_NONE));
}

static void test_many_requests_on_many_connections(void **state)
{
    struct peer c[8];
    char *body = malloc(BODY_MAX);
    char head[128];
    (void)state;
    assert_non_null(body);
    memset(body, 'y', BODY_MAX);
    for (int i = 0; i < 8; i++)
        assert_true(connect_as(&c[i], &client, versions[i % 2], TLS_CLIENT_REQUIRED));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++) {
            size_t len = (size_t)(round * 8 + i) * 250;
            (void)snprintf(head, sizeof head,
                           "POST /echo HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n", len);
            say(&c[i], head);
            if (len > 0)
                assert_int_equal(SSL_write(c[i].ssl, body, (int)len), len);
        }
        for (int i = 0; i < 8; i++) {
            struct answer a = read_answer_by(receive_tls, &c[i], false);
            assert_int_equal(a.status, 200);
            assert_int_equal(a.body_len, (size_t)(round * 8 + i) * 250);
            assert_memory_equal(a.body, body, a.body_len);
            answer_free(&a);
        }
    }
    struct answer a = ask(&c[0], "GET /big HTTP/1.1\r\n" H "\r\n");
    assert_int_equal(a.body_len, BIG_BODY);
    assert_int_equal(a.len, (size_t)(a.body - a.text) + BIG_BODY);
    answer_free(&a);
    say(&c[1], "POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    a = read_answer_by(receive_tls, &c[1], false);
    assert_int_equal(a.status, 100);
    answer_free(&a);
    assert_int_equal(ask_status(&c[1], "ab"), 200);
    for (int i = 0; i < 8; i++)
        disconnect(&c[i]);
    free(body);
}

/* "Connection: close" ends with a close_notify, so that the client can tell it from a cut. */
static void test_orderly_close(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct peer c;
        char byte;
        assert_true(connect_as(&c, &client, versions[v], TLS_CLIENT_REQUIRED));
        assert_int_equal(ask_status(&c, "GET /close HTTP/1.1\r\n" H "\r\n"), 200);
        assert_int_equal(SSL_get_error(c.ssl, SSL_read(c.ssl, &byte, 1)), SSL_ERROR_ZERO_RETURN);
        disconnect(&c);
    }
}

static void test_clients_leave_at_any_point(void **state)
{
    static const char *const starts[] = {
        "", "GET /keep HTTP/1.1\r\n" H "\r\n", "GET /big HTTP/1.1\r\n" H "\r\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab",
        "GET /keep HTTP/1.1\r\n" H "\r\nGET /big HTTP/1.1\r\n" H "\r\n"};
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    size_t kept = 0;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        for (int how = 0; how < 4; how++) {
            struct peer c;
            assert_true(connect_as(&c, &client, versions[how % 2], TLS_CLIENT_REQUIRED));
            say(&c, starts[i]);
            kept += strstr(starts[i], "/keep") != NULL;
            WAIT_FOR(atomic_load(&fixture.kept_len) >= kept);
            if (how >= 2)
                (void)setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            else
                (void)SSL_shutdown(c.ssl);
            disconnect(&c);
        }
    }
    answer_all_kept();
    WAIT_FOR(counters(TLS_CLIENT_REQUIRED).open == 0);
    assert_true(is_let_in(&client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
}

static atomic_long closed;

static void on_closed(void *ctx, size_t n)
{
    (void)ctx;
    atomic_store(&closed, (long)n + 1);
}

static void test_labelled_connections_end_on_every_loop(void **state)
{
    struct peer c[10];
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(connect_as(&c[i], &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
        assert_int_equal(ask_status(&c[i], i < 9 ? "GET /label?t/x HTTP/1.1\r\n" H "\r\n"
                                                 : "GET /label?t/y HTTP/1.1\r\n" H "\r\n"),
                         204);
    }
    http_server_close_labelled(fixture.server, "t/x", on_closed, NULL);
    WAIT_FOR(atomic_load(&closed) == 10);
    for (int i = 0; i < 9; i++)
        assert_true(wait_for_close(c[i].fd));
    assert_int_equal(ask_status(&c[9], "GET / HTTP/1.1\r\n" H "\r\n"), 404);
    for (int i = 0; i < 10; i++)
        disconnect(&c[i]);
}

static void on_drained(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&fixture.drained, 1);
}

static void test_drain_closes_unused_connections(void **state)
{
    struct peer unused;
    struct peer busy;
    (void)state;
    assert_true(connect_as(&unused, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    assert_true(connect_as(&busy, &client, TLS1_3_VERSION, TLS_CLIENT_REQUIRED));
    say(&busy, "GET /keep HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    sleep_ms(20);
    http_server_drain(fixture.server, 3000, on_drained, NULL);
    assert_true(wait_for_close(unused.fd));
    WAIT_FOR(counters(TLS_CLIENT_REQUIRED).open == 1);
    /* Nobody accepts any more. */
    struct sockaddr_in in = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_listener_port(listeners[TLS_CLIENT_REQUIRED])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int error = 0;
    for (int i = 0; i < 100 && error != ECONNREFUSED; i++) { /* each loop stops by itself */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        error = connect(fd, (const struct sockaddr *)&in, sizeof in) != 0 ? errno : 0;
        close(fd);
        sleep_ms(5);
    }
    assert_int_equal(error, ECONNREFUSED);
    answer_all_kept();
    struct answer a = read_answer_by(receive_tls, &busy, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    WAIT_FOR(atomic_load(&fixture.drained) == 1);
    disconnect(&unused);
    disconnect(&busy);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {
        "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",   "127.0.0.1:65536", ":443",          "::1:443",
        "[::1:443",  "[]:443",     "localhost:443", "127.0.0.1:443 ",  "127.0.0.1:+443"};
    struct http_listener *l = NULL;
    char taken[64];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_listener_options options = fixture_options(bad[i], none);
        assert_int_equal(http_server_listen(fixture.server, &options, &l), ERR_SYNTAX);
    }
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u",
                   http_listener_port(listeners[TLS_CLIENT_NONE]));
    struct http_listener_options options = fixture_options(taken, none);
    assert_int_equal(http_server_listen(fixture.server, &options, &l), ERR_IO);
    assert_int_equal(errno, EADDRINUSE);
    assert_true(is_let_in(NULL, TLS1_3_VERSION, TLS_CLIENT_NONE));
}

static struct http_listener *dual;

static int set_up_dual(void **state)
{
    (void)state;
    fixture_new();
    none = make_tls("dual", TLS_CLIENT_NONE);
    struct http_listener_options options = fixture_options("[::]:0", none);
    if (http_server_listen(fixture.server, &options, &dual) != ERR_NONE)
        dual = NULL; /* no IPv6 on this machine */
    fixture_start();
    return 0;
}

static int tear_down_dual(void **state)
{
    (void)state;
    fixture_free();
    tls_server_free(none);
    return 0;
}

static void test_dual_stack(void **state)
{
    struct peer c;
    (void)state;
    if (dual == NULL)
        skip();
    SSL_CTX *ctx = client_context(NULL, TLS1_3_VERSION);
    assert_true(connect_with(&c, ctx, NULL, http_listener_port(dual)));
    say(&c, "GET /keep HTTP/1.1\r\n" H "\r\n");
    WAIT_FOR(atomic_load(&fixture.kept_len) == 1);
    assert_string_equal(http_request_address(fixture.kept[0].request), "127.0.0.1");
    answer_all_kept();
    struct answer a = read_answer_by(receive_tls, &c, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    disconnect(&c);
    SSL_CTX_free(ctx);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_peer_is_known),
        TEST(test_who_is_let_in),
        TEST(test_any_and_none_tell_who_it_is),
        TEST(test_expiry_of_a_remembered_chain),
        TEST(test_old_protocols_are_refused),
        TEST(test_resumption_keeps_the_peer),
        TEST(test_sessions_open_their_own_listener_only),
        TEST(test_new_roots_forget),
        TEST(test_certificate_reload),
        TEST(test_bad_certificates_change_nothing),
        TEST(test_reload_while_clients_come),
        TEST(test_stalled_handshakes_are_cut),
        TEST(test_garbage_instead_of_tls),
        TEST(test_caps_per_address),
        TEST(test_many_requests_on_many_connections),
        TEST(test_orderly_close),
        TEST(test_clients_leave_at_any_point),
        TEST(test_labelled_connections_end_on_every_loop),
        TEST(test_drain_closes_unused_connections),
        TEST(test_addresses),
        cmocka_unit_test_setup_teardown(test_dual_stack, set_up_dual, tear_down_dual),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_parties, free_parties);
}
