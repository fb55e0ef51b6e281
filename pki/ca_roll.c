#include "pki/ca_roll.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>

#include "pki/ca_files.h"

/* ---- files ---- */

static bool is_there(const char *state, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return ca_path(state, name, path) == ERR_NONE && lstat(path, &st) == 0;
}

static enum err file_error(enum err err, const char *name, char explain[256])
{
    return ca_fail(err, explain, "%.120s: %s", name,
                   err == ERR_IO ? strerror(errno) : err_text(err));
}

static enum err move_file(const char *state, const char *from, const char *to, char explain[256])
{
    char source[PATH_MAX], target[PATH_MAX];
    if (!is_there(state, from)) /* it was moved before this was cut short */
        return ERR_NONE;
    enum err err = ca_path(state, from, source);
    if (err == ERR_NONE)
        err = ca_path(state, to, target);
    if (err == ERR_NONE && rename(source, target) != 0)
        err = ERR_IO;
    return err == ERR_NONE ? err : file_error(err, from, explain);
}

/* A second name; what has that name already is kept. */
static enum err link_file(const char *state, const char *from, const char *to, char explain[256])
{
    char source[PATH_MAX], target[PATH_MAX];
    enum err err = ca_path(state, from, source);
    if (err == ERR_NONE)
        err = ca_path(state, to, target);
    if (err == ERR_NONE && link(source, target) != 0 && errno != EEXIST)
        err = ERR_IO;
    return err == ERR_NONE ? err : file_error(err, to, explain);
}

static enum err remove_file(const char *state, const char *name, char explain[256])
{
    char path[PATH_MAX];
    enum err err = ca_path(state, name, path);
    if (err == ERR_NONE && unlink(path) != 0 && errno != ENOENT)
        err = ERR_IO;
    return err == ERR_NONE ? err : file_error(err, name, explain);
}

static enum err flush(const char *state, char explain[256])
{
    static const char *const folders[] = {"offline", "signer", "."};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char path[PATH_MAX];
        if (!is_there(state, folders[i]))
            continue; /* the offline medium may be away */
        enum err err = ca_path(state, folders[i], path);
        if (err == ERR_NONE)
            err = ca_folder_flush(path);
        if (err != ERR_NONE)
            return file_error(err, folders[i], explain);
    }
    return ERR_NONE;
}

/* Beside it first, then in its place. Whoever owns the folder owns the file. */
static enum err write_file(const char *state, const char *folder, const char *name,
                           struct slice bytes, mode_t mode, char explain[256])
{
    char parent[PATH_MAX], path[PATH_MAX], fresh[PATH_MAX];
    struct stat st;
    enum err err = ca_path(state, folder, parent);
    if (err == ERR_NONE)
        err = ca_path(parent, name, path);
    if (err == ERR_NONE && snprintf(fresh, sizeof fresh, "%s.new", path) >= PATH_MAX)
        err = ERR_LIMIT;
    if (err == ERR_NONE && (stat(parent, &st) != 0 || (unlink(fresh) != 0 && errno != ENOENT)))
        err = ERR_IO;
    if (err != ERR_NONE)
        return file_error(err, name, explain);
    const struct ca_owner owner = {.set = geteuid() == 0, .uid = st.st_uid, .gid = st.st_gid};
    err = ca_file_make(fresh, bytes, mode, &owner);
    if (err == ERR_NONE && rename(fresh, path) != 0)
        err = ERR_IO;
    return err == ERR_NONE ? err : file_error(err, name, explain);
}

static enum err write_key(const char *state, const char *folder, const char *name, EVP_PKEY *key,
                          char explain[256])
{
    BIO *pem CLEANUP(ca_bio_cleanup) = NULL;
    enum err err = ca_key_pem(key, &pem);
    if (err != ERR_NONE)
        return file_error(err, name, explain);
    return write_file(state, folder, name, ca_bio_bytes(pem), 0400, explain);
}

