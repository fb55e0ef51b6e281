#include "core/est.h"

#include "core/base64.h"
#include "core/oid.h"
#include "core/x509.h"

#define SIGNED_DATA_VERSION 1 /* RFC 5652 section 5.1: certificates of X.509 only */

enum err est_read_request(struct slice body, uint8_t *buffer, size_t max, struct slice *ret_der)
{
    if (body.len > EST_REQUEST_MAX)
        return ERR_LIMIT;
    size_t len;
    enum err err = base64_read_wrapped(body, buffer, max, &len);
    if (err != ERR_NONE)
        return err;
    if (len == 0)
        return ERR_SYNTAX;
    *ret_der = slice_of(buffer, len);
    return ERR_NONE;
}

void est_write_request(struct writer *w, struct slice csr_der)
{
    base64_write_lines(w, csr_der);
}

static enum err check_certificate(struct slice der)
{
    if (der.len > CERTIFICATE_MAX)
        return ERR_LIMIT;
    struct reader r = reader_over(der);
    (void)der_read(&r, DER_SEQUENCE);
    return reader_finish(&r);
}

enum err est_write_certificates(struct writer *w, const struct slice *certificates, size_t n,
                                uint8_t *scratch, size_t scratch_max)
{
    if (n == 0 || n > EST_CERTIFICATES_MAX)
        return ERR_LIMIT;
    struct der_writer d = der_writer_over(scratch, scratch_max);
    size_t whole = der_mark(&d);
    der_put(&d, DER_SET, slice_of(NULL, 0)); /* signerInfos */
    size_t set = der_mark(&d);
    for (size_t i = n; i > 0; i--) {
        enum err err = check_certificate(certificates[i - 1]);
        if (err != ERR_NONE)
            return err;
        der_put_raw(&d, certificates[i - 1]);
    }
    der_wrap(&d, DER_CONTEXT_CONSTRUCTED(0), set);
    size_t content = der_mark(&d);
    der_put(&d, DER_OID, OID_DATA);
    der_wrap(&d, DER_SEQUENCE, content);
    der_put(&d, DER_SET, slice_of(NULL, 0)); /* digestAlgorithms */
    der_put_u64(&d, SIGNED_DATA_VERSION);
    der_wrap(&d, DER_SEQUENCE, whole);
    der_wrap(&d, DER_CONTEXT_CONSTRUCTED(0), whole);
    der_put(&d, DER_OID, OID_SIGNED_DATA);
    der_wrap(&d, DER_SEQUENCE, whole);
    if (d.err != ERR_NONE)
        return d.err;
    base64_write_lines(w, der_writer_bytes(&d));
    return w->err;
}

static void expect_oid(struct reader *r, struct slice expected)
{
    struct slice oid = der_read(r, DER_OID);
    if (r->err == ERR_NONE && !slice_equal(oid, expected))
        reader_fail(r, ERR_UNSUPPORTED);
}

static size_t read_certificate_set(struct reader *r, struct slice *certificates)
{
    size_t n = 0;
    struct reader set = der_enter(r, DER_CONTEXT_CONSTRUCTED(0));
    do {
        unsigned tag = DER_SEQUENCE;
        struct slice der = der_read_any(&set, &tag);
        if (tag != DER_SEQUENCE)
            reader_fail(&set, ERR_UNSUPPORTED);
        if (n == EST_CERTIFICATES_MAX || der.len > CERTIFICATE_MAX)
            reader_fail(&set, ERR_LIMIT);
        else
            certificates[n++] = der;
    } while (reader_left(&set) > 0);
    der_leave(r, &set);
    return n;
}

/* SignedData, RFC 5652 section 5.1, as RFC 5272 section 4.1 has it for certificates alone. */
static size_t read_signed_data(struct reader *r, struct slice *certificates)
{
    struct reader data = der_enter(r, DER_SEQUENCE);
    if (der_read_u64(&data) != SIGNED_DATA_VERSION)
        reader_fail(&data, ERR_UNSUPPORTED);
    (void)der_read(&data, DER_SET);
    struct reader content = der_enter(&data, DER_SEQUENCE);
    expect_oid(&content, OID_DATA);
    der_leave(&data, &content);
    size_t n = read_certificate_set(&data, certificates);
    if (der_next_is(&data, DER_CONTEXT_CONSTRUCTED(1)))
        (void)der_read(&data, DER_CONTEXT_CONSTRUCTED(1)); /* revocation lists */
    struct slice signers = der_read(&data, DER_SET);
    if (signers.len > 0)
        reader_fail(&data, ERR_UNSUPPORTED);
    der_leave(r, &data);
    return n;
}

enum err est_read_certificates(struct slice body, uint8_t *buffer, size_t max,
                               struct slice ret_certificates[EST_CERTIFICATES_MAX], size_t *ret_n)
{
    if (body.len > EST_RESPONSE_MAX)
        return ERR_LIMIT;
    size_t len;
    enum err err = base64_read_wrapped(body, buffer, max, &len);
    if (err != ERR_NONE)
        return err;
    struct slice certificates[EST_CERTIFICATES_MAX];
    struct reader r = reader_over(slice_of(buffer, len));
    struct reader info = der_enter(&r, DER_SEQUENCE);
    expect_oid(&info, OID_SIGNED_DATA);
    struct reader explicit = der_enter(&info, DER_CONTEXT_CONSTRUCTED(0));
    size_t n = read_signed_data(&explicit, certificates);
    der_leave(&info, &explicit);
    der_leave(&r, &info);
    err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    memcpy(ret_certificates, certificates, n * sizeof certificates[0]);
    *ret_n = n;
    return ERR_NONE;
}
