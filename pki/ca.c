#include "pki/ca.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/sandbox.h"
#include "pki/ca_files.h"

#define SERIAL_SIZE 16
#define BACKDATING  3600 /* seconds: for machines whose clocks are behind this one */
#define YEAR        (365LL * 86400 + 86400 / 4)

enum err ca_ledger_origin(const char *fleet, char ret_origin[NOTE_NAME_MAX + 1])
{
    if (!ca_is_fleet_name(slice_of_text(fleet)))
        return ERR_SYNTAX;
    int n = snprintf(ret_origin, NOTE_NAME_MAX + 1, "%s/ledger", fleet);
    return n > 0 && n <= NOTE_NAME_MAX ? ERR_NONE : ERR_LIMIT;
}

/* ---- certificates ---- */

/* What a certificate is to say; the issuer's key and certificate are its own where it is the root.
 */
struct authority {
    const char *fleet, *role;
    const char *unit; /* NULL: none */
    EVP_PKEY *key;
    const char *basic_constraints, *key_usage;
    int years;
};

static const char issuing_basic_constraints[] = "critical,CA:TRUE,pathlen:0";
/* digitalSignature: for OCSP answers signed by the authority itself */
static const char issuing_key_usage[] = "critical,digitalSignature,keyCertSign,cRLSign";

static enum err add_to_name(X509_NAME *name, const char *type, const char *text)
{
    const uint8_t *bytes = (const uint8_t *)text;
    bool ok = X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, bytes, -1, -1, 0) == 1;
    return ok ? ERR_NONE : ERR_CRYPTO;
}

/* The unit keeps apart the issuing authorities of several hubs: with one name for all, who builds a
 * chain would have to try each. It is a part of its own, for the CN is full with the longest
 * fleet's name. */
static enum err set_name(X509_NAME *name, const char *fleet, const char *role, const char *unit)
{
    char text[CA_FLEET_MAX + 16];
    int n = snprintf(text, sizeof text, "%s %s", fleet, role);
    if (n < 0 || (size_t)n >= sizeof text)
        return ERR_LIMIT;
    enum err err = unit != NULL ? add_to_name(name, "OU", unit) : ERR_NONE;
    return err == ERR_NONE ? add_to_name(name, "CN", text) : err;
}

static enum err set_serial(X509 *certificate)
{
    uint8_t bytes[SERIAL_SIZE];
    enum err err = crypto_random(bytes, sizeof bytes);
    if (err != ERR_NONE)
        return err;
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return ok ? ERR_NONE : ERR_CRYPTO;
}

static enum err set_dates(X509 *certificate, int years)
{
    int64_t now = clock_seconds();
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(now - BACKDATING));
    ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(now + years * YEAR));
    bool ok = from != NULL && to != NULL && X509_set1_notBefore(certificate, from) == 1 &&
              X509_set1_notAfter(certificate, to) == 1;
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return ok ? ERR_NONE : ERR_CRYPTO;
}

static X509_EXTENSION *make_extension(X509V3_CTX *ctx, int nid, const char *value)
{
    return X509V3_EXT_conf_nid(NULL, ctx, nid, value);
}

static enum err add_extension(X509 *certificate, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *extension = make_extension(ctx, nid, value);
    bool ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok ? ERR_NONE : ERR_CRYPTO;
}

/* SHA-1 of the key as its identifier, as OpenSSL and others make it: so it stays the same where an
 * owner's own root signs this key. It is a name, no protection. */
static enum err add_extensions(X509 *certificate, X509 *issuer, const struct authority *a)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    enum err err = add_extension(certificate, &ctx, NID_basic_constraints, a->basic_constraints);
    if (err == ERR_NONE)
        err = add_extension(certificate, &ctx, NID_key_usage, a->key_usage);
    if (err == ERR_NONE)
        err = add_extension(certificate, &ctx, NID_subject_key_identifier, "hash");
    if (err == ERR_NONE && issuer != certificate)
        err = add_extension(certificate, &ctx, NID_authority_key_identifier, "keyid:always");
    return err;
}

