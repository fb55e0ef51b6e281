/* holdfast model: kinds of device. */
#include <string.h>

#include "base/clock.h"
#include "cli/list.h"
#include "cli/when.h"

#define KEYS_STANDARD     "P-256,P-384,Ed25519"
#define LIFETIME_STANDARD "30d"
#define ENROLLED_STANDARD "1h"
#define GRACE_STANDARD    "30d"
#define GRACE_NONE        "none"

/* ---- list and show ---- */

static void keys_text(const json_t *model, char *text, size_t size)
{
    const json_t *kinds = json_object_get(model, "key_kinds");
    struct writer w = writer_over(text, size - 1);
    for (size_t i = 0; i < json_array_size(kinds); i++) {
        const char *kind = json_string_value(json_array_get(kinds, i));
        writer_text(&w, i == 0 ? "" : ", ");
        writer_text(&w, kind == NULL ? "?" : kind);
    }
    text[w.len] = '\0';
}

static void grace_text(const json_t *model, char text[WHEN_TEXT_MAX])
{
    int64_t seconds = json_number_of(model, "grace_seconds");
    if (seconds > 0)
        when_duration(seconds, text);
    else
        (void)snprintf(text, WHEN_TEXT_MAX, GRACE_NONE);
}

static enum err model_row(struct table *t, const json_t *m, int64_t now)
{
    char keys[128], lifetime[WHEN_TEXT_MAX], enrolled[WHEN_TEXT_MAX], grace[WHEN_TEXT_MAX],
        when[WHEN_TEXT_MAX];
    keys_text(m, keys, sizeof keys);
    when_duration(json_number_of(m, "lifetime_seconds"), lifetime);
    when_duration(json_number_of(m, "enrolled_lifetime_seconds"), enrolled);
    grace_text(m, grace);
    when_relative(json_time_of(m, "changed_at"), now, when);
    const char *const cells[] = {
        json_text_of(m, "id"),
        json_text_of(m, "maker"),
        json_text_of(m, "proof"),
        keys,
        lifetime,
        enrolled,
        grace,
        when,
    };
    enum err err = ERR_NONE;
    for (size_t i = 0; err == ERR_NONE && i < ARRAY_LEN(cells); i++)
        err = table_add(t, cells[i], COLOUR_NONE);
    return err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "MODEL", .fixed = true},
        {.name = "MAKER"},
        {.name = "PROOF", .fixed = true},
        {.name = "KEYS"},
        {.name = "LIFETIME", .right = true, .fixed = true},
        {.name = "ENROLLED", .right = true, .fixed = true},
        {.name = "GRACE", .right = true, .fixed = true},
        {.name = "CHANGED", .fixed = true},
    };
    static const struct list list = {
        .path = "/v1/models",
        .query = "",
        .array = "models",
        .none = "No models; `holdfast model create` makes one.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = model_row,
    };
    return list_run(cli, &list);
}

static int show(struct cli *cli, const json_t *m)
{
    if (cli->json)
        return json_print(cli, m);
    char text[128];
    int64_t now = clock_seconds();
    text_pair("model", json_text_of(m, "id"), COLOUR_BOLD);
    text_pair("maker", json_text_of(m, "maker"), COLOUR_NONE);
    text_pair("proof", json_text_of(m, "proof"), COLOUR_NONE);
    keys_text(m, text, sizeof text);
    text_pair("keys", text, COLOUR_NONE);
    when_duration(json_number_of(m, "lifetime_seconds"), text);
    text_pair("lifetime", text, COLOUR_NONE);
    when_duration(json_number_of(m, "enrolled_lifetime_seconds"), text);
    text_pair("while enrolled", text, COLOUR_NONE);
    grace_text(m, text);
    text_pair("grace", text, COLOUR_NONE);
    when_full(json_time_of(m, "created_at"), now, text);
    text_pair("created", text, COLOUR_NONE);
    when_full(json_time_of(m, "changed_at"), now, text);
    text_pair("changed", text, COLOUR_NONE);
    return CLI_OK;
}

static int model_target(struct cli *cli, char ret_target[HUB_TARGET_MAX])
{
    int code = cli_check_name(cli, "model", cli->operands[0]);
    if (code == CLI_OK)
        (void)snprintf(ret_target, HUB_TARGET_MAX, "/v1/models/%s", cli->operands[0]);
    return code;
}

