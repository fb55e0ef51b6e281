#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/port/posix/posix.h"
#include "tests/unit/openssl_crypto.h"
#include "tests/unit/temporary_folder.h"

#define NOW INT64_C(1800000000)
#define DAY INT64_C(86400)

static char folder[PATH_MAX];
static struct posix_port port;
static int wake[2];

static int set_up(void **state)
{
    (void)state;
    temporary_folder_make(folder);
    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/state", folder);
    assert_int_equal(pipe(wake), 0);
    const struct posix_options options = {.folder = path, .wake_fd = wake[0]};
    assert_int_equal(posix_port_open(&port, &options), ERR_NONE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    posix_port_close(&port);
    (void)close(wake[0]);
    (void)close(wake[1]);
    temporary_folder_remove(folder);
    return 0;
}

static void path_of(char path[128], const char *name)
{
    (void)snprintf(path, 128, "%s/state/%s", folder, name);
}

/* ---- keys and records ---- */

static EVP_PKEY *public_key(enum key_kind kind, struct slice key)
{
    uint8_t der[128];
    struct der_writer w = der_writer_over(der, sizeof der);
    spki_write(&w, kind, key);
    struct slice spki = der_writer_bytes(&w);
    const uint8_t *at = spki.data;
    return d2i_PUBKEY(NULL, &at, (long)spki.len);
}

static void test_keys(void **state)
{
    static const enum key_kind kinds[] = {KEY_P256, KEY_P384, KEY_ED25519};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        uint8_t key[97], signature[104];
        size_t key_len, signature_len;
        enum key_kind kind;
        struct slice message = SLICE_LITERAL("what is signed");
        assert_int_equal(port.port.key_generate(&port, PORT_KEY_B, kinds[i]), ERR_NONE);
        assert_int_equal(port.port.key_public(&port, PORT_KEY_B, &kind, key, sizeof key, &key_len),
                         ERR_NONE);
        assert_int_equal(kind, kinds[i]);
        assert_int_equal(port.port.key_sign(&port, PORT_KEY_B, message, signature, sizeof signature,
                                            &signature_len),
                         ERR_NONE);
        EVP_PKEY *pkey = public_key(kind, slice_of(key, key_len));
        assert_non_null(pkey);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        const EVP_MD *md = kind == KEY_P256 ? EVP_sha256() : kind == KEY_P384 ? EVP_sha384() : NULL;
        assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, md, NULL, pkey), 1);
        assert_int_equal(EVP_DigestVerify(ctx, signature, signature_len, message.data, message.len),
                         1);
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_free(pkey);
        /* the other slot is another's */
        assert_int_equal(port.port.key_public(&port, PORT_KEY_A, &kind, key, sizeof key, &key_len),
                         ERR_NOT_FOUND);
    }
    char path[128];
    struct stat st;
    path_of(path, "key-b");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(port.port.key_delete(&port, PORT_KEY_B), ERR_NONE);
    assert_int_equal(port.port.key_delete(&port, PORT_KEY_B), ERR_NONE);
    assert_int_not_equal(stat(path, &st), 0);
}

static void test_damaged_key(void **state)
{
    (void)state;
    uint8_t key[97];
    size_t len;
    enum key_kind kind;
    char path[128];
    path_of(path, "key-a");
    assert_int_equal(port.port.key_generate(&port, PORT_KEY_A, KEY_P256), ERR_NONE);
    assert_int_equal(truncate(path, 60), 0);
    assert_int_equal(port.port.key_public(&port, PORT_KEY_A, &kind, key, sizeof key, &len),
                     ERR_NOT_FOUND);
    assert_int_equal(truncate(path, 1000000), 0);
    assert_int_equal(port.port.key_public(&port, PORT_KEY_A, &kind, key, sizeof key, &len),
                     ERR_NOT_FOUND);
    assert_int_equal(port.port.key_generate(&port, PORT_KEY_MANUFACTURER, KEY_P256),
                     ERR_UNSUPPORTED);
}

