#include "core/ocsp.h"

#include "core/base64.h"
#include "core/der.h"
#include "core/oid.h"
#include "core/x509.h"

static const struct {
    struct slice oid;
    size_t size;
} hashes[OCSP_HASH_COUNT] = {
    [OCSP_SHA1] = {OID_SHA1, 20},
    [OCSP_SHA256] = {OID_SHA256, 32},
};

/* AlgorithmIdentifier; some write NULL for its parameters, some leave them out (RFC 5754). */
static enum ocsp_hash read_hash_algorithm(struct reader *id)
{
    struct reader algorithm = der_enter(id, DER_SEQUENCE);
    struct slice oid = der_read(&algorithm, DER_OID);
    if (reader_left(&algorithm) > 0)
        reader_expect(&algorithm, SLICE_LITERAL("\x05\x00"));
    der_leave(id, &algorithm);
    for (unsigned i = 0; i < OCSP_HASH_COUNT; i++)
        if (slice_equal(oid, hashes[i].oid))
            return (enum ocsp_hash)i;
    reader_fail(id, ERR_UNSUPPORTED);
    return OCSP_SHA1;
}

static void read_cert_id(struct reader *request, struct ocsp_request *ocsp)
{
    struct reader id = der_enter(request, DER_SEQUENCE);
    ocsp->hash = read_hash_algorithm(&id);
    ocsp->issuer_name_hash = der_read(&id, DER_OCTET_STRING);
    ocsp->issuer_key_hash = der_read(&id, DER_OCTET_STRING);
    size_t size = hashes[ocsp->hash].size;
    if (ocsp->issuer_name_hash.len != size || ocsp->issuer_key_hash.len != size)
        reader_fail(&id, ERR_SYNTAX);
    ocsp->serial = der_read_unsigned(&id);
    if (ocsp->serial.len > SERIAL_MAX)
        reader_fail(&id, ERR_LIMIT);
    der_leave(request, &id);
}

/* None changes our answer; one that says it must is refused. */
static void read_extensions(struct reader *r, unsigned tag)
{
    if (!der_next_is(r, tag))
        return;
    struct reader explicit = der_enter(r, tag);
    struct reader extensions = der_enter(&explicit, DER_SEQUENCE);
    while (reader_left(&extensions) > 0)
        if (x509_extension_read(&extensions).critical)
            reader_fail(&extensions, ERR_UNSUPPORTED);
    der_leave(&explicit, &extensions);
    der_leave(r, &explicit);
}

static void read_request_list(struct reader *tbs, struct ocsp_request *ocsp)
{
    struct reader list = der_enter(tbs, DER_SEQUENCE);
    struct reader request = der_enter(&list, DER_SEQUENCE);
    read_cert_id(&request, ocsp);
    read_extensions(&request, DER_CONTEXT_CONSTRUCTED(0));
    der_leave(&list, &request);
    if (reader_left(&list) > 0)
        reader_fail(&list, ERR_LIMIT);
    der_leave(tbs, &list);
}

static void read_version(struct reader *tbs)
{
    if (!der_next_is(tbs, DER_CONTEXT_CONSTRUCTED(0)))
        return;
    struct reader explicit = der_enter(tbs, DER_CONTEXT_CONSTRUCTED(0));
    if (der_read_u64(&explicit) != 0)
        reader_fail(&explicit, ERR_UNSUPPORTED);
    der_leave(tbs, &explicit);
}

static void read_tbs(struct reader *outer, struct ocsp_request *ocsp)
{
    struct reader tbs = der_enter(outer, DER_SEQUENCE);
    read_version(&tbs);
    if (der_next_is(&tbs, DER_CONTEXT_CONSTRUCTED(1)))
        (void)der_read(&tbs, DER_CONTEXT_CONSTRUCTED(1)); /* requestorName */
    read_request_list(&tbs, ocsp);
    read_extensions(&tbs, DER_CONTEXT_CONSTRUCTED(2));
    der_leave(outer, &tbs);
}

enum err ocsp_request_read(struct slice der, struct ocsp_request *ret_request)
{
    if (der.len > OCSP_REQUEST_MAX)
        return ERR_LIMIT;
    struct ocsp_request ocsp = {.hash = OCSP_SHA1};
    struct reader r = reader_over(der);
    struct reader outer = der_enter(&r, DER_SEQUENCE);
    if (reader_left(&r) > 0)
        return ERR_SYNTAX;
    read_tbs(&outer, &ocsp);
    /* optionalSignature: what we say is the same for everybody (RFC 5019 section 2.1.1). */
    if (der_next_is(&outer, DER_CONTEXT_CONSTRUCTED(0)))
        (void)der_read(&outer, DER_CONTEXT_CONSTRUCTED(0));
    der_leave(&r, &outer);
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_request = ocsp;
    return err;
}

static uint8_t read_hex_digit(struct reader *r)
{
    uint8_t c = reader_u8(r);
    uint8_t lower = c | 0x20;
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0');
    if (lower >= 'a' && lower <= 'f')
        return (uint8_t)(lower - 'a' + 10);
    reader_fail(r, ERR_SYNTAX);
    return 0;
}

enum err ocsp_path_read(struct slice path, uint8_t buffer[OCSP_GET_MAX], struct slice *ret_der)
{
    if (path.len > OCSP_GET_MAX)
        return ERR_LIMIT;
    uint8_t text[OCSP_GET_MAX];
    struct writer w = writer_over(text, sizeof text);
    struct reader r = reader_over(path);
    while (reader_left(&r) > 0) {
        uint8_t c = reader_u8(&r);
        if (c == '%') {
            unsigned high = read_hex_digit(&r);
            c = (uint8_t)(high << 4 | read_hex_digit(&r));
        }
        writer_u8(&w, c);
    }
    size_t len = 0;
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        err = base64_read(writer_bytes(&w), buffer, OCSP_GET_MAX, &len);
    if (err == ERR_NONE)
        *ret_der = slice_of(buffer, len);
    return err;
}

void ocsp_write_error(struct writer *w, enum ocsp_response_status status)
{
    writer_u8(w, DER_SEQUENCE);
    writer_u8(w, 3);
    writer_u8(w, DER_ENUMERATED);
    writer_u8(w, 1);
    writer_u8(w, (uint8_t)status);
}
