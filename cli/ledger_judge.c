#include "cli/ledger_judge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/settings.h"
#include "core/base64.h"

/* ---- keys and checkpoints ---- */

int ledger_key_read(struct cli *cli, const char *text_or_path, struct note_key *ret_key)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct slice text = slice_of_text(text_or_path);
    bool is_text = strchr(text_or_path, '+') != NULL && strlen(text_or_path) <= NOTE_KEY_TEXT_MAX &&
                   note_key_read(text, crypto_sha256, ret_key) == ERR_NONE;
    if (is_text)
        return CLI_OK;
    enum err err = file_read(text_or_path, NOTE_KEY_TEXT_MAX + 2, &bytes, &len);
    if (err == ERR_NOT_FOUND)
        return cli_fail(cli, CLI_FILE, "file",
                        "'%.200s' is neither a verifier key (NAME+HASH+KEY) nor a file with one",
                        text_or_path);
    if (err != ERR_NONE && err != ERR_LIMIT)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", text_or_path);
    size_t n = err == ERR_NONE ? len : 0;
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    if (err == ERR_NONE)
        err = note_key_read(slice_of(bytes, n), crypto_sha256, ret_key);
    free(bytes);
    return err == ERR_NONE ? CLI_OK
                           : cli_fail(cli, CLI_FILE, "file",
                                      "%s holds no verifier key (NAME+HASH+KEY)", text_or_path);
}

int ledger_judge_read_key(struct ledger_judge *j, bool local)
{
    struct cli *cli = j->cli;
    const char *key = cli_value(cli, "key");
    if (key != NULL)
        return ledger_key_read(cli, key, &j->key);
    if (!local)
        return cli_fail(
            cli, CLI_USAGE, "usage",
            "--key is missing: the ledger's verifier key, kept since the hub was set up");
    char state[CONFIG_TEXT_MAX], path[CONFIG_TEXT_MAX + 16];
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    (void)snprintf(path, sizeof path, "%s/ledger.vkey", state);
    return ledger_key_read(cli, path, &j->key);
}

/* `where` is for messages. */
static int read_checkpoint(struct ledger_judge *j, struct slice note, const char *where,
                           struct checkpoint *ret_checkpoint)
{
    struct slice text;
    struct cli *cli = j->cli;
    enum err err = note_verify(note, &j->key, crypto_ed25519_verify, &text);
    if (err == ERR_NOT_FOUND)
        return cli_fail(
            cli, CLI_UNVERIFIED, "signature",
            "%s carries no signature by the key %s: it is another ledger's, or not to be "
            "trusted",
            where, j->key.name);
    if (err == ERR_BAD_SIGNATURE)
        return cli_fail(cli, CLI_UNVERIFIED, "signature",
                        "%s: the signature by the key %s does not verify: it was changed after it "
                        "was signed",
                        where, j->key.name);
    if (err == ERR_NONE)
        err = checkpoint_read(text, ret_checkpoint);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_UNVERIFIED, "checkpoint", "%s is not a checkpoint: %s", where,
                        err_text(err));
    if (strcmp(ret_checkpoint->origin, j->key.name) != 0)
        return cli_fail(cli, CLI_UNVERIFIED, "checkpoint",
                        "%s is of the log '%s', and the key is for '%s'", where,
                        ret_checkpoint->origin, j->key.name);
    return CLI_OK;
}

int ledger_judge_read_saved(struct ledger_judge *j, const char *path)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, NOTE_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return cli_fail(j->cli, CLI_FILE, "file", "%s: %m", path);
    int code = read_checkpoint(j, slice_of(bytes, len), path, &j->saved);
    free(bytes);
    j->has_saved = code == CLI_OK;
    return code;
}

int ledger_judge_take_checkpoint(struct ledger_judge *j, struct slice note)
{
    if (note.len > sizeof j->note)
        return cli_fail(j->cli, CLI_UNVERIFIED, "checkpoint",
                        "the checkpoint is too long to be one");
    memcpy(j->note, note.data, note.len);
    j->note_len = note.len;
    return read_checkpoint(j, slice_of(j->note, j->note_len), "the checkpoint", &j->checkpoint);
}

/* ---- what was found ---- */

void ledger_hash_text(const struct hash *hash, char ret_text[LEDGER_HASH_TEXT_MAX])
{
    struct writer w = writer_over(ret_text, LEDGER_HASH_TEXT_MAX - 1);
    base64_write(&w, slice_of(hash->bytes, sizeof hash->bytes));
    ret_text[w.len] = '\0';
}

