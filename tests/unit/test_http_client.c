#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http_client.h"

/* A server that follows a script: for each connection, what it answers to each request, in turn. */
#define SILENCE   "silence" /* instead of an answer: nothing, until the client leaves */
#define CUT       "cut"     /* instead of an answer: the connection ends without TLS's goodbye */
#define REPLY_MAX 4
#define EARLY     1 /* answers when the head has come, and closes */

struct connection {
    const char *replies[REPLY_MAX]; /* NULL: end the connection */
    int flags;
};

struct server {
    const struct connection *script;
    size_t connections;
    SSL_CTX *tls; /* or NULL */
    int listener;
    char unix_path[64];
    char port[8];
    pthread_t thread;
    _Atomic size_t accepted, ended;
    char last_request[8192];
};

static char folder[] = "/tmp/holdfast-client-XXXXXX";

static ssize_t server_read(SSL *ssl, int fd, char *bytes, size_t n)
{
    return ssl == NULL ? recv(fd, bytes, n, 0) : SSL_read(ssl, bytes, (int)n);
}

/* One request with its body; false at the end of the connection. */
static bool take_request(struct server *s, SSL *ssl, int fd, bool head_only)
{
    size_t len = 0, wanted = SIZE_MAX;
    while (len < wanted) {
        char bytes[16384];
        ssize_t n = server_read(ssl, fd, bytes, sizeof bytes);
        if (n <= 0)
            return false;
        for (ssize_t i = 0; i < n; i++)
            if (len + (size_t)i < sizeof s->last_request - 1)
                s->last_request[len + (size_t)i] = bytes[i];
        len += (size_t)n;
        s->last_request[len < sizeof s->last_request - 1 ? len : sizeof s->last_request - 1] = '\0';
        const char *end = strstr(s->last_request, "\r\n\r\n");
        const char *length = strstr(s->last_request, "Content-Length: ");
        if (end != NULL && wanted == SIZE_MAX)
            wanted = (size_t)(end - s->last_request) + 4 +
                     (length == NULL ? 0 : strtoul(length + 16, NULL, 10));
        if (end != NULL && head_only)
            return true;
    }
    return true;
}

static void serve(struct server *s, const struct connection *c, int fd)
{
    SSL *ssl = NULL;
    char byte;
    if (s->tls != NULL) {
        ssl = SSL_new(s->tls);
        (void)SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) != 1) {
            SSL_free(ssl);
            return;
        }
    }
    bool polite = true;
    for (size_t i = 0; i < REPLY_MAX && c->replies[i] != NULL; i++) {
        const char *reply = c->replies[i];
        if (!take_request(s, ssl, fd, c->flags & EARLY))
            break;
        if (strcmp(reply, CUT) == 0) {
            polite = false;
            break;
        }
        if (strcmp(reply, SILENCE) == 0) {
            while (server_read(ssl, fd, &byte, 1) > 0)
                ;
            break;
        }
        if (ssl == NULL)
            (void)send(fd, reply, strlen(reply), MSG_NOSIGNAL);
        else
            (void)SSL_write(ssl, reply, (int)strlen(reply));
        polite = strstr(reply, "cut off") == NULL;
    }
    if (ssl != NULL && polite)
        (void)SSL_shutdown(ssl);
    SSL_free(ssl);
}

static void *run_server(void *server)
{
    struct server *s = server;
    for (size_t i = 0; i < s->connections; i++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            break;
        s->accepted++;
        serve(s, &s->script[i], fd);
        (void)close(fd);
        s->ended++;
    }
    return NULL;
}

