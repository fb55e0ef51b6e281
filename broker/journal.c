#include "broker/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/file.h"

#define MAGIC       "HFJOURN1"
#define MAGIC_SIZE  8
#define CHECK_SIZE  8
#define HEAD_SIZE   (1 + 4 + CHECK_SIZE)
#define LONG_MIN    (64U << 20) /* added bytes: some 400,000 changes */
#define BUFFER_SIZE ((size_t)1 << 20)

struct journal {
    pthread_mutex_t lock;
    char path[4096], path_new[4096];
    int fd;
    int fd_new;      /* while it is written anew */
    uint8_t *buffer; /* of that */
    size_t buffered;
    uint64_t size;       /* of whole frames */
    uint64_t size_first; /* when it was opened or written anew */
    bool broken;
};

static void frame_head(uint8_t kind, struct slice payload, uint8_t head[HEAD_SIZE])
{
    struct writer w = writer_over(head, HEAD_SIZE);
    writer_u8(&w, kind);
    writer_be32(&w, (uint32_t)payload.len);
    uint8_t digest[SHA256_SIZE];
    const struct slice parts[] = {writer_bytes(&w), payload};
    crypto_sha256(parts, ARRAY_LEN(parts), digest);
    writer_put(&w, slice_of(digest, CHECK_SIZE));
}

/* The next frame's payload; false at what is none. */
static bool read_frame(struct reader *r, uint8_t *ret_kind, struct slice *ret_payload)
{
    const uint8_t *start = r->at;
    *ret_kind = reader_u8(r);
    uint32_t len = reader_be32(r);
    (void)reader_take(r, CHECK_SIZE);
    if (r->err != ERR_NONE || len > JOURNAL_FRAME_MAX)
        return false;
    *ret_payload = reader_take(r, len);
    uint8_t head[HEAD_SIZE];
    if (r->err != ERR_NONE)
        return false;
    frame_head(*ret_kind, *ret_payload, head);
    return memcmp(head, start, HEAD_SIZE) == 0;
}

static enum err replay(struct journal *j, struct slice bytes, journal_frame_fn *frame,
                       void *context)
{
    struct reader r = reader_over(bytes);
    uint8_t kind = 0;
    struct slice payload = {0};
    while (reader_left(&r) > 0 && read_frame(&r, &kind, &payload)) {
        enum err err = frame(context, kind, payload);
        if (err != ERR_NONE)
            return err;
        j->size += HEAD_SIZE + payload.len;
    }
    return ERR_NONE;
}

static enum err errno_err(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;
}

static enum err write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return errno_err();
        bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
    }
    return ERR_NONE;
}

/* Reads what is there, and cuts off what is no whole frame. */
static enum err load(struct journal *j, journal_frame_fn *frame, void *context,
                     uint64_t *ret_dropped)
{
    struct stat st;
    if (fstat(j->fd, &st) != 0)
        return ERR_IO;
    size_t len = (size_t)st.st_size;
    const uint8_t *bytes = NULL;
    if (len > 0) {
        void *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, j->fd, 0);
        if (map == MAP_FAILED)
            return ERR_NO_MEMORY;
        bytes = map;
    }
    enum err err = ERR_NONE;
    bool is_ours = len >= MAGIC_SIZE && memcmp(bytes, MAGIC, MAGIC_SIZE) == 0;
    if (is_ours) {
        j->size = MAGIC_SIZE;
        err = replay(j, slice_of(bytes + MAGIC_SIZE, len - MAGIC_SIZE), frame, context);
    }
    if (bytes != NULL)
        (void)munmap((void *)(uintptr_t)bytes, len);
    if (err != ERR_NONE)
        return err;
    *ret_dropped = len - j->size;
    if (j->size < len && ftruncate(j->fd, (off_t)j->size) != 0)
        return ERR_IO;
    if (!is_ours) {
        err = write_all(j->fd, SLICE_LITERAL(MAGIC));
        j->size = MAGIC_SIZE;
    }
    j->size_first = j->size;
    return err;
}

static int open_file(const char *path, int flags)
{
    return open(path, flags | O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

enum err journal_open(const char *folder, journal_frame_fn *frame, void *context,
                      struct journal **ret_journal, uint64_t *ret_dropped, char explain[256])
{
    struct journal *j = calloc(1, sizeof *j);
    if (j == NULL)
        return ERR_NO_MEMORY;
    (void)pthread_mutex_init(&j->lock, NULL);
    j->fd_new = -1;
    int n = snprintf(j->path, sizeof j->path, "%s/journal", folder);
    int m = snprintf(j->path_new, sizeof j->path_new, "%s/journal.new", folder);
    bool fits = n > 0 && m > 0 && (size_t)m < sizeof j->path_new;
    j->fd = fits ? open_file(j->path, 0) : -1;
    enum err err = j->fd < 0 ? ERR_IO : ERR_NONE;
    if (err == ERR_NONE && flock(j->fd, LOCK_EX | LOCK_NB) != 0)
        err = ERR_BUSY;
    if (err == ERR_NONE)
        err = load(j, frame, context, ret_dropped);
    if (err == ERR_NONE)
        (void)unlink(j->path_new);
    if (err == ERR_NONE)
        err = file_flush_folder(j->path);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "%.180s: %s", j->path,
                       err == ERR_BUSY ? "another broker uses it: give each its own state folder"
                       : err == ERR_IO ? strerror(errno)
                                       : err_text(err));
        journal_close(j);
        return err;
    }
    *ret_journal = j;
    return ERR_NONE;
}

