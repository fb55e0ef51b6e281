#include "cli/device_password.h"

#include "base/clock.h"
#include "cli/list.h"
#include "cli/save.h"
#include "cli/when.h"

const struct cli_option password_options[2] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it to a new file that only you can read"},
    {.name = "remove", .help = "take it away: the device is expected again"},
};

static int remove_password(struct cli *cli, const char *target)
{
    const char *id = cli->operands[0];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = cli_confirm(cli, "take the password of %s away? It is refused from then on.", id);
    if (code == CLI_OK)
        code = hub_call(cli, "DELETE", target, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "%s is expected again; a claim code or a new password lets it in.", id);
    return json_print_nothing(cli);
}

static int save(struct cli *cli, const char *path, const char *password)
{
    uint8_t bytes[64];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_text(&w, password);
    writer_text(&w, "\n");
    int code = w.err == ERR_NONE ? save_secret(cli, path, writer_bytes(&w)) : CLI_INTERNAL;
    mem_wipe(bytes, sizeof bytes);
    if (code != CLI_OK)
        cli_warn(cli,
                 "the password was made and is lost; make another: holdfast device password %s",
                 cli->operands[0]);
    return code;
}

static void say_dates(struct cli *cli, const json_t *made)
{
    char until[WHEN_TEXT_MAX];
    int64_t now = clock_seconds(), previous = json_time_of(made, "previous_until");
    when_full(json_time_of(made, "expires_at"), now, until);
    cli_say(cli, "It is told this once, and good until %s.", until);
    if (previous == 0)
        return;
    when_full(previous, now, until);
    cli_say(cli, "The one before it goes on working until this one is used, or %s.", until);
}

int run_password(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    const char *path = cli_value(cli, "output");
    struct hub_answer answer CLEANUP(hub_answer_wipe) = {.status = 0};
    int code = cli_check_name(cli, "device", cli->operands[0]);
    if (code != CLI_OK)
        return code;
    (void)snprintf(target, sizeof target, "/v1/devices/%s/password", cli->operands[0]);
    if (cli_has(cli, "remove"))
        return remove_password(cli, target);
    code = hub_call(cli, "POST", target, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    const char *password = json_text_of(answer.json, "password");
    if (path != NULL)
        code = save(cli, path, password);
    if (code != CLI_OK)
        return code;
    if (cli->json && path != NULL) {
        json_t *document CLEANUP(json_cleanup) =
            json_pack("{s:s, s:s, s:s}", "device", cli->operands[0], "file", path, "expires_at",
                      json_text_of(answer.json, "expires_at"));
        return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
    }
    if (cli->json)
        return json_print(cli, answer.json);
    if (path != NULL)
        cli_say(cli, "%s: the password", path);
    else
        (void)printf("%s\n", password);
    say_dates(cli, answer.json);
    return CLI_OK;
}
