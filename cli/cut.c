/* holdfast device quarantine, release, revoke, retire: one write for those that are named, or one
 * after the other for all that filters leave; and then each leg's word that it saw them gone. */
#include "cli/cut.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cut_wait.h"
#include "cli/list.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/when.h"

#define DEVICES_MAX   256    /* that are named in one request; as the hub takes it */
#define REASON_MAX    200    /* bytes; as the hub takes it */
#define COUNT_MAX     100000 /* devices; a hub counts no further */
#define WAIT_STANDARD 30     /* seconds */

static const char *const filter_names[] = {"model", "manifest", "owner", "group", "state"};
#define FILTERS ARRAY_LEN(filter_names)

struct verb {
    const char *move, *state; /* "revoke", "revoked" */
    bool for_good;
};
static const struct verb verbs[] = {
    {.move = "quarantine", .state = "quarantined"},
    {.move = "release", .state = "released"},
    {.move = "revoke", .state = "revoked", .for_good = true},
    {.move = "retire", .state = "retired", .for_good = true},
};

struct cut {
    struct cli *cli;
    const struct verb *verb;
    char filters[FILTERS][65]; /* in the order of their names; empty: not given */
    bool filtered;
    json_t *results; /* of those that are named */
    uint64_t moved, passed_over;
    char passed_why[65]; /* of the first */
    struct cut_wait *wait;
    char exposed_until[32];
};

/* ---- which devices ---- */

static int set_filter(struct cut *c, const char *name, size_t len, const char *value)
{
    struct cli *cli = c->cli;
    for (size_t i = 0; i < FILTERS; i++) {
        if (strlen(filter_names[i]) != len || memcmp(filter_names[i], name, len) != 0)
            continue;
        int code = cli_check_name(cli, filter_names[i], value);
        if (code == CLI_OK && c->filters[i][0] != '\0')
            return cli_fail(cli, CLI_USAGE, "usage", "'%s' is given twice", filter_names[i]);
        (void)snprintf(c->filters[i], sizeof c->filters[i], "%s", value);
        c->filtered = true;
        return code;
    }
    return cli_fail(cli, CLI_USAGE, "usage",
                    "--where takes model, manifest, owner, group and state, not '%.*s'",
                    (int)(len < 40 ? len : 40), name);
}

/* "model=thermo,state=trusted" */
static int read_where(struct cut *c, const char *where)
{
    while (*where != '\0') {
        char value[65];
        size_t part = strcspn(where, ","), name = strcspn(where, "=");
        if (name >= part)
            return cli_fail(c->cli, CLI_USAGE, "usage",
                            "--where is FIELD=VALUE, and more of them behind commas");
        (void)snprintf(value, sizeof value, "%.*s", (int)(part - name - 1), where + name + 1);
        int code = set_filter(c, where, name, value);
        if (code != CLI_OK)
            return code;
        where += part + (where[part] == ',');
    }
    return CLI_OK;
}

static int read_selection(struct cut *c)
{
    struct cli *cli = c->cli;
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < FILTERS; i++) {
        const char *value = cli_value(cli, filter_names[i]);
        if (value != NULL)
            code = set_filter(c, filter_names[i], strlen(filter_names[i]), value);
    }
    const char *where = cli_value(cli, "where");
    if (code == CLI_OK && where != NULL)
        code = read_where(c, where);
    if (code != CLI_OK)
        return code;
    if ((cli->operands_len > 0) == c->filtered)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "name devices, or give filters (--model, --manifest, --owner, --group, "
                        "--state, --where): one of the two");
    if (cli->operands_len > DEVICES_MAX)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "%zu devices are named, and %d are taken at once: choose them by a filter",
                        cli->operands_len, DEVICES_MAX);
    for (size_t i = 0; code == CLI_OK && i < cli->operands_len; i++)
        code = cli_check_name(cli, "device", cli->operands[i]);
    return code;
}

