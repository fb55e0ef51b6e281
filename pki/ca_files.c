#include "pki/ca_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/crypto.h"
#include "base/file.h"

#define KEY_FILE_MAX (16 * 1024)

void ca_key_cleanup(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

void ca_certificate_cleanup(X509 **certificate)
{
    X509_free(*certificate);
}

void ca_bio_cleanup(BIO **bio)
{
    BIO_free(*bio);
}

enum err ca_fail(enum err err, char explain[256], const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(explain, 256, format, values);
    va_end(values);
    return err;
}

enum err ca_path(const char *state, const char *name, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", state, name);
    return n > 0 && n < PATH_MAX ? ERR_NONE : ERR_LIMIT;
}

enum err ca_file_make(const char *path, struct slice bytes, mode_t mode,
                      const struct ca_owner *owner)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0600);
    if (fd < 0)
        return file_error();
    enum err err = file_write(fd, bytes);
    if (err == ERR_NONE && owner->set && fchown(fd, owner->uid, owner->gid) != 0)
        err = file_error();
    if (err == ERR_NONE && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        err = file_error();
    int saved = errno;
    if (close(fd) != 0 && err == ERR_NONE)
        err = ERR_IO;
    if (err != ERR_NONE)
        (void)unlink(path);
    errno = saved;
    return err;
}

enum err ca_folder_flush(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_error();
    /* EINVAL: a file system that orders its entries by itself */
    enum err err = fsync(fd) == 0 || errno == EINVAL ? ERR_NONE : file_error();
    (void)close(fd);
    return err;
}

struct slice ca_bio_bytes(BIO *bio)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(bio, &bytes);
    return slice_of(bytes, len > 0 ? (size_t)len : 0);
}

enum err ca_key_pem(EVP_PKEY *key, BIO **ret_pem)
{
    BIO *pem = BIO_new(BIO_s_secmem());
    if (pem == NULL)
        return ERR_NO_MEMORY;
    if (PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(pem);
        return ERR_CRYPTO;
    }
    *ret_pem = pem;
    return ERR_NONE;
}

enum err ca_certificates_pem(X509 *const *certificates, size_t n, BIO **ret_pem)
{
    BIO *pem = BIO_new(BIO_s_mem());
    if (pem == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        if (PEM_write_bio_X509(pem, certificates[i]) == 1)
            continue;
        BIO_free(pem);
        return ERR_CRYPTO;
    }
    *ret_pem = pem;
    return ERR_NONE;
}

enum err ca_key_new(enum key_kind kind, EVP_PKEY **ret_key)
{
    EVP_PKEY *key = NULL;
    if (kind == KEY_P256 || kind == KEY_P384)
        key = EVP_EC_gen(kind == KEY_P256 ? "P-256" : "P-384");
    else if (kind == KEY_ED25519)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        return ERR_UNSUPPORTED;
    if (key == NULL)
        return ERR_CRYPTO;
    *ret_key = key;
    return ERR_NONE;
}

enum err ca_key_write(const char *path, EVP_PKEY *key, mode_t mode)
{
    static const struct ca_owner mine = {.set = false};
    BIO *pem CLEANUP(ca_bio_cleanup) = NULL;
    enum err err = ca_key_pem(key, &pem);
    return err == ERR_NONE ? ca_file_make(path, ca_bio_bytes(pem), mode, &mine) : err;
}

/* OpenSSL would ask the terminal otherwise. */
static int no_password(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

enum err ca_key_read(const char *path, EVP_PKEY **ret_key)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, KEY_FILE_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return err;
    EVP_PKEY *key = NULL;
    BIO *pem = BIO_new_mem_buf(bytes, (int)len);
    if (pem != NULL)
        key = PEM_read_bio_PrivateKey(pem, NULL, no_password, NULL);
    BIO_free(pem);
    file_free_secret(bytes, len);
    ERR_clear_error();
    if (key == NULL)
        return ERR_SYNTAX;
    *ret_key = key;
    return ERR_NONE;
}

/* Also by our own reader, which is stricter: what it takes is what the rest of us can read. */
static enum err check_form(X509 *certificate)
{
    uint8_t *der = NULL;
    int len = i2d_X509(certificate, &der);
    if (len <= 0)
        return ERR_CRYPTO;
    struct certificate c;
    enum err err = (size_t)len > CERTIFICATE_MAX ? ERR_LIMIT
                                                 : certificate_read(slice_of(der, (size_t)len), &c);
    OPENSSL_free(der);
    return err;
}

static enum err read_chain(BIO *pem, X509 *chain[CA_CHAIN_MAX], size_t *n)
{
    for (;;) {
        X509 *certificate = PEM_read_bio_X509(pem, NULL, no_password, NULL);
        if (certificate == NULL) {
            bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            return at_end && *n > 0 ? ERR_NONE : ERR_SYNTAX;
        }
        enum err err = *n == CA_CHAIN_MAX ? ERR_LIMIT : check_form(certificate);
        if (err != ERR_NONE) {
            X509_free(certificate);
            return err;
        }
        chain[(*n)++] = certificate;
    }
}

enum err ca_chain_read(const char *path, X509 *ret_chain[CA_CHAIN_MAX], size_t *ret_n)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, CA_PEM_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return err;
    X509 *chain[CA_CHAIN_MAX] = {NULL};
    size_t n = 0;
    BIO *pem = BIO_new_mem_buf(bytes, (int)len);
    err = pem == NULL ? ERR_NO_MEMORY : read_chain(pem, chain, &n);
    BIO_free(pem);
    file_free_secret(bytes, len);
    ERR_clear_error();
    for (size_t i = 0; i < n; i++) {
        if (err == ERR_NONE)
            ret_chain[i] = chain[i];
        else
            X509_free(chain[i]);
    }
    if (err == ERR_NONE)
        *ret_n = n;
    return err;
}

enum err ca_vkey_read(const char *path, struct note_key *ret_key)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, NOTE_KEY_TEXT_MAX + 1, &bytes, &len);
    if (err != ERR_NONE)
        return err;
    struct reader r = reader_over(slice_of(bytes, len));
    struct slice text = reader_until(&r, '\n');
    err = reader_finish(&r);
    if (err == ERR_NONE)
        err = note_key_read(text, crypto_sha256, ret_key);
    file_free_secret(bytes, len);
    return err;
}

enum err ca_note_key(EVP_PKEY *key, const char *name, struct note_key *ret_key)
{
    uint8_t public_key[ED25519_KEY_SIZE];
    size_t len = sizeof public_key;
    if (!EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_get_raw_public_key(key, public_key, &len) != 1 ||
        len != sizeof public_key)
        return ERR_UNSUPPORTED;
    return note_key_init(ret_key, crypto_sha256, slice_of_text(name), public_key);
}
