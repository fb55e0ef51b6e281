#include "cli/device_certificates.h"

#include "base/clock.h"
#include "cli/device_show.h"
#include "cli/hub_link.h"
#include "cli/table.h"
#include "cli/when.h"

static enum err certificate_row(struct table *t, const json_t *c, int64_t now)
{
    static const char *const times[] = {"issued_at", "not_after", "first_used_at", "ended_at"};
    const char *status = json_text_of(c, "status");
    enum err err = table_add(t, json_text_of(c, "serial"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, status, device_colour(status));
    for (size_t i = 0; err == ERR_NONE && i < ARRAY_LEN(times); i++) {
        int64_t seconds = json_time_of(c, times[i]);
        char when[WHEN_TEXT_MAX] = "";
        if (seconds != 0)
            when_relative(seconds, now, when);
        err = table_add(t, when, COLOUR_NONE);
    }
    return err;
}

int device_certificates(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "SERIAL", .fixed = true},
        {.name = "STATUS", .fixed = true},
        {.name = "ISSUED"},
        {.name = "UNTIL"},
        {.name = "FIRST USED"},
        {.name = "ENDED"},
    };
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = cli_check_name(cli, "device", cli->operands[0]);
    (void)snprintf(target, sizeof target, "/v1/devices/%s/certificates?limit=1000",
                   cli->operands[0]);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    const json_t *certificates = json_object_get(answer.json, "certificates");
    struct table t = table_of(columns, ARRAY_LEN(columns));
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < json_array_size(certificates); i++)
        err = certificate_row(&t, json_array_get(certificates, i), clock_seconds());
    if (err == ERR_NONE && json_array_size(certificates) > 0)
        table_print(&t);
    else if (err == ERR_NONE)
        cli_say(cli, "%s has had no certificate yet.", cli->operands[0]);
    table_free(&t);
    return err == ERR_NONE ? CLI_OK : cli_fail_memory(cli);
}
