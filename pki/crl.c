#include "pki/crl.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "pki/issuer_internal.h"

#define DER_ENUMERATED 0x0a

#define OID_CRL_NUMBER                 SLICE_LITERAL("\x55\x1d\x14")
#define OID_REASON_CODE                SLICE_LITERAL("\x55\x1d\x15")
#define OID_DELTA_CRL_INDICATOR        SLICE_LITERAL("\x55\x1d\x1b")
#define OID_ISSUING_DISTRIBUTION_POINT SLICE_LITERAL("\x55\x1d\x1c")
#define OID_FRESHEST_CRL               SLICE_LITERAL("\x55\x1d\x2e")

struct crl_signing {
    struct issuer *issuer;
    EVP_MD_CTX *hash;
    uint64_t entries_left; /* bytes */
    size_t extensions_len;
    uint8_t extensions[CRL_SUFFIX_MAX];
};

/* ---- one entry ---- */

static bool is_reason(enum crl_reason reason)
{
    switch (reason) {
    case REASON_UNSPECIFIED:
    case REASON_SUPERSEDED:
    case REASON_CESSATION_OF_OPERATION:
    case REASON_CERTIFICATE_HOLD:
    case REASON_REMOVE_FROM_CRL:
    case REASON_PRIVILEGE_WITHDRAWN:
        return true;
    }
    return false;
}

/* crlEntryExtensions with a reasonCode, section 5.3.1. */
static void put_reason(struct der_writer *w, enum crl_reason reason)
{
    uint8_t code = (uint8_t)reason;
    size_t mark = der_mark(w);
    der_put(w, DER_ENUMERATED, slice_of(&code, 1));
    put_extension(w, OID_REASON_CODE, false, mark);
    der_wrap(w, DER_SEQUENCE, mark);
}

void crl_entry_write(struct writer *w, const struct crl_entry *entry)
{
    if (entry->serial_len == 0 || entry->serial_len > SERIAL_MAX || entry->serial[0] == 0 ||
        !is_reason(entry->reason)) {
        writer_fail(w, ERR_SYNTAX);
        return;
    }
    uint8_t bytes[CRL_ENTRY_MAX];
    struct der_writer der = der_writer_over(bytes, sizeof bytes);
    size_t whole = der_mark(&der);
    if (entry->reason != REASON_UNSPECIFIED)
        put_reason(&der, entry->reason);
    der_put_time(&der, entry->date);
    der_put_unsigned(&der, slice_of(entry->serial, entry->serial_len));
    der_wrap(&der, DER_SEQUENCE, whole);
    if (der.err != ERR_NONE)
        writer_fail(w, der.err);
    else
        writer_put(w, der_writer_bytes(&der));
}

/* ---- what stands around the entries ---- */

/* Tag and length of contents that are not at hand. */
static void put_header(struct writer *w, uint8_t tag, uint64_t len)
{
    writer_u8(w, tag);
    if (len < 0x80) {
        writer_u8(w, (uint8_t)len);
        return;
    }
    unsigned octets = 1;
    while (octets < 8 && len >> 8 * octets != 0)
        octets++;
    writer_u8(w, (uint8_t)(0x80 | octets));
    while (octets-- > 0)
        writer_u8(w, (uint8_t)(len >> 8 * octets));
}

void crl_header_write(struct writer *w, uint64_t len)
{
    put_header(w, DER_SEQUENCE, len);
}

/* Section 5.2.5: one of its names must be the certificate's. Certificates of authorities name no
 * such point, so none is in its scope. */
static void put_issuing_distribution_point(struct der_writer *w, const struct slice urls[2])
{
    size_t mark = der_mark(w);
    der_put(w, DER_CONTEXT(1), SLICE_LITERAL("\xff")); /* onlyContainsUserCerts */
    put_distribution_point_name(w, urls, urls[1].len > 0 ? 2 : 1);
    der_wrap(w, DER_SEQUENCE, mark);
    put_extension(w, OID_ISSUING_DISTRIBUTION_POINT, true, mark);
}

static void put_number(struct der_writer *w, struct slice oid, bool critical, uint64_t number)
{
    size_t mark = der_mark(w);
    der_put_u64(w, number);
    put_extension(w, oid, critical, mark);
}

/* crlExtensions, from the last to the first. */
static void put_extensions(struct der_writer *w, const struct issuer *i,
                           const struct crl_frame *frame)
{
    size_t whole = der_mark(w);
    if (frame->freshest.len > 0)
        put_distribution_points(w, OID_FRESHEST_CRL, frame->freshest);
    if (frame->distribution_points[0].len > 0)
        put_issuing_distribution_point(w, frame->distribution_points);
    if (frame->base > 0)
        put_number(w, OID_DELTA_CRL_INDICATOR, true, frame->base);
    put_number(w, OID_CRL_NUMBER, false, frame->number);
    put_authority_key_identifier(w, i);
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), whole);
}

