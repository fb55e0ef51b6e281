/* holdfast hub: what the hub says of itself. */
#include "base/clock.h"
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

static const struct cli_command commands[] = {
    {.verb = "show", .summary = "the hub, its keys and its listeners", .run = run_show},
    {.verb = "health", .summary = "is it at work? Exits 0 where it is", .run = run_health},
};

const struct cli_noun noun_hub = {
    .name = "hub",
    .summary = "the hub itself",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
