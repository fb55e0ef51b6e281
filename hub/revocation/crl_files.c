#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "hub/revocation/crl_internal.h"

#define NUMBERS_MAX 256 /* bytes of the file that holds what is to be remembered of them */
#define ETAG_BYTES  8   /* the last ones of a signature: no two lists have the same */

enum err crl_files_path(const struct crl_service *s, unsigned shard, bool delta, const char *suffix,
                        char path[PATH_MAX])
{
    char which[16] = "all";
    if (shard != CRL_WHOLE)
        (void)snprintf(which, sizeof which, "%u-%u", s->shards, shard);
    int n =
        snprintf(path, PATH_MAX, "%s/%s%s.crl%s", s->folder, which, delta ? "-delta" : "", suffix);
    return n < 0 || n >= PATH_MAX ? ERR_LIMIT : ERR_NONE;
}

static enum err describe(int fd, struct crl_list *ret_list)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ERR_IO;
    if (st.st_size < ETAG_BYTES || (uint64_t)st.st_size > 2 * CRL_ENTRIES_MAX)
        return ERR_SYNTAX;
    size_t size = (size_t)st.st_size;
    const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return ERR_IO;
    struct crl_list list = {.fd = fd, .size = size};
    enum err err = crl_read(slice_of(bytes, size), &list.facts);
    struct writer w = writer_over(list.etag, sizeof list.etag - 1);
    writer_text(&w, "\"");
    writer_hex(&w, slice_of(bytes + size - ETAG_BYTES, ETAG_BYTES));
    writer_text(&w, "\"");
    (void)munmap((void *)(uintptr_t)bytes, size);
    if (err == ERR_NONE)
        err = w.err;
    if (err == ERR_NONE)
        *ret_list = list;
    return err;
}

static enum err take_up(struct crl_service *s, unsigned shard, bool delta)
{
    char path[PATH_MAX];
    enum err err = crl_files_path(s, shard, delta, "", path);
    if (err != ERR_NONE)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    struct crl_list list;
    err = describe(fd, &list);
    if (err == ERR_NONE && (list.facts.base > 0) != delta)
        err = ERR_SYNTAX;
    if (err != ERR_NONE) {
        (void)close(fd);
        return err;
    }
    pthread_mutex_lock(&s->lock);
    struct crl_list *place = &s->lists[shard][delta];
    int before = place->fd;
    *place = list;
    pthread_mutex_unlock(&s->lock);
    if (before >= 0)
        (void)close(before); /* who serves it has a descriptor of its own */
    return ERR_NONE;
}

enum err crl_files_publish(struct crl_service *s, unsigned shard, bool delta)
{
    char fresh[PATH_MAX], path[PATH_MAX];
    enum err err = crl_files_path(s, shard, delta, ".new", fresh);
    if (err == ERR_NONE)
        err = crl_files_path(s, shard, delta, "", path);
    /* Not flushed: what a power cut leaves broken is made anew. */
    if (err == ERR_NONE && rename(fresh, path) != 0)
        err = ERR_IO;
    return err == ERR_NONE ? take_up(s, shard, delta) : err;
}

static void numbers_path(const struct crl_service *s, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/numbers", s->folder);
}

/* The last CRLNumber, which may only grow, whatever becomes of the lists; then the two refreshes.
 */
enum err crl_files_save(const struct crl_service *s)
{
    uint8_t bytes[NUMBERS_MAX];
    char path[PATH_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_decimal(&w, s->number);
    writer_text(&w, "\n");
    for (size_t i = 0; i < ARRAY_LEN(s->refresh); i++) {
        writer_decimal(&w, s->refresh[i].number);
        writer_text(&w, " ");
        writer_decimal(&w, (uint64_t)s->refresh[i].covered);
        writer_text(&w, " ");
        writer_decimal(&w, (uint64_t)s->refresh[i].made_at);
        writer_text(&w, "\n");
    }
    numbers_path(s, path);
    return w.err != ERR_NONE ? w.err : file_replace(path, writer_bytes(&w), 0600);
}

static enum err load_numbers(struct crl_service *s)
{
    char path[PATH_MAX];
    uint8_t *bytes = NULL;
    size_t len = 0;
    numbers_path(s, path);
    enum err err = file_read(path, NUMBERS_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return err;
    struct crl_refresh refresh[ARRAY_LEN(s->refresh)] = {0};
    struct reader r = reader_over(slice_of(bytes, len));
    uint64_t number = reader_decimal(&r, INT64_MAX);
    reader_expect(&r, SLICE_LITERAL("\n"));
    for (size_t i = 0; i < ARRAY_LEN(refresh); i++) {
        refresh[i].number = reader_decimal(&r, INT64_MAX);
        reader_expect(&r, SLICE_LITERAL(" "));
        refresh[i].covered = (int64_t)reader_decimal(&r, INT64_MAX);
        reader_expect(&r, SLICE_LITERAL(" "));
        refresh[i].made_at = (int64_t)reader_decimal(&r, INT64_MAX);
        reader_expect(&r, SLICE_LITERAL("\n"));
    }
    err = reader_finish(&r);
    free(bytes);
    if (err == ERR_NONE) {
        memcpy(s->refresh, refresh, sizeof refresh);
        s->number = number;
    }
    return err;
}

static bool is_ours(const struct crl_service *s, unsigned shard, bool delta)
{
    return shard == CRL_WHOLE ? !delta || s->shards > 0 : shard < s->shards;
}

enum err crl_files_load(struct crl_service *s, char explain[256])
{
    if (mkdir(s->folder, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(explain, 256, "%.120s: %s; `data` says where the hub may write",
                       s->folder, strerror(errno));
        return ERR_IO;
    }
    bool complete = load_numbers(s) == ERR_NONE;
    for (unsigned shard = 0; shard <= CRL_SHARDS_MAX; shard++)
        for (unsigned delta = 0; delta < 2; delta++) {
            if (!is_ours(s, shard, delta == 1))
                continue;
            bool there = take_up(s, shard, delta == 1) == ERR_NONE;
            complete = complete && (there || delta == 1);
            if (there && s->lists[shard][delta].facts.number > s->number)
                s->number = s->lists[shard][delta].facts.number;
        }
    /* Where any is missing all are made anew. */
    if (!complete)
        memset(s->refresh, 0, sizeof s->refresh);
    return ERR_NONE;
}

void crl_files_close(struct crl_service *s)
{
    for (unsigned shard = 0; shard <= CRL_SHARDS_MAX; shard++)
        for (unsigned delta = 0; delta < 2; delta++)
            if (s->lists[shard][delta].fd >= 0)
                (void)close(s->lists[shard][delta].fd);
}
