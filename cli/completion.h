/* Completion scripts for shells. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "cli/cli.h"

#define COMPLETION_PLACE_MAX 64

/* "file", "folder", or what `holdfast completion names` takes; "" where nothing is offered. */
const char *completion_kind(enum cli_complete complete);
/* "device revoke", "doctor" */
void completion_place(const struct cli_noun *noun, const struct cli_command *c,
                      char ret_place[COMPLETION_PLACE_MAX]);

void completion_print_bash(void);
void completion_print_zsh(void);

#endif
