/* What the signer holds: its keys, what belongs to them, whom it certifies, and what it signed last
 * of what only grows. */
#ifndef HUB_SIGNER_KEYS_H
#define HUB_SIGNER_KEYS_H

#include <sys/types.h>

#include "core/trust_bundle.h"
#include "hub/signer/crl_desk.h"
#include "hub/signer/ledger_state.h"
#include "hub/signer/rules_state.h"
#include "hub/signer/signer.h"
#include "pki/authority.h"
#include "pki/issue.h"
#include "pki/ocsp_responder.h"

/* An Ed25519 key that signs notes. */
struct note_signer {
    EVP_PKEY *key;
    struct note_key public_key;
};

struct signer_keys {
    char fleet[FLEET_NAME_MAX + 1];
    char server_names[SERVER_NAMES_MAX][SERVER_NAME_SIZE];
    size_t server_names_len;
    char ocsp_url[PUBLIC_URL_MAX + 8]; /* for devices' certificates; empty: none */
    /* The previous one certifies its responder and signs its lists, and nothing else; NULL: none.
     */
    struct issuer *issuers[AUTHORITY_COUNT];
    struct ocsp_responder *responders[AUTHORITY_COUNT]; /* NULL where there is no authority */
    struct note_signer ledger;                          /* its name is the ledger's origin */
    struct ledger_state state;
    struct note_signer policy;
    struct rules_state rules;
    struct crl_desk crl;
};

/* Reads options->folder. Folder and files must be owned by root or `owner` and closed to everybody
 * else; keys, certificate and chain must belong together. *ret_facts lacks the pid. */
MUST_USE enum err signer_keys_open(const struct signer_options *options, uid_t owner,
                                   struct signer_keys *ret_keys, struct signer_facts *ret_facts,
                                   char explain[256]);
void signer_keys_close(struct signer_keys *k);
/* Ed25519. ERR_CRYPTO. */
MUST_USE enum err note_signer_sign(const struct note_signer *s, struct writer *text);

#endif
