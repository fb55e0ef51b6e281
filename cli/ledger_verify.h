/* `holdfast ledger verify`: reads a whole ledger and checks it against a key and a checkpoint that
 * were kept elsewhere. */
#ifndef CLI_LEDGER_VERIFY_H
#define CLI_LEDGER_VERIFY_H

#include "cli/cli.h"

int ledger_verify_run(struct cli *cli);
/* A verifier key as text, or the file it is in. */
struct note_key;
int ledger_key_read(struct cli *cli, const char *text_or_path, struct note_key *ret_key);

#endif