/* `issuer` NULL: it signs itself. */
static enum err make_certificate(const struct authority *a, X509 *issuer, EVP_PKEY *issuer_key,
                                 X509 **ret_certificate)
{
    X509 *c = X509_new();
    if (c == NULL)
        return ERR_NO_MEMORY;
    enum err err = ERR_CRYPTO;
    if (X509_set_version(c, X509_VERSION_3) != 1 || X509_set_pubkey(c, a->key) != 1)
        goto out;
    err = set_name(X509_get_subject_name(c), a->fleet, a->role, a->unit);
    if (err == ERR_NONE)
        err = set_serial(c);
    if (err == ERR_NONE)
        err = set_dates(c, a->years);
    if (err != ERR_NONE)
        goto out;
    if (issuer == NULL)
        issuer = c;
    if (X509_set_issuer_name(c, X509_get_subject_name(issuer)) != 1) {
        err = ERR_CRYPTO;
        goto out;
    }
    err = add_extensions(c, issuer, a);
    /* both keep within the strength of the root's P-384 */
    if (err == ERR_NONE && X509_sign(c, issuer_key, EVP_sha384()) <= 0)
        err = ERR_CRYPTO;
out:
    if (err == ERR_NONE)
        *ret_certificate = c;
    else
        X509_free(c);
    return err;
}

enum err ca_root_certificate(const char *fleet, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                             X509 **ret_certificate)
{
    const struct authority root = {.fleet = fleet,
                                   .role = "root",
                                   .key = key,
                                   .basic_constraints = "critical,CA:TRUE,pathlen:1",
                                   .key_usage = "critical,keyCertSign,cRLSign",
                                   .years = CA_ROOT_YEARS};
    return make_certificate(&root, issuer, issuer_key, ret_certificate);
}

enum err ca_issuing_certificate(const char *fleet, const char *unit, EVP_PKEY *key, X509 *root,
                                EVP_PKEY *root_key, X509 **ret_certificate)
{
    const struct authority issuing = {.fleet = fleet,
                                      .role = "issuing",
                                      .unit = unit,
                                      .key = key,
                                      .basic_constraints = issuing_basic_constraints,
                                      .key_usage = issuing_key_usage,
                                      .years = CA_ISSUING_YEARS};
    return make_certificate(&issuing, root, root_key, ret_certificate);
}

/* ---- init ---- */

struct new_ca {
    EVP_PKEY *root_key, *issuing_key, *ledger_key, *policy_key, *bundle_key;
    X509 *root, *issuing;
};

static void new_ca_cleanup(struct new_ca *ca)
{
    EVP_PKEY_free(ca->root_key);
    EVP_PKEY_free(ca->issuing_key);
    EVP_PKEY_free(ca->ledger_key);
    EVP_PKEY_free(ca->policy_key);
    EVP_PKEY_free(ca->bundle_key);
    X509_free(ca->root);
    X509_free(ca->issuing);
}

static enum err make_ca(const char *fleet, struct new_ca *ca)
{
    enum err err = ca_key_new(KEY_P384, &ca->root_key);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_P256, &ca->issuing_key);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_ED25519, &ca->ledger_key);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_ED25519, &ca->policy_key);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_ED25519, &ca->bundle_key);
    if (err != ERR_NONE)
        return err;
    err = ca_root_certificate(fleet, ca->root_key, NULL, ca->root_key, &ca->root);
    if (err == ERR_NONE)
        err = ca_issuing_certificate(fleet, NULL, ca->issuing_key, ca->root, ca->root_key,
                                     &ca->issuing);
    return err;
}

/* What has been made so far, so that it can be taken back. */
struct making {
    const char *state;
    struct ca_owner maker, signer;
    char explain[256];
    const char *folders[3], *files[11]; /* names below state */
    size_t folders_len, files_len;
    bool is_joining; /* a further hub's: nothing of the owner's */
};

static void take_back(const struct making *m)
{
    char path[PATH_MAX];
    for (size_t i = m->files_len; i-- > 0;)
        if (ca_path(m->state, m->files[i], path) == ERR_NONE)
            (void)unlink(path);
    for (size_t i = m->folders_len; i-- > 0;)
        if (ca_path(m->state, m->folders[i], path) == ERR_NONE)
            (void)rmdir(path);
}

