/* The longer verbs of `holdfast ledger`, each in a file of its own. */
#ifndef CLI_LEDGER_H
#define CLI_LEDGER_H

#include "cli/cli.h"

/* Reads a whole ledger and checks it against a key and a checkpoint that were kept elsewhere. */
int ledger_verify_run(struct cli *cli);
/* Writes it, or a part of it, into a folder that holdfast-verify judges. */
int ledger_export_run(struct cli *cli);
/* Gives one entry with the proof that it is in the ledger. */
int ledger_prove_run(struct cli *cli);

#endif