void journal_close(struct journal *j)
{
    if (j == NULL)
        return;
    if (j->fd >= 0)
        (void)close(j->fd);
    (void)pthread_mutex_destroy(&j->lock);
    free(j);
}

static enum err add(struct journal *j, uint8_t kind, struct slice payload, bool durable)
{
    if (j->broken)
        return ERR_IO;
    uint8_t head[HEAD_SIZE];
    frame_head(kind, payload, head);
    enum err err = write_all(j->fd, slice_of(head, sizeof head));
    if (err == ERR_NONE)
        err = write_all(j->fd, payload);
    if (err == ERR_NONE && durable && fdatasync(j->fd) != 0)
        err = errno_err();
    if (err == ERR_NONE) {
        j->size += HEAD_SIZE + payload.len;
        return ERR_NONE;
    }
    j->broken = true;
    (void)!ftruncate(j->fd, (off_t)j->size); /* else the next start drops it */
    return err;
}

enum err journal_add(struct journal *j, uint8_t kind, struct slice payload, bool durable)
{
    if (payload.len > JOURNAL_FRAME_MAX)
        return ERR_LIMIT;
    (void)pthread_mutex_lock(&j->lock);
    enum err err = add(j, kind, payload, durable);
    (void)pthread_mutex_unlock(&j->lock);
    return err;
}

static enum err flush_buffer(struct journal *j)
{
    enum err err = write_all(j->fd_new, slice_of(j->buffer, j->buffered));
    j->buffered = 0;
    return err;
}

static enum err put_bytes(struct journal *j, struct slice bytes)
{
    if (j->buffered + bytes.len > BUFFER_SIZE) {
        enum err err = flush_buffer(j);
        if (err != ERR_NONE)
            return err;
    }
    if (bytes.len > BUFFER_SIZE)
        return write_all(j->fd_new, bytes);
    if (bytes.len > 0)
        memcpy(j->buffer + j->buffered, bytes.data, bytes.len);
    j->buffered += bytes.len;
    return ERR_NONE;
}

enum err journal_put(struct journal *j, uint8_t kind, struct slice payload)
{
    if (payload.len > JOURNAL_FRAME_MAX)
        return ERR_LIMIT;
    uint8_t head[HEAD_SIZE];
    frame_head(kind, payload, head);
    enum err err = put_bytes(j, slice_of(head, sizeof head));
    return err == ERR_NONE ? put_bytes(j, payload) : err;
}

static enum err renew(struct journal *j, journal_write_fn *write, void *context)
{
    enum err err = put_bytes(j, SLICE_LITERAL(MAGIC));
    if (err == ERR_NONE)
        err = write(context, j);
    if (err == ERR_NONE)
        err = flush_buffer(j);
    if (err == ERR_NONE && (fsync(j->fd_new) != 0 || flock(j->fd_new, LOCK_EX | LOCK_NB) != 0 ||
                            rename(j->path_new, j->path) != 0))
        err = errno_err();
    return err;
}

enum err journal_renew(struct journal *j, journal_write_fn *write, void *context)
{
    (void)pthread_mutex_lock(&j->lock);
    j->buffer = malloc(BUFFER_SIZE);
    j->buffered = 0;
    j->fd_new = open_file(j->path_new, O_TRUNC);
    enum err err = j->buffer == NULL ? ERR_NO_MEMORY : j->fd_new < 0 ? errno_err() : ERR_NONE;
    if (err == ERR_NONE)
        err = renew(j, write, context);
    struct stat st;
    if (err == ERR_NONE && fstat(j->fd_new, &st) != 0)
        err = ERR_IO;
    if (err == ERR_NONE) {
        (void)close(j->fd);
        j->fd = j->fd_new;
        j->size = j->size_first = (uint64_t)st.st_size;
        j->broken = false;
        err = file_flush_folder(j->path);
    } else if (j->fd_new >= 0) {
        (void)close(j->fd_new);
        (void)unlink(j->path_new);
    }
    j->fd_new = -1;
    free(j->buffer);
    j->buffer = NULL;
    (void)pthread_mutex_unlock(&j->lock);
    return err;
}

bool journal_is_long(struct journal *j)
{
    (void)pthread_mutex_lock(&j->lock);
    uint64_t added = j->size - j->size_first;
    bool is_long = j->broken || (added > LONG_MIN && added > j->size_first);
    (void)pthread_mutex_unlock(&j->lock);
    return is_long;
}
