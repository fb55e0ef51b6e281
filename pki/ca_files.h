/* The files of a certification authority, and the few ways they are written. For pki/ca*.c. */
#ifndef PKI_CA_FILES_H
#define PKI_CA_FILES_H

#include <sys/types.h>

#include <openssl/bio.h>

#include "pki/ca.h"

#define CA_PEM_MAX (64 * 1024) /* bytes of any PEM file that is read */

/* Whose a new file is to be: unset leaves it to its maker. */
struct ca_owner {
    bool set;
    uid_t uid;
    gid_t gid;
};

void ca_bio_cleanup(BIO **bio);

/* Always returns `err`; sets *explain. */
enum err ca_fail(enum err err, char explain[256], const char *format, ...) PRINTF_LIKE(3, 4);

/* <state>/<name>. ERR_LIMIT. */
MUST_USE enum err ca_path(const char *state, const char *name, char ret_path[PATH_MAX]);
/* Creates and flushes; never writes into a file that is there (ERR_EXISTS). On failure no file is
 * left. ERR_NOT_FOUND: the folder is not there. */
MUST_USE enum err ca_file_make(const char *path, struct slice bytes, mode_t mode,
                               const struct ca_owner *owner);
/* Makes the entries of the folder durable. */
MUST_USE enum err ca_folder_flush(const char *path);

/* PKCS#8 PEM, in memory that is wiped when it is freed. */
MUST_USE enum err ca_key_pem(EVP_PKEY *key, BIO **ret_pem);
MUST_USE enum err ca_certificates_pem(X509 *const *certificates, size_t n, BIO **ret_pem);
struct slice ca_bio_bytes(BIO *bio);

/* A root for this key, CA_ROOT_YEARS long: signed by itself (`issuer` NULL), or by a root of the
 * same fleet before it. */
MUST_USE enum err ca_root_certificate(const char *fleet, EVP_PKEY *key, X509 *issuer,
                                      EVP_PKEY *issuer_key, X509 **ret_certificate);

/* "NAME+HASH+BASE64\n" <-> file */
MUST_USE enum err ca_vkey_read(const char *path, struct note_key *ret_key);
/* The public half of an Ed25519 key under `name`. */
MUST_USE enum err ca_note_key(EVP_PKEY *key, const char *name, struct note_key *ret_key);

/* ---- authorities ---- */

/* An issuing certificate for this key, CA_ISSUING_YEARS long. `unit` (may be NULL) keeps apart
 * those of several hubs. */
MUST_USE enum err ca_issuing_certificate(const char *fleet, const char *unit, EVP_PKEY *key,
                                         X509 *root, EVP_PKEY *root_key, X509 **ret_certificate);
MUST_USE enum err ca_request(const char *fleet, const char *unit, EVP_PKEY *key,
                             X509_REQ **ret_request);
/* The keys of a further hub, and ledger.vkey: what ca_init() makes, less what is the owner's. */
MUST_USE enum err ca_init_further(const char *state, const char *fleet, const char *signer_user,
                                  char explain[256]);
/* The issuing certificate first, the root last: are they sound, dates included, and does each stand
 * on the next? */
MUST_USE enum err ca_chain_check(X509 *const *chain, size_t n, char explain[256]);
/* What ca_install() does with the chain in its file. */
MUST_USE enum err ca_install_chain(const char *state, X509 *const *chain, size_t n,
                                   char explain[256]);
MUST_USE enum err ca_sign_note(EVP_PKEY *key, const struct note_key *public_key,
                               struct writer *note);

#endif
