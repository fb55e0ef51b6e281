/* The export is the verification, with what it fetches written down on the way: what is in the
 * folder has been checked. A run that was interrupted goes on with what is there. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/hub_link.h"
#include "cli/ledger.h"
#include "cli/ledger_folder.h"
#include "cli/ledger_link.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/when.h"

#define PATH_TEXT_MAX 4096
#define NUMBER_MAX    (LOG_SIZE_MAX - 1)

struct exporting {
    struct cli *cli;
    struct ledger_link link;
    struct ledger_judge judge;
    struct ledger_folder folder;
    struct progress progress;
    struct log_reader *reader;
    uint8_t *bundle;
    bool is_part;
    bool keeps_checkpoint; /* the part is one of the ledger that the folder has a checkpoint of */
    uint64_t first, end;   /* of the part */
    /* What the folder has is believed until it is found wrong: tiles up to that entry. */
    uint64_t believed;
    uint64_t kept; /* tiles that were there already */
    bool only_look;
    int code; /* why writing ended, which has been told */
};

/* ---- fetching and writing ---- */

static int fail_file(struct exporting *x, const char *name, enum err err)
{
    return cli_fail(x->cli, CLI_FILE, "file",
                    err == ERR_DISK_FULL
                        ? "%s/%s: %m; make room and run it again, it goes on from there"
                        : "%s/%s: %m",
                    x->folder.path, name);
}

/* The entries that a tile speaks of end there. */
static uint64_t tile_end(struct slice path)
{
    struct tile t = {.level = 0};
    if (tile_read_path(path, &t) != ERR_NONE)
        return UINT64_MAX;
    unsigned shift = t.level == TILE_ENTRIES ? 0 : 8 * (unsigned)t.level;
    return (t.index * TILE_WIDTH + t.width) << shift;
}

static enum err fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct exporting *x = ctx;
    if (tile_end(path) <= x->believed &&
        ledger_folder_read(&x->folder, path, buffer, max, ret_len)) {
        x->kept++;
        return ERR_NONE;
    }
    size_t len = 0;
    enum err err = ledger_link_fetch(&x->link, path, buffer, max, &len);
    if (err != ERR_NONE)
        return err;
    if (!x->only_look)
        err = ledger_folder_write(&x->folder, path, slice_of(buffer, len));
    if (err != ERR_NONE) {
        char name[TILE_PATH_MAX + 1];
        (void)snprintf(name, sizeof name, "%.*s", (int)path.len, (const char *)path.data);
        x->code = fail_file(x, name, err);
        return ERR_IO;
    }
    *ret_len = len;
    return ERR_NONE;
}

static enum err count_entry(void *ctx, uint64_t number, struct slice data, const struct hash *leaf)
{
    struct exporting *x = ctx;
    (void)data;
    (void)leaf;
    progress_set(&x->progress, number + 1);
    return ERR_NONE;
}

static enum err read_through(struct exporting *x, struct log_report *ret_report)
{
    const struct checkpoint *now = &x->judge.checkpoint;
    const struct checkpoint *saved = x->judge.has_saved ? &x->judge.saved : NULL;
    x->kept = 0;
    log_reader_init(x->reader, crypto_sha256, fetch, x, x->bundle, LOG_BUNDLE_MAX);
    progress_start(&x->progress, x->cli, "entries", x->first, x->end);
    enum err err = x->is_part ? log_reader_check_range(x->reader, now, saved, x->first, x->end,
                                                       count_entry, x, ret_report)
                              : log_reader_check(x->reader, now, saved, count_entry, x, ret_report);
    progress_end(&x->progress);
    return err;
}

static bool is_damaged_file(const struct log_report *report)
{
    return report->fault == LOG_FAULT_BUNDLE || report->fault == LOG_FAULT_TILE ||
           report->fault == LOG_FAULT_ENTRY || report->fault == LOG_FAULT_TREE;
}

static int tell(const struct exporting *x, const struct log_report *report, enum err err)
{
    return ledger_judge_tell(&x->judge, report, err, x->code != CLI_OK ? x->code : x->link.code);
}

/* What is in the folder does not go with what is shown. The hub is asked alone first, and nothing
 * is written: files that agree with each other may be what it once showed, and stay. One that a
 * power cut or a disk has damaged is then fetched again, with all that come after it. */
