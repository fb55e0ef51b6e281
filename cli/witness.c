/* holdfast witness: on a machine that is not the hub's, and not its owner's. It cosigns what
 * continues all that it has cosigned before, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "cli/ledger_link.h"
#include "cli/save.h"
#include "core/consistency.h"
#include "pki/witness.h"

#define TILES_KEPT (2 * (TILE_LEVEL_MAX + 1)) /* of a proof */

/* ---- create ---- */

static int run_create(struct cli *cli)
{
    const char *name = cli->operands[0], *folder = cli->operands[1];
    uint8_t text[NOTE_KEY_TEXT_MAX + 1];
    struct writer w = writer_over(text, sizeof text);
    struct witness_key key;
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", folder);
    enum err err = witness_make(folder, name, &key);
    if (err == ERR_EXISTS)
        return cli_fail(cli, CLI_REFUSED, "exists",
                        "%s holds a witness's key already; give another folder", folder);
    if (err == ERR_SYNTAX || err == ERR_LIMIT)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "'%.100s' can't name a witness: 1 to %d characters, no space and no '+'",
                        name, NOTE_NAME_MAX);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %s", folder, err_text(err));
    witness_key_write(&w, &key);
    writer_text(&w, "\n");
    return save_note(cli, NULL, writer_bytes(&w), "witness's verifier key", "key");
}

/* ---- cosign ---- */

struct witnessing {
    struct cli *cli;
    struct ledger_link link;
    struct ledger_judge judge;
    char saved[PATH_MAX]; /* path of what it cosigned last */
    struct {
        int level;
        uint64_t index;
        struct hash hashes[TILE_WIDTH];
    } tiles[TILES_KEPT];
    size_t tiles_len;
};

/* A tile_node_fn. The hub may serve anything: the proof is held against both signed roots. */
static enum err take_node(void *ctx, int level, uint64_t number, struct hash *ret_node)
{
    struct witnessing *x = ctx;
    uint64_t index = number / TILE_WIDTH;
    size_t at = 0;
    while (at < x->tiles_len && (x->tiles[at].level != level || x->tiles[at].index != index))
        at++;
    if (at == x->tiles_len) {
        const struct tile tile = {.level = level,
                                  .index = index,
                                  .width = tile_width(level, index, x->judge.checkpoint.size)};
        uint8_t path[TILE_PATH_MAX];
        size_t len = 0;
        struct writer w = writer_over(path, sizeof path);
        tile_write_path(&w, &tile);
        if (w.err != ERR_NONE || at == TILES_KEPT)
            return ERR_INTERNAL;
        enum err err = ledger_link_fetch(&x->link, writer_bytes(&w), (uint8_t *)x->tiles[at].hashes,
                                         sizeof x->tiles[at].hashes, &len);
        if (err != ERR_NONE)
            return err;
        if (len != tile.width * sizeof(struct hash))
            return ERR_SYNTAX;
        x->tiles[at].level = level;
        x->tiles[at].index = index;
        x->tiles_len++;
    }
    *ret_node = x->tiles[at].hashes[number % TILE_WIDTH];
    return ERR_NONE;
}

static int contradicted(struct witnessing *x)
{
    return cli_fail(x->cli, CLI_CONTRADICTED, "contradicted",
                    "the checkpoint of %llu entries does not continue the one of %llu that this "
                    "witness has cosigned: nothing is cosigned. Keep both, and find out why; an "
                    "honest cause is a hub restored from a backup",
                    (unsigned long long)x->judge.checkpoint.size,
                    (unsigned long long)x->judge.saved.size);
}

static int check_continues(struct witnessing *x)
{
    const struct checkpoint *old = &x->judge.saved, *new = &x->judge.checkpoint;
    struct hash proof[MERKLE_PROOF_MAX];
    size_t len = 0;
    if (!x->judge.has_saved)
        return CLI_OK;
    if (new->size < old->size)
        return contradicted(x);
    enum err err =
        consistency_prove(crypto_sha256, old->size, new->size, take_node, x, proof, &len);
    if (err == ERR_IO) /* told already */
        return x->link.code;
    if (err != ERR_NONE)
        return cli_fail(x->cli, CLI_UNVERIFIED, "tiles",
                        "the hub does not serve the tiles that prove its checkpoint: %s",
                        err_text(err));
    err = merkle_verify_consistency(crypto_sha256, old->size, &old->root, new->size, &new->root,
                                    proof, len);
    return err == ERR_NONE ? CLI_OK : contradicted(x);
}

