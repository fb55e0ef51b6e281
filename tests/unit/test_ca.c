#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/sandbox.h"
#include "pki/ca.h"
#include "tests/unit/temporary_folder.h"

#define FLEET       "acme.example"
#define SIGNER_USER "nobody"
#define DAY         86400

struct fixture {
    char folder[PATH_MAX], state[PATH_MAX + 8], explain[256];
};

static int set_up(void **state)
{
    static struct fixture f;
    temporary_folder_make(f.folder);
    (void)snprintf(f.state, sizeof f.state, "%s/state", f.folder);
    f.explain[0] = '\0';
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    const struct fixture *f = *state;
    temporary_folder_remove(f->folder);
    return 0;
}

static const char *path_of(const struct fixture *f, const char *name)
{
    static char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s/%s", f->state, name);
    return path;
}

static void init(struct fixture *f)
{
    if (ca_init(f->state, FLEET, NULL, f->explain) != ERR_NONE)
        fail_msg("%s", f->explain);
}

static X509 *read_one(const struct fixture *f, const char *name)
{
    X509 *chain[CA_CHAIN_MAX];
    size_t n = 0;
    assert_int_equal(ca_chain_read(path_of(f, name), chain, &n), ERR_NONE);
    assert_int_equal(n, 1);
    return chain[0];
}

static EVP_PKEY *read_key(const struct fixture *f, const char *name)
{
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_read(path_of(f, name), &key), ERR_NONE);
    return key;
}

/* ---- init ---- */

static const struct {
    const char *name;
    mode_t mode;
    bool signers;
} made[] = {
    {"offline", S_IFDIR | 0700, false},
    {"offline/root.key", S_IFREG | 0400, false},
    {"offline/root.pem", S_IFREG | 0444, false},
    {"offline/bundle.key", S_IFREG | 0400, false},
    {"signer", S_IFDIR | 0700, true},
    {"signer/issuing.key", S_IFREG | 0400, true},
    {"signer/issuing.pem", S_IFREG | 0400, true},
    {"signer/ledger.key", S_IFREG | 0400, true},
    {"signer/policy.key", S_IFREG | 0400, true},
    {"ledger.vkey", S_IFREG | 0644, false},
    {"policy.vkey", S_IFREG | 0644, false},
    {"bundle.vkey", S_IFREG | 0644, false},
    {"root.pem", S_IFREG | 0644, false},
};

static void assert_made(const struct fixture *f, uid_t signer)
{
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        struct stat st;
        assert_int_equal(lstat(path_of(f, made[i].name), &st), 0);
        if (st.st_mode != made[i].mode)
            fail_msg("%s has mode %o", made[i].name, (unsigned)st.st_mode);
        assert_int_equal(st.st_uid, made[i].signers ? signer : geteuid());
    }
}

static void assert_authority(X509 *c, const char *cn, long path_len, uint32_t usage, int years)
{
    char text[128] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(c), NID_commonName, text, sizeof text);
    assert_string_equal(text, cn);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(c)), 1);
    assert_int_equal(X509_get_version(c), X509_VERSION_3);
    assert_true((X509_get_extension_flags(c) & EXFLAG_CA) != 0);
    assert_int_equal(X509_get_pathlen(c), path_len);
    assert_int_equal(X509_get_key_usage(c), usage);
    assert_non_null(X509_get0_subject_key_id(c));
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c), NULL);
    assert_in_range(BN_num_bits(serial), 96, 128);
    assert_false(BN_is_negative(serial));
    BN_free(serial);
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(c), &tm), 1);
    int64_t life = (timegm(&tm) - clock_seconds()) / DAY;
    assert_in_range(life, years * 365 - 1, years * 366);
    time_t now = (time_t)clock_seconds();
    assert_true(X509_cmp_time(X509_get0_notBefore(c), &now) < 0);
    static const int critical[] = {NID_basic_constraints, NID_key_usage};
    for (size_t i = 0; i < ARRAY_LEN(critical); i++) {
        int at = X509_get_ext_by_NID(c, critical[i], -1);
        assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(c, at)), 1);
    }
}

static void assert_verifies(X509 *root, X509 *issuing)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, issuing, NULL), 1);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    if (X509_verify_cert(ctx) != 1)
        fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
}

