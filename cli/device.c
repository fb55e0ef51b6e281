/* holdfast device: the devices and their lives. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/cut.h"
#include "cli/device_assign.h"
#include "cli/device_certificates.h"
#include "cli/device_password.h"
#include "cli/device_show.h"
#include "cli/list.h"
#include "cli/rotation.h"
#include "cli/save.h"
#include "cli/settings.h"
#include "cli/when.h"
#include "core/calendar.h"
#include "core/trust_bundle.h"

#define CLAIM_VALID "30d"
#define READMIT_FOR "7d"
#define REASON_MAX  200 /* bytes; as the hub takes it */

/* ---- list ---- */

static enum err device_row(struct table *t, const json_t *d, int64_t now)
{
    const char *state = json_text_of(d, "state");
    int64_t changed = json_time_of(d, "changed_at");
    char when[WHEN_TEXT_MAX] = "", owner[32];
    if (changed != 0)
        when_relative(changed, now, when);
    enum err err = table_add(t, json_text_of(d, "id"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, state, device_colour(state));
    const char *by = json_text_of(d, "credential");
    if (err == ERR_NONE)
        err = table_add(t, by, strcmp(by, "password") == 0 ? COLOUR_WARN : COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, json_text_of(d, "model"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, json_owner_of(d, owner), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, json_text_of(d, "manifest"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, when, COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, json_text_of(d, "reason"), COLOUR_DIM) : err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "DEVICE", .fixed = true},
        {.name = "STATE", .fixed = true},
        {.name = "BY", .fixed = true},
        {.name = "MODEL"},
        {.name = "OWNER"},
        {.name = "MANIFEST"},
        {.name = "CHANGED", .fixed = true},
        {.name = "REASON"},
    };
    static const char *const filters[] = {"model", "state", "manifest", "owner", "group"};
    char query[HUB_TARGET_MAX - 128] = "";
    struct writer w = writer_over(query, sizeof query - 1);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        const char *value = cli_value(cli, filters[i]);
        if (value == NULL)
            continue;
        int code = cli_check_name(cli, filters[i], value);
        if (code != CLI_OK)
            return code;
        writer_text(&w, filters[i]);
        writer_text(&w, "=");
        writer_text(&w, value);
        writer_text(&w, "&");
    }
    const struct list list = {
        .path = "/v1/devices",
        .query = query,
        .array = "devices",
        .none = "No devices; `holdfast manifest import` brings in those of a factory.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = device_row,
    };
    return list_run(cli, &list);
}

/* ---- show ---- */

static int device_target(struct cli *cli, const char *id, const char *suffix,
                         char ret_target[HUB_TARGET_MAX])
{
    int code = cli_check_name(cli, "device", id);
    if (code == CLI_OK)
        (void)snprintf(ret_target, HUB_TARGET_MAX, "/v1/devices/%s%s", id, suffix);
    return code;
}

