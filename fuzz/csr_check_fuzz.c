#include <assert.h>

#include "pki/csr_check.h"

#define ALL_KINDS ((1U << KEY_KIND_COUNT) - 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice der = slice_of(data, size);
    struct csr csr;
    struct problem problem = {0};
    enum err err = csr_check(der, ALL_KINDS, &csr, &problem);
    if (err != ERR_NONE) {
        assert(err == ERR_REFUSED);
        assert(problem.status >= 400 && problem.status < 500 && problem.code != NULL);
        return 0;
    }
    /* What is taken once is taken again; and refused where its kind is not wanted, or a bit of what
     * is signed is another. */
    assert(problem.code == NULL);
    assert(csr_check(der, 1U << csr.spki.kind, &csr, &problem) == ERR_NONE);
    assert(csr_check(der, ALL_KINDS & ~(1U << csr.spki.kind), &csr, &problem) == ERR_REFUSED);
    uint8_t changed[CSR_MAX];
    memcpy(changed, data, size);
    changed[(size_t)(csr.signed_part.data - data) + csr.signed_part.len / 2] ^= 1;
    assert(csr_check(slice_of(changed, size), ALL_KINDS, &csr, &problem) == ERR_REFUSED);
    return 0;
}
