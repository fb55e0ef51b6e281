#include <assert.h>

#include "core/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_within(struct slice part, struct slice whole)
{
    assert(part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice der = slice_of(data, size);
    struct csr csr;
    if (csr_read(der, &csr) != ERR_NONE)
        return 0;
    assert(size <= CSR_MAX);
    assert_within(csr.signed_part, der);
    assert_within(csr.spki.der, csr.signed_part);
    assert_within(csr.spki.key, csr.spki.der);
    assert_within(csr.common_name, csr.signed_part);
    assert_within(csr.challenge_password, csr.signed_part);
    assert_within(csr.signature, der);
    assert(csr.common_name.len <= CSR_COMMON_NAME_MAX);
    assert(csr.signature.len > 0 && csr.signature.len <= CSR_SIGNATURE_MAX);
    assert(csr.spki.der.len <= SPKI_MAX);

    /* There is one encoding of a key that we write. */
    if (csr.spki.kind != KEY_RSA) {
        uint8_t buffer[SPKI_MAX];
        struct der_writer w = der_writer_over(buffer, sizeof buffer);
        spki_write(&w, csr.spki.kind, csr.spki.key);
        assert(slice_equal(der_writer_bytes(&w), csr.spki.der));
    }
    struct csr cut;
    assert(csr_read(slice_of(data, size - 1), &cut) == ERR_SYNTAX);
    return 0;
}
