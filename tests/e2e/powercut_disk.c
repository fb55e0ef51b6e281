#include "tests/e2e/powercut_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk disk;
struct real_calls real;

void disk_give_up(const char *why)
{
    static const char prefix[] = "powercut: ";
    ssize_t n = real.write(2, prefix, sizeof prefix - 1);
    n += real.write(2, why, strlen(why));
    n += real.write(2, "\n", 1);
    _exit(n > 0 ? 125 : 126);
}

void *disk_resize(void *p, size_t n)
{
    void *q = realloc(p, n == 0 ? 1 : n);
    if (q == NULL)
        disk_give_up("no memory");
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

void image_write(struct image *image, size_t at, const uint8_t *bytes, size_t len)
{
    if (at + len > image->len) {
        image->bytes = disk_resize(image->bytes, at + len);
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

int entries_inode(const struct entries *e, const char *path)
{
    int at = entries_find(e, path);
    return at < 0 ? -1 : e->list[at].inode;
}

void entries_remove(struct entries *e, const char *path)
{
    int at = entries_find(e, path);
    if (at >= 0)
        e->list[at] = e->list[--e->len];
}

void entries_put(struct entries *e, const char *path, int inode)
{
    entries_remove(e, path);
    if (e->len == ENTRIES_MAX)
        disk_give_up("too many files");
    memcpy(e->list[e->len].path, path, strlen(path) + 1);
    e->list[e->len++].inode = inode;
}

int disk_new_inode(bool folder, mode_t mode)
{
    if (disk.inodes_len == INODES_MAX)
        disk_give_up("too many files");
    disk.inodes[disk.inodes_len] = (struct inode){.folder = folder, .mode = mode & 07777};
    return disk.inodes_len++;
}

void disk_record_renaming(const char *from, const char *to, int inode)
{
    if (disk.renamings_len == CHANGES_MAX)
        disk_give_up("too many changes");
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

void disk_flush_folder(const char *folder)
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

void disk_record_change(struct inode *inode, size_t at, const uint8_t *bytes, size_t len)
{
    if (inode->changes_len == CHANGES_MAX)
        disk_give_up("too many changes");
    inode->changes = disk_resize(inode->changes, (inode->changes_len + 1) * sizeof *inode->changes);
    struct change *c = &inode->changes[inode->changes_len++];
    *c = (struct change){.len = len, .at = at};
    if (bytes != NULL) {
        c->bytes = disk_resize(NULL, len);
        memcpy(c->bytes, bytes, len);
        image_write(&inode->current, at, bytes, len);
    } else {
        image_truncate(&inode->current, at);
    }
}

void disk_flush_inode(struct inode *inode)
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
            disk_give_up("cannot write to POWERCUT_OUT");
        return;
    }
    int fd = real.open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    size_t at = 0;
    while (fd >= 0 && at < inode->durable.len) {
        ssize_t n = real.write(fd, inode->durable.bytes + at, inode->durable.len - at);
        if (n <= 0)
            disk_give_up("cannot write to POWERCUT_OUT");
        at += (size_t)n;
    }
    if (fd < 0 || fchmod(fd, inode->mode) != 0)
        disk_give_up("cannot write to POWERCUT_OUT");
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

void disk_materialise(void)
{
    enum memory memory = (enum memory)dice(MEMORY_COUNT);
    for (size_t i = 0; i < disk.renamings_len; i++)
        if (remembers(memory))
            apply_renaming(&disk.durable, &disk.renamings[i]);
    for (int i = 0; i < disk.inodes_len; i++)
        settle_inode(&disk.inodes[i]);
    if (real.mkdirat(AT_FDCWD, disk.out, 0700) != 0)
        disk_give_up("POWERCUT_OUT must not exist, and its parent must");
    /* in order, so that folders come before what lies in them */
    qsort(disk.durable.list, disk.durable.len, sizeof disk.durable.list[0], by_path);
    for (size_t i = 0; i < disk.durable.len; i++)
        if (is_reachable(disk.durable.list[i].path))
            write_out(disk.durable.list[i].path, &disk.inodes[disk.durable.list[i].inode]);
}

bool disk_count_operation(void)
{
    return ++disk.operations == disk.cut_at;
}

void disk_die(void)
{
    disk_materialise();
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}
