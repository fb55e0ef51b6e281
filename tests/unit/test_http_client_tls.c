#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "tests/unit/scripted_server.h"

/* A certificate for `name` signed by `issuer`, or by itself. */
static X509 *make_certificate(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *names,
                              long seconds)
{
    X509 *x = X509_new();
    X509V3_CTX ctx;
    X509_NAME *subject = X509_get_subject_name(x);
    X509V3_set_ctx(&ctx, issuer == NULL ? x : issuer, x, NULL, NULL, 0);
    assert_int_equal(X509_set_version(x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 17), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const uint8_t *)(issuer == NULL ? "root" : "hub"),
                                                -1, -1, 0),
                     1);
    assert_int_equal(
        X509_set_issuer_name(x, issuer == NULL ? subject : X509_get_subject_name(issuer)), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -86400));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), seconds));
    assert_int_equal(X509_set_pubkey(x, key), 1);
    X509_EXTENSION *extension =
        names == NULL ? X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints, "critical,CA:TRUE")
                      : X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, names);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return x;
}

struct authority {
    EVP_PKEY *key;
    X509 *root;
    char path[64];
};

static void authority_make(struct authority *a, const char *name)
{
    a->key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    a->root = make_certificate(a->key, NULL, a->key, NULL, 86400);
    (void)snprintf(a->path, sizeof a->path, "%s/%s.pem", folder, name);
    FILE *f = fopen(a->path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, a->root), 1);
    assert_int_equal(fclose(f), 0);
}

static void authority_free(struct authority *a)
{
    EVP_PKEY_free(a->key);
    X509_free(a->root);
    (void)unlink(a->path);
}

static SSL_CTX *server_context(const struct authority *a, const char *names, long seconds)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x = make_certificate(key, a->root, a->key, names, seconds);
    assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
    return ctx;
}

static struct authority ours, theirs;

static enum err get_over_tls(const struct server *s, const char *host, const char *roots,
                             unsigned times)
{
    struct http_client *c = NULL;
    const struct http_client_options options = {.host = host,
                                                .port = s->port,
                                                .roots_path = roots,
                                                .bearer = "t0ken",
                                                .timeout_ms = 3000,
                                                .response_max = 1000};
    char copy[1000];
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    enum err err = ERR_NONE;
    while (times-- > 0 && err == ERR_NONE)
        err = get(c);
    if (err == ERR_NONE) {
        memcpy(copy, body.data, body.len);
        assert_memory_equal(copy, "ok", 2);
    }
    http_client_free(c);
    return err;
}

static void speaks_tls(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {OK, OK}},  /* closed properly while idle */
        {.replies = {OK, CUT}}, /* cut off with a request on its way */
        {.replies = {OK, OK}},
        {.replies = {HEAD "\r\ncut off"}}, /* what ends with the connection needs TLS's goodbye */
        {.replies = {HEAD "\r\nok"}},
    };
    struct server s;
    char host[64];
    SSL_CTX *tls = server_context(&ours, "DNS:localhost,IP:127.0.0.1", 86400);
    START(&s, script, tls);
    assert_int_equal(get_over_tls(&s, "localhost", ours.path, 5), ERR_NONE);
    (void)snprintf(host, sizeof host, "Host: localhost:%s\r\n", s.port);
    assert_non_null(strstr(s.last_request, host));
    assert_non_null(strstr(s.last_request, "Authorization: Bearer t0ken\r\n"));
    assert_int_equal(s.accepted, 3);
    assert_int_equal(get_over_tls(&s, "127.0.0.1", ours.path, 1), ERR_CLOSED);
    assert_int_equal(get_over_tls(&s, "127.0.0.1", ours.path, 1), ERR_NONE);
    stop(&s);
    SSL_CTX_free(tls);
}

static void refuses_servers_it_cannot_trust(void **state)
{
    (void)state;
    static const struct {
        const char *names, *host;
        long seconds;
        bool foreign;
        const char *explain;
    } cases[] = {
        {"DNS:localhost", "localhost", 86400, true, "certificate signature failure"},
        {"DNS:elsewhere", "localhost", 86400, false, "hostname mismatch"},
        {"DNS:localhost", "127.0.0.1", 86400, false, "IP address mismatch"},
        {"IP:127.0.0.2", "127.0.0.1", 86400, false, "IP address mismatch"},
        {"DNS:l*", "localhost", 86400, false, "hostname mismatch"},
        {"DNS:localhost", "localhost", -3600, false, "certificate has expired"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const struct connection script[] = {{.replies = {OK}}};
        struct server s;
        SSL_CTX *tls = server_context(&ours, cases[i].names, cases[i].seconds);
        START(&s, script, tls);
        assert_int_equal(
            get_over_tls(&s, cases[i].host, cases[i].foreign ? theirs.path : ours.path, 1),
            ERR_BAD_SIGNATURE);
        if (strstr(explain, cases[i].explain) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].explain, explain);
        stop(&s);
        assert_string_equal(s.last_request, ""); /* no byte of the request, no token */
        SSL_CTX_free(tls);
    }
}

