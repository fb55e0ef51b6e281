/* holdfast policy: what needs no hub (a file is checked, its tests are run, editors get a schema),
 * and the table of all its verbs. */
#include <stdlib.h>

#include "cli/hub_link.h"
#include "cli/list.h"
#include "cli/policy_change.h"
#include "cli/policy_file.h"
#include "cli/text.h"

#define WORDS_MAX 2048 /* bytes of a test and of what the rules say to it */

/* ---- check ---- */

static json_t *located(const struct policy_complaint *c)
{
    return json_pack("{s:I, s:I, s:s}", "line", (json_int_t)c->line, "column",
                     (json_int_t)c->column, "text", c->text);
}

static int check_json(struct cli *cli, const struct policy_file *file, int code,
                      const struct policy_complaint *warnings, size_t warnings_len)
{
    const struct policy *p = &file->policy;
    json_t *problems = json_array(), *warned = json_array();
    if (file->complaint.text[0] != '\0')
        (void)json_array_append_new(problems, located(&file->complaint));
    for (size_t i = 0; i < warnings_len; i++)
        (void)json_array_append_new(warned, located(&warnings[i]));
    json_t *document =
        json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "file", file->path, "good",
                  code == CLI_OK, "fleet", p->fleet, "models", (json_int_t)p->models_len, "groups",
                  (json_int_t)p->groups_len, "tenants", (json_int_t)p->tenants_len, "tests",
                  (json_int_t)p->tests_len, "problems", problems, "warnings", warned);
    if (document == NULL)
        return cli_fail_memory(cli);
    int printed = json_print(cli, document);
    json_decref(document);
    return code == CLI_OK ? printed : code;
}

static void tell_warnings(const struct cli *cli, const struct policy_file *file,
                          const struct policy_complaint *warnings, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (warnings[i].line == 0)
            cli_warn(cli, "%s: %s", file->path, warnings[i].text);
        else
            cli_warn(cli, "%s:%u: %s", file->path, warnings[i].line, warnings[i].text);
        policy_file_show(cli, file, warnings[i].line, 0);
    }
}

static int run_check(struct cli *cli)
{
    struct policy_file file CLEANUP(policy_file_close);
    struct policy_complaint *warnings = NULL;
    struct rules rules;
    size_t len = 0;
    int code = policy_file_open(cli, policy_file_path(cli), &file);
    if (code == CLI_OK)
        code = policy_file_rules(cli, &file, &rules);
    if (code == CLI_OK && policy_warn(&file.policy, file.arena, &warnings, &len) != ERR_NONE)
        return cli_fail_memory(cli);
    if (cli->json && (code == CLI_OK || code == CLI_REFUSED))
        return check_json(cli, &file, code, warnings, len);
    if (code != CLI_OK)
        return code;
    tell_warnings(cli, &file, warnings, len);
    const struct policy *p = &file.policy;
    (void)text_show(stdout, "good", SIZE_MAX, COLOUR_GOOD);
    (void)printf(": %zu model%s, %zu group%s, %zu tenant%s, %zu bytes of rules, %zu warning%s; "
                 "`holdfast policy "
                 "test` runs its %zu test%s\n",
                 p->models_len, p->models_len == 1 ? "" : "s", p->groups_len,
                 p->groups_len == 1 ? "" : "s", p->tenants_len, p->tenants_len == 1 ? "" : "s",
                 rules.body.len, len, len == 1 ? "" : "s", p->tests_len,
                 p->tests_len == 1 ? "" : "s");
    return CLI_OK;
}

/* ---- test ---- */

struct words {
    char test[WORDS_MAX], verdict[WORDS_MAX];
};

static void put_words(const struct policy_test *test, const struct rules *rules,
                      struct words *ret_words)
{
    struct writer w = writer_over(ret_words->test, WORDS_MAX - 1);
    policy_test_text(&w, test);
    ret_words->test[w.len] = '\0';
    w = writer_over(ret_words->verdict, WORDS_MAX - 1);
    policy_test_verdict(&w, test, rules);
    ret_words->verdict[w.len] = '\0';
}

