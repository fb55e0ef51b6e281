/* An owner's own root signs the issuing CA: what is taken, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "pki/ca.h"
#include "tests/unit/temporary_folder.h"

#define FLEET "acme.example"
#define DAY   86400

struct fixture {
    char folder[PATH_MAX], state[PATH_MAX + 8], file[PATH_MAX + 16], explain[256];
    EVP_PKEY *issuing_key, *root_key, *middle_key;
};

static const char *path_of(const struct fixture *f, const char *name)
{
    static char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", f->state, name);
    return path;
}

static int set_up(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    temporary_folder_make(f.folder);
    (void)snprintf(f.state, sizeof f.state, "%s/state", f.folder);
    (void)snprintf(f.file, sizeof f.file, "%s/chain.pem", f.folder);
    const char *user = geteuid() == 0 ? "nobody" : NULL;
    if (ca_init(f.state, FLEET, user, f.explain) != ERR_NONE)
        fail_msg("%s", f.explain);
    assert_int_equal(ca_key_read(path_of(&f, "signer/issuing.key"), &f.issuing_key), ERR_NONE);
    f.root_key = EVP_EC_gen("P-384");
    f.middle_key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    const struct fixture *f = *state;
    EVP_PKEY_free(f->issuing_key);
    EVP_PKEY_free(f->root_key);
    EVP_PKEY_free(f->middle_key);
    temporary_folder_remove(f->folder);
    return 0;
}

/* One certificate of an owner's CA. What is not said stays as it is in a good one. */
struct made {
    const char *cn;
    EVP_PKEY *key;
    const char *constraints, *usage, *extended_usage; /* "": left out */
    int64_t from, to;                                 /* seconds from now */
    const EVP_MD *md;
    bool no_identifier;
};

static void add(X509 *c, X509V3_CTX *ctx, int nid, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(c, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make(const struct made *m, X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *c = X509_new();
    static long serial = 100;
    assert_int_equal(X509_set_version(c, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8,
                                                (const uint8_t *)m->cn, -1, -1, 0),
                     1);
    if (issuer == NULL)
        issuer = c;
    assert_int_equal(X509_set_issuer_name(c, X509_get_subject_name(issuer)), 1);
    int64_t now = clock_seconds();
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(now + m->from));
    ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(now + m->to));
    assert_int_equal(X509_set1_notBefore(c, from), 1);
    assert_int_equal(X509_set1_notAfter(c, to), 1);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    assert_int_equal(X509_set_pubkey(c, m->key), 1);
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
    add(c, &ctx, NID_basic_constraints, m->constraints);
    add(c, &ctx, NID_key_usage, m->usage);
    add(c, &ctx, NID_ext_key_usage, m->extended_usage);
    if (!m->no_identifier)
        add(c, &ctx, NID_subject_key_identifier, "hash");
    if (issuer != c)
        add(c, &ctx, NID_authority_key_identifier, "keyid:always");
    assert_true(X509_sign(c, issuer_key, m->md) > 0);
    return c;
}

static struct made good_root(const struct fixture *f)
{
    return (struct made){.cn = "Owner root",
                         .key = f->root_key,
                         .constraints = "critical,CA:TRUE",
                         .usage = "critical,keyCertSign,cRLSign",
                         .from = -DAY,
                         .to = 3650L * DAY,
                         .md = EVP_sha384()};
}

static struct made good_middle(const struct fixture *f)
{
    return (struct made){.cn = "Owner devices",
                         .key = f->middle_key,
                         .constraints = "critical,CA:TRUE,pathlen:1",
                         .usage = "critical,keyCertSign,cRLSign",
                         .from = -DAY,
                         .to = 2000L * DAY,
                         .md = EVP_sha384()};
}

static struct made good_issuing(const struct fixture *f)
{
    return (struct made){.cn = FLEET " issuing",
                         .key = f->issuing_key,
                         .constraints = "critical,CA:TRUE,pathlen:0",
                         .usage = "critical,digitalSignature,keyCertSign,cRLSign",
                         .from = -DAY,
                         .to = 1000L * DAY,
                         .md = EVP_sha256()};
}

static void write_chain(const struct fixture *f, X509 *const *chain, size_t n)
{
    FILE *file = fopen(f->file, "w");
    assert_non_null(file);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(PEM_write_X509(file, chain[i]), 1);
    assert_int_equal(fclose(file), 0);
}

/* Writes, installs, frees. */
static enum err install(struct fixture *f, X509 **chain, size_t n)
{
    write_chain(f, chain, n);
    for (size_t i = 0; i < n; i++)
        X509_free(chain[i]);
    f->explain[0] = '\0';
    enum err err = ca_install(f->state, f->file, f->explain);
    assert_true((err == ERR_NONE) == (f->explain[0] == '\0'));
    return err;
}

static enum err install_two(struct fixture *f, const struct made *issuing, const struct made *root,
                            EVP_PKEY *signer)
{
    X509 *chain[2];
    chain[1] = make(root, NULL, root->key);
    chain[0] = make(issuing, chain[1], signer);
    return install(f, chain, 2);
}