static int run_show(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = device_target(cli, cli->operands[0], "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    device_show(answer.json);
    return CLI_OK;
}

/* ---- moves ---- */

struct move {
    const char *verb;
    int64_t expires_at; /* of a readmission; 0: it is none */
};

static void tell_moved(struct cli *cli, const char *id, const struct move *m, const json_t *device)
{
    char until[WHEN_TEXT_MAX];
    if (strcmp(m->verb, "dismiss") == 0) {
        cli_say(cli, "No cut of %s waits any more; it is %s.", id, json_text_of(device, "state"));
        return;
    }
    if (m->expires_at == 0) {
        cli_say(cli, "%s is %s.", id, json_text_of(device, "state"));
        return;
    }
    when_full(m->expires_at, clock_seconds(), until);
    cli_say(cli, "%s may come back once, until %s.", id, until);
}

/* One device. A problem goes into `results` with --json, else it is told. */
static int move_one(struct cli *cli, const char *id, const struct move *m, struct slice body,
                    json_t *results)
{
    char suffix[32], target[HUB_TARGET_MAX];
    (void)snprintf(suffix, sizeof suffix, "/%s", m->verb);
    int code = device_target(cli, id, suffix, target);
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    if (code == CLI_OK)
        code = hub_ask(cli, "POST", target, "application/json", body, &answer);
    if (code != CLI_OK)
        return code;
    bool refused = answer.status >= 400;
    if (cli->json) {
        json_t *result =
            json_pack("{s:s, s:O?}", "id", id, refused ? "problem" : "device", answer.json);
        if (json_array_append_new(results, result) != 0)
            return cli_fail_memory(cli);
    }
    if (refused)
        return cli->json ? cli_exit_of(&answer.problem) : cli_fail_problem(cli, &answer.problem);
    tell_moved(cli, id, m, answer.json);
    return CLI_OK;
}

static int write_move(struct cli *cli, const struct move *m, struct writer *w)
{
    const char *reason = cli_value(cli, "reason");
    size_t n = strlen(reason);
    if (n > REASON_MAX)
        return cli_fail(cli, CLI_USAGE, "usage", "--reason is %zu bytes long, and %d are taken", n,
                        REASON_MAX);
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "reason", reason);
    if (m->expires_at != 0)
        json_field_time(&j, "expires_at", m->expires_at);
    json_close_object(&j);
    return w->err == ERR_NONE ? CLI_OK : cli_fail_memory(cli);
}

