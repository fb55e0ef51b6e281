/* Certificates from a manifest. What is taken is taken with white space around it, and with
 * nothing else; any certificate in DER is taken in the PEM that we write. */
#include <assert.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "pki/pem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct hashes {
    uint8_t certificate[SHA256_SIZE], spki[SHA256_SIZE];
};

static void must_be(struct slice pem, const struct hashes *expected)
{
    struct hashes found;
    assert(pem_certificate_hashes(pem, found.certificate, found.spki) == ERR_NONE);
    assert(memcmp(&found, expected, sizeof found) == 0);
}

/* What becomes of it with something around it. */
static enum err with(struct slice pem, const char *before, const char *after)
{
    struct hashes unused;
    uint8_t *text = malloc(pem.len + 64);
    assert(text != NULL);
    struct writer w = writer_over(text, pem.len + 64);
    writer_text(&w, before);
    writer_put(&w, pem);
    writer_text(&w, after);
    assert(w.err == ERR_NONE);
    enum err err = pem_certificate_hashes(writer_bytes(&w), unused.certificate, unused.spki);
    free(text);
    return err;
}

static void read_text(struct slice pem)
{
    struct hashes found, untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    found = untouched;
    enum err err = pem_certificate_hashes(pem, found.certificate, found.spki);
    if (err != ERR_NONE) {
        assert(memcmp(&found, &untouched, sizeof found) == 0);
        return;
    }
    assert(with(pem, "\r\n \t", "\r\n \t") == ERR_NONE);
    assert(with(pem, "x", "") == ERR_SYNTAX);
    assert(with(pem, "", "x") == ERR_SYNTAX);
    uint8_t *twice = malloc(2 * pem.len);
    assert(twice != NULL);
    memcpy(twice, pem.data, pem.len);
    memcpy(twice + pem.len, pem.data, pem.len);
    assert(pem_certificate_hashes(slice_of(twice, 2 * pem.len), found.certificate, found.spki) ==
           ERR_SYNTAX);
    free(twice);
}

static void read_der(struct slice der)
{
    uint8_t text[3 * CERTIFICATE_MAX];
    struct writer w = writer_over(text, sizeof text);
    struct certificate c;
    if (certificate_read(der, &c) == ERR_NONE) {
        struct hashes expected;
        crypto_sha256_one(der, expected.certificate);
        crypto_sha256_one(c.spki.der, expected.spki);
        pem_write_certificate(&w, der);
        assert(w.err == ERR_NONE);
        must_be(writer_bytes(&w), &expected);
        w = writer_over(text, sizeof text);
        assert(pem_write_certificates(&w, der) == ERR_NONE);
        must_be(writer_bytes(&w), &expected);
        return;
    }
    /* elements one after the other, or not */
    enum err err = pem_write_certificates(&w, der);
    assert(err == ERR_NONE || err == ERR_SYNTAX || err == ERR_LIMIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_text(slice_of(data, size));
    read_der(slice_of(data, size));
    return 0;
}