static void tell_failure(const struct cli *cli, const struct policy_file *file,
                         const struct policy_test *test, const struct words *words)
{
    (void)text_show(stdout, "failed", SIZE_MAX, COLOUR_BAD);
    (void)printf(" %s:%u: ", file->path, test->line);
    text_put(stdout, words->test);
    (void)fputs("\n       ", stdout);
    text_put(stdout, words->verdict);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    if (!cli->quiet)
        policy_file_show(cli, file, test->line, 0);
}

static int test_json(struct cli *cli, const struct policy_file *file, json_t *failures,
                     size_t failed)
{
    json_t *document = json_pack("{s:s, s:I, s:I, s:o}", "file", file->path, "passed",
                                 (json_int_t)(file->policy.tests_len - failed), "failed",
                                 (json_int_t)failed, "failures", failures);
    if (document == NULL)
        return cli_fail_memory(cli);
    int code = json_print(cli, document);
    json_decref(document);
    return code;
}

static int run_tests(struct cli *cli, const struct policy_file *file, const struct rules *rules)
{
    size_t failed = 0, len = file->policy.tests_len;
    json_t *failures = json_array();
    for (size_t i = 0; i < len; i++) {
        const struct policy_test *test = &file->policy.tests[i];
        struct words words;
        if (policy_test_holds(test, rules))
            continue;
        failed++;
        put_words(test, rules, &words);
        if (cli->json)
            (void)json_array_append_new(failures,
                                        json_pack("{s:I, s:s, s:s}", "line", (json_int_t)test->line,
                                                  "test", words.test, "verdict", words.verdict));
        else
            tell_failure(cli, file, test, &words);
    }
    int code = CLI_OK;
    if (cli->json)
        code = test_json(cli, file, failures, failed);
    else
        json_decref(failures);
    if (code != CLI_OK)
        return code;
    if (failed > 0)
        return cli_fail(cli, CLI_REFUSED, "policy-test-failed",
                        "%zu of %zu tests failed: change the policy, or what is expected of it",
                        failed, len);
    if (!cli->json)
        (void)printf("%zu test%s passed\n", len, len == 1 ? "" : "s");
    return CLI_OK;
}

static int run_test(struct cli *cli)
{
    struct policy_file file CLEANUP(policy_file_close);
    struct rules rules;
    int code = policy_file_open(cli, policy_file_path(cli), &file);
    if (code == CLI_OK)
        code = policy_file_rules(cli, &file, &rules);
    return code == CLI_OK ? run_tests(cli, &file, &rules) : code;
}

/* ---- schema ---- */

static int run_schema(struct cli *cli)
{
    static uint8_t bytes[POLICY_SCHEMA_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    policy_write_schema(&w);
    json_t *document = w.err == ERR_NONE ? json_loadb((const char *)bytes, w.len, 0, NULL) : NULL;
    if (document == NULL)
        return cli_fail(cli, CLI_INTERNAL, "internal", "the schema can't be written: %s",
                        err_text(w.err));
    int code = json_print(cli, document);
    json_decref(document);
    return code;
}

/* ---- table ---- */

#define FILE_OPERAND                                                                               \
    {                                                                                              \
        .name = "FILE", .optional = true, .complete = COMPLETE_FILE                                \
    }

#define NUMBER_OPERAND                                                                             \
    {                                                                                              \
        .name = "NUMBER"                                                                           \
    }
#define CHANGE_OPTIONS                                                                             \
    {.name = "signature",                                                                          \
     .value = "FILE",                                                                              \
     .complete = COMPLETE_FILE,                                                                    \
     .help = "the owner's, of `holdfast policy sign`, for what loosens"},                          \
    {                                                                                              \
        .name = "yes-lock-out", .help = "it is meant to lock out whom it locks out"                \
    }
#define COMMENT_OPTION                                                                             \
    {                                                                                              \
        .name = "comment", .letter = 'm', .value = "TEXT", .help = "why, for the ledger"           \
    }

static const struct cli_option change_options[] = {COMMENT_OPTION, CHANGE_OPTIONS};
static const struct cli_option approve_options[] = {CHANGE_OPTIONS};
static const struct cli_option withdraw_options[] = {
    {.name = "comment",
     .letter = 'm',
     .value = "TEXT",
     .help = "why, for the ledger",
     .required = true},
};
static const struct cli_option history_options[] = {LIST_OPTIONS};
static const struct cli_option key_options[] = {
    {.name = "name", .value = "NAME", .help = "what the key is called; standard: owner/policy"},
};
static const struct cli_option sign_options[] = {
    {.name = "from",
     .value = "NUMBER",
     .help = "the policy in force that it replaces, as `plan` shows it",
     .required = true},
    {.name = "key",
     .value = "FILE",
     .help = "of `holdfast policy key create`",
     .required = true,
     .complete = COMPLETE_FILE},
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .help = "write it there instead of to standard output",
     .complete = COMPLETE_FILE},
};