/* ---- is that meant? ---- */

static int count_devices(struct cut *c, uint64_t *ret_count)
{
    char target[HUB_TARGET_MAX];
    struct writer w = writer_over(target, sizeof target - 1);
    writer_text(&w, "/v1/cuts/count?move=");
    writer_text(&w, c->verb->move);
    for (size_t i = 0; i < FILTERS; i++) {
        if (c->filters[i][0] == '\0')
            continue;
        writer_text(&w, "&");
        writer_text(&w, filter_names[i]);
        writer_text(&w, "=");
        writer_text(&w, c->filters[i]);
    }
    if (w.err != ERR_NONE)
        return cli_fail_memory(c->cli);
    target[w.len] = '\0';
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(c->cli, target, &answer);
    if (code == CLI_OK)
        *ret_count = (uint64_t)json_number_of(answer.json, "devices");
    return code;
}

static int confirm(struct cut *c, uint64_t count)
{
    struct cli *cli = c->cli;
    const char *end = c->verb->for_good ? " for good" : "";
    char text[WHEN_TEXT_MAX];
    when_count(count, text);
    if (c->filtered)
        return cli_confirm(cli, "%s %s%s devices%s?", c->verb->move,
                           count == COUNT_MAX ? "at least " : "", text, end);
    if (!c->verb->for_good)
        return CLI_OK;
    if (cli->operands_len == 1)
        return cli_confirm(cli, "%s %s for good?", c->verb->move, cli->operands[0]);
    return cli_confirm(cli, "%s these %zu devices for good?", c->verb->move, cli->operands_len);
}

/* ---- the cut ---- */

static int write_request(const struct cut *c, const char *after, struct writer *w)
{
    const struct cli *cli = c->cli;
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "move", c->verb->move);
    json_field_text(&j, "reason", cli_value(cli, "reason"));
    if (strcmp(c->verb->move, "quarantine") == 0 && cli_has(cli, "keys-touched"))
        json_field_text(&j, "keys", "touched");
    for (size_t i = 0; i < FILTERS; i++) {
        if (c->filters[i][0] != '\0')
            json_field_text(&j, filter_names[i], c->filters[i]);
    }
    if (*after != '\0')
        json_field_text(&j, "after", after);
    if (!c->filtered)
        json_key(&j, "devices");
    if (!c->filtered)
        json_open_array(&j);
    for (size_t i = 0; i < cli->operands_len; i++) {
        json_open_object(&j);
        json_field_text(&j, "id", cli->operands[i]);
        json_close_object(&j);
    }
    if (!c->filtered)
        json_close_array(&j);
    json_close_object(&j);
    return w->err == ERR_NONE ? CLI_OK : cli_fail_memory(c->cli);
}

static int take_outcome(struct cut *c, const json_t *outcome)
{
    const char *problem = json_text_or_null(outcome, "problem");
    if (problem != NULL) {
        if (c->passed_over++ == 0)
            (void)snprintf(c->passed_why, sizeof c->passed_why, "%s", problem);
        return CLI_OK;
    }
    c->moved += json_object_get(outcome, "entry") != NULL;
    return cut_wait_add(c->wait, json_text_of(outcome, "id"));
}

