#include "cli/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/text.h"

static const char *const result_texts[DOCTOR_RESULT_COUNT] = {"pass", "warn", "fail", "unknown"};

void doctor_saw(struct doctor *d, enum doctor_result result, const char *check, const char *format,
                ...)
{
    if (d->findings_len == DOCTOR_FINDINGS_MAX)
        abort(); /* the checks are known, and so is how much they can say */
    struct doctor_finding *f = &d->findings[d->findings_len++];
    *f = (struct doctor_finding){.result = result, .check = check};
    va_list values;
    va_start(values, format);
    (void)vsnprintf(f->saw, sizeof f->saw, format, values);
    va_end(values);
}

void doctor_next(struct doctor *d, const char *format, ...)
{
    struct doctor_finding *f = &d->findings[d->findings_len - 1];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(f->next, sizeof f->next, format, values);
    va_end(values);
}

/* ---- what to look at ---- */

static int prepare(struct doctor *d)
{
    struct config_error error = {""};
    int code = settings_socket(d->cli, d->socket);
    if (code == CLI_OK)
        code = settings_state(d->cli, d->state);
    if (code != CLI_OK)
        return code;
    d->has_settings = settings_read(d->cli, &d->settings, &error) == ERR_NONE;
    d->now = clock_seconds();
    return CLI_OK;
}

/* ---- what is said ---- */

static int exit_of(const size_t counts[DOCTOR_RESULT_COUNT])
{
    if (counts[DOCTOR_FAIL] > 0)
        return CLI_REFUSED;
    return counts[DOCTOR_UNKNOWN] > 0 ? CLI_UNSEEN : CLI_OK;
}

static int print_json(struct doctor *d, const size_t counts[DOCTOR_RESULT_COUNT])
{
    json_t *checks = json_array();
    json_t *document CLEANUP(json_cleanup) = json_pack("{s:o}", "checks", checks);
    if (document == NULL)
        return cli_fail_memory(d->cli);
    for (size_t i = 0; i < d->findings_len; i++) {
        const struct doctor_finding *f = &d->findings[i];
        json_t *check =
            json_pack("{s:s, s:s, s:s, s:s*}", "check", f->check, "result", result_texts[f->result],
                      "saw", f->saw, "next", f->next[0] == '\0' ? NULL : f->next);
        if (json_array_append_new(checks, check) != 0)
            return cli_fail_memory(d->cli);
    }
    for (size_t i = 0; i < DOCTOR_RESULT_COUNT; i++)
        (void)json_object_set_new(document, result_texts[i], json_integer((json_int_t)counts[i]));
    return json_print(d->cli, document);
}

static void print_text(const struct doctor *d, const size_t counts[DOCTOR_RESULT_COUNT])
{
    static const enum text_colour colours[DOCTOR_RESULT_COUNT] = {COLOUR_GOOD, COLOUR_WARN,
                                                                  COLOUR_BAD, COLOUR_WARN};
    for (size_t i = 0; i < d->findings_len; i++) {
        const struct doctor_finding *f = &d->findings[i];
        if (d->cli->quiet && f->result == DOCTOR_PASS)
            continue;
        (void)text_show(stdout, result_texts[f->result], SIZE_MAX, colours[f->result]);
        (void)printf("%*s%-16s ", (int)(9 - strlen(result_texts[f->result])), "", f->check);
        text_put(stdout, f->saw);
        (void)fputc('\n', stdout);
        if (f->next[0] == '\0')
            continue;
        (void)printf("%26s", "");
        (void)text_show(stdout, "-> ", SIZE_MAX, COLOUR_DIM);
        text_put(stdout, f->next);
        (void)fputc('\n', stdout);
    }
    if (!d->cli->quiet)
        (void)printf("%zu pass, %zu warn, %zu fail, %zu unknown\n", counts[DOCTOR_PASS],
                     counts[DOCTOR_WARN], counts[DOCTOR_FAIL], counts[DOCTOR_UNKNOWN]);
}

static int conclude(struct doctor *d)
{
    size_t counts[DOCTOR_RESULT_COUNT] = {0};
    for (size_t i = 0; i < d->findings_len; i++)
        counts[d->findings[i].result]++;
    int code = CLI_OK;
    if (d->cli->json)
        code = print_json(d, counts);
    else
        print_text(d, counts);
    return code == CLI_OK ? exit_of(counts) : code;
}

static int run_broker(struct cli *cli)
{
    struct doctor *d = calloc(1, sizeof *d);
    if (d == NULL)
        return cli_fail_memory(cli);
    d->cli = cli;
    doctor_check_broker(d);
    int code = conclude(d);
    free(d);
    return code;
}

static int run(struct cli *cli)
{
    if (cli->operands_len > 0 && strcmp(cli->operands[0], "broker") == 0)
        return run_broker(cli);
    if (cli->operands_len > 0)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "the doctor looks at a hub, or with the word "
                        "'broker' at Mosquitto; not at '%s'",
                        cli->operands[0]);
    struct doctor *d = calloc(1, sizeof *d);
    if (d == NULL)
        return cli_fail_memory(cli);
    d->cli = cli;
    int code = prepare(d);
    if (code == CLI_OK) {
        doctor_check_config(d);
        doctor_check_state(d);
        doctor_check_disk(d);
        doctor_check_clock(d);
        doctor_check_hub(d);
        doctor_check_processes(d);
        doctor_check_authority(d);
        doctor_check_listeners(d);
        doctor_check_bundle(d);
        doctor_check_ledger(d);
        code = conclude(d);
    }
    json_decref(d->hub);
    free(d);
    return code;
}

static const struct cli_command commands[] = {
    {.operands =
         {{.name = "WHAT", .optional = true, .complete = COMPLETE_WORDS, .words = "broker"}},
     .summary = "is everything as it should be, and what is to be done",
     .help =
         "With the word `broker` it looks at Mosquitto on this machine, whose configuration is\n"
         "/etc/mosquitto/mosquitto.conf or --config FILE, and refuses what leads past the plugin.\n"
         "Each check ends as pass, warn, fail or unknown. Exits 0 where all pass or warn, 1 where\n"
         "one fails, 7 where none fails and something could not be seen: run it as root.\n",
     .run = run},
};

const struct cli_noun noun_doctor = {
    .name = "doctor",
    .summary = "is everything as it should be, and what is to be done",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
