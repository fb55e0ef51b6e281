#include "cli/help.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"

#define NAME_WIDTH 24 /* columns of what is explained */

static void explain(const char *name, const char *help)
{
    size_t n = strlen(name);
    (void)printf("  %s", name);
    if (n >= NAME_WIDTH)
        (void)printf("\n%*s", NAME_WIDTH + 4, "");
    else
        (void)printf("%*s", (int)(NAME_WIDTH - n + 2), "");
    (void)printf("%s\n", help);
}

static void heading(const char *text)
{
    (void)fputc('\n', stdout);
    (void)text_show(stdout, text, SIZE_MAX, COLOUR_BOLD);
    (void)fputc('\n', stdout);
}

static void print_options(const struct cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct cli_option *o = &options[i];
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s--%s%s%s",
                       o->letter == '\0' ? "    " : (char[]){'-', o->letter, '\0'},
                       o->letter == '\0' ? "" : ", ", o->name, o->value == NULL ? "" : " ",
                       o->value == NULL ? "" : o->value);
        explain(name, o->help);
    }
}

static void print_usage(const struct cli_noun *noun, const struct cli_command *c)
{
    (void)printf("holdfast %s%s%s", noun->name, c->verb == NULL ? "" : " ",
                 c->verb == NULL ? "" : c->verb);
    for (size_t i = 0; i < CLI_OPERANDS_MAX && c->operands[i].name != NULL; i++) {
        const struct cli_operand *o = &c->operands[i];
        (void)printf(" %s%s%s%s", o->optional ? "[" : "", o->name, o->many ? "..." : "",
                     o->optional ? "]" : "");
    }
    bool others = false;
    for (size_t i = 0; i < c->options_len; i++) {
        if (c->options[i].required)
            (void)printf(" --%s %s", c->options[i].name, c->options[i].value);
        else
            others = true;
    }
    (void)fputs(others ? " [OPTION...]\n" : "\n", stdout);
}

static void print_globals(void)
{
    heading("Options of every command");
    print_options(cli_global_options, cli_global_options_len);
}

static void print_command(const struct cli_noun *noun, const struct cli_command *c)
{
    print_usage(noun, c);
    (void)printf("\n%s%s\n", c->summary, c->help == NULL ? "." : ".\n");
    if (c->help != NULL)
        (void)fputs(c->help, stdout);
    if (c->options_len > 0) {
        heading("Options");
        print_options(c->options, c->options_len);
    }
    print_globals();
}

static void print_noun(const struct cli_noun *noun)
{
    (void)printf("holdfast %s VERB\n\n%s.\n", noun->name, noun->summary);
    heading("Verbs");
    for (size_t i = 0; i < noun->commands_len; i++)
        explain(noun->commands[i].verb, noun->commands[i].summary);
    print_globals();
}

void help_print(const struct cli_noun *noun, const struct cli_command *command)
{
    if (command != NULL) {
        print_command(noun, command);
        return;
    }
    if (noun != NULL) {
        print_noun(noun);
        return;
    }
    (void)fputs("holdfast NOUN VERB [OPTION...]\n\n"
                "Governs a fleet of devices, over the Unix socket of the hub on this machine.\n",
                stdout);
    heading("Nouns");
    for (size_t i = 0; i < cli_nouns_len; i++)
        explain(cli_nouns[i]->name, cli_nouns[i]->summary);
    print_globals();
    (void)fputs("\n`holdfast help NOUN`, `holdfast NOUN VERB --help` and holdfast(1) say more.\n",
                stdout);
}

void help_print_version(bool json)
{
    if (json)
        (void)printf("{\n  \"version\": \"%s\"\n}\n", HOLDFAST_VERSION);
    else
        (void)printf("holdfast %s\n", HOLDFAST_VERSION);
}

/* ---- as commands ---- */

static int run_help(struct cli *cli)
{
    const struct cli_noun *noun = NULL;
    const struct cli_command *command = NULL;
    if (cli->operands_len > 0) {
        noun = cli_noun_find(cli->operands[0]);
        if (noun == NULL)
            return cli_fail(cli, CLI_USAGE, "usage", "there is no `holdfast %s`", cli->operands[0]);
        if (noun->commands[0].verb == NULL)
            command = &noun->commands[0];
    }
    if (cli->operands_len > 1) {
        command = cli_command_find(noun, cli->operands[1]);
        if (command == NULL)
            return cli_fail(cli, CLI_USAGE, "usage", "there is no `holdfast %s %s`",
                            cli->operands[0], cli->operands[1]);
    }
    help_print(noun, command);
    return CLI_OK;
}

static int run_version(struct cli *cli)
{
    help_print_version(cli->json);
    return CLI_OK;
}

static const struct cli_command help_commands[] = {
    {.operands = {{.name = "NOUN", .optional = true}, {.name = "VERB", .optional = true}},
     .summary = "what there is, or how one thing is used",
     .run = run_help},
};

const struct cli_noun noun_help = {
    .name = "help",
    .summary = "what there is, or how one thing is used",
    .commands = help_commands,
    .commands_len = ARRAY_LEN(help_commands),
};

static const struct cli_command version_commands[] = {
    {.summary = "the version of this program", .run = run_version},
};

const struct cli_noun noun_version = {
    .name = "version",
    .summary = "the version of this program",
    .commands = version_commands,
    .commands_len = ARRAY_LEN(version_commands),
};
