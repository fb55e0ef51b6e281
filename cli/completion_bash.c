#include <string.h>

#include "cli/completion.h"

/* Calls `each` for every command. */
static void for_commands(void (*each)(const struct cli_command *c, const char *place))
{
    for (size_t i = 0; i < cli_nouns_len; i++)
        for (size_t k = 0; k < cli_nouns[i]->commands_len; k++) {
            const struct cli_command *c = &cli_nouns[i]->commands[k];
            char place[COMPLETION_PLACE_MAX];
            completion_place(cli_nouns[i], c, place);
            each(c, place);
        }
}

/* "words a b", "file", "devices": how a value is found. */
static void print_source(enum cli_complete complete, const char *words)
{
    if (complete == COMPLETE_WORDS)
        (void)printf(" echo 'words %s' ;;\n", words);
    else
        (void)printf(" echo '%s' ;;\n", completion_kind(complete));
}

static void print_option_names(const struct cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)printf("%s--%s", i == 0 ? "" : " ", options[i].name);
}

static void print_options(const struct cli_command *c, const char *place)
{
    if (c->options_len == 0)
        return;
    (void)printf("        '%s') echo '", place);
    print_option_names(c->options, c->options_len);
    (void)fputs("' ;;\n", stdout);
}

/* `before` starts a pattern of the shell, which is quoted from somewhere in it on. */
static void print_value(const char *before, const struct cli_option *o)
{
    if (o->value == NULL)
        return;
    (void)printf("        %s --%s'", before, o->name);
    if (o->letter != '\0')
        (void)printf(" | %s -%c'", before, o->letter);
    (void)fputs(")", stdout);
    print_source(o->complete, o->words);
}

static void print_values(const struct cli_command *c, const char *place)
{
    char before[COMPLETION_PLACE_MAX + 2];
    (void)snprintf(before, sizeof before, "'%s", place);
    for (size_t i = 0; i < c->options_len; i++)
        print_value(before, &c->options[i]);
}

static void print_operands(const struct cli_command *c, const char *place)
{
    for (int i = 0; i < CLI_OPERANDS_MAX && c->operands[i].name != NULL; i++) {
        const struct cli_operand *o = &c->operands[i];
        if (o->many)
            (void)printf("        '%s '*)", place);
        else
            (void)printf("        '%s %d')", place, i);
        print_source(o->complete, o->words);
    }
}

static void print_verbs(void)
{
    for (size_t i = 0; i < cli_nouns_len; i++) {
        const struct cli_noun *noun = cli_nouns[i];
        if (noun->commands[0].verb == NULL)
            continue;
        (void)printf("        %s) echo '", noun->name);
        for (size_t k = 0; k < noun->commands_len; k++)
            (void)printf("%s%s", k == 0 ? "" : " ", noun->commands[k].verb);
        (void)fputs("' ;;\n", stdout);
    }
}

/* Walks over the words before the cursor: noun, verb, options with their values, operands. */
static const char body[] =
    "_holdfast_offer() {\n"
    "    case $1 in\n"
    "        words*) COMPREPLY=($(compgen -W \"${1#words}\" -- \"$cur\")) ;;\n"
    "        file) compopt -o filenames && COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
    "        folder) compopt -o filenames && COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
    "        ?*) COMPREPLY=($(compgen -W \"$(holdfast \"${where[@]}\" completion names \"$1\" "
    "\"$cur\" 2>/dev/null)\" -- \"$cur\")) ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_holdfast() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} noun= place= value= word i\n"
    "    local operands=0\n"
    "    local -a where=()\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ $word == = ]]; then\n"
    "            continue\n"
    "        elif [[ -n $value ]]; then\n"
    "            case $value in\n"
    "                --socket | --config | --tenant) where+=(\"$value\" \"$word\") ;;\n"
    "            esac\n"
    "            value=\n"
    "        elif [[ $word == -* ]]; then\n"
    "            ! _holdfast_value \"$place $word\" >/dev/null || value=$word\n"
    "        elif [[ -z $noun ]]; then\n"
    "            noun=$word\n"
    "            [[ -n $(_holdfast_verbs \"$noun\") ]] || place=$noun\n"
    "        elif [[ -z $place ]]; then\n"
    "            place=\"$noun $word\"\n"
    "        else\n"
    "            operands=$((operands + 1))\n"
    "        fi\n"
    "    done\n"
    "    [[ $cur != = ]] || cur=\n"
    "    if [[ -n $value ]]; then\n"
    "        _holdfast_offer \"$(_holdfast_value \"$place $value\")\"\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_holdfast_options \"$place\") $(_holdfast_globals)\" -- "
    "\"$cur\"))\n"
    "    elif [[ -z $noun ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_holdfast_nouns)\" -- \"$cur\"))\n"
    "    elif [[ -z $place ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_holdfast_verbs \"$noun\")\" -- \"$cur\"))\n"
    "    else\n"
    "        _holdfast_offer \"$(_holdfast_operand \"$place $operands\")\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _holdfast holdfast\n";

static void open_case(const char *name)
{
    (void)printf("%s() {\n    case $1 in\n", name);
}

static void close_case(const char *otherwise)
{
    (void)printf("%s    esac\n}\n\n", otherwise);
}

void completion_print_bash(void)
{
    (void)fputs("# bash completion for holdfast, made by `holdfast completion bash`\n\n"
                "_holdfast_nouns() {\n    echo '",
                stdout);
    for (size_t i = 0; i < cli_nouns_len; i++)
        (void)printf("%s%s", i == 0 ? "" : " ", cli_nouns[i]->name);
    (void)fputs("'\n}\n\n_holdfast_globals() {\n    echo '", stdout);
    print_option_names(cli_global_options, cli_global_options_len);
    (void)fputs("'\n}\n\n", stdout);
    open_case("_holdfast_verbs");
    print_verbs();
    close_case("");
    open_case("_holdfast_options");
    for_commands(print_options);
    close_case("");
    open_case("_holdfast_value"); /* fails for options that take none */
    for_commands(print_values);
    for (size_t i = 0; i < cli_global_options_len; i++)
        print_value("*'", &cli_global_options[i]);
    close_case("        *) return 1 ;;\n");
    open_case("_holdfast_operand");
    for_commands(print_operands);
    close_case("");
    (void)fputs(body, stdout);
}
