#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "pki/ca_files.h"

#define ROOTS_MAX ((size_t)TRUST_ROOTS_MAX * CERTIFICATE_MAX)

/* The last bundle of this fleet: its version (0 where there is none) and its hubs' keys. */
static enum err read_last(const char *state, struct trust_bundle *b, char explain[256])
{
    char path[PATH_MAX];
    uint8_t *note = NULL;
    size_t len = 0;
    enum err err = ca_path(state, "bundle", path);
    if (err == ERR_NONE)
        err = file_read(path, TRUST_BUNDLE_MAX, &note, &len);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE;
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    uint8_t storage[ROOTS_MAX];
    struct trust_bundle last;
    err = trust_bundle_read(slice_of(note, len), NULL, crypto_sha256, crypto_ed25519_verify,
                            storage, sizeof storage, &last);
    file_free_secret(note, len);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    if (!slice_equal(slice_of_text(last.fleet), slice_of_text(b->fleet)))
        return ca_fail(ERR_REFUSED, explain, "%.100s is the bundle of another fleet, '%.63s'", path,
                       last.fleet);
    if (!note_key_equal(&last.bundle_key, &b->bundle_key))
        return ca_fail(ERR_REFUSED, explain,
                       "%.100s was signed by another bundle key: devices would not follow this one",
                       path);
    b->version = last.version;
    memcpy(b->ledger_keys, last.ledger_keys, sizeof b->ledger_keys);
    b->ledger_keys_len = last.ledger_keys_len;
    memcpy(b->policy_keys, last.policy_keys, sizeof b->policy_keys);
    b->policy_keys_len = last.policy_keys_len;
    return ERR_NONE;
}

/* ---- the hubs' keys ---- */

/* Those of one kind in a bundle. */
struct keys {
    const char *kind; /* "ledger", "policy" */
    struct note_key *keys;
    size_t *len;
    size_t max;
};

static size_t find_key(const struct keys *k, const struct note_key *key)
{
    size_t i = 0;
    while (i < *k->len && !note_key_equal(&k->keys[i], key))
        i++;
    return i;
}

static enum err add_key(const struct keys *k, const struct note_key *key, char explain[256])
{
    if (find_key(k, key) < *k->len)
        return ERR_NONE;
    if (*k->len == k->max)
        return ca_fail(ERR_LIMIT, explain,
                       "the bundle names %zu %s keys, which is the most; leave out one that "
                       "signs no more: `holdfast ca bundle --without KEY`",
                       k->max, k->kind);
    k->keys[(*k->len)++] = *key;
    return ERR_NONE;
}

static bool drop_key(const struct keys *k, const struct note_key *key)
{
    size_t i = find_key(k, key);
    if (i == *k->len)
        return false;
    (*k->len)--;
    memmove(&k->keys[i], &k->keys[i + 1], (*k->len - i) * sizeof k->keys[0]);
    return true;
}

/* An owner's machine without a hub has neither file: the last bundle says enough there. */
static enum err add_own_key(const char *state, const char *name, const struct keys *k,
                            char explain[256])
{
    char path[PATH_MAX];
    struct note_key own;
    enum err err = ca_path(state, name, path);
    if (err == ERR_NONE)
        err = ca_vkey_read(path, &own);
    if (err == ERR_NONE)
        return add_key(k, &own, explain);
    if (err == ERR_NOT_FOUND && *k->len > 0)
        return ERR_NONE;
    return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
}

static enum err change_keys(const char *state, const struct ca_bundle_keys *added,
                            const struct note_key *without, struct trust_bundle *b,
                            char explain[256])
{
    const struct keys ledger = {"ledger", b->ledger_keys, &b->ledger_keys_len, TRUST_LEDGERS_MAX};
    const struct keys policy = {"policy", b->policy_keys, &b->policy_keys_len, TRUST_POLICY_MAX};
    enum err err = add_own_key(state, "ledger.vkey", &ledger, explain);
    if (err == ERR_NONE)
        err = add_own_key(state, "policy.vkey", &policy, explain);
    if (err == ERR_NONE && added != NULL && added->ledger != NULL)
        err = add_key(&ledger, added->ledger, explain);
    if (err == ERR_NONE && added != NULL && added->policy != NULL)
        err = add_key(&policy, added->policy, explain);
    if (err != ERR_NONE || without == NULL)
        return err;
    if (!drop_key(&ledger, without) && !drop_key(&policy, without))
        return ca_fail(ERR_NOT_FOUND, explain, "the last bundle names no such key of a hub");
    return ERR_NONE;
}

/* ---- roots ---- */