static void test_records(void **state)
{
    (void)state;
    uint8_t bytes[8];
    size_t len;
    assert_int_equal(port.port.record_read(&port, "state-0", bytes, 8, &len), ERR_NOT_FOUND);
    assert_int_equal(port.port.record_replace(&port, "state-0", SLICE_LITERAL("12345678")),
                     ERR_NONE);
    assert_int_equal(port.port.record_read(&port, "state-0", bytes, 7, &len), ERR_LIMIT);
    assert_int_equal(port.port.record_replace(&port, "state-0", SLICE_LITERAL("abc")), ERR_NONE);
    assert_int_equal(port.port.record_read(&port, "state-0", bytes, 8, &len), ERR_NONE);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_int_equal(port.port.record_delete(&port, "state-0"), ERR_NONE);
    assert_int_equal(port.port.record_delete(&port, "state-0"), ERR_NONE);
    assert_int_equal(port.port.record_read(&port, "state-0", bytes, 8, &len), ERR_NOT_FOUND);
}

/* ---- TLS, against a server of its own ---- */

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
    uint8_t der[1024];
    struct slice root;
};

static X509 *make_certificate(EVP_PKEY *key, const char *name, const char *alternative,
                              const struct authority *by)
{
    X509 *c = X509_new();
    X509_NAME *subject = X509_NAME_new();
    X509V3_CTX ctx;
    assert_true(c != NULL && subject != NULL);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0),
        1);
    assert_int_equal(X509_set_version(c, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c), 1), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(c), NOW - DAY));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(c), NOW + DAY));
    assert_int_equal(X509_set_subject_name(c, subject), 1);
    assert_int_equal(
        X509_set_issuer_name(c, by == NULL ? subject : X509_get_subject_name(by->certificate)), 1);
    assert_int_equal(X509_set_pubkey(c, key), 1);
    X509V3_set_ctx(&ctx, by == NULL ? c : by->certificate, c, NULL, NULL, 0);
    X509_EXTENSION *extension =
        alternative != NULL
            ? X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, alternative)
            : X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints, "critical,CA:TRUE");
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(c, extension, -1), 1);
    X509_EXTENSION_free(extension);
    X509_NAME_free(subject);
    assert_true(X509_sign(c, by == NULL ? key : by->key, EVP_sha256()) > 0);
    return c;
}

static void make_authority(struct authority *a)
{
    a->key = EVP_EC_gen("P-256");
    a->certificate = make_certificate(a->key, "root", NULL, NULL);
    uint8_t *at = a->der;
    int len = i2d_X509(a->certificate, &at);
    assert_in_range(len, 1, sizeof a->der);
    a->root = slice_of(a->der, (size_t)len);
}

static void free_authority(struct authority *a)
{
    EVP_PKEY_free(a->key);
    X509_free(a->certificate);
}

enum manner { SAYS_HELLO, CUTS_OFF, KEEPS_SILENT };

struct server {
    SSL_CTX *ctx;
    int listener;
    uint16_t port;
    enum manner manner;
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    if (s->manner == KEEPS_SILENT) {
        char c;
        (void)recv(fd, &c, 1, MSG_WAITALL);
        while (recv(fd, &c, 1, 0) > 0)
            ;
        (void)close(fd);
        return NULL;
    }
    SSL *ssl = SSL_new(s->ctx);
    (void)SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        char text[16];
        if (SSL_read(ssl, text, sizeof text) > 0)
            (void)SSL_write(ssl, "hello", 5);
        if (s->manner == SAYS_HELLO)
            (void)SSL_shutdown(ssl);
    }
    (void)shutdown(fd, SHUT_WR);
    char rest[64];
    while (recv(fd, rest, sizeof rest, 0) > 0)
        ; /* so that nothing unread turns the end into a reset */
    SSL_free(ssl);
    (void)close(fd);
    return NULL;
}

