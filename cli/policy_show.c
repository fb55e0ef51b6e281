/* holdfast policy show, history, diff: what is and was in force. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/list.h"
#include "cli/policy_change.h"
#include "cli/policy_file.h"
#include "cli/when.h"

/* ---- show ---- */

int policy_run_show(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    char target[HUB_TARGET_MAX] = "/v1/policy";
    int code = cli->operands_len == 0 ? CLI_OK : policy_target(cli, cli->operands[0], "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    char when[WHEN_TEXT_MAX];
    const json_t *p = answer.json;
    int64_t decided = json_time_of(p, "decided_at");
    when_full(decided != 0 ? decided : json_time_of(p, "proposed_at"), clock_seconds(), when);
    if (!cli->quiet)
        (void)fprintf(stderr, "# policy %lld, %s, %s\n", (long long)json_number_of(p, "number"),
                      json_text_of(p, "status"), when);
    text_put(stdout, "");
    /* The file as it was given: so that it can be redirected into one. */
    (void)fputs(json_text_of(p, "text"), stdout);
    return CLI_OK;
}

/* ---- history ---- */

static enum text_colour status_colour(const char *status)
{
    if (strcmp(status, "in-force") == 0)
        return COLOUR_GOOD;
    return strcmp(status, "proposed") == 0 ? COLOUR_WARN : COLOUR_DIM;
}

static enum err history_row(struct table *t, const json_t *p, int64_t now)
{
    char number[24], when[WHEN_TEXT_MAX], who[384], comment[256];
    const char *status = json_text_of(p, "status"), *second = json_text_of(p, "approved_by");
    int64_t decided = json_time_of(p, "decided_at");
    (void)snprintf(number, sizeof number, "%lld", (long long)json_number_of(p, "number"));
    when_relative(decided != 0 ? decided : json_time_of(p, "proposed_at"), now, when);
    (void)snprintf(who, sizeof who, "%s%s%s", json_text_of(p, "proposed_by"),
                   second[0] != '\0' ? ", " : "", second);
    int64_t restores = json_number_of(p, "restores");
    if (restores != 0)
        (void)snprintf(comment, sizeof comment, "back to %lld%s%s", (long long)restores,
                       json_text_of(p, "comment")[0] != '\0' ? ": " : "",
                       json_text_of(p, "comment"));
    else
        (void)snprintf(comment, sizeof comment, "%s", json_text_of(p, "comment"));
    enum err err = table_add(t, number, COLOUR_BOLD);
    if (err == ERR_NONE)
        err = table_add(t, status, status_colour(status));
    if (err == ERR_NONE)
        err = table_add(t, when, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, who, COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, comment, COLOUR_NONE) : err;
}

int policy_run_history(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "POLICY", .right = true, .fixed = true},
        {.name = "STATUS", .fixed = true},
        {.name = "WHEN", .fixed = true},
        {.name = "BY"},
        {.name = "COMMENT"},
    };
    static const struct list list = {
        .path = "/v1/policies",
        .query = "",
        .array = "policies",
        .none = "No policies; `holdfast policy apply` puts one into force.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = history_row,
    };
    return list_run(cli, &list);
}

/* ---- diff ---- */

/* A policy of the hub's: NULL the one in force. */
static int load(struct cli *cli, const char *number, struct arena *arena, struct policy *ret_policy,
                int64_t *ret_number)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    struct policy_complaint complaint = {.line = 0};
    char target[HUB_TARGET_MAX] = "/v1/policy";
    int code = number == NULL ? CLI_OK : policy_target(cli, number, "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    *ret_number = json_number_of(answer.json, "number");
    char *text = arena_text(arena, slice_of_text(json_text_of(answer.json, "text")));
    if (text == NULL)
        return cli_fail_memory(cli);
    enum err err = policy_read(slice_of_text(text), arena, ret_policy, &complaint);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_REFUSED, "policy-malformed",
                        "policy %lld can't be read by this version: line %u: %s",
                        (long long)*ret_number, complaint.line, complaint.text);
    return CLI_OK;
}

static const char *effect_text(enum policy_effect effect)
{
    return effect == POLICY_GAINS ? "gains" : effect == POLICY_LOSES ? "loses" : "changes";
}

static json_t *difference_json(const struct policy_difference *d)
{
    json_t *o = json_pack("{s:s, s:s, s:s%}", "effect", effect_text(d->effect), "scope",
                          d->name.len == 0 ? "fleet"
                          : d->is_group    ? "group"
                                           : "model",
                          "what", (const char *)d->what.data, d->what.len);
    if (o != NULL && d->name.len > 0)
        (void)json_object_set_new(o, "name", json_stringn((const char *)d->name.data, d->name.len));
    return o;
}

static int print_json(struct cli *cli, const struct policy_difference *all, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array, difference_json(&all[i]));
    json_t *document CLEANUP(json_cleanup) = json_pack("{s:o}", "differences", array);
    return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
}

static void print_one(const struct policy_difference *d)
{
    char words[1024];
    (void)snprintf(words, sizeof words, "%s%s%.*s %s %.*s",
                   d->name.len == 0 ? "fleet"
                   : d->is_group    ? "group"
                                    : "model",
                   d->name.len > 0 ? " " : "", (int)d->name.len, (const char *)d->name.data,
                   effect_text(d->effect), (int)d->what.len, (const char *)d->what.data);
    text_put(stdout, words);
    (void)fputc('\n', stdout);
}

static int diff(struct cli *cli, struct arena *arena)
{
    struct policy policies[2];
    struct policy_difference *all = NULL;
    int64_t numbers[2];
    size_t n = 0;
    int code = load(cli, cli->operands[0], arena, &policies[0], &numbers[0]);
    if (code == CLI_OK)
        code = load(cli, cli->operands_len > 1 ? cli->operands[1] : NULL, arena, &policies[1],
                    &numbers[1]);
    if (code != CLI_OK)
        return code;
    if (policy_diff(&policies[0], &policies[1], arena, &all, &n) != ERR_NONE)
        return cli_fail_memory(cli);
    if (cli->json)
        return print_json(cli, all, n);
    cli_say(cli, "From policy %lld to %lld:", (long long)numbers[0], (long long)numbers[1]);
    for (size_t i = 0; i < n; i++)
        print_one(&all[i]);
    if (n == 0)
        cli_say(cli, "Nothing that is enforced differs.");
    return CLI_OK;
}

int policy_run_diff(struct cli *cli)
{
    struct arena *arena = arena_new(3U * POLICY_ARENA_MAX);
    int code = arena == NULL ? cli_fail_memory(cli) : diff(cli, arena);
    arena_free(arena);
    return code;
}