static void refuses_old_tls(void **state)
{
    (void)state;
    static const struct connection script[] = {{.replies = {OK}}};
    struct server s;
    SSL_CTX *tls = server_context(&ours, "DNS:localhost", 86400);
    SSL_CTX_set_security_level(tls, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(tls, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(tls, TLS1_1_VERSION), 1);
    START(&s, script, tls);
    assert_int_equal(get_over_tls(&s, "localhost", ours.path, 1), ERR_IO);
    assert_non_null(strstr(explain, "does not complete the TLS handshake"));
    stop(&s);
    SSL_CTX_free(tls);
}

/* A client's certificate and its key in files; made here, by `by`. */
static void write_identity(const struct authority *by, char certificate[128], char key[128])
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x = make_certificate(pkey, by->root, by->key, "DNS:client", 86400);
    (void)snprintf(certificate, 128, "%s/client.pem", folder);
    (void)snprintf(key, 128, "%s/client.key", folder);
    FILE *f = fopen(certificate, "w");
    assert_int_equal(PEM_write_X509(f, x), 1);
    assert_int_equal(fclose(f), 0);
    f = fopen(key, "w");
    assert_int_equal(PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(x);
    EVP_PKEY_free(pkey);
}

static void shows_its_certificate(void **state)
{
    (void)state;
    static const struct connection script[] = {{.replies = {OK}}, {.replies = {OK}}};
    struct server s;
    struct http_client *c = NULL;
    char certificate[128], key[128];
    write_identity(&ours, certificate, key);
    SSL_CTX *tls = server_context(&ours, "DNS:localhost", 86400);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(tls, ours.path), 1);
    START(&s, script, tls);
    struct http_client_options options = {.host = "localhost",
                                          .port = s.port,
                                          .roots_path = ours.path,
                                          .certificate_path = certificate,
                                          .key_path = key,
                                          .timeout_ms = 3000,
                                          .response_max = 1000};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    assert_int_equal(get(c), ERR_NONE);
    http_client_free(c);
    assert_int_not_equal(get_over_tls(&s, "localhost", ours.path, 1), ERR_NONE); /* without one */
    stop(&s);
    SSL_CTX_free(tls);
    options.key_path = ours.path; /* no key at all */
    assert_int_equal(http_client_new(&options, &c, explain), ERR_IO);
    assert_non_null(strstr(explain, "client.pem does not belong to the key file"));
    options.certificate_path = key;
    assert_int_equal(http_client_new(&options, &c, explain), ERR_IO);
    assert_non_null(strstr(explain, "client.key holds no certificate"));
    (void)unlink(certificate);
    (void)unlink(key);
}

/* Whoever waits can be told to stop, from another thread. */
static void is_cancelled(void **state)
{
    (void)state;
    struct http_client *c = NULL;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    char port[8];
    int fd = socket(AF_INET, SOCK_STREAM, 0), pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
    const struct http_client_options options = {.host = "127.0.0.1",
                                                .port = port,
                                                .roots_path = ours.path,
                                                .timeout_ms = 600000,
                                                .response_max = 10,
                                                .cancel_fd = pipes[0]};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    assert_int_not_equal(get(c), ERR_NONE); /* else this test runs into its own time limit */
    http_client_free(c);
    (void)close(fd);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

static void gives_up_on_a_silent_handshake(void **state)
{
    (void)state;
    struct http_client *c = NULL;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    char port[8];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0); /* and nobody accepts */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(port, sizeof port, "%u", ntohs(at.sin_port));
    const struct http_client_options options = {.host = "127.0.0.1",
                                                .port = port,
                                                .roots_path = ours.path,
                                                .timeout_ms = 80,
                                                .response_max = 10};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    int64_t start_ms = clock_monotonic_ms();
    assert_int_equal(get(c), ERR_TIMEOUT);
    assert_in_range(clock_monotonic_ms() - start_ms, 79, 5000);
    http_client_free(c);
    (void)close(fd);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    authority_make(&ours, "ours");
    authority_make(&theirs, "theirs");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    authority_free(&ours);
    authority_free(&theirs);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_tls),
        cmocka_unit_test(refuses_servers_it_cannot_trust),
        cmocka_unit_test(refuses_old_tls),
        cmocka_unit_test(gives_up_on_a_silent_handshake),
        cmocka_unit_test(shows_its_certificate),
        cmocka_unit_test(is_cancelled),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
