#include "cli/arguments.h"

#include <stdlib.h>
#include <string.h>

struct parsing {
    struct cli *cli;
    struct arguments *a;
    char **argv;
    int argc, at;
    bool only_operands; /* "--" has been seen */
    bool wants_help, wants_version;
};

static int wrong(struct parsing *p)
{
    p->a->then = ARGUMENTS_WRONG;
    return CLI_USAGE;
}

static const struct cli_option *find(const struct cli_option *options, size_t n, const char *name,
                                     size_t len, char letter)
{
    for (size_t i = 0; i < n; i++) {
        const struct cli_option *o = &options[i];
        if (name != NULL ? strlen(o->name) == len && strncmp(o->name, name, len) == 0
                         : o->letter != '\0' && o->letter == letter)
            return o;
    }
    return NULL;
}

static int set_global(struct parsing *p, const struct cli_option *o, const char *value)
{
    struct cli *cli = p->cli;
    const struct {
        const char *name;
        const char **text;
        bool *flag;
    } places[] = {
        {"socket", &cli->socket, NULL},
        {"config", &cli->config, NULL},
        {"state", &cli->state, NULL},
        {"tenant", &cli->tenant, NULL},
        {"json", NULL, &cli->json},
        {"quiet", NULL, &cli->quiet},
        {"yes", NULL, &cli->yes},
        {"help", NULL, &p->wants_help},
        {"version", NULL, &p->wants_version},
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (strcmp(places[i].name, o->name) != 0)
            continue;
        if (places[i].flag != NULL)
            *places[i].flag = true;
        else
            *places[i].text = value;
        return CLI_OK;
    }
    return wrong(p);
}

static int set(struct parsing *p, const struct cli_option *o, bool global, const char *value)
{
    if (value != NULL && *value == '\0' && o->value != NULL) {
        (void)cli_fail(p->cli, CLI_USAGE, "usage", "--%s needs a value: --%s %s", o->name, o->name,
                       o->value);
        return wrong(p);
    }
    if (global)
        return set_global(p, o, value);
    size_t i = (size_t)(o - p->a->command->options);
    if (p->cli->values[i] != NULL && o->value != NULL) {
        (void)cli_fail(p->cli, CLI_USAGE, "usage", "--%s is given twice", o->name);
        return wrong(p);
    }
    p->cli->values[i] = value == NULL ? "" : value;
    return CLI_OK;
}

/* The next argument, as the value of an option. */
static const char *take_value(struct parsing *p)
{
    return p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
}

static const struct cli_option *look_up(struct parsing *p, const char *name, size_t len,
                                        char letter, bool *ret_global)
{
    const struct cli_command *c = p->a->command;
    *ret_global = false;
    const struct cli_option *o =
        c == NULL ? NULL : find(c->options, c->options_len, name, len, letter);
    if (o == NULL) {
        *ret_global = true;
        o = find(cli_global_options, cli_global_options_len, name, len, letter);
    }
    return o;
}

static int unknown(struct parsing *p, const char *argument)
{
    const struct arguments *a = p->a;
    if (a->noun == NULL)
        (void)cli_fail(p->cli, CLI_USAGE, "usage",
                       "there is no option %s that stands before the noun; see `holdfast help`",
                       argument);
    else
        (void)cli_fail(p->cli, CLI_USAGE, "usage",
                       "there is no option %s here; see `holdfast %s%s%s --help`", argument,
                       a->noun->name, a->command != NULL && a->command->verb ? " " : "",
                       a->command != NULL && a->command->verb ? a->command->verb : "");
    return wrong(p);
}

static int read_long(struct parsing *p, const char *argument)
{
    const char *name = argument + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    bool global;
    const struct cli_option *o = look_up(p, name, len, '\0', &global);
    if (o == NULL)
        return unknown(p, argument);
    if (o->value == NULL) {
        if (equals == NULL)
            return set(p, o, global, NULL);
        (void)cli_fail(p->cli, CLI_USAGE, "usage", "--%s takes no value", o->name);
        return wrong(p);
    }
    const char *value = equals != NULL ? equals + 1 : take_value(p);
    return set(p, o, global, value == NULL ? "" : value);
}

