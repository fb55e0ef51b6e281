/* holdfast broker: the MQTT brokers that admit the fleet's devices. */
#include <string.h>

#include "base/clock.h"
#include "cli/broker.h"
#include "cli/list.h"
#include "cli/save.h"
#include "cli/text.h"
#include "cli/when.h"

#define VALID_STANDARD "7d"

/* ---- list and show ---- */

static void hosts_text(const json_t *broker, char *text, size_t size)
{
    const json_t *hosts = json_object_get(broker, "hosts");
    struct writer w = writer_over(text, size - 1);
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        const char *host = json_string_value(json_array_get(hosts, i));
        writer_text(&w, i == 0 ? "" : ", ");
        writer_text(&w, host == NULL ? "?" : host);
    }
    text[w.len] = '\0';
}

static enum text_colour state_colour(const char *state)
{
    return strcmp(state, "trusted") == 0 ? COLOUR_GOOD : COLOUR_WARN;
}

static enum err broker_row(struct table *t, const json_t *broker, int64_t now)
{
    char hosts[1100], seen_at[WHEN_TEXT_MAX] = "", behind[32] = "", sessions[32] = "";
    const json_t *seen = json_object_get(broker, "seen");
    bool removed = strcmp(json_text_of(broker, "status"), "removed") == 0;
    hosts_text(broker, hosts, sizeof hosts);
    if (seen != NULL) {
        when_relative(json_time_of(seen, "seen_at"), now, seen_at);
        (void)snprintf(behind, sizeof behind, "%lld", (long long)json_number_of(seen, "behind"));
        (void)snprintf(sessions, sizeof sessions, "%lld",
                       (long long)json_number_of(seen, "sessions"));
    }
    const char *state = removed ? "removed" : json_text_of(broker, "state");
    enum err err = table_add(t, json_text_of(broker, "name"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, state, removed ? COLOUR_DIM : state_colour(state));
    if (err == ERR_NONE)
        err = table_add(t, hosts, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, seen == NULL ? NULL : seen_at, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, seen == NULL ? NULL : sessions, COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, seen == NULL ? NULL : behind, COLOUR_NONE) : err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "BROKER", .fixed = true},
        {.name = "STATE", .fixed = true},
        {.name = "HOSTS"},
        {.name = "SEEN"},
        {.name = "SESSIONS", .right = true},
        {.name = "BEHIND", .right = true},
    };
    static const struct list list = {
        .path = "/v1/brokers",
        .query = "",
        .array = "brokers",
        .none = "No brokers; `holdfast broker add` makes one.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = broker_row,
    };
    return list_run(cli, &list);
}

static int show(struct cli *cli, const json_t *broker)
{
    char hosts[1100], when[WHEN_TEXT_MAX];
    const json_t *seen = json_object_get(broker, "seen");
    int64_t now = clock_seconds(), removed_at = json_time_of(broker, "removed_at");
    if (cli->json)
        return json_print(cli, broker);
    hosts_text(broker, hosts, sizeof hosts);
    text_pair("broker", json_text_of(broker, "name"), COLOUR_BOLD);
    text_pair("status", json_text_of(broker, "status"), COLOUR_NONE);
    text_pair("device", json_text_of(broker, "state"), state_colour(json_text_of(broker, "state")));
    text_pair("hosts", hosts, COLOUR_NONE);
    when_full(json_time_of(broker, "added_at"), now, when);
    text_pair("added", when, COLOUR_NONE);
    if (removed_at != 0) {
        when_full(removed_at, now, when);
        text_pair("removed", when, COLOUR_NONE);
    }
    if (seen == NULL) {
        text_pair("seen", "never", COLOUR_WARN);
        return CLI_OK;
    }
    when_full(json_time_of(seen, "seen_at"), now, when);
    text_pair("seen", when, COLOUR_NONE);
    text_pair("software", json_text_of(seen, "software"), COLOUR_NONE);
    text_pair_format("sessions", "%lld", (long long)json_number_of(seen, "sessions"));
    text_pair_format("position", "%lld, %lld entries behind",
                     (long long)json_number_of(seen, "position"),
                     (long long)json_number_of(seen, "behind"));
    text_pair_format("rules", "version %lld", (long long)json_number_of(seen, "rules"));
    return CLI_OK;
}

static int target_of(struct cli *cli, char ret_target[HUB_TARGET_MAX])
{
    int code = cli_check_name(cli, "broker", cli->operands[0]);
    if (code == CLI_OK)
        (void)snprintf(ret_target, HUB_TARGET_MAX, "/v1/brokers/%s", cli->operands[0]);
    return code;
}

