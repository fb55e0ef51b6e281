#include "pki/server_key.h"

#include <openssl/pem.h>

#include "pki/ca.h"

static enum err write_pem(EVP_PKEY *key, char ret_pem[SERVER_KEY_PEM_MAX])
{
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL)
        return ERR_CRYPTO;
    enum err err = ERR_CRYPTO;
    if (PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        char *data;
        long n = BIO_get_mem_data(bio, &data);
        err = n > 0 && n < SERVER_KEY_PEM_MAX ? ERR_NONE : ERR_LIMIT;
        if (err == ERR_NONE) {
            memcpy(ret_pem, data, (size_t)n);
            ret_pem[n] = '\0';
        }
    }
    BIO_free(bio); /* secure memory is wiped */
    return err;
}

enum err server_key_new(char ret_pem[SERVER_KEY_PEM_MAX], uint8_t *spki, size_t spki_max,
                        size_t *ret_spki_len)
{
    CLEANUP(ca_key_cleanup) EVP_PKEY *key = NULL;
    enum err err = ca_key_new(KEY_P256, &key);
    if (err != ERR_NONE)
        return err;
    int n = i2d_PUBKEY(key, NULL);
    if (n <= 0 || (size_t)n > spki_max)
        return n <= 0 ? ERR_CRYPTO : ERR_LIMIT;
    uint8_t *at = spki;
    if (i2d_PUBKEY(key, &at) != n)
        return ERR_CRYPTO;
    err = write_pem(key, ret_pem);
    if (err == ERR_NONE)
        *ret_spki_len = (size_t)n;
    return err;
}