static enum err make_folder(struct making *m, const char *name, mode_t mode,
                            const struct ca_owner *owner)
{
    char path[PATH_MAX];
    enum err err = ca_path(m->state, name, path);
    if (err != ERR_NONE)
        return ca_fail(err, m->explain, "the state folder has too long a path");
    bool made = mkdir(path, mode) == 0;
    if (!made && errno != EEXIST)
        return ca_fail(ERR_IO, m->explain, "%.160s: %s", path, strerror(errno));
    if (made)
        m->folders[m->folders_len++] = name;
    /* one that a package made beforehand gets its owner and mode, too */
    bool mine = made || name[0] != '\0';
    if (mine &&
        ((owner->set && chown(path, owner->uid, owner->gid) != 0) || chmod(path, mode) != 0))
        return ca_fail(ERR_IO, m->explain, "%.160s: %s", path, strerror(errno));
    return ERR_NONE;
}

static enum err make_file(struct making *m, const char *name, struct slice bytes, mode_t mode,
                          const struct ca_owner *owner)
{
    char path[PATH_MAX];
    enum err err = ca_path(m->state, name, path);
    if (err == ERR_NONE)
        err = ca_file_make(path, bytes, mode, owner);
    if (err == ERR_EXISTS)
        return ca_fail(err, m->explain, "%.160s is there already", path);
    if (err != ERR_NONE)
        return ca_fail(err, m->explain, "%.160s: %s", path, strerror(errno));
    m->files[m->files_len++] = name;
    return ERR_NONE;
}

static enum err make_key_file(struct making *m, const char *name, EVP_PKEY *key,
                              const struct ca_owner *owner)
{
    BIO *pem CLEANUP(ca_bio_cleanup) = NULL;
    enum err err = ca_key_pem(key, &pem);
    if (err != ERR_NONE)
        return ca_fail(err, m->explain, "%s: %s", name, err_text(err));
    return make_file(m, name, ca_bio_bytes(pem), 0400, owner);
}

static enum err make_certificate_file(struct making *m, const char *name, X509 *certificate,
                                      mode_t mode, const struct ca_owner *owner)
{
    BIO *pem CLEANUP(ca_bio_cleanup) = NULL;
    enum err err = ca_certificates_pem(&certificate, 1, &pem);
    if (err != ERR_NONE)
        return ca_fail(err, m->explain, "%s: %s", name, err_text(err));
    return make_file(m, name, ca_bio_bytes(pem), mode, owner);
}

static enum err make_vkey_file(struct making *m, const char *name, EVP_PKEY *key, const char *fleet,
                               const char *purpose)
{
    char key_name[NOTE_NAME_MAX + 1];
    (void)snprintf(key_name, sizeof key_name, "%s/%s", fleet, purpose);
    struct note_key public_key;
    enum err err = ca_note_key(key, key_name, &public_key);
    uint8_t text[NOTE_KEY_TEXT_MAX + 1];
    struct writer w = writer_over(text, sizeof text);
    if (err == ERR_NONE) {
        note_key_write(&w, &public_key);
        writer_text(&w, "\n");
        err = w.err;
    }
    if (err != ERR_NONE)
        return ca_fail(err, m->explain, "%s: %s", name, err_text(err));
    return make_file(m, name, writer_bytes(&w), 0644, &m->maker);
}

/* What every hub has of its own. */
static enum err make_hub_files(struct making *m, const struct new_ca *ca, const char *fleet)
{
    enum err err = make_folder(m, "signer", 0700, &m->signer);
    if (err == ERR_NONE)
        err = make_key_file(m, "signer/issuing.key", ca->issuing_key, &m->signer);
    if (err == ERR_NONE)
        err = make_key_file(m, "signer/ledger.key", ca->ledger_key, &m->signer);
    if (err == ERR_NONE)
        err = make_key_file(m, "signer/policy.key", ca->policy_key, &m->signer);
    if (err == ERR_NONE)
        err = make_vkey_file(m, "policy.vkey", ca->policy_key, fleet, "policy");
    if (err == ERR_NONE)
        err = make_vkey_file(m, "ledger.vkey", ca->ledger_key, fleet, "ledger");
    return err;
}

