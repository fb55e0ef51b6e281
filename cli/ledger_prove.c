/* One entry with its proof, for somebody who is to see no more of the ledger than that. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/ledger.h"
#include "cli/ledger_folder.h"
#include "cli/ledger_link.h"
#include "cli/save.h"
#include "core/log_proof.h"

#define PATH_TEXT_MAX 4096
#define NUMBER_MAX    (LOG_SIZE_MAX - 1)

struct proving {
    struct cli *cli;
    struct ledger_link link;
    struct ledger_judge judge;
    struct ledger_folder folder; /* a copy, where --folder names one */
    struct log_reader *reader;
    uint8_t *bundle;
    struct log_proof proof;
    struct hash leaf;
};

/* ---- from where ---- */

static enum err fetch_file(void *ctx, struct slice path, uint8_t *buffer, size_t max,
                           size_t *ret_len)
{
    const struct proving *p = ctx;
    return ledger_folder_read(&p->folder, path, buffer, max, ret_len) ? ERR_NONE : ERR_NOT_FOUND;
}

static int open_copy(struct proving *p, const char *path)
{
    char checkpoint[PATH_TEXT_MAX];
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", path) >= (int)sizeof checkpoint)
        return cli_fail(p->cli, CLI_USAGE, "usage", "the folder's path is too long");
    enum err err = file_read(checkpoint, NOTE_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return cli_fail(p->cli, CLI_FILE, "file", "%s: %m", checkpoint);
    int code = ledger_judge_take_checkpoint(&p->judge, slice_of(bytes, len));
    free(bytes);
    if (code != CLI_OK)
        return code;
    return ledger_folder_look(path, &p->folder) == ERR_NONE
               ? CLI_OK
               : cli_fail(p->cli, CLI_FILE, "file", "%s: %m", path);
}

static int open_source(struct proving *p)
{
    const char *folder = cli_value(p->cli, "folder");
    if (folder != NULL && (cli_has(p->cli, "url") || cli_has(p->cli, "local")))
        return cli_fail(p->cli, CLI_USAGE, "usage",
                        "--folder is instead of --url and --local, not beside them");
    int code = folder == NULL ? ledger_link_check(&p->link) : CLI_OK;
    if (code == CLI_OK)
        code = ledger_judge_read_key(&p->judge, ledger_link_is_local(&p->link));
    if (code != CLI_OK || folder != NULL)
        return code == CLI_OK ? open_copy(p, folder) : code;
    code = ledger_link_open(&p->link);
    return code == CLI_OK ? ledger_link_checkpoint(&p->link, &p->judge) : code;
}

/* ---- the proof ---- */

static enum err take_entry(void *ctx, uint64_t number, struct slice data, const struct hash *leaf)
{
    struct proving *p = ctx;
    p->proof.number = number;
    p->proof.entry = data; /* in the bundle, which stays as it is: there is no further one */
    p->leaf = *leaf;
    return ERR_NONE;
}

static int read_entry(struct proving *p, uint64_t number)
{
    struct log_report report;
    const struct checkpoint *now = &p->judge.checkpoint;
    bool from_copy = p->folder.fd >= 0;
    log_reader_init(p->reader, crypto_sha256, from_copy ? fetch_file : ledger_link_fetch,
                    from_copy ? (void *)p : (void *)&p->link, p->bundle, LOG_BUNDLE_MAX);
    enum err err =
        log_reader_check_range(p->reader, now, NULL, number, number + 1, take_entry, p, &report);
    int code = ledger_judge_tell(&p->judge, &report, err,
                                 from_copy && err == ERR_NOT_FOUND ? CLI_NOT_FOUND : p->link.code);
    if (code != CLI_OK)
        return code;
    err = log_reader_prove(p->reader, now, number, &p->leaf, p->proof.hashes, &p->proof.hashes_len);
    p->proof.checkpoint = slice_of(p->judge.note, p->judge.note_len);
    return err == ERR_NONE ? CLI_OK
                           : cli_fail(p->cli, CLI_INTERNAL, "internal", "%s", err_text(err));
}

static int write_proof(struct proving *p)
{
    uint8_t *text = malloc(LOG_PROOF_MAX);
    if (text == NULL)
        return cli_fail_memory(p->cli);
    struct writer w = writer_over(text, LOG_PROOF_MAX);
    log_proof_write(&w, &p->proof);
    int code = w.err == ERR_NONE
                   ? save_note(p->cli, cli_value(p->cli, "output"), writer_bytes(&w),
                               "entry with its proof", "proof")
                   : cli_fail(p->cli, CLI_INTERNAL, "internal", "%s", err_text(w.err));
    free(text);
    return code;
}

static int prove(struct proving *p)
{
    uint64_t number = 0;
    int code = cli_read_count(p->cli, "the number of an entry", p->cli->operands[0], 0, NUMBER_MAX,
                              &number);
    if (code == CLI_OK)
        code = open_source(p);
    if (code == CLI_OK)
        code = read_entry(p, number);
    return code == CLI_OK ? write_proof(p) : code;
}

int ledger_prove_run(struct cli *cli)
{
    struct proving *p = calloc(1, sizeof *p);
    if (p == NULL)
        return cli_fail_memory(cli);
    p->cli = p->link.cli = p->judge.cli = cli;
    p->folder.fd = -1;
    p->reader = malloc(sizeof *p->reader);
    p->bundle = malloc(LOG_BUNDLE_MAX);
    int code = p->reader == NULL || p->bundle == NULL ? cli_fail_memory(cli) : prove(p);
    ledger_folder_close(&p->folder);
    ledger_link_close(&p->link);
    free(p->reader);
    free(p->bundle);
    free(p);
    return code;
}
