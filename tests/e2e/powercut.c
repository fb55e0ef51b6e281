/* A disk that forgets, under a real program: preload this library, and at the Nth storage operation
 * below a folder the process dies as if by a power cut, leaving behind a copy of the folder as a
 * disk might show it at the next start. What was not flushed is kept, lost or torn, in any order.
 *
 *   LD_PRELOAD=.../libpowercut.so POWERCUT_DIR=run/device POWERCUT_OUT=run/after \
 *       POWERCUT_AT=17 POWERCUT_SEED=3 holdfast-agent --config run/device/agent.conf --once
 *
 * POWERCUT_DIR   the folder that is watched; what is in it at the start is durable
 * POWERCUT_OUT   where the folder's copy goes; must not exist
 * POWERCUT_AT    the operation at which the power goes, from 1; a program that ends before is taken
 * to lose power right after. Absent or 0: at the end POWERCUT_SEED  chooses among the states that
 * are possible The process dies by SIGKILL where the cut came, and ends by itself otherwise.
 *
 * The model is as harsh as POSIX allows: fsync() makes a file's bytes durable but not its name;
 * fsync() on a folder makes the names in it durable; nothing else does. A rename is atomic.
 * Operations are: creating or truncating by open(), write(), pwrite(), ftruncate(), fsync(),
 * fdatasync(), rename(), unlink(), mkdir() and their kin. Symbolic links, hard links, rmdir() and
 * writing by mmap() are not modelled; nothing here uses them. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/powercut_disk.h"

#define EXPORT __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool active;

/* ---- the start and the end ---- */

static void snapshot(const char *relative)
{
    char path[2 * PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s/%s", disk.root, relative);
    DIR *folder = opendir(path);
    if (folder == NULL)
        disk_give_up("cannot read POWERCUT_DIR");
    for (struct dirent *d; (d = readdir(folder)) != NULL;) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        char name[2 * PATH_SIZE];
        struct stat st;
        int n = snprintf(name, PATH_SIZE, "%s%s%s", relative, relative[0] == '\0' ? "" : "/",
                         d->d_name);
        if (n < 0 || n >= PATH_SIZE ||
            fstatat(dirfd(folder), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            disk_give_up("cannot read POWERCUT_DIR");
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
            continue;
        int inode = disk_new_inode(S_ISDIR(st.st_mode), st.st_mode);
        entries_put(&disk.durable, name, inode);
        entries_put(&disk.current, name, inode);
        if (S_ISDIR(st.st_mode)) {
            snapshot(name);
            continue;
        }
        int fd = real.openat(dirfd(folder), d->d_name, O_RDONLY);
        uint8_t piece[4096];
        ssize_t got;
        while (fd >= 0 && (got = read(fd, piece, sizeof piece)) > 0)
            image_write(&disk.inodes[inode].current, disk.inodes[inode].current.len, piece,
                        (size_t)got);
        if (fd >= 0)
            (void)real.close(fd);
        disk_flush_inode(&disk.inodes[inode]);
    }
    (void)closedir(folder);
}

static void find_real(void *slot, const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    if (symbol == NULL)
        abort();
    memcpy(slot, &symbol, sizeof symbol);
}

static unsigned long number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoul(text, NULL, 10);
}

static void start(void)
{
    find_real(&real.open, "open");
    find_real(&real.openat, "openat");
    find_real(&real.write, "write");
    find_real(&real.pwrite, "pwrite");
    find_real(&real.ftruncate, "ftruncate");
    find_real(&real.fsync, "fsync");
    find_real(&real.fdatasync, "fdatasync");
    find_real(&real.renameat, "renameat");
    find_real(&real.unlinkat, "unlinkat");
    find_real(&real.mkdirat, "mkdirat");
    find_real(&real.close, "close");
    const char *root = getenv("POWERCUT_DIR");
    const char *out = getenv("POWERCUT_OUT");
    if (root == NULL || out == NULL)
        return;
    char resolved[PATH_MAX];
    if (realpath(root, resolved) == NULL || strlen(resolved) >= PATH_SIZE ||
        strlen(out) >= PATH_SIZE)
        disk_give_up("POWERCUT_DIR is not a folder, or a path is too long");
    memcpy(disk.root, resolved, strlen(resolved) + 1);
    memcpy(disk.out, out, strlen(out) + 1);
    disk.cut_at = number_of("POWERCUT_AT");
    disk.random = number_of("POWERCUT_SEED");
    disk.durable.list = disk_resize(NULL, ENTRIES_MAX * sizeof(struct entry));
    disk.current.list = disk_resize(NULL, ENTRIES_MAX * sizeof(struct entry));
    disk.renamings = disk_resize(NULL, CHANGES_MAX * sizeof(struct renaming));
    snapshot("");
    active = true;
}

__attribute__((constructor)) static void on_load(void)
{
    (void)pthread_once(&once, start);
}

__attribute__((destructor)) static void on_end(void)
{
    if (active && disk.cut_at <= disk.operations && disk.cut_at != 0)
        return;
    if (active)
        disk_materialise();
}

/* ---- where a path leads ---- */

/* Relative to the folder that is watched; false where it leads elsewhere. */
static bool locate(int dirfd_, const char *path, char relative[PATH_SIZE])
{
    char whole[3 * PATH_SIZE], folder[PATH_MAX];
    if (path[0] == '/') {
        (void)snprintf(whole, sizeof whole, "%s", path);
    } else if (dirfd_ == AT_FDCWD) {
        if (getcwd(folder, sizeof folder) == NULL)
            return false;
        (void)snprintf(whole, sizeof whole, "%s/%s", folder, path);
    } else {
        if (dirfd_ < 0 || dirfd_ >= FDS_MAX || disk.fds[dirfd_] == 0)
            return false;
        (void)snprintf(whole, sizeof whole, "%s/%s/%s", disk.root, disk.fd_paths[dirfd_], path);
    }
    /* The last part may not exist yet, what is above it does. */
    char *slash = strrchr(whole, '/');
    while (slash != NULL && slash != whole && slash[1] == '\0') {
        *slash = '\0';
        slash = strrchr(whole, '/');
    }
    char name[NAME_MAX + 2];
    (void)snprintf(name, sizeof name, "%s", slash + 1);
    *slash = '\0';
    char resolved[PATH_MAX + NAME_MAX + 2];
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        *slash = '/';
        if (realpath(whole, resolved) == NULL)
            return false;
    } else {
        if (realpath(whole[0] == '\0' ? "/" : whole, resolved) == NULL)
            return false;
        size_t n = strlen(resolved);
        (void)snprintf(resolved + n, sizeof resolved - n, "%s%s", n == 1 ? "" : "/", name);
    }
    size_t n = strlen(disk.root);
    if (strncmp(resolved, disk.root, n) != 0 || (resolved[n] != '/' && resolved[n] != '\0'))
        return false;
    (void)snprintf(relative, PATH_SIZE, "%s", resolved[n] == '/' ? resolved + n + 1 : "");
    return true;
}

