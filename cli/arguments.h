/* From argv to a command with its options and operands. */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include "cli/cli.h"

/* What is to be done with what was read. */
enum arguments_then {
    ARGUMENTS_RUN,
    ARGUMENTS_HELP,    /* help was asked for: on `noun` and `command`, which may be NULL */
    ARGUMENTS_VERSION, /* the version was asked for */
    ARGUMENTS_WRONG,   /* told already */
};

struct arguments {
    enum arguments_then then;
    const struct cli_noun *noun;
    const struct cli_command *command;
};

/* Fills in *cli. Its operands are malloc'd and hold pointers into argv: free(cli->operands).
 * Options may stand anywhere; "--" ends them. */
void arguments_read(int argc, char **argv, struct cli *cli, struct arguments *ret_arguments);

#endif
