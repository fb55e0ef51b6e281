/* holdfast rotation: devices that are asked to renew their certificates, and how far that is. */
#include "cli/rotation.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/device_show.h"
#include "cli/list.h"
#include "cli/progress.h"
#include "cli/when.h"

#define REASON_MAX    200 /* bytes; as the hub takes it */
#define DEVICES_MAX   250 /* that are named in one request; as the hub takes it */
#define OVER_STANDARD 3600
#define POLL_MS       500

static bool is_phase(const json_t *rotation, const char *phase)
{
    return strcmp(json_text_of(rotation, "phase"), phase) == 0;
}

static enum text_colour phase_colour(const char *phase)
{
    if (strcmp(phase, "complete") == 0)
        return COLOUR_GOOD;
    return strcmp(phase, "cancelled") == 0 ? COLOUR_BAD : COLOUR_WARN;
}

static int rotation_target(struct cli *cli, const char *id, const char *suffix,
                           char ret_target[HUB_TARGET_MAX])
{
    int code = cli_check_name(cli, "rotation", id);
    if (code == CLI_OK)
        (void)snprintf(ret_target, HUB_TARGET_MAX, "/v1/rotations/%s%s", id, suffix);
    return code;
}

/* ---- show ---- */

static void show_count(const char *label, const json_t *r, const char *name)
{
    char count[WHEN_TEXT_MAX];
    when_count((uint64_t)json_number_of(r, name), count);
    text_pair(label, count, COLOUR_NONE);
}

static void show_time(const char *label, const json_t *r, const char *name)
{
    int64_t seconds = json_time_of(r, name);
    if (seconds == 0)
        return;
    char text[WHEN_TEXT_MAX];
    when_full(seconds, clock_seconds(), text);
    text_pair(label, text, COLOUR_NONE);
}

static void show(const json_t *r)
{
    const char *phase = json_text_of(r, "phase");
    char over[WHEN_TEXT_MAX];
    text_pair("rotation", json_text_of(r, "id"), COLOUR_BOLD);
    text_pair("phase", phase, phase_colour(phase));
    text_pair("reason", json_text_of(r, "reason"), COLOUR_NONE);
    text_pair("model", json_text_or_null(r, "model"), COLOUR_NONE);
    text_pair("manifest", json_text_or_null(r, "manifest"), COLOUR_NONE);
    text_pair("owner", json_text_or_null(r, "owner"), COLOUR_NONE);
    text_pair("state", json_text_or_null(r, "state"), COLOUR_NONE);
    when_duration(json_number_of(r, "over_seconds"), over);
    text_pair("asked over", over, COLOUR_NONE);
    if (strcmp(json_text_of(r, "keys"), "touched") == 0)
        text_pair("keys", "may be in other hands", COLOUR_BAD);
    show_time("begun", r, "created_at");
    show_time("ended", r, "ended_at");
    show_count("devices", r, "devices");
    show_count("  renewed", r, "renewed");
    show_count("  waited for", r, "waiting");
    if (json_number_of(r, "moved") > 0)
        show_count("  in a later rotation", r, "moved");
    if (json_number_of(r, "gone") > 0)
        show_count("  revoked, retired", r, "gone");
}

static int run_show(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = rotation_target(cli, cli->operands[0], "", target);
    if (code == CLI_OK)
        code = hub_get(cli, target, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    show(answer.json);
    if (json_number_of(answer.json, "waiting") > 0)
        cli_say(cli, "Who is waited for, and why: holdfast rotation stragglers %s",
                cli->operands[0]);
    return CLI_OK;
}

/* ---- begin, and wait ---- */

static bool has_filter(const struct cli *cli)
{
    return cli_has(cli, "model") || cli_has(cli, "manifest") || cli_has(cli, "owner") ||
           cli_has(cli, "state");
}

/* Whoever forgot the filter must not have rotated the fleet. */
static int check_selection(struct cli *cli)
{
    int ways = (cli->operands_len > 0) + has_filter(cli) + cli_has(cli, "all");
    if (ways != 1)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "name devices, or give filters (--model, --manifest, --owner, --state), or "
                        "--all: one of the three");
    if (cli->operands_len > DEVICES_MAX)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "%zu devices are named, and %d are taken at once: choose them by a filter",
                        cli->operands_len, DEVICES_MAX);
    return CLI_OK;
}

static int write_filters(struct cli *cli, struct json_writer *j)
{
    static const char *const filters[] = {"model", "manifest", "owner", "state"};
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        const char *value = cli_value(cli, filters[i]);
        if (value == NULL)
            continue;
        int code = cli_check_name(cli, filters[i], value);
        if (code != CLI_OK)
            return code;
        json_field_text(j, filters[i], value);
    }
    return CLI_OK;
}

static int write_devices(struct cli *cli, struct json_writer *j)
{
    json_key(j, "devices");
    json_open_array(j);
    for (size_t i = 0; i < cli->operands_len; i++) {
        int code = cli_check_name(cli, "device", cli->operands[i]);
        if (code != CLI_OK)
            return code;
        json_open_object(j);
        json_field_text(j, "id", cli->operands[i]);
        json_close_object(j);
    }
    json_close_array(j);
    return CLI_OK;
}