static int settle(struct exporting *x, bool is_damaged, uint64_t first)
{
    struct log_report report;
    x->believed = 0;
    x->only_look = true;
    enum err err = read_through(x, &report);
    if (err != ERR_NONE)
        return tell(x, &report, err);
    x->believed = first;
    x->only_look = false;
    if (is_damaged && read_through(x, &report) == ERR_NONE)
        return CLI_OK;
    if (x->code != CLI_OK || x->link.code != CLI_OK)
        return tell(x, &report, ERR_IO);
    return cli_fail(x->cli, CLI_UNVERIFIED, "ledger-folder",
                    "the hub's ledger is sound, but %s holds tiles that are not of it: name "
                    "another folder",
                    x->folder.path);
}

static int read_and_write(struct exporting *x)
{
    struct log_report report;
    x->believed = UINT64_MAX;
    enum err err = read_through(x, &report);
    bool is_damaged = is_damaged_file(&report);
    if (err != ERR_NONE && x->kept > 0 && (is_damaged || report.fault == LOG_FAULT_ROOT))
        return settle(x, is_damaged, report.first);
    return tell(x, &report, err);
}

/* ---- from where to where ---- */

static int join_path(struct exporting *x, const char *name, char ret_path[PATH_TEXT_MAX])
{
    int len = snprintf(ret_path, PATH_TEXT_MAX, "%s/%s", x->folder.path, name);
    return len < PATH_TEXT_MAX
               ? CLI_OK
               : cli_fail(x->cli, CLI_USAGE, "usage", "the folder's path is too long");
}

static int open_folder(struct exporting *x, const char *path)
{
    enum err err = ledger_folder_open(path, &x->folder);
    if (err == ERR_BUSY)
        return cli_fail(x->cli, CLI_REFUSED, "busy", "another export is writing to %s", path);
    return err == ERR_NONE ? CLI_OK : cli_fail(x->cli, CLI_FILE, "file", "%s: %m", path);
}

/* The checkpoint of an earlier export: what is written now must continue it. */
static int read_saved(struct exporting *x)
{
    char path[PATH_TEXT_MAX];
    int code = join_path(x, "checkpoint", path);
    if (code == CLI_OK && ledger_folder_has(&x->folder, "checkpoint"))
        code = ledger_judge_read_saved(&x->judge, path);
    return code;
}

/* A part joins what the folder has: one checkpoint for both. */
static int choose_checkpoint(struct exporting *x)
{
    x->keeps_checkpoint = x->is_part && x->judge.has_saved;
    if (x->keeps_checkpoint)
        x->judge.checkpoint = x->judge.saved;
    else {
        int code = ledger_link_checkpoint(&x->link, &x->judge);
        if (code != CLI_OK)
            return code;
    }
    uint64_t size = x->judge.checkpoint.size;
    if (x->end == UINT64_MAX)
        x->end = size;
    if (x->first < x->end && x->end <= size)
        return CLI_OK;
    if (!x->is_part)
        return CLI_OK; /* an empty ledger */
    if (x->keeps_checkpoint)
        return cli_fail(x->cli, CLI_NOT_FOUND, "entry-not-found",
                        "%s has the checkpoint of %" PRIu64 " entries, the first is number 0: "
                        "name another folder for entries that came later",
                        x->folder.path, size);
    return cli_fail(x->cli, CLI_NOT_FOUND, "entry-not-found",
                    "the checkpoint is of %" PRIu64 " entries, the first is number 0", size);
}

static int read_part(struct exporting *x)
{
    const char *from = cli_value(x->cli, "from"), *to = cli_value(x->cli, "to");
    uint64_t last = 0;
    int code = CLI_OK;
    x->is_part = from != NULL || to != NULL;
    x->end = UINT64_MAX;
    if (from != NULL)
        code = cli_read_count(x->cli, "--from", from, 0, NUMBER_MAX, &x->first);
    if (code == CLI_OK && to != NULL) {
        code = cli_read_count(x->cli, "--to", to, x->first, NUMBER_MAX, &last);
        x->end = last + 1;
    }
    return code;
}

/* ---- the end ---- */

/* Tiles first, and durable; then the checkpoint that vouches for them. So a folder that was whole
 * is whole at every moment. */
