/* holdfast store: the hub's database, and moving to another. */
#include <string.h>

#include "cli/hub_link.h"
#include "cli/hub_program.h"

/* libpq takes a password in front of the host, or among what follows the question mark. */
static bool has_password(const char *store)
{
    const char *authority = strstr(store, "://"), *query = strchr(store, '?');
    if (authority == NULL)
        return false;
    authority += 3;
    size_t len = strcspn(authority, "/?"), user = strcspn(authority, ":");
    bool before_host = user < len && memchr(authority + user, '@', len - user) != NULL;
    return before_host || (query != NULL && (strstr(query, "?password=") != NULL ||
                                             strstr(query, "&password=") != NULL));
}

static int run_move(struct cli *cli)
{
    for (size_t i = 0; i < cli->operands_len; i++)
        if (has_password(cli->operands[i]))
            return cli_fail(cli, CLI_USAGE, "usage",
                            "everybody on this machine can read what stands on a command line: "
                            "keep the database's password in a file, and say passfile=FILE");

    const char *words[] = {"move",   "--config",       hub_program_config(cli),
                           "--from", cli->operands[0], cli->operands[1],
                           NULL};
    json_t *result CLEANUP(json_cleanup) = NULL;
    int code = hub_program_run(cli, words, -1, &result);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "moved, read back and compared; the ledger holds");
    cli_say(cli, "next: set `store = %s` in %s, and start the hub", cli->operands[1],
            hub_program_config(cli));
    return hub_program_told(cli, result);
}

static const struct cli_command commands[] = {
    {.verb = "move",
     .operands = {{.name = "FROM"}, {.name = "TO"}},
     .summary = "move the rows of a store into another database, which must be empty",
     .help =
         "FROM and TO are written as in hub.conf: sqlite:/path, postgresql://user@host/database.\n"
         "The hub must not run. What was cut short goes on when it is run again. FROM keeps its\n"
         "rows, and no hub starts on it any more.\n",
     .run = run_move},
};

const struct cli_noun noun_store = {
    .name = "store",
    .summary = "the hub's database",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
