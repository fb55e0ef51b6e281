#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/arguments.h"

#define WORDS_MAX 12

static struct cli cli;
static struct arguments arguments;
static char told[1024]; /* what went to standard error */

static void read_words(const char *const words[WORDS_MAX])
{
    char *argv[WORDS_MAX + 2] = {(char[]){"holdfast"}};
    int argc = 1;
    for (size_t i = 0; i < WORDS_MAX && words[i] != NULL; i++)
        argv[argc++] = (char *)(uintptr_t)words[i];
    int pipes[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipes), 0);
    (void)dup2(pipes[1], STDERR_FILENO);
    (void)close(pipes[1]);
    free(cli.operands);
    cli = (struct cli){.socket = NULL};
    arguments_read(argc, argv, &cli, &arguments);
    (void)fflush(stderr);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    ssize_t n = read(pipes[0], told, sizeof told - 1);
    told[n > 0 ? n : 0] = '\0';
    (void)close(pipes[0]);
}

#define READ(...) read_words((const char *const[WORDS_MAX]){__VA_ARGS__})

static void finds_command_options_operands(void **state)
{
    (void)state;
    READ("device", "revoke", "a", "--reason", "lost", "--json", "b", "-y");
    assert_int_equal(arguments.then, ARGUMENTS_RUN);
    assert_string_equal(arguments.noun->name, "device");
    assert_string_equal(cli.command->verb, "revoke");
    assert_int_equal(cli.operands_len, 2);
    assert_string_equal(cli.operands[0], "a");
    assert_string_equal(cli.operands[1], "b");
    assert_string_equal(cli_value(&cli, "reason"), "lost");
    assert_true(cli.json && cli.yes && !cli.quiet);
}

static void takes_every_form_of_an_option(void **state)
{
    (void)state;
    static const char *const forms[][WORDS_MAX] = {
        {"ledger", "tail", "--lines", "7", "--follow"},
        {"ledger", "tail", "--lines=7", "-f"},
        {"ledger", "tail", "-n7", "-f"},
        {"ledger", "tail", "-fn7"},
        {"ledger", "tail", "-fn", "7"},
        {"ledger", "-q", "tail", "-f", "-n", "7"},
        {"--socket", "s", "ledger", "tail", "-fqn7"},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        read_words(forms[i]);
        assert_int_equal(arguments.then, ARGUMENTS_RUN);
        assert_string_equal(cli_value(&cli, "lines"), "7");
        assert_true(cli_has(&cli, "follow"));
    }
}

static void ends_options_where_told(void **state)
{
    (void)state;
    READ("ledger", "search", "--", "--act");
    assert_int_equal(arguments.then, ARGUMENTS_RUN);
    assert_int_equal(cli.operands_len, 1);
    assert_string_equal(cli.operands[0], "--act");
    assert_false(cli_has(&cli, "act"));
    READ("manifest", "import", "m", "-");
    assert_string_equal(cli.operands[1], "-");
}

static void a_commands_own_option_stands_before_a_global_one(void **state)
{
    (void)state;
    READ("--state", "/var/lib/holdfast", "device", "list", "--state", "revoked");
    assert_int_equal(arguments.then, ARGUMENTS_RUN);
    assert_string_equal(cli.state, "/var/lib/holdfast");
    assert_string_equal(cli_value(&cli, "state"), "revoked");
    READ("device", "show", "a", "--state", "/var/lib/holdfast");
    assert_string_equal(cli.state, "/var/lib/holdfast");
}

