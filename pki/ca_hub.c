#include "pki/ca_hub.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/crypto.h"
#include "base/file.h"
#include "pki/ca_files.h"

struct chain {
    X509 *certificates[CA_CHAIN_MAX];
    size_t n;
};

static void chain_cleanup(struct chain *c)
{
    for (size_t i = 0; i < c->n; i++)
        X509_free(c->certificates[i]);
    ERR_clear_error();
}

static enum err chain_add(struct chain *c, struct slice der)
{
    if (c->n == CA_CHAIN_MAX)
        return ERR_LIMIT;
    const uint8_t *at = der.data;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.len);
    if (certificate == NULL || at != der.data + der.len) {
        X509_free(certificate);
        return ERR_SYNTAX;
    }
    c->certificates[c->n++] = certificate;
    return ERR_NONE;
}

/* ---- the request ---- */

/* Where the keys are there, from a request that got lost, it is made of them anew. */
static enum err own_keys(const char *state, const char *fleet, const char *signer_user,
                         char explain[256])
{
    static const char *const fleets[] = {"root.pem", "signer/issuing.pem"};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(fleets); i++) {
        enum err err = ca_path(state, fleets[i], path);
        if (err != ERR_NONE)
            return ca_fail(err, explain, "the state folder has too long a path");
        if (access(path, F_OK) == 0)
            return ca_fail(ERR_EXISTS, explain,
                           "%.120s is there already: this machine's hub is in a fleet", path);
    }
    enum err err = ca_path(state, "ledger.vkey", path);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "the state folder has too long a path");
    return access(path, F_OK) == 0 ? ERR_NONE : ca_init_further(state, fleet, signer_user, explain);
}

static enum err read_own_key(const char *state, const char *name, EVP_PKEY **ret_key,
                             char explain[256])
{
    char path[PATH_MAX];
    enum err err = ca_path(state, name, path);
    if (err == ERR_NONE)
        err = ca_key_read(path, ret_key);
    return err == ERR_NONE ? err : ca_fail(err, explain, "%.160s: %s", path, err_text(err));
}

