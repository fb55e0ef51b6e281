/* Lists as they lie in the hub's state folder, whatever has become of them there. */
#include <assert.h>

#include "pki/crl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct crl_facts facts = {0};
    enum err err = crl_read(slice_of(data, size), &facts);
    assert((err == ERR_NONE) == (facts.number > 0));
    return 0;
}