static enum err write_certificates(const char *state, const char *folder, const char *name,
                                   X509 *const *certificates, size_t n, mode_t mode,
                                   char explain[256])
{
    BIO *pem CLEANUP(ca_bio_cleanup) = NULL;
    enum err err = ca_certificates_pem(certificates, n, &pem);
    if (err != ERR_NONE)
        return file_error(err, name, explain);
    return write_file(state, folder, name, ca_bio_bytes(pem), mode, explain);
}

struct certificates {
    X509 *all[CA_CHAIN_MAX];
    size_t n;
};

static void certificates_cleanup(struct certificates *c)
{
    for (size_t i = 0; i < c->n; i++)
        X509_free(c->all[i]);
}

static enum err read_certificates(const char *state, const char *name, struct certificates *ret,
                                  char explain[256])
{
    char path[PATH_MAX];
    enum err err = ca_path(state, name, path);
    if (err == ERR_NONE)
        err = ca_chain_read(path, ret->all, &ret->n);
    return err == ERR_NONE ? err : ca_fail(err, explain, "%.160s: %s", path, err_text(err));
}

/* ---- prepare ---- */

struct authorities {
    EVP_PKEY *old_key, *root_key, *issuing_key;
    struct certificates old; /* the root that is there */
    X509 *root, *new_with_old, *issuing;
};

static void authorities_cleanup(struct authorities *a)
{
    EVP_PKEY_free(a->old_key);
    EVP_PKEY_free(a->root_key);
    EVP_PKEY_free(a->issuing_key);
    certificates_cleanup(&a->old);
    X509_free(a->root);
    X509_free(a->new_with_old);
    X509_free(a->issuing);
}

static enum err read_old_root(const char *state, struct authorities *a, char explain[256])
{
    char path[PATH_MAX];
    enum err err = ca_path(state, "offline/root.key", path);
    if (err == ERR_NONE)
        err = ca_key_read(path, &a->old_key);
    if (err != ERR_NONE)
        return ca_fail(err, explain,
                       "%.120s: %s; put the offline medium in its place (with a root of your own, "
                       "see holdfast-ca(1))",
                       path, err_text(err));
    err = read_certificates(state, "offline/root.pem", &a->old, explain);
    if (err == ERR_NONE && EVP_PKEY_eq(a->old_key, X509_get0_pubkey(a->old.all[0])) != 1)
        err = ca_fail(ERR_CONFLICT, explain, "offline/root.key is not the key of offline/root.pem");
    return err;
}

static enum err make_authorities(const char *fleet, bool keep_root, struct authorities *a)
{
    X509 *root = a->old.all[0];
    EVP_PKEY *root_key = a->old_key;
    enum err err = ERR_NONE;
    if (!keep_root) {
        err = ca_key_new(KEY_P384, &a->root_key);
        if (err == ERR_NONE)
            err = ca_root_certificate(fleet, a->root_key, NULL, a->root_key, &a->root);
        if (err == ERR_NONE)
            err = ca_root_certificate(fleet, a->root_key, root, root_key, &a->new_with_old);
        root = a->root;
        root_key = a->root_key;
    }
    if (err == ERR_NONE)
        err = ca_key_new(KEY_P256, &a->issuing_key);
    if (err == ERR_NONE)
        err = ca_issuing_certificate(fleet, NULL, a->issuing_key, root, root_key, &a->issuing);
    return err;
}