/* Puts it behind the others in the storage, unless it is there already. */
static enum err add_root(X509 *root, struct writer *w, struct trust_bundle *b)
{
    uint8_t *der = NULL;
    int len = i2d_X509(root, &der);
    if (len <= 0)
        return ERR_CRYPTO;
    struct slice bytes = slice_of(der, (size_t)len);
    bool known = false;
    for (size_t i = 0; i < b->server_roots_len; i++)
        known = known || slice_equal(b->server_roots[i], bytes);
    size_t start = w->len;
    if (!known && b->server_roots_len < TRUST_ROOTS_MAX)
        writer_put(w, bytes);
    else if (!known)
        writer_fail(w, ERR_LIMIT);
    if (!known && w->err == ERR_NONE)
        b->server_roots[b->server_roots_len++] = slice_of(w->start + start, w->len - start);
    OPENSSL_free(der);
    return w->err;
}

/* DER of every certificate in the file. */
static enum err read_roots(const char *state, const char *name, struct writer *w,
                           struct trust_bundle *b, char explain[256])
{
    X509 *roots[CA_CHAIN_MAX] = {NULL};
    char path[PATH_MAX];
    size_t n = 0;
    enum err err = ca_path(state, name, path);
    if (err == ERR_NONE)
        err = ca_chain_read(path, roots, &n);
    if (err == ERR_NOT_FOUND)
        return err; /* the caller's to judge */
    for (size_t i = 0; i < n; i++) {
        if (err == ERR_NONE)
            err = add_root(roots[i], w, b);
        X509_free(roots[i]);
    }
    return err == ERR_NONE ? err : ca_fail(err, explain, "%.160s: %s", path, err_text(err));
}

/* The root, and the next one, where that is prepared: devices are to know it before it is used. */
static enum err read_all_roots(const char *state, uint8_t storage[ROOTS_MAX],
                               struct trust_bundle *b, char explain[256])
{
    struct writer w = writer_over(storage, ROOTS_MAX);
    enum err err = read_roots(state, "root.pem", &w, b, explain);
    if (err == ERR_NOT_FOUND)
        return ca_fail(err, explain, "%.160s/root.pem: %s", state, err_text(err));
    if (err == ERR_NONE)
        err = read_roots(state, "next-root.pem", &w, b, explain);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err read_parts(const char *state, const char *fleet, EVP_PKEY **key,
                           uint8_t storage[ROOTS_MAX], struct trust_bundle *b, char explain[256])
{
    char path[PATH_MAX];
    enum err err = ca_path(state, "offline/bundle.key", path);
    if (err == ERR_NONE)
        err = ca_key_read(path, key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    char name[NOTE_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s/bundle", fleet);
    err = ca_note_key(*key, name, &b->bundle_key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s is not an Ed25519 key", path);
    return read_all_roots(state, storage, b, explain);
}

enum err ca_sign_note(EVP_PKEY *key, const struct note_key *public_key, struct writer *note)
{
    uint8_t signature[ED25519_SIGNATURE_SIZE];
    size_t len = sizeof signature;
    struct slice text = writer_bytes(note);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool made = note->err == ERR_NONE && ctx != NULL &&
                EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(ctx, signature, &len, text.data, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (!made)
        return note->err != ERR_NONE ? note->err : ERR_CRYPTO;
    note_write_signature(note, public_key, signature);
    return note->err;
}

enum err ca_bundle_change(const char *state, const char *fleet, const struct ca_bundle_keys *added,
                          const struct note_key *without, struct writer *w, char explain[256])
{
    struct slice name = slice_of_text(fleet);
    if (!ca_is_fleet_name(name))
        return ca_fail(ERR_SYNTAX, explain, "'%.64s' can't be a fleet's name", fleet);
    struct trust_bundle b = {.time_floor = clock_seconds()};
    memcpy(b.fleet, name.data, name.len);
    uint8_t storage[ROOTS_MAX];
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    enum err err = read_parts(state, fleet, &key, storage, &b, explain);
    if (err != ERR_NONE)
        return err;
    err = read_last(state, &b, explain);
    if (err == ERR_NONE)
        err = change_keys(state, added, without, &b, explain);
    if (err != ERR_NONE)
        return err;
    b.version++;

    uint8_t bytes[TRUST_BUNDLE_MAX];
    struct writer note = writer_over(bytes, sizeof bytes);
    trust_bundle_write(&note, &b);
    err = ca_sign_note(key, &b.bundle_key, &note);
    if (err == ERR_NONE && w->max - w->len < note.len)
        err = ERR_LIMIT; /* before it counts as given out */
    if (err != ERR_NONE)
        return ca_fail(err, explain, "the bundle can't be made: %s", err_text(err));
    char path[PATH_MAX];
    err = ca_path(state, "bundle", path);
    if (err == ERR_NONE)
        err = file_replace(path, writer_bytes(&note), 0644);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, strerror(errno));
    writer_put(w, writer_bytes(&note));
    return w->err;
}

enum err ca_bundle(const char *state, const char *fleet, struct writer *w, char explain[256])
{
    return ca_bundle_change(state, fleet, NULL, NULL, w, explain);
}
