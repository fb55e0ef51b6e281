/* Builds and signs certificates from typed requests: the only place that decides what stands in
 * one. Used by the signer. Prebuilt parts make it cheap: the key goes in as raw SPKI. */
#ifndef PKI_ISSUE_H
#define PKI_ISSUE_H

#include "core/spki.h"
#include "core/x509.h"
#include "pki/ca.h"

struct issuer; /* issuing key and certificate, with what can be prepared once */

/* Takes a reference of its own to the key (P-256 or P-384). ERR_CONFLICT where it is not the
 * certificate's, ERR_REFUSED where that one may not issue others, ERR_UNSUPPORTED where it lacks a
 * subject key identifier. One thread at a time. */
MUST_USE enum err issuer_new(EVP_PKEY *key, X509 *certificate, struct issuer **ret_issuer);
void issuer_free(struct issuer *i); /* NULL is fine */
int64_t issuer_not_after(const struct issuer *i);
/* As certificates and lists of its name it (core/x509.h). */
uint32_t issuer_number(const struct issuer *i);

enum issue_profile {
    ISSUE_CLIENT,         /* clientAuth, with `uri` */
    ISSUE_SERVER,         /* serverAuth, with `names` */
    ISSUE_BROKER,         /* a device that serves others, too: both, with `uri` and `names` */
    ISSUE_OCSP_RESPONDER, /* OCSPSigning, and nobody asks for its own state (RFC 6960 4.2.2.2) */
};
struct issue_request {
    enum issue_profile profile;
    struct slice common_name;  /* at most 64 bytes */
    struct slice uri;          /* client, broker: one URI in subjectAltName */
    struct slice ocsp_url;     /* of these: where its state can be asked for; empty: nowhere */
    struct slice public_url;   /* of these: base of its distribution point's URL (pki/crl.h) ... */
    unsigned crl_shards;       /* ... which its serial number chooses among these; 0: none */
    const struct slice *names; /* server, broker: DNS names, or IP addresses in text */
    size_t names_len;
    int64_t not_before, not_after; /* both are cut to the issuer's own */
    struct slice spki;
};
/* The certificate stands at the start of `buffer`; CERTIFICATE_MAX bytes always do. The key is read
 * for its form; that it is sound (pki/public_key.h) and its holder's is for the caller to know.
 * RFC 5280: v3, a serial of 128 bits (32 of notBefore, 96 random), critical keyUsage
 * digitalSignature, extendedKeyUsage, basicConstraints CA:false, authority and subject key
 * identifiers. ERR_LIMIT, ERR_SYNTAX (a name that is none), ERR_EXPIRED (nothing left of the
 * issuer's life), ERR_CRYPTO. */
MUST_USE enum err issue_certificate(struct issuer *i, const struct issue_request *request,
                                    uint8_t *buffer, size_t max, size_t *ret_len);

#endif
