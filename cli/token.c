/* holdfast token: what lets others read the ledger or metrics, or a broker ask, over HTTPS. */
#include <string.h>

#include "base/clock.h"
#include "cli/list.h"
#include "cli/save.h"
#include "cli/when.h"

#define VALID_STANDARD "90d"

static void scopes_text(const json_t *token, char *text, size_t size)
{
    const json_t *scopes = json_object_get(token, "scopes");
    struct writer w = writer_over(text, size - 1);
    for (size_t i = 0; i < json_array_size(scopes); i++) {
        const char *scope = json_string_value(json_array_get(scopes, i));
        writer_text(&w, i == 0 ? "" : ", ");
        writer_text(&w, scope == NULL ? "?" : scope);
    }
    text[w.len] = '\0';
}

static enum err token_row(struct table *t, const json_t *token, int64_t now)
{
    char scopes[64], created[WHEN_TEXT_MAX], expires[WHEN_TEXT_MAX];
    int64_t expires_at = json_time_of(token, "expires_at");
    scopes_text(token, scopes, sizeof scopes);
    when_relative(json_time_of(token, "created_at"), now, created);
    when_relative(expires_at, now, expires);
    enum err err = table_add(t, json_text_of(token, "name"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, scopes, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, created, COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, expires, expires_at <= now ? COLOUR_BAD : COLOUR_NONE)
                           : err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "TOKEN", .fixed = true},
        {.name = "SCOPES"},
        {.name = "CREATED"},
        {.name = "EXPIRES"},
    };
    static const struct list list = {
        .path = "/v1/tokens",
        .query = "",
        .array = "tokens",
        .none = "No tokens; `holdfast token create` makes one.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = token_row,
    };
    return list_run(cli, &list);
}

/* ---- create ---- */

static void write_scopes(struct json_writer *j, const char *scopes)
{
    json_key(j, "scopes");
    json_open_array(j);
    for (struct slice left = slice_of_text(scopes); left.len > 0;) {
        const uint8_t *comma = memchr(left.data, ',', left.len);
        size_t n = comma == NULL ? left.len : (size_t)(comma - left.data);
        json_slice(j, slice_of(left.data, n));
        size_t taken = comma == NULL ? n : n + 1;
        left = slice_of(left.data + taken, left.len - taken);
    }
    json_close_array(j);
}

static int give(struct cli *cli, const json_t *made)
{
    const char *path = cli_value(cli, "output"), *token = json_text_of(made, "token");
    if (path == NULL) {
        if (cli->json)
            return json_print(cli, made);
        (void)printf("%s\n", token);
        cli_say(cli, "It is shown this once; keep it where only its reader can read it.");
        return CLI_OK;
    }
    uint8_t bytes[256];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_text(&w, token);
    writer_text(&w, "\n");
    int code = w.err == ERR_NONE ? save_secret(cli, path, writer_bytes(&w)) : CLI_INTERNAL;
    mem_wipe(bytes, sizeof bytes);
    if (code != CLI_OK) {
        cli_warn(cli, "the token %s was made and is lost; remove it: holdfast token remove %s",
                 json_text_of(made, "name"), json_text_of(made, "name"));
        return code;
    }
    if (!cli->json) {
        cli_say(cli, "%s: the token", path);
        return CLI_OK;
    }
    json_t *document CLEANUP(json_cleanup) =
        json_pack("{s:s, s:s}", "name", json_text_of(made, "name"), "file", path);
    return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
}

static int run_create(struct cli *cli)
{
    const char *valid = cli_value(cli, "valid");
    int64_t expires_at = 0;
    int code = cli_check_name(cli, "token", cli->operands[0]);
    if (code == CLI_OK)
        code = cli_read_time(cli, "--valid", valid == NULL ? VALID_STANDARD : valid, false,
                             &expires_at);
    if (code != CLI_OK)
        return code;
    uint8_t bytes[4096];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "name", cli->operands[0]);
    write_scopes(&j, cli_value(cli, "scope"));
    json_field_time(&j, "expires_at", expires_at);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage", "--scope or --valid is far too long");
    struct hub_answer answer CLEANUP(hub_answer_wipe) = {.status = 0};
    code = hub_call(cli, "POST", "/v1/tokens", writer_bytes(&w), &answer);
    return code == CLI_OK ? give(cli, answer.json) : code;
}

static int run_remove(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = cli_check_name(cli, "token", cli->operands[0]);
    if (code == CLI_OK)
        code = cli_confirm(cli, "remove the token %s? Whoever uses it is refused from then on.",
                           cli->operands[0]);
    if (code != CLI_OK)
        return code;
    (void)snprintf(target, sizeof target, "/v1/tokens/%s", cli->operands[0]);
    code = hub_call(cli, "DELETE", target, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "The token %s is refused from now on.", cli->operands[0]);
    return json_print_nothing(cli);
}

/* ---- table ---- */

static const struct cli_option list_options[] = {LIST_OPTIONS};
static const struct cli_option create_options[] = {
    {.name = "scope",
     .value = "SCOPES",
     .required = true,
     .complete = COMPLETE_WORDS,
     .words = "ledger metrics ledger,metrics hooks",
     .help = "what it is for, with commas: ledger, metrics, hooks"},
    {.name = "valid",
     .value = "TIME",
     .help = "until when: a duration or a date; standard: " VALID_STANDARD},
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it to a new file that only you can read"},
};

static const struct cli_command commands[] = {
    {.verb = "create",
     .operands = {{.name = "NAME"}},
     CLI_OPTIONS(create_options),
     .summary = "make a token, and show it this once",
     .run = run_create},
    {.verb = "list",
     CLI_OPTIONS(list_options),
     .summary = "names, scopes and dates of the tokens",
     .run = run_list},
    {.verb = "remove",
     .operands = {{.name = "NAME", .complete = COMPLETE_TOKEN}},
     .summary = "end a token: it is refused from the next request on",
     .run = run_remove},
};

const struct cli_noun noun_token = {
    .name = "token",
    .summary = "tokens for readers of the ledger and of metrics, and for brokers",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
