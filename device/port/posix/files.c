/* Small files that are whole or absent, whenever the power goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/port/posix/internal.h"

#define NAME_MAX_HERE 32 /* bytes of a name with ".new" and NUL */

enum err posix_err_from_errno(void)
{
    switch (errno) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* RLIMIT_FSIZE */
        return ERR_DISK_FULL;
    default:
        return ERR_IO;
    }
}

static enum err close_with(int fd, enum err err)
{
    if (close(fd) != 0 && err == ERR_NONE)
        return posix_err_from_errno();
    return err;
}

static enum err write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return posix_err_from_errno();
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return ERR_NONE;
}

static enum err flush(int fd)
{
    return fsync(fd) == 0 ? ERR_NONE : posix_err_from_errno();
}

/* What a power cut left of an earlier attempt is not written into: it may be open elsewhere. */
static enum err write_new(int folder, const char *name, struct slice bytes)
{
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT)
        return posix_err_from_errno();
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return posix_err_from_errno();
    enum err err = write_all(fd, bytes);
    if (err == ERR_NONE)
        err = flush(fd);
    return close_with(fd, err);
}

enum err posix_replace(struct posix_port *p, const char *name, struct slice bytes)
{
    char fresh[NAME_MAX_HERE];
    int n = snprintf(fresh, sizeof fresh, "%s.new", name);
    if (n < 0 || (size_t)n >= sizeof fresh)
        return ERR_LIMIT;
    enum err err = write_new(p->folder_fd, fresh, bytes);
    if (err == ERR_NONE && renameat(p->folder_fd, fresh, p->folder_fd, name) != 0)
        err = posix_err_from_errno();
    if (err != ERR_NONE) {
        /* A full disk should not stay full of what did not fit. */
        (void)unlinkat(p->folder_fd, fresh, 0);
        return err;
    }
    return flush(p->folder_fd);
}

enum err posix_delete(struct posix_port *p, const char *name)
{
    if (unlinkat(p->folder_fd, name, 0) != 0)
        return errno == ENOENT ? ERR_NONE : posix_err_from_errno();
    return flush(p->folder_fd);
}

enum err posix_delete_secret(struct posix_port *p, const char *name)
{
    static const uint8_t zeroes[512];
    int fd = openat(p->folder_fd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NONE : posix_err_from_errno();
    struct stat st;
    enum err err = fstat(fd, &st) == 0 ? ERR_NONE : posix_err_from_errno();
    for (off_t at = 0; err == ERR_NONE && at < st.st_size; at += (off_t)sizeof zeroes) {
        size_t left = (size_t)(st.st_size - at);
        err = write_all(fd, slice_of(zeroes, left < sizeof zeroes ? left : sizeof zeroes));
    }
    if (err == ERR_NONE)
        err = flush(fd);
    err = close_with(fd, err);
    return err == ERR_NONE ? posix_delete(p, name) : err;
}

static enum err read_all(int fd, uint8_t *buffer, size_t max, size_t *ret_len)
{
    size_t len = 0;
    for (;;) {
        uint8_t beyond;
        ssize_t n = len < max ? read(fd, buffer + len, max - len) : read(fd, &beyond, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            break;
        if (len == max)
            return ERR_LIMIT;
        len += (size_t)n;
    }
    *ret_len = len;
    return ERR_NONE;
}

static enum err read_at(int folder, const char *path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return posix_err_from_errno();
    enum err err = read_all(fd, buffer, max, ret_len);
    (void)close(fd);
    return err;
}

enum err posix_read(struct posix_port *p, const char *name, uint8_t *buffer, size_t max,
                    size_t *ret_len)
{
    return read_at(p->folder_fd, name, buffer, max, ret_len);
}

enum err posix_read_path(const char *path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    return read_at(AT_FDCWD, path, buffer, max, ret_len);
}
