#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

enum err crl_files_path(const struct crl_service *s, const struct crl_which *which,
                        const char *suffix, char path[PATH_MAX])
{
    char part[16] = "all";
    if (which->shard != CRL_WHOLE)
        (void)snprintf(part, sizeof part, "%u-%u", s->shards, which->shard);
    int n = snprintf(path, PATH_MAX, "%s/%08" PRIx32 "-%s%s.crl%s", s->folder,
                     s->authorities[which->authority], part, which->delta ? "-delta" : "", suffix);
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

static struct crl_list *list_of(struct crl_service *s, const struct crl_which *which)
{
    return &s->lists[which->authority][which->shard][which->delta];
}

static enum err take_up(struct crl_service *s, const struct crl_which *which)
{
    char path[PATH_MAX];
    enum err err = crl_files_path(s, which, "", path);
    if (err != ERR_NONE)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    struct crl_list list;
    err = describe(fd, &list);
    if (err == ERR_NONE && (list.facts.base > 0) != which->delta)
        err = ERR_SYNTAX;
    if (err != ERR_NONE) {
        (void)close(fd);
        return err;
    }
    pthread_mutex_lock(&s->lock);
    struct crl_list *place = list_of(s, which);
    int before = place->fd;
    *place = list;
    pthread_mutex_unlock(&s->lock);
    if (before >= 0)
        (void)close(before); /* who serves it has a descriptor of its own */
    return ERR_NONE;
}

enum err crl_files_publish(struct crl_service *s, const struct crl_which *which)
{
    char fresh[PATH_MAX], path[PATH_MAX];
    enum err err = crl_files_path(s, which, ".new", fresh);
    if (err == ERR_NONE)
        err = crl_files_path(s, which, "", path);
    /* Not flushed: what a power cut leaves broken is made anew. */
    if (err == ERR_NONE && rename(fresh, path) != 0)
        err = ERR_IO;
    return err == ERR_NONE ? take_up(s, which) : err;
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

static bool is_ours(const struct crl_service *s, const char *name)
{
    struct reader r = reader_over(slice_of_text(name));
    struct slice number = reader_take(&r, 2 * sizeof *s->authorities);
    bool known = false;
    for (size_t i = 0; i < s->authorities_len; i++) {
        uint8_t bytes[2 * sizeof *s->authorities];
        struct writer w = writer_over(bytes, sizeof bytes);
        crl_authority_write(&w, s->authorities[i]);
        known = known || slice_equal(number, writer_bytes(&w));
    }
    reader_expect(&r, SLICE_LITERAL("-"));
    if (reader_peek(&r) == 'a') {
        reader_expect(&r, SLICE_LITERAL("all"));
    } else {
        if (reader_decimal(&r, CRL_SHARDS_MAX) != s->shards)
            reader_fail(&r, ERR_NOT_FOUND);
        reader_expect(&r, SLICE_LITERAL("-"));
        if (reader_decimal(&r, CRL_SHARDS_MAX) >= s->shards)
            reader_fail(&r, ERR_NOT_FOUND);
    }
    struct slice end = reader_rest(&r);
    return r.err == ERR_NONE && known &&
           (slice_equal(end, SLICE_LITERAL(".crl")) ||
            slice_equal(end, SLICE_LITERAL("-delta.crl")));
}

/* Nobody is to come by a list that is made no more; nor by what a crash has left half written. */
static void remove_others(const struct crl_service *s)
{
    DIR *folder = opendir(s->folder);
    if (folder == NULL)
        return; /* what can't be read is not served */
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "numbers") != 0 &&
            !is_ours(s, entry->d_name))
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    (void)closedir(folder);
}

static bool there_is(const struct crl_service *s, const struct crl_which *which)
{
    return which->shard == CRL_WHOLE ? !which->delta || s->shards > 0 : which->shard < s->shards;
}

/* False where a complete list is missing. */
static bool load_lists(struct crl_service *s, enum authority authority)
{
    bool complete = true;
    for (unsigned shard = 0; shard <= CRL_SHARDS_MAX; shard++)
        for (unsigned delta = 0; delta < 2; delta++) {
            const struct crl_which which = {authority, shard, delta == 1};
            if (!there_is(s, &which))
                continue;
            bool taken = take_up(s, &which) == ERR_NONE;
            complete = complete && (taken || which.delta);
            if (taken && list_of(s, &which)->facts.number > s->number)
                s->number = list_of(s, &which)->facts.number;
        }
    return complete;
}

enum err crl_files_load(struct crl_service *s, char explain[256])
{
    if (mkdir(s->folder, 0700) != 0 && errno != EEXIST) {
        (void)snprintf(explain, 256, "%.120s: %s; `data` says where the hub may write", s->folder,
                       strerror(errno));
        return ERR_IO;
    }
    remove_others(s);
    bool complete = load_numbers(s) == ERR_NONE;
    for (size_t i = 0; i < s->authorities_len; i++)
        complete = load_lists(s, (enum authority)i) && complete;
    /* Where any is missing all are made anew. */
    if (!complete)
        memset(s->refresh, 0, sizeof s->refresh);
    return ERR_NONE;
}

void crl_files_close(struct crl_service *s)
{
    for (unsigned authority = 0; authority < AUTHORITY_COUNT; authority++)
        for (unsigned shard = 0; shard <= CRL_SHARDS_MAX; shard++)
            for (unsigned delta = 0; delta < 2; delta++)
                if (s->lists[authority][shard][delta].fd >= 0)
                    (void)close(s->lists[authority][shard][delta].fd);
}
