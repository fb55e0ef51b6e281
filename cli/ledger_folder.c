#include "cli/ledger_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".new" /* of a file that is being written */

static enum err err_of_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_DISK_FULL : ERR_IO;
}

enum err ledger_folder_look(const char *path, struct ledger_folder *ret_folder)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    *ret_folder = (struct ledger_folder){.path = path, .fd = fd};
    return ERR_NONE;
}

void ledger_folder_close(struct ledger_folder *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}

enum err ledger_folder_open(const char *path, struct ledger_folder *ret_folder)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return ERR_IO;
    struct ledger_folder f = {.fd = -1};
    enum err err = ledger_folder_look(path, &f);
    if (err == ERR_NONE && flock(f.fd, LOCK_EX | LOCK_NB) != 0)
        err = errno == EWOULDBLOCK ? ERR_BUSY : ERR_IO;
    if (err == ERR_NONE)
        *ret_folder = f;
    else
        ledger_folder_close(&f);
    return err;
}

bool ledger_folder_has(const struct ledger_folder *f, const char *name)
{
    struct stat st;
    return fstatat(f->fd, name, &st, 0) == 0;
}

static void path_text(struct slice path, const char *suffix,
                      char ret_text[TILE_PATH_MAX + sizeof SUFFIX])
{
    (void)snprintf(ret_text, TILE_PATH_MAX + sizeof SUFFIX, "%.*s%s", (int)path.len,
                   (const char *)path.data, suffix);
}

bool ledger_folder_read(const struct ledger_folder *f, struct slice path, uint8_t *buffer,
                        size_t max, size_t *ret_len)
{
    char text[TILE_PATH_MAX + sizeof SUFFIX];
    path_text(path, "", text);
    int fd = openat(f->fd, text, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size <= max;
    size_t len = 0, size = ok ? (size_t)st.st_size : 0;
    while (ok && len < size) {
        ssize_t n = read(fd, buffer + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        len += ok ? (size_t)n : 0;
    }
    if (fd >= 0)
        (void)close(fd);
    if (ok)
        *ret_len = len;
    return ok;
}

static enum err write_file(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_of_errno();
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return ERR_NONE;
}

/* The folders above "tile/0/x001/234", from the first on. */
static enum err make_folders(const struct ledger_folder *f, char *text)
{
    for (char *slash = strchr(text, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = mkdirat(f->fd, text, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok)
            return err_of_errno();
    }
    return ERR_NONE;
}

static int open_new(const struct ledger_folder *f, const char *text)
{
    return openat(f->fd, text, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
}

enum err ledger_folder_write(const struct ledger_folder *f, struct slice path, struct slice bytes)
{
    char text[TILE_PATH_MAX + sizeof SUFFIX], next[TILE_PATH_MAX + sizeof SUFFIX];
    path_text(path, "", text);
    path_text(path, SUFFIX, next);
    enum err err = ERR_NONE;
    int fd = open_new(f, next);
    if (fd < 0 && errno == ENOENT) {
        err = make_folders(f, next);
        if (err == ERR_NONE)
            fd = open_new(f, next);
    }
    if (err != ERR_NONE)
        return err;
    if (fd < 0)
        return err_of_errno();
    err = write_file(fd, bytes);
    if (close(fd) != 0 && err == ERR_NONE)
        err = err_of_errno();
    if (err == ERR_NONE && renameat(f->fd, next, f->fd, text) != 0)
        err = err_of_errno();
    if (err != ERR_NONE) {
        int why = errno;
        (void)unlinkat(f->fd, next, 0);
        errno = why;
    }
    return err;
}

enum err ledger_folder_flush(const struct ledger_folder *f)
{
    return syncfs(f->fd) == 0 ? ERR_NONE : err_of_errno();
}

static bool is_left_over(const char *path, uint64_t size)
{
    struct tile tile;
    size_t len = strlen(path);
    if (len > sizeof SUFFIX && strcmp(path + len - (sizeof SUFFIX - 1), SUFFIX) == 0)
        return true;
    return tile_read_path(slice_of_text(path), &tile) == ERR_NONE && tile.width < TILE_WIDTH &&
           tile.width != tile_width(tile.level, tile.index, size);
}

void ledger_folder_tidy(const struct ledger_folder *f, uint64_t size)
{
    char top[4096];
    if (snprintf(top, sizeof top, "%s/tile", f->path) >= (int)sizeof top)
        return;
    char *const paths[] = {top, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    if (walk == NULL)
        return;
    for (FTSENT *e; (e = fts_read(walk)) != NULL;) {
        const char *path = e->fts_path + strlen(f->path) + 1;
        if (e->fts_info == FTS_DP) /* one that holds something stays */
            (void)unlinkat(f->fd, path, AT_REMOVEDIR);
        else if (e->fts_info != FTS_D && is_left_over(path, size))
            (void)unlinkat(f->fd, path, 0);
    }
    (void)fts_close(walk);
}