static struct inode *inode_of(int fd)
{
    return active && fd >= 0 && fd < FDS_MAX && disk.fds[fd] != 0 ? &disk.inodes[disk.fds[fd] - 1]
                                                                  : NULL;
}

static void enter(void)
{
    (void)pthread_once(&once, start);
    (void)pthread_mutex_lock(&lock);
}

static void leave(void)
{
    int saved = errno;
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
}

/* ---- the calls ---- */

static int do_open(int folder, const char *path, int flags, mode_t mode)
{
    char relative[PATH_SIZE];
    enter();
    bool ours = active && locate(folder, path, relative);
    int known = ours ? entries_inode(&disk.current, relative) : -1;
    int fd = real.openat(folder, path, flags, mode);
    if (fd >= FDS_MAX && ours)
        disk_give_up("too many descriptors");
    if (fd >= 0 && ours) {
        bool creates = known < 0 && relative[0] != '\0';
        bool truncates = known >= 0 && (flags & O_TRUNC) != 0;
        if (creates) {
            known = disk_new_inode(false, mode & 0777);
            entries_put(&disk.current, relative, known);
            disk_record_renaming("", relative, known);
        }
        if (known < 0)
            known = disk_new_inode(true, 0700); /* the folder itself */
        if (truncates)
            disk_record_change(&disk.inodes[known], 0, NULL, 0);
        disk.fds[fd] = known + 1;
        memcpy(disk.fd_paths[fd], relative, strlen(relative) + 1);
        if ((creates || truncates) && disk_count_operation())
            disk_die();
    }
    leave();
    return fd;
}

static mode_t mode_argument(int flags, va_list arguments)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t)
                                                                      : 0;
}

#define OPENS(name)                                                                                \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_argument(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        return do_open(AT_FDCWD, path, flags, mode);                                               \
    }
#define OPENS_AT(name)                                                                             \
    EXPORT int name(int folder, const char *path, int flags, ...)                                  \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = mode_argument(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        return do_open(folder, path, flags, mode);                                                 \
    }

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder, const char *path, int flags);
int __openat64_2(int folder, const char *path, int flags);

OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

