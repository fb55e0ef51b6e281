/* holdfast policy apply, approve, withdraw, rollback: how another policy comes into force. */
#include "cli/policy_change.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/policy_file.h"
#include "cli/text.h"
#include "core/note.h"

#define BODY_MAX (7U * (POLICY_TEXT_MAX + NOTE_MAX)) /* each byte escaped, at worst */

static int64_t number_in_force(struct cli *cli, int *ret_code)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    *ret_code = hub_ask(cli, "GET", "/v1/policy", NULL, slice_of(NULL, 0), &answer);
    if (*ret_code != CLI_OK || answer.status == 404)
        return 0;
    if (answer.status >= 400)
        *ret_code = cli_fail_problem(cli, &answer.problem);
    return json_number_of(answer.json, "number");
}

int policy_target(struct cli *cli, const char *number, const char *suffix,
                  char ret_target[HUB_TARGET_MAX])
{
    uint64_t n = 0;
    int code = cli_read_count(cli, "NUMBER", number, 1, INT64_MAX, &n);
    if (code == CLI_OK)
        (void)snprintf(ret_target, HUB_TARGET_MAX, "/v1/policies/%llu%s", (unsigned long long)n,
                       suffix);
    return code;
}

/* ---- requests ---- */

struct change {
    const char *target;
    int64_t from;
    struct slice text;
    int64_t restores;
};

static int read_signature(struct cli *cli, uint8_t **ret_note, size_t *ret_len)
{
    const char *path = cli_value(cli, "signature");
    if (path == NULL)
        return CLI_OK;
    if (file_read(path, NOTE_MAX, ret_note, ret_len) != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    return CLI_OK;
}

static void write_change(struct cli *cli, struct json_writer *j, const struct change *c,
                         struct slice signature)
{
    const char *comment = cli_value(cli, "comment");
    json_open_object(j);
    json_field_integer(j, "from", c->from);
    if (c->text.len > 0)
        json_field_slice(j, "text", c->text);
    if (c->restores != 0)
        json_field_integer(j, "restores", c->restores);
    if (comment != NULL)
        json_field_text(j, "comment", comment);
    if (signature.len > 0)
        json_field_slice(j, "signature", signature);
    if (cli_has(cli, "yes-lock-out"))
        json_field_text(j, "lock_out", "accepted");
    json_close_object(j);
}

static int say_changed(struct cli *cli, const json_t *policy)
{
    long long number = (long long)json_number_of(policy, "number");
    if (cli->json)
        return json_print(cli, policy);
    if (strcmp(json_text_of(policy, "status"), "proposed") == 0)
        cli_say(cli,
                "Policy %lld is proposed. Another person approves it: `holdfast policy approve "
                "%lld`.",
                number, number);
    else
        cli_say(cli, "Policy %lld is in force.", number);
    return CLI_OK;
}

static int send_change(struct cli *cli, const struct change *c)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    uint8_t *note = NULL, *bytes = malloc(BODY_MAX);
    size_t note_len = 0;
    struct writer w = writer_over(bytes, BODY_MAX);
    struct json_writer j = json_writer_over(&w);
    int code = bytes == NULL ? cli_fail_memory(cli) : read_signature(cli, &note, &note_len);
    if (code == CLI_OK) {
        write_change(cli, &j, c, slice_of(note, note_len));
        code = w.err != ERR_NONE ? cli_fail(cli, CLI_USAGE, "usage", "this is far too long")
                                 : hub_call(cli, "POST", c->target, writer_bytes(&w), &answer);
    }
    free(note);
    free(bytes);
    return code == CLI_OK ? say_changed(cli, answer.json) : code;
}

/* ---- apply and rollback ---- */

/* Shows what it would do and asks; what was seen is what is asked for. */
static int plan_and_ask(struct cli *cli, struct slice text, const char *path, int64_t *ret_from)
{
    struct hub_answer plan CLEANUP(hub_answer_free) = {.status = 0};
    int code = policy_ask_plan(cli, text, &plan);
    if (code != CLI_OK)
        return code;
    *ret_from = json_number_of(plan.json, "from");
    if (!cli->json && !cli->quiet)
        policy_show_plan(plan.json, path);
    if (json_array_size(json_object_get(plan.json, "failing")) > 0)
        return CLI_OK; /* the hub refuses it, in its own words */
    return cli_confirm(cli, "%s?",
                       json_number_of(plan.json, "approvals") > 1 ? "propose it" : "apply it");
}

int policy_run_apply(struct cli *cli)
{
    struct policy_file file CLEANUP(policy_file_close);
    struct change c = {.target = "/v1/policies"};
    int code = policy_file_open(cli, policy_file_path(cli), &file);
    c.text = slice_of(file.bytes, file.len);
    if (code == CLI_OK)
        code = plan_and_ask(cli, c.text, file.path, &c.from);
    return code == CLI_OK ? send_change(cli, &c) : code;
}

int policy_run_rollback(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    struct change c = {.target = "/v1/policies"};
    char target[HUB_TARGET_MAX];
    int code = policy_target(cli, cli->operands[0], "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    c.restores = json_number_of(answer.json, "number");
    char *text = strdup(json_text_of(answer.json, "text")); /* the next answer takes its place */
    if (text == NULL)
        return cli_fail_memory(cli);
    code = plan_and_ask(cli, slice_of_text(text), cli->operands[0], &c.from);
    free(text);
    return code == CLI_OK ? send_change(cli, &c) : code;
}

/* ---- approve and withdraw ---- */

int policy_run_approve(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    char target[HUB_TARGET_MAX];
    struct change c = {.target = target};
    int code = policy_target(cli, cli->operands[0], "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    if (strcmp(json_text_of(answer.json, "status"), "proposed") == 0) {
        char *text = strdup(json_text_of(answer.json, "text"));
        if (text == NULL)
            return cli_fail_memory(cli);
        code = plan_and_ask(cli, slice_of_text(text), cli->operands[0], &c.from);
        free(text);
    } else {
        c.from = number_in_force(cli, &code);
    }
    if (code == CLI_OK)
        code = policy_target(cli, cli->operands[0], "/approve", target);
    return code == CLI_OK ? send_change(cli, &c) : code;
}

int policy_run_withdraw(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    char target[HUB_TARGET_MAX];
    uint8_t bytes[2048];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "comment", cli_value(cli, "comment"));
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage", "--comment is far too long");
    int code = policy_target(cli, cli->operands[0], "/withdraw", target);
    if (code == CLI_OK)
        code = hub_call(cli, "POST", target, writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    cli_say(cli, "Policy %s is withdrawn.", cli->operands[0]);
    return CLI_OK;
}