static enum err install_three(struct fixture *f, const struct made *issuing,
                              const struct made *middle, const struct made *root)
{
    X509 *chain[3];
    chain[2] = make(root, NULL, root->key);
    chain[1] = make(middle, chain[2], root->key);
    chain[0] = make(issuing, chain[1], middle->key);
    return install(f, chain, 3);
}

static void takes_a_good_one(void **state)
{
    struct fixture *f = *state;
    struct ca_facts facts;
    struct stat before, st;
    assert_int_equal(stat(path_of(f, "signer/issuing.pem"), &before), 0);
    struct made issuing = good_issuing(f), root = good_root(f);
    assert_int_equal(install_two(f, &issuing, &root, f->root_key), ERR_NONE);
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_NONE);
    assert_string_equal(facts.root_subject, "CN=Owner root");
    assert_in_range(facts.issuing_not_after - clock_seconds(), 999L * DAY, 1000L * DAY);
    assert_int_equal(stat(path_of(f, "signer/issuing.pem"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_uid, before.st_uid);
    assert_int_equal(st.st_gid, before.st_gid);
    assert_int_equal(stat(path_of(f, "root.pem"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_not_equal(access(path_of(f, "signer/issuing.pem.new"), F_OK), 0);
    assert_int_not_equal(access(path_of(f, "root.pem.new"), F_OK), 0);
}

static void takes_what_stands_between(void **state)
{
    struct fixture *f = *state;
    struct made issuing = good_issuing(f), middle = good_middle(f), root = good_root(f);
    /* left by a power cut: never written into */
    assert_int_equal(file_replace(path_of(f, "root.pem.new"), SLICE_LITERAL("x"), 0600), ERR_NONE);
    assert_int_equal(install_three(f, &issuing, &middle, &root), ERR_NONE);
    X509 *chain[CA_CHAIN_MAX];
    size_t n = 0;
    assert_int_equal(ca_chain_read(path_of(f, "signer/issuing.pem"), chain, &n), ERR_NONE);
    assert_int_equal(n, 2);
    assert_int_equal(X509_check_issued(chain[1], chain[0]), X509_V_OK);
    X509_free(chain[0]);
    X509_free(chain[1]);
    assert_int_equal(ca_chain_read(path_of(f, "root.pem"), chain, &n), ERR_NONE);
    assert_int_equal(n, 1);
    assert_int_equal(X509_self_signed(chain[0], 1), 1);
    X509_free(chain[0]);
    /* once more, and with extended usages that fit */
    issuing.extended_usage = "clientAuth,serverAuth";
    assert_int_equal(install_three(f, &issuing, &middle, &root), ERR_NONE);
}

static void assert_refuses(struct fixture *f, enum err err, const char *because)
{
    if (err != ERR_REFUSED || strstr(f->explain, because) == NULL)
        fail_msg("%s: '%s' instead of '%s'", err_text(err), f->explain, because);
}

static void refuses_issuing_certificates(void **state)
{
    struct fixture *f = *state;
    const struct made root = good_root(f);
    EVP_PKEY *foreign = EVP_EC_gen("P-256");
    const struct {
        const char *because;
        struct made change;
    } cases[] = {
        {"not for the issuing key", {.key = foreign}},
        {"CA:TRUE", {.constraints = "critical,CA:FALSE"}},
        {"CA:TRUE", {.constraints = ""}},
        {"pathlen:0", {.constraints = "critical,CA:TRUE"}},
        {"pathlen:0", {.constraints = "critical,CA:TRUE,pathlen:1"}},
        {"keyUsage", {.usage = "critical,digitalSignature,cRLSign"}},
        {"keyUsage", {.usage = "critical,keyCertSign"}},
        {"keyUsage", {.usage = ""}},
        {"extendedKeyUsage", {.extended_usage = "serverAuth"}},
        {"extendedKeyUsage", {.extended_usage = "clientAuth"}},
        {"extendedKeyUsage", {.extended_usage = "codeSigning"}},
        {"expired", {.from = -20 * DAY, .to = -10}},
        {"not valid yet", {.from = DAY}},
        {"subjectKeyIdentifier", {.no_identifier = true}},
        {"certificate 1: CA signature digest algorithm too weak", {.md = EVP_sha1()}},
        /* RFC 5280 section 4.2.1.9: it must be critical */
        {"critical", {.constraints = "CA:TRUE,pathlen:0"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct made m = good_issuing(f);
        const struct made *c = &cases[i].change;
        m.key = c->key != NULL ? c->key : m.key;
        m.constraints = c->constraints != NULL ? c->constraints : m.constraints;
        m.usage = c->usage != NULL ? c->usage : m.usage;
        m.extended_usage = c->extended_usage;
        m.from = c->from != 0 ? c->from : m.from;
        m.to = c->to != 0 ? c->to : m.to;
        m.md = c->md != NULL ? c->md : m.md;
        m.no_identifier = c->no_identifier;
        assert_refuses(f, install_two(f, &m, &root, f->root_key), cases[i].because);
    }
    EVP_PKEY_free(foreign);
}

static void refuses_what_is_above_it(void **state)
{
    struct fixture *f = *state;
    const struct made issuing = good_issuing(f);
    struct made root = good_root(f), middle = good_middle(f);
    root.constraints = "critical,CA:TRUE,pathlen:0";
    assert_refuses(f, install_two(f, &issuing, &root, f->root_key), "pathlen 0 is too short");
    root = good_root(f);
    root.to = -10;
    assert_refuses(f, install_two(f, &issuing, &root, f->root_key), "certificate 2 has expired");
    root = good_root(f);
    root.constraints = "critical,CA:FALSE";
    assert_refuses(f, install_two(f, &issuing, &root, f->root_key), "certificate 2 is none");
    root = good_root(f);
    root.usage = "critical,cRLSign";
    assert_refuses(f, install_two(f, &issuing, &root, f->root_key), "certificate 2: keyUsage");
    root = good_root(f);
    middle.constraints = "critical,CA:TRUE,pathlen:0";
    assert_refuses(f, install_three(f, &issuing, &middle, &root), "certificate 2: pathlen 0");
    middle = good_middle(f);
    middle.from = 10 * DAY;
    assert_refuses(f, install_three(f, &issuing, &middle, &root), "certificate 2 is not valid yet");
    middle = good_middle(f);
    middle.md = EVP_sha1();
    assert_refuses(f, install_three(f, &issuing, &middle, &root), "too weak");
    /* signed by a key that is not the root's */
    assert_refuses(f, install_two(f, &issuing, &root, f->middle_key), "not signed by");
}

static void refuses_chains_that_are_none(void **state)
{
    struct fixture *f = *state;
    struct made issuing = good_issuing(f), middle = good_middle(f), root = good_root(f);
    X509 *chain[6];
    /* the root missing: alone, and below an intermediate */
    X509 *top = make(&root, NULL, f->root_key);
    chain[0] = make(&issuing, top, f->root_key);
    assert_refuses(f, install(f, chain, 1), "including the root");
    X509 *between = make(&middle, top, f->root_key);
    chain[0] = make(&issuing, between, f->middle_key);
    chain[1] = X509_dup(between);
    assert_refuses(f, install(f, chain, 2), "no root");
    /* out of order */
    chain[0] = make(&issuing, between, f->middle_key);
    chain[1] = X509_dup(top);
    chain[2] = X509_dup(between);
    assert_refuses(f, install(f, chain, 3), "");
    /* a certificate too many */
    chain[0] = make(&issuing, top, f->root_key);
    chain[1] = X509_dup(between);
    chain[2] = X509_dup(top);
    assert_refuses(f, install(f, chain, 3), "not signed by");
    chain[0] = make(&issuing, top, f->root_key);
    for (size_t i = 1; i < 6; i++)
        chain[i] = X509_dup(top);
    assert_int_equal(install(f, chain, 6), ERR_LIMIT);
    X509_free(between);
    X509_free(top);

    /* roots with keys that are not taken, or weak */
    root.key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    assert_int_equal(install_two(f, &issuing, &root, root.key), ERR_UNSUPPORTED);
    EVP_PKEY_free(root.key);
    root.key = EVP_EC_gen("P-521");
    assert_int_equal(install_two(f, &issuing, &root, root.key), ERR_UNSUPPORTED);
    EVP_PKEY_free(root.key);

    assert_int_equal(file_replace(f->file, SLICE_LITERAL("nothing"), 0600), ERR_NONE);
    assert_int_equal(ca_install(f->state, f->file, f->explain), ERR_SYNTAX);
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(ca_install(f->state, f->file, f->explain), ERR_NOT_FOUND);
}

struct bytes {
    uint8_t *data;
    size_t len;
};

/* Whatever is refused, the files stay as they are. */
static void changes_nothing_where_it_refuses(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"signer/issuing.pem", "root.pem", "signer/issuing.key"};
    struct bytes before[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(file_read(path_of(f, names[i]), 100000, &before[i].data, &before[i].len),
                         ERR_NONE);
    refuses_issuing_certificates(state);
    refuses_what_is_above_it(state);
    refuses_chains_that_are_none(state);
    for (size_t i = 0; i < 3; i++) {
        struct bytes after;
        assert_int_equal(file_read(path_of(f, names[i]), 100000, &after.data, &after.len),
                         ERR_NONE);
        assert_true(
            slice_equal(slice_of(before[i].data, before[i].len), slice_of(after.data, after.len)));
        file_free_secret(after.data, after.len);
        file_free_secret(before[i].data, before[i].len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_a_good_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_what_stands_between, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_issuing_certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_above_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_chains_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_nothing_where_it_refuses, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
