/* Copies of the identity for other programs on the device, as PEM. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/port/posix/internal.h"

#define IDENTITY_FILE "identity.pem"
#define ROOTS_FILE    "roots.pem"

static bool put_certificates(BIO *bio, struct slice der, bool all)
{
    const uint8_t *at = der.data, *end = der.data + der.len;
    for (bool first = true; at < end; first = false) {
        X509 *certificate = d2i_X509(NULL, &at, end - at);
        bool ok =
            certificate != NULL && ((first && !all) || PEM_write_bio_X509(bio, certificate) == 1);
        X509_free(certificate);
        if (!ok)
            return false;
    }
    return true;
}

static enum err keep(struct posix_port *folder, const char *name, BIO *bio)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(bio, &bytes);
    return len > 0 ? posix_replace(folder, name, slice_of(bytes, (size_t)len)) : ERR_CRYPTO;
}

enum err posix_write_copies(struct posix_port *p, const char *path, enum port_key slot,
                            struct slice chain, const struct slice *roots, size_t roots_len)
{
    struct posix_port folder = {.folder_fd = -1};
    EVP_PKEY *key = NULL;
    BIO *identity = BIO_new(BIO_s_secmem()), *trusted = BIO_new(BIO_s_mem());
    enum err err = identity == NULL || trusted == NULL ? ERR_NO_MEMORY : ERR_NONE;
    if (err == ERR_NONE && mkdir(path, 0700) != 0 && errno != EEXIST)
        err = ERR_IO;
    if (err == ERR_NONE)
        folder.folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (err == ERR_NONE && folder.folder_fd < 0)
        err = ERR_IO;
    if (err == ERR_NONE)
        err = posix_key_load(p, slot, &key);
    if (err == ERR_NONE &&
        (PEM_write_bio_PKCS8PrivateKey(identity, key, NULL, NULL, 0, NULL, NULL) != 1 ||
         !put_certificates(identity, chain, true)))
        err = ERR_CRYPTO;
    for (size_t i = 0; err == ERR_NONE && i < roots_len; i++)
        if (!put_certificates(trusted, roots[i], true))
            err = ERR_CRYPTO;
    /* Those between, for peers that send their own certificate alone. */
    if (err == ERR_NONE && !put_certificates(trusted, chain, false))
        err = ERR_CRYPTO;
    if (err == ERR_NONE)
        err = keep(&folder, ROOTS_FILE, trusted);
    if (err == ERR_NONE)
        err = keep(&folder, IDENTITY_FILE, identity);
    if (folder.folder_fd >= 0)
        (void)close(folder.folder_fd);
    EVP_PKEY_free(key);
    BIO_free(identity);
    BIO_free(trusted);
    return err;
}