static int read_over(struct cli *cli, int64_t *ret_seconds)
{
    const char *over = cli_value(cli, "over");
    *ret_seconds = cli->operands_len > 0 ? 0 : OVER_STANDARD;
    if (over == NULL)
        return CLI_OK;
    if (strcmp(over, "0") == 0) {
        *ret_seconds = 0;
        return CLI_OK;
    }
    return cli_read_duration(cli, "--over", over, ret_seconds);
}

static int write_request(struct cli *cli, struct writer *w)
{
    const char *reason = cli_value(cli, "reason");
    int64_t over = 0;
    int code = check_selection(cli);
    if (code == CLI_OK && strlen(reason) > REASON_MAX)
        code = cli_fail(cli, CLI_USAGE, "usage", "--reason is %zu bytes long, and %d are taken",
                        strlen(reason), REASON_MAX);
    if (code == CLI_OK)
        code = read_over(cli, &over);
    if (code != CLI_OK)
        return code;
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "reason", reason);
    json_field_integer(&j, "over_seconds", over);
    if (cli_has(cli, "keys-touched"))
        json_field_text(&j, "keys", "touched");
    code = cli->operands_len > 0 ? write_devices(cli, &j) : write_filters(cli, &j);
    json_close_object(&j);
    if (code != CLI_OK)
        return code;
    return w->err == ERR_NONE ? CLI_OK : cli_fail_memory(cli);
}

/* A hub that is started anew meanwhile goes on with it, and so does this. */
static int look(struct cli *cli, const char *target, struct hub_answer *ret_answer, bool *away)
{
    if (hub_get_quietly(cli, target, ret_answer)) {
        *away = false;
        return CLI_OK;
    }
    if (ret_answer->status != 0 && ret_answer->status < 500)
        return cli_fail_problem(cli, &ret_answer->problem);
    if (!*away)
        cli_warn(cli, "the hub does not answer; waiting for it");
    *away = true;
    return CLI_OK;
}

static int wait_for(struct cli *cli, const char *id)
{
    char target[HUB_TARGET_MAX];
    struct progress progress;
    bool ended = false, away = false;
    int code = rotation_target(cli, id, "", target);
    progress_start(&progress, cli, "devices", 0, 0);
    while (code == CLI_OK && !ended) {
        struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
        code = look(cli, target, &answer, &away);
        if (code == CLI_OK && !away) {
            int64_t total = json_number_of(answer.json, "devices");
            progress.total = (uint64_t)total;
            progress_set(&progress, (uint64_t)(total - json_number_of(answer.json, "waiting")));
            ended = is_phase(answer.json, "complete") || is_phase(answer.json, "cancelled");
        }
        if (ended) {
            progress_end(&progress);
            if (cli->json)
                code = json_print(cli, answer.json);
            else
                show(answer.json);
            if (code == CLI_OK && is_phase(answer.json, "cancelled"))
                code = cli_fail(cli, CLI_REFUSED, "rotation-ended", "the rotation was cancelled");
        } else if (code == CLI_OK) {
            const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
            (void)nanosleep(&pause, NULL);
        }
    }
    progress_end(&progress);
    return code;
}

int rotation_begin(struct cli *cli)
{
    uint8_t bytes[32 * 1024];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = write_request(cli, &w);
    if (code == CLI_OK)
        code = hub_call(cli, "POST", "/v1/rotations", writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    char id[65];
    (void)snprintf(id, sizeof id, "%.64s", json_text_of(answer.json, "id"));
    cli_say(cli, "Rotation %s has begun; it goes on by itself: holdfast rotation show %s", id, id);
    if (cli_has(cli, "wait"))
        return wait_for(cli, id);
    return cli->json ? json_print(cli, answer.json) : CLI_OK;
}

/* ---- list ---- */

static enum err rotation_row(struct table *t, const json_t *r, int64_t now)
{
    static const char *const counts[] = {"devices", "renewed", "waiting"};
    const char *phase = json_text_of(r, "phase");
    char when[WHEN_TEXT_MAX];
    when_relative(json_time_of(r, "created_at"), now, when);
    enum err err = table_add(t, json_text_of(r, "id"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, phase, phase_colour(phase));
    for (size_t i = 0; err == ERR_NONE && i < ARRAY_LEN(counts); i++) {
        char count[WHEN_TEXT_MAX];
        when_count((uint64_t)json_number_of(r, counts[i]), count);
        err = table_add(t, count, COLOUR_NONE);
    }
    if (err == ERR_NONE)
        err = table_add(t, when, COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, json_text_of(r, "reason"), COLOUR_DIM) : err;
}

static int run_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "ROTATION", .fixed = true},
        {.name = "PHASE", .fixed = true},
        {.name = "DEVICES", .fixed = true},
        {.name = "RENEWED", .fixed = true},
        {.name = "WAITING", .fixed = true},
        {.name = "BEGUN", .fixed = true},
        {.name = "REASON"},
    };
    static const struct list list = {
        .path = "/v1/rotations",
        .query = "",
        .array = "rotations",
        .none = "No rotations; `holdfast device rotate` begins one.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = rotation_row,
    };
    return list_run(cli, &list);
}

