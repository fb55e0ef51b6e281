#include "pki/ca_crl.h"

#include <limits.h>

#include "base/clock.h"
#include "core/base64.h"
#include "pki/ca_files.h"
#include "pki/crl.h"

#define BACKDATE 300 /* seconds: for readers whose clocks are behind */

/* Those that are believed, and the one that will be after `holdfast ca switch`. */
struct roots {
    X509 *all[CA_CRL_LISTS];
    size_t n;
};

static void roots_cleanup(struct roots *r)
{
    for (size_t i = 0; i < r->n; i++)
        X509_free(r->all[i]);
}

static enum err read_roots(const char *state, struct roots *r, char explain[256])
{
    char path[PATH_MAX];
    size_t n = 0;
    enum err err = ca_path(state, "root.pem", path);
    if (err == ERR_NONE)
        err = ca_chain_read(path, r->all, &r->n);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    X509 *next[CA_CHAIN_MAX];
    err = ca_path(state, "next-root.pem", path);
    if (err == ERR_NONE)
        err = ca_chain_read(path, next, &n);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE;
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    r->all[r->n++] = next[0];
    for (size_t i = 1; i < n; i++)
        X509_free(next[i]);
    return ERR_NONE;
}

/* What is on the offline medium: the key of the root, and of the next one during a roll-over. */
struct root_keys {
    EVP_PKEY *all[2];
    size_t n;
};

static void root_keys_cleanup(struct root_keys *k)
{
    for (size_t i = 0; i < k->n; i++)
        EVP_PKEY_free(k->all[i]);
}

static enum err read_root_keys(const char *state, struct root_keys *k, char explain[256])
{
    static const char *const names[] = {"offline/root.key", "offline/next-root.key"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[PATH_MAX];
        enum err err = ca_path(state, names[i], path);
        if (err == ERR_NONE)
            err = ca_key_read(path, &k->all[k->n]);
        if (err == ERR_NONE)
            k->n++;
        else if (err != ERR_NOT_FOUND)
            return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    }
    if (k->n > 0)
        return ERR_NONE;
    return ca_fail(
        ERR_NOT_FOUND, explain,
        "%.100s/offline holds no root key: put the offline medium in its place (the list "
        "of a root of your own is made with its key: `openssl ca -gencrl`)",
        state);
}

static EVP_PKEY *key_of(const struct root_keys *k, X509 *root)
{
    for (size_t i = 0; i < k->n; i++)
        if (EVP_PKEY_eq(k->all[i], X509_get0_pubkey(root)) == 1)
            return k->all[i];
    return NULL;
}

/* The number is the time: it grows, also where nothing can be kept of the list before. */
static enum err sign_list(struct issuer *issuer, int64_t now, int64_t next_update,
                          struct writer *pem)
{
    const struct crl_frame frame = {.this_update = now - BACKDATE,
                                    .next_update = next_update,
                                    .number = (uint64_t)clock_milliseconds()};
    uint8_t prefix_bytes[CRL_PREFIX_MAX], suffix_bytes[CRL_SUFFIX_MAX];
    uint8_t bytes[CRL_HEADER_MAX + CRL_PREFIX_MAX + CRL_SUFFIX_MAX];
    struct writer prefix = writer_over(prefix_bytes, sizeof prefix_bytes);
    struct writer suffix = writer_over(suffix_bytes, sizeof suffix_bytes);
    struct writer list = writer_over(bytes, sizeof bytes);
    struct crl_signing *c = NULL;
    enum err err = crl_begin(issuer, &frame, 0, &c, &prefix);
    if (err == ERR_NONE)
        err = crl_finish(c, &suffix);
    crl_free(c);
    if (err != ERR_NONE)
        return err;
    crl_header_write(&list, prefix.len + suffix.len);
    writer_put(&list, writer_bytes(&prefix));
    writer_put(&list, writer_bytes(&suffix));
    if (list.err != ERR_NONE)
        return list.err;
    writer_text(pem, "-----BEGIN X509 CRL-----\n");
    base64_write_lines(pem, writer_bytes(&list));
    writer_text(pem, "-----END X509 CRL-----\n");
    return pem->err;
}

static enum err write_list(X509 *root, EVP_PKEY *key, int64_t lifetime, struct writer *pem,
                           int64_t *ret_next_update)
{
    struct issuer *issuer = NULL;
    enum err err = issuer_new(key, root, &issuer);
    if (err != ERR_NONE)
        return err;
    int64_t now = clock_seconds(), left = issuer_not_after(issuer) - now;
    int64_t next_update = now + (lifetime < left ? lifetime : left);
    err = left > 0 ? sign_list(issuer, now, next_update, pem) : ERR_EXPIRED;
    issuer_free(issuer);
    if (err == ERR_NONE)
        *ret_next_update = next_update;
    return err;
}

static enum err write_lists(const struct roots *roots, const struct root_keys *keys,
                            int64_t lifetime, struct writer *pem, int64_t *ret_next_update,
                            char explain[256])
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < roots->n; i++) {
        char name[128];
        int64_t next_update = 0;
        EVP_PKEY *key = key_of(keys, roots->all[i]);
        (void)X509_NAME_oneline(X509_get_subject_name(roots->all[i]), name, sizeof name);
        if (key == NULL)
            return ca_fail(ERR_NOT_FOUND, explain,
                           "no key in offline/ is that of the root %.100s (the list of a root of "
                           "your own is made with its key: `openssl ca -gencrl`)",
                           name);
        enum err err = write_list(roots->all[i], key, lifetime, pem, &next_update);
        if (err != ERR_NONE)
            return ca_fail(err, explain, "the root %.120s can't sign a list: %s", name,
                           err_text(err));
        first = next_update < first ? next_update : first;
    }
    *ret_next_update = first;
    return ERR_NONE;
}

enum err ca_crl(const char *state, int64_t lifetime, struct writer *pem, int64_t *ret_next_update,
                char explain[256])
{
    struct roots roots CLEANUP(roots_cleanup) = {.n = 0};
    struct root_keys keys CLEANUP(root_keys_cleanup) = {.n = 0};
    enum err err = read_roots(state, &roots, explain);
    if (err == ERR_NONE)
        err = read_root_keys(state, &keys, explain);
    return err == ERR_NONE ? write_lists(&roots, &keys, lifetime, pem, ret_next_update, explain)
                           : err;
}