static void start_server(struct server *s, const struct authority *a, const char *alternative,
                         bool wants_certificate)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(key, "server", alternative, a);
    s->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(s->ctx, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, key), 1);
    if (wants_certificate) {
        SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(s->ctx), NOW);
        assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(s->ctx), a->certificate), 1);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 4), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop_server(struct server *s)
{
    port.port.close(&port);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->listener);
    SSL_CTX_free(s->ctx);
}

static int64_t soon(int64_t ms)
{
    return port.port.monotonic_ms(&port) + ms;
}

static enum err talk(const struct port_tls *tls)
{
    uint8_t text[16];
    size_t len = 0;
    struct port_server server;
    enum err err = port.port.connect(&port, tls, &server);
    if (err == ERR_NONE)
        err = port.port.send(&port, SLICE_LITERAL("hi"), tls->deadline_ms);
    if (err == ERR_NONE)
        err = port.port.receive(&port, text, sizeof text, tls->deadline_ms, &len);
    if (err != ERR_NONE)
        return err;
    assert_int_equal(len, 5);
    assert_memory_equal(text, "hello", 5);
    return port.port.receive(&port, text, sizeof text, tls->deadline_ms, &len);
}

static void test_server_must_prove_itself(void **state)
{
    static const struct {
        const char *alternative, *host;
        int64_t time;
        bool other_root;
        enum err err;
    } cases[] = {
        {"DNS:localhost", "localhost", NOW, false, ERR_CLOSED}, /* the proper end */
        {"IP:127.0.0.1", "127.0.0.1", NOW, false, ERR_CLOSED},
        {"DNS:*.example,DNS:localhost", "localhost", NOW, false, ERR_CLOSED},
        {"DNS:localhost", "localhost", NOW, true, ERR_BAD_SIGNATURE},
        {"DNS:other", "localhost", NOW, false, ERR_BAD_SIGNATURE},
        {"DNS:localhost", "127.0.0.1", NOW, false, ERR_BAD_SIGNATURE},
        {"DNS:127.0.0.1", "127.0.0.1", NOW, false, ERR_BAD_SIGNATURE},
        {"IP:127.0.0.1", "localhost", NOW, false, ERR_BAD_SIGNATURE},
        {"URI:localhost", "localhost", NOW, false, ERR_BAD_SIGNATURE},
        {"DNS:localhost", "localhost", NOW + 2 * DAY, false, ERR_EXPIRED},
        {"DNS:localhost", "localhost", NOW - 2 * DAY, false, ERR_EXPIRED},
    };
    (void)state;
    struct authority own = {0}, other = {0};
    make_authority(&own);
    make_authority(&other);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server s = {0};
        start_server(&s, &own, cases[i].alternative, false);
        const struct port_tls tls = {.host = cases[i].host,
                                     .port = s.port,
                                     .roots = cases[i].other_root ? &other.root : &own.root,
                                     .roots_len = 1,
                                     .time = cases[i].time,
                                     .deadline_ms = soon(10000)};
        assert_int_equal(talk(&tls), cases[i].err);
        stop_server(&s);
    }
    /* and without roots nobody can */
    const struct port_tls none = {.host = "127.0.0.1", .port = 1, .deadline_ms = soon(1000)};
    struct port_server server;
    assert_int_not_equal(port.port.connect(&port, &none, &server), ERR_NONE);
    free_authority(&own);
    free_authority(&other);
}

