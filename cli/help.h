/* Help, from the table of commands. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/command.h"

/* Of everything, of a noun, or of one command: noun and command may be NULL. */
void help_print(const struct cli_noun *noun, const struct cli_command *command);
void help_print_version(bool json);

#endif
