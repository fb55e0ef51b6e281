#include <assert.h>

#include "core/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_within(struct slice part, struct slice whole)
{
    assert(part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static void assert_name(struct slice der)
{
    struct reader r = reader_over(der);
    struct x509_name name = x509_name_read(&r);
    assert(reader_finish(&r) == ERR_NONE);
    assert(slice_equal(name.der, der));
    assert((name.common_names > 0) == (name.common_name_tag != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice der = slice_of(data, size);
    struct certificate c;
    if (certificate_read(der, &c) != ERR_NONE)
        return 0;
    assert(size <= CERTIFICATE_MAX);
    assert_within(c.serial, der);
    assert_within(c.spki.der, der);
    assert_within(c.spki.key, c.spki.der);
    assert_within(c.uri, der);
    assert_within(c.authority_key, der);
    assert_within(c.subject_key, der);
    assert(c.serial.len > 0 && c.serial.len <= SERIAL_MAX);
    assert_name(c.issuer);
    assert_name(c.subject);

    /* Times that DER can say come back. */
    uint8_t buffer[32];
    struct der_writer w = der_writer_over(buffer, sizeof buffer);
    der_put_time(&w, c.not_after);
    if (w.err == ERR_NONE) {
        struct reader r = reader_over(der_writer_bytes(&w));
        assert(der_read_time(&r) == c.not_after);
        assert(reader_finish(&r) == ERR_NONE);
    }
    struct certificate cut;
    assert(certificate_read(slice_of(data, size - 1), &cut) == ERR_SYNTAX);
    return 0;
}