EXPORT int __open_2(const char *path, int flags)
{
    return do_open(AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return do_open(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int folder, const char *path, int flags)
{
    return do_open(folder, path, flags, 0);
}

EXPORT int __openat64_2(int folder, const char *path, int flags)
{
    return do_open(folder, path, flags, 0);
}

EXPORT int creat(const char *path, mode_t mode)
{
    return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* `at` below 0: where the descriptor stands. */
static ssize_t do_write(int fd, const void *bytes, size_t n, off_t at)
{
    enter();
    struct inode *inode = inode_of(fd);
    if (inode == NULL) {
        leave();
        return at < 0 ? real.write(fd, bytes, n) : real.pwrite(fd, bytes, n, at);
    }
    off_t start_at = at;
    if (at < 0) {
        bool appends = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
        start_at = appends ? (off_t)inode->current.len : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t written = at < 0 ? real.write(fd, bytes, n) : real.pwrite(fd, bytes, n, at);
    if (written >= 0) {
        disk_record_change(inode, (size_t)start_at, bytes, (size_t)written);
        if (disk_count_operation())
            disk_die();
    }
    leave();
    return written;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t n)
{
    return do_write(fd, bytes, n, -1);
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return do_write(fd, bytes, n, at);
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    return do_write(fd, bytes, n, at);
}

static int do_ftruncate(int fd, off_t len)
{
    enter();
    struct inode *inode = inode_of(fd);
    int result = real.ftruncate(fd, len);
    if (result == 0 && inode != NULL) {
        disk_record_change(inode, (size_t)len, NULL, 0);
        if (disk_count_operation())
            disk_die();
    }
    leave();
    return result;
}

EXPORT int ftruncate(int fd, off_t len)
{
    return do_ftruncate(fd, len);
}

EXPORT int ftruncate64(int fd, off64_t len)
{
    return do_ftruncate(fd, len);
}

/* The power goes before a flush is done: what it would have made durable may still be lost. */
static int do_flush(int fd, int (*flush)(int))
{
    enter();
    struct inode *inode = inode_of(fd);
    if (inode != NULL && disk_count_operation())
        disk_die();
    /* The real disk need not work for it: nothing reads it after a real power cut. */
    int result = inode == NULL ? flush(fd) : 0;
    if (inode != NULL && inode->folder)
        disk_flush_folder(disk.fd_paths[fd]);
    else if (inode != NULL)
        disk_flush_inode(inode);
    leave();
    return result;
}

EXPORT int fsync(int fd)
{
    return do_flush(fd, real.fsync);
}

EXPORT int fdatasync(int fd)
{
    return do_flush(fd, real.fdatasync);
}

static int do_rename(int old_folder, const char *old, int new_folder, const char *new)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    enter();
    bool from_here = active && locate(old_folder, old, from);
    bool to_here = active && locate(new_folder, new, to);
    if (from_here != to_here)
        disk_give_up("a rename into or out of POWERCUT_DIR");
    int result = real.renameat(old_folder, old, new_folder, new);
    int inode = from_here ? entries_inode(&disk.current, from) : -1;
    if (result == 0 && inode >= 0) {
        entries_remove(&disk.current, from);
        entries_put(&disk.current, to, inode);
        disk_record_renaming(from, to, inode);
        if (disk_count_operation())
            disk_die();
    }
    leave();
    return result;
}

EXPORT int rename(const char *old, const char *new)
{
    return do_rename(AT_FDCWD, old, AT_FDCWD, new);
}

EXPORT int renameat(int old_folder, const char *old, int new_folder, const char *new)
{
    return do_rename(old_folder, old, new_folder, new);
}

static int do_unlink(int folder, const char *path, int flags)
{
    char relative[PATH_SIZE];
    enter();
    bool ours = active && locate(folder, path, relative);
    int result = real.unlinkat(folder, path, flags);
    int inode = ours ? entries_inode(&disk.current, relative) : -1;
    if (result == 0 && inode >= 0) {
        entries_remove(&disk.current, relative);
        disk_record_renaming(relative, "", inode);
        if (disk_count_operation())
            disk_die();
    }
    leave();
    return result;
}

EXPORT int unlink(const char *path)
{
    return do_unlink(AT_FDCWD, path, 0);
}

EXPORT int unlinkat(int folder, const char *path, int flags)
{
    return do_unlink(folder, path, flags);
}

static int do_mkdir(int folder, const char *path, mode_t mode)
{
    char relative[PATH_SIZE];
    enter();
    bool ours = active && locate(folder, path, relative);
    int result = real.mkdirat(folder, path, mode);
    if (result == 0 && ours) {
        int inode = disk_new_inode(true, mode);
        entries_put(&disk.current, relative, inode);
        disk_record_renaming("", relative, inode);
        if (disk_count_operation())
            disk_die();
    }
    leave();
    return result;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return do_mkdir(AT_FDCWD, path, mode);
}

EXPORT int mkdirat(int folder, const char *path, mode_t mode)
{
    return do_mkdir(folder, path, mode);
}

EXPORT int close(int fd)
{
    enter();
    if (active && fd >= 0 && fd < FDS_MAX)
        disk.fds[fd] = 0;
    leave();
    return real.close(fd);
}
