#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "pki/ca_files.h"
#include "pki/public_key.h"

#define SECURITY_LEVEL 2 /* 112 bits: no SHA-1, no RSA below 2048 */

/* The issuing certificate is chain[0], the root chain[n - 1]. */

static enum err check_key(const char *state, X509 *issuing, char explain[256])
{
    char path[PATH_MAX];
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    enum err err = ca_path(state, "signer/issuing.key", path);
    if (err == ERR_NONE)
        err = ca_key_read(path, &key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    if (EVP_PKEY_eq(key, X509_get0_pubkey(issuing)) != 1)
        return ca_fail(ERR_REFUSED, explain,
                       "the first certificate is not for the issuing key; `holdfast ca csr` makes "
                       "the request to be signed");
    return ERR_NONE;
}

/* core/x509.h has read each already, and so knows its kind of key. */
static enum err check_strength(X509 *certificate, size_t place, char explain[256])
{
    uint8_t *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    if (len <= 0)
        return ca_fail(ERR_CRYPTO, explain, "certificate %zu: its key can't be read", place + 1);
    struct reader r = reader_over(slice_of(der, (size_t)len));
    struct spki spki;
    EVP_PKEY *key = NULL;
    const char *reason = "its key can't be read";
    enum err err = spki_read(&r, &spki);
    if (err == ERR_NONE)
        err = public_key_new(&spki, &key, &reason);
    EVP_PKEY_free(key);
    OPENSSL_free(der);
    if (err != ERR_NONE)
        return ca_fail(ERR_REFUSED, explain, "certificate %zu: weak key: %s", place + 1, reason);
    return ERR_NONE;
}

/* May it stand at this place of the chain? */
static enum err check_authority(X509 *c, size_t place, char explain[256])
{
    uint32_t flags = X509_get_extension_flags(c);
    if ((flags & EXFLAG_INVALID) != 0)
        return ca_fail(ERR_REFUSED, explain, "certificate %zu has malformed extensions", place + 1);
    if ((flags & EXFLAG_CA) == 0 || (flags & EXFLAG_BCONS) == 0)
        return ca_fail(ERR_REFUSED, explain,
                       "certificate %zu is none of an authority (basicConstraints lacks CA:TRUE)",
                       place + 1);
    uint32_t usage = X509_get_key_usage(c);
    uint32_t needed = place == 0 ? KU_KEY_CERT_SIGN | KU_CRL_SIGN : KU_KEY_CERT_SIGN;
    if ((flags & EXFLAG_KUSAGE) == 0 || (usage & needed) != needed)
        return ca_fail(ERR_REFUSED, explain, "certificate %zu: keyUsage lacks keyCertSign%s",
                       place + 1, place == 0 ? " or cRLSign" : "");
    if ((flags & EXFLAG_XKUSAGE) != 0 && (X509_check_purpose(c, X509_PURPOSE_SSL_CLIENT, 1) != 1 ||
                                          X509_check_purpose(c, X509_PURPOSE_SSL_SERVER, 1) != 1))
        return ca_fail(ERR_REFUSED, explain,
                       "certificate %zu: extendedKeyUsage keeps out TLS clients or servers",
                       place + 1);
    long path_len = X509_get_pathlen(c);
    if (place == 0 && path_len != 0)
        return ca_fail(
            ERR_REFUSED, explain,
            "the issuing certificate must say pathlen:0: it makes no further authorities");
    if (path_len >= 0 && path_len < (long)place)
        return ca_fail(ERR_REFUSED, explain,
                       "certificate %zu: pathlen %ld is too short for what stands below it",
                       place + 1, path_len);
    return ERR_NONE;
}

static enum err check_dates(X509 *c, size_t place, char explain[256])
{
    time_t now = (time_t)clock_seconds();
    if (X509_cmp_time(X509_get0_notAfter(c), &now) <= 0)
        return ca_fail(ERR_REFUSED, explain, "certificate %zu has expired", place + 1);
    if (X509_cmp_time(X509_get0_notBefore(c), &now) >= 0)
        return ca_fail(ERR_REFUSED, explain, "certificate %zu is not valid yet", place + 1);
    return ERR_NONE;
}

static enum err check_order(X509 *const *chain, size_t n, char explain[256])
{
    if (X509_self_signed(chain[n - 1], 1) != 1)
        return ca_fail(ERR_REFUSED, explain,
                       "the last certificate is no root: it does not sign itself");
    for (size_t i = 0; i + 1 < n; i++)
        if (X509_check_issued(chain[i + 1], chain[i]) != X509_V_OK ||
            X509_verify(chain[i], X509_get0_pubkey(chain[i + 1])) != 1)
            return ca_fail(ERR_REFUSED, explain, "certificate %zu is not signed by certificate %zu",
                           i + 1, i + 2);
    return ERR_NONE;
}

/* Everything else that RFC 5280 asks for is OpenSSL's to say. */
static enum err verify(X509 *const *chain, size_t n, char explain[256])
{
    enum err err = ERR_NO_MEMORY;
    X509_STORE *roots = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    if (roots == NULL || ctx == NULL || between == NULL ||
        X509_STORE_add_cert(roots, chain[n - 1]) != 1)
        goto out;
    for (size_t i = 1; i + 1 < n; i++)
        if (sk_X509_push(between, chain[i]) <= 0)
            goto out;
    if (X509_STORE_CTX_init(ctx, roots, chain[0], between) != 1)
        goto out;
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)clock_seconds());
    X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
    if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT) != 1)
        goto out;
    err = ERR_NONE;
    if (X509_verify_cert(ctx) != 1)
        err = ca_fail(ERR_REFUSED, explain, "certificate %d: %s",
                      X509_STORE_CTX_get_error_depth(ctx) + 1,
                      X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
out:
    sk_X509_free(between);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(roots);
    return err == ERR_NO_MEMORY ? ca_fail(err, explain, "out of memory") : err;
}

