/* How a further hub joins a fleet without any key leaving the machine it was made on: two signed
 * notes (core/note.h), carried as files.
 *
 *   holdfast-hub-request/v1          holdfast-hub/v1
 *   fleet FLEET                      fleet FLEET
 *   name hub-2                       name hub-2
 *   ledger-key VKEY                  ledger-key VKEY
 *   policy-key VKEY                  policy-key VKEY
 *   request BASE64(PKCS#10)          bundle-key VKEY
 *                                    certificate BASE64(DER)   2 to CA_CHAIN_MAX
 *
 * The request comes from the new hub and is signed with its ledger key; the certification request
 * in it proves the issuing key. The card is the owner's answer, signed with the bundle key: the
 * issuing certificate first, the fleet's root last. Neither holds a secret. */
#ifndef PKI_HUB_CARD_H
#define PKI_HUB_CARD_H

#include "pki/ca.h"

#define HUB_NAME_MAX     64
#define HUB_CARD_STORAGE (NOTE_MAX) /* what is decoded from a note is smaller than it */

struct hub_request {
    char fleet[FLEET_NAME_MAX + 1];
    char name[HUB_NAME_MAX + 1]; /* as hub_card_is_name() has it */
    struct note_key ledger_key, policy_key;
    struct slice request; /* DER */
};

struct hub_card {
    char fleet[FLEET_NAME_MAX + 1];
    char name[HUB_NAME_MAX + 1];
    struct note_key ledger_key, policy_key, bundle_key;
    struct slice chain[CA_CHAIN_MAX]; /* DER; each reads as a certificate, no more is said */
    size_t chain_len;
};

/* 1 to 64 ASCII letters, digits, dots, dashes and underscores; a letter or digit first. */
bool hub_card_is_name(const char *name);

/* What is decoded goes to `storage` (HUB_CARD_STORAGE bytes). ERR_SYNTAX, ERR_LIMIT,
 * ERR_UNSUPPORTED, ERR_NOT_FOUND (not signed with that key), ERR_BAD_SIGNATURE. */
MUST_USE enum err hub_request_read(struct slice note, uint8_t *storage,
                                   struct hub_request *ret_request);
/* Checked against `bundle_key`; where that is NULL, against the key in the card itself: for the
 * new hub, which trusts it because of how it was handed over. */
MUST_USE enum err hub_card_read(struct slice note, const struct note_key *bundle_key,
                                uint8_t *storage, struct hub_card *ret_card);
/* The texts to be signed; each ends in LF. */
void hub_request_write(struct writer *w, const struct hub_request *request);
void hub_card_write(struct writer *w, const struct hub_card *card);

#endif
