/* holdfast subject: the persons whose names are kept, and forgetting them. */
#include "base/clock.h"
#include "cli/list.h"
#include "cli/text.h"
#include "cli/when.h"

/* A name, or "~7". */
static int target_of(struct cli *cli, const char *subject, const char *suffix,
                     char ret_target[HUB_TARGET_MAX])
{
    int code = cli_check_name(cli, "person", subject[0] == '~' ? subject + 1 : subject);
    if (code == CLI_OK)
        (void)snprintf(ret_target, HUB_TARGET_MAX, "/v1/subjects/%s%s", subject, suffix);
    return code;
}

static enum err subject_row(struct table *t, const json_t *s, int64_t now)
{
    char created[WHEN_TEXT_MAX], erased[WHEN_TEXT_MAX] = "";
    int64_t erased_at = json_time_of(s, "erased_at");
    when_relative(json_time_of(s, "created_at"), now, created);
    if (erased_at != 0)
        when_relative(erased_at, now, erased);
    const char *const cells[] = {json_text_of(s, "subject"), json_text_of(s, "name"),
                                 json_text_of(s, "state"), created, erased};
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < ARRAY_LEN(cells); i++)
        err = table_add(t, cells[i], COLOUR_NONE);
    return err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "SUBJECT", .fixed = true}, {.name = "NAME"},
        {.name = "STATE", .fixed = true},   {.name = "SINCE", .fixed = true},
        {.name = "ERASED", .fixed = true},
    };
    static const struct list list = {
        .path = "/v1/subjects",
        .query = "",
        .array = "subjects",
        .none = "Nobody's name is kept; owners are, from the first manifest on.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = subject_row,
    };
    return list_run(cli, &list);
}

static void show_time(const char *label, const json_t *s, const char *member)
{
    char text[WHEN_TEXT_MAX];
    int64_t at = json_time_of(s, member);
    if (at == 0)
        return;
    when_full(at, clock_seconds(), text);
    text_pair(label, text, COLOUR_NONE);
}

static int show(struct cli *cli, const json_t *s)
{
    if (cli->json)
        return json_print(cli, s);
    text_pair("subject", json_text_of(s, "subject"), COLOUR_BOLD);
    text_pair("name", json_text_or_null(s, "name"), COLOUR_NONE);
    text_pair("state", json_text_of(s, "state"), COLOUR_NONE);
    show_time("since", s, "created_at");
    show_time("erased", s, "erased_at");
    return CLI_OK;
}

static int run_show(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = target_of(cli, cli->operands[0], "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    return code == CLI_OK ? show(cli, answer.json) : code;
}

static int run_erase(struct cli *cli)
{
    const char *subject = cli->operands[0];
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = target_of(cli, subject, "/erase", target);
    if (code == CLI_OK)
        code = cli_confirm(cli, "forget %s? Nobody can read that name again, in no backup either.",
                           subject);
    if (code == CLI_OK)
        code = hub_call(cli, "POST", target, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    cli_say(cli,
            "%s is forgotten. Copies of subjects.keys made before still tell the name: replace "
            "them by a new one.",
            json_text_of(answer.json, "subject"));
    return cli->json ? json_print(cli, answer.json) : CLI_OK;
}

/* ---- table ---- */

static const struct cli_option list_options[] = {LIST_OPTIONS};

static const struct cli_command commands[] = {
    {.verb = "list",
     CLI_OPTIONS(list_options),
     .summary = "who is known, and who was forgotten",
     .run = run_list},
    {.verb = "show",
     .operands = {{.name = "SUBJECT"}},
     .summary = "one person, by name or number",
     .run = run_show},
    {.verb = "erase",
     .operands = {{.name = "SUBJECT"}},
     .summary = "forget a person: the name can't be read again, in the ledger and backups either",
     .help =
         "The key that the name is sealed under is destroyed. What the person owns stays, as that\n"
         "of somebody unnamed. There is no way back.\n",
     .run = run_erase},
};

const struct cli_noun noun_subject = {
    .name = "subject",
    .summary = "persons whose names are kept, sealed",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
