/* What is signed with the issuing key shares: certificates (issue.c) and revocation lists (crl.c).
 */
#ifndef PKI_ISSUER_INTERNAL_H
#define PKI_ISSUER_INTERNAL_H

#include "core/oid.h"
#include "pki/issue.h"

#define ISSUER_NAME_MAX    1024
#define KEY_IDENTIFIER_MAX 64
#define SIGNATURE_MAX      112 /* an ECDSA-Sig-Value over P-384 takes 104 */

struct issuer {
    EVP_PKEY *key;
    EVP_PKEY_CTX *signing; /* set up once, used for every signature */
    EVP_MD *digest;
    struct slice signature_oid;
    uint8_t subject_bytes[ISSUER_NAME_MAX];
    struct slice subject; /* Name */
    uint8_t key_identifier[KEY_IDENTIFIER_MAX];
    size_t key_identifier_len;
    int64_t not_before, not_after;
    bool signs_crls; /* its keyUsage has cRLSign */
};

/* Signs what has been hashed with i->digest. ERR_CRYPTO. */
MUST_USE enum err issuer_sign(struct issuer *i, struct slice hash, uint8_t signature[SIGNATURE_MAX],
                              size_t *ret_len);

/* AlgorithmIdentifier of its signatures; RFC 5758 section 3.2: without parameters. */
static inline void put_signature_algorithm(struct der_writer *w, const struct issuer *i)
{
    size_t mark = der_mark(w);
    der_put(w, DER_OID, i->signature_oid);
    der_wrap(w, DER_SEQUENCE, mark);
}

/* Extension, RFC 5280 section 4.1, around the value written since `mark`. */
static inline void put_extension(struct der_writer *w, struct slice oid, bool critical, size_t mark)
{
    der_wrap(w, DER_OCTET_STRING, mark);
    if (critical)
        der_put(w, DER_BOOLEAN, SLICE_LITERAL("\xff"));
    der_put(w, DER_OID, oid);
    der_wrap(w, DER_SEQUENCE, mark);
}

static inline void put_authority_key_identifier(struct der_writer *w, const struct issuer *i)
{
    size_t mark = der_mark(w);
    der_put(w, DER_CONTEXT(0), slice_of(i->key_identifier, i->key_identifier_len));
    der_wrap(w, DER_SEQUENCE, mark);
    put_extension(w, OID_AUTHORITY_KEY_IDENTIFIER, false, mark);
}

/* CRLDistributionPoints of one URL, section 4.2.1.13; FreshestCRL has the same form. */
static inline void put_distribution_point_name(struct der_writer *w, const struct slice *urls,
                                               size_t n)
{
    size_t mark = der_mark(w);
    while (n-- > 0)
        der_put(w, DER_CONTEXT(6), urls[n]);       /* uniformResourceIdentifier */
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), mark); /* fullName */
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), mark); /* distributionPoint */
}

static inline void put_distribution_points(struct der_writer *w, struct slice oid, struct slice url)
{
    size_t mark = der_mark(w);
    put_distribution_point_name(w, &url, 1);
    der_wrap(w, DER_SEQUENCE, mark);
    der_wrap(w, DER_SEQUENCE, mark);
    put_extension(w, oid, false, mark);
}

#endif
