/* Making lists, step by step on the service's loop: read the table page by page and sort the
 * certificates of an authority into shards; then, list by list, show each entry to the signer, and
 * write the file around what it gave for them. While an authority is rolled over, all that once
 * more for the previous one.
 *
 * The table may change between two pages. Rows only ever move to its end, which is read last, so
 * none is missed; one that moved may be in twice, once as it was, and is put right by the next run,
 * which its move calls for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "hub/revocation/crl_internal.h"

#define PAGE       4096 /* rows in one read: some milliseconds */
#define PAGE_ARENA (64 * 1024)
#define FILE_CHUNK (256 * 1024)

/* The entries of one shard, in a file without a name. */
struct shard {
    FILE *entries; /* struct crl_entry, one after the other; NULL: none */
    uint64_t n, bytes;
    bool changed;
};

struct crl_build {
    struct crl_service *s;
    struct crl_job job;
    struct crl_outcome outcome;
    struct loop_task task; /* the next page */
    enum authority authority;
    struct arena *arena;
    int64_t started_ms;
    struct crl_entry_row last; /* the last row read */
    size_t page_len;
    size_t shards_len;
    struct shard shards[CRL_SHARDS_MAX];
    struct crl_entry_row *sweep;
    size_t sweep_len;

    /* the list at hand */
    struct crl_which which; /* of CRL_WHOLE, then the shards from 0 on */
    unsigned shard;         /* whose entries are being read */
    struct crl_request request;
    struct crl_entry batch[SIGNER_CRL_ENTRIES];
    struct writer prefix, suffix;
    uint8_t prefix_bytes[CRL_PREFIX_MAX], suffix_bytes[CRL_SUFFIX_MAX];
};

static void close_entries(struct crl_build *b)
{
    for (size_t i = 0; i < b->shards_len; i++) {
        if (b->shards[i].entries != NULL)
            (void)fclose(b->shards[i].entries);
        b->shards[i] = (struct shard){.entries = NULL};
    }
}

void crl_build_free(struct crl_build *b)
{
    if (b == NULL)
        return;
    close_entries(b);
    arena_free(b->arena);
    free(b->sweep);
    free(b);
}

static void end(struct crl_build *b, enum err err, const char *step)
{
    struct crl_service *s = b->s;
    struct crl_outcome outcome = b->outcome;
    outcome.err = err;
    outcome.step = step;
    outcome.took_ms = clock_monotonic_ms() - b->started_ms;
    if (err == ERR_NONE && b->sweep_len > 0)
        crl_sweep(s, b->sweep, b->sweep_len);
    s->build = NULL;
    crl_build_free(b);
    crl_ended(s, &outcome);
}

/* ---- reading the table ---- */

static FILE *open_nameless(const char *folder)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/entries-XXXXXX", folder);
    int fd = n < 0 || (size_t)n >= sizeof path ? -1 : mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return NULL;
    (void)unlink(path);
    FILE *file = fdopen(fd, "w+");
    if (file == NULL)
        (void)close(fd);
    return file;
}

static enum err write_err(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;
}

static enum err entry_of_row(const struct crl_entry_row *row, int64_t now,
                             struct crl_entry *ret_entry)
{
    struct crl_entry entry = {.date = row->date < now ? row->date : now,
                              .reason = (enum crl_reason)row->reason};
    struct writer w = writer_over(entry.serial, sizeof entry.serial);
    writer_unhex(&w, slice_of_text(row->serial));
    entry.serial_len = w.len;
    if (w.err == ERR_NONE)
        *ret_entry = entry;
    return w.err;
}

static bool is_of(const struct crl_entry_row *row, uint32_t authority)
{
    return row->authority == authority || row->authority == 0;
}

static bool is_ours(const struct crl_service *s, const struct crl_entry_row *row)
{
    bool ours = false;
    for (size_t i = 0; i < s->authorities_len; i++)
        ours = ours || is_of(row, s->authorities[i]);
    return ours;
}

