/* An OCSP request as a body and as a path: what is read points into the request, and a request that
 * is cut is none. */
#include <assert.h>

#include "core/ocsp.h"
#include "core/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice der)
{
    struct ocsp_request r;
    if (ocsp_request_read(der, &r) != ERR_NONE)
        return;
    const struct slice parts[] = {r.issuer_name_hash, r.issuer_key_hash, r.serial};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        assert(parts[i].len > 0);
        assert(parts[i].data >= der.data && parts[i].data + parts[i].len <= der.data + der.len);
    }
    assert(r.hash < OCSP_HASH_COUNT);
    assert(r.issuer_name_hash.len == (r.hash == OCSP_SHA1 ? 20 : 32));
    assert(r.issuer_key_hash.len == r.issuer_name_hash.len);
    assert(r.serial.len <= SERIAL_MAX);
    struct ocsp_request cut;
    assert(ocsp_request_read(slice_of(der.data, der.len - 1), &cut) == ERR_SYNTAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(slice_of(data, size));
    uint8_t buffer[OCSP_GET_MAX];
    struct slice der;
    if (ocsp_path_read(slice_of(data, size), buffer, &der) == ERR_NONE) {
        assert(der.len <= OCSP_GET_MAX);
        check(der);
    }
    return 0;
}
