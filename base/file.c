#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err file_error(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* RLIMIT_FSIZE: no room for this process */
        return ERR_DISK_FULL;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

/* errno is the first failure's, for the caller's message. */
static void close_keeping_errno(int fd)
{
    int saved = errno;
    (void)close(fd);
    errno = saved;
}

void file_free_secret(uint8_t *bytes, size_t len)
{
    if (bytes != NULL)
        mem_wipe(bytes, len);
    free(bytes);
}

/* realloc() might leave a secret behind in the old place. */
static enum err grow(uint8_t **bytes, size_t len, size_t size)
{
    uint8_t *more = malloc(size);
    if (more == NULL)
        return ERR_NO_MEMORY;
    if (len > 0)
        memcpy(more, *bytes, len);
    file_free_secret(*bytes, len);
    *bytes = more;
    return ERR_NONE;
}

static enum err read_all(int fd, size_t first_size, size_t max, uint8_t **ret_bytes,
                         size_t *ret_len)
{
    enum err err = ERR_NONE;
    uint8_t *bytes = NULL;
    size_t len = 0, size = 0;
    for (;;) {
        if (len == size) {
            /* one more than `max`, to see that there is more; and the NUL */
            size_t room = size == 0 ? first_size : size < max / 2 ? size * 2 : max + 1;
            err = grow(&bytes, len, room + 1);
            if (err != ERR_NONE)
                break;
            size = room;
        }
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err = file_error();
            break;
        }
        if (n == 0) {
            bytes[len] = '\0';
            *ret_bytes = bytes;
            *ret_len = len;
            return ERR_NONE;
        }
        len += (size_t)n;
        if (len > max) {
            err = ERR_LIMIT;
            break;
        }
    }
    file_free_secret(bytes, len);
    return err;
}

enum err file_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_len)
{
    if (max > SIZE_MAX / 4)
        return ERR_LIMIT;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return file_error();
    struct stat st;
    enum err err = ERR_NONE;
    if (fstat(fd, &st) != 0) {
        err = ERR_IO;
    } else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max) {
        err = ERR_LIMIT;
    } else {
        size_t guess = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 4095;
        err = read_all(fd, (guess < max ? guess : max) + 1, max, ret_bytes, ret_len);
    }
    close_keeping_errno(fd);
    return err;
}

enum err file_write(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error();
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return ERR_NONE;
}

static enum err write_new(const char *path, struct slice bytes, mode_t mode)
{
    /* what a power cut left may belong to another or be readable by others: never write into it */
    if (unlink(path) != 0 && errno != ENOENT)
        return file_error();
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0600);
    if (fd < 0)
        return file_error();
    enum err err = file_write(fd, bytes);
    if (err == ERR_NONE && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        err = file_error();
    if (err != ERR_NONE) {
        close_keeping_errno(fd);
        return err;
    }
    return close(fd) == 0 ? ERR_NONE : file_error();
}

enum err file_flush_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    /* "/name" lies in "/", "name" in "." */
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, slash == NULL ? "." : path, slash == NULL ? 1 : n);
    folder[slash == NULL ? 1 : n] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_error();
    /* EINVAL: a file system that knows no such flush, and orders renames by itself */
    enum err err = fsync(fd) == 0 || errno == EINVAL ? ERR_NONE : file_error();
    close_keeping_errno(fd);
    return err;
}

enum err file_replace(const char *path, struct slice bytes, mode_t mode)
{
    char fresh[PATH_MAX];
    int n = snprintf(fresh, sizeof fresh, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof fresh) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    enum err err = write_new(fresh, bytes, mode);
    if (err == ERR_NONE && rename(fresh, path) != 0)
        err = file_error();
    if (err != ERR_NONE) {
        int saved = errno;
        (void)unlink(fresh);
        errno = saved;
        return err;
    }
    return file_flush_folder(path);
}
