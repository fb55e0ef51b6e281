/* A further hub of a fleet (pki/hub_card.h), in three steps on two machines: its keys and its
 * request, the owner's card for it, and the card taken in. The issuing, the ledger and the policy
 * key are made by the hub and never leave it; root and bundle key stay with the owner. */
#ifndef PKI_CA_HUB_H
#define PKI_CA_HUB_H

#include "pki/hub_card.h"

/* On the new machine: makes the keys in signer/ and their .vkey files where there are none yet, and
 * writes the request. ERR_EXISTS where a fleet's authority is there already. */
MUST_USE enum err ca_hub_request(const char *state, const char *fleet, const char *name,
                                 const char *signer_user, struct writer *note, char explain[256]);

struct ca_hub_answer {
    char name[HUB_NAME_MAX + 1];
    bool bundle_changed; /* <state>/bundle is a new one, which names the hub's keys */
};
/* At the owner's, with offline/ in `state`: certifies the request's issuing key with the fleet's
 * root, or takes the certificate in `chain` (a PEM file as for ca_install(); NULL: none) that an
 * own root made of it; and sees to it that the trust bundle names its ledger and policy key.
 * ERR_REFUSED. */
MUST_USE enum err ca_hub_card(const char *state, struct slice request, const char *chain,
                              struct writer *card, struct ca_hub_answer *ret_answer,
                              char explain[256]);

/* On the new machine: checks that the card answers its own request, then makes issuing.pem,
 * root.pem and bundle.vkey of it. */
MUST_USE enum err ca_hub_install(const char *state, struct slice card, char explain[256]);

/* Does the chain of the card stand, up to one of the roots in the PEM file `roots`? ERR_REFUSED. */
MUST_USE enum err ca_hub_check(const struct hub_card *card, const char *roots, char explain[256]);
/* The same for a chain that has been taken in before: DER one after the other, without the root.
 * One that has expired since is refused, too. */
MUST_USE enum err ca_hub_check_chain(struct slice chain, const char *roots, char explain[256]);

#endif