static int finish(struct exporting *x)
{
    char checkpoint[PATH_TEXT_MAX], key_path[PATH_TEXT_MAX], key[NOTE_KEY_TEXT_MAX + 1];
    int code = join_path(x, "checkpoint", checkpoint);
    if (code == CLI_OK)
        code = join_path(x, "ledger.vkey", key_path);
    if (code != CLI_OK)
        return code;
    struct writer w = writer_over(key, sizeof key);
    note_key_write(&w, &x->judge.key);
    writer_u8(&w, '\n');
    enum err err = w.err == ERR_NONE ? ledger_folder_flush(&x->folder) : w.err;
    if (err != ERR_NONE)
        return fail_file(x, "tile", err);
    if (x->keeps_checkpoint)
        return CLI_OK;
    err = file_replace(key_path, writer_bytes(&w), 0644);
    if (err == ERR_NONE)
        err = file_replace(checkpoint, slice_of(x->judge.note, x->judge.note_len), 0644);
    if (err != ERR_NONE)
        return fail_file(x, "checkpoint", err);
    ledger_folder_tidy(&x->folder, x->judge.checkpoint.size);
    return CLI_OK;
}

static int report(const struct exporting *x)
{
    const struct checkpoint *now = &x->judge.checkpoint;
    char root[LEDGER_HASH_TEXT_MAX], count[WHEN_TEXT_MAX], part[64];
    ledger_hash_text(&now->root, root);
    if (x->cli->json) {
        json_t *document CLEANUP(json_cleanup) =
            json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I}", "folder", x->folder.path,
                      "origin", now->origin, "size", (json_int_t)now->size, "root", root, "entries",
                      (json_int_t)(x->end - x->first), "fetched", (json_int_t)x->link.tiles, "kept",
                      (json_int_t)x->kept, "bytes", (json_int_t)x->link.bytes);
        if (document != NULL && x->is_part) {
            (void)json_object_set_new(document, "first", json_integer((json_int_t)x->first));
            (void)json_object_set_new(document, "last", json_integer((json_int_t)x->end - 1));
        }
        return document == NULL ? cli_fail_memory(x->cli) : json_print(x->cli, document);
    }
    when_count(now->size, count);
    text_pair("ledger", now->origin, COLOUR_BOLD);
    text_pair("checkpoint", count, COLOUR_NONE);
    text_pair("root", root, COLOUR_NONE);
    (void)snprintf(part, sizeof part, "%" PRIu64 " to %" PRIu64, x->first, x->end - 1);
    text_pair("entries", x->is_part ? part : "all", COLOUR_NONE);
    text_pair_format("tiles", "%" PRIu64 " fetched, %" PRIu64 " were there", x->link.tiles,
                     x->kept);
    text_pair("hashes", "all of them belong to the signed root", COLOUR_GOOD);
    if (x->is_part)
        cli_say(x->cli,
                "%s: to check it offline: holdfast-verify --key KEY --range %" PRIu64 "-%" PRIu64
                " %s",
                x->folder.path, x->first, x->end - 1, x->folder.path);
    else
        cli_say(x->cli, "%s: to check it offline: holdfast-verify --key KEY %s", x->folder.path,
                x->folder.path);
    return CLI_OK;
}

static int export(struct exporting *x)
{
    int code = ledger_link_check(&x->link);
    if (code == CLI_OK)
        code = read_part(x);
    if (code == CLI_OK)
        code = ledger_judge_read_key(&x->judge, ledger_link_is_local(&x->link));
    if (code == CLI_OK)
        code = ledger_link_open(&x->link);
    if (code == CLI_OK)
        code = open_folder(x, x->cli->operands[0]);
    if (code == CLI_OK)
        code = read_saved(x);
    if (code == CLI_OK)
        code = choose_checkpoint(x);
    if (code == CLI_OK)
        code = read_and_write(x);
    if (code == CLI_OK)
        code = finish(x);
    return code == CLI_OK ? report(x) : code;
}

int ledger_export_run(struct cli *cli)
{
    struct exporting *x = calloc(1, sizeof *x);
    if (x == NULL)
        return cli_fail_memory(cli);
    x->cli = x->link.cli = x->judge.cli = cli;
    x->folder.fd = -1;
    x->reader = malloc(sizeof *x->reader);
    x->bundle = malloc(LOG_BUNDLE_MAX);
    int code = x->reader == NULL || x->bundle == NULL ? cli_fail_memory(cli) : export(x);
    ledger_folder_close(&x->folder);
    ledger_link_close(&x->link);
    free(x->reader);
    free(x->bundle);
    free(x);
    return code;
}
