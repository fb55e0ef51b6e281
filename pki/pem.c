#include "pki/pem.h"

#include "base/crypto.h"
#include "core/base64.h"

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_space(s.data[0]))
        s = slice_of(s.data + 1, s.len - 1);
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

enum err pem_certificate_hashes(struct slice pem, uint8_t ret_certificate[SHA256_SIZE],
                                uint8_t ret_spki[SHA256_SIZE])
{
    static const struct slice begin = {(const uint8_t *)"-----BEGIN CERTIFICATE-----", 27};
    static const struct slice end = {(const uint8_t *)"-----END CERTIFICATE-----", 25};
    struct slice text = trim(pem);
    if (text.len < begin.len + end.len || !slice_starts_with(text, begin) ||
        !slice_equal(slice_of(text.data + text.len - end.len, end.len), end))
        return ERR_SYNTAX;
    struct slice body = slice_of(text.data + begin.len, text.len - begin.len - end.len);
    uint8_t der[CERTIFICATE_MAX];
    size_t len;
    enum err err = base64_read_wrapped(body, der, sizeof der, &len);
    struct certificate c;
    if (err == ERR_NONE)
        err = certificate_read(slice_of(der, len), &c);
    if (err != ERR_NONE)
        return err;
    crypto_sha256_one(c.der, ret_certificate);
    crypto_sha256_one(c.spki.der, ret_spki);
    return ERR_NONE;
}

void pem_write_certificate(struct writer *w, struct slice der)
{
    writer_text(w, "-----BEGIN CERTIFICATE-----\n");
    base64_write_lines(w, der);
    writer_text(w, "-----END CERTIFICATE-----\n");
}

enum err pem_write_certificates(struct writer *w, struct slice ders)
{
    struct reader r = reader_over(ders);
    while (reader_left(&r) > 0) {
        unsigned tag;
        struct slice der = der_read_any(&r, &tag);
        if (r.err == ERR_NONE)
            pem_write_certificate(w, der);
    }
    enum err err = reader_finish(&r);
    return err != ERR_NONE ? err : w->err;
}
