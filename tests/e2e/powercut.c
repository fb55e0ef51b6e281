/* A disk that forgets, under a real program: preload this library, and at the Nth storage operation
 * below a folder the process dies as if by a power cut, leaving behind a copy of the folder as a disk
 * might show it at the next start. What was not flushed is kept, lost or torn, in any order.
 *
 *   LD_PRELOAD=.../libpowercut.so POWERCUT_DIR=run/device POWERCUT_OUT=run/after \
 *       POWERCUT_AT=17 POWERCUT_SEED=3 holdfast-agent --config run/device/agent.conf --once
 *
 * POWERCUT_DIR   the folder that is watched; what is in it at the start is durable
 * POWERCUT_OUT   where the folder's copy goes; must not exist
 * POWERCUT_AT    the operation at which the power goes, from 1; a program that ends before is taken to
 *                lose power right after. Absent or 0: at the end
 * POWERCUT_SEED  chooses among the states that are possible
 * The process dies by SIGKILL where the cut came, and ends by itself otherwise.
 *
 * The model is as harsh as POSIX allows: fsync() makes a file's bytes durable but not its name;
 * fsync() on a folder makes the names in it durable; nothing else does. A rename is atomic. Operations
 * are: creating or truncating by open(), write(), pwrite(), ftruncate(), fsync(), fdatasync(),
 * rename(), unlink(), mkdir() and their kin. Symbolic links, hard links, rmdir() and writing by mmap()
 * are not modelled; nothing here uses them. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INODES_MAX  4096
#define CHANGES_MAX 8192
#define ENTRIES_MAX 4096
#define FDS_MAX     1024
#define PATH_SIZE   1024
#define EXPORT      __attribute__((visibility("default")))

/* ---- the model ---- */

struct image {
    uint8_t *bytes;
    size_t len;
};

/* One write, or a truncation where bytes is NULL. */
struct change {
    uint8_t *bytes;
    size_t len;
    size_t at;
};

struct inode {
    bool folder;
    mode_t mode;
    struct image durable, current;
    struct change *changes; /* since the last flush */
    size_t changes_len;
};

/* A name below the folder, relative to it; "" is the folder itself. */
struct entry {
    char path[PATH_SIZE];
    int inode;
};

struct entries {
    struct entry *list;
    size_t len;
};

/* What happened to names and is not flushed: `from` empty for a new name, `to` for one removed. */
struct renaming {
    char from[PATH_SIZE], to[PATH_SIZE];
    int inode;
};

static struct {
    char root[PATH_SIZE], out[PATH_SIZE];
    uint64_t random;
    unsigned long cut_at, operations;
    struct inode inodes[INODES_MAX];
    int inodes_len;
    struct entries durable, current;
    struct renaming *renamings;
    size_t renamings_len;
    int fds[FDS_MAX]; /* descriptor -> inode + 1 */
    char fd_paths[FDS_MAX][PATH_SIZE];
} disk;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool active;

static struct {
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    int (*ftruncate)(int, off_t);
    int (*fsync)(int);
    int (*fdatasync)(int);
    int (*renameat)(int, const char *, int, const char *);
    int (*unlinkat)(int, const char *, int);
    int (*mkdirat)(int, const char *, mode_t);
    int (*close)(int);
} real;

static void give_up(const char *why)
{
    static const char prefix[] = "powercut: ";
    ssize_t n = real.write(2, prefix, sizeof prefix - 1);
    n += real.write(2, why, strlen(why));
    n += real.write(2, "\n", 1);
    _exit(n > 0 ? 125 : 126);
}

static void *resize(void *p, size_t n)
{
    void *q = realloc(p, n == 0 ? 1 : n);
    if (q == NULL)
        give_up("no memory");
    return q;
}

/* splitmix64 */
static uint64_t dice(uint64_t sides)
{
    uint64_t z = disk.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % sides;
}

/* ---- images and entries ---- */

static void image_write(struct image *image, size_t at, const uint8_t *bytes, size_t len)
{
    if (at + len > image->len) {
        image->bytes = resize(image->bytes, at + len);
        memset(image->bytes + image->len, 0, at + len - image->len);
        image->len = at + len;
    }
    if (len > 0)
        memcpy(image->bytes + at, bytes, len);
}

static void image_truncate(struct image *image, size_t len)
{
    if (len > image->len)
        image_write(image, len, NULL, 0);
    else
        image->len = len;
}

static void image_copy(struct image *to, const struct image *from)
{
    to->len = 0;
    image_write(to, 0, from->bytes, from->len);
}

static int entries_find(const struct entries *e, const char *path)
{
    for (size_t i = 0; i < e->len; i++)
        if (strcmp(e->list[i].path, path) == 0)
            return (int)i;
    return -1;
}