static int run_show(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = target_of(cli, target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    return code == CLI_OK ? show(cli, answer.json) : code;
}

/* ---- add and remove ---- */

static void write_hosts(struct json_writer *j, const char *hosts)
{
    json_key(j, "hosts");
    json_open_array(j);
    for (struct slice left = slice_of_text(hosts); left.len > 0;) {
        const uint8_t *comma = memchr(left.data, ',', left.len);
        size_t n = comma == NULL ? left.len : (size_t)(comma - left.data);
        json_open_object(j);
        json_field_slice(j, "host", slice_of(left.data, n));
        json_close_object(j);
        size_t taken = comma == NULL ? n : n + 1;
        left = slice_of(left.data + taken, left.len - taken);
    }
    json_close_array(j);
}

static int save_claim(struct cli *cli, const char *path, const char *claim)
{
    uint8_t bytes[64];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_text(&w, claim);
    writer_text(&w, "\n");
    int code = w.err == ERR_NONE ? save_secret(cli, path, writer_bytes(&w)) : CLI_INTERNAL;
    mem_wipe(bytes, sizeof bytes);
    if (code != CLI_OK)
        cli_warn(cli,
                 "the broker was added, and its claim code is lost; make another: holdfast device "
                 "claim %s",
                 cli->operands[0]);
    return code;
}

static int tell_added(struct cli *cli, const json_t *made)
{
    const char *path = cli_value(cli, "output"), *claim = json_text_of(made, "claim_code");
    const char *name = cli->operands[0];
    int code = path == NULL ? CLI_OK : save_claim(cli, path, claim);
    if (code != CLI_OK)
        return code;
    if (cli->json && path != NULL) {
        json_t *document CLEANUP(json_cleanup) =
            json_pack("{s:s, s:s}", "name", name, "file", path);
        return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
    }
    if (cli->json)
        return json_print(cli, made);
    if (path == NULL)
        (void)printf("%s\n", claim);
    if (path == NULL)
        cli_say(cli, "That is %s's claim code, shown this once. Its certificate will name %s.",
                name, cli_value(cli, "host"));
    else
        cli_say(cli, "%s: %s's claim code. Its certificate will name %s.", path, name,
                cli_value(cli, "host"));
    return CLI_OK;
}

static int run_add(struct cli *cli)
{
    const char *valid = cli_value(cli, "valid"), *name = cli->operands[0];
    int64_t expires_at = 0;
    int code = cli_check_name(cli, "broker", name);
    if (code == CLI_OK)
        code = cli_read_time(cli, "--valid", valid == NULL ? VALID_STANDARD : valid, false,
                             &expires_at);
    if (code != CLI_OK)
        return code;
    uint8_t bytes[4096];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "name", name);
    write_hosts(&j, cli_value(cli, "host"));
    json_field_time(&j, "expires_at", expires_at);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage", "--host is far too long");
    struct hub_answer answer CLEANUP(hub_answer_wipe) = {.status = 0};
    code = hub_call(cli, "POST", "/v1/brokers", writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    return tell_added(cli, answer.json);
}

static int run_remove(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = target_of(cli, target);
    if (code == CLI_OK)
        code =
            cli_confirm(cli,
                        "remove the broker %s? Its device is revoked for good, and it is told of "
                        "nobody any more; the name is not given again.",
                        cli->operands[0]);
    if (code == CLI_OK)
        code = hub_call(cli, "DELETE", target, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    cli_say(cli, "The broker %s is removed.", cli->operands[0]);
    return json_print_nothing(cli);
}

/* ---- table ---- */

static const struct cli_option list_options[] = {LIST_OPTIONS};
static const struct cli_option add_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write its claim code to a new file that only you can read"},
    {.name = "host",
     .value = "HOSTS",
     .required = true,
     .help = "where devices reach it: DNS names and addresses, with commas"},
    {.name = "valid",
     .value = "TIME",
     .help = "until when its claim code is good: a duration or a date; standard: " VALID_STANDARD},
};

static const struct cli_option enrol_options[] = {
    {.name = "hub",
     .value = "HUB",
     .required = true,
     .help = "its name; or HOST:PORT,HOST:PORT of its listeners device and bootstrap"},
    {.name = "claim-file",
     .value = "FILE",
     .required = true,
     .complete = COMPLETE_FILE,
     .help = "with the code that `broker add` made; \"-\": standard input"},
    {.name = "host",
     .value = "HOST",
     .required = true,
     .help = "one of the hosts that the broker was added with"},
    {.name = "trust-bundle",
     .value = "FILE",
     .required = true,
     .complete = COMPLETE_FILE,
     .help = "the fleet's, as `device bundle` gives it"},
    {.name = "port", .value = "PORT", .help = "that Mosquitto listens on; standard: 8883"},
    {.name = "folder",
     .value = "DIR",
     .complete = COMPLETE_FOLDER,
     .help = "for what is written; standard: /etc/mosquitto/holdfast"},
    {.name = "mosquitto",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "Mosquitto's part; standard: /etc/mosquitto/conf.d/holdfast.conf"},
    {.name = "plugin",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "holdfast_mosquitto.so, where it is not in the standard place"},
    {.name = "user",
     .value = "NAME",
     .help = "who Mosquitto runs as, where root enrols it; standard: mosquitto"},
};

static const struct cli_command commands[] = {
    {.verb = "add",
     .operands = {{.name = "NAME"}},
     CLI_OPTIONS(add_options),
     .summary = "have a broker expected, and show its claim code this once",
     .help = "The broker becomes a device of the fleet, of the model holdfast-broker. The hosts "
             "stand in\n"
             "its certificate, so that devices know it; none may be a name of the hub.\n",
     .run = run_add},
    {.verb = "enrol",
     .operands = {{.name = "NAME"}},
     CLI_OPTIONS(enrol_options),
     .summary = "on the broker's machine: fetch its certificate, and configure Mosquitto",
     .help = "Writes what the agent, the plugin and Mosquitto are told, and has holdfast-agent "
             "enrol. Files\n"
             "that somebody else wrote stay as they are without --yes.\n",
     .run = broker_run_enrol},
    {.verb = "list",
     CLI_OPTIONS(list_options),
     .summary = "the brokers, and when each was heard of last",
     .run = run_list},
    {.verb = "show",
     .operands = {{.name = "NAME", .complete = COMPLETE_BROKER}},
     .summary = "one broker, and how far it is",
     .run = run_show},
    {.verb = "remove",
     .operands = {{.name = "NAME", .complete = COMPLETE_BROKER}},
     .summary = "end a broker: its device is revoked, and it is told of nobody",
     .run = run_remove},
};

const struct cli_noun noun_broker = {
    .name = "broker",
    .summary = "MQTT brokers that admit the fleet's devices",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
