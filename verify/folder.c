#include "verify/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Up to max + 1 bytes, so that one too many is seen. */
static enum err read_all(int fd, uint8_t *buffer, size_t max, size_t *ret_len)
{
    size_t len = 0;
    for (;;) {
        uint8_t one_more;
        bool full = len == max;
        ssize_t n = full ? read(fd, &one_more, 1) : read(fd, buffer + len, max - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            break;
        if (full)
            return ERR_LIMIT;
        len += (size_t)n;
    }
    *ret_len = len;
    return ERR_NONE;
}

enum err folder_read(int dir_fd, const char *path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    /* The folder is somebody else's: a pipe in it must not keep us waiting. */
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    struct stat st;
    enum err err = ERR_NONE;
    if (fstat(fd, &st) != 0)
        err = ERR_IO;
    else if (!S_ISREG(st.st_mode))
        err = ERR_UNSUPPORTED;
    if (err == ERR_NONE)
        err = read_all(fd, buffer, max, ret_len);
    int why = errno;
    (void)close(fd);
    errno = why;
    return err;
}

enum err folder_fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct folder *f = ctx;
    char text[TILE_PATH_MAX + 1];
    if (path.len > TILE_PATH_MAX)
        return ERR_LIMIT;
    memcpy(text, path.data, path.len);
    text[path.len] = '\0';
    enum err err = folder_read(f->fd, text, buffer, max, ret_len);
    if (err == ERR_NONE) {
        f->tiles++;
        f->bytes += *ret_len;
    }
    return err;
}