/* root.pem last: where it is, the rest is. */
static enum err make_files(struct making *m, const struct new_ca *ca, const char *fleet)
{
    enum err err = make_folder(m, "", 0755, &m->maker); /* its secrets protect themselves */
    if (err == ERR_NONE)
        err = make_folder(m, "offline", 0700, &m->maker);
    if (err == ERR_NONE)
        err = make_key_file(m, "offline/root.key", ca->root_key, &m->maker);
    if (err == ERR_NONE)
        err = make_certificate_file(m, "offline/root.pem", ca->root, 0444, &m->maker);
    if (err == ERR_NONE)
        err = make_key_file(m, "offline/bundle.key", ca->bundle_key, &m->maker);
    if (err == ERR_NONE)
        err = make_hub_files(m, ca, fleet);
    if (err == ERR_NONE)
        err = make_certificate_file(m, "signer/issuing.pem", ca->issuing, 0400, &m->signer);
    if (err == ERR_NONE)
        err = make_vkey_file(m, "bundle.vkey", ca->bundle_key, fleet, "bundle");
    if (err == ERR_NONE)
        err = make_certificate_file(m, "root.pem", ca->root, 0644, &m->maker);
    return err;
}

static enum err flush_folders(const struct making *m)
{
    static const char *const names[] = {"offline", "signer", ".", ".."};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[PATH_MAX];
        if (i == 0 && m->is_joining)
            continue;
        enum err err = ca_path(m->state, names[i], path);
        if (err == ERR_NONE)
            err = ca_folder_flush(path);
        if (err != ERR_NONE)
            return err;
    }
    return ERR_NONE;
}

static enum err check_absent(const char *state, char explain[256])
{
    static const char *const names[] = {"offline/root.key",   "offline/bundle.key",
                                        "signer/issuing.key", "signer/issuing.pem",
                                        "signer/ledger.key",  "root.pem"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[PATH_MAX];
        enum err err = ca_path(state, names[i], path);
        if (err != ERR_NONE)
            return ca_fail(err, explain, "the state folder has too long a path");
        if (access(path, F_OK) == 0)
            return ca_fail(ERR_EXISTS, explain,
                           "%.120s is there already: a fleet's CA is made once", path);
    }
    return ERR_NONE;
}

static enum err find_owner(const char *user, struct ca_owner *ret_owner, char explain[256])
{
    struct ca_owner owner = {.set = true};
    enum err err = sandbox_user(user, &owner.uid, &owner.gid);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "there is no user '%.64s'", user);
    if (geteuid() != 0 && owner.uid != geteuid())
        return ca_fail(ERR_REFUSED, explain, "only root can give files to user '%.64s'", user);
    *ret_owner = owner;
    return ERR_NONE;
}

/* Durable, or nothing is left. */
static enum err finish_making(struct making *m, enum err err, char explain[256])
{
    if (err == ERR_NONE) {
        err = flush_folders(m);
        if (err != ERR_NONE)
            (void)ca_fail(err, m->explain, "%.160s can't be flushed: %s", m->state,
                          strerror(errno));
    }
    if (err != ERR_NONE) {
        take_back(m);
        memcpy(explain, m->explain, sizeof m->explain);
    }
    return err;
}

enum err ca_init(const char *state, const char *fleet, const char *signer_user, char explain[256])
{
    struct making m = {.state = state};
    if (!ca_is_fleet_name(slice_of_text(fleet)))
        return ca_fail(ERR_SYNTAX, explain,
                       "'%.64s' can't be a fleet's name: lower-case letters, digits, inner hyphens "
                       "and dots, at most %d",
                       fleet, CA_FLEET_MAX);
    enum err err = check_absent(state, explain);
    if (err == ERR_NONE && signer_user != NULL)
        err = find_owner(signer_user, &m.signer, explain);
    if (err != ERR_NONE)
        return err;
    struct new_ca ca CLEANUP(new_ca_cleanup) = {NULL};
    err = make_ca(fleet, &ca);
    ERR_clear_error();
    if (err != ERR_NONE)
        return ca_fail(err, explain, "keys and certificates can't be made: %s", err_text(err));
    err = make_files(&m, &ca, fleet);
    return finish_making(&m, err, explain);
}

