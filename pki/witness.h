/* A witness's own files: witness.key (PKCS#8, Ed25519) and witness.vkey, which names it. */
#ifndef PKI_WITNESS_H
#define PKI_WITNESS_H

#include "core/cosignature.h"

/* Makes both in `folder`, which is there. ERR_EXISTS where there is a key already: who trusts it
 * would not know another. ERR_SYNTAX, ERR_LIMIT: the name. ERR_CRYPTO, ERR_IO, ERR_DISK_FULL. */
MUST_USE enum err witness_make(const char *folder, const char *name, struct witness_key *ret_key);
/* Appends the witness's cosignature of `text`, at that time, to its note. ERR_NOT_FOUND: there is
 * no key. ERR_SYNTAX: the two files do not belong together. ERR_LIMIT, ERR_CRYPTO, ERR_IO. */
MUST_USE enum err witness_cosign(const char *folder, uint64_t time, struct slice text,
                                 struct writer *note);

#endif