static int run_show(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = model_target(cli, target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    return code == CLI_OK ? show(cli, answer.json) : code;
}

/* ---- create and change ---- */

/* What an option holds, else `standard`; where that is NULL, too, the field is left out. */
static const char *value_or(struct cli *cli, const char *name, const char *standard)
{
    const char *value = cli_value(cli, name);
    return value == NULL ? standard : value;
}

/* "P-256,Ed25519" -> the kinds, which the hub checks. */
static void write_keys(struct json_writer *j, const char *keys)
{
    json_key(j, "key_kinds");
    json_open_array(j);
    for (struct slice left = slice_of_text(keys); left.len > 0;) {
        const uint8_t *comma = memchr(left.data, ',', left.len);
        size_t n = comma == NULL ? left.len : (size_t)(comma - left.data);
        json_slice(j, slice_of(left.data, n));
        size_t taken = comma == NULL ? n : n + 1;
        left = slice_of(left.data + taken, left.len - taken);
    }
    json_close_array(j);
}

static int write_duration(struct cli *cli, struct json_writer *j, const char *option,
                          const char *field, const char *text)
{
    int64_t seconds = 0;
    if (text == NULL)
        return CLI_OK;
    int code = cli_read_duration(cli, option, text, &seconds);
    if (code == CLI_OK)
        json_field_integer(j, field, seconds);
    return code;
}

static int write_fields(struct cli *cli, struct json_writer *j, bool standards)
{
    const char *proof = value_or(cli, "proof", standards ? "manifest" : NULL);
    const char *keys = value_or(cli, "keys", standards ? KEYS_STANDARD : NULL);
    if (proof != NULL)
        json_field_text(j, "proof", proof);
    if (keys != NULL)
        write_keys(j, keys);
    int code = write_duration(cli, j, "--lifetime", "lifetime_seconds",
                              value_or(cli, "lifetime", standards ? LIFETIME_STANDARD : NULL));
    if (code == CLI_OK)
        code = write_duration(
            cli, j, "--enrolled-lifetime", "enrolled_lifetime_seconds",
            value_or(cli, "enrolled-lifetime", standards ? ENROLLED_STANDARD : NULL));
    const char *grace = value_or(cli, "grace", standards ? GRACE_STANDARD : NULL);
    if (code == CLI_OK && grace != NULL && strcmp(grace, GRACE_NONE) == 0)
        json_field_integer(j, "grace_seconds", 0);
    else if (code == CLI_OK)
        code = write_duration(cli, j, "--grace", "grace_seconds", grace);
    return code;
}

static int send_model(struct cli *cli, const char *method, const char *target,
                      const struct writer *w)
{
    if (w->err != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage", "an option is far too long");
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_call(cli, method, target, writer_bytes(w), &answer);
    return code == CLI_OK ? show(cli, answer.json) : code;
}

static int run_create(struct cli *cli)
{
    uint8_t bytes[4096];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    const char *maker = cli_value(cli, "maker");
    int code = cli_check_name(cli, "model", cli->operands[0]);
    if (code == CLI_OK)
        code = cli_check_name(cli, "maker", maker);
    if (code != CLI_OK)
        return code;
    json_open_object(&j);
    json_field_text(&j, "id", cli->operands[0]);
    json_field_text(&j, "maker", maker);
    code = write_fields(cli, &j, true);
    json_close_object(&j);
    return code == CLI_OK ? send_model(cli, "POST", "/v1/models", &w) : code;
}

static int run_change(struct cli *cli)
{
    uint8_t bytes[4096];
    char target[HUB_TARGET_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    int code = model_target(cli, target);
    if (code != CLI_OK)
        return code;
    json_open_object(&j);
    code = write_fields(cli, &j, false);
    json_close_object(&j);
    if (code == CLI_OK && w.len == 2)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "what is to change? See `holdfast model change --help`");
    return code == CLI_OK ? send_model(cli, "PATCH", target, &w) : code;
}

static int run_delete(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = model_target(cli, target);
    if (code == CLI_OK)
        code = cli_confirm(cli, "delete the model %s?", cli->operands[0]);
    if (code == CLI_OK)
        code = hub_call(cli, "DELETE", target, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "The model %s is gone.", cli->operands[0]);
    return json_print_nothing(cli);
}

/* ---- table ---- */

#define MODEL_OPTIONS                                                                              \
    {.name = "proof",                                                                              \
     .value = "PROOF",                                                                             \
     .complete = COMPLETE_WORDS,                                                                   \
     .words = "manifest approval",                                                                 \
     .help = "what makes a device trusted: manifest or approval; standard: manifest"},             \
        {.name = "keys",                                                                           \
         .value = "KINDS",                                                                         \
         .complete = COMPLETE_WORDS,                                                               \
         .words = "P-256 P-384 Ed25519 RSA " KEYS_STANDARD,                                        \
         .help =                                                                                   \
             "kinds of key, with commas: P-256, P-384, Ed25519, RSA; standard: " KEYS_STANDARD},   \
        {.name = "lifetime",                                                                       \
         .value = "DURATION",                                                                      \
         .help = "of a trusted device's certificate; standard: " LIFETIME_STANDARD},               \
        {.name = "enrolled-lifetime",                                                              \
         .value = "DURATION",                                                                      \
         .help =                                                                                   \
             "of a certificate while its device is only enrolled; standard: " ENROLLED_STANDARD},  \
    {                                                                                              \
        .name = "grace", .value = "DURATION",                                                      \
        .help = "after its certificate's end a device comes back by itself, or none; "             \
                "standard: " GRACE_STANDARD                                                        \
    }

static const struct cli_option list_options[] = {LIST_OPTIONS};
static const struct cli_option create_options[] = {
    {.name = "maker", .value = "MAKER", .required = true, .help = "who makes the devices"},
    MODEL_OPTIONS,
};
static const struct cli_option change_options[] = {MODEL_OPTIONS};

#define NEW_MODEL                                                                                  \
    {                                                                                              \
        .name = "MODEL"                                                                            \
    }
#define MODEL                                                                                      \
    {                                                                                              \
        .name = "MODEL", .complete = COMPLETE_MODEL                                                \
    }

static const struct cli_command commands[] = {
    {.verb = "create",
     .operands = {NEW_MODEL},
     CLI_OPTIONS(create_options),
     .summary = "make a model",
     .run = run_create},
    {.verb = "list", CLI_OPTIONS(list_options), .summary = "the models", .run = run_list},
    {.verb = "show", .operands = {MODEL}, .summary = "one model", .run = run_show},
    {.verb = "change",
     .operands = {MODEL},
     CLI_OPTIONS(change_options),
     .summary = "change what is given",
     .help = "It holds for certificates that are issued from then on.\n",
     .run = run_change},
    {.verb = "delete",
     .operands = {MODEL},
     .summary = "delete a model that no manifest names",
     .run = run_delete},
};

const struct cli_noun noun_model = {
    .name = "model",
    .summary = "kinds of device: what makes one trusted, how long certificates live",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