/* Is the row in no list any more? Of one that has expired a list made after that has told (section
 * 3.3 asks for it); one that was let go is forgotten once no delta goes back so far, and how far
 * those of another hub go is not known here. */
static bool is_over(const struct crl_build *b, const struct crl_entry_row *row)
{
    if (row->not_after + b->s->lifetime < b->outcome.made_at)
        return true;
    return row->reason == REASON_REMOVE_FROM_CRL && row->entry < b->s->refresh[1].covered &&
           is_ours(b->s, row);
}

static enum err keep(struct crl_build *b, const struct crl_entry_row *row)
{
    struct crl_entry entry;
    uint8_t bytes[CRL_ENTRY_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    enum err err = entry_of_row(row, b->outcome.made_at, &entry);
    if (err != ERR_NONE)
        return err;
    crl_entry_write(&w, &entry);
    struct shard *shard =
        &b->shards[crl_shard_of(slice_of(entry.serial, entry.serial_len), (unsigned)b->shards_len)];
    shard->changed = shard->changed || row->entry >= b->s->covered[b->job.delta];
    if (w.err != ERR_NONE || (entry.reason == REASON_REMOVE_FROM_CRL && !b->job.delta))
        return w.err;
    if (shard->entries == NULL)
        shard->entries = open_nameless(b->s->folder);
    if (shard->entries == NULL || fwrite(&entry, sizeof entry, 1, shard->entries) != 1)
        return write_err();
    shard->n++;
    shard->bytes += w.len;
    return ERR_NONE;
}

static enum err take_row(void *ctx, const void *row)
{
    struct crl_build *b = ctx;
    memcpy(&b->last, row, sizeof b->last);
    b->page_len++;
    if (!is_over(b, &b->last))
        return is_of(&b->last, b->s->authorities[b->authority]) ? keep(b, &b->last) : ERR_NONE;
    if (b->authority == AUTHORITY_CURRENT && b->sweep_len < CRL_SWEEP_MAX)
        b->sweep[b->sweep_len++] = b->last;
    return ERR_NONE;
}

static void begin_lists(struct crl_build *b);

static void read_page(struct loop_task *task)
{
    struct crl_build *b = CONTAINER_OF(task, struct crl_build, task);
    if (atomic_load(&b->s->stopping))
        return; /* freed with the service */
    const struct store_query query = {.table = &table_crl_entry, .after = &b->last, .limit = PAGE};
    b->page_len = 0;
    enum err err = store_list(b->s->reader, &query, b->arena, take_row, b);
    arena_reset(b->arena);
    if (err != ERR_NONE)
        end(b, err, "read the table");
    else if (b->page_len == PAGE)
        loop_post(b->s->loop, &b->task);
    else
        begin_lists(b);
}

static void begin_authority(struct crl_build *b, enum authority authority)
{
    const struct crl_service *s = b->s;
    close_entries(b);
    b->authority = authority;
    b->last = (struct crl_entry_row){.entry = -1};
    if (b->job.delta) { /* a key that all those of the base are before */
        b->last.entry = s->refresh[s->refresh[1].number > 0].covered - 1;
        memset(b->last.serial, 'f', 2 * SERIAL_MAX);
    }
    loop_post(s->loop, &b->task);
}

static enum err note_newest(void *ctx, const void *row)
{
    int64_t *covered = ctx;
    *covered = ((const struct crl_entry_row *)row)->entry + 1;
    return ERR_NONE;
}

void crl_build_start(struct crl_service *s, const struct crl_job *job)
{
    int64_t now = clock_seconds();
    struct crl_build *b = calloc(1, sizeof *b);
    const struct store_query newest = {.table = &table_crl_entry, .descending = true, .limit = 1};
    enum err err = ERR_NO_MEMORY;
    if (b == NULL)
        goto out;
    b->s = s;
    b->job = *job;
    b->started_ms = clock_monotonic_ms();
    b->arena = arena_new(PAGE_ARENA);
    b->sweep = calloc(CRL_SWEEP_MAX, sizeof *b->sweep);
    b->shards_len = s->shards > 0 ? s->shards : 1;
    b->task.run = read_page;
    b->outcome = (struct crl_outcome){.job = *job, .made_at = now};
    b->outcome.number = (uint64_t)now > s->number ? (uint64_t)now : s->number + 1;
    if (b->arena == NULL || b->sweep == NULL)
        goto out;
    s->number = b->outcome.number; /* noted before it is used: it is never used again */
    err = crl_files_save(s);
    if (err != ERR_NONE)
        goto out;
    err = store_list(s->reader, &newest, b->arena, note_newest, &b->outcome.covered);
    arena_reset(b->arena);
    if (err != ERR_NONE)
        goto out;
    s->build = b;
    begin_authority(b, AUTHORITY_CURRENT);
    return;
out:
    crl_build_free(b);
    const struct crl_outcome outcome = {.job = *job, .err = err, .step = "begin"};
    crl_ended(s, &outcome);
}

/* ---- one list ---- */

static bool in_list(const struct crl_build *b, unsigned shard)
{
    return b->which.shard == CRL_WHOLE || b->which.shard == shard;
}

/* The next entries of the list at hand, at most `max`. */
static enum err next_entries(struct crl_build *b, struct crl_entry *entries, size_t max,
                             size_t *ret_n)
{
    size_t n = 0;
    while (n < max && b->shard < b->shards_len) {
        struct shard *shard = &b->shards[b->shard];
        size_t got = 0;
        if (in_list(b, b->shard) && shard->entries != NULL) {
            got = fread(entries + n, sizeof *entries, max - n, shard->entries);
            if (ferror(shard->entries))
                return ERR_IO;
        }
        n += got;
        if (n < max)
            b->shard++;
    }
    *ret_n = n;
    return ERR_NONE;
}

static void rewind_entries(struct crl_build *b)
{
    b->shard = 0;
    for (unsigned i = 0; i < b->shards_len; i++)
        if (b->shards[i].entries != NULL && in_list(b, i))
            rewind(b->shards[i].entries);
}

static enum err write_file(struct crl_build *b, FILE *file)
{
    uint8_t bytes[CRL_HEADER_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    crl_header_write(&w, b->prefix.len + b->request.entries_len + b->suffix.len);
    bool ok = w.err == ERR_NONE && fwrite(w.start, 1, w.len, file) == w.len &&
              fwrite(b->prefix.start, 1, b->prefix.len, file) == b->prefix.len;
    rewind_entries(b);
    size_t n = SIGNER_CRL_ENTRIES;
    while (ok && n == SIGNER_CRL_ENTRIES) {
        uint8_t entry_bytes[SIGNER_CRL_ENTRIES * CRL_ENTRY_MAX];
        struct writer entries = writer_over(entry_bytes, sizeof entry_bytes);
        if (next_entries(b, b->batch, SIGNER_CRL_ENTRIES, &n) != ERR_NONE)
            return ERR_IO;
        for (size_t i = 0; i < n; i++)
            crl_entry_write(&entries, &b->batch[i]);
        ok = entries.err == ERR_NONE && fwrite(entries.start, 1, entries.len, file) == entries.len;
    }
    ok = ok && fwrite(b->suffix.start, 1, b->suffix.len, file) == b->suffix.len;
    return ok ? ERR_NONE : write_err();
}

static enum err write_list(struct crl_build *b)
{
    char path[PATH_MAX];
    enum err err = crl_files_path(b->s, &b->which, ".new", path);
    if (err != ERR_NONE)
        return err;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return write_err();
    (void)setvbuf(file, NULL, _IOFBF, FILE_CHUNK);
    err = write_file(b, file);
    if (fclose(file) != 0 && err == ERR_NONE)
        err = write_err();
    if (err == ERR_NONE)
        err = crl_files_publish(b->s, &b->which);
    return err;
}

static void next_list(struct crl_build *b);

static void on_finished(void *ctx, enum err err, struct slice bytes)
{
    struct crl_build *b = ctx;
    b->suffix = writer_over(b->suffix_bytes, sizeof b->suffix_bytes);
    writer_put(&b->suffix, bytes);
    if (err == ERR_NONE)
        err = b->suffix.err;
    if (err != ERR_NONE) {
        end(b, err, "have it signed");
        return;
    }
    err = write_list(b);
    if (err != ERR_NONE) {
        end(b, err, "write it");
        return;
    }
    b->outcome.lists++;
    next_list(b);
}

static void on_shown(void *ctx, enum err err, struct slice bytes);

static void show_entries(struct crl_build *b)
{
    size_t n = 0;
    enum err err = next_entries(b, b->batch, SIGNER_CRL_ENTRIES, &n);
    if (err != ERR_NONE)
        end(b, err, "read it back");
    else if (n > 0)
        signer_crl_add(b->s->link, b->batch, n, on_shown, b);
    else
        signer_crl_finish(b->s->link, on_finished, b);
}

static void on_shown(void *ctx, enum err err, struct slice bytes)
{
    struct crl_build *b = ctx;
    (void)bytes;
    if (err != ERR_NONE)
        end(b, err, "show it to the signer");
    else
        show_entries(b);
}

static void on_begun(void *ctx, enum err err, struct slice bytes)
{
    struct crl_build *b = ctx;
    b->prefix = writer_over(b->prefix_bytes, sizeof b->prefix_bytes);
    writer_put(&b->prefix, bytes);
    if (err == ERR_NONE)
        err = b->prefix.err;
    if (err != ERR_NONE) {
        end(b, err, "begin it at the signer");
        return;
    }
    rewind_entries(b);
    show_entries(b);
}

static void begin_list(struct crl_build *b)
{
    const struct crl_service *s = b->s;
    int64_t lifetime = b->job.delta ? s->delta_lifetime : s->lifetime;
    b->request = (struct crl_request){
        .authority = b->authority,
        .shard = b->which.shard == CRL_WHOLE ? SIGNER_CRL_ALL : (uint16_t)b->which.shard,
        .number = b->outcome.number,
        .base = b->job.delta ? s->refresh[s->refresh[1].number > 0].number : 0,
        .this_update = b->outcome.made_at - CRL_BACKDATE,
        .next_update = b->outcome.made_at + lifetime,
    };
    for (unsigned i = 0; i < b->shards_len; i++)
        if (in_list(b, i))
            b->request.entries_len += b->shards[i].bytes;
    signer_crl_begin(b->s->link, &b->request, on_begun, b);
}

static void end_authority(struct crl_build *b)
{
    unsigned next = b->authority + 1;
    if (next < b->s->authorities_len)
        begin_authority(b, (enum authority)next);
    else
        end(b, ERR_NONE, "");
}

/* The list of all comes first: who fetches that has no other. */
static void next_list(struct crl_build *b)
{
    unsigned next = b->which.shard == CRL_WHOLE ? 0 : b->which.shard + 1;
    while (next < b->s->shards && !b->job.all && !b->shards[next].changed)
        next++;
    if (next >= b->s->shards) {
        end_authority(b);
        return;
    }
    b->which.shard = next;
    begin_list(b);
}

static void begin_lists(struct crl_build *b)
{
    bool changed = b->job.all;
    for (size_t i = 0; i < b->shards_len; i++) {
        b->outcome.entries += b->shards[i].n;
        changed = changed || b->shards[i].changed;
    }
    b->which = (struct crl_which){b->authority, CRL_WHOLE, b->job.delta};
    if (changed)
        begin_list(b);
    else
        end_authority(b);
}