static int fail_contradiction(const struct ledger_judge *j, const struct log_report *report)
{
    struct cli *cli = j->cli;
    const struct checkpoint *now = &j->checkpoint, *saved = &j->saved;
    char root[LEDGER_HASH_TEXT_MAX], saved_root[LEDGER_HASH_TEXT_MAX];
    ledger_hash_text(&now->root, root);
    ledger_hash_text(&saved->root, saved_root);
    switch (report->fault) {
    case LOG_FAULT_ORIGIN:
        return cli_fail(cli, CLI_CONTRADICTED, "ledger-origin",
                        "the saved checkpoint is of '%s', this one of '%s'", saved->origin,
                        now->origin);
    case LOG_FAULT_SHRUNK:
        return cli_fail(cli, CLI_CONTRADICTED, "ledger-shrunk",
                        "the ledger has %" PRIu64 " entries, and had %" PRIu64
                        " when the checkpoint was saved: entries were removed, or an old copy is "
                        "shown",
                        now->size, saved->size);
    case LOG_FAULT_FORKED:
        return cli_fail(cli, CLI_CONTRADICTED, "ledger-forked",
                        "both checkpoints are of %" PRIu64
                        " entries, but of different ones (root %s, "
                        "saved %s): the hub signed two histories; keep both, they prove it",
                        now->size, root, saved_root);
    default:
        return cli_fail(
            cli, CLI_CONTRADICTED, "ledger-rewritten",
            "the entries agree with this checkpoint, and the first %" PRIu64
            " of them not with the saved one (root %s): history was replaced and signed "
            "anew; keep both checkpoints, they prove it",
            saved->size, saved_root);
    }
}

static int fail_damage(const struct ledger_judge *j, const struct log_report *report, enum err err)
{
    char path[TILE_PATH_MAX + 1];
    struct writer w = writer_over(path, sizeof path - 1);
    tile_write_path(&w, &report->tile);
    path[w.err == ERR_NONE ? w.len : 0] = '\0';
    if (report->fault == LOG_FAULT_ROOT)
        return cli_fail(j->cli, CLI_UNVERIFIED, "ledger-root",
                        "the %" PRIu64
                        " entries do not hash to the root that was signed: one of them "
                        "was changed, and the tiles with it",
                        report->entries);
    if (report->fault == LOG_FAULT_RANGE)
        return cli_fail(j->cli, CLI_NOT_FOUND, "entry-not-found",
                        "the checkpoint is of %" PRIu64 " entries, the first is number 0",
                        j->checkpoint.size);
    if (report->fault == LOG_FAULT_SIZE)
        return cli_fail(j->cli, CLI_UNVERIFIED, "ledger-size",
                        "the checkpoint says %" PRIu64 " entries, more than a ledger can have",
                        j->checkpoint.size);
    if (report->end == report->first + 1)
        return cli_fail(j->cli, CLI_UNVERIFIED, "ledger-damaged",
                        "%s: %s: entry %" PRIu64 " is not as it was logged", path,
                        log_fault_text(report->fault), report->first);
    if (report->end > report->first)
        return cli_fail(j->cli, CLI_UNVERIFIED, "ledger-damaged",
                        "%s: %s: entries %" PRIu64 " to %" PRIu64 " cannot be trusted", path,
                        log_fault_text(report->fault), report->first, report->end - 1);
    return cli_fail(j->cli, CLI_UNVERIFIED, "ledger-damaged", "%s: %s (%s)", path,
                    log_fault_text(report->fault), err_text(err));
}

int ledger_judge_tell(const struct ledger_judge *j, const struct log_report *report, enum err err,
                      int fetch_code)
{
    switch (report->fault) {
    case LOG_SOUND:
        return err == ERR_NONE ? CLI_OK
                               : cli_fail(j->cli, CLI_INTERNAL, "internal", "%s", err_text(err));
    case LOG_FAULT_ORIGIN:
    case LOG_FAULT_SHRUNK:
    case LOG_FAULT_FORKED:
    case LOG_FAULT_REWRITTEN:
        return fail_contradiction(j, report);
    case LOG_FAULT_FETCH:
        if (fetch_code == CLI_NOT_FOUND)
            return cli_fail(j->cli, CLI_UNVERIFIED, "ledger-incomplete",
                            "entries %" PRIu64 " to %" PRIu64 " were signed for and cannot be had",
                            report->first, report->end > 0 ? report->end - 1 : 0);
        if (fetch_code != CLI_OK)
            return fetch_code; /* told already */
        return fail_damage(j, report, err);
    default:
        return fail_damage(j, report, err);
    }
}
