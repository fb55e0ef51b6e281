/* The few fields of an X.509 certificate (RFC 5280) that Holdfast's own logic looks at. This reads;
 * it does not validate: chains are verified by the TLS library, on the device and on the hub. */
#ifndef CORE_X509_H
#define CORE_X509_H

#include "core/spki.h"

#define CERTIFICATE_MAX 4096 /* bytes of DER of any one certificate we take */
#define SERIAL_MAX      20   /* RFC 5280 section 4.1.2.2 */

/* CRLReason, RFC 5280 section 5.3.1: why a certificate is not to be trusted any more. */
enum crl_reason {
    REASON_UNSPECIFIED = 0,
    REASON_SUPERSEDED = 4,
    REASON_CESSATION_OF_OPERATION = 5,
    REASON_CERTIFICATE_HOLD = 6, /* the one that may end */
    REASON_REMOVE_FROM_CRL = 8,  /* in deltas alone: that it has ended */
    REASON_PRIVILEGE_WITHDRAWN = 9,
};

struct certificate {
    struct slice der;    /* the whole certificate */
    struct slice serial; /* contents of the INTEGER without a leading zero octet */
    struct slice issuer; /* Name, whole DER element */
    struct slice subject;
    int64_t not_before; /* seconds since 1970 */
    int64_t not_after;
    struct spki spki;
    struct slice uri; /* first uniformResourceIdentifier of subjectAltName; empty where absent */
    /* Key identifiers, sections 4.2.1.1 and 4.2.1.2: its issuer's, its own; empty where absent. */
    struct slice authority_key;
    struct slice subject_key;
};

/* ERR_SYNTAX, ERR_LIMIT, or ERR_UNSUPPORTED for a key of a kind we do not take and for versions
 * before 3. No trailing bytes. The slices point into `der`. */
MUST_USE enum err certificate_read(struct slice der, struct certificate *ret_certificate);

/* An authority in a number: the first four octets of its key identifier, as its certificate has it
 * and those that it issued. 0: there is none. */
uint32_t authority_number(struct slice key_identifier);

/* What certificates and requests have in common. Errors go to the reader. */

struct x509_name {
    struct slice der;         /* the whole element */
    struct slice common_name; /* the first CN; empty where there is none */
    unsigned common_name_tag; /* its string type */
    unsigned common_names;    /* how many there are */
};

/* Name, RFC 5280 section 4.1.2.4. */
struct x509_name x509_name_read(struct reader *r);

struct x509_extension {
    struct slice oid;
    bool critical;
    struct slice value; /* contents of the OCTET STRING */
};

/* One Extension, RFC 5280 section 4.1. */
struct x509_extension x509_extension_read(struct reader *r);

#endif