static void makes_two_tiers(void **state)
{
    struct fixture *f = *state;
    init(f);
    assert_made(f, geteuid());
    X509 *root = read_one(f, "root.pem"), *issuing = read_one(f, "signer/issuing.pem");
    X509 *offline = read_one(f, "offline/root.pem");
    assert_int_equal(X509_cmp(root, offline), 0);
    assert_authority(root, FLEET " root", 1, KU_KEY_CERT_SIGN | KU_CRL_SIGN, CA_ROOT_YEARS);
    assert_authority(issuing, FLEET " issuing", 0,
                     KU_DIGITAL_SIGNATURE | KU_KEY_CERT_SIGN | KU_CRL_SIGN, CA_ISSUING_YEARS);
    assert_verifies(root, issuing);
    assert_int_equal(X509_self_signed(root, 1), 1);
    assert_int_equal(
        ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(issuing), X509_get0_subject_key_id(root)),
        0);
    static const struct {
        const char *name;
        const char *kind;
        int bits;
    } keys[] = {{"offline/root.key", "EC", 384},
                {"signer/issuing.key", "EC", 256},
                {"signer/ledger.key", "ED25519", 256},
                {"signer/policy.key", "ED25519", 256},
                {"offline/bundle.key", "ED25519", 256}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        EVP_PKEY *key = read_key(f, keys[i].name);
        assert_true(EVP_PKEY_is_a(key, keys[i].kind));
        assert_int_equal(EVP_PKEY_get_bits(key), keys[i].bits);
        if (i < 2)
            assert_int_equal(EVP_PKEY_eq(key, X509_get0_pubkey(i == 0 ? root : issuing)), 1);
        EVP_PKEY_free(key);
    }
    X509_free(root);
    X509_free(issuing);
    X509_free(offline);
}

static void makes_it_once(void **state)
{
    struct fixture *f = *state;
    init(f);
    uint8_t *before, *after;
    size_t before_len, after_len;
    assert_int_equal(file_read(path_of(f, "root.pem"), 10000, &before, &before_len), ERR_NONE);
    assert_int_equal(ca_init(f->state, FLEET, NULL, f->explain), ERR_EXISTS);
    assert_non_null(strstr(f->explain, "made once"));
    /* nor where the offline part was taken away, as it should be */
    temporary_folder_remove(path_of(f, "offline"));
    assert_int_equal(ca_init(f->state, FLEET, NULL, f->explain), ERR_EXISTS);
    struct stat st;
    assert_int_not_equal(lstat(path_of(f, "offline"), &st), 0);
    assert_int_equal(file_read(path_of(f, "root.pem"), 10000, &after, &after_len), ERR_NONE);
    assert_true(slice_equal(slice_of(before, before_len), slice_of(after, after_len)));
    file_free_secret(before, before_len);
    file_free_secret(after, after_len);
}

/* Each file in turn can't be made. */
static void leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        if (!S_ISREG(made[i].mode))
            continue;
        assert_int_equal(mkdir(f->state, 0755), 0);
        assert_int_equal(mkdir(path_of(f, "offline"), 0755), 0);
        assert_int_equal(mkdir(path_of(f, "signer"), 0755), 0);
        /* a link to nowhere: access() doesn't see it, and nothing is written through it */
        assert_int_equal(symlink("nowhere", path_of(f, made[i].name)), 0);
        assert_int_equal(ca_init(f->state, FLEET, NULL, f->explain), ERR_EXISTS);
        for (size_t k = 0; k < ARRAY_LEN(made); k++) {
            struct stat st;
            bool there = lstat(path_of(f, made[k].name), &st) == 0;
            assert_int_equal(there, k == i || S_ISDIR(made[k].mode));
        }
        temporary_folder_remove(f->state);
    }
    /* folders that it made go, too */
    assert_int_equal(mkdir(f->state, 0755), 0);
    assert_int_equal(symlink("nowhere", path_of(f, "bundle.vkey")), 0);
    assert_int_equal(ca_init(f->state, FLEET, NULL, f->explain), ERR_EXISTS);
    struct stat st;
    assert_int_not_equal(lstat(path_of(f, "offline"), &st), 0);
    assert_int_not_equal(lstat(path_of(f, "signer"), &st), 0);
    assert_int_equal(lstat(f->state, &st), 0);
    temporary_folder_remove(f->state);
    assert_int_equal(ca_init(f->state, "Acme", NULL, f->explain), ERR_SYNTAX);
    assert_int_equal(ca_init(f->state, FLEET, "no-such-user", f->explain), ERR_NOT_FOUND);
    assert_int_not_equal(lstat(f->state, &st), 0);
    assert_int_equal(ca_init("/proc/no/such", FLEET, NULL, f->explain), ERR_IO);
}

