/* A public key as OpenSSL wants it, made from its raw parts (the decoders of OpenSSL 3.0 cost ten
 * times as much), and refused where it is one that nobody should trust. */
#ifndef PKI_PUBLIC_KEY_H
#define PKI_PUBLIC_KEY_H

#include <openssl/evp.h>

#include "core/crypto.h"
#include "core/spki.h"

/* The caller frees it. ERR_REFUSED with the reason in *ret_reason (a constant) for a weak key: a
 * point that is not on its curve, an Ed25519 point of small order, RSA with a small factor or with
 * the structure of CVE-2017-15361. ERR_CRYPTO, ERR_NO_MEMORY. From any thread. */
MUST_USE enum err public_key_new(const struct spki *spki, EVP_PKEY **ret_key,
                                 const char **ret_reason);

#endif
