/* PKCS#10 certification requests (RFC 2986): the device writes them, the hub reads them. */
#ifndef CORE_CSR_H
#define CORE_CSR_H

#include "core/spki.h"

#define CSR_MAX             4096 /* bytes of DER: an RSA-8192 request with a few extensions fits */
#define CSR_ATTRIBUTES_MAX  8    /* attributes looked at; more is refused */
#define CSR_SIGNATURE_MAX   1024
#define CSR_COMMON_NAME_MAX 64 /* ub-common-name, RFC 5280 appendix A */

enum signature_kind {
    SIGNATURE_ECDSA_SHA256,
    SIGNATURE_ECDSA_SHA384,
    SIGNATURE_ED25519,
    SIGNATURE_RSA_SHA256,
    SIGNATURE_RSA_SHA384,
    SIGNATURE_RSA_SHA512,
};

struct csr {
    struct slice signed_part; /* CertificationRequestInfo, the bytes the signature is over */
    struct spki spki;
    struct slice common_name;        /* the subject's only CN; empty where there is none */
    struct slice challenge_password; /* empty where absent; RFC 7030 section 3.5 */
    enum signature_kind signature_kind;
    struct slice signature;
};

/* Reads a request strictly: version 1, no trailing bytes, an algorithm we take that fits the key,
 * at most one CN in the subject. Requested extensions are checked for form and otherwise ignored:
 * the issuer alone decides what stands in a certificate. The signature is NOT verified here.
 * ERR_SYNTAX, ERR_LIMIT or ERR_UNSUPPORTED. The slices point into `der`. */
MUST_USE enum err csr_read(struct slice der, struct csr *ret_csr);

/* Signs `message` with the device's own key; the result is the signature as X.509 carries it (an
 * ECDSA-Sig-Value, or 64 bytes of Ed25519). The key never passes through here. */
typedef enum err csr_sign_fn(void *ctx, struct slice message, uint8_t *buffer, size_t max,
                             size_t *ret_len);

/* Writes a request for subject CN=common_name (which may be empty). The result stands at the END
 * of `buffer`; *ret_der points to it. */
MUST_USE enum err csr_write(enum key_kind kind, struct slice key, struct slice common_name,
                            csr_sign_fn *sign, void *sign_ctx, uint8_t *buffer, size_t max,
                            struct slice *ret_der);

#endif