static int entries_inode(const struct entries *e, const char *path)
{
    int at = entries_find(e, path);
    return at < 0 ? -1 : e->list[at].inode;
}

static void entries_remove(struct entries *e, const char *path)
{
    int at = entries_find(e, path);
    if (at >= 0)
        e->list[at] = e->list[--e->len];
}

static void entries_put(struct entries *e, const char *path, int inode)
{
    entries_remove(e, path);
    if (e->len == ENTRIES_MAX)
        give_up("too many files");
    memcpy(e->list[e->len].path, path, strlen(path) + 1);
    e->list[e->len++].inode = inode;
}

static int new_inode(bool folder, mode_t mode)
{
    if (disk.inodes_len == INODES_MAX)
        give_up("too many files");
    disk.inodes[disk.inodes_len] = (struct inode){.folder = folder, .mode = mode & 07777};
    return disk.inodes_len++;
}

static void record_renaming(const char *from, const char *to, int inode)
{
    if (disk.renamings_len == CHANGES_MAX)
        give_up("too many changes");
    struct renaming *r = &disk.renamings[disk.renamings_len++];
    memcpy(r->from, from, strlen(from) + 1);
    memcpy(r->to, to, strlen(to) + 1);
    r->inode = inode;
}

static void apply_renaming(struct entries *e, const struct renaming *r)
{
    if (r->from[0] != '\0' && entries_inode(e, r->from) == r->inode)
        entries_remove(e, r->from);
    if (r->to[0] != '\0')
        entries_put(e, r->to, r->inode);
}

static bool lies_in(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    return path[0] != '\0' && strlen(folder) == n && memcmp(path, folder, n) == 0;
}

static void flush_folder(const char *folder)
{
    size_t left = 0;
    for (size_t i = 0; i < disk.renamings_len; i++) {
        struct renaming *r = &disk.renamings[i];
        if (lies_in(r->from, folder) || lies_in(r->to, folder))
            apply_renaming(&disk.durable, r);
        else
            disk.renamings[left++] = *r;
    }
    disk.renamings_len = left;
}

static void record_change(struct inode *inode, size_t at, const uint8_t *bytes, size_t len)
{
    if (inode->changes_len == CHANGES_MAX)
        give_up("too many changes");
    inode->changes = resize(inode->changes, (inode->changes_len + 1) * sizeof *inode->changes);
    struct change *c = &inode->changes[inode->changes_len++];
    *c = (struct change){.len = len, .at = at};
    if (bytes != NULL) {
        c->bytes = resize(NULL, len);
        memcpy(c->bytes, bytes, len);
        image_write(&inode->current, at, bytes, len);
    } else {
        image_truncate(&inode->current, at);
    }
}

static void flush_inode(struct inode *inode)
{
    image_copy(&inode->durable, &inode->current);
    for (size_t i = 0; i < inode->changes_len; i++)
        free(inode->changes[i].bytes);
    inode->changes_len = 0;
}

/* ---- the power goes ---- */

enum memory { MEMORY_ALL, MEMORY_NONE, MEMORY_SOME, MEMORY_COUNT };

static bool remembers(enum memory memory)
{
    return memory == MEMORY_ALL || (memory == MEMORY_SOME && dice(2) == 0);
}

/* What the disk shows of one file: some of the writes, perhaps torn, over what was flushed. */
static void settle_inode(struct inode *inode)
{
    enum memory memory = (enum memory)dice(MEMORY_COUNT);
    for (size_t i = 0; i < inode->changes_len; i++) {
        const struct change *c = &inode->changes[i];
        if (!remembers(memory))
            continue;
        bool torn = memory == MEMORY_SOME && dice(2) == 0;
        if (c->bytes == NULL)
            image_truncate(&inode->durable, c->at);
        else
            image_write(&inode->durable, c->at, c->bytes, torn ? dice(c->len + 1) : c->len);
        /* the size may be there before the bytes are */
        if (c->bytes != NULL && torn && dice(2) == 0)
            image_write(&inode->durable, c->at + c->len, NULL, 0);
    }
}

