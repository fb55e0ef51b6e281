/* holdfast: the command that governs a hub. */
#include <signal.h>
#include <stdlib.h>

#include "cli/arguments.h"
#include "cli/help.h"
#include "cli/hub_link.h"
#include "cli/text.h"

static int run(struct cli *cli, const struct arguments *a)
{
    switch (a->then) {
    case ARGUMENTS_RUN:
        return cli->command->run(cli);
    case ARGUMENTS_HELP:
        help_print(a->noun, a->command);
        return CLI_OK;
    case ARGUMENTS_VERSION:
        help_print_version(cli->json);
        return CLI_OK;
    case ARGUMENTS_WRONG:
        break;
    }
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    struct cli cli = {.socket = NULL};
    struct arguments arguments;
    text_init();
    arguments_read(argc, argv, &cli, &arguments);
    int code = run(&cli, &arguments);
    /* output that did not arrive is not done: a full disk, a closed pipe */
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && code == CLI_OK)
        code = cli_fail(&cli, CLI_FILE, "file", "standard output: %m");
    hub_link_close(&cli);
    free(cli.operands);
    return code;
}