static void helps_even_where_something_is_missing(void **state)
{
    (void)state;
    READ("device", "revoke", "--help");
    assert_int_equal(arguments.then, ARGUMENTS_HELP);
    assert_string_equal(arguments.command->verb, "revoke");
    READ("device", "-h");
    assert_int_equal(arguments.then, ARGUMENTS_HELP);
    assert_null(arguments.command);
    READ("--help");
    assert_int_equal(arguments.then, ARGUMENTS_HELP);
    assert_null(arguments.noun);
    READ("-V");
    assert_int_equal(arguments.then, ARGUMENTS_VERSION);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        const char *says;
    } cases[] = {
        {{NULL}, "what is to be done"},
        {{"devices"}, "no `holdfast devices`"},
        {{"device"}, "a verb is missing"},
        {{"device", "erase"}, "approve"}, /* what there is instead */
        {{"device", "show"}, "DEVICE is missing"},
        {{"device", "show", "a", "b"}, "'b' is one argument too many"},
        {{"manifest", "import", "m"}, "FILE is missing"},
        {{"device", "revoke", "a"}, "--reason TEXT is missing"},
        {{"device", "revoke", "a", "--reason"}, "--reason needs a value"},
        {{"device", "revoke", "a", "--reason="}, "--reason needs a value"},
        {{"device", "revoke", "a", "--reason", ""}, "--reason needs a value"},
        {{"device", "revoke", "a", "-r", "x", "--reason", "y"}, "given twice"},
        {{"device", "list", "--all=yes"}, "takes no value"},
        {{"device", "list", "--limits", "3"}, "no option --limits"},
        {{"device", "list", "--lim", "3"}, "no option --lim"},
        {{"device", "list", "-x"}, "no option -x"},
        {{"--reason", "x", "device"}, "no option --reason"},
        {{"--socket"}, "--socket needs a value"},
        {{"version", "now"}, "one argument too many"},
        {{"device", "list", "--json=1"}, "takes no value"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        read_words(cases[i].words);
        if (arguments.then != ARGUMENTS_WRONG || strstr(told, cases[i].says) == NULL)
            fail_msg("case %zu: told \"%s\", not \"%s\"", i, told, cases[i].says);
    }
}

static void tells_in_the_form_asked_for(void **state)
{
    (void)state;
    READ("device", "erase", "--json");
    assert_int_equal(arguments.then, ARGUMENTS_WRONG);
    assert_memory_equal(told, "{\"code\":\"usage\",\"detail\":\"", 25);
}

/* ---- the table itself ---- */

static void check_command(const struct cli_noun *noun, const struct cli_command *c)
{
    assert_non_null(c->summary);
    assert_non_null(c->run);
    assert_true(c->options_len <= CLI_OPTIONS_MAX);
    assert_true(c->verb != NULL || noun->commands_len == 1);
    for (size_t i = 0; i < c->options_len; i++) {
        const struct cli_option *o = &c->options[i];
        assert_true(strlen(o->name) > 1 && strlen(o->help) > 1);
        assert_true(!o->required || o->value != NULL);
        assert_int_equal(o->complete == COMPLETE_WORDS, o->words != NULL);
        for (size_t k = 0; k < c->options_len; k++)
            assert_true(k == i || (strcmp(c->options[k].name, o->name) != 0 &&
                                   (o->letter == '\0' || c->options[k].letter != o->letter)));
        for (size_t k = 0; k < cli_global_options_len; k++) {
            /* one command has a better use for a name: a device's state */
            bool shadows = strcmp(cli_global_options[k].name, o->name) == 0;
            assert_true(!shadows || (noun == &noun_device && strcmp(o->name, "state") == 0));
            assert_true(o->letter == '\0' || cli_global_options[k].letter != o->letter);
        }
    }
    for (int i = 0; i < CLI_OPERANDS_MAX && c->operands[i].name != NULL; i++)
        assert_true(!c->operands[i].many || i + 1 == CLI_OPERANDS_MAX ||
                    c->operands[i + 1].name == NULL);
}

static void the_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_nouns_len; i++) {
        assert_ptr_equal(cli_noun_find(cli_nouns[i]->name), cli_nouns[i]);
        assert_true(cli_nouns[i]->commands_len > 0);
        for (size_t k = 0; k < cli_nouns[i]->commands_len; k++)
            check_command(cli_nouns[i], &cli_nouns[i]->commands[k]);
    }
    for (size_t i = 0; i < cli_global_options_len; i++) {
        /* each has its place in struct cli */
        char word[64];
        (void)snprintf(word, sizeof word, "--%s%s", cli_global_options[i].name,
                       cli_global_options[i].value == NULL ? "" : "=x");
        READ(word, "doctor");
        assert_int_not_equal(arguments.then, ARGUMENTS_WRONG);
    }
}

static int end(void **state)
{
    (void)state;
    free(cli.operands);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_command_options_operands),
        cmocka_unit_test(takes_every_form_of_an_option),
        cmocka_unit_test(ends_options_where_told),
        cmocka_unit_test(a_commands_own_option_stands_before_a_global_one),
        cmocka_unit_test(helps_even_where_something_is_missing),
        cmocka_unit_test(refuses),
        cmocka_unit_test(tells_in_the_form_asked_for),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
