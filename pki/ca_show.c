#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "pki/ca_files.h"

static enum err subject_text(X509 *certificate, char text[256])
{
    BIO *bio CLEANUP(ca_bio_cleanup) = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return ERR_NO_MEMORY;
    if (X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0)
        return ERR_CRYPTO;
    struct slice bytes = ca_bio_bytes(bio);
    size_t n = bytes.len < 255 ? bytes.len : 255;
    if (n > 0)
        memcpy(text, bytes.data, n);
    text[n] = '\0';
    return ERR_NONE;
}

static enum err describe(X509 *certificate, char subject[256], uint8_t sha256[SHA256_SIZE],
                         int64_t *not_after)
{
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    if (len <= 0)
        return ERR_CRYPTO;
    struct certificate c;
    enum err err = certificate_read(slice_of(der, (size_t)len), &c);
    if (err == ERR_NONE) {
        *not_after = c.not_after;
        crypto_sha256_one(c.der, sha256);
        err = subject_text(certificate, subject);
    }
    OPENSSL_free(der);
    return err;
}

/* The first certificate of a file. */
static enum err describe_file(const char *state, const char *name, char subject[256],
                              uint8_t sha256[SHA256_SIZE], int64_t *not_after, char explain[256])
{
    char path[PATH_MAX];
    X509 *chain[CA_CHAIN_MAX] = {NULL};
    size_t n = 0;
    enum err err = ca_path(state, name, path);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "the state folder has too long a path");
    errno = 0;
    err = ca_chain_read(path, chain, &n);
    if (err == ERR_IO)
        return ca_fail(err, explain, "%.160s: %s", path, strerror(errno));
    if (err == ERR_NONE)
        err = describe(chain[0], subject, sha256, not_after);
    for (size_t i = 0; i < n; i++)
        X509_free(chain[i]);
    ERR_clear_error();
    return err == ERR_NONE ? err : ca_fail(err, explain, "%.160s: %s", path, err_text(err));
}

static enum err read_vkey(const char *state, const char *name, struct note_key *ret_key,
                          char explain[256])
{
    char path[PATH_MAX];
    enum err err = ca_path(state, name, path);
    if (err == ERR_NONE)
        err = ca_vkey_read(path, ret_key);
    return err == ERR_NONE ? err : ca_fail(err, explain, "%.160s: %s", path, err_text(err));
}

/* What can't be looked at counts as present: the owner is warned rather than reassured. */
static bool is_present(const char *state, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return ca_path(state, name, path) != ERR_NONE || lstat(path, &st) == 0 ||
           (errno != ENOENT && errno != ENOTDIR);
}

static enum err describe_other(const char *state, const char *name, struct ca_other *ret,
                               char explain[256])
{
    if (!is_present(state, name))
        return ERR_NONE;
    ret->there = true;
    return describe_file(state, name, ret->subject, ret->sha256, &ret->not_after, explain);
}

enum err ca_show(const char *state, struct ca_facts *ret_facts, char explain[256])
{
    struct ca_facts f = {.root_not_after = 0};
    enum err err =
        describe_file(state, "root.pem", f.root_subject, f.root_sha256, &f.root_not_after, explain);
    if (err == ERR_NONE)
        err = describe_file(state, "signer/issuing.pem", f.issuing_subject, f.issuing_sha256,
                            &f.issuing_not_after, explain);
    if (err == ERR_NONE)
        err = describe_other(state, "signer/next-issuing.pem", &f.next, explain);
    if (err == ERR_NONE)
        err = describe_other(state, "signer/previous-issuing.pem", &f.previous, explain);
    if (err == ERR_NONE)
        err = read_vkey(state, "ledger.vkey", &f.ledger_key, explain);
    if (err == ERR_NONE)
        err = read_vkey(state, "policy.vkey", &f.policy_key, explain);
    if (err == ERR_NONE)
        err = read_vkey(state, "bundle.vkey", &f.bundle_key, explain);
    if (err != ERR_NONE)
        return err;
    f.root_key_present = is_present(state, "offline/root.key");
    f.bundle_key_present = is_present(state, "offline/bundle.key");
    *ret_facts = f;
    return ERR_NONE;
}
