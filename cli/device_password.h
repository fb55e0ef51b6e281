/* holdfast device password: a secret for a device that can hold no certificate. */
#ifndef CLI_DEVICE_PASSWORD_H
#define CLI_DEVICE_PASSWORD_H

#include "cli/command.h"

extern const struct cli_option password_options[2];
int run_password(struct cli *cli);

#endif