enum err ca_chain_check(X509 *const *chain, size_t n, char explain[256])
{
    if (n < 2)
        return ca_fail(ERR_REFUSED, explain,
                       "the file must hold the issuing certificate and what is above it, up to and "
                       "including the root");
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < n; i++) {
        err = check_strength(chain[i], i, explain);
        if (err == ERR_NONE)
            err = check_authority(chain[i], i, explain);
        if (err == ERR_NONE)
            err = check_dates(chain[i], i, explain);
    }
    if (err == ERR_NONE && X509_get0_subject_key_id(chain[0]) == NULL)
        err = ca_fail(ERR_REFUSED, explain, "the issuing certificate lacks subjectKeyIdentifier");
    if (err == ERR_NONE)
        err = check_order(chain, n, explain);
    if (err == ERR_NONE)
        err = verify(chain, n, explain);
    return err;
}

/* A file that is written, and not yet in its place. */
struct replacement {
    char path[PATH_MAX], fresh[PATH_MAX], folder[PATH_MAX];
};

static enum err prepare(const char *state, const char *folder, const char *name,
                        X509 *const *certificates, size_t n, mode_t mode, struct replacement *r)
{
    struct stat st;
    enum err err = ca_path(state, folder, r->folder);
    if (err == ERR_NONE)
        err = ca_path(r->folder, name, r->path);
    if (err != ERR_NONE)
        return err;
    int len = snprintf(r->fresh, sizeof r->fresh, "%s.new", r->path);
    if (len < 0 || (size_t)len >= sizeof r->fresh)
        return ERR_LIMIT;
    if (stat(r->folder, &st) != 0)
        return ERR_IO;
    if (unlink(r->fresh) != 0 && errno != ENOENT)
        return ERR_IO;
    BIO *pem CLEANUP(ca_bio_cleanup) = NULL;
    err = ca_certificates_pem(certificates, n, &pem);
    if (err != ERR_NONE)
        return err;
    /* whoever owns the folder owns what is in it */
    const struct ca_owner owner = {.set = geteuid() == 0, .uid = st.st_uid, .gid = st.st_gid};
    return ca_file_make(r->fresh, ca_bio_bytes(pem), mode, &owner);
}

/* Both are durable beside the old ones before either takes its place. */
static enum err replace(const char *state, X509 *const *chain, size_t n, char explain[256])
{
    struct replacement issuing, root;
    enum err err = prepare(state, "signer", "issuing.pem", chain, n - 1, 0400, &issuing);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "signer/issuing.pem can't be written: %s", err_text(err));
    err = prepare(state, ".", "root.pem", chain + n - 1, 1, 0644, &root);
    if (err == ERR_NONE &&
        (rename(issuing.fresh, issuing.path) != 0 || rename(root.fresh, root.path) != 0))
        err = ERR_IO;
    if (err == ERR_NONE)
        err = ca_folder_flush(issuing.folder);
    if (err == ERR_NONE)
        err = ca_folder_flush(root.folder);
    if (err != ERR_NONE) {
        (void)ca_fail(err, explain, "issuing.pem and root.pem can't be replaced: %s",
                      err_text(err));
        (void)unlink(issuing.fresh);
        (void)unlink(root.fresh);
    }
    return err;
}

enum err ca_install_chain(const char *state, X509 *const *chain, size_t n, char explain[256])
{
    enum err err = n > 0 ? check_key(state, chain[0], explain) : ERR_NONE;
    if (err == ERR_NONE)
        err = ca_chain_check(chain, n, explain);
    if (err == ERR_NONE)
        err = replace(state, chain, n, explain);
    ERR_clear_error();
    return err;
}

enum err ca_install(const char *state, const char *path, char explain[256])
{
    X509 *chain[CA_CHAIN_MAX] = {NULL};
    size_t n = 0;
    enum err err = ca_chain_read(path, chain, &n);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    err = ca_install_chain(state, chain, n, explain);
    for (size_t i = 0; i < n; i++)
        X509_free(chain[i]);
    return err;
}
