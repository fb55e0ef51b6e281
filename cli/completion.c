/* holdfast completion: scripts for the shell, from the table of commands. */
#include <string.h>

#include "cli/hub_link.h"
#include "cli/list.h"

#define NAMES_MAX 1000 /* more than anybody reads through */

/* ---- what both shells need ---- */

static const char *kind_of(enum cli_complete complete)
{
    static const char *const kinds[] = {
        [COMPLETE_FILE] = "file",   [COMPLETE_FOLDER] = "folder",     [COMPLETE_DEVICE] = "devices",
        [COMPLETE_MODEL] = "models", [COMPLETE_MANIFEST] = "manifests", [COMPLETE_TOKEN] = "tokens",
    };
    return complete < ARRAY_LEN(kinds) && kinds[complete] != NULL ? kinds[complete] : "";
}

/* "words a b", "file", "devices": how a value is found. */
static void print_source(enum cli_complete complete, const char *words)
{
    if (complete == COMPLETE_WORDS)
        (void)printf("words %s", words);
    else
        (void)fputs(kind_of(complete), stdout);
}

/* ---- bash ---- */

static void print_option_names(const struct cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)printf(" --%s", options[i].name);
}

static void print_bash_values(const char *place, const struct cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (options[i].value == NULL)
            continue;
        (void)printf("        '%s --%s'", place, options[i].name);
        if (options[i].letter != '\0')
            (void)printf("|'%s -%c'", place, options[i].letter);
        (void)fputs(") echo '", stdout);
        print_source(options[i].complete, options[i].words);
        (void)fputs("' ;;\n", stdout);
    }
}

static void print_place(const struct cli_noun *noun, const struct cli_command *c, char *text,
                        size_t size)
{
    (void)snprintf(text, size, "%s%s%s", noun->name, c->verb == NULL ? "" : " ",
                   c->verb == NULL ? "" : c->verb);
}

static void print_bash_tables(void)
{
    char place[64];
    (void)fputs("_holdfast_verbs() {\n    case $1 in\n", stdout);
    for (size_t i = 0; i < cli_nouns_len; i++) {
        if (cli_nouns[i]->commands[0].verb == NULL)
            continue;
        (void)printf("        %s) echo '", cli_nouns[i]->name);
        for (size_t k = 0; k < cli_nouns[i]->commands_len; k++)
            (void)printf("%s%s", k == 0 ? "" : " ", cli_nouns[i]->commands[k].verb);
        (void)fputs("' ;;\n", stdout);
    }
    (void)fputs("    esac\n}\n\n_holdfast_options() {\n    case $1 in\n", stdout);
    for (size_t i = 0; i < cli_nouns_len; i++)
        for (size_t k = 0; k < cli_nouns[i]->commands_len; k++) {
            const struct cli_command *c = &cli_nouns[i]->commands[k];
            if (c->options_len == 0)
                continue;
            print_place(cli_nouns[i], c, place, sizeof place);
            (void)printf("        '%s') echo '", place);
            print_option_names(c->options, c->options_len);
            (void)fputs("' ;;\n", stdout);
        }
    (void)fputs("    esac\n}\n\n_holdfast_value() {\n    case $1 in\n", stdout);
    for (size_t i = 0; i < cli_nouns_len; i++)
        for (size_t k = 0; k < cli_nouns[i]->commands_len; k++) {
            const struct cli_command *c = &cli_nouns[i]->commands[k];
            print_place(cli_nouns[i], c, place, sizeof place);
            print_bash_values(place, c->options, c->options_len);
        }
    print_bash_values("*", cli_global_options, cli_global_options_len);
    (void)fputs("    esac\n}\n\n_holdfast_operand() {\n    case $1 in\n", stdout);
    for (size_t i = 0; i < cli_nouns_len; i++)
        for (size_t k = 0; k < cli_nouns[i]->commands_len; k++) {
            const struct cli_command *c = &cli_nouns[i]->commands[k];
            print_place(cli_nouns[i], c, place, sizeof place);
            for (int o = 0; o < CLI_OPERANDS_MAX && c->operands[o].name != NULL; o++) {
                (void)printf("        '%s %d'%s) echo '", place, o,
                             c->operands[o].many ? "*" : "");
                print_source(c->operands[o].complete, c->operands[o].words);
                (void)fputs("' ;;\n", stdout);
            }
        }
    (void)fputs("    esac\n}\n", stdout);
}

static const char bash_head[] = "# bash completion for holdfast, made by `holdfast completion bash`\n";

/* Walks over the words before the cursor: noun, verb, options with their values, operands. */
static const char bash_body[] =
    "\n"
    "_holdfast_words() {\n"
    "    case $1 in\n"
    "        words*) COMPREPLY=($(compgen -W \"${1#words}\" -- \"$cur\")) ;;\n"
    "        file) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
    "        folder) compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
    "        '') ;;\n"
    "        *) COMPREPLY=($(compgen -W \"$(holdfast \"${where[@]}\" completion names \"$1\" "
    "2>/dev/null)\" -- \"$cur\")) ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_holdfast() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} noun= place= operands=0 value= i word\n"
    "    local -a where=()\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ $word == = ]]; then\n"
    "            continue\n"
    "        elif [[ -n $value ]]; then\n"
    "            value=\n"
    "        elif [[ $word == -* ]]; then\n"
    "            case $word in\n"
    "                --socket | --config | --state) where+=(\"$word\" \"${COMP_WORDS[i + 1]}\") ;;\n"
    "            esac\n"
    "            if _holdfast_takes \"$place $word\"; then value=$word; fi\n"
    "        elif [[ -z $noun ]]; then\n"
    "            noun=$word\n"
    "            [[ -n $(_holdfast_verbs \"$noun\") ]] || place=$noun\n"
    "        elif [[ -z $place ]]; then\n"
    "            place=\"$noun $word\"\n"
    "        else\n"
    "            ((operands++))\n"
    "        fi\n"
    "    done\n"
    "    [[ $cur == = ]] && cur=\n"
    "    if [[ -n $value ]]; then\n"
    "        _holdfast_words \"$(_holdfast_value \"$place $value\")\"\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_holdfast_options \"$place\") $_holdfast_globals\" -- "
    "\"$cur\"))\n"
    "    elif [[ -z $noun ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$_holdfast_nouns\" -- \"$cur\"))\n"
    "    elif [[ -z $place ]]; then\n"
    "        COMPREPLY=($(compgen -W \"$(_holdfast_verbs \"$noun\")\" -- \"$cur\"))\n"
    "    else\n"
    "        _holdfast_words \"$(_holdfast_operand \"$place $operands\")\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _holdfast holdfast\n";

static void print_takes(const char *place, const struct cli_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (options[i].value == NULL)
            continue;
        (void)printf("        %s%s%s' --%s'", *place == '*' ? "" : "'", place,
                     *place == '*' ? "" : "'", options[i].name);
        if (options[i].letter != '\0')
            (void)printf(" | %s%s%s' -%c'", *place == '*' ? "" : "'", place,
                         *place == '*' ? "" : "'", options[i].letter);
        (void)fputs(") ;;\n", stdout);
    }
}
