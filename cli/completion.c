/* holdfast completion: scripts for the shell, from the table of commands. */
#include <string.h>

#include "cli/completion.h"
#include "cli/list.h"

#define NAMES_MAX 250 /* more than anybody reads through; one page */

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
    case COMPLETE_ROTATION:
        return "rotations";
    case COMPLETE_TOKEN:
        return "tokens";
    case COMPLETE_BROKER:
        return "brokers";
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

struct naming {
    struct slice start; /* of the names that are wanted */
    bool past;          /* names come in order, and these are behind */
};

static int print_name(void *ctx, const json_t *item)
{
    struct naming *n = ctx;
    const char *id = json_text_of(item, "id"),
               *name = *id != '\0' ? id : json_text_of(item, "name");
    n->past = n->past || !slice_starts_with(slice_of_text(name), n->start);
    if (n->past)
        return CLI_OK;
    text_put(stdout, name);
    (void)fputc('\n', stdout);
    return CLI_OK;
}

/* `after` leaves out a name that is the whole of what was typed. */
static void print_whole(struct cli *cli, const char *path, const char *typed)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    (void)snprintf(target, sizeof target, "%s/%s", path, typed);
    if (hub_get_quietly(cli, target, &answer))
        (void)printf("%s\n", typed);
}

/* Names of `kind` that start with what was typed. */
static int print_names(struct cli *cli, const char *kind, const char *typed)
{
    static const char *const kinds[] = {"devices",   "models", "manifests",
                                        "rotations", "tokens", "brokers"};
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && strcmp(kinds[i], kind) != 0)
        i++;
    if (i == ARRAY_LEN(kinds))
        return cli_fail(cli, CLI_USAGE, "usage", "there are no names of '%s'", kind);
    char path[32], next[65];
    bool more, begun = *typed != '\0';
    if (begun && cli_check_name(cli, "thing", typed) != CLI_OK)
        return CLI_USAGE;
    (void)snprintf(path, sizeof path, "/v1/%s", kind);
    if (begun)
        print_whole(cli, path, typed);
    struct naming n = {.start = slice_of_text(typed)};
    const struct list list = {.path = path, .query = "", .array = kind};
    return list_walk(cli, &list, begun ? typed : NULL, NAMES_MAX, print_name, NULL, &n, &more,
                     next);
}

/* ---- table ---- */

static int run(struct cli *cli)
{
    const char *shell = cli->operands[0];
    if (strcmp(shell, "names") == 0 && cli->operands_len >= 2)
        return print_names(cli, cli->operands[1], cli->operands_len > 2 ? cli->operands[2] : "");
    if (cli->operands_len > 1)
        return cli_fail(cli, CLI_USAGE, "usage", "'%s' is one argument too many", cli->operands[1]);
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
                  {.name = "KIND", .optional = true},
                  {.name = "START", .optional = true}},
     .summary = "a script that completes commands, options and names: bash or zsh",
     .help =
         "  bash: holdfast completion bash > /etc/bash_completion.d/holdfast\n"
         "  zsh:  holdfast completion zsh > /usr/local/share/zsh/site-functions/_holdfast\n"
         "`names KIND` lists what the hub knows: devices, models, manifests, rotations, tokens;\n"
         "only what starts with START, where that is given.\n",
     .run = run},
};

const struct cli_noun noun_completion = {
    .name = "completion",
    .summary = "completion for the shell: bash, zsh",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