/* The checkpoint that somebody brings, with the cosignatures that it has; else the hub's newest. */
static int read_checkpoint(struct witnessing *x)
{
    const char *path = cli_value(x->cli, "checkpoint");
    if (path == NULL)
        return ledger_link_checkpoint(&x->link, &x->judge);
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, NOTE_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return cli_fail(x->cli, CLI_FILE, "file", "%s: %m", path);
    int code = ledger_judge_take_checkpoint(&x->judge, slice_of(bytes, len));
    free(bytes);
    return code;
}

/* It is on disk before anybody gets the signature: a witness that forgot could sign a fork. */
static int give_cosigned(struct witnessing *x)
{
    static uint8_t bytes[NOTE_MAX];
    struct cli *cli = x->cli;
    struct slice text, note = slice_of(x->judge.note, x->judge.note_len);
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_put(&w, note);
    enum err err = note_text_unverified(note, &text);
    if (err == ERR_NONE)
        err = witness_cosign(cli->operands[0], (uint64_t)clock_seconds(), text, &w);
    if (err == ERR_NOT_FOUND)
        return cli_fail(cli, CLI_FILE, "file",
                        "%s holds no witness's key: make one with `holdfast witness create`",
                        cli->operands[0]);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_UNVERIFIED, "key", "can't cosign with the key in %s: %s",
                        cli->operands[0], err_text(err));
    err = file_replace(x->saved, writer_bytes(&w), 0644);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", x->saved);
    return save_note(cli, cli_value(cli, "output"), writer_bytes(&w), "cosigned checkpoint",
                     "checkpoint");
}

static int cosign(struct witnessing *x)
{
    int code = ledger_link_check(&x->link);
    if (code == CLI_OK)
        code = ledger_judge_read_key(&x->judge, ledger_link_is_local(&x->link));
    if (code == CLI_OK && access(x->saved, F_OK) == 0)
        code = ledger_judge_read_saved(&x->judge, x->saved);
    if (code == CLI_OK)
        code = ledger_link_open(&x->link);
    if (code == CLI_OK)
        code = read_checkpoint(x);
    if (code == CLI_OK)
        code = check_continues(x);
    return code == CLI_OK ? give_cosigned(x) : code;
}

static int run_cosign(struct cli *cli)
{
    const char *folder = cli->operands[0];
    /* One at a time: two would each continue the same checkpoint, by different ways. */
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        int code = cli_fail(cli, CLI_FILE, "file", "%s: %m", folder);
        if (lock >= 0)
            (void)close(lock);
        return code;
    }
    struct witnessing *x = calloc(1, sizeof *x);
    int code = CLI_OK;
    if (x == NULL) {
        code = cli_fail_memory(cli);
    } else {
        x->cli = x->link.cli = x->judge.cli = cli;
        int n = snprintf(x->saved, sizeof x->saved, "%s/checkpoint", folder);
        code = n > 0 && (size_t)n < sizeof x->saved
                   ? cosign(x)
                   : cli_fail(cli, CLI_USAGE, "usage", "the folder's path is too long");
        ledger_link_close(&x->link);
        free(x);
    }
    (void)close(lock);
    return code;
}

/* ---- table ---- */

static const struct cli_option cosign_options[] = {
    LEDGER_LINK_OPTIONS,
    {.name = "checkpoint",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "cosign this one, with the cosignatures it has; else the hub's newest"},
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write the cosigned checkpoint there; else to standard output"},
};

static const struct cli_command commands[] = {
    {.verb = "create",
     .operands = {{.name = "NAME"}, {.name = "FOLDER", .complete = COMPLETE_FOLDER}},
     .summary = "make a witness's key, and show its verifier key",
     .run = run_create},
    {.verb = "cosign",
     .operands = {{.name = "FOLDER", .complete = COMPLETE_FOLDER}},
     CLI_OPTIONS(cosign_options),
     .summary = "cosign a checkpoint that continues all that was cosigned before",
     .help = "FOLDER holds the witness's key and the checkpoint it cosigned last. Exits 9, and\n"
             "cosigns nothing, where the ledger does not continue that one.\n",
     .run = run_cosign},
};

const struct cli_noun noun_witness = {
    .name = "witness",
    .summary = "an independent witness of a hub's ledger, on another machine",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
