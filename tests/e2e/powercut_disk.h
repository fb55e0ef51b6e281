/* What a disk holds for certain, and what it may hold; private to powercut.c. */
#ifndef TESTS_E2E_POWERCUT_DISK_H
#define TESTS_E2E_POWERCUT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define INODES_MAX  4096
#define CHANGES_MAX 8192
#define ENTRIES_MAX 4096
#define FDS_MAX     1024
#define PATH_SIZE   1024

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

struct disk {
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
};
extern struct disk disk;

/* The calls themselves, behind this library. */
struct real_calls {
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
};
extern struct real_calls real;

/* Ends the process: the trial is worth nothing. */
void disk_give_up(const char *why);
void *disk_resize(void *p, size_t n);
void image_write(struct image *image, size_t at, const uint8_t *bytes, size_t len);
int entries_inode(const struct entries *e, const char *path);
void entries_remove(struct entries *e, const char *path);
void entries_put(struct entries *e, const char *path, int inode);
int disk_new_inode(bool folder, mode_t mode);
/* A name that came, went or changed and is not flushed. */
void disk_record_renaming(const char *from, const char *to, int inode);
void disk_flush_folder(const char *folder);
/* Writes, or truncates to `at` where bytes is NULL; not flushed. */
void disk_record_change(struct inode *inode, size_t at, const uint8_t *bytes, size_t len);
void disk_flush_inode(struct inode *inode);
/* Writes one of the states that are possible now to disk.out. */
void disk_materialise(void);
/* True where the power goes at this one. */
bool disk_count_operation(void);
void disk_die(void);

#endif