/* TBSCertList up to its entries, section 5.1, without its own header. */
static void put_fields(struct der_writer *w, const struct issuer *i, const struct crl_frame *frame)
{
    der_put_time(w, frame->next_update);
    der_put_time(w, frame->this_update);
    der_put_raw(w, i->subject);
    put_signature_algorithm(w, i);
    der_put_u64(w, 1); /* v2 */
}

static bool is_url(struct slice url)
{
    for (size_t i = 0; i < url.len; i++)
        if (url.data[i] < 0x21 || url.data[i] > 0x7e)
            return false;
    return url.len <= CRL_URL_MAX;
}

static enum err check_frame(const struct issuer *i, const struct crl_frame *frame)
{
    if (!i->signs_crls)
        return ERR_REFUSED;
    bool is_delta = frame->base > 0;
    if (frame->number == 0 || (is_delta && frame->base > frame->number) ||
        (is_delta && frame->freshest.len > 0) || frame->next_update <= frame->this_update ||
        !is_url(frame->distribution_points[0]) || !is_url(frame->distribution_points[1]) ||
        (frame->distribution_points[0].len == 0 && frame->distribution_points[1].len > 0) ||
        !is_url(frame->freshest))
        return ERR_SYNTAX;
    return ERR_NONE;
}

static enum err hash_bytes(struct crl_signing *c, struct slice bytes)
{
    return EVP_DigestUpdate(c->hash, bytes.data, bytes.len) == 1 ? ERR_NONE : ERR_CRYPTO;
}

static enum err write_prefix(struct crl_signing *c, const struct crl_frame *frame,
                             struct writer *prefix)
{
    uint8_t bytes[CRL_PREFIX_MAX];
    struct der_writer fields = der_writer_over(bytes, sizeof bytes);
    put_fields(&fields, c->issuer, frame);
    if (fields.err != ERR_NONE)
        return fields.err;
    /* An empty revokedCertificates is left out, section 5.1.2.6. */
    uint8_t list_bytes[CRL_HEADER_MAX];
    struct writer list = writer_over(list_bytes, sizeof list_bytes);
    if (c->entries_left > 0)
        put_header(&list, DER_SEQUENCE, c->entries_left);
    struct slice start = der_writer_bytes(&fields);
    size_t before = prefix->len;
    put_header(prefix, DER_SEQUENCE, start.len + list.len + c->entries_left + c->extensions_len);
    writer_put(prefix, start);
    writer_put(prefix, writer_bytes(&list));
    if (list.err != ERR_NONE || prefix->err != ERR_NONE)
        return list.err != ERR_NONE ? list.err : prefix->err;
    return hash_bytes(c, slice_of(prefix->start + before, prefix->len - before));
}

enum err crl_begin(struct issuer *i, const struct crl_frame *frame, uint64_t entries_len,
                   struct crl_signing **ret_crl, struct writer *prefix)
{
    enum err err = check_frame(i, frame);
    if (err == ERR_NONE && entries_len > CRL_ENTRIES_MAX)
        err = ERR_LIMIT;
    if (err != ERR_NONE)
        return err;
    struct crl_signing *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NO_MEMORY;
    *c = (struct crl_signing){.issuer = i, .hash = EVP_MD_CTX_new(), .entries_left = entries_len};
    struct der_writer extensions = der_writer_over(c->extensions, sizeof c->extensions);
    put_extensions(&extensions, i, frame);
    err = extensions.err;
    if (err == ERR_NONE && (c->hash == NULL || EVP_DigestInit_ex(c->hash, i->digest, NULL) != 1))
        err = ERR_CRYPTO;
    if (err == ERR_NONE) {
        struct slice made = der_writer_bytes(&extensions);
        memmove(c->extensions, made.data, made.len);
        c->extensions_len = made.len;
        err = write_prefix(c, frame, prefix);
    }
    ERR_clear_error();
    if (err == ERR_NONE)
        *ret_crl = c;
    else
        crl_free(c);
    return err;
}