static void write_out(const char *path, const struct inode *inode)
{
    char to[2 * PATH_SIZE];
    (void)snprintf(to, sizeof to, "%s/%s", disk.out, path);
    if (inode->folder) {
        if (real.mkdirat(AT_FDCWD, to, 0700) != 0 && errno != EEXIST)
            give_up("cannot write to POWERCUT_OUT");
        return;
    }
    int fd = real.open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    size_t at = 0;
    while (fd >= 0 && at < inode->durable.len) {
        ssize_t n = real.write(fd, inode->durable.bytes + at, inode->durable.len - at);
        if (n <= 0)
            give_up("cannot write to POWERCUT_OUT");
        at += (size_t)n;
    }
    if (fd < 0 || fchmod(fd, inode->mode) != 0)
        give_up("cannot write to POWERCUT_OUT");
    (void)real.close(fd);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

/* Is every folder above it there? */
static bool is_reachable(const char *path)
{
    char above[PATH_SIZE];
    memcpy(above, path, strlen(path) + 1);
    for (char *slash = strrchr(above, '/'); slash != NULL; slash = strrchr(above, '/')) {
        *slash = '\0';
        if (entries_find(&disk.durable, above) < 0)
            return false;
    }
    return true;
}

static void materialise(void)
{
    enum memory memory = (enum memory)dice(MEMORY_COUNT);
    for (size_t i = 0; i < disk.renamings_len; i++)
        if (remembers(memory))
            apply_renaming(&disk.durable, &disk.renamings[i]);
    for (int i = 0; i < disk.inodes_len; i++)
        settle_inode(&disk.inodes[i]);
    if (real.mkdirat(AT_FDCWD, disk.out, 0700) != 0)
        give_up("POWERCUT_OUT must not exist, and its parent must");
    /* in order, so that folders come before what lies in them */
    qsort(disk.durable.list, disk.durable.len, sizeof disk.durable.list[0], by_path);
    for (size_t i = 0; i < disk.durable.len; i++)
        if (is_reachable(disk.durable.list[i].path))
            write_out(disk.durable.list[i].path, &disk.inodes[disk.durable.list[i].inode]);
}

static bool count_operation(void)
{
    return ++disk.operations == disk.cut_at;
}

static void die(void)
{
    materialise();
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

/* ---- the start and the end ---- */

static void snapshot(const char *relative)
{
    char path[2 * PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s/%s", disk.root, relative);
    DIR *folder = opendir(path);
    if (folder == NULL)
        give_up("cannot read POWERCUT_DIR");
    for (struct dirent *d; (d = readdir(folder)) != NULL;) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        char name[2 * PATH_SIZE];
        struct stat st;
        int n = snprintf(name, PATH_SIZE, "%s%s%s", relative, relative[0] == '\0' ? "" : "/",
                         d->d_name);
        if (n < 0 || n >= PATH_SIZE ||
            fstatat(dirfd(folder), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            give_up("cannot read POWERCUT_DIR");
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
            continue;
        int inode = new_inode(S_ISDIR(st.st_mode), st.st_mode);
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
        flush_inode(&disk.inodes[inode]);
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
        give_up("POWERCUT_DIR is not a folder, or a path is too long");
    memcpy(disk.root, resolved, strlen(resolved) + 1);
    memcpy(disk.out, out, strlen(out) + 1);
    disk.cut_at = number_of("POWERCUT_AT");
    disk.random = number_of("POWERCUT_SEED");
    disk.durable.list = resize(NULL, ENTRIES_MAX * sizeof(struct entry));
    disk.current.list = resize(NULL, ENTRIES_MAX * sizeof(struct entry));
    disk.renamings = resize(NULL, CHANGES_MAX * sizeof(struct renaming));
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
        materialise();
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
        give_up("too many descriptors");
    if (fd >= 0 && ours) {
        bool creates = known < 0 && relative[0] != '\0';
        bool truncates = known >= 0 && (flags & O_TRUNC) != 0;
        if (creates) {
            known = new_inode(false, mode & 0777);
            entries_put(&disk.current, relative, known);
            record_renaming("", relative, known);
        }
        if (known < 0)
            known = new_inode(true, 0700); /* the folder itself */
        if (truncates)
            record_change(&disk.inodes[known], 0, NULL, 0);
        disk.fds[fd] = known + 1;
        memcpy(disk.fd_paths[fd], relative, strlen(relative) + 1);
        if ((creates || truncates) && count_operation())
            die();
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
        record_change(inode, (size_t)start_at, bytes, (size_t)written);
        if (count_operation())
            die();
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
        record_change(inode, (size_t)len, NULL, 0);
        if (count_operation())
            die();
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
    if (inode != NULL && count_operation())
        die();
    /* The real disk need not work for it: nothing reads it after a real power cut. */
    int result = inode == NULL ? flush(fd) : 0;
    if (inode != NULL && inode->folder)
        flush_folder(disk.fd_paths[fd]);
    else if (inode != NULL)
        flush_inode(inode);
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
        give_up("a rename into or out of POWERCUT_DIR");
    int result = real.renameat(old_folder, old, new_folder, new);
    int inode = from_here ? entries_inode(&disk.current, from) : -1;
    if (result == 0 && inode >= 0) {
        entries_remove(&disk.current, from);
        entries_put(&disk.current, to, inode);
        record_renaming(from, to, inode);
        if (count_operation())
            die();
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
        record_renaming(relative, "", inode);
        if (count_operation())
            die();
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
        int inode = new_inode(true, mode);
        entries_put(&disk.current, relative, inode);
        record_renaming("", relative, inode);
        if (count_operation())
            die();
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