/* <state>/NAME.vkey, whose key has to be called FLEET/NAME. */
static enum err read_own_vkey(const char *state, const char *fleet, const char *name,
                              struct note_key *ret_key, char explain[256])
{
    char path[PATH_MAX], file[32], wanted[NOTE_NAME_MAX + 1];
    struct note_key key;
    (void)snprintf(file, sizeof file, "%s.vkey", name);
    (void)snprintf(wanted, sizeof wanted, "%s/%s", fleet, name);
    enum err err = ca_path(state, file, path);
    if (err == ERR_NONE)
        err = ca_vkey_read(path, &key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    if (!ca_is_fleet_name(slice_of_text(fleet)) || strcmp(key.name, wanted) != 0)
        return ca_fail(ERR_REFUSED, explain, "the keys in %.100s were made for '%.60s'", state,
                       key.name);
    *ret_key = key;
    return ERR_NONE;
}

static enum err write_request(EVP_PKEY *issuing, EVP_PKEY *ledger, struct hub_request *request,
                              struct writer *note)
{
    X509_REQ *made = NULL;
    uint8_t *der = NULL;
    enum err err = ca_request(request->fleet, request->name, issuing, &made);
    int len = err == ERR_NONE ? i2d_X509_REQ(made, &der) : 0;
    X509_REQ_free(made);
    if (err == ERR_NONE && len <= 0)
        err = ERR_CRYPTO;
    if (err == ERR_NONE) {
        request->request = slice_of(der, (size_t)len);
        hub_request_write(note, request);
        err = ca_sign_note(ledger, &request->ledger_key, note);
    }
    OPENSSL_free(der);
    ERR_clear_error();
    return err;
}

enum err ca_hub_request(const char *state, const char *fleet, const char *name,
                        const char *signer_user, struct writer *note, char explain[256])
{
    struct hub_request request = {.fleet = ""};
    if (!ca_is_fleet_name(slice_of_text(fleet)))
        return ca_fail(ERR_SYNTAX, explain, "'%.64s' can't be a fleet's name", fleet);
    if (!hub_card_is_name(name))
        return ca_fail(ERR_SYNTAX, explain,
                       "'%.70s' can't be a hub's name: letters, digits, dots, dashes and "
                       "underscores, at most %d, a letter or digit first",
                       name, HUB_NAME_MAX);
    (void)snprintf(request.fleet, sizeof request.fleet, "%s", fleet);
    (void)snprintf(request.name, sizeof request.name, "%s", name);
    EVP_PKEY *issuing CLEANUP(ca_key_cleanup) = NULL;
    EVP_PKEY *ledger CLEANUP(ca_key_cleanup) = NULL;
    enum err err = own_keys(state, fleet, signer_user, explain);
    if (err == ERR_NONE)
        err = read_own_vkey(state, fleet, "ledger", &request.ledger_key, explain);
    if (err == ERR_NONE)
        err = read_own_vkey(state, fleet, "policy", &request.policy_key, explain);
    if (err == ERR_NONE)
        err = read_own_key(state, "signer/issuing.key", &issuing, explain);
    if (err == ERR_NONE)
        err = read_own_key(state, "signer/ledger.key", &ledger, explain);
    if (err != ERR_NONE)
        return err;
    err = write_request(issuing, ledger, &request, note);
    return err == ERR_NONE ? err
                           : ca_fail(err, explain, "the request can't be made: %s", err_text(err));
}

/* ---- the card ---- */

/* The issuing key, proven by the certification request's own signature. */
static enum err requested_key(const struct hub_request *request, EVP_PKEY **ret_key,
                              char explain[256])
{
    const uint8_t *at = request->request.data;
    const uint8_t *end = at + request->request.len;
    X509_REQ *r = d2i_X509_REQ(NULL, &at, (long)request->request.len);
    EVP_PKEY *key = r != NULL && at == end ? X509_REQ_get_pubkey(r) : NULL;
    char group[64] = "";
    bool is_p256 = key != NULL && EVP_PKEY_is_a(key, "EC") &&
                   EVP_PKEY_get_utf8_string_param(key, "group", group, sizeof group, NULL) == 1 &&
                   strcmp(group, "prime256v1") == 0;
    bool proven = is_p256 && X509_REQ_verify(r, key) == 1;
    X509_REQ_free(r);
    ERR_clear_error();
    if (!proven) {
        EVP_PKEY_free(key);
        return ca_fail(ERR_REFUSED, explain,
                       "the certification request in it is not one for a P-256 key, signed with "
                       "that key");
    }
    *ret_key = key;
    return ERR_NONE;
}

static enum err certify(const char *state, const struct hub_request *request, EVP_PKEY *key,
                        struct chain *chain, char explain[256])
{
    char path[PATH_MAX];
    struct chain root CLEANUP(chain_cleanup) = {.n = 0};
    EVP_PKEY *root_key CLEANUP(ca_key_cleanup) = NULL;
    enum err err = ca_path(state, "offline/root.pem", path);
    if (err == ERR_NONE)
        err = ca_chain_read(path, root.certificates, &root.n);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    err = read_own_key(state, "offline/root.key", &root_key, explain);
    if (err != ERR_NONE)
        return err;
    X509 *issuing = NULL;
    err = ca_issuing_certificate(request->fleet, request->name, key, root.certificates[0], root_key,
                                 &issuing);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "the certificate can't be made: %s", err_text(err));
    chain->certificates[0] = issuing;
    chain->certificates[1] = root.certificates[0];
    chain->n = 2;
    return X509_up_ref(root.certificates[0]) == 1 ? ERR_NONE : ERR_NO_MEMORY;
}

static enum err take_chain(const char *path, EVP_PKEY *key, struct chain *chain, char explain[256])
{
    enum err err = ca_chain_read(path, chain->certificates, &chain->n);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    if (EVP_PKEY_eq(key, X509_get0_pubkey(chain->certificates[0])) != 1)
        return ca_fail(ERR_REFUSED, explain,
                       "%.100s: the first certificate is not for the issuing key in the request",
                       path);
    return ERR_NONE;
}

static enum err check_root(X509 *root, const char *path, char explain[256])
{
    struct chain roots CLEANUP(chain_cleanup) = {.n = 0};
    enum err err = ca_chain_read(path, roots.certificates, &roots.n);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    for (size_t i = 0; i < roots.n; i++)
        if (X509_cmp(roots.certificates[i], root) == 0)
            return ERR_NONE;
    return ca_fail(ERR_REFUSED, explain,
                   "the issuing certificate does not lead to a root in %.100s", path);
}

