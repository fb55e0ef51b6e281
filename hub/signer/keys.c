#include "hub/signer/keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/crypto.h"

static enum err fail(enum err err, char explain[256], const char *format, ...) PRINTF_LIKE(3, 4);
static enum err fail(enum err err, char explain[256], const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(explain, 256, format, values);
    va_end(values);
    return err;
}

static enum err path_of(const struct signer_options *options, const char *name, char path[PATH_MAX],
                        char explain[256])
{
    int n = snprintf(path, PATH_MAX, "%s/%s", options->folder, name);
    if (n < 0 || n >= PATH_MAX)
        return fail(ERR_LIMIT, explain, "the signer's folder has too long a path");
    return ERR_NONE;
}

/* A key that the hub's user can read, or a file it can exchange, is no secret of the signer's. */
static enum err check_private(const char *path, bool folder, uid_t owner, char explain[256])
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return fail(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, explain,
                    "%.120s: %s; `holdfast ca init` makes it", path, strerror(errno));
    if (folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
        return fail(ERR_REFUSED, explain, "%.160s is not a %s", path, folder ? "folder" : "file");
    if (st.st_uid != 0 && st.st_uid != owner)
        return fail(ERR_REFUSED, explain,
                    "%.120s belongs to user %u; it must be user %u's or root's", path,
                    (unsigned)st.st_uid, (unsigned)owner);
    if ((st.st_mode & 077) != 0)
        return fail(ERR_REFUSED, explain, "%.120s is open to others (mode %o): take that away",
                    path, (unsigned)st.st_mode & 07777);
    return ERR_NONE;
}

static enum err read_key(const struct signer_options *options, const char *name, uid_t owner,
                         EVP_PKEY **ret_key, char explain[256])
{
    char path[PATH_MAX];
    enum err err = path_of(options, name, path, explain);
    if (err == ERR_NONE)
        err = check_private(path, false, owner, explain);
    if (err != ERR_NONE)
        return err;
    err = ca_key_read(path, ret_key);
    if (err != ERR_NONE)
        return fail(err, explain, "%.160s: %s", path, err_text(err));
    return ERR_NONE;
}

static enum err open_note_key(const struct signer_options *options, uid_t owner, const char *file,
                              const char *name, struct note_signer *s, char explain[256])
{
    enum err err = read_key(options, file, owner, &s->key, explain);
    if (err != ERR_NONE)
        return err;
    uint8_t public_key[ED25519_KEY_SIZE];
    size_t len = sizeof public_key;
    if (!EVP_PKEY_is_a(s->key, "ED25519") ||
        EVP_PKEY_get_raw_public_key(s->key, public_key, &len) != 1 || len != sizeof public_key)
        return fail(ERR_UNSUPPORTED, explain, "%s is not an Ed25519 key", file);
    err = note_key_init(&s->public_key, crypto_sha256, slice_of_text(name), public_key);
    if (err != ERR_NONE)
        return fail(err, explain, "'%.128s' can't be the origin or name of %s", name, file);
    return ERR_NONE;
}

/* Of a state that was opened: it belongs to the signer, whoever made it. */
static enum err take_state(const char *path, int fd, uid_t owner, enum err err, const char *what,
                           char explain[256])
{
    if (err == ERR_SYNTAX)
        return fail(err, explain, "%.100s is damaged: without it the signer can't tell which %s",
                    path, what);
    if (err != ERR_NONE)
        return fail(err, explain, "%.160s: %s", path, err_text(err));
    /* made by root at the first start, or moved here with another owner */
    if (geteuid() == 0 && fchown(fd, owner, (gid_t)-1) != 0)
        return fail(ERR_IO, explain, "%.160s: %s", path, strerror(errno));
    return check_private(path, false, owner, explain);
}

