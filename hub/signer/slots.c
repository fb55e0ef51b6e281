#include "hub/signer/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"

#define SLOT_SIZE   (8 + 8 + SHA256_SIZE + SHA256_SIZE)
#define SLOT_STRIDE 4096 /* the largest block that disks in use write in one */
#define FILE_SIZE   (2 * SLOT_STRIDE)

static enum err err_from_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;
}

static void slot_write(struct writer *w, struct slice magic, uint64_t number,
                       const struct hash *hash)
{
    writer_put(w, magic);
    writer_be64(w, number);
    writer_put(w, slice_of(hash->bytes, sizeof hash->bytes));
    uint8_t checksum[SHA256_SIZE];
    crypto_sha256_one(writer_bytes(w), checksum);
    writer_put(w, slice_of(checksum, sizeof checksum));
}

static enum err slot_read(struct slice slot, struct slice magic, uint64_t *ret_number,
                          struct hash *ret_hash)
{
    struct reader r = reader_over(slot);
    reader_expect(&r, magic);
    uint64_t number = reader_be64(&r);
    struct slice hash = reader_take(&r, SHA256_SIZE);
    uint8_t checksum[SHA256_SIZE];
    crypto_sha256_one(slice_of(slot.data, slot.len - SHA256_SIZE), checksum);
    reader_expect(&r, slice_of(checksum, sizeof checksum));
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    *ret_number = number;
    memcpy(ret_hash->bytes, hash.data, SHA256_SIZE);
    return ERR_NONE;
}

static bool is_unused(struct slice slot)
{
    for (size_t i = 0; i < slot.len; i++)
        if (slot.data[i] != 0)
            return false;
    return true;
}

/* A slot that is neither sound nor unused was being written when the power went. With the other one
 * sound, or unused because this was the first, nothing that was signed of it ever left this
 * process. */
static enum err read_slots(const uint8_t file[FILE_SIZE], struct slots *s)
{
    unsigned broken = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct slice slot = slice_of(file + (size_t)i * SLOT_STRIDE, SLOT_SIZE);
        uint64_t number;
        struct hash hash;
        if (is_unused(slot))
            continue;
        if (slot_read(slot, s->magic, &number, &hash) != ERR_NONE) {
            broken++;
        } else if (!s->held || number > s->number) {
            s->held = true;
            s->slot = i;
            s->number = number;
            s->hash = hash;
        }
    }
    return broken == 2 ? ERR_SYNTAX : ERR_NONE;
}

/* Short where the file is: a power cut while it was being made. */
static enum err read_file(int fd, uint8_t file[FILE_SIZE], size_t *ret_len)
{
    size_t len = 0;
    while (len < FILE_SIZE) {
        ssize_t n = pread(fd, file + len, FILE_SIZE - len, (off_t)len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno();
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_len = len;
    return ERR_NONE;
}

static enum err write_at(int fd, struct slice bytes, size_t at)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_from_errno();
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
        at += (size_t)n;
    }
    return fdatasync(fd) == 0 ? ERR_NONE : err_from_errno();
}

static enum err flush_folder(const char *path)
{
    size_t n = 0;
    for (size_t i = 0; path[i] != '\0'; i++)
        if (path[i] == '/')
            n = i + 1;
    char folder[PATH_MAX] = ".";
    if (n >= sizeof folder)
        return ERR_LIMIT;
    if (n > 0) {
        memcpy(folder, path, n);
        folder[n] = '\0';
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err err = fsync(fd) == 0 || errno == EINVAL ? ERR_NONE : err_from_errno();
    (void)close(fd);
    return err;
}

enum err slots_open(const char *path, struct slice magic, struct slots *ret_slots)
{
    struct slots s = {.magic = magic,
                      .fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (s.fd < 0)
        return err_from_errno();
    uint8_t file[FILE_SIZE] = {0};
    size_t len = 0;
    enum err err = read_file(s.fd, file, &len);
    if (err == ERR_NONE)
        err = read_slots(file, &s);
    /* All blocks are there before the first is written: a full disk can't stop a later one. */
    if (err == ERR_NONE && len < FILE_SIZE) {
        err = write_at(s.fd, slice_of(file + len, FILE_SIZE - len), len);
        if (err == ERR_NONE)
            err = flush_folder(path);
    }
    if (err != ERR_NONE) {
        (void)close(s.fd);
        return err;
    }
    *ret_slots = s;
    return ERR_NONE;
}

void slots_close(struct slots *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
}

enum err slots_write(struct slots *s, uint64_t number, const struct hash *hash)
{
    uint8_t slot[SLOT_SIZE];
    struct writer w = writer_over(slot, sizeof slot);
    slot_write(&w, s->magic, number, hash);
    unsigned next = s->held ? 1 - s->slot : 0;
    enum err err =
        w.err != ERR_NONE ? w.err : write_at(s->fd, writer_bytes(&w), (size_t)next * SLOT_STRIDE);
    if (err != ERR_NONE)
        return err;
    s->slot = next;
    s->held = true;
    s->number = number;
    s->hash = *hash;
    return ERR_NONE;
}