/* -n20, -n 20, -fn 20 */
static int read_short(struct parsing *p, const char *argument)
{
    for (const char *c = argument + 1; *c != '\0'; c++) {
        bool global;
        const struct cli_option *o = look_up(p, NULL, 0, *c, &global);
        if (o == NULL)
            return unknown(p, argument);
        if (o->value != NULL) {
            const char *value = c[1] != '\0' ? c + 1 : take_value(p);
            return set(p, o, global, value == NULL ? "" : value);
        }
        int code = set(p, o, global, NULL);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

static int no_such_verb(struct parsing *p, const char *verb)
{
    char verbs[256];
    struct writer w = writer_over(verbs, sizeof verbs - 1);
    for (size_t i = 0; i < p->a->noun->commands_len; i++) {
        writer_text(&w, i == 0 ? "" : ", ");
        writer_text(&w, p->a->noun->commands[i].verb);
    }
    verbs[w.len] = '\0';
    (void)cli_fail(p->cli, CLI_USAGE, "usage", "there is no `holdfast %s %s`; there are: %s",
                   p->a->noun->name, verb, verbs);
    return wrong(p);
}

static bool has_verbs(const struct cli_noun *noun)
{
    return noun->commands[0].verb != NULL;
}

static int read_word(struct parsing *p, const char *word)
{
    struct arguments *a = p->a;
    if (a->noun == NULL) {
        a->noun = cli_noun_find(word);
        if (a->noun == NULL) {
            (void)cli_fail(p->cli, CLI_USAGE, "usage",
                           "there is no `holdfast %s`; `holdfast help` shows what there is", word);
            return wrong(p);
        }
        if (!has_verbs(a->noun))
            a->command = &a->noun->commands[0];
        return CLI_OK;
    }
    if (a->command == NULL) {
        a->command = cli_command_find(a->noun, word);
        return a->command != NULL ? CLI_OK : no_such_verb(p, word);
    }
    p->cli->operands[p->cli->operands_len++] = word;
    return CLI_OK;
}

static int read_all(struct parsing *p)
{
    for (p->at = 1; p->at < p->argc; p->at++) {
        const char *argument = p->argv[p->at];
        int code;
        if (!p->only_operands && strcmp(argument, "--") == 0) {
            p->only_operands = true;
            continue;
        }
        if (p->only_operands || argument[0] != '-' || argument[1] == '\0')
            code = read_word(p, argument);
        else if (argument[1] == '-')
            code = read_long(p, argument);
        else
            code = read_short(p, argument);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

static int check_operands(struct parsing *p)
{
    const struct cli_command *c = p->a->command;
    size_t least = 0, most = 0;
    const char *missing = NULL;
    for (size_t i = 0; i < CLI_OPERANDS_MAX && c->operands[i].name != NULL; i++) {
        const struct cli_operand *o = &c->operands[i];
        if (!o->optional) {
            least++;
            if (missing == NULL && p->cli->operands_len < least)
                missing = o->name;
        }
        most = o->many ? SIZE_MAX : most + 1;
    }
    const char *verb = c->verb == NULL ? "" : c->verb;
    if (missing != NULL)
        (void)cli_fail(p->cli, CLI_USAGE, "usage", "%s is missing; see `holdfast %s%s%s --help`",
                       missing, p->a->noun->name, c->verb == NULL ? "" : " ", verb);
    else if (p->cli->operands_len > most)
        (void)cli_fail(p->cli, CLI_USAGE, "usage",
                       "'%s' is one argument too many; see `holdfast %s%s%s --help`",
                       p->cli->operands[most], p->a->noun->name, c->verb == NULL ? "" : " ", verb);
    else
        return CLI_OK;
    return wrong(p);
}

static int check_options(struct parsing *p)
{
    const struct cli_command *c = p->a->command;
    for (size_t i = 0; i < c->options_len; i++) {
        const struct cli_option *o = &c->options[i];
        if (!o->required || p->cli->values[i] != NULL)
            continue;
        (void)cli_fail(p->cli, CLI_USAGE, "usage", "--%s %s is missing: %s", o->name, o->value,
                       o->help);
        return wrong(p);
    }
    return CLI_OK;
}

static int check_tenant(struct parsing *p)
{
    if (p->cli->tenant == NULL || cli_check_name(p->cli, "tenant", p->cli->tenant) == CLI_OK)
        return CLI_OK;
    return wrong(p);
}

/* So that even a wrong command line is answered in the form that was asked for. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

void arguments_read(int argc, char **argv, struct cli *cli, struct arguments *ret_arguments)
{
    *ret_arguments = (struct arguments){.then = ARGUMENTS_RUN};
    struct parsing p = {.cli = cli, .a = ret_arguments, .argc = argc, .argv = argv};
    cli->json = asks_for_json(argc, argv);
    cli->operands = calloc((size_t)argc + 1, sizeof *cli->operands);
    if (cli->operands == NULL) {
        (void)cli_fail_memory(cli);
        ret_arguments->then = ARGUMENTS_WRONG;
        return;
    }
    if (read_all(&p) != CLI_OK)
        return;
    if (p.wants_help || p.wants_version) {
        ret_arguments->then = p.wants_help ? ARGUMENTS_HELP : ARGUMENTS_VERSION;
        return;
    }
    if (ret_arguments->command == NULL) {
        if (ret_arguments->noun == NULL)
            (void)cli_fail(cli, CLI_USAGE, "usage", "what is to be done? See `holdfast help`");
        else
            (void)cli_fail(cli, CLI_USAGE, "usage", "a verb is missing; see `holdfast help %s`",
                           ret_arguments->noun->name);
        ret_arguments->then = ARGUMENTS_WRONG;
        return;
    }
    cli->command = ret_arguments->command;
    if (check_operands(&p) == CLI_OK && check_options(&p) == CLI_OK)
        (void)check_tenant(&p);
}
