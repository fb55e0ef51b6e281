/* An owner's key that allows what loosens a policy, kept off the hub: PATH (PKCS#8, Ed25519) and
 * PATH.vkey, which names it. */
#ifndef PKI_OWNER_KEY_H
#define PKI_OWNER_KEY_H

#include "core/note.h"

/* Makes both. ERR_EXISTS where there is a key already. ERR_SYNTAX, ERR_LIMIT: the name.
 * ERR_CRYPTO, ERR_IO, ERR_DISK_FULL. */
MUST_USE enum err owner_key_make(const char *path, const char *name, struct note_key *ret_key);
/* Signs the text in `note`. ERR_NOT_FOUND: there is no key. ERR_SYNTAX: the two files do not belong
 * together. ERR_LIMIT, ERR_CRYPTO, ERR_IO. */
MUST_USE enum err owner_key_sign(const char *path, struct writer *note);

#endif