enum err crl_add(struct crl_signing *c, const struct crl_entry *entry)
{
    uint8_t bytes[CRL_ENTRY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    crl_entry_write(&w, entry);
    if (w.err != ERR_NONE)
        return w.err;
    if (w.len > c->entries_left)
        return ERR_CONFLICT;
    c->entries_left -= w.len;
    return hash_bytes(c, writer_bytes(&w));
}

enum err crl_finish(struct crl_signing *c, struct writer *suffix)
{
    if (c->entries_left != 0)
        return ERR_CONFLICT;
    uint8_t hash[EVP_MAX_MD_SIZE], signature[SIGNATURE_MAX];
    unsigned hash_len = 0;
    size_t signature_len = 0;
    enum err err = hash_bytes(c, slice_of(c->extensions, c->extensions_len));
    if (err == ERR_NONE && EVP_DigestFinal_ex(c->hash, hash, &hash_len) != 1)
        err = ERR_CRYPTO;
    if (err == ERR_NONE)
        err = issuer_sign(c->issuer, slice_of(hash, hash_len), signature, &signature_len);
    ERR_clear_error();
    if (err != ERR_NONE)
        return err;
    uint8_t bytes[SIGNATURE_MAX + 32];
    struct der_writer end = der_writer_over(bytes, sizeof bytes);
    size_t whole = der_mark(&end);
    der_put_raw(&end, slice_of(signature, signature_len));
    der_wrap_bit_string(&end, whole);
    put_signature_algorithm(&end, c->issuer);
    if (end.err != ERR_NONE)
        return end.err;
    writer_put(suffix, slice_of(c->extensions, c->extensions_len));
    writer_put(suffix, der_writer_bytes(&end));
    return suffix->err;
}

void crl_free(struct crl_signing *c)
{
    if (c == NULL)
        return;
    EVP_MD_CTX_free(c->hash);
    free(c);
}

uint64_t crl_entries_left(const struct crl_signing *c)
{
    return c->entries_left;
}

/* ---- shards ---- */

unsigned crl_shard_of(struct slice serial, unsigned shards)
{
    return shards == 0 || serial.len == 0 ? 0 : serial.data[serial.len - 1] & (shards - 1);
}

void crl_url_write(struct writer *w, const struct crl_url *url)
{
    writer_put(w, url->base);
    writer_text(w, "/crl/");
    if (url->authority != 0) {
        crl_authority_write(w, url->authority);
        writer_text(w, "/");
    }
    if (url->shard == CRL_WHOLE) {
        writer_text(w, "all");
    } else {
        writer_decimal(w, url->shards);
        writer_text(w, "/");
        writer_decimal(w, url->shard);
    }
    writer_text(w, url->delta ? "-delta.crl" : ".crl");
}

void crl_authority_write(struct writer *w, uint32_t authority)
{
    const uint8_t octets[] = {(uint8_t)(authority >> 24), (uint8_t)(authority >> 16),
                              (uint8_t)(authority >> 8), (uint8_t)authority};
    writer_hex(w, slice_of(octets, sizeof octets));
}

/* ---- reading ---- */

static void read_extension(struct reader *r, struct crl_facts *facts)
{
    struct x509_extension extension = x509_extension_read(r);
    bool is_number = slice_equal(extension.oid, OID_CRL_NUMBER);
    if (r->err != ERR_NONE || (!is_number && !slice_equal(extension.oid, OID_DELTA_CRL_INDICATOR)))
        return;
    struct reader value = reader_over(extension.value);
    uint64_t number = der_read_u64(&value);
    reader_fail(r, reader_finish(&value));
    if (is_number)
        facts->number = number;
    else
        facts->base = number;
}

static void read_fields(struct reader *r, struct crl_facts *facts)
{
    if (der_read_u64(r) != 1)
        reader_fail(r, ERR_UNSUPPORTED);
    (void)der_read(r, DER_SEQUENCE); /* signature */
    (void)der_read(r, DER_SEQUENCE); /* issuer */
    facts->this_update = der_read_time(r);
    if (!der_next_is(r, DER_UTC_TIME) && !der_next_is(r, DER_GENERALIZED_TIME))
        reader_fail(r, ERR_UNSUPPORTED);
    facts->next_update = der_read_time(r);
    facts->has_entries = der_next_is(r, DER_SEQUENCE);
    if (facts->has_entries)
        (void)der_read(r, DER_SEQUENCE);
    struct reader tagged = der_enter(r, DER_CONTEXT_CONSTRUCTED(0));
    struct reader extensions = der_enter(&tagged, DER_SEQUENCE);
    while (reader_left(&extensions) > 0)
        read_extension(&extensions, facts);
    der_leave(&tagged, &extensions);
    der_leave(r, &tagged);
}

enum err crl_read(struct slice der, struct crl_facts *ret_facts)
{
    struct crl_facts facts = {0};
    struct reader r = reader_over(der);
    struct reader list = der_enter(&r, DER_SEQUENCE);
    struct reader tbs = der_enter(&list, DER_SEQUENCE);
    read_fields(&tbs, &facts);
    der_leave(&list, &tbs);
    (void)der_read(&list, DER_SEQUENCE); /* signatureAlgorithm */
    (void)der_read_bit_string(&list);
    der_leave(&r, &list);
    if (r.err == ERR_NONE && facts.number == 0)
        reader_fail(&r, ERR_UNSUPPORTED);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_facts = facts;
    return err;
}
