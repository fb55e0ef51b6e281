/* holdfast manifest: the devices that are expected from a factory. */
#include "base/clock.h"
#include "cli/list.h"
#include "cli/manifest_import.h"
#include "cli/when.h"

static enum err manifest_row(struct table *t, const json_t *m, int64_t now)
{
    char devices[WHEN_TEXT_MAX], when[WHEN_TEXT_MAX], owner[32];
    when_count((uint64_t)json_number_of(m, "devices"), devices);
    when_relative(json_time_of(m, "changed_at"), now, when);
    const char *const cells[] = {json_text_of(m, "id"), json_text_of(m, "model"),
                                 json_owner_of(m, owner), devices, when};
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < ARRAY_LEN(cells); i++)
        err = table_add(t, cells[i], COLOUR_NONE);
    return err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "MANIFEST", .fixed = true},
        {.name = "MODEL"},
        {.name = "OWNER"},
        {.name = "DEVICES", .right = true, .fixed = true},
        {.name = "CHANGED", .fixed = true},
    };
    static const struct list list = {
        .path = "/v1/manifests",
        .query = "",
        .array = "manifests",
        .none = "No manifests; `holdfast manifest import --create` makes one from a file.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = manifest_row,
    };
    return list_run(cli, &list);
}

static int show(struct cli *cli, const json_t *m)
{
    if (cli->json)
        return json_print(cli, m);
    char text[WHEN_TEXT_MAX], owner[32];
    int64_t now = clock_seconds();
    text_pair("manifest", json_text_of(m, "id"), COLOUR_BOLD);
    text_pair("model", json_text_of(m, "model"), COLOUR_NONE);
    text_pair("owner", json_owner_of(m, owner), COLOUR_NONE);
    when_count((uint64_t)json_number_of(m, "devices"), text);
    text_pair("devices", text, COLOUR_NONE);
    when_full(json_time_of(m, "created_at"), now, text);
    text_pair("created", text, COLOUR_NONE);
    when_full(json_time_of(m, "changed_at"), now, text);
    text_pair("changed", text, COLOUR_NONE);
    return CLI_OK;
}

static int run_show(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = cli_check_name(cli, "manifest", cli->operands[0]);
    if (code != CLI_OK)
        return code;
    (void)snprintf(target, sizeof target, "/v1/manifests/%s", cli->operands[0]);
    code = hub_get(cli, target, &answer);
    return code == CLI_OK ? show(cli, answer.json) : code;
}

static int run_create(struct cli *cli)
{
    uint8_t bytes[1024];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    const char *model = cli_value(cli, "model"), *owner = cli_value(cli, "owner");
    int code = cli_check_name(cli, "manifest", cli->operands[0]);
    if (code == CLI_OK)
        code = cli_check_name(cli, "model", model);
    if (code == CLI_OK)
        code = cli_check_name(cli, "owner", owner);
    if (code != CLI_OK)
        return code;
    json_open_object(&j);
    json_field_text(&j, "id", cli->operands[0]);
    json_field_text(&j, "model", model);
    json_field_text(&j, "owner", owner);
    json_close_object(&j);
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    code = hub_call(cli, "POST", "/v1/manifests", writer_bytes(&w), &answer);
    return code == CLI_OK ? show(cli, answer.json) : code;
}

/* ---- table ---- */

static const struct cli_option list_options[] = {LIST_OPTIONS};

static const struct cli_option create_options[] = {
    {.name = "model",
     .value = "MODEL",
     .required = true,
     .complete = COMPLETE_MODEL,
     .help = "what its devices are"},
    {.name = "owner", .value = "OWNER", .required = true, .help = "whose they will be"},
};

static const struct cli_option import_options[] = {
    {.name = "create", .help = "make the manifest first; needs --model and --owner"},
    {.name = "model", .value = "MODEL", .complete = COMPLETE_MODEL, .help = "with --create"},
    {.name = "owner", .value = "OWNER", .help = "with --create"},
    {.name = "format",
     .value = "FORMAT",
     .complete = COMPLETE_WORDS,
     .words = "csv jsonl",
     .help = "csv or jsonl; standard: as the file's name ends"},
    {.name = "claim-valid",
     .value = "TIME",
     .help = "until when claims are that do not say; standard: " IMPORT_CLAIM_VALID},
    {.name = "claims-out",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write claim codes to a new file that only you can read"},
    {.name = "resume", .help = "pass over rows that an interrupted run brought in"},
};

#define MANIFEST                                                                                   \
    {                                                                                              \
        .name = "MANIFEST", .complete = COMPLETE_MANIFEST                                          \
    }
#define NEW_MANIFEST                                                                               \
    {                                                                                              \
        .name = "MANIFEST"                                                                         \
    }

static const struct cli_command commands[] = {
    {.verb = "create",
     .operands = {NEW_MANIFEST},
     CLI_OPTIONS(create_options),
     .summary = "make a manifest; it starts empty",
     .run = run_create},
    {.verb = "list", CLI_OPTIONS(list_options), .summary = "the manifests", .run = run_list},
    {.verb = "show", .operands = {MANIFEST}, .summary = "one manifest", .run = run_show},
    {.verb = "import",
     .operands = {MANIFEST, {.name = "FILE", .complete = COMPLETE_FILE}},
     CLI_OPTIONS(import_options),
     .summary = "bring in the devices of a factory, from a file of any size",
     .help =
         "CSV with a heading: serial, and for each row one of claim (yes, a duration, a date),\n"
         "key_sha256 (of the public key) and idevid (the path of a certificate, seen from the\n"
         "file's folder). Or JSON lines: an object a line, as the hub takes them. - is standard\n"
         "input. All of it is checked before the first row is sent. holdfast-manifest(1) says\n"
         "more.\n",
     .run = manifest_import_run},
};

const struct cli_noun noun_manifest = {
    .name = "manifest",
    .summary = "the devices that are expected from a factory",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
