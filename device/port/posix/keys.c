/* Keys as PKCS#8 (RFC 5958) in DER, one file for each slot, readable by their owner alone. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "device/port/posix/internal.h"

static const char *key_name(enum port_key key)
{
    return key == PORT_KEY_A ? "key-a" : "key-b";
}

static EVP_PKEY *parse(const uint8_t *bytes, size_t len)
{
    const uint8_t *at = bytes;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)len);
    if (key != NULL && at != bytes + len) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

/* A passphrase is never asked for: an unattended device has nobody to answer. */
static int no_passphrase(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static EVP_PKEY *parse_pem(const uint8_t *bytes, size_t len)
{
    BIO *bio = BIO_new_mem_buf(bytes, (int)len);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return key;
}

enum err posix_key_load(struct posix_port *p, enum port_key key, EVP_PKEY **ret_key)
{
    uint8_t bytes[FILE_MAX];
    size_t len = 0;
    enum err err;
    if (key != PORT_KEY_MANUFACTURER)
        err = posix_read(p, key_name(key), bytes, sizeof bytes, &len);
    else if (p->options.manufacturer_key != NULL)
        err = posix_read_path(p->options.manufacturer_key, bytes, sizeof bytes, &len);
    else
        return ERR_NOT_FOUND;
    if (err != ERR_NONE)
        return err == ERR_LIMIT ? ERR_NOT_FOUND : err;
    EVP_PKEY *found = parse(bytes, len);
    if (found == NULL && key == PORT_KEY_MANUFACTURER)
        found = parse_pem(bytes, len);
    mem_wipe(bytes, len);
    if (found == NULL)
        return ERR_NOT_FOUND; /* what a power cut left, or what key_delete had begun */
    *ret_key = found;
    return ERR_NONE;
}

static EVP_PKEY *generate(enum key_kind kind)
{
    switch (kind) {
    case KEY_P256:
        return EVP_EC_gen("P-256");
    case KEY_P384:
        return EVP_EC_gen("P-384");
    case KEY_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case KEY_RSA:
    case KEY_KIND_COUNT:
        break;
    }
    return NULL;
}

enum err posix_key_generate(void *ctx, enum port_key key, enum key_kind kind)
{
    if (key == PORT_KEY_MANUFACTURER)
        return ERR_UNSUPPORTED;
    EVP_PKEY *fresh = generate(kind);
    PKCS8_PRIV_KEY_INFO *info = fresh == NULL ? NULL : EVP_PKEY2PKCS8(fresh);
    uint8_t *der = NULL;
    int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    enum err err =
        len > 0 ? posix_replace(ctx, key_name(key), slice_of(der, (size_t)len)) : ERR_CRYPTO;
    if (len > 0)
        OPENSSL_clear_free(der, (size_t)len);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(fresh);
    return err;
}

/* The size of the public key tells the kinds that we make apart. */
static enum err kind_of(const EVP_PKEY *key, size_t len, enum key_kind *ret_kind)
{
    if (EVP_PKEY_is_a(key, "ED25519"))
        *ret_kind = KEY_ED25519;
    else if (EVP_PKEY_is_a(key, "EC") && len == 65)
        *ret_kind = KEY_P256;
    else if (EVP_PKEY_is_a(key, "EC") && len == 97)
        *ret_kind = KEY_P384;
    else
        return ERR_UNSUPPORTED;
    return ERR_NONE;
}

enum err posix_key_public(void *ctx, enum port_key key, enum key_kind *ret_kind, uint8_t *buffer,
                          size_t max, size_t *ret_len)
{
    EVP_PKEY *found = NULL;
    enum err err = posix_key_load(ctx, key, &found);
    if (err != ERR_NONE)
        return err;
    size_t len = 0;
    if (EVP_PKEY_get_octet_string_param(found, OSSL_PKEY_PARAM_PUB_KEY, buffer, max, &len) != 1)
        err = ERR_CRYPTO;
    else
        err = kind_of(found, len, ret_kind);
    EVP_PKEY_free(found);
    if (err == ERR_NONE)
        *ret_len = len;
    return err;
}

enum err posix_key_sign(void *ctx, enum port_key key, struct slice message, uint8_t *buffer,
                        size_t max, size_t *ret_len)
{
    EVP_PKEY *found = NULL;
    enum err err = posix_key_load(ctx, key, &found);
    if (err != ERR_NONE)
        return err;
    const EVP_MD *md = NULL;
    if (EVP_PKEY_is_a(found, "EC"))
        md = EVP_PKEY_get_bits(found) > 256 ? EVP_sha384() : EVP_sha256();
    EVP_MD_CTX *signing = EVP_MD_CTX_new();
    size_t len = max;
    if (signing == NULL || EVP_DigestSignInit(signing, NULL, md, NULL, found) != 1 ||
        EVP_DigestSign(signing, buffer, &len, message.data, message.len) != 1)
        err = ERR_CRYPTO;
    EVP_MD_CTX_free(signing);
    EVP_PKEY_free(found);
    if (err == ERR_NONE)
        *ret_len = len;
    return err;
}

enum err posix_key_delete(void *ctx, enum port_key key)
{
    return key == PORT_KEY_MANUFACTURER ? ERR_UNSUPPORTED : posix_delete_secret(ctx, key_name(key));
}

/* ---- certificates of a file ---- */

static enum err put_certificate(struct writer *w, X509 *certificate)
{
    int len = i2d_X509(certificate, NULL);
    uint8_t *to = len <= 0 ? NULL : writer_reserve(w, (size_t)len);
    if (to == NULL)
        return len <= 0 ? ERR_CRYPTO : w->err;
    return i2d_X509(certificate, &to) == len ? ERR_NONE : ERR_CRYPTO;
}

static enum err read_pem(BIO *bio, struct writer *w)
{
    for (;;) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (certificate == NULL)
            return w->len > 0 ? ERR_NONE : ERR_SYNTAX;
        enum err err = put_certificate(w, certificate);
        X509_free(certificate);
        if (err != ERR_NONE)
            return err;
    }
}

enum err posix_read_certificates(const char *path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    uint8_t bytes[FILE_MAX];
    size_t len = 0;
    enum err err = posix_read_path(path, bytes, sizeof bytes, &len);
    if (err != ERR_NONE)
        return err;
    struct writer w = writer_over(buffer, max);
    const uint8_t *at = bytes;
    X509 *certificate = d2i_X509(NULL, &at, (long)len);
    if (certificate != NULL && at == bytes + len) {
        err = put_certificate(&w, certificate);
    } else {
        BIO *bio = BIO_new_mem_buf(bytes, (int)len);
        err = bio == NULL ? ERR_NO_MEMORY : read_pem(bio, &w);
        BIO_free(bio);
    }
    X509_free(certificate);
    if (err == ERR_NONE)
        *ret_len = w.len;
    return err;
}