static void test_client_authentication(void **state)
{
    (void)state;
    struct authority own = {0};
    make_authority(&own);
    struct port_tls tls = {.host = "127.0.0.1", .roots = &own.root, .roots_len = 1, .time = NOW};

    struct server s = {0};
    start_server(&s, &own, "IP:127.0.0.1", true);
    tls.port = s.port;
    tls.deadline_ms = soon(10000);
    assert_int_equal(talk(&tls), ERR_REFUSED);
    stop_server(&s);

    uint8_t key[97], chain[1024];
    size_t key_len;
    enum key_kind kind;
    assert_int_equal(port.port.key_generate(&port, PORT_KEY_A, KEY_P256), ERR_NONE);
    assert_int_equal(port.port.key_public(&port, PORT_KEY_A, &kind, key, sizeof key, &key_len),
                     ERR_NONE);
    EVP_PKEY *pkey = public_key(kind, slice_of(key, key_len));
    X509 *certificate = make_certificate(pkey, "device", "URI:spiffe://f/t/device/1", &own);
    uint8_t *at = chain;
    int len = i2d_X509(certificate, &at);
    assert_in_range(len, 1, sizeof chain);
    tls.chain = slice_of(chain, (size_t)len);
    s = (struct server){0};
    start_server(&s, &own, "IP:127.0.0.1", true);
    tls.port = s.port;
    tls.deadline_ms = soon(10000);
    assert_int_equal(talk(&tls), ERR_CLOSED);
    stop_server(&s);

    /* a certificate for another key never goes out */
    assert_int_equal(port.port.key_generate(&port, PORT_KEY_A, KEY_P256), ERR_NONE);
    s = (struct server){0};
    start_server(&s, &own, "IP:127.0.0.1", true);
    tls.port = s.port;
    struct port_server nobody;
    assert_int_equal(port.port.connect(&port, &tls, &nobody), ERR_CRYPTO);
    stop_server(&s);
    X509_free(certificate);
    EVP_PKEY_free(pkey);
    free_authority(&own);
}

static void test_ends_of_connections(void **state)
{
    static const struct {
        enum manner manner;
        bool woken;
        enum err err;
    } cases[] = {
        {CUTS_OFF, false, ERR_IO}, /* not the end that the other side meant */
        {KEEPS_SILENT, false, ERR_TIMEOUT},
        {KEEPS_SILENT, true, ERR_CLOSED},
    };
    (void)state;
    struct authority own = {0};
    make_authority(&own);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct server s = {.manner = cases[i].manner};
        start_server(&s, &own, "IP:127.0.0.1", false);
        if (cases[i].woken)
            assert_int_equal(write(wake[1], "", 1), 1);
        const struct port_tls tls = {.host = "127.0.0.1",
                                     .port = s.port,
                                     .roots = &own.root,
                                     .roots_len = 1,
                                     .time = NOW,
                                     .deadline_ms =
                                         soon(cases[i].manner == CUTS_OFF ? 10000 : 300)};
        assert_int_equal(talk(&tls), cases[i].err);
        stop_server(&s);
    }
    free_authority(&own);
}

static void test_certificate_files(void **state)
{
    (void)state;
    struct authority own = {0};
    uint8_t got[2048];
    size_t len;
    char path[128];
    make_authority(&own);
    path_of(path, "chain.pem");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, own.certificate), 1);
    assert_int_equal(PEM_write_X509(f, own.certificate), 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(posix_read_certificates(path, got, sizeof got, &len), ERR_NONE);
    assert_int_equal(len, 2 * own.root.len);
    assert_memory_equal(got, own.der, (int)own.root.len);
    assert_int_equal(posix_read_certificates(path, got, own.root.len, &len), ERR_LIMIT);

    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(own.der, 1, own.root.len, f), own.root.len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(posix_read_certificates(path, got, sizeof got, &len), ERR_NONE);
    assert_int_equal(len, own.root.len);

    assert_int_equal(truncate(path, 40), 0);
    assert_int_equal(posix_read_certificates(path, got, sizeof got, &len), ERR_SYNTAX);
    path_of(path, "none");
    assert_int_equal(posix_read_certificates(path, got, sizeof got, &len), ERR_NOT_FOUND);
    free_authority(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_server_must_prove_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_client_authentication, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_of_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_certificate_files, set_up, tear_down),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
