/* Certificate revocation lists (RFC 5280 section 5), written and read.
 *
 * A list of a million entries has 35 MB, and who signs it sees each of them; so it is made as a
 * stream, by two who write the same bytes: the signer, which hashes what it writes and keeps
 * nothing, and whoever keeps the file:
 *
 *   CertificateList = header | prefix | entries | suffix
 *
 * The signer makes prefix (crl_begin) and suffix (crl_finish); the entries are the same function of
 * the same fields on both sides (crl_entry_write); the header is crl_header_write() over the sum of
 * the three lengths. */
#ifndef PKI_CRL_H
#define PKI_CRL_H

#include "core/x509.h"
#include "pki/issue.h"

struct crl_entry {
    uint8_t serial[SERIAL_MAX]; /* big-endian, without leading zeroes */
    size_t serial_len;
    int64_t date; /* of its revocation */
    enum crl_reason reason;
};

#define CRL_ENTRY_MAX 64 /* bytes of one, written */
/* ERR_SYNTAX in the writer for a serial or reason that is none; ERR_LIMIT. */
void crl_entry_write(struct writer *w, const struct crl_entry *entry);

struct crl_frame {
    int64_t this_update, next_update;
    uint64_t number; /* CRLNumber, at least 1 */
    uint64_t base;   /* of a delta: BaseCRLNumber, section 5.2.4; 0: a complete list */
    /* The part of the issuer's certificates that it is about: those of devices that name one of
     * these URLs as their distribution point. Empty: all of them; the second may be, besides. */
    struct slice distribution_points[2];
    struct slice freshest; /* of a complete list: where its delta is; empty: there is none */
};

#define CRL_URL_MAX    256
#define CRL_PREFIX_MAX 1280 /* bytes; most of it the issuer's name */
#define CRL_SUFFIX_MAX 1280
#define CRL_HEADER_MAX 6
/* Bytes of all entries together: what fits is some ten million of them. */
#define CRL_ENTRIES_MAX ((uint64_t)512 << 20)

struct crl_signing; /* a list that is being signed */

/* `entries_len`: the bytes that the entries will have. ERR_REFUSED where the issuing certificate's
 * keyUsage lacks cRLSign, ERR_SYNTAX, ERR_LIMIT, ERR_CRYPTO. Uses the issuer until crl_free(). */
MUST_USE enum err crl_begin(struct issuer *i, const struct crl_frame *frame, uint64_t entries_len,
                            struct crl_signing **ret_crl, struct writer *prefix);
/* ERR_CONFLICT where the entries are longer than was said. */
MUST_USE enum err crl_add(struct crl_signing *c, const struct crl_entry *entry);
/* ERR_CONFLICT where they are shorter. */
MUST_USE enum err crl_finish(struct crl_signing *c, struct writer *suffix);
void crl_free(struct crl_signing *c); /* NULL is fine */

/* Bytes of entries that were announced and have not come. */
uint64_t crl_entries_left(const struct crl_signing *c);

/* What stands before `len` bytes of prefix, entries and suffix. */
void crl_header_write(struct writer *w, uint64_t len);

/* ---- shards ---- */

/* A power of two. One list of each is what a certificate of that shard names. */
#define CRL_SHARDS_MAX 256
#define CRL_WHOLE      CRL_SHARDS_MAX /* instead of a shard: the list of all certificates */
/* By the last bits of the serial number, which are random. */
unsigned crl_shard_of(struct slice serial, unsigned shards);

#define CRL_PATH_MAX 40
/* Where a list is served: "http://hub.example/crl/5d0c9a7e/16/7.crl" (the eighth of 16 of that
 * authority's), ".../16/7-delta.crl", ".../all.crl". Certificates keep the URL for life, so what
 * they belong to is in it: while an authority is rolled over, the lists of both are served; and
 * under another number of shards it must lead nowhere, not to a list without them. */
struct crl_url {
    struct slice base;  /* "http://hub.example" */
    uint32_t authority; /* authority_number(); 0: without it, "/crl/16/7.crl" */
    unsigned shards;
    unsigned shard; /* or CRL_WHOLE */
    bool delta;
};
void crl_url_write(struct writer *w, const struct crl_url *url);
/* As it stands in URLs: eight hexadecimal digits, those that its key identifier begins with. */
void crl_authority_write(struct writer *w, uint32_t authority);

/* ---- reading ---- */

struct crl_facts {
    int64_t this_update, next_update;
    uint64_t number, base; /* base 0: complete */
    bool has_entries;
};
/* What a list says of itself, as it is written here; neither its entries nor its signature are
 * looked at. ERR_SYNTAX, ERR_LIMIT, ERR_UNSUPPORTED for one without nextUpdate or CRLNumber. */
MUST_USE enum err crl_read(struct slice der, struct crl_facts *ret_facts);

#endif
