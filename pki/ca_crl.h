/* The revocation list of the root itself. Nothing is on it: a fleet leaves an issuing authority by
 * a roll-over (pki/ca_roll.h). It is for those who refuse a chain unless there is a list for each
 * link of it: nginx with `ssl_crl`, `openssl verify -crl_check_all`. */
#ifndef PKI_CA_CRL_H
#define PKI_CA_CRL_H

#include "pki/ca.h"

#define CA_CRL_LISTS (CA_CHAIN_MAX + 1)            /* at most */
#define CA_CRL_MAX   ((size_t)CA_CRL_LISTS * 4096) /* bytes of what ca_crl() writes */

/* Writes a list in PEM for each root in <state>/root.pem and next-root.pem: one, or two from
 * ca_roll_prepare() until ca_roll_finish(). Needs
 * their keys in offline/. A list is good for `lifetime` seconds, but not longer than its root;
 * *ret_next_update: until when all of them are. ERR_NOT_FOUND: offline/ is away, or there is no key
 * for one of the roots. ERR_EXPIRED: a root has. */
MUST_USE enum err ca_crl(const char *state, int64_t lifetime, struct writer *pem,
                         int64_t *ret_next_update, char explain[256]);

#endif
