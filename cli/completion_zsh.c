#include <string.h>

#include "cli/completion.h"

/* Inside single quotes, in a place where brackets and colons have a meaning. */
static void print_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            (void)fputs("'\\'", stdout);
        else if (strchr("[]:\\", *text) != NULL)
            (void)fputc('\\', stdout);
        (void)fputc(*text, stdout);
    }
}

static void print_action(enum cli_complete complete, const char *words)
{
    if (complete == COMPLETE_WORDS)
        (void)printf("(%s)", words);
    else if (complete == COMPLETE_FILE)
        (void)fputs("_files", stdout);
    else if (complete == COMPLETE_FOLDER)
        (void)fputs("_files -/", stdout);
    else if (complete != COMPLETE_NOTHING)
        (void)printf(" _holdfast_names %s", completion_kind(complete));
    else
        (void)fputc(' ', stdout);
}

/* '(-o --output)'{-o+,--output=}'[help]:FILE:_files' */
static void print_option(const char *indent, const struct cli_option *o)
{
    const char *long_end = o->value == NULL ? "" : "=", *short_end = o->value == NULL ? "" : "+";
    (void)fputs(indent, stdout);
    if (o->letter != '\0')
        (void)printf("'(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter, short_end,
                     o->name, long_end);
    else
        (void)printf("'--%s%s[", o->name, long_end);
    print_text(o->help);
    (void)fputc(']', stdout);
    if (o->value != NULL) {
        (void)printf(":%s:", o->value);
        print_action(o->complete, o->words);
    }
    (void)fputs("'", stdout);
}

/* A command's own option stands before a global one of that name: `device list --state`. */
static void print_globals_of(const struct cli_command *c)
{
    for (size_t i = 0; i < c->options_len; i++)
        for (size_t k = 0; k < cli_global_options_len; k++)
            if (strcmp(c->options[i].name, cli_global_options[k].name) == 0) {
                (void)printf(" ${_holdfast_globals:#--%s=*}", c->options[i].name);
                return;
            }
    (void)fputs(" $_holdfast_globals", stdout);
}

static void print_command(const struct cli_command *c, const char *indent)
{
    char deeper[32];
    (void)snprintf(deeper, sizeof deeper, " \\\n%s    ", indent);
    (void)printf("%s_arguments", indent);
    print_globals_of(c);
    for (size_t i = 0; i < c->options_len; i++)
        print_option(deeper, &c->options[i]);
    for (int i = 0; i < CLI_OPERANDS_MAX && c->operands[i].name != NULL; i++) {
        const struct cli_operand *o = &c->operands[i];
        (void)printf("%s'", deeper);
        if (o->many)
            (void)fputc('*', stdout);
        else
            (void)printf("%d", i + 1);
        (void)printf(":%s%s:", o->optional ? ":" : "", o->name);
        print_action(o->complete, o->words);
        (void)fputc('\'', stdout);
    }
    (void)fputc('\n', stdout);
}

static void print_described(const char *name, const char *summary)
{
    (void)printf("        '%s:", name);
    print_text(summary);
    (void)fputs("'\n", stdout);
}

static void print_noun(const struct cli_noun *noun)
{
    (void)printf("_holdfast_%s() {\n", noun->name);
    if (noun->commands[0].verb == NULL) {
        print_command(&noun->commands[0], "    ");
        (void)fputs("}\n\n", stdout);
        return;
    }
    (void)fputs("    local curcontext=$curcontext state line\n    local -a verbs=(\n", stdout);
    for (size_t i = 0; i < noun->commands_len; i++)
        print_described(noun->commands[i].verb, noun->commands[i].summary);
    (void)fputs(
        "    )\n"
        "    _arguments -C -A '-*' $_holdfast_globals '1: :->verb' '*:: :->rest' && return\n"
        "    case $state in\n"
        "        verb) _describe verb verbs ;;\n"
        "        rest)\n"
        "            case $words[1] in\n",
        stdout);
    for (size_t i = 0; i < noun->commands_len; i++) {
        (void)printf("                %s)\n", noun->commands[i].verb);
        print_command(&noun->commands[i], "                    ");
        (void)fputs("                    ;;\n", stdout);
    }
    (void)fputs("            esac\n            ;;\n    esac\n}\n\n", stdout);
}

void completion_print_zsh(void)
{
    (void)fputs(
        "#compdef holdfast\n"
        "# zsh completion for holdfast, made by `holdfast completion zsh`\n\n"
        "_holdfast_names() {\n"
        "    local -a names=(${(f)\"$(holdfast completion names $1 \"$PREFIX\" 2>/dev/null)\"})\n"
        "    compadd -a names\n"
        "}\n\n"
        "typeset -ga _holdfast_globals=(\n",
        stdout);
    for (size_t i = 0; i < cli_global_options_len; i++) {
        print_option("    ", &cli_global_options[i]);
        (void)fputc('\n', stdout);
    }
    (void)fputs(")\n\n", stdout);
    for (size_t i = 0; i < cli_nouns_len; i++)
        print_noun(cli_nouns[i]);
    (void)fputs("_holdfast() {\n"
                "    local curcontext=$curcontext state line\n"
                "    local -a nouns=(\n",
                stdout);
    for (size_t i = 0; i < cli_nouns_len; i++)
        print_described(cli_nouns[i]->name, cli_nouns[i]->summary);
    (void)fputs(
        "    )\n"
        "    _arguments -C -A '-*' $_holdfast_globals '1: :->noun' '*:: :->rest' && return\n"
        "    case $state in\n"
        "        noun) _describe noun nouns ;;\n"
        "        rest) (( $+functions[_holdfast_$words[1]] )) && _holdfast_$words[1] ;;\n"
        "    esac\n"
        "}\n\n"
        "_holdfast \"$@\"\n",
        stdout);
}