enum err ca_init_further(const char *state, const char *fleet, const char *signer_user,
                         char explain[256])
{
    struct making m = {.state = state, .is_joining = true};
    enum err err = check_absent(state, explain);
    if (err == ERR_NONE && signer_user != NULL)
        err = find_owner(signer_user, &m.signer, explain);
    if (err != ERR_NONE)
        return err;
    struct new_ca ca CLEANUP(new_ca_cleanup) = {NULL};
    err = ca_key_new(KEY_P256, &ca.issuing_key);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_ED25519, &ca.ledger_key);
    if (err == ERR_NONE)
        err = ca_key_new(KEY_ED25519, &ca.policy_key);
    ERR_clear_error();
    if (err != ERR_NONE)
        return ca_fail(err, explain, "keys can't be made: %s", err_text(err));
    err = make_folder(&m, "", 0755, &m.maker);
    if (err == ERR_NONE)
        err = make_hub_files(&m, &ca, fleet);
    return finish_making(&m, err, explain);
}

/* ---- csr ---- */

static enum err add_requested_extensions(X509_REQ *request)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, NULL, NULL, request, NULL, 0);
    const struct {
        int nid;
        const char *value;
    } wanted[] = {{NID_basic_constraints, issuing_basic_constraints},
                  {NID_key_usage, issuing_key_usage},
                  {NID_subject_key_identifier, "hash"}};
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    bool ok = extensions != NULL;
    for (size_t i = 0; ok && i < ARRAY_LEN(wanted); i++) {
        X509_EXTENSION *extension = make_extension(&ctx, wanted[i].nid, wanted[i].value);
        ok = extension != NULL && sk_X509_EXTENSION_push(extensions, extension) > 0;
        if (!ok)
            X509_EXTENSION_free(extension);
    }
    ok = ok && X509_REQ_add_extensions(request, extensions) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return ok ? ERR_NONE : ERR_CRYPTO;
}

enum err ca_request(const char *fleet, const char *unit, EVP_PKEY *key, X509_REQ **ret_request)
{
    X509_REQ *request = X509_REQ_new();
    if (request == NULL)
        return ERR_NO_MEMORY;
    enum err err = ERR_CRYPTO;
    if (X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_pubkey(request, key) == 1)
        err = set_name(X509_REQ_get_subject_name(request), fleet, "issuing", unit);
    if (err == ERR_NONE)
        err = add_requested_extensions(request);
    if (err == ERR_NONE && X509_REQ_sign(request, key, EVP_sha256()) <= 0)
        err = ERR_CRYPTO;
    if (err == ERR_NONE)
        *ret_request = request;
    else
        X509_REQ_free(request);
    return err;
}

static enum err write_request(const char *fleet, EVP_PKEY *key, BIO *pem)
{
    X509_REQ *request = NULL;
    enum err err = ca_request(fleet, NULL, key, &request);
    if (err == ERR_NONE && PEM_write_bio_X509_REQ(pem, request) != 1)
        err = ERR_CRYPTO;
    X509_REQ_free(request);
    return err;
}

enum err ca_csr(const char *state, const char *fleet, char **ret_pem, char explain[256])
{
    if (!ca_is_fleet_name(slice_of_text(fleet)))
        return ca_fail(ERR_SYNTAX, explain, "'%.64s' can't be a fleet's name", fleet);
    char path[PATH_MAX];
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    enum err err = ca_path(state, "signer/issuing.key", path);
    if (err == ERR_NONE)
        err = ca_key_read(path, &key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    BIO *pem CLEANUP(ca_bio_cleanup) = BIO_new(BIO_s_mem());
    err = pem == NULL ? ERR_NO_MEMORY : write_request(fleet, key, pem);
    ERR_clear_error();
    if (err != ERR_NONE)
        return ca_fail(err, explain, "the request can't be made: %s", err_text(err));
    struct slice bytes = ca_bio_bytes(pem);
    char *text = malloc(bytes.len + 1);
    if (text == NULL)
        return ca_fail(ERR_NO_MEMORY, explain, "out of memory");
    memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    *ret_pem = text;
    return ERR_NONE;
}
