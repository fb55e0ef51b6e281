/* What an owner signs, offline, to allow a policy that loosens: a signed note (core/note.h) whose
 * text is
 *
 *   holdfast-policy-change/v1
 *   fleet FLEET
 *   from 7                      the number in force that it replaces; 0: none
 *   policy SHA256               of the text of policy.yaml, hexadecimal
 *
 * `from` keeps a signature from being used once more, after another policy has come between. */
#ifndef POLICY_CHANGE_H
#define POLICY_CHANGE_H

#include "core/note.h"
#include "core/trust_bundle.h"

struct policy_change {
    char fleet[FLEET_NAME_MAX + 1];
    uint64_t from;
    uint8_t sha256[SHA256_SIZE];
};

/* The text to be signed; ends in LF. */
void policy_change_write(struct writer *w, const struct policy_change *change);
/* Does the note say just that, signed with that key? ERR_SYNTAX, ERR_LIMIT, ERR_NOT_FOUND (not by
 * that key), ERR_BAD_SIGNATURE; ERR_CONFLICT: it is about another change. */
MUST_USE enum err policy_change_verify(struct slice note, const struct note_key *key,
                                       ed25519_verify_fn *verify,
                                       const struct policy_change *change);

#endif
