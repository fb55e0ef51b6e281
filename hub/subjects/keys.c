/* The file with the keys: read or made at the start, and written anew when one of them goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "hub/subjects/internal.h"

#define FILE_MAX (KEYTREE_FIXED + KEYTREE_NODES_MAX * KEYTREE_NODE_SIZE)

/* ---- writing ---- */

/* What was in the file before has no name any more; its blocks are overwritten, as far as the file
 * system and the disk below it let anybody do that. */
static void wipe_blocks(int fd)
{
    static const uint8_t zeroes[4096];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return;
    for (off_t at = 0; at < st.st_size; at += (off_t)sizeof zeroes)
        if (pwrite(fd, zeroes, sizeof zeroes, at) < 0)
            return;
    (void)fsync(fd);
}

enum err subject_keys_save(struct subjects *s)
{
    size_t size = keytree_file_size(&s->tree);
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return ERR_NO_MEMORY;
    int before = open(s->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    struct writer w = writer_over(bytes, size);
    keytree_write(&w, &s->tree);
    enum err err = w.err == ERR_NONE ? file_replace(s->path, writer_bytes(&w), 0600) : w.err;
    if (err == ERR_NONE && before >= 0)
        wipe_blocks(before);
    if (before >= 0)
        (void)close(before);
    mem_wipe(bytes, size);
    free(bytes);
    return err;
}

enum err subject_key_destroy(struct subjects *s, uint32_t number)
{
    pthread_mutex_lock(&s->lock);
    enum err err = keytree_destroy(&s->tree, number);
    if (err == ERR_NONE)
        err = subject_keys_save(s);
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* ---- at the start ---- */

static enum err is_any_known(struct subjects *s, bool *ret_any)
{
    const struct store_query query = {.table = &table_subject, .limit = 1};
    struct store_reader *reader = NULL;
    uint64_t count = 0;
    enum err err = store_reader_new(s->store, &reader);
    if (err == ERR_NONE)
        err = store_count(reader, &query, &count);
    store_reader_free(reader);
    if (err == ERR_NONE)
        *ret_any = count > 0;
    return err;
}

/* With other hubs there is one file, in as many copies. */
static enum err check_copy(struct subjects *s, char explain[256])
{
    struct setting_row row = {.name = COUNTER_NAME};
    struct subject_counter counter;
    const struct hash own = subject_mark(s);
    struct store_reader *reader = NULL;
    struct arena *arena = arena_new(4 * COUNTER_SIZE + 1024);
    enum err err = arena == NULL ? ERR_NO_MEMORY : store_reader_new(s->store, &reader);
    if (err == ERR_NONE)
        err = store_get(reader, &table_setting, arena, &row);
    if (err == ERR_NONE)
        err = subject_counter_read(row.value, &counter);
    store_reader_free(reader);
    arena_free(arena);
    if (err == ERR_NOT_FOUND)
        return ERR_NONE; /* nobody is known yet */
    if (err == ERR_NONE && memcmp(counter.mark.bytes, own.bytes, sizeof own.bytes) != 0) {
        (void)snprintf(explain, 256,
                       "%.120s is not the one that the other hubs have: copy it from one of them",
                       s->path);
        return ERR_REFUSED;
    }
    return err;
}

static enum err make_keys(struct subjects *s, bool forget, char explain[256])
{
    bool any = false;
    if (atomic_load(&s->shared)) {
        (void)snprintf(explain, 256,
                       "%.120s is not there: copy it from another hub of the fleet, for the hub's "
                       "user alone",
                       s->path);
        return ERR_REFUSED;
    }
    enum err err = is_any_known(s, &any);
    if (err == ERR_NONE && any && !forget) {
        (void)snprintf(explain, 256,
                       "%.120s is gone: bring it back from where you keep it, or start once with "
                       "--forget-subjects, and nobody can read owners' names any more",
                       s->path);
        return ERR_REFUSED;
    }
    if (err == ERR_NONE)
        err = keytree_make(&s->tree);
    return err == ERR_NONE ? subject_keys_save(s) : err;
}

static enum err read_keys(struct subjects *s, bool forget, char explain[256])
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(s->path, FILE_MAX, &bytes, &len);
    if (err == ERR_NOT_FOUND)
        return make_keys(s, forget, explain);
    if (err == ERR_NONE)
        err = keytree_read(slice_of(bytes, len), &s->tree);
    file_free_secret(bytes, len);
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "%.160s: %s", s->path,
                       err == ERR_SYNTAX ? "not whole: bring it back from where you keep it"
                                         : err_text(err));
    return err;
}

static enum err destroy_erased(void *ctx, const void *row)
{
    struct subjects *s = ctx;
    const struct subject_row *subject = row;
    uint32_t number = 0;
    struct hash key;
    enum err err = subject_number(subject->id, &number);
    if (err == ERR_NONE && keytree_leaf(&s->tree, number, &key) == ERR_NONE)
        err = subject_key_destroy(s, number);
    mem_wipe(&key, sizeof key);
    return err;
}

/* Somebody may have brought an older file back, in which the erased still have keys. */
static enum err forget_erased(struct subjects *s)
{
    const struct store_filter erased = {.column = "state", .integer = SUBJECT_ERASED};
    const struct store_query query = {
        .table = &table_subject, .filters = &erased, .filters_len = 1, .limit = INT32_MAX};
    struct store_reader *reader = NULL;
    struct arena *arena = arena_new((size_t)64 << 20);
    enum err err = arena == NULL ? ERR_NO_MEMORY : store_reader_new(s->store, &reader);
    if (err == ERR_NONE)
        err = store_list(reader, &query, arena, destroy_erased, s);
    store_reader_free(reader);
    arena_free(arena);
    return err;
}

enum err subjects_open(const char *path, struct store *store, struct ledger *ledger, bool forget,
                       bool shared, struct subjects **ret_subjects, char explain[256])
{
    struct subjects *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NO_MEMORY;
    *s = (struct subjects){.store = store, .ledger = ledger, .path = path};
    atomic_init(&s->shared, shared);
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return ERR_NO_MEMORY;
    }
    enum err err = read_keys(s, forget, explain);
    if (err == ERR_NONE && shared)
        err = check_copy(s, explain);
    if (err == ERR_NONE)
        err = forget_erased(s);
    if (err == ERR_NONE)
        *ret_subjects = s;
    else
        subjects_free(s);
    return err;
}

void subjects_free(struct subjects *s)
{
    if (s == NULL)
        return;
    keytree_wipe(&s->tree);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
