#include "cli/hub_fleet.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/hub_link.h"
#include "cli/save.h"
#include "cli/settings.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/when.h"
#include "pki/ca_hub.h"

static int fail(struct cli *cli, enum err err, const char *explain)
{
    static const char *const words[ERR_COUNT] = {
        [ERR_EXISTS] = "exists",
        [ERR_REFUSED] = "refused",
        [ERR_NOT_FOUND] = "not-found",
        [ERR_SYNTAX] = "malformed",
    };
    return cli_fail(cli, cli_exit_of_err(err), words[err] != NULL ? words[err] : "ca", "%s",
                    explain);
}

/* ---- on the new machine ---- */

int hub_fleet_join(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    uint8_t note[NOTE_MAX];
    struct writer w = writer_over(note, sizeof note);
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    enum err err = ca_hub_request(state, cli_value(cli, "fleet"), cli->operands[0],
                                  cli_value(cli, "signer-user"), &w, explain);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    return save_note(cli, cli_value(cli, "output"), writer_bytes(&w),
                     "request; whoever keeps the fleet's root answers it: holdfast ca certify",
                     "request");
}

int hub_fleet_install(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], explain[256] = "";
    const char *path = cli->operands[0];
    uint8_t *card = NULL;
    size_t len = 0;
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    if (file_read(path, NOTE_MAX, &card, &len) != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    enum err err = ca_hub_install(state, slice_of(card, len), explain);
    free(card);
    if (err != ERR_NONE)
        return fail(cli, err, explain);
    cli_say(cli, "Installed. Once a hub of the fleet has admitted the same file (`holdfast hub "
                 "admit`), this one can start.");
    return json_print_nothing(cli);
}

/* ---- on a hub of the fleet ---- */

int hub_fleet_admit(struct cli *cli)
{
    const char *path = cli->operands[0];
    uint8_t *card = NULL;
    size_t len = 0;
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    if (file_read(path, NOTE_MAX, &card, &len) != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", path);
    int code = hub_ask(cli, "POST", "/v1/hubs", "text/plain", slice_of(card, len), &answer);
    free(card);
    if (code != CLI_OK)
        return code;
    if (answer.status >= 400)
        return cli_fail_problem(cli, &answer.problem);
    if (cli->json)
        return json_print(cli, answer.json);
    cli_say(cli, "The hub %s is admitted: it may start.", json_text_of(answer.json, "name"));
    return CLI_OK;
}

static enum err add_hub(struct table *t, const json_t *hub, const char *own, int64_t now)
{
    char joined[WHEN_TEXT_MAX], until[WHEN_TEXT_MAX], name[128];
    const char *status = json_text_of(hub, "status");
    int64_t not_after = json_time_of(hub, "issuing_not_after");
    bool here = strcmp(json_text_of(hub, "name"), own) == 0;
    bool left = strcmp(status, "left") == 0;
    (void)snprintf(name, sizeof name, "%s%s", json_text_of(hub, "name"), here ? " (this one)" : "");
    when_relative(json_time_of(hub, "joined_at"), now, joined);
    when_relative(not_after, now, until);
    enum err err = table_add(t, name, here ? COLOUR_BOLD : COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, status, left ? COLOUR_DIM : COLOUR_GOOD);
    if (err == ERR_NONE)
        err = table_add(t, joined, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, until, not_after <= now && !left ? COLOUR_BAD : COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, json_text_of(hub, "reason"), COLOUR_DIM) : err;
}

static int print_hubs(struct cli *cli, const json_t *hubs, const char *own)
{
    static const struct table_column columns[] = {
        {.name = "HUB", .fixed = true}, {.name = "STATUS"}, {.name = "JOINED"},
        {.name = "ISSUING CA EXPIRES"}, {.name = "REASON"},
    };
    struct table t CLEANUP(table_free) = table_of(columns, ARRAY_LEN(columns));
    int64_t now = clock_seconds();
    for (size_t i = 0; i < json_array_size(hubs); i++)
        if (add_hub(&t, json_array_get(hubs, i), own, now) != ERR_NONE)
            return cli_fail_memory(cli);
    table_print(&t);
    return CLI_OK;
}

int hub_fleet_list(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    struct hub_answer own CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(cli, "/v1/hubs", &answer);
    if (code == CLI_OK && cli->json)
        return json_print(cli, answer.json);
    if (code == CLI_OK)
        code = hub_get(cli, "/v1/hub", &own);
    return code == CLI_OK ? print_hubs(cli, json_object_get(answer.json, "hubs"),
                                       json_text_of(own.json, "name"))
                          : code;
}

int hub_fleet_remove(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    uint8_t bytes[2048];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = cli_check_name(cli, "hub", cli->operands[0]);
    if (code == CLI_OK)
        code = cli_confirm(cli, "remove the hub %s? It ends, and does not come back with its keys.",
                           cli->operands[0]);
    if (code != CLI_OK)
        return code;
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "reason", cli_value(cli, "reason"));
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage", "--reason is far too long");
    (void)snprintf(target, sizeof target, "/v1/hubs/%s/remove", cli->operands[0]);
    code = hub_call(cli, "POST", target, writer_bytes(&w), &answer);
    if (code != CLI_OK || cli->json)
        return code == CLI_OK ? json_print(cli, answer.json) : code;
    cli_say(cli,
            "The hub %s has left. Take its ledger key out of the trust bundle (`holdfast ca bundle "
            "--without`), and its rights to the database away.",
            cli->operands[0]);
    return CLI_OK;
}
