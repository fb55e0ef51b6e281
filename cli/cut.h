/* What cuts devices off, and tells when each leg of the cut has seen them gone. */
#ifndef CLI_CUT_H
#define CLI_CUT_H

#include "cli/cli.h"
#include "cli/hub_link.h"

/* `holdfast device quarantine`, `release`, `revoke`, `retire`: `verb` is one of these. Needs the
 * options model, manifest, owner, group, state, where, reason and wait; for a quarantine
 * keys-touched. */
int cut_run(struct cli *cli, const char *verb);
/* `holdfast device cuts`. Needs LIST_OPTIONS, open and waiting. */
int cut_list(struct cli *cli);
/* A cut with its legs, as part of what is shown of a device. */
void cut_show(const json_t *cut);
/* A cut of a device that waits for a person; NULL: none. */
void cut_show_waiting(const json_t *waiting, const char *device, int64_t now);

#endif
