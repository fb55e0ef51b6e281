#include "broker/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

enum err certificate_digest(void *x509, uint8_t ret_digest[SHA256_SIZE])
{
    int ok = X509_digest(x509, EVP_sha256(), ret_digest, NULL);
    X509_free(x509);
    ERR_clear_error();
    return ok == 1 ? ERR_NONE : ERR_CRYPTO;
}

enum err certificate_digest_of_file(const char *path, uint8_t ret_digest[SHA256_SIZE])
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ERR_IO;
    X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
    (void)fclose(file);
    ERR_clear_error();
    return x509 == NULL ? ERR_SYNTAX : certificate_digest(x509, ret_digest);
}
