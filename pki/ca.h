/* The two-tier certification authority as files: made by `holdfast ca`, read by the signer.
 *
 *   <state>/offline/root.key, root.pem, bundle.key   made to be taken off this machine
 *   <state>/signer/issuing.key, issuing.pem, ledger.key, policy.key   the signer's alone (0400)
 *   <state>/root.pem                                  what the TLS of the hub's clients trusts
 *   <state>/ledger.vkey, policy.vkey, bundle.vkey     the public keys (core/note.h), named
 *                                                     FLEET/ledger, FLEET/policy, FLEET/bundle
 *   <state>/bundle                                    the last trust bundle
 * and, during a roll-over, those of pki/ca_roll.h.
 *
 * issuing.pem holds the issuing certificate, then any between it and the root. Keys are PKCS#8 PEM:
 * root P-384, issuing P-256, the others Ed25519. */
#ifndef PKI_CA_H
#define PKI_CA_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "core/trust_bundle.h"
#include "core/x509.h"
#include "pki/fleet.h"

#define CA_ROOT_YEARS    20
#define CA_ISSUING_YEARS 5
#define CA_CHAIN_MAX     4 /* certificates in issuing.pem, and in a file for ca_install() */

void ca_key_cleanup(EVP_PKEY **key);
void ca_certificate_cleanup(X509 **certificate);

/* `kind`: P-256, P-384 or Ed25519. ERR_CRYPTO. */
MUST_USE enum err ca_key_new(enum key_kind kind, EVP_PKEY **ret_key);
/* Creates the file with `mode`, flushed; refuses to overwrite (ERR_EXISTS). */
MUST_USE enum err ca_key_write(const char *path, EVP_PKEY *key, mode_t mode);
/* One private key, not encrypted. ERR_NOT_FOUND, ERR_IO, ERR_LIMIT, ERR_SYNTAX. */
MUST_USE enum err ca_key_read(const char *path, EVP_PKEY **ret_key);
/* At least one certificate, each in the strict form of core/x509.h. As above, and ERR_UNSUPPORTED
 * for a key that is not taken. The caller frees each. */
MUST_USE enum err ca_chain_read(const char *path, X509 *ret_chain[CA_CHAIN_MAX], size_t *ret_n);

/* "FLEET/ledger": what the ledger's key and its checkpoints are called; the origin to be handed to
 * the signer and the ledger. ERR_SYNTAX. */
MUST_USE enum err ca_ledger_origin(const char *fleet, char ret_origin[NOTE_NAME_MAX + 1]);

/* Makes root and issuing CA, ledger and bundle key, all files of above but the last, for fleet
 * `fleet`. signer/ goes to `signer_user` (name or number), where that is not NULL: then the caller
 * is root. Nothing is left behind where it fails. ERR_EXISTS where a CA is there already. */
MUST_USE enum err ca_init(const char *state, const char *fleet, const char *signer_user,
                          char explain[256]);
/* A PKCS#10 request (PEM, NUL-terminated, malloc'd) for the issuing key, to be signed by an owner's
 * own root. */
MUST_USE enum err ca_csr(const char *state, const char *fleet, char **ret_pem, char explain[256]);
/* Takes an issuing certificate (with its chain up to and including the root, PEM file) signed
 * elsewhere: checks key, basicConstraints, pathlen (0), keyUsage, dates, signatures; then replaces
 * issuing.pem and root.pem. ERR_REFUSED with the reason in `explain`. The signer reads them when it
 * starts. */
MUST_USE enum err ca_install(const char *state, const char *path, char explain[256]);

struct ca_other { /* an issuing certificate beside the one in use */
    bool there;
    char subject[256];
    uint8_t sha256[SHA256_SIZE];
    int64_t not_after;
};
struct ca_facts {
    char root_subject[256], issuing_subject[256];
    uint8_t root_sha256[SHA256_SIZE], issuing_sha256[SHA256_SIZE];
    int64_t root_not_after, issuing_not_after;
    bool root_key_present;   /* offline/root.key is still on this machine */
    bool bundle_key_present; /* and the bundle key */
    struct note_key ledger_key, policy_key, bundle_key;
    struct ca_other next, previous; /* of a roll-over: pki/ca_roll.h */
};
/* Reads signer/issuing.pem: as root or as the signer's user. */
MUST_USE enum err ca_show(const char *state, struct ca_facts *ret_facts, char explain[256]);

/* Makes and signs a trust bundle: needs offline/bundle.key. The version is the last plus one
 * (<state>/bundle holds the last). Gives the note and keeps it in <state>/bundle. ERR_REFUSED where
 * the last is another fleet's or signed by another key. */
MUST_USE enum err ca_bundle(const char *state, const char *fleet, struct writer *w,
                            char explain[256]);
struct ca_bundle_keys { /* of a hub; either may be NULL */
    const struct note_key *ledger, *policy;
};
/* The same for one that names `added`, too, and `without` no more (either may be NULL). Every
 * bundle names the ledger and policy keys of the last and those in ledger.vkey and policy.vkey.
 * ERR_LIMIT: they are too many. ERR_NOT_FOUND: there is no such key to be left out. */
MUST_USE enum err ca_bundle_change(const char *state, const char *fleet,
                                   const struct ca_bundle_keys *added,
                                   const struct note_key *without, struct writer *w,
                                   char explain[256]);

#endif
