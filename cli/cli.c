#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/when.h"

#define MESSAGE_MAX 1024

const char *cli_value(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->command->options_len; i++)
        if (strcmp(cli->command->options[i].name, name) == 0)
            return cli->values[i];
    abort(); /* the command's table and its code disagree */
}

/* ---- messages ---- */

/* A problem (RFC 9457) on a line of its own. */
static void tell_json(const char *word, const char *field, unsigned status, const char *text)
{
    uint8_t bytes[MESSAGE_MAX * 6 + 512]; /* every byte may be escaped */
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    if (status != 0)
        json_field_integer(&j, "status", (int64_t)status);
    json_field_text(&j, "code", word);
    if (field != NULL && *field != '\0')
        json_field_text(&j, "field", field);
    json_field_text(&j, "detail", text);
    json_close_object(&j);
    if (w.err == ERR_NONE)
        (void)fwrite(w.start, 1, w.len, stderr);
    (void)fputc('\n', stderr);
}

static void tell_text(const char *label, enum text_colour colour, const char *text)
{
    (void)text_show(stderr, label, SIZE_MAX, colour);
    text_put(stderr, text);
    (void)fputc('\n', stderr);
}

static void tell(struct cli *cli, const char *word, const char *field, unsigned status,
                 const char *text)
{
    (void)fflush(stdout); /* so that what led to it stands before it */
    progress_hide();
    if (cli->json)
        tell_json(word, field, status, text);
    else
        tell_text("holdfast: ", COLOUR_BAD, text);
}

int cli_fail(struct cli *cli, int code, const char *word, const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    tell(cli, word, NULL, 0, n < 0 ? "" : text);
    return code;
}

int cli_exit_of(const struct problem *problem)
{
    return problem->status == 404 ? CLI_NOT_FOUND : CLI_REFUSED;
}

int cli_exit_of_err(enum err err)
{
    switch (err) {
    case ERR_NONE:
        return CLI_OK;
    case ERR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case ERR_BAD_SIGNATURE:
        return CLI_UNVERIFIED;
    case ERR_IO:
    case ERR_DISK_FULL:
        return CLI_FILE;
    case ERR_NO_MEMORY:
    case ERR_CRYPTO:
    case ERR_INTERNAL:
        return CLI_INTERNAL;
    default:
        return CLI_REFUSED;
    }
}

int cli_fail_problem(struct cli *cli, const struct problem *problem)
{
    char text[MESSAGE_MAX];
    bool placed = problem->status == 400 && problem->field[0] != '\0' && !cli->json;
    (void)snprintf(text, sizeof text, "%s%s%s", placed ? problem->field : "", placed ? ": " : "",
                   problem->detail);
    tell(cli, problem->code, problem->field, problem->status, text);
    return cli_exit_of(problem);
}

int cli_fail_memory(struct cli *cli)
{
    return cli_fail(cli, CLI_INTERNAL, "no-memory", "out of memory");
}

void cli_say(const struct cli *cli, const char *format, ...)
{
    if (cli->quiet || cli->json)
        return;
    char text[MESSAGE_MAX];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    (void)fflush(stdout);
    progress_hide();
    if (n >= 0)
        text_put(stderr, text);
    (void)fputc('\n', stderr);
}

void cli_warn(const struct cli *cli, const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    (void)fflush(stdout);
    progress_hide();
    if (cli->json)
        tell_json("warning", NULL, 0, n < 0 ? "" : text);
    else
        tell_text("warning: ", COLOUR_WARN, n < 0 ? "" : text);
}

int cli_confirm(struct cli *cli, const char *format, ...)
{
    if (cli->yes)
        return CLI_OK;
    if (isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "this cannot be undone, and there is no terminal to ask on: say --yes");
    char text[MESSAGE_MAX], answer[16] = "";
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    text_put(stderr, n < 0 ? "" : text);
    (void)fputs(" [y/N] ", stderr);
    bool yes = fgets(answer, sizeof answer, stdin) != NULL &&
               (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
    return yes ? CLI_OK
               : cli_fail(cli, CLI_UNCONFIRMED, "not-confirmed",
                          "not confirmed; nothing was changed");
}

/* ---- what a person typed ---- */

int cli_check_name(struct cli *cli, const char *what, const char *text)
{
    size_t n = 0;
    for (; text[n] != '\0'; n++) {
        char c = text[n];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!plain && (n == 0 || (c != '.' && c != '-' && c != '_')))
            break;
    }
    if (n > 0 && n <= 64 && text[n] == '\0')
        return CLI_OK;
    return cli_fail(cli, CLI_USAGE, "usage",
                    "'%.80s' cannot be the name of a %s: use 1 to 64 letters, digits, dots, dashes "
                    "and underscores, a letter or digit first",
                    text, what);
}

int cli_read_count(struct cli *cli, const char *what, const char *text, uint64_t min, uint64_t max,
                   uint64_t *ret_count)
{
    struct reader r = reader_over(slice_of_text(text));
    uint64_t n = reader_decimal(&r, max);
    if (reader_finish(&r) != ERR_NONE || n < min)
        return cli_fail(cli, CLI_USAGE, "usage",
                        "%s must be a number from %llu to %llu, not '%.40s'", what,
                        (unsigned long long)min, (unsigned long long)max, text);
    *ret_count = n;
    return CLI_OK;
}

int cli_read_duration(struct cli *cli, const char *what, const char *text, int64_t *ret_seconds)
{
    if (config_duration_read(slice_of_text(text), ret_seconds) == ERR_NONE)
        return CLI_OK;
    return cli_fail(cli, CLI_USAGE, "usage",
                    "%s must be a duration such as 90s, 15m, 2h, 30d or 1y, not '%.40s'", what,
                    text);
}

int cli_read_time(struct cli *cli, const char *what, const char *text, bool past,
                  int64_t *ret_seconds)
{
    if (when_read(slice_of_text(text), clock_seconds(), past, ret_seconds) == ERR_NONE)
        return CLI_OK;
    return cli_fail(cli, CLI_USAGE, "usage",
                    "%s must be a duration such as 2h or 30d, a date such as 2026-11-23, or a time "
                    "such as 2026-11-23T04:21:38Z (UTC), not '%.40s'",
                    what, text);
}