static void gives_the_signer_its_own(void **state)
{
    struct fixture *f = *state;
    uid_t uid;
    gid_t gid;
    assert_int_equal(sandbox_user(SIGNER_USER, &uid, &gid), ERR_NONE);
    if (geteuid() != 0) {
        assert_int_equal(ca_init(f->state, FLEET, SIGNER_USER, f->explain), ERR_REFUSED);
        print_message("SKIPPED: not root, so files can't be given away\n");
        skip();
    }
    /* a package may have made the folder */
    assert_int_equal(mkdir(f->state, 0755), 0);
    assert_int_equal(mkdir(path_of(f, "signer"), 0755), 0);
    assert_int_equal(ca_init(f->state, FLEET, SIGNER_USER, f->explain), ERR_NONE);
    assert_made(f, uid);
}

static void knows_fleet_names(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        bool good;
    } cases[] = {{"acme", true},
                 {"acme-1.example", true},
                 {"a", true},
                 {"0", true},
                 {"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdef", true},
                 {"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefg", false},
                 {"", false},
                 {"Acme", false},
                 {"-a", false},
                 {"a-", false},
                 {"a.", false},
                 {".a", false},
                 {"a..b", false},
                 {"a_b", false},
                 {"a/b", false},
                 {"a b", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char origin[NOTE_NAME_MAX + 1] = "";
        assert_int_equal(ca_is_fleet_name(slice_of_text(cases[i].name)), cases[i].good);
        assert_int_equal(ca_ledger_origin(cases[i].name, origin),
                         cases[i].good ? ERR_NONE : ERR_SYNTAX);
        assert_int_equal(origin[0] != '\0', cases[i].good);
    }
    char origin[NOTE_NAME_MAX + 1];
    assert_int_equal(ca_ledger_origin(FLEET, origin), ERR_NONE);
    assert_string_equal(origin, FLEET "/ledger");
    /* the longest fits into its certificates */
    assert_int_equal(ca_init(f->state, cases[4].name, NULL, f->explain), ERR_NONE);
}

/* ---- keys and chains ---- */

static void write_file(const char *path, const char *text)
{
    assert_int_equal(file_replace(path, slice_of_text(text), 0600), ERR_NONE);
}

