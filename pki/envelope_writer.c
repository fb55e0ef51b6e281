#include <errno.h>
#include <stdlib.h>

#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/file.h"
#include "pki/ca_files.h"
#include "pki/envelope.h"

#define BUFFER_SIZE (256 * 1024) /* the cipher writes 4 KiB at a time */

struct envelope_writer {
    CMS_ContentInfo *cms;
    BIO *out;   /* a buffer, and the file behind it */
    BIO *chain; /* plaintext goes in here; ends in `out` */
    uint64_t len;
};

static enum err read_certificate(const char *path, X509 **ret_certificate, char explain[256])
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, CA_PEM_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return ca_fail(err, explain, "%.180s: %s", path, err_text(err));
    BIO *pem CLEANUP(ca_bio_cleanup) = BIO_new_mem_buf(bytes, (int)len);
    X509 *certificate = pem == NULL ? NULL : PEM_read_bio_X509(pem, NULL, NULL, NULL);
    ERR_clear_error();
    free(bytes);
    if (certificate == NULL)
        return ca_fail(ERR_SYNTAX, explain, "%.180s holds no certificate in PEM", path);
    char group[32] = "";
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    bool fits = key != NULL && EVP_PKEY_is_a(key, "EC") == 1 &&
                EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
                (OBJ_sn2nid(group) == NID_X9_62_prime256v1 || OBJ_sn2nid(group) == NID_secp384r1);
    if (!fits) {
        X509_free(certificate);
        return ca_fail(ERR_UNSUPPORTED, explain,
                       "%.120s: the recipient's key must be on P-256 or P-384", path);
    }
    *ret_certificate = certificate;
    return ERR_NONE;
}

/* The standard for the agreed key is SHA-1 where nothing is said. */
static bool add_recipient(CMS_ContentInfo *cms, X509 *certificate)
{
    CMS_RecipientInfo *info = CMS_add1_recipient_cert(cms, certificate, CMS_KEY_PARAM);
    EVP_PKEY_CTX *ctx = info == NULL ? NULL : CMS_RecipientInfo_get0_pkey_ctx(info);
    return ctx != NULL && EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()) == 1;
}

static bool open_chain(struct envelope_writer *w, int fd, X509 *certificate)
{
    BIO *file = BIO_new_fd(fd, BIO_NOCLOSE);
    BIO *buffer = BIO_new(BIO_f_buffer());
    if (file == NULL || buffer == NULL) {
        BIO_free(file);
        BIO_free(buffer);
        return false;
    }
    w->out = BIO_push(buffer, file);
    if (BIO_set_write_buffer_size(buffer, BUFFER_SIZE) != 1)
        return false;
    w->cms = CMS_AuthEnvelopedData_create(EVP_aes_256_gcm());
    if (w->cms == NULL || !add_recipient(w->cms, certificate) || CMS_set_detached(w->cms, 0) != 1)
        return false;
    w->chain = BIO_new_CMS(w->out, w->cms);
    return w->chain != NULL;
}

enum err envelope_writer_new(int fd, const char *certificate, struct envelope_writer **ret_writer,
                             char explain[256])
{
    X509 *recipient CLEANUP(ca_certificate_cleanup) = NULL;
    enum err err = read_certificate(certificate, &recipient, explain);
    if (err != ERR_NONE)
        return err;
    struct envelope_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ca_fail(ERR_NO_MEMORY, explain, "out of memory");
    if (!open_chain(w, fd, recipient)) {
        ERR_clear_error();
        envelope_writer_free(w);
        return ca_fail(ERR_CRYPTO, explain, "can't encrypt to %.180s", certificate);
    }
    *ret_writer = w;
    return ERR_NONE;
}

static enum err write_failed(void)
{
    bool system = ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SYS || ERR_peek_error() == 0;
    ERR_clear_error();
    if (!system)
        return ERR_CRYPTO;
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_DISK_FULL : ERR_IO;
}

enum err envelope_write(struct envelope_writer *w, struct slice bytes)
{
    if (bytes.len > ENVELOPE_CONTENT_MAX - w->len)
        return ERR_LIMIT;
    w->len += bytes.len;
    while (bytes.len > 0) {
        size_t n = 0;
        errno = 0;
        if (BIO_write_ex(w->chain, bytes.data, bytes.len, &n) != 1 || n == 0)
            return write_failed();
        bytes = slice_of(bytes.data + n, bytes.len - n);
    }
    return ERR_NONE;
}

enum err envelope_finish(struct envelope_writer *w)
{
    errno = 0;
    return BIO_flush(w->chain) == 1 ? ERR_NONE : write_failed();
}

void envelope_writer_free(struct envelope_writer *w)
{
    if (w == NULL)
        return;
    while (w->chain != NULL && w->chain != w->out) {
        BIO *next = BIO_pop(w->chain);
        BIO_free(w->chain);
        w->chain = next;
    }
    BIO_free_all(w->out);
    CMS_ContentInfo_free(w->cms);
    free(w);
}
