#include "verify/verdict.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "verify/crypto.h"
#include "verify/folder.h"

void verdict_fail(struct verdict *v, enum verify_exit code, const char *name, const char *format,
                  ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(v->message, sizeof v->message, format, args);
    va_end(args);
    v->exit = code;
    v->code = name;
}

void verdict_fail_file(struct verdict *v, const char *path, enum err err)
{
    if (err == ERR_IO)
        verdict_fail(v, VERIFY_FILE, "file", "%.300s: %m", path);
    else
        verdict_fail(v, VERIFY_FILE, "file", "%.300s: %s", path,
                     err == ERR_NOT_FOUND ? "there is no such file"
                     : err == ERR_LIMIT   ? "it is too long to be that"
                                          : "it is not a regular file");
}

/* One of the keys must have signed it, and none of them wrongly. */
static const struct note_key *find_signer(const struct question *q, struct slice note,
                                          enum err *ret_err, struct slice *ret_text)
{
    const struct note_key *signer = NULL;
    enum err verdict = ERR_NOT_FOUND;
    for (size_t i = 0; i < q->keys_len; i++) {
        enum err err = note_verify(note, &q->keys[i], verify_ed25519, ret_text);
        if (err == ERR_NONE && signer == NULL)
            signer = &q->keys[i];
        if (err != ERR_NOT_FOUND && (verdict == ERR_NOT_FOUND || err != ERR_NONE))
            verdict = err;
    }
    *ret_err = verdict;
    return verdict == ERR_NONE ? signer : NULL;
}

static bool read_checkpoint(const struct question *q, struct verdict *v, struct slice note,
                            const char *path, struct checkpoint *ret_checkpoint,
                            const struct note_key **ret_signer)
{
    struct slice text = {NULL, 0};
    enum err err = ERR_NONE;
    const struct note_key *signer = find_signer(q, note, &err, &text);
    if (err == ERR_NONE)
        err = checkpoint_read(text, ret_checkpoint);
    if (err == ERR_NOT_FOUND)
        verdict_fail(
            v, VERIFY_UNVERIFIED, "signature",
            "%.300s carries no signature by a key that was given: it is another ledger's, or not "
            "to be trusted",
            path);
    else if (err == ERR_BAD_SIGNATURE)
        verdict_fail(
            v, VERIFY_UNVERIFIED, "signature",
            "%.300s: the ledger's signature does not verify: it was changed after it was signed",
            path);
    else if (err != ERR_NONE)
        verdict_fail(v, VERIFY_UNVERIFIED, "checkpoint", "%.300s is not a signed checkpoint: %s",
                     path, err_text(err));
    else if (ret_signer != NULL)
        *ret_signer = signer;
    return err == ERR_NONE;
}

static bool ask_witnesses(const struct question *q, struct verdict *v, struct slice note)
{
    v->vouching =
        cosignatures_count(note, q->witnesses, q->witnesses_len, verify_ed25519, v->witnesses);
    if (v->vouching >= q->quorum)
        return true;
    verdict_fail(
        v, VERIFY_UNVERIFIED, "witnesses",
        "%zu of %zu witnesses vouch for this checkpoint, %zu are needed: it may have been shown to "
        "you alone; get one that more of them have seen",
        v->vouching, q->witnesses_len, q->quorum);
    return false;
}

bool verdict_take_checkpoint(const struct question *q, struct verdict *v, struct slice note,
                             const char *path)
{
    v->has_checkpoint = read_checkpoint(q, v, note, path, &v->checkpoint, &v->signer);
    return v->has_checkpoint && ask_witnesses(q, v, note);
}