static void reads_and_writes_keys(void **state)
{
    const struct fixture *f = *state;
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/some.key", f->folder);
    static const enum key_kind kinds[] = {KEY_P256, KEY_P384, KEY_ED25519};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        EVP_PKEY *key = NULL, *again = NULL;
        struct stat st;
        assert_int_equal(ca_key_new(kinds[i], &key), ERR_NONE);
        assert_int_equal(ca_key_write(path, key, 0400), ERR_NONE);
        assert_int_equal(ca_key_write(path, key, 0400), ERR_EXISTS);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0400);
        assert_int_equal(ca_key_read(path, &again), ERR_NONE);
        assert_int_equal(EVP_PKEY_eq(key, again), 1);
        EVP_PKEY_free(key);
        EVP_PKEY_free(again);
        assert_int_equal(unlink(path), 0);
    }
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_RSA, &key), ERR_UNSUPPORTED);
    assert_int_equal(ca_key_read(path, &key), ERR_NOT_FOUND);
    write_file(path, "");
    assert_int_equal(ca_key_read(path, &key), ERR_SYNTAX);
    write_file(path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert_int_equal(ca_key_read(path, &key), ERR_SYNTAX);
    /* one with a password: an error, not a question on the terminal */
    EVP_PKEY *secret = EVP_EC_gen("P-256");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(file, secret, EVP_aes_256_cbc(), "password", 8, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
    EVP_PKEY_free(secret);
    assert_int_equal(ca_key_read(path, &key), ERR_SYNTAX);
    static char large[20000];
    memset(large, 'x', sizeof large - 1);
    write_file(path, large);
    assert_int_equal(ca_key_read(path, &key), ERR_LIMIT);
    assert_null(key);
    X509 *chain[CA_CHAIN_MAX] = {NULL};
    size_t n = 77;
    assert_int_equal(ca_chain_read(path, chain, &n), ERR_SYNTAX);
    assert_int_equal(n, 77);
}

/* ---- csr ---- */

static X509_REQ *read_request(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return request;
}

static void asks_for_a_certificate(void **state)
{
    struct fixture *f = *state;
    char *pem = NULL;
    assert_int_equal(ca_csr(f->state, FLEET, &pem, f->explain), ERR_NOT_FOUND);
    assert_null(pem);
    init(f);
    assert_int_equal(ca_csr(f->state, FLEET, &pem, f->explain), ERR_NONE);
    X509_REQ *request = read_request(pem);
    EVP_PKEY *key = read_key(f, "signer/issuing.key");
    assert_non_null(request);
    assert_int_equal(X509_REQ_verify(request, key), 1);
    char cn[64] = "";
    X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(request), NID_commonName, cn, sizeof cn);
    assert_string_equal(cn, FLEET " issuing");
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
    assert_int_equal(sk_X509_EXTENSION_num(extensions), 3);
    /* the identifier that the certificate of before has, so that what it issued stays in the chain
     */
    X509 *issuing = read_one(f, "signer/issuing.pem");
    ASN1_OCTET_STRING *identifier =
        X509V3_get_d2i(extensions, NID_subject_key_identifier, NULL, NULL);
    assert_int_equal(ASN1_OCTET_STRING_cmp(identifier, X509_get0_subject_key_id(issuing)), 0);
    ASN1_OCTET_STRING_free(identifier);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_free(issuing);
    EVP_PKEY_free(key);
    X509_REQ_free(request);
    free(pem);
    assert_int_equal(ca_csr(f->state, "A B", &pem, f->explain), ERR_SYNTAX);
}

/* ---- show, bundle ---- */

static void shows_what_is_there(void **state)
{
    struct fixture *f = *state;
    struct ca_facts facts;
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_NOT_FOUND);
    init(f);
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_NONE);
    assert_string_equal(facts.root_subject, "CN=" FLEET " root");
    assert_string_equal(facts.issuing_subject, "CN=" FLEET " issuing");
    assert_true(facts.root_key_present && facts.bundle_key_present);
    assert_string_equal(facts.ledger_key.name, FLEET "/ledger");
    assert_string_equal(facts.policy_key.name, FLEET "/policy");
    assert_string_equal(facts.bundle_key.name, FLEET "/bundle");
    X509 *root = read_one(f, "root.pem");
    uint8_t digest[SHA256_SIZE];
    unsigned len = 0;
    assert_int_equal(X509_digest(root, EVP_sha256(), digest, &len), 1);
    assert_memory_equal(facts.root_sha256, digest, sizeof digest);
    X509_free(root);
    assert_true(facts.root_not_after > facts.issuing_not_after);
    EVP_PKEY *ledger = read_key(f, "signer/ledger.key");
    uint8_t raw[ED25519_KEY_SIZE];
    size_t raw_len = sizeof raw;
    assert_int_equal(EVP_PKEY_get_raw_public_key(ledger, raw, &raw_len), 1);
    assert_memory_equal(facts.ledger_key.key, raw, sizeof raw);
    EVP_PKEY_free(ledger);

    assert_int_equal(unlink(path_of(f, "offline/root.key")), 0);
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_NONE);
    assert_true(!facts.root_key_present && facts.bundle_key_present);
    temporary_folder_remove(path_of(f, "offline"));
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_NONE);
    assert_true(!facts.root_key_present && !facts.bundle_key_present);
    write_file(path_of(f, "ledger.vkey"), "no key\n");
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_SYNTAX);
    assert_non_null(strstr(f->explain, "ledger.vkey"));
}

