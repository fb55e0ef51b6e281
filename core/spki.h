/* SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7): which key is it, and do we take that kind? */
#ifndef CORE_SPKI_H
#define CORE_SPKI_H

#include "core/der.h"

enum key_kind { KEY_P256, KEY_P384, KEY_ED25519, KEY_RSA, KEY_KIND_COUNT };

#define RSA_BITS_MIN 2048 /* below that is refused everywhere */
#define RSA_BITS_MAX 8192 /* larger only costs the verifier time */
#define SPKI_MAX     1100 /* bytes of DER; an RSA key of 8192 bits takes 1,062 */

struct spki {
    struct slice der; /* the whole SubjectPublicKeyInfo: what fingerprints are taken over */
    enum key_kind kind;
    struct slice key; /* EC: the uncompressed point 04|x|y; Ed25519: 32 bytes; RSA: RSAPublicKey */
    unsigned bits;    /* of the curve's field or of the modulus */
};

/* "P-256", "P-384", "Ed25519", "RSA". */
const char *key_kind_text(enum key_kind kind);

/* Reads one SubjectPublicKeyInfo. ERR_SYNTAX; ERR_UNSUPPORTED for another algorithm, a compressed
 * point, RSA outside RSA_BITS_MIN..RSA_BITS_MAX or with an exponent that is even or below 3. That
 * an EC point is on its curve is for the cryptographic library to check. */
MUST_USE enum err spki_read(struct reader *r, struct spki *ret_spki);
/* Writes one from its kind and key (EC and Ed25519 only). */
void spki_write(struct der_writer *w, enum key_kind kind, struct slice key);

#endif