static const struct cli_command commands[] = {
    {.verb = "plan",
     .operands = {FILE_OPERAND},
     .summary = "what applying a policy would change, for which devices",
     .help =
         "Without FILE, policy.yaml in this folder. Nothing is changed. Exits 1 where one of its\n"
         "tests fails.\n",
     .run = policy_run_plan},
    {.verb = "apply",
     .operands = {FILE_OPERAND},
     CLI_OPTIONS(change_options),
     .summary = "put a policy into force, or propose it",
     .help =
         "Shows the plan, and on a terminal asks; elsewhere it needs --yes. Where the policy in\n"
         "force asks for two people, another one approves it.\n",
     .run = policy_run_apply},
    {.verb = "approve",
     .operands = {NUMBER_OPERAND},
     CLI_OPTIONS(approve_options),
     .summary = "put a policy into force that another person proposed",
     .run = policy_run_approve},
    {.verb = "withdraw",
     .operands = {NUMBER_OPERAND},
     CLI_OPTIONS(withdraw_options),
     .summary = "take back a policy that was proposed",
     .run = policy_run_withdraw},
    {.verb = "rollback",
     .operands = {NUMBER_OPERAND},
     CLI_OPTIONS(change_options),
     .summary = "put the text of an earlier policy into force again",
     .help =
         "As a new one, with a number of its own; all that is asked of a change is asked of it.\n",
     .run = policy_run_rollback},
    {.verb = "show",
     .operands = {{.name = "NUMBER", .optional = true}},
     .summary = "the text of the policy in force, or of an earlier one",
     .run = policy_run_show},
    {.verb = "history",
     CLI_OPTIONS(history_options),
     .summary = "all policies there were, newest first",
     .run = policy_run_history},
    {.verb = "diff",
     .operands = {NUMBER_OPERAND, {.name = "OTHER", .optional = true}},
     .summary = "what changed from one policy to another, or to the one in force",
     .run = policy_run_diff},
    {.verb = "key",
     .operands = {{.name = "create", .complete = COMPLETE_WORDS, .words = "create"},
                  {.name = "FILE", .complete = COMPLETE_FILE}},
     CLI_OPTIONS(key_options),
     .summary = "make an owner's key for `changes: loosening-key`; needs no hub",
     .run = policy_run_key},
    {.verb = "sign",
     .operands = {FILE_OPERAND},
     CLI_OPTIONS(sign_options),
     .summary = "allow a policy that loosens, with the owner's key; needs no hub",
     .run = policy_run_sign},
    {.verb = "check",
     .operands = {FILE_OPERAND},
     .summary = "read a policy, and say what is wrong with it; needs no hub",
     .help = "Without FILE, policy.yaml in this folder. Warnings are of what is allowed, and a\n"
             "mistake as a rule. Exits 1 where it is refused.\n",
     .run = run_check},
    {.verb = "test",
     .operands = {FILE_OPERAND},
     .summary = "run a policy's own tests; needs no hub",
     .help = "Without FILE, policy.yaml in this folder. Decided by the code that decides in hub\n"
             "and broker. Exits 1 where one fails.\n",
     .run = run_test},
    {.verb = "schema",
     .summary = "the JSON Schema of policies, for editors; needs no hub",
     .run = run_schema},
};

const struct cli_noun noun_policy = {
    .name = "policy",
    .summary = "who may do what: the fleet's policy",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