static void start(struct server *s, const struct connection *script, size_t n, SSL_CTX *tls)
{
    memset(s, 0, sizeof *s);
    s->script = script;
    s->connections = n;
    s->tls = tls;
    s->listener = socket(tls == NULL ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (tls == NULL) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        (void)snprintf(s->unix_path, sizeof s->unix_path, "%s/socket", folder);
        memcpy(at.sun_path, s->unix_path, sizeof s->unix_path);
        (void)unlink(s->unix_path);
        assert_int_equal(bind(s->listener, (const struct sockaddr *)&at, sizeof at), 0);
    } else {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        assert_int_equal(bind(s->listener, (const struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
        (void)snprintf(s->port, sizeof s->port, "%u", ntohs(at.sin_port));
    }
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static void stop(struct server *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->listener);
    (void)unlink(s->unix_path);
}

static char explain[256];
static unsigned status;
static struct slice body;

static struct http_client *unix_client(const struct server *s, int64_t timeout_ms)
{
    struct http_client *c = NULL;
    const struct http_client_options options = {
        .unix_path = s->unix_path, .timeout_ms = timeout_ms, .response_max = 1000};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    return c;
}

static enum err get(struct http_client *c)
{
    return http_client_request(c, "GET", "/v1/x", NULL, slice_of(NULL, 0), &status, &body, explain);
}

static enum err post(struct http_client *c, struct slice content)
{
    return http_client_request(c, "POST", "/v1/x", "application/json", content, &status, &body,
                               explain);
}

#define OK    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define AGAIN "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nagain"
#define LAST  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast"

#define START(s, script, tls) start(s, script, ARRAY_LEN(script), tls)

static void check_reply(unsigned expected_status, const char *expected_body)
{
    assert_int_equal(status, expected_status);
    assert_true(slice_equal(body, slice_of_text(expected_body)));
}

static void keeps_a_connection(void **state)
{
    (void)state;
    static const struct connection script[] = {{.replies = {OK, AGAIN, LAST}}, {.replies = {OK}}};
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "ok");
    assert_string_equal(s.last_request, "GET /v1/x HTTP/1.1\r\nHost: localhost\r\n"
                                        "User-Agent: holdfast\r\nAccept: */*\r\n\r\n");
    assert_int_equal(post(c, SLICE_LITERAL("{}")), ERR_NONE);
    check_reply(201, "again");
    assert_non_null(strstr(s.last_request, "Content-Type: application/json\r\n"
                                           "Content-Length: 2\r\n\r\n{}"));
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "last");
    assert_int_equal(s.accepted, 1);
    assert_int_equal(get(c), ERR_NONE);
    assert_int_equal(s.accepted, 2);
    http_client_free(c);
    http_client_free(NULL);
    stop(&s);
}

static void reconnects_once(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {OK}},         /* closed while idle */
        {.replies = {AGAIN, CUT}}, /* closed when the next request is there */
        {.replies = {OK, CUT}},    /* the same, but that request must not be repeated */
        {.replies = {CUT}},        /* a fresh one that ends is not tried again */
        {.replies = {OK}},
    };
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "ok");
    /* a POST on its way when the connection ends could not be repeated */
    for (int i = 0; i < 5000 && s.ended == 0; i++)
        (void)usleep(1000);
    assert_int_equal(post(c, SLICE_LITERAL("x")), ERR_NONE);
    check_reply(201, "again");
    assert_int_equal(s.accepted, 2);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "ok");
    assert_int_equal(s.accepted, 3);
    status = 0;
    assert_int_equal(post(c, SLICE_LITERAL("x")), ERR_CLOSED);
    assert_non_null(strstr(explain, "may or may not have been carried out"));
    assert_int_equal(status, 0);
    assert_int_equal(get(c), ERR_CLOSED);
    assert_int_equal(get(c), ERR_NONE);
    assert_int_equal(s.accepted, 5);
    http_client_free(c);
    stop(&s);
}

