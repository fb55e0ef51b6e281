/* A ledger copied into a folder: what other verbs of `holdfast ledger` need of it. */
#ifndef CLI_LEDGER_EXPORT_H
#define CLI_LEDGER_EXPORT_H

#include "cli/cli.h"

/* Copies the entries from number `first` up to, and without, `before`, over the Unix socket; from
 * the oldest on where the folder has earlier ones. Only where all was verified and is durable,
 * CLI_OK. */
int ledger_export_period(struct cli *cli, const char *folder, uint64_t first, uint64_t before,
                         uint64_t *ret_first);

#endif