static void describe_fault(const struct question *q, struct verdict *v, enum err err)
{
    const struct log_report *r = &v->report;
    char path[TILE_PATH_MAX + 1] = "";
    struct writer w = writer_over(path, TILE_PATH_MAX);
    switch (r->fault) {
    case LOG_FAULT_ORIGIN:
        verdict_fail(v, VERIFY_CONTRADICTED, "ledger-origin",
                     "the saved checkpoint is of another ledger");
        return;
    case LOG_FAULT_SHRUNK:
        verdict_fail(v, VERIFY_CONTRADICTED, "ledger-shrunk",
                     "the ledger has %" PRIu64 " entries, and had %" PRIu64
                     " when the checkpoint was "
                     "saved: entries were removed, or an old copy is shown",
                     v->checkpoint.size, v->saved.size);
        return;
    case LOG_FAULT_FORKED:
        verdict_fail(v, VERIFY_CONTRADICTED, "ledger-forked",
                     "both checkpoints are of %" PRIu64
                     " entries, but of different ones: two histories "
                     "were signed; keep both, they prove it",
                     v->checkpoint.size);
        return;
    case LOG_FAULT_REWRITTEN:
        verdict_fail(
            v, VERIFY_CONTRADICTED, "ledger-rewritten",
            "the entries agree with this checkpoint, and the first %" PRIu64 " of them not with "
            "the saved one: history was replaced and signed anew; keep both checkpoints, they "
            "prove it",
            v->saved.size);
        return;
    case LOG_FAULT_ROOT:
        verdict_fail(v, VERIFY_UNVERIFIED, "ledger-root",
                     "%s: something among the entries %" PRIu64 " to %" PRIu64
                     " was changed, and the "
                     "tiles with it",
                     log_fault_text(r->fault), r->first, r->end - 1);
        return;
    case LOG_FAULT_RANGE:
        verdict_fail(v, VERIFY_UNVERIFIED, "ledger-range",
                     "the checkpoint is of %" PRIu64
                     " entries, the first is number 0: it says nothing "
                     "about all that --range asks for",
                     v->checkpoint.size);
        return;
    case LOG_FAULT_SIZE:
        verdict_fail(v, VERIFY_UNVERIFIED, "ledger-size", "%s", log_fault_text(r->fault));
        return;
    default:
        tile_write_path(&w, &r->tile);
        verdict_fail(v, VERIFY_UNVERIFIED,
                     r->fault == LOG_FAULT_FETCH ? "tile-unreadable" : "ledger-tile",
                     "%s: %s (entries %" PRIu64 " to %" PRIu64 ")%s", path,
                     log_fault_text(r->fault), r->first, r->end - 1,
                     err == ERR_NOT_FOUND && !q->has_range
                         ? "; where the folder holds a part of the ledger, say which with --range"
                         : "");
        return;
    }
}

static void read_ledger(const struct question *q, struct verdict *v, int folder_fd)
{
    struct folder folder = {.fd = folder_fd};
    struct log_reader *lr = malloc(sizeof *lr);
    uint8_t *bundle = malloc(LOG_BUNDLE_MAX);
    if (lr == NULL || bundle == NULL) {
        verdict_fail(v, VERIFY_INTERNAL, "memory", "memory is out");
    } else {
        log_reader_init(lr, verify_sha256, folder_fetch, &folder, bundle, LOG_BUNDLE_MAX);
        const struct checkpoint *saved = v->has_saved ? &v->saved : NULL;
        enum err err = q->has_range
                           ? log_reader_check_range(lr, &v->checkpoint, saved, q->first,
                                                    q->last + 1, NULL, NULL, &v->report)
                           : log_reader_check(lr, &v->checkpoint, saved, NULL, NULL, &v->report);
        v->has_report = true;
        v->tiles = folder.tiles;
        v->bytes = folder.bytes;
        if (err != ERR_NONE)
            describe_fault(q, v, err);
    }
    free(bundle);
    free(lr);
}

static void judge(const struct question *q, struct verdict *v, int folder_fd)
{
    uint8_t note[NOTE_MAX], saved[NOTE_MAX];
    size_t len = 0;
    const char *path = q->checkpoint == NULL ? "checkpoint" : q->checkpoint;
    enum err err =
        folder_read(q->checkpoint == NULL ? folder_fd : AT_FDCWD, path, note, sizeof note, &len);
    if (err != ERR_NONE) {
        verdict_fail_file(v, path, err);
        return;
    }
    if (!verdict_take_checkpoint(q, v, slice_of(note, len), path))
        return;
    if (q->saved != NULL) {
        err = folder_read(AT_FDCWD, q->saved, saved, sizeof saved, &len);
        if (err != ERR_NONE) {
            verdict_fail_file(v, q->saved, err);
            return;
        }
        if (!read_checkpoint(q, v, slice_of(saved, len), q->saved, &v->saved, NULL))
            return;
        v->has_saved = true;
    }
    read_ledger(q, v, folder_fd);
}

void verify_folder(const struct question *q, struct verdict *ret_verdict)
{
    struct verdict *v = ret_verdict;
    *v = (struct verdict){.exit = VERIFY_OK};
    int fd = open(q->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        verdict_fail(v, VERIFY_FILE, "file", "%.300s: %m", q->folder);
        return;
    }
    judge(q, v, fd);
    (void)close(fd);
}
