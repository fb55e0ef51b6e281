#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tls_fixture.h"

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
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, make_parties, free_parties);
}