/* ---- stragglers ---- */

/* What a person would do about it. */
static const char *reason_text(const char *reason)
{
    static const struct {
        const char *reason, *text;
    } texts[] = {
        {"not-due", "its time has not come yet"},
        {"not-seen", "not seen since; it is asked when it checks in"},
        {"not-renewed", "checked in since, and has not asked for a certificate"},
        {"not-confirmed", "has a new certificate, and has not used it yet"},
        {"not-trusted", "waits for approval: holdfast device approve"},
        {"quarantined", "in quarantine: holdfast device release, or revoke"},
        {"expired",
         "its certificate has run out: it returns within its grace, or once it is readmitted"},
        {"cancelled", "had not renewed when the rotation was cancelled"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].reason, reason) == 0)
            return texts[i].text;
    return reason;
}

static enum err straggler_row(struct table *t, const json_t *s, int64_t now)
{
    const char *state = json_text_of(s, "state"), *reason = json_text_of(s, "reason"),
               *problem = json_text_of(s, "problem");
    char due[WHEN_TEXT_MAX], seen[WHEN_TEXT_MAX] = "never", why[160];
    when_relative(json_time_of(s, "due_at"), now, due);
    if (json_time_of(s, "seen_at") != 0)
        when_relative(json_time_of(s, "seen_at"), now, seen);
    if (strcmp(reason, "refused") == 0)
        (void)snprintf(why, sizeof why, "its last try was refused: %s", problem);
    else
        (void)snprintf(why, sizeof why, "%s", reason_text(reason));
    enum err err = table_add(t, json_text_of(s, "device"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, state, device_colour(state));
    if (err == ERR_NONE)
        err = table_add(t, due, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, seen, COLOUR_NONE);
    return err == ERR_NONE ? table_add(t, why, COLOUR_NONE) : err;
}

static int run_stragglers(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "DEVICE", .fixed = true},
        {.name = "STATE", .fixed = true},
        {.name = "DUE", .fixed = true},
        {.name = "SEEN", .fixed = true},
        {.name = "WHY"},
    };
    char target[HUB_TARGET_MAX];
    int code = rotation_target(cli, cli->operands[0], "/stragglers", target);
    if (code != CLI_OK)
        return code;
    const struct list list = {
        .path = target,
        .query = "",
        .array = "stragglers",
        .none = "It waits for no device.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = straggler_row,
    };
    return list_run(cli, &list);
}

/* ---- cancel ---- */

static int run_cancel(struct cli *cli)
{
    char target[HUB_TARGET_MAX];
    uint8_t bytes[REASON_MAX * 6 + 64];
    const char *reason = cli_value(cli, "reason");
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = rotation_target(cli, cli->operands[0], "/cancel", target);
    if (code == CLI_OK && strlen(reason) > REASON_MAX)
        code = cli_fail(cli, CLI_USAGE, "usage", "--reason is %zu bytes long, and %d are taken",
                        strlen(reason), REASON_MAX);
    if (code != CLI_OK)
        return code;
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "reason", reason);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail_memory(cli);
    code = hub_call(cli, "POST", target, writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json)
        return json_print(cli, answer.json);
    char waiting[WHEN_TEXT_MAX];
    when_count((uint64_t)json_number_of(answer.json, "waiting"), waiting);
    cli_say(cli, "Rotation %s is cancelled; %s devices had not renewed.", cli->operands[0],
            waiting);
    return CLI_OK;
}

/* ---- table ---- */

#define ROTATION                                                                                   \
    {                                                                                              \
        .name = "ROTATION", .complete = COMPLETE_ROTATION                                          \
    }

static const struct cli_option list_options[] = {LIST_OPTIONS};
static const struct cli_option cancel_options[] = {
    {.name = "reason",
     .letter = 'r',
     .value = "TEXT",
     .required = true,
     .help = "why; it stands in the ledger"},
};

static const struct cli_command commands[] = {
    {.verb = "list",
     CLI_OPTIONS(list_options),
     .summary = "the rotations, the oldest first",
     .run = run_list},
    {.verb = "show",
     .operands = {ROTATION},
     .summary = "one rotation, and how far it is",
     .run = run_show},
    {.verb = "stragglers",
     .operands = {ROTATION},
     CLI_OPTIONS(list_options),
     .summary = "the devices that it waits for, and why",
     .run = run_stragglers},
    {.verb = "cancel",
     .operands = {ROTATION},
     CLI_OPTIONS(cancel_options),
     .summary = "ask nobody any more; what was renewed stays so",
     .run = run_cancel},
};

const struct cli_noun noun_rotation = {
    .name = "rotation",
    .summary = "devices that are asked to renew: list, show, stragglers, cancel",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
