/* `holdfast device rotate`, which begins what `holdfast rotation` shows. */
#ifndef CLI_ROTATION_H
#define CLI_ROTATION_H

#include "cli/cli.h"

/* Needs the options model, state, manifest, owner, all, reason, over, keys-touched and
 * wait. */
int rotation_begin(struct cli *cli);

#endif