static void refuses_bad_answers(void **state)
{
    (void)state;
#define HEAD "HTTP/1.1 200 OK\r\n"
    static const struct {
        const char *reply;
        enum err err;
        const char *explain;
    } cases[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", ERR_SYNTAX, "does not speak HTTP"},
        {HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", ERR_SYNTAX, "does not speak"},
        {HEAD "Content-Length: 100000\r\n\r\n", ERR_LIMIT, "larger than 1000 bytes"},
        {HEAD "Content-Length: 10\r\n\r\nshort", ERR_CLOSED, "ended the connection"},
        {"HTTP/1.1 20", ERR_CLOSED, "ended the connection"},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", ERR_CLOSED, "ended the connection"},
        {SILENCE, ERR_TIMEOUT, "did not answer within 100 ms"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct connection script[] = {{.replies = {cases[i].reply}}, {.replies = {OK}}};
        struct server s;
        START(&s, script, NULL);
        struct http_client *c = unix_client(&s, 100);
        status = 0;
        assert_int_equal(get(c), cases[i].err);
        if (strstr(explain, cases[i].explain) == NULL)
            fail_msg("'%s' is not in '%s'", cases[i].explain, explain);
        assert_int_equal(status, 0);
        assert_int_equal(get(c), ERR_NONE); /* the client is still good */
        http_client_free(c);
        stop(&s);
    }
}

static void keeps_its_limit(void **state)
{
    (void)state;
    char fits[1200], beyond[1200];
    const struct connection script[] = {{.replies = {fits, beyond}}};
    int n = snprintf(fits, sizeof fits, HEAD "Content-Length: 1000\r\n\r\n%01000d", 7);
    assert_in_range(n, 1000, sizeof fits - 1);
    n = snprintf(beyond, sizeof beyond, HEAD "Content-Length: 1001\r\n\r\n%01001d", 7);
    assert_in_range(n, 1001, sizeof beyond - 1);
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    assert_int_equal(body.len, 1000);
    assert_int_equal(get(c), ERR_LIMIT);
    http_client_free(c);
    stop(&s);
}

static void reads_every_framing(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                     "HTTP/1.1 204 No Content\r\n\r\n", HEAD "\r\nuntil the end"}},
    };
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "abcde");
    assert_int_equal(get(c), ERR_NONE);
    check_reply(204, "");
    assert_int_equal(get(c), ERR_NONE);
    check_reply(200, "until the end");
    http_client_free(c);
    stop(&s);
}

static void hears_an_early_refusal(void **state)
{
    (void)state;
    static const struct connection script[] = {
        {.replies = {"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n"
                     "Connection: close\r\n\r\nmuch"},
         .flags = EARLY},
    };
    static uint8_t content[8 << 20];
    struct server s;
    START(&s, script, NULL);
    struct http_client *c = unix_client(&s, 5000);
    memset(content, 'x', sizeof content);
    assert_int_equal(post(c, slice_of(content, sizeof content)), ERR_NONE);
    check_reply(413, "much");
    http_client_free(c);
    stop(&s);
}

static void explains_what_is_wrong(void **state)
{
    (void)state;
    struct http_client *c = NULL;
    char missing[96], expected[256];
    (void)snprintf(missing, sizeof missing, "%s/none", folder);
    struct http_client_options options = {
        .unix_path = missing, .timeout_ms = 1000, .response_max = 100};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_NONE);
    assert_int_equal(get(c), ERR_IO);
    (void)snprintf(expected, sizeof expected, "cannot reach the hub at %s: is it running?",
                   missing);
    assert_string_equal(explain, expected);
    assert_int_equal(
        http_client_request(c, "GET", "/a b", NULL, slice_of(NULL, 0), &status, &body, explain),
        ERR_SYNTAX);
    assert_int_equal(http_client_request(c, "GET", "/\r\nX: y", NULL, slice_of(NULL, 0), &status,
                                         &body, explain),
                     ERR_SYNTAX);
    http_client_free(c);

    c = NULL;
    options = (struct http_client_options){.host = "localhost", .timeout_ms = 1000};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_SYNTAX); /* no port */
    options.port = "1";
    options.roots_path = missing;
    assert_int_equal(http_client_new(&options, &c, explain), ERR_IO);
    assert_non_null(strstr(explain, "holds no certificate in PEM"));
    options = (struct http_client_options){.unix_path = missing, .response_max = SIZE_MAX};
    assert_int_equal(http_client_new(&options, &c, explain), ERR_LIMIT);
    assert_null(c);
}

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
        cmocka_unit_test(keeps_a_connection),
        cmocka_unit_test(reconnects_once),
        cmocka_unit_test(refuses_bad_answers),
        cmocka_unit_test(keeps_its_limit),
        cmocka_unit_test(reads_every_framing),
        cmocka_unit_test(hears_an_early_refusal),
        cmocka_unit_test(explains_what_is_wrong),
        cmocka_unit_test(speaks_tls),
        cmocka_unit_test(refuses_servers_it_cannot_trust),
        cmocka_unit_test(refuses_old_tls),
        cmocka_unit_test(gives_up_on_a_silent_handshake),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