/* next-issuing.pem last: where it is, the rest is. */
static enum err write_authorities(const char *state, const struct authorities *a, char explain[256])
{
    X509 *const chain[] = {a->issuing, a->new_with_old};
    enum err err = ERR_NONE;
    if (a->root != NULL) {
        err = write_key(state, "offline", "next-root.key", a->root_key, explain);
        if (err == ERR_NONE)
            err = write_certificates(state, "offline", "next-root.pem", &a->root, 1, 0444, explain);
        if (err == ERR_NONE)
            err = write_certificates(state, ".", "next-root.pem", &a->root, 1, 0644, explain);
    } else { /* of an attempt that came to nothing */
        err = remove_file(state, "next-root.pem", explain);
        if (err == ERR_NONE)
            err = remove_file(state, "offline/next-root.key", explain);
        if (err == ERR_NONE)
            err = remove_file(state, "offline/next-root.pem", explain);
    }
    if (err == ERR_NONE)
        err = write_key(state, "signer", "next-issuing.key", a->issuing_key, explain);
    if (err == ERR_NONE)
        err = flush(state, explain);
    if (err == ERR_NONE)
        err = write_certificates(state, "signer", "next-issuing.pem", chain,
                                 a->root != NULL ? 2 : 1, 0400, explain);
    return err == ERR_NONE ? flush(state, explain) : err;
}

enum err ca_roll_prepare(const char *state, const char *fleet, bool keep_root, char explain[256])
{
    if (!ca_is_fleet_name(slice_of_text(fleet)))
        return ca_fail(ERR_SYNTAX, explain, "'%.64s' can't be a fleet's name", fleet);
    if (is_there(state, "signer/previous-issuing.pem"))
        return ca_fail(ERR_EXISTS, explain,
                       "the roll-over before is not finished: `holdfast ca finish`");
    if (is_there(state, "signer/next-issuing.pem"))
        return ca_fail(ERR_EXISTS, explain,
                       "the next authority is there already: `holdfast ca switch` takes it");
    struct authorities a CLEANUP(authorities_cleanup) = {.old_key = NULL};
    enum err err = read_old_root(state, &a, explain);
    if (err != ERR_NONE)
        return err;
    err = make_authorities(fleet, keep_root, &a);
    ERR_clear_error();
    if (err != ERR_NONE)
        return ca_fail(err, explain, "keys and certificates can't be made: %s", err_text(err));
    return write_authorities(state, &a, explain);
}

/* ---- switch ---- */

/* Both roots are believed until the end. */
static enum err trust_both(const char *state, char explain[256])
{
    struct certificates roots CLEANUP(certificates_cleanup) = {.n = 0};
    struct certificates next CLEANUP(certificates_cleanup) = {.n = 0};
    X509 *both[CA_CHAIN_MAX];
    size_t n = 0;
    if (!is_there(state, "next-root.pem"))
        return ERR_NONE;
    enum err err = read_certificates(state, "next-root.pem", &next, explain);
    if (err == ERR_NONE)
        err = read_certificates(state, "root.pem", &roots, explain);
    if (err != ERR_NONE)
        return err;
    both[n++] = next.all[0];
    for (size_t i = 0; i < roots.n; i++) {
        if (X509_cmp(roots.all[i], next.all[0]) == 0)
            continue;
        if (n == CA_CHAIN_MAX)
            return ca_fail(ERR_LIMIT, explain, "root.pem holds %d roots: take out an old one",
                           CA_CHAIN_MAX);
        both[n++] = roots.all[i];
    }
    return write_certificates(state, ".", "root.pem", both, n, 0644, explain);
}

enum err ca_roll_switch(const char *state, char explain[256])
{
    if (!is_there(state, "signer/next-issuing.pem"))
        return ca_fail(ERR_NOT_FOUND, explain,
                       "no next authority is prepared: `holdfast ca prepare`");
    enum err err = trust_both(state, explain);
    if (err == ERR_NONE)
        err = link_file(state, "signer/issuing.key", "signer/previous-issuing.key", explain);
    if (err == ERR_NONE)
        err = link_file(state, "signer/issuing.pem", "signer/previous-issuing.pem", explain);
    if (err == ERR_NONE)
        err = flush(state, explain);
    if (err == ERR_NONE)
        err = move_file(state, "signer/next-issuing.key", "signer/issuing.key", explain);
    if (err == ERR_NONE)
        err = move_file(state, "signer/next-issuing.pem", "signer/issuing.pem", explain);
    if (err == ERR_NONE)
        err = remove_file(state, "next-root.pem", explain); /* it stands in root.pem now */
    ERR_clear_error();
    return err == ERR_NONE ? flush(state, explain) : err;
}