static enum err open_ledger(const struct signer_options *options, uid_t owner,
                            struct signer_keys *k, char explain[256])
{
    char path[PATH_MAX];
    enum err err =
        open_note_key(options, owner, "ledger.key", options->origin, &k->ledger, explain);
    if (err == ERR_NONE)
        err = path_of(options, "ledger.state", path, explain);
    if (err != ERR_NONE)
        return err;
    err = ledger_state_open(path, &k->state);
    if (err == ERR_NONE)
        k->state.accept_roll_back = options->accept_roll_back;
    return take_state(path, k->state.signed_last.fd, owner, err, "trees it has signed", explain);
}

static enum err open_policy(const struct signer_options *options, uid_t owner,
                            struct signer_keys *k, char explain[256])
{
    char path[PATH_MAX], name[NOTE_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s/policy", k->fleet);
    enum err err = open_note_key(options, owner, "policy.key", name, &k->policy, explain);
    if (err == ERR_NONE)
        err = path_of(options, "policy.state", path, explain);
    if (err != ERR_NONE)
        return err;
    err = rules_state_open(path, &k->rules);
    return take_state(path, k->rules.signed_last.fd, owner, err, "rules it has signed", explain);
}

static enum err append_certificate(X509 *certificate, struct writer *w)
{
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    if (len <= 0)
        return ERR_CRYPTO;
    writer_put(w, slice_of(der, (size_t)len));
    OPENSSL_free(der);
    return w->err;
}

static enum err append_chain(X509 *const *chain, size_t n, const char *name, struct writer *w,
                             char explain[256])
{
    for (size_t i = 0; i < n; i++)
        if (append_certificate(chain[i], w) != ERR_NONE)
            return fail(w->err != ERR_NONE ? w->err : ERR_CRYPTO, explain,
                        "%s holds more than %zu bytes of certificates", name, w->max);
    return ERR_NONE;
}

/* Each one signed by the next. */
static enum err check_chain(X509 *const *chain, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (X509_verify(chain[i], X509_get0_pubkey(chain[i + 1])) != 1)
            return ERR_BAD_SIGNATURE;
    return ERR_NONE;
}

static enum err take_chain(X509 *const *chain, size_t n, EVP_PKEY *key, struct signer_keys *k,
                           struct signer_facts *facts, char explain[256])
{
    enum err err = check_chain(chain, n);
    if (err != ERR_NONE)
        return fail(err, explain, "issuing.pem: the certificates do not follow from each other");
    err = issuer_new(key, chain[0], &k->issuers[AUTHORITY_CURRENT]);
    if (err == ERR_CONFLICT)
        return fail(err, explain, "issuing.key is not the key of the certificate in issuing.pem");
    if (err == ERR_REFUSED)
        return fail(err, explain, "the certificate in issuing.pem may not issue others");
    if (err != ERR_NONE)
        return fail(err, explain, "issuing.pem: %s", err_text(err));
    struct writer w = writer_over(facts->chain, sizeof facts->chain);
    err = append_chain(chain, 1, "issuing.pem", &w, explain);
    crypto_sha256_one(writer_bytes(&w), facts->issuing_sha256);
    if (err == ERR_NONE)
        err = append_chain(chain + 1, n - 1, "issuing.pem", &w, explain);
    if (err != ERR_NONE)
        return err;
    facts->chain_len = w.len;
    facts->issuing_not_after = issuer_not_after(k->issuers[AUTHORITY_CURRENT]);
    struct reader own = reader_over(slice_of(facts->chain, facts->chain_len));
    err = ocsp_responder_new(k->issuers[AUTHORITY_CURRENT], der_read_any(&own, NULL), k->fleet,
                             &k->responders[AUTHORITY_CURRENT]);
    if (err != ERR_NONE)
        return fail(err, explain, "no OCSP responder could be made: %s", err_text(err));
    return ERR_NONE;
}

/* The authority before this one issues nothing more, but says what has become of that: by its
 * responder, and by lists. Where its key is gone already, nobody speaks for it. */
static enum err open_previous_issuer(const struct signer_options *options, uid_t owner,
                                     X509 *certificate, struct slice der, struct signer_keys *k,
                                     char explain[256])
{
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    enum err err = read_key(options, "previous-issuing.key", owner, &key, explain);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE;
    if (err != ERR_NONE)
        return err;
    err = issuer_new(key, certificate, &k->issuers[AUTHORITY_PREVIOUS]);
    if (err == ERR_NONE)
        err = ocsp_responder_new(k->issuers[AUTHORITY_PREVIOUS], der, k->fleet,
                                 &k->responders[AUTHORITY_PREVIOUS]);
    if (err != ERR_NONE)
        return fail(err, explain, "previous-issuing.pem and its key: %s", err_text(err));
    return ERR_NONE;
}

static enum err open_previous(const struct signer_options *options, uid_t owner,
                              struct signer_keys *k, struct signer_facts *facts, char explain[256])
{
    static const char name[] = "previous-issuing.pem";
    X509 *chain[CA_CHAIN_MAX] = {NULL};
    size_t n = 0;
    char path[PATH_MAX];
    enum err err = path_of(options, name, path, explain);
    if (err != ERR_NONE || access(path, F_OK) != 0)
        return err;
    err = check_private(path, false, owner, explain);
    if (err != ERR_NONE)
        return err;
    err = ca_chain_read(path, chain, &n);
    if (err == ERR_NONE)
        err = check_chain(chain, n);
    if (err != ERR_NONE)
        (void)fail(err, explain, "%.160s: %s", path, err_text(err));
    struct writer w = writer_over(facts->previous, sizeof facts->previous);
    if (err == ERR_NONE)
        err = append_chain(chain, n, name, &w, explain);
    struct reader first = reader_over(writer_bytes(&w));
    if (err == ERR_NONE)
        err =
            open_previous_issuer(options, owner, chain[0], der_read_any(&first, NULL), k, explain);
    for (size_t i = 0; i < n; i++)
        X509_free(chain[i]);
    facts->previous_len = w.len;
    facts->previous_signs = k->issuers[AUTHORITY_PREVIOUS] != NULL;
    return err;
}

static enum err open_issuing(const struct signer_options *options, uid_t owner,
                             struct signer_keys *k, struct signer_facts *facts, char explain[256])
{
    X509 *chain[CA_CHAIN_MAX] = {NULL};
    size_t n = 0;
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    char path[PATH_MAX];
    enum err err = read_key(options, "issuing.key", owner, &key, explain);
    if (err == ERR_NONE)
        err = path_of(options, "issuing.pem", path, explain);
    if (err == ERR_NONE)
        err = check_private(path, false, owner, explain);
    if (err != ERR_NONE)
        return err;
    err = ca_chain_read(path, chain, &n);
    if (err == ERR_NONE)
        err = take_chain(chain, n, key, k, facts, explain);
    else
        (void)fail(err, explain, "%.160s: %s", path, err_text(err));
    for (size_t i = 0; i < n; i++)
        X509_free(chain[i]);
    return err;
}

/* Copies: what the options point at is the hub's. */
static enum err take_server_names(const struct signer_options *options, struct signer_keys *k,
                                  char explain[256])
{
    if (options->server_names_len > SERVER_NAMES_MAX)
        return fail(ERR_LIMIT, explain, "the signer takes at most %d server names",
                    SERVER_NAMES_MAX);
    for (size_t i = 0; i < options->server_names_len; i++) {
        struct slice name = slice_of_text(options->server_names[i]);
        if (name.len == 0 || name.len >= SERVER_NAME_SIZE)
            return fail(ERR_SYNTAX, explain, "'%.128s' can't be a server's name",
                        options->server_names[i]);
        memcpy(k->server_names[i], name.data, name.len);
    }
    k->server_names_len = options->server_names_len;
    return ERR_NONE;
}

static enum err open_crl_desk(const struct signer_options *options, struct signer_keys *k,
                              char explain[256])
{
    enum err err = crl_desk_open(&k->crl, options->public_url, options->crl_shards);
    if (err != ERR_NONE)
        return fail(err, explain, "no revocation lists can be made in %u shards behind '%.100s'",
                    options->crl_shards, options->public_url != NULL ? options->public_url : "");
    return ERR_NONE;
}

static enum err take_public_url(const struct signer_options *options, struct signer_keys *k,
                                char explain[256])
{
    if (options->public_url == NULL || options->public_url[0] == '\0')
        return ERR_NONE;
    if (slice_of_text(options->public_url).len > PUBLIC_URL_MAX)
        return fail(ERR_LIMIT, explain, "the public URL has more than %d bytes", PUBLIC_URL_MAX);
    (void)snprintf(k->ocsp_url, sizeof k->ocsp_url, "%s/ocsp", options->public_url);
    return ERR_NONE;
}

enum err signer_keys_open(const struct signer_options *options, uid_t owner,
                          struct signer_keys *ret_keys, struct signer_facts *ret_facts,
                          char explain[256])
{
    struct signer_keys k = {.state.signed_last.fd = -1, .rules.signed_last.fd = -1};
    struct signer_facts facts = {.pid = 0};
    struct slice fleet = slice_of_text(options->fleet);
    if (!ca_is_fleet_name(fleet))
        return fail(ERR_SYNTAX, explain, "'%.63s' can't be a fleet's name", options->fleet);
    memcpy(k.fleet, fleet.data, fleet.len);
    enum err err = take_server_names(options, &k, explain);
    if (err == ERR_NONE)
        err = open_crl_desk(options, &k, explain);
    if (err == ERR_NONE)
        err = take_public_url(options, &k, explain);
    if (err == ERR_NONE)
        err = check_private(options->folder, true, owner, explain);
    if (err == ERR_NONE)
        err = open_issuing(options, owner, &k, &facts, explain);
    if (err == ERR_NONE)
        err = open_previous(options, owner, &k, &facts, explain);
    if (err == ERR_NONE)
        err = open_ledger(options, owner, &k, explain);
    if (err == ERR_NONE)
        err = open_policy(options, owner, &k, explain);
    ERR_clear_error();
    if (err != ERR_NONE) {
        signer_keys_close(&k);
        return err;
    }
    facts.ledger_key = k.ledger.public_key;
    if (k.state.signed_last.held) {
        facts.signed_size = k.state.signed_last.number;
        facts.signed_root = k.state.signed_last.hash;
    }
    facts.policy_key = k.policy.public_key;
    facts.rules_version = k.rules.signed_last.number;
    *ret_keys = k;
    *ret_facts = facts;
    return ERR_NONE;
}

void signer_keys_close(struct signer_keys *k)
{
    for (size_t i = 0; i < AUTHORITY_COUNT; i++)
        ocsp_responder_free(k->responders[i]);
    crl_desk_close(&k->crl);
    for (size_t i = 0; i < AUTHORITY_COUNT; i++)
        issuer_free(k->issuers[i]);
    EVP_PKEY_free(k->ledger.key);
    EVP_PKEY_free(k->policy.key);
    ledger_state_close(&k->state);
    rules_state_close(&k->rules);
    mem_wipe(k, sizeof *k);
    k->state.signed_last.fd = k->rules.signed_last.fd = -1;
}

enum err note_signer_sign(const struct note_signer *s, struct writer *text)
{
    uint8_t signature[ED25519_SIGNATURE_SIZE];
    size_t len = sizeof signature;
    struct slice message = writer_bytes(text);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool made = text->err == ERR_NONE && ctx != NULL &&
                EVP_DigestSignInit(ctx, NULL, NULL, NULL, s->key) == 1 &&
                EVP_DigestSign(ctx, signature, &len, message.data, message.len) == 1 &&
                len == sizeof signature;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (!made)
        return text->err != ERR_NONE ? text->err : ERR_CRYPTO;
    note_write_signature(text, &s->public_key, signature);
    return text->err;
}