static int check_all(struct cli *cli)
{
    for (size_t i = 0; i < cli->operands_len; i++) {
        int code = cli_check_name(cli, "device", cli->operands[i]);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

/* All are tried, whatever happens to one of them; only a hub that is away ends it. */
static int move(struct cli *cli, const struct move *m)
{
    uint8_t bytes[REASON_MAX * 6 + 128];
    struct writer body = writer_over(bytes, sizeof bytes);
    int code = check_all(cli);
    if (code == CLI_OK)
        code = write_move(cli, m, &body);
    if (code != CLI_OK)
        return code;
    json_t *results = json_array();
    if (results == NULL)
        return cli_fail_memory(cli);
    for (size_t i = 0; i < cli->operands_len; i++) {
        int one = move_one(cli, cli->operands[i], m, writer_bytes(&body), results);
        code = code == CLI_OK ? one : code;
        if (one == CLI_UNREACHABLE || one == CLI_INTERNAL)
            break;
    }
    if (cli->json) {
        json_t *document = json_pack("{s:O}", "results", results);
        int printed = json_print(cli, document);
        json_decref(document);
        code = code == CLI_OK ? printed : code;
    }
    json_decref(results);
    return code;
}

static int run_approve(struct cli *cli)
{
    return move(cli, &(struct move){.verb = "approve"});
}

static int run_dismiss(struct cli *cli)
{
    return move(cli, &(struct move){.verb = "dismiss"});
}

static int run_quarantine(struct cli *cli)
{
    return cut_run(cli, "quarantine");
}

static int run_release(struct cli *cli)
{
    return cut_run(cli, "release");
}

static int run_revoke(struct cli *cli)
{
    return cut_run(cli, "revoke");
}

static int run_retire(struct cli *cli)
{
    return cut_run(cli, "retire");
}

static int run_readmit(struct cli *cli)
{
    const char *lasts = cli_value(cli, "for");
    int64_t expires_at = 0;
    int code = cli_read_time(cli, "--for", lasts == NULL ? READMIT_FOR : lasts, false, &expires_at);
    if (code != CLI_OK)
        return code;
    return move(cli, &(struct move){.verb = "readmit", .expires_at = expires_at});
}

/* ---- claim ---- */

static int run_claim(struct cli *cli)
{
    const char *valid = cli_value(cli, "valid");
    char target[HUB_TARGET_MAX];
    uint8_t bytes[128];
    int64_t expires_at = 0;
    int code = device_target(cli, cli->operands[0], "/claim", target);
    if (code == CLI_OK)
        code =
            cli_read_time(cli, "--valid", valid == NULL ? CLAIM_VALID : valid, false, &expires_at);
    if (code != CLI_OK)
        return code;
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_time(&j, "expires_at", expires_at);
    json_close_object(&j);
    struct hub_answer answer CLEANUP(hub_answer_wipe) = {.status = 0};
    code = hub_call(cli, "POST", target, writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    (void)printf("%s\n", json_text_of(answer.json, "claim_code"));
    cli_say(cli, "It is shown this once, and the code before it is void.");
    return CLI_OK;
}

/* ---- bundle ---- */

static int bundle_from_state(struct cli *cli, uint8_t **ret_bytes, size_t *ret_len)
{
    char state[CONFIG_TEXT_MAX], path[CONFIG_TEXT_MAX + 16];
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    (void)snprintf(path, sizeof path, "%s/bundle", state);
    enum err err = file_read(path, TRUST_BUNDLE_MAX, ret_bytes, ret_len);
    if (err == ERR_NONE)
        return CLI_OK;
    return cli_fail(cli, err == ERR_NOT_FOUND ? CLI_NOT_FOUND : CLI_FILE, "trust-bundle-not-found",
                    "the hub does not answer, and %s: %m; `holdfast ca bundle` makes a bundle",
                    path);
}

static int run_bundle(struct cli *cli)
{
    const char *to = cli_value(cli, "output");
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    uint8_t *bytes = NULL;
    size_t len = 0;
    int code = CLI_OK;
    bool from_hub = hub_get_quietly(cli, "/v1/trust-bundle", &answer);
    if (!from_hub && answer.status != 0)
        return cli_fail_problem(cli, &answer.problem);
    if (!from_hub)
        code = bundle_from_state(cli, &bytes, &len);
    if (code == CLI_OK)
        code = save_note(cli, to, from_hub ? answer.bytes : slice_of(bytes, len), "trust bundle",
                         "bundle");
    free(bytes);
    return code;
}

/* ---- table ---- */

#define STATES "expected enrolled trusted quarantined revoked retired"

static const struct cli_option list_options[] = {
    {.name = "model", .value = "MODEL", .complete = COMPLETE_MODEL, .help = "only of this model"},
    {.name = "state",
     .value = "STATE",
     .complete = COMPLETE_WORDS,
     .words = STATES,
     .help = "only in this state: " STATES},
    {.name = "manifest",
     .value = "MANIFEST",
     .complete = COMPLETE_MANIFEST,
     .help = "only of this manifest"},
    {.name = "owner", .value = "OWNER", .help = "only of this owner"},
    {.name = "group", .value = "GROUP", .help = "only of this group of the policy"},
    LIST_OPTIONS,
};

#define REASON                                                                                     \
    {                                                                                              \
        .name = "reason", .letter = 'r', .value = "TEXT", .required = true,                        \
        .help = "why; it stands in the ledger"                                                     \
    }

static const struct cli_option move_options[] = {REASON};

#define CUT_OPTIONS                                                                                \
    REASON,                                                                                        \
        {.name = "model",                                                                          \
         .value = "MODEL",                                                                         \
         .complete = COMPLETE_MODEL,                                                               \
         .help = "all of this model"},                                                             \
        {.name = "manifest",                                                                       \
         .value = "MANIFEST",                                                                      \
         .complete = COMPLETE_MANIFEST,                                                            \
         .help = "all of this manifest"},                                                          \
        {.name = "owner", .value = "OWNER", .help = "all of this owner"},                          \
        {.name = "group", .value = "GROUP", .help = "all of this group"},                          \
        {.name = "state",                                                                          \
         .value = "STATE",                                                                         \
         .complete = COMPLETE_WORDS,                                                               \
         .words = STATES,                                                                          \
         .help = "all in this state: " STATES},                                                    \
        {.name = "where",                                                                          \
         .value = "FIELD=VALUE",                                                                   \
         .help = "all with these values: model, manifest, owner, group, state; with commas"},      \
    {                                                                                              \
        .name = "wait", .letter = 'w', .value = "DURATION",                                        \
        .help = "for all legs to confirm; standard: 30s"                                           \
    }

static const struct cli_option cut_options[] = {CUT_OPTIONS};

static const struct cli_option cuts_options[] = {
    {.name = "open", .help = "only those that a leg has not confirmed yet"},
    {.name = "waiting", .help = "those that the hub did not make by itself, and asks a person for"},
    LIST_OPTIONS,
};

static const struct cli_option quarantine_options[] = {
    CUT_OPTIONS,
    {.name = "keys-touched",
     .help = "its keys may be in other hands: it is released only once it was readmitted, with a "
             "new key"},
};

static const struct cli_option readmit_options[] = {
    REASON,
    {.name = "for",
     .value = "TIME",
     .help = "until when: a duration or a date; standard: " READMIT_FOR ", at most 90d"},
};

static const struct cli_option rotate_options[] = {
    {.name = "model", .value = "MODEL", .complete = COMPLETE_MODEL, .help = "all of this model"},
    {.name = "manifest",
     .value = "MANIFEST",
     .complete = COMPLETE_MANIFEST,
     .help = "all of this manifest"},
    {.name = "owner", .value = "OWNER", .help = "all of this owner"},
    {.name = "state",
     .value = "STATE",
     .complete = COMPLETE_WORDS,
     .words = "enrolled trusted quarantined",
     .help = "all in this state: enrolled trusted quarantined"},
    {.name = "all", .letter = 'a', .help = "all devices that have a certificate"},
    {.name = "reason",
     .letter = 'r',
     .value = "TEXT",
     .required = true,
     .help = "why; it stands in the ledger"},
    {.name = "over",
     .value = "DURATION",
     .help = "ask them over this time; standard: 1h, and 0 for those named"},
    {.name = "keys-touched",
     .help = "their keys may be in other hands: no grace for certificates from before"},
    {.name = "wait", .letter = 'w', .help = "wait until all have renewed, and show how far it is"},
};

static const struct cli_option claim_options[] = {
    {.name = "valid",
     .value = "TIME",
     .help = "until when: a duration or a date; standard: " CLAIM_VALID},
};

static const struct cli_option bundle_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it there; standard: to standard output"},
};

#define DEVICE                                                                                     \
    {                                                                                              \
        .name = "DEVICE", .complete = COMPLETE_DEVICE                                              \
    }
#define CUT_DEVICES                                                                                \
    {                                                                                              \
        .name = "DEVICE", .optional = true, .many = true, .complete = COMPLETE_DEVICE              \
    }
#define DEVICES                                                                                    \
    {                                                                                              \
        .name = "DEVICE", .many = true, .complete = COMPLETE_DEVICE                                \
    }

#define CUT_HELP                                                                                   \
    "Devices that\nare named go in one write: all of them or none. Then each hub and each broker " \
    "says "                                                                                        \
    "when it saw them\ngone; the command ends with 0 once all have, and with 7 where some have "   \
    "not "                                                                                         \
    "within --wait. They\nare asked for ever: `holdfast device cuts --open` shows who is "         \
    "missing.\n"

static const struct cli_command commands[] = {
    {.verb = "list",
     CLI_OPTIONS(list_options),
     .summary = "the devices, in the order of their names",
     .run = run_list},
    {.verb = "show", .operands = {DEVICE}, .summary = "one device", .run = run_show},
    {.verb = "approve",
     .operands = {DEVICES},
     CLI_OPTIONS(move_options),
     .summary = "vouch for devices that are enrolled: they become trusted",
     .run = run_approve},
    {.verb = "quarantine",
     .operands = {CUT_DEVICES},
     CLI_OPTIONS(quarantine_options),
     .summary = "keep devices away from all but their own enrolment",
     .help = "Those that are named, or all that filters leave. " CUT_HELP,
     .run = run_quarantine},
    {.verb = "release",
     .operands = {CUT_DEVICES},
     CLI_OPTIONS(cut_options),
     .summary = "end a quarantine",
     .help = "Where the device's keys may have been touched, only once it has a new one: see "
             "readmit.\n",
     .run = run_release},
    {.verb = "revoke",
     .operands = {CUT_DEVICES},
     CLI_OPTIONS(cut_options),
     .summary = "cut devices off, for good",
     .help =
         "It cannot be undone: on a terminal it asks first; elsewhere it needs --yes. " CUT_HELP,
     .run = run_revoke},
    {.verb = "retire",
     .operands = {CUT_DEVICES},
     CLI_OPTIONS(cut_options),
     .summary = "take devices out of use, for good",
     .help =
         "Like revoke, for devices that did nothing wrong. It cannot be undone: on a terminal it\n"
         "asks first; elsewhere it needs --yes.\n",
     .run = run_retire},
    {.verb = "cuts",
     CLI_OPTIONS(cuts_options),
     .summary = "the devices that are cut off, and which legs have not seen them gone",
     .run = cut_list},
    {.verb = "dismiss",
     .operands = {DEVICES},
     CLI_OPTIONS(move_options),
     .summary = "let cuts that wait for a person come to nothing",
     .help = "The devices stay as they are. `holdfast device cuts --waiting` shows which wait; to "
             "carry\none out, quarantine or revoke the device.\n",
     .run = run_dismiss},
    {.verb = "rotate",
     .operands = {{.name = "DEVICE", .optional = true, .many = true, .complete = COMPLETE_DEVICE}},
     CLI_OPTIONS(rotate_options),
     .summary = "ask devices to renew, each with a fresh key",
     .help = "Named ones, those that filters leave, or all. Each is asked when it checks in, and "
             "its old\n"
             "certificate is retired once the new one was used. `holdfast rotation` shows how far "
             "it is\n"
             "and who is still waited for.\n",
     .run = rotation_begin},
    {.verb = "readmit",
     .operands = {DEVICES},
     CLI_OPTIONS(readmit_options),
     .summary = "let devices whose certificate ran out come back, once",
     .help =
         "For those that slept longer than their model's grace, or whose grace an incident "
         "closed.\n"
         "They return with the last certificate they used and a fresh key, and prove themselves\n"
         "anew.\n",
     .run = run_readmit},
    {.verb = "claim",
     .operands = {DEVICE},
     CLI_OPTIONS(claim_options),
     .summary = "make a fresh claim code; the one before it is void",
     .run = run_claim},
    {.verb = "assign",
     .operands = {DEVICES},
     CLI_OPTIONS(device_assign_options),
     .summary = "put devices into a group of the policy",
     .run = device_assign},
    {.verb = "password",
     .operands = {DEVICE},
     CLI_OPTIONS(password_options),
     .summary = "make a password for a device that can hold no certificate",
     .help =
         "The weaker kind: its model needs `password` in the policy in force. The one before it\n"
         "goes on working until the new one is first used, a day at most.\n",
     .run = run_password},
    {.verb = "certificates",
     .operands = {DEVICE},
     .summary = "all certificates that a device was given, the newest first",
     .run = device_certificates},
    {.verb = "bundle",
     CLI_OPTIONS(bundle_options),
     .summary = "the trust bundle that devices are born with",
     .help = "Asks the hub for it, or takes it from the state folder where no hub answers.\n",
     .run = run_bundle},
};

const struct cli_noun noun_device = {
    .name = "device",
    .summary = "devices and their lives: list, approve, quarantine, revoke, ...",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