static enum err sign_card(const char *state, const struct hub_request *request,
                          const struct chain *chain, struct writer *note, char explain[256])
{
    struct hub_card card = {.ledger_key = request->ledger_key,
                            .policy_key = request->policy_key,
                            .chain_len = chain->n};
    memcpy(card.fleet, request->fleet, sizeof card.fleet);
    memcpy(card.name, request->name, sizeof card.name);
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    enum err err = read_own_key(state, "offline/bundle.key", &key, explain);
    if (err != ERR_NONE)
        return err;
    char name[NOTE_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s/bundle", request->fleet);
    err = ca_note_key(key, name, &card.bundle_key);
    uint8_t *der[CA_CHAIN_MAX] = {NULL};
    for (size_t i = 0; err == ERR_NONE && i < chain->n; i++) {
        int len = i2d_X509(chain->certificates[i], &der[i]);
        if (len <= 0)
            err = ERR_CRYPTO;
        else
            card.chain[i] = slice_of(der[i], (size_t)len);
    }
    if (err == ERR_NONE) {
        hub_card_write(note, &card);
        err = ca_sign_note(key, &card.bundle_key, note);
    }
    for (size_t i = 0; i < chain->n; i++)
        OPENSSL_free(der[i]);
    return err == ERR_NONE ? err
                           : ca_fail(err, explain, "the card can't be made: %s", err_text(err));
}

static bool is_among(const struct note_key *keys, size_t n, const struct note_key *key)
{
    for (size_t i = 0; i < n; i++)
        if (note_key_equal(&keys[i], key))
            return true;
    return false;
}

/* Does the last bundle name both keys of that hub? */
static bool bundle_names(const char *state, const struct hub_request *request)
{
    char path[PATH_MAX];
    uint8_t *note = NULL;
    size_t len = 0;
    uint8_t storage[TRUST_ROOTS_MAX * CERTIFICATE_MAX];
    struct trust_bundle b;
    if (ca_path(state, "bundle", path) != ERR_NONE ||
        file_read(path, TRUST_BUNDLE_MAX, &note, &len) != ERR_NONE)
        return false;
    enum err err = trust_bundle_read(slice_of(note, len), NULL, crypto_sha256,
                                     crypto_ed25519_verify, storage, sizeof storage, &b);
    file_free_secret(note, len);
    return err == ERR_NONE && is_among(b.ledger_keys, b.ledger_keys_len, &request->ledger_key) &&
           is_among(b.policy_keys, b.policy_keys_len, &request->policy_key);
}

/* The owner's bundle key is called after the fleet it was made for. */
static enum err check_fleet(const char *state, const struct hub_request *request, char explain[256])
{
    char path[PATH_MAX], name[NOTE_NAME_MAX + 1], origin[NOTE_NAME_MAX + 1];
    struct note_key key;
    (void)snprintf(name, sizeof name, "%s/bundle", request->fleet);
    enum err err = ca_path(state, "bundle.vkey", path);
    if (err == ERR_NONE)
        err = ca_vkey_read(path, &key);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    if (strcmp(key.name, name) != 0)
        return ca_fail(ERR_REFUSED, explain, "the request is for the fleet '%.63s', not for %.80s",
                       request->fleet, key.name);
    err = ca_ledger_origin(request->fleet, origin);
    if (err != ERR_NONE || strcmp(request->ledger_key.name, origin) != 0)
        return ca_fail(ERR_REFUSED, explain, "its ledger key is not called %.120s", origin);
    (void)snprintf(name, sizeof name, "%s/policy", request->fleet);
    if (strcmp(request->policy_key.name, name) != 0)
        return ca_fail(ERR_REFUSED, explain, "its policy key is not called %.120s", name);
    return ERR_NONE;
}

enum err ca_hub_card(const char *state, struct slice note, const char *chain_path,
                     struct writer *card, struct ca_hub_answer *ret_answer, char explain[256])
{
    static uint8_t storage[HUB_CARD_STORAGE];
    struct hub_request request;
    struct chain chain CLEANUP(chain_cleanup) = {.n = 0};
    EVP_PKEY *key CLEANUP(ca_key_cleanup) = NULL;
    char path[PATH_MAX];
    enum err err = hub_request_read(note, storage, &request);
    if (err != ERR_NONE)
        return ca_fail(ERR_REFUSED, explain,
                       "this is no request that `holdfast hub join` made (%s)", err_text(err));
    err = check_fleet(state, &request, explain);
    if (err == ERR_NONE)
        err = requested_key(&request, &key, explain);
    if (err == ERR_NONE)
        err = chain_path != NULL ? take_chain(chain_path, key, &chain, explain)
                                 : certify(state, &request, key, &chain, explain);
    if (err == ERR_NONE)
        err = ca_chain_check(chain.certificates, chain.n, explain);
    if (err == ERR_NONE)
        err = ca_path(state, "root.pem", path);
    if (err == ERR_NONE)
        err = check_root(chain.certificates[chain.n - 1], path, explain);
    if (err == ERR_NONE)
        err = sign_card(state, &request, &chain, card, explain);
    if (err != ERR_NONE)
        return err;
    struct ca_hub_answer answer = {.bundle_changed = !bundle_names(state, &request)};
    memcpy(answer.name, request.name, sizeof answer.name);
    uint8_t bundle[TRUST_BUNDLE_MAX];
    struct writer w = writer_over(bundle, sizeof bundle);
    const struct ca_bundle_keys keys = {&request.ledger_key, &request.policy_key};
    if (answer.bundle_changed)
        err = ca_bundle_change(state, request.fleet, &keys, NULL, &w, explain);
    if (err == ERR_NONE)
        *ret_answer = answer;
    return err;
}

/* ---- taking it in ---- */

static enum err read_chain(const struct hub_card *card, struct chain *chain, char explain[256])
{
    for (size_t i = 0; i < card->chain_len; i++)
        if (chain_add(chain, card->chain[i]) != ERR_NONE)
            return ca_fail(ERR_REFUSED, explain, "certificate %zu can't be read", i + 1);
    return ERR_NONE;
}

enum err ca_hub_install(const char *state, struct slice note, char explain[256])
{
    static uint8_t storage[HUB_CARD_STORAGE];
    struct hub_card card;
    struct note_key ledger, policy;
    struct chain chain CLEANUP(chain_cleanup) = {.n = 0};
    enum err err = hub_card_read(note, NULL, storage, &card);
    if (err != ERR_NONE)
        return ca_fail(ERR_REFUSED, explain, "this is no card that `holdfast ca certify` made (%s)",
                       err_text(err));
    err = read_own_vkey(state, card.fleet, "ledger", &ledger, explain);
    if (err == ERR_NONE)
        err = read_own_vkey(state, card.fleet, "policy", &policy, explain);
    if (err != ERR_NONE)
        return err;
    if (!note_key_equal(&ledger, &card.ledger_key) || !note_key_equal(&policy, &card.policy_key))
        return ca_fail(ERR_REFUSED, explain,
                       "the card is for the hub '%.64s' with other keys than this machine's: "
                       "`holdfast hub join` makes the request to be certified",
                       card.name);
    err = read_chain(&card, &chain, explain);
    if (err == ERR_NONE)
        err = ca_install_chain(state, chain.certificates, chain.n, explain);
    if (err != ERR_NONE)
        return err;
    char path[PATH_MAX];
    uint8_t text[NOTE_KEY_TEXT_MAX + 1];
    struct writer w = writer_over(text, sizeof text);
    note_key_write(&w, &card.bundle_key);
    writer_text(&w, "\n");
    err = ca_path(state, "bundle.vkey", path);
    if (err == ERR_NONE)
        err = w.err != ERR_NONE ? w.err : file_replace(path, writer_bytes(&w), 0644);
    return err == ERR_NONE ? err : ca_fail(err, explain, "%.160s: %s", path, strerror(errno));
}

/* ---- checks ---- */

enum err ca_hub_check(const struct hub_card *card, const char *roots, char explain[256])
{
    struct chain chain CLEANUP(chain_cleanup) = {.n = 0};
    enum err err = read_chain(card, &chain, explain);
    if (err == ERR_NONE)
        err = ca_chain_check(chain.certificates, chain.n, explain);
    return err == ERR_NONE ? check_root(chain.certificates[chain.n - 1], roots, explain) : err;
}

enum err ca_hub_check_chain(struct slice der, const char *path, char explain[256])
{
    struct chain chain CLEANUP(chain_cleanup) = {.n = 0};
    struct chain roots CLEANUP(chain_cleanup) = {.n = 0};
    struct reader r = reader_over(der);
    enum err err = ca_chain_read(path, roots.certificates, &roots.n);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.160s: %s", path, err_text(err));
    while (reader_left(&r) > 0 && r.err == ERR_NONE) {
        unsigned tag;
        struct slice one = der_read_any(&r, &tag);
        if (r.err == ERR_NONE)
            reader_fail(&r, chain_add(&chain, one));
    }
    if (reader_finish(&r) != ERR_NONE || chain.n == 0 || chain.n == CA_CHAIN_MAX)
        return ca_fail(ERR_REFUSED, explain, "its certificates can't be read");
    err = ERR_REFUSED;
    for (size_t i = 0; i < roots.n && err != ERR_NONE; i++) {
        if (X509_up_ref(roots.certificates[i]) != 1)
            return ERR_NO_MEMORY;
        chain.certificates[chain.n++] = roots.certificates[i];
        err = ca_chain_check(chain.certificates, chain.n, explain);
        X509_free(chain.certificates[--chain.n]);
    }
    return err;
}