static void makes_bundles(void **state)
{
    struct fixture *f = *state;
    static uint8_t notes[2][TRUST_BUNDLE_MAX], storage[2][4 * CERTIFICATE_MAX];
    struct trust_bundle bundles[2];
    init(f);
    for (unsigned i = 0; i < 2; i++) {
        struct writer w = writer_over(notes[i], sizeof notes[i]);
        if (ca_bundle(f->state, FLEET, &w, f->explain) != ERR_NONE)
            fail_msg("%s", f->explain);
        assert_int_equal(trust_bundle_read(writer_bytes(&w), i == 0 ? NULL : &bundles[0],
                                           crypto_sha256, crypto_ed25519_verify, storage[i],
                                           sizeof storage[i], &bundles[i]),
                         ERR_NONE);
        assert_int_equal(bundles[i].version, i + 1);
        assert_string_equal(bundles[i].fleet, FLEET);
        assert_in_range(clock_seconds() - bundles[i].time_floor, 0, 60);
        uint8_t *kept;
        size_t kept_len;
        assert_int_equal(file_read(path_of(f, "bundle"), 20000, &kept, &kept_len), ERR_NONE);
        assert_true(slice_equal(slice_of(kept, kept_len), writer_bytes(&w)));
        file_free_secret(kept, kept_len);
    }
    struct ca_facts facts;
    assert_int_equal(ca_show(f->state, &facts, f->explain), ERR_NONE);
    assert_memory_equal(&facts.bundle_key, &bundles[0].bundle_key, sizeof facts.bundle_key);
    assert_int_equal(bundles[0].ledger_keys_len, 1);
    assert_memory_equal(&facts.ledger_key, &bundles[0].ledger_keys[0], sizeof facts.ledger_key);
    assert_int_equal(bundles[0].policy_keys_len, 1);
    assert_memory_equal(&facts.policy_key, &bundles[0].policy_keys[0], sizeof facts.policy_key);
    assert_int_equal(bundles[0].server_roots_len, 1);
    uint8_t sha256[SHA256_SIZE];
    crypto_sha256_one(bundles[0].server_roots[0], sha256);
    assert_memory_equal(facts.root_sha256, sha256, sizeof sha256);
}

static void refuses_bundles(void **state)
{
    struct fixture *f = *state;
    static uint8_t note[TRUST_BUNDLE_MAX];
    init(f);
    struct writer w = writer_over(note, 100);
    assert_int_equal(ca_bundle(f->state, FLEET, &w, f->explain), ERR_LIMIT);
    assert_int_not_equal(access(path_of(f, "bundle"), F_OK), 0); /* no version was used up */
    w = writer_over(note, sizeof note);
    assert_int_equal(ca_bundle(f->state, FLEET, &w, f->explain), ERR_NONE);
    size_t len = w.len;
    assert_int_equal(ca_bundle(f->state, "other.example", &w, f->explain), ERR_REFUSED);
    assert_int_equal(ca_bundle(f->state, "Other", &w, f->explain), ERR_SYNTAX);
    assert_int_equal(unlink(path_of(f, "offline/bundle.key")), 0);
    assert_int_equal(ca_bundle(f->state, FLEET, &w, f->explain), ERR_NOT_FOUND);
    EVP_PKEY *other = NULL;
    assert_int_equal(ca_key_new(KEY_ED25519, &other), ERR_NONE);
    assert_int_equal(ca_key_write(path_of(f, "offline/bundle.key"), other, 0400), ERR_NONE);
    EVP_PKEY_free(other);
    assert_int_equal(ca_bundle(f->state, FLEET, &w, f->explain), ERR_REFUSED);
    assert_non_null(strstr(f->explain, "another bundle key"));
    write_file(path_of(f, "bundle"), "no bundle\n");
    assert_int_equal(ca_bundle(f->state, FLEET, &w, f->explain), ERR_SYNTAX);
    assert_int_equal(w.len, len);
    assert_int_equal(w.err, ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_two_tiers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_it_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_nothing_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gives_the_signer_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(knows_fleet_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_and_writes_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asks_for_a_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shows_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(makes_bundles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_bundles, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
