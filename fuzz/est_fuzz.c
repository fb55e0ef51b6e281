#include <assert.h>

#include "core/est.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_request(struct slice body)
{
    static uint8_t buffer[CSR_MAX], text[EST_REQUEST_MAX], again[CSR_MAX];
    struct slice der, back;
    if (est_read_request(body, buffer, sizeof buffer, &der) != ERR_NONE)
        return;
    assert(der.len > 0);
    struct writer w = writer_over(text, sizeof text);
    est_write_request(&w, der);
    assert(w.err == ERR_NONE);
    assert(est_read_request(writer_bytes(&w), again, sizeof again, &back) == ERR_NONE);
    assert(slice_equal(back, der));
}

static void try_certificates(struct slice body)
{
    static uint8_t buffer[EST_RESPONSE_MAX], text[EST_RESPONSE_MAX], scratch[EST_RESPONSE_MAX],
        again[EST_RESPONSE_MAX];
    struct slice certificates[EST_CERTIFICATES_MAX], back[EST_CERTIFICATES_MAX];
    size_t n, back_n;
    if (est_read_certificates(body, buffer, sizeof buffer, certificates, &n) != ERR_NONE)
        return;
    assert(n > 0 && n <= EST_CERTIFICATES_MAX);
    struct writer w = writer_over(text, sizeof text);
    assert(est_write_certificates(&w, certificates, n, scratch, sizeof scratch) == ERR_NONE);
    assert(est_read_certificates(writer_bytes(&w), again, sizeof again, back, &back_n) == ERR_NONE);
    assert(back_n == n);
    for (size_t i = 0; i < n; i++)
        assert(slice_equal(back[i], certificates[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice body = slice_of(data, size);
    try_request(body);
    try_certificates(body);
    return 0;
}
