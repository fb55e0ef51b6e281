#include "cli/device_assign.h"

#include <string.h>

#include "cli/hub_link.h"

const struct cli_option device_assign_options[DEVICE_ASSIGN_OPTIONS] = {
    {.name = "group", .value = "GROUP", .help = "one that the policy in force defines"},
    {.name = "no-group", .help = "take them out of their groups"},
};

static int assign(struct cli *cli, const char *device, const char *group, json_t *array)
{
    char target[HUB_TARGET_MAX];
    uint8_t bytes[256];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = cli_check_name(cli, "device", device);
    if (code != CLI_OK)
        return code;
    json_open_object(&j);
    if (group != NULL)
        json_field_text(&j, "group", group);
    json_close_object(&j);
    (void)snprintf(target, sizeof target, "/v1/devices/%s/group", device);
    code = hub_call(cli, "PUT", target, writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    if (json_array_append(array, answer.json) != 0)
        return cli_fail_memory(cli);
    if (group != NULL)
        cli_say(cli, "%s is in %s.", device, group);
    else
        cli_say(cli, "%s is in no group.", device);
    return CLI_OK;
}

int device_assign(struct cli *cli)
{
    const char *group = cli_value(cli, "group");
    if ((group != NULL) == cli_has(cli, "no-group"))
        return cli_fail(cli, CLI_USAGE, "usage", "give --group GROUP, or --no-group");
    int code = group == NULL ? CLI_OK : cli_check_name(cli, "group", group);
    json_t *array = json_array();
    json_t *document CLEANUP(json_cleanup) = json_pack("{s:o}", "devices", array);
    if (document == NULL)
        return cli_fail_memory(cli);
    for (size_t i = 0; code == CLI_OK && i < cli->operands_len; i++)
        code = assign(cli, cli->operands[i], group, array);
    return code == CLI_OK && cli->json ? json_print(cli, document) : code;
}
