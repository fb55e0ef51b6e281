/* holdfast policy plan: what a text would change, in words. */
#include <stdlib.h>
#include <string.h>

#include "cli/policy_change.h"
#include "cli/policy_file.h"
#include "cli/text.h"

#define BODY_MAX (7U * POLICY_TEXT_MAX) /* each byte escaped, at worst, and some room */

int policy_ask_plan(struct cli *cli, struct slice text, struct hub_answer *ret_answer)
{
    uint8_t *bytes = malloc(BODY_MAX);
    if (bytes == NULL)
        return cli_fail_memory(cli);
    struct writer w = writer_over(bytes, BODY_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_slice(&j, "text", text);
    json_close_object(&j);
    int code = w.err != ERR_NONE
                   ? cli_fail(cli, CLI_USAGE, "usage", "the policy is too long")
                   : hub_call(cli, "POST", "/v1/policy/plan", writer_bytes(&w), ret_answer);
    free(bytes);
    return code;
}

static void put_colour(const char *text, enum text_colour colour)
{
    (void)text_show(stdout, text, SIZE_MAX, colour);
}

static const json_t *find_concerned(const json_t *plan, const char *scope, const char *name)
{
    const json_t *all = json_object_get(plan, "concerned");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *c = json_array_get(all, i);
        if (strcmp(json_text_of(c, "scope"), scope) == 0 &&
            strcmp(json_text_of(c, "name"), name) == 0)
            return c;
    }
    return NULL;
}

static void show_devices(const json_t *concerned)
{
    int64_t n = json_number_of(concerned, "devices");
    const json_t *names = json_object_get(concerned, "names");
    (void)printf(" (%lld device%s", (long long)n, n == 1 ? "" : "s");
    for (size_t i = 0; i < json_array_size(names); i++) {
        (void)fputs(i == 0 ? ": " : ", ", stdout);
        put_colour(json_string_value(json_array_get(names, i)), COLOUR_NONE);
    }
    (void)fputs(")", stdout);
}

static void show_heading(const json_t *plan, const json_t *difference)
{
    const char *scope = json_text_of(difference, "scope"), *name = json_text_of(difference, "name");
    put_colour(scope, COLOUR_NONE);
    if (name[0] != '\0') {
        (void)fputc(' ', stdout);
        put_colour(name, COLOUR_BOLD);
        show_devices(find_concerned(plan, scope, name));
    }
    (void)fputc('\n', stdout);
}

static void show_difference(const json_t *d)
{
    const char *effect = json_text_of(d, "effect");
    bool gains = strcmp(effect, "gains") == 0, loses = strcmp(effect, "loses") == 0;
    (void)printf("  ");
    put_colour(gains   ? "+ gains   "
               : loses ? "- loses   "
                       : "~ changes ",
               gains   ? COLOUR_WARN
               : loses ? COLOUR_GOOD
                       : COLOUR_NONE);
    put_colour(json_text_of(d, "what"), COLOUR_NONE);
    (void)fputc('\n', stdout);
}

static void show_differences(const json_t *plan)
{
    const json_t *all = json_object_get(plan, "differences");
    const json_t *last = NULL;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *d = json_array_get(all, i);
        if (last == NULL || strcmp(json_text_of(last, "scope"), json_text_of(d, "scope")) != 0 ||
            strcmp(json_text_of(last, "name"), json_text_of(d, "name")) != 0)
            show_heading(plan, d);
        show_difference(d);
        last = d;
    }
    int64_t total = json_number_of(plan, "differences_total");
    if (total > (int64_t)json_array_size(all))
        (void)printf("... and %lld more\n", (long long)(total - (int64_t)json_array_size(all)));
    if (total == 0)
        (void)printf("Nothing that is enforced changes.\n");
}

static void show_unlisted(const json_t *plan)
{
    const json_t *all = json_object_get(plan, "unlisted");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *m = json_array_get(all, i);
        put_colour("not in the policy: ", COLOUR_WARN);
        (void)printf("model ");
        put_colour(json_text_of(m, "name"), COLOUR_BOLD);
        show_devices(m);
        (void)printf(": they reach no broker, and of the hub their own enrolment alone\n");
    }
}

static void show_failing(const json_t *plan, const char *path)
{
    const json_t *all = json_object_get(plan, "failing");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *f = json_array_get(all, i);
        put_colour("fails: ", COLOUR_BAD);
        (void)printf("%s:%lld: ", path, (long long)json_number_of(f, "line"));
        put_colour(json_text_of(f, "test"), COLOUR_NONE);
        (void)fputs("; ", stdout);
        put_colour(json_text_of(f, "verdict"), COLOUR_NONE);
        (void)fputc('\n', stdout);
    }
    if (json_number_of(plan, "tests") == 0)
        (void)printf("It has no tests of its own.\n");
    else if (json_array_size(all) == 0)
        (void)printf("Its %lld test%s hold%s.\n", (long long)json_number_of(plan, "tests"),
                     json_number_of(plan, "tests") == 1 ? "" : "s",
                     json_number_of(plan, "tests") == 1 ? "s" : "");
}

void policy_show_plan(const json_t *plan, const char *path)
{
    long long from = (long long)json_number_of(plan, "from");
    const char *lock_out = json_text_or_null(plan, "lock_out");
    if (from == 0)
        (void)printf("No policy is in force yet.\n");
    else
        (void)printf("From policy %lld:\n", from);
    show_differences(plan);
    show_unlisted(plan);
    show_failing(plan, path);
    if (json_number_of(plan, "approvals") > 1)
        (void)printf("Two people must agree: `apply` proposes it, another one approves it.\n");
    if (strcmp(json_text_of(plan, "signature"), "owner") == 0)
        (void)printf("It loosens: the owner signs it, where his key is, with\n"
                     "  holdfast policy sign %s --from %lld --key KEY -o signature\n",
                     path, from);
    if (lock_out != NULL) {
        put_colour("It locks out all ", COLOUR_BAD);
        put_colour(lock_out, COLOUR_NONE);
        (void)fputc('\n', stdout);
    }
}

int policy_run_plan(struct cli *cli)
{
    struct policy_file file CLEANUP(policy_file_close);
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = policy_file_open(cli, policy_file_path(cli), &file);
    if (code == CLI_OK)
        code = policy_ask_plan(cli, slice_of(file.bytes, file.len), &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        code = json_print(cli, answer.json);
    else
        policy_show_plan(answer.json, file.path);
    if (code == CLI_OK && json_array_size(json_object_get(answer.json, "failing")) > 0)
        return CLI_REFUSED;
    return code;
}
