#include "core/cms.h"

#define INDEFINITE 0x80

/* RFC 5083 section 2: 1.2.840.113549.1.9.16.1.23; RFC 5652 section 4: 1.2.840.113549.1.7.1. */
static const uint8_t oid_auth_enveloped[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
                                             0x01, 0x09, 0x10, 0x01, 0x17};
static const uint8_t oid_data[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};

static void open_level(struct reader *r, unsigned tag)
{
    const uint8_t head[] = {(uint8_t)tag, INDEFINITE};
    reader_expect(r, slice_of(head, sizeof head));
}

static void close_level(struct reader *r)
{
    static const uint8_t end_of_contents[] = {0, 0};
    reader_expect(r, slice_of(end_of_contents, sizeof end_of_contents));
}

enum err cms_head_read(struct slice bytes, struct cms_head *ret_head)
{
    struct cms_head head = {.len = 0};
    struct reader r = reader_over(bytes);
    unsigned tag = 0;
    open_level(&r, DER_SEQUENCE);
    struct slice type = der_read(&r, DER_OID);
    if (r.err != ERR_NONE)
        return r.err;
    if (!slice_equal(type, slice_of(oid_auth_enveloped, sizeof oid_auth_enveloped)))
        return ERR_UNSUPPORTED;
    open_level(&r, DER_CONTEXT_CONSTRUCTED(0));
    open_level(&r, DER_SEQUENCE);
    if (der_read_u64(&r) != 0)
        reader_fail(&r, ERR_SYNTAX);
    head.recipients = der_read_any(&r, &tag);
    if (tag != DER_SET)
        reader_fail(&r, ERR_SYNTAX);
    open_level(&r, DER_SEQUENCE);
    if (!slice_equal(der_read(&r, DER_OID), slice_of(oid_data, sizeof oid_data)))
        reader_fail(&r, ERR_SYNTAX);
    head.algorithm = der_read_any(&r, &tag);
    if (tag != DER_SEQUENCE)
        reader_fail(&r, ERR_SYNTAX);
    open_level(&r, DER_CONTEXT_CONSTRUCTED(0));
    head.len = bytes.len - reader_left(&r);
    if (r.err == ERR_NONE)
        *ret_head = head;
    return r.err;
}

enum err cms_chunk_read(struct slice bytes, size_t *ret_head_len, uint32_t *ret_len, bool *ret_end)
{
    struct reader r = reader_over(bytes);
    uint8_t tag = reader_u8(&r);
    uint8_t first = reader_u8(&r);
    uint32_t len = first;
    if (first > INDEFINITE) {
        unsigned octets = first & 0x7f;
        len = 0;
        if (octets > 4)
            reader_fail(&r, ERR_LIMIT);
        for (unsigned i = 0; i < octets && r.err == ERR_NONE; i++)
            len = len << 8 | reader_u8(&r);
    }
    bool end = tag == 0 && first == 0;
    if (!end && (tag != DER_OCTET_STRING || first == INDEFINITE || len == 0))
        reader_fail(&r, ERR_SYNTAX);
    if (r.err != ERR_NONE)
        return r.err;
    *ret_head_len = bytes.len - reader_left(&r);
    *ret_len = len;
    *ret_end = end;
    return ERR_NONE;
}

enum err cms_tail_read(struct slice bytes, struct slice *ret_mac)
{
    struct reader r = reader_over(bytes);
    close_level(&r); /* encryptedContentInfo */
    struct slice mac = der_read(&r, DER_OCTET_STRING);
    close_level(&r); /* AuthEnvelopedData */
    close_level(&r); /* [0] */
    close_level(&r); /* ContentInfo */
    if (mac.len != CMS_MAC_SIZE)
        reader_fail(&r, ERR_SYNTAX);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_mac = mac;
    return err;
}

void cms_write_detached(struct der_writer *w, const struct cms_head *head, struct slice mac)
{
    size_t whole = der_mark(w);
    der_put(w, DER_OCTET_STRING, mac);
    size_t content = der_mark(w);
    der_put_raw(w, head->algorithm);
    der_put(w, DER_OID, slice_of(oid_data, sizeof oid_data));
    der_wrap(w, DER_SEQUENCE, content);
    der_put_raw(w, head->recipients);
    der_put_u64(w, 0);
    der_wrap(w, DER_SEQUENCE, whole);
    der_wrap(w, DER_CONTEXT_CONSTRUCTED(0), whole);
    der_put(w, DER_OID, slice_of(oid_auth_enveloped, sizeof oid_auth_enveloped));
    der_wrap(w, DER_SEQUENCE, whole);
}