static int ask(struct cut *c, const char *after, char ret_next[65])
{
    uint8_t bytes[32 * 1024];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = write_request(c, after, &w);
    if (code == CLI_OK)
        code = hub_call(c->cli, "POST", "/v1/cuts", writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    const json_t *devices = json_object_get(answer.json, "devices");
    for (size_t i = 0; code == CLI_OK && i < json_array_size(devices); i++)
        code = take_outcome(c, json_array_get(devices, i));
    if (code != CLI_OK)
        return code;
    if (!c->filtered && json_array_extend(c->results, (json_t *)(uintptr_t)devices) != 0)
        return cli_fail_memory(c->cli);
    (void)snprintf(ret_next, 65, "%.64s", json_text_of(answer.json, "next"));
    const char *exposed = json_text_or_null(answer.json, "exposed_until");
    if (exposed != NULL)
        (void)snprintf(c->exposed_until, sizeof c->exposed_until, "%s", exposed);
    return CLI_OK;
}

/* Each chunk is a write of its own: a cut of somebody else's gets between. */
static int cut_all(struct cut *c, uint64_t count)
{
    char next[65] = "";
    struct progress progress;
    int code = CLI_OK;
    progress_start(&progress, c->cli, "devices", 0, count);
    do {
        char after[65];
        (void)snprintf(after, sizeof after, "%s", next);
        code = ask(c, after, next);
        progress_set(&progress, c->moved < count ? c->moved : count);
    } while (code == CLI_OK && *next != '\0');
    progress_end(&progress);
    if (code != CLI_OK && c->moved > 0)
        cli_warn(c->cli,
                 "%" PRIu64 " devices were %s before that; the same command again goes on with the "
                 "others",
                 c->moved, c->verb->state);
    return code;
}

/* ---- what is told ---- */

static void tell_named(const struct cut *c)
{
    size_t i;
    const json_t *outcome;
    json_array_foreach(c->results, i, outcome)
    {
        bool there = json_object_get(outcome, "entry") == NULL;
        cli_say(c->cli, "%s is %s%s.", json_text_of(outcome, "id"), json_text_of(outcome, "state"),
                there ? " already" : "");
    }
}

static void tell(const struct cut *c)
{
    char count[WHEN_TEXT_MAX], until[WHEN_TEXT_MAX];
    const int64_t exposed_until = cut_time(c->exposed_until);
    if (!c->filtered)
        tell_named(c);
    when_count(c->moved, count);
    if (c->filtered)
        cli_say(c->cli, "%s %s %s.", count, c->moved == 1 ? "device is" : "devices are",
                c->verb->state);
    when_count(c->passed_over, count);
    if (c->passed_over > 0)
        cli_say(c->cli, "%s passed over: %s.", count, c->passed_why);
    if (exposed_until == 0)
        return;
    when_full(exposed_until, clock_seconds(), until);
    cli_say(c->cli, "Others that asked by OCSP before may go by that answer until %s.", until);
}

static int print(const struct cut *c)
{
    bool complete = cut_wait_is_over(c->wait);
    json_t *document = json_pack("{s:s}", "move", c->verb->move);
    int failed = document == NULL;
    if (c->filtered)
        failed |=
            json_object_set_new(document, "moved", json_integer((json_int_t)c->moved)) |
            json_object_set_new(document, "passed_over", json_integer((json_int_t)c->passed_over));
    else
        failed |= json_object_set(document, "results", c->results);
    failed |= json_object_set_new(document, "status", json_string(complete ? "complete" : "open"));
    if (c->exposed_until[0] != '\0')
        failed |= json_object_set_new(document, "exposed_until", json_string(c->exposed_until));
    int code = failed ? cli_fail_memory(c->cli) : cut_wait_print(c->wait, document);
    if (code == CLI_OK)
        code = json_print(c->cli, document);
    json_decref(document);
    return code;
}

/* ---- the legs ---- */

static int wait_and_tell(struct cut *c, int64_t seconds)
{
    struct cli *cli = c->cli;
    int code = CLI_OK;
    if (!cli->json)
        tell(c);
    if (strcmp(c->verb->move, "release") != 0)
        code = cut_wait_run(c->wait, seconds);
    if (code == CLI_OK && cli->json)
        code = print(c);
    if (code == CLI_OK && !cut_wait_is_over(c->wait))
        code = cut_wait_fail(c->wait);
    return code;
}

static int run(struct cut *c)
{
    struct cli *cli = c->cli;
    const char *reason = cli_value(cli, "reason"), *waits = cli_value(cli, "wait");
    int64_t seconds = WAIT_STANDARD;
    uint64_t count = cli->operands_len;
    size_t n = strlen(reason);
    if (n > REASON_MAX)
        return cli_fail(cli, CLI_USAGE, "usage", "--reason is %zu bytes long, and %d are taken", n,
                        REASON_MAX);
    int code = read_selection(c);
    if (code == CLI_OK && waits != NULL)
        code = cli_read_duration(cli, "--wait", waits, &seconds);
    if (code == CLI_OK && c->filtered)
        code = count_devices(c, &count);
    if (code == CLI_OK)
        code = confirm(c, count);
    if (code == CLI_OK)
        code = cut_wait_new(cli, clock_monotonic_ms(), &c->wait);
    if (code == CLI_OK)
        code = cut_all(c, count);
    return code == CLI_OK ? wait_and_tell(c, seconds) : code;
}

int cut_run(struct cli *cli, const char *verb)
{
    struct cut c = {.cli = cli, .results = json_array()};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].move, verb) == 0)
            c.verb = &verbs[i];
    }
    int code = c.results == NULL ? cli_fail_memory(cli) : run(&c);
    json_decref(c.results);
    cut_wait_free(c.wait);
    return code;
}

