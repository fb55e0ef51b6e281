/* Is this certification request one we would sign? Form by core/csr.h, key by its kind, and proof
 * of possession by OpenSSL. */
#ifndef PKI_CSR_CHECK_H
#define PKI_CSR_CHECK_H

#include "base/problem.h"
#include "core/csr.h"

/* `key_kinds`: mask of 1 << enum key_kind that are taken. On success *ret_csr points into `der`.
 * ERR_REFUSED with *problem: csr-malformed, csr-key-not-allowed (also RSA below RSA_BITS_MIN and
 * signatures over SHA-1), csr-bad-signature, csr-weak-key (pki/public_key.h). ERR_CRYPTO and
 * ERR_NO_MEMORY, with *problem, too. From any thread. */
MUST_USE enum err csr_check(struct slice der, unsigned key_kinds, struct csr *ret_csr,
                            struct problem *problem);

#endif
