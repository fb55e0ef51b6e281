/* holdfast device assign: which group of the policy devices are in. */
#ifndef CLI_DEVICE_ASSIGN_H
#define CLI_DEVICE_ASSIGN_H

#include "cli/cli.h"

#define DEVICE_ASSIGN_OPTIONS 2
extern const struct cli_option device_assign_options[DEVICE_ASSIGN_OPTIONS];
int device_assign(struct cli *cli);

#endif
