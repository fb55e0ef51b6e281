/* holdfast completion: scripts for the shell, from the table of commands. */
#include <string.h>

#include "cli/completion.h"
#include "cli/list.h"

#define NAMES_MAX 1000 /* more than anybody reads through */

const char *completion_kind(enum cli_complete complete)
{
    switch (complete) {
    case COMPLETE_FILE:
        return "file";
    case COMPLETE_FOLDER:
        return "folder";
    case COMPLETE_DEVICE:
        return "devices";
    case COMPLETE_MODEL:
        return "models";
    case COMPLETE_MANIFEST:
        return "manifests";
    case COMPLETE_TOKEN:
        return "tokens";
    case COMPLETE_NOTHING:
    case COMPLETE_WORDS:
        break;
    }
    return "";
}

void completion_place(const struct cli_noun *noun, const struct cli_command *c,
                      char ret_place[COMPLETION_PLACE_MAX])
{
    (void)snprintf(ret_place, COMPLETION_PLACE_MAX, "%s%s%s", noun->name,
                   c->verb == NULL ? "" : " ", c->verb == NULL ? "" : c->verb);
}

/* ---- names that the hub knows ---- */

static int print_name(void *ctx, const json_t *item)
{
    const char *id = json_text_of(item, "id");
    (void)ctx;
    (void)puts(*id != '\0' ? id : json_text_of(item, "name"));
    return CLI_OK;
}

/* For the scripts: without a hub, or with another answer, there is nothing to offer. */
static int print_names(struct cli *cli, const char *kind)
{
    static const char *const kinds[] = {"devices", "models", "manifests", "tokens"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i], kind) != 0)
            continue;
        char path[32], next[65];
        bool more;
        (void)snprintf(path, sizeof path, "/v1/%s", kind);
        const struct list list = {.path = path, .query = "", .array = kind};
        return list_walk(cli, &list, NULL, NAMES_MAX, print_name, NULL, NULL, &more, next);
    }
    return cli_fail(cli, CLI_USAGE, "usage", "there are no names of '%s'", kind);
}

/* ---- table ---- */

static int run(struct cli *cli)
{
    const char *shell = cli->operands[0];
    if (strcmp(shell, "names") == 0 && cli->operands_len == 2)
        return print_names(cli, cli->operands[1]);
    if (strcmp(shell, "bash") == 0)
        completion_print_bash();
    else if (strcmp(shell, "zsh") == 0)
        completion_print_zsh();
    else
        return cli_fail(cli, CLI_USAGE, "usage",
                        "there is completion for bash and zsh, not for '%s'", shell);
    return CLI_OK;
}

static const struct cli_command commands[] = {
    {.operands = {{.name = "SHELL", .complete = COMPLETE_WORDS, .words = "bash zsh"},
                  {.name = "KIND", .optional = true}},
     .summary = "a script that completes commands, options and names: bash or zsh",
     .help = "  bash: holdfast completion bash > /etc/bash_completion.d/holdfast\n"
             "  zsh:  holdfast completion zsh > /usr/local/share/zsh/site-functions/_holdfast\n"
             "`names KIND` lists what the hub knows: devices, models, manifests, tokens.\n",
     .run = run},
};

const struct cli_noun noun_completion = {
    .name = "completion",
    .summary = "completion for the shell: bash, zsh",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
