#include "device/port/posix/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device/port/posix/internal.h"

static enum err random_bytes(void *ctx, void *bytes, size_t n)
{
    (void)ctx;
    return n <= INT_MAX && RAND_bytes(bytes, (int)n) == 1 ? ERR_NONE : ERR_CRYPTO;
}

/* Where hashing fails nothing that follows can be trusted. */
static void sha256(const struct slice *parts, size_t n, uint8_t ret_hash[SHA256_SIZE])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; good && i < n; i++)
        good = parts[i].len == 0 || EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
    if (!good || EVP_DigestFinal_ex(ctx, ret_hash, NULL) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
}

static enum err ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], struct slice message,
                               const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good =
        pkey != NULL && ctx != NULL && message.len > 0 &&
        EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
        EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_SIZE, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return good ? ERR_NONE : ERR_BAD_SIGNATURE;
}

static enum err record_read(void *ctx, const char *name, uint8_t *buffer, size_t max,
                            size_t *ret_len)
{
    return posix_read(ctx, name, buffer, max, ret_len);
}

static enum err record_replace(void *ctx, const char *name, struct slice bytes)
{
    return posix_replace(ctx, name, bytes);
}

static enum err record_delete(void *ctx, const char *name)
{
    return posix_delete(ctx, name);
}

static int64_t wall_seconds(void *ctx)
{
    (void)ctx;
    struct timespec now = {0};
    return clock_gettime(CLOCK_REALTIME, &now) == 0 ? now.tv_sec : 0;
}

/* With the time spent suspended, where the system counts it: certificates age in their sleep. */
int64_t posix_monotonic_ms(void *ctx)
{
    (void)ctx;
    struct timespec now = {0};
#ifdef CLOCK_BOOTTIME
    if (clock_gettime(CLOCK_BOOTTIME, &now) == 0)
        return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
#endif
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        abort();
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static enum err flush_parent(const char *folder)
{
    char path[PATH_MAX];
    size_t n = 0;
    for (size_t i = 0; folder[i] != '\0' && i < sizeof path; i++)
        if (folder[i] == '/' && folder[i + 1] != '\0')
            n = i == 0 ? 1 : i;
    memcpy(path, n == 0 ? "." : folder, n == 0 ? 1 : n);
    path[n == 0 ? 1 : n] = '\0';
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err err = fsync(fd) == 0 ? ERR_NONE : ERR_IO;
    (void)close(fd);
    return err;
}

static enum err open_folder(const char *folder, int *ret_fd)
{
    if (mkdir(folder, 0700) == 0) {
        enum err err = flush_parent(folder);
        if (err != ERR_NONE)
            return err;
    } else if (errno != EEXIST) {
        return ERR_IO;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    *ret_fd = fd;
    return ERR_NONE;
}

enum err posix_port_open(struct posix_port *p, const struct posix_options *options)
{
    static const struct port table = {
        .connect = posix_connect,
        .chain_verify = posix_chain_verify,
        .send = posix_send,
        .receive = posix_receive,
        .close = posix_close,
        .key_generate = posix_key_generate,
        .key_public = posix_key_public,
        .key_sign = posix_key_sign,
        .key_delete = posix_key_delete,
        .random = random_bytes,
        .sha256 = sha256,
        .ed25519_verify = ed25519_verify,
        .record_read = record_read,
        .record_replace = record_replace,
        .record_delete = record_delete,
        .wall_seconds = wall_seconds,
        .monotonic_ms = posix_monotonic_ms,
    };
    /* A device's trust does not hang on a system-wide configuration file of the library, and its
     * error texts and table of ciphers' names are memory that nobody here looks at. */
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_SSL_STRINGS |
                             OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS,
                         NULL) != 1)
        return ERR_CRYPTO;
    int fd;
    enum err err = open_folder(options->folder, &fd);
    if (err != ERR_NONE)
        return err;
    *p = (struct posix_port){.port = table, .options = *options, .folder_fd = fd, .socket_fd = -1};
    p->port.ctx = p;
    return ERR_NONE;
}

void posix_port_close(struct posix_port *p)
{
    posix_close(p);
    if (p->folder_fd >= 0)
        (void)close(p->folder_fd);
    p->folder_fd = -1;
}
