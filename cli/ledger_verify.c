#include "cli/ledger.h"

#include <stdlib.h>

#include "base/crypto.h"
#include "base/file.h"
#include "cli/hub_link.h"
#include "cli/ledger_link.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/when.h"

struct verifying {
    struct cli *cli;
    struct ledger_link link;
    struct ledger_judge judge;
    struct progress progress;
};

static enum err count_entry(void *ctx, uint64_t number, struct slice data, const struct hash *leaf)
{
    struct verifying *v = ctx;
    (void)data;
    (void)leaf;
    progress_set(&v->progress, number + 1);
    return ERR_NONE;
}

static int save(const struct verifying *v)
{
    const char *path = cli_value(v->cli, "save");
    if (path == NULL)
        return CLI_OK;
    enum err err = file_replace(path, slice_of(v->judge.note, v->judge.note_len), 0644);
    return err == ERR_NONE ? CLI_OK : cli_fail(v->cli, CLI_FILE, "file", "%s: %m", path);
}

static int report_sound(const struct verifying *v)
{
    char count[WHEN_TEXT_MAX], root[LEDGER_HASH_TEXT_MAX], saved[WHEN_TEXT_MAX];
    ledger_hash_text(&v->judge.checkpoint.root, root);
    if (v->cli->json) {
        json_t *document CLEANUP(json_cleanup) = json_pack(
            "{s:b, s:s, s:I, s:s, s:I, s:I}", "sound", 1, "origin", v->judge.checkpoint.origin,
            "size", (json_int_t)v->judge.checkpoint.size, "root", root, "tiles",
            (json_int_t)v->link.tiles, "bytes", (json_int_t)v->link.bytes);
        if (document != NULL && v->judge.has_saved)
            (void)json_object_set_new(document, "saved_size",
                                      json_integer((json_int_t)v->judge.saved.size));
        return document == NULL ? cli_fail_memory(v->cli) : json_print(v->cli, document);
    }
    when_count(v->judge.checkpoint.size, count);
    text_pair("ledger", v->judge.checkpoint.origin, COLOUR_BOLD);
    text_pair("entries", count, COLOUR_NONE);
    text_pair("root", root, COLOUR_NONE);
    text_pair("signature", "by the key that was given", COLOUR_GOOD);
    text_pair("hashes", "all entries belong to the signed root", COLOUR_GOOD);
    if (v->judge.has_saved) {
        when_count(v->judge.saved.size, saved);
        text_pair_format("history", "continues the saved checkpoint of %s entries", saved);
    } else {
        text_pair("history", "not compared: no --saved checkpoint was given", COLOUR_WARN);
    }
    return CLI_OK;
}

/* ---- the whole ---- */

static int check(struct verifying *v)
{
    struct log_reader *reader = malloc(sizeof *reader);
    uint8_t *bundle = malloc(LOG_BUNDLE_MAX);
    struct log_report report = {.fault = LOG_SOUND};
    int code = CLI_OK;
    if (reader == NULL || bundle == NULL) {
        code = cli_fail_memory(v->cli);
    } else {
        log_reader_init(reader, crypto_sha256, ledger_link_fetch, &v->link, bundle, LOG_BUNDLE_MAX);
        progress_start(&v->progress, v->cli, "entries", 0, v->judge.checkpoint.size);
        enum err err =
            log_reader_check(reader, &v->judge.checkpoint,
                             v->judge.has_saved ? &v->judge.saved : NULL, count_entry, v, &report);
        progress_end(&v->progress);
        code = ledger_judge_tell(&v->judge, &report, err, v->link.code);
    }
    free(reader);
    free(bundle);
    return code;
}

static int verify(struct verifying *v)
{
    const char *saved = cli_value(v->cli, "saved");
    int code = ledger_link_check(&v->link);
    if (code == CLI_OK)
        code = ledger_judge_read_key(&v->judge, ledger_link_is_local(&v->link));
    if (code == CLI_OK && saved != NULL)
        code = ledger_judge_read_saved(&v->judge, saved);
    if (code == CLI_OK)
        code = ledger_link_open(&v->link);
    if (code == CLI_OK)
        code = ledger_link_checkpoint(&v->link, &v->judge);
    if (code == CLI_OK)
        code = check(v);
    if (code == CLI_OK)
        code = save(v);
    return code == CLI_OK ? report_sound(v) : code;
}

int ledger_verify_run(struct cli *cli)
{
    struct verifying *v = calloc(1, sizeof *v);
    if (v == NULL)
        return cli_fail_memory(cli);
    v->cli = v->link.cli = v->judge.cli = cli;
    int code = verify(v);
    ledger_link_close(&v->link);
    free(v);
    return code;
}
