/* holdfast hub: what the hub says of itself, and the hubs over one database. */
#include "base/clock.h"
#include "cli/hub_fleet.h"
#include "cli/hub_link.h"
#include "cli/text.h"
#include "cli/when.h"

static void show_count(const char *label, const json_t *object, const char *name)
{
    char text[WHEN_TEXT_MAX];
    if (json_object_get(object, name) == NULL)
        return;
    when_count((uint64_t)json_number_of(object, name), text);
    text_pair(label, text, COLOUR_NONE);
}

static void show_listeners(const json_t *listeners)
{
    for (size_t i = 0; i < json_array_size(listeners); i++) {
        const json_t *l = json_array_get(listeners, i);
        char requests[WHEN_TEXT_MAX], connections[WHEN_TEXT_MAX];
        when_count((uint64_t)json_number_of(l, "requests"), requests);
        when_count((uint64_t)json_number_of(l, "connections"), connections);
        text_pair_format(json_text_of(l, "name"), "%s, %s connections, %s requests",
                         json_text_of(l, "address"), connections, requests);
    }
}

static int run_show(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(cli, "/v1/hub", &answer);
    if (code != CLI_OK || cli->json)
        return code == CLI_OK ? json_print(cli, answer.json) : code;
    const json_t *h = answer.json, *ca = json_object_get(h, "ca");
    const json_t *ledger = json_object_get(h, "ledger"), *store = json_object_get(h, "store");
    int64_t now = clock_seconds();
    char text[WHEN_TEXT_MAX];
    text_pair("fleet", json_text_of(h, "fleet"), COLOUR_BOLD);
    text_pair("name", json_text_of(h, "name"), COLOUR_NONE);
    text_pair("version", json_text_of(h, "version"), COLOUR_NONE);
    when_full(json_time_of(h, "started_at"), now, text);
    text_pair("started", text, COLOUR_NONE);
    show_listeners(json_object_get(h, "listeners"));
    text_pair("issuing CA", json_text_of(ca, "issuing_sha256"), COLOUR_NONE);
    when_full(json_time_of(ca, "issuing_not_after"), now, text);
    text_pair("  until", text, COLOUR_NONE);
    show_count("trust bundle", h, "trust_bundle_version");
    text_pair("ledger", json_text_of(ledger, "origin"), COLOUR_NONE);
    text_pair("  key", json_text_of(ledger, "key"), COLOUR_NONE);
    show_count("  entries", ledger, "size");
    show_count("  signed", ledger, "checkpoint_size");
    text_pair("store", json_text_of(store, "kind"), COLOUR_NONE);
    show_count("  commits", store, "commits");
    show_count("  writes", store, "writes");
    show_count("  refused", store, "refused");
    show_count("  abandoned", store, "abandoned");
    show_count("  queued", store, "queued");
    show_count("  WAL bytes", store, "wal_bytes");
    return CLI_OK;
}

static int run_health(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(cli, "/v1/health", &answer);
    if (code != CLI_OK || cli->json)
        return code == CLI_OK ? json_print(cli, answer.json) : code;
    (void)printf("%s\n", json_text_of(answer.json, "status"));
    return CLI_OK;
}

static const struct cli_option join_options[] = {
    {.name = "fleet", .value = "NAME", .required = true, .help = "the fleet that it is to join"},
    {.name = "signer-user",
     .value = "USER",
     .help = "whose the signer's keys are to be; only root can say it"},
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write the request there; standard: to standard output"},
};

static const struct cli_option remove_options[] = {
    {.name = "reason", .value = "TEXT", .required = true, .help = "why; it stands in the ledger"},
};

static const struct cli_command commands[] = {
    {.verb = "show", .summary = "the hub, its keys and its listeners", .run = run_show},
    {.verb = "health", .summary = "is it at work? Exits 0 where it is", .run = run_health},
    {.verb = "list",
     .summary = "the hubs over the database, with those that have left",
     .run = hub_fleet_list},
    {.verb = "join",
     .operands = {{.name = "NAME"}},
     CLI_OPTIONS(join_options),
     .summary = "on a new machine: make a further hub's keys, and the request to be certified",
     .help =
         "They go to the state folder (--state), and stay on this machine. Where they are there\n"
         "already, and no card has been installed, the request is made of them anew.\n",
     .run = hub_fleet_join},
    {.verb = "install",
     .operands = {{.name = "FILE", .complete = COMPLETE_FILE}},
     .summary = "on the new machine: take in the card that `holdfast ca certify` made",
     .run = hub_fleet_install},
    {.verb = "admit",
     .operands = {{.name = "FILE", .complete = COMPLETE_FILE}},
     .summary = "on a hub of the fleet: let the hub of this card start",
     .run = hub_fleet_admit},
    {.verb = "remove",
     .operands = {{.name = "NAME"}},
     CLI_OPTIONS(remove_options),
     .summary = "let another hub leave the fleet: it ends, and does not start again",
     .help = "What it has certified stays good. On a terminal it asks first; elsewhere it needs\n"
             "--yes.\n",
     .run = hub_fleet_remove},
};

const struct cli_noun noun_hub = {
    .name = "hub",
    .summary = "the hub itself",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
