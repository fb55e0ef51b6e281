/* A ledger held against keys and checkpoints, and what is wrong with it told. */
#ifndef CLI_LEDGER_JUDGE_H
#define CLI_LEDGER_JUDGE_H

#include "cli/cli.h"
#include "core/base64.h"
#include "core/log_reader.h"

struct ledger_judge {
    struct cli *cli; /* the caller sets it; the rest starts as zeroes */
    struct note_key key;
    struct checkpoint checkpoint, saved;
    bool has_saved;
    uint8_t note[NOTE_MAX]; /* of the checkpoint */
    size_t note_len;
};

/* A verifier key: the text itself, or the file it is in. */
int ledger_key_read(struct cli *cli, const char *text_or_path, struct note_key *ret_key);

/* From --key; on the hub's own machine, else, from its state folder. */
int ledger_judge_read_key(struct ledger_judge *j, bool local);
/* A checkpoint from a file, that the ledger must continue. */
int ledger_judge_read_saved(struct ledger_judge *j, const char *path);
/* The checkpoint that the ledger is held against. Both must be signed with the key. */
int ledger_judge_take_checkpoint(struct ledger_judge *j, struct slice note);

/* Tells what a reading has found, unless it is sound, and gives the exit. `fetch_code` is that of a
 * fetch that failed, and has been told but for CLI_NOT_FOUND; else CLI_OK. */
int ledger_judge_tell(const struct ledger_judge *j, const struct log_report *report, enum err err,
                      int fetch_code);

#define LEDGER_HASH_TEXT_MAX (BASE64_SIZE(SHA256_SIZE) + 1)
/* As it stands in a checkpoint. */
void ledger_hash_text(const struct hash *hash, char ret_text[LEDGER_HASH_TEXT_MAX]);

#endif