/* ---- list and show ---- */

static enum err list_row(struct table *t, const json_t *cut, int64_t now)
{
    char when[WHEN_TEXT_MAX] = "", open[256] = "";
    struct writer w = writer_over(open, sizeof open - 1);
    const char *state = json_text_of(cut, "state"), *status = json_text_of(cut, "status");
    size_t i;
    const json_t *leg;
    json_array_foreach(json_object_get(cut, "legs"), i, leg)
    {
        if (strcmp(json_text_of(leg, "status"), "open") != 0)
            continue;
        writer_text(&w, w.len > 0 ? " " : "");
        writer_text(&w, json_text_of(leg, "leg"));
    }
    open[w.len] = '\0';
    when_relative(json_time_of(cut, "cut_at"), now, when);
    enum err err = table_add(t, json_text_of(cut, "device"), COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, state, COLOUR_BAD);
    if (err == ERR_NONE)
        err = table_add(t, when, COLOUR_NONE);
    if (err == ERR_NONE)
        err = table_add(t, status, strcmp(status, "open") == 0 ? COLOUR_WARN : COLOUR_GOOD);
    return err == ERR_NONE ? table_add(t, open, COLOUR_WARN) : err;
}

int cut_list(struct cli *cli)
{
    static const struct table_column columns[] = {
        {.name = "DEVICE", .fixed = true},
        {.name = "STATE", .fixed = true},
        {.name = "CUT", .fixed = true},
        {.name = "STATUS", .fixed = true},
        {.name = "OPEN LEGS"},
    };
    bool open = cli_has(cli, "open");
    const struct list list = {
        .path = "/v1/cuts",
        .query = open ? "status=open&" : "",
        .array = "cuts",
        .none = open ? "No cut is open: whoever was cut off has been seen gone everywhere."
                     : "No device is cut off.",
        .columns = columns,
        .columns_len = ARRAY_LEN(columns),
        .row = list_row,
    };
    return list_run(cli, &list);
}

void cut_show(const json_t *cut)
{
    size_t i;
    const json_t *leg;
    json_array_foreach(json_object_get(cut, "legs"), i, leg)
    {
        char text[320] = "open; it is tried for ever";
        bool confirmed = strcmp(json_text_of(leg, "status"), "confirmed") == 0;
        const char *detail = json_text_of(leg, "detail");
        if (confirmed)
            (void)snprintf(text, sizeof text, "gone after %" PRId64 " ms%s%s",
                           json_number_of(leg, "latency_ms"), *detail == '\0' ? "" : "; ", detail);
        text_pair(json_text_of(leg, "leg"), text, confirmed ? COLOUR_GOOD : COLOUR_WARN);
    }
}
