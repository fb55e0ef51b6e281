/* Makes certification requests for the benchmarks: `csr_maker N FILE` writes N of them to FILE,
 * base64 on a line each, every one with a P-256 key of its own, and prints the keys' SHA-256
 * fingerprints. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "core/base64.h"
#include "core/csr.h"

static enum err sign(void *ctx, struct slice message, uint8_t *buffer, size_t max, size_t *ret_len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t len = max;
    int ok = md != NULL && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, ctx) == 1 &&
             EVP_DigestSign(md, buffer, &len, message.data, message.len) == 1;
    EVP_MD_CTX_free(md);
    if (!ok)
        return ERR_CRYPTO;
    *ret_len = len;
    return ERR_NONE;
}

static enum err make_one(FILE *to)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    uint8_t point[133];
    size_t point_len;
    enum err err = ERR_CRYPTO;
    if (key != NULL && EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                       sizeof point, &point_len) == 1)
        err = ERR_NONE;
    uint8_t der[CSR_MAX];
    struct slice request;
    if (err == ERR_NONE)
        err = csr_write(KEY_P256, slice_of(point, point_len), slice_of(NULL, 0), sign, key, der,
                        sizeof der, &request);
    EVP_PKEY_free(key);
    struct csr csr;
    if (err == ERR_NONE)
        err = csr_read(request, &csr);
    if (err != ERR_NONE)
        return err;

    uint8_t text[BASE64_SIZE(CSR_MAX)];
    struct writer w = writer_over(text, sizeof text);
    base64_write(&w, request);
    uint8_t hash[SHA256_SIZE];
    crypto_sha256_one(csr.spki.der, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        (void)printf("%02x", hash[i]);
    (void)printf("\n");
    bool written = fwrite(text, 1, w.len, to) == w.len && fputc('\n', to) != EOF;
    return written ? w.err : ERR_IO;
}

int main(int argc, char **argv)
{
    long n = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    FILE *to = n > 0 ? fopen(argv[2], "w") : NULL;
    if (to == NULL) {
        (void)fprintf(stderr, "usage: csr_maker N FILE\n");
        return EXIT_FAILURE;
    }
    enum err err = ERR_NONE;
    for (long i = 0; i < n && err == ERR_NONE; i++)
        err = make_one(to);
    if (fclose(to) != 0)
        err = ERR_IO;
    return err == ERR_NONE ? EXIT_SUCCESS : EXIT_FAILURE;
}