/* ---- finish ---- */

static bool signed_by(const struct certificates *chain, X509 *root)
{
    for (size_t i = 0; i < chain->n; i++)
        if (X509_cmp(chain->all[i], root) != 0 &&
            X509_verify(chain->all[i], X509_get0_pubkey(root)) == 1)
            return true;
    return false;
}

static bool is_self_issued(X509 *c)
{
    return X509_NAME_cmp(X509_get_subject_name(c), X509_get_issuer_name(c)) == 0;
}

/* The issuing certificate and what is between it and its root; not that root under the old one. */
static void keep_own(struct certificates *chain)
{
    size_t n = 0;
    for (size_t i = 0; i < chain->n; i++) {
        if (is_self_issued(chain->all[i]))
            X509_free(chain->all[i]);
        else
            chain->all[n++] = chain->all[i];
    }
    chain->n = n;
}

/* What stays on the medium is the new root's; the old one's key is gone with this. */
static enum err finish_offline(const char *state, char explain[256])
{
    if (!is_there(state, "offline/root.pem"))
        return ca_fail(ERR_NOT_FOUND, explain,
                       "offline/root.pem: not there; put the offline medium in its place: the old "
                       "root's key on it is replaced by the new one's");
    enum err err = move_file(state, "offline/next-root.key", "offline/root.key", explain);
    return err == ERR_NONE ? move_file(state, "offline/next-root.pem", "offline/root.pem", explain)
                           : err;
}

static enum err finish(const char *state, const struct certificates *chain, X509 *root,
                       char explain[256])
{
    struct certificates previous CLEANUP(certificates_cleanup) = {.n = 0};
    enum err err = read_certificates(state, "signer/previous-issuing.pem", &previous, explain);
    if (err == ERR_NONE && !signed_by(&previous, root))
        err = finish_offline(state, explain);
    if (err == ERR_NONE)
        err = write_certificates(state, ".", "root.pem", &root, 1, 0644, explain);
    if (err == ERR_NONE)
        err =
            write_certificates(state, "signer", "issuing.pem", chain->all, chain->n, 0400, explain);
    if (err == ERR_NONE)
        err = flush(state, explain);
    if (err == ERR_NONE)
        err = remove_file(state, "signer/previous-issuing.key", explain);
    if (err == ERR_NONE)
        err = remove_file(state, "signer/previous-issuing.pem", explain);
    return err == ERR_NONE ? flush(state, explain) : err;
}

enum err ca_roll_finish(const char *state, char explain[256])
{
    struct certificates chain CLEANUP(certificates_cleanup) = {.n = 0};
    struct certificates roots CLEANUP(certificates_cleanup) = {.n = 0};
    if (!is_there(state, "signer/previous-issuing.pem"))
        return ca_fail(ERR_NOT_FOUND, explain, "there is no previous authority to be given up");
    if (is_there(state, "signer/next-issuing.pem"))
        return ca_fail(ERR_REFUSED, explain,
                       "the switch was cut short: `holdfast ca switch` again");
    enum err err = read_certificates(state, "signer/issuing.pem", &chain, explain);
    if (err == ERR_NONE)
        err = read_certificates(state, "root.pem", &roots, explain);
    if (err != ERR_NONE)
        return err;
    keep_own(&chain);
    size_t i = 0;
    while (i < roots.n && !signed_by(&chain, roots.all[i]))
        i++;
    err = i == roots.n
              ? ca_fail(ERR_CONFLICT, explain, "no root in root.pem is that of signer/issuing.pem")
              : finish(state, &chain, roots.all[i], explain);
    ERR_clear_error();
    return err;
}
