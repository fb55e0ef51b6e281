/* Closed periods of the ledger: a verified copy first, and only then the hub lets their data go. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/hub_link.h"
#include "cli/ledger.h"
#include "cli/ledger_export.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/when.h"
#include "core/json_write.h"
#include "core/tile.h"

#define ARCHIVE_TARGET "/v1/ledger/archive"
#define WHERE_MAX      255

/* ---- up to which entry ---- */

/* The time of an entry. Of one that is archived it is told that it is old: *ret_seconds is 0. */
static int entry_time(struct cli *cli, uint64_t number, int64_t *ret_seconds)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    (void)snprintf(target, sizeof target, "/v1/ledger/entries?first=%" PRIu64 "&limit=1", number);
    int code = hub_ask(cli, "GET", target, NULL, slice_of(NULL, 0), &answer);
    if (code != CLI_OK)
        return code;
    if (answer.status == 410) {
        *ret_seconds = 0;
        return CLI_OK;
    }
    if (answer.status >= 400)
        return cli_fail_problem(cli, &answer.problem);
    const json_t *item = json_array_get(json_object_get(answer.json, "entries"), 0);
    *ret_seconds = ledger_entry_seconds(json_object_get(item, "entry"));
    return CLI_OK;
}

/* The first entry that is not older: time does not go backwards in a ledger. */
static int find_date(struct cli *cli, int64_t seconds, uint64_t size, uint64_t *ret_number)
{
    uint64_t low = 0, high = size;
    int code = CLI_OK;
    while (low < high && code == CLI_OK) {
        uint64_t middle = low + (high - low) / 2;
        int64_t at = 0;
        code = entry_time(cli, middle, &at);
        if (at < seconds)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_number = low;
    return code;
}

/* How many entries are signed for. */
static int signed_size(struct cli *cli, uint64_t *ret_size)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(cli, "/v1/hub", &answer);
    if (code == CLI_OK)
        *ret_size =
            (uint64_t)json_number_of(json_object_get(answer.json, "ledger"), "checkpoint_size");
    return code;
}

/* Of a date the newest entries, which stay, are left out; a number is taken at its word. */
static int read_before(struct cli *cli, uint64_t size, uint64_t *ret_before)
{
    const char *text = cli_value(cli, "before");
    uint64_t bundles = size / TILE_WIDTH, most = bundles > 0 ? (bundles - 1) * TILE_WIDTH : 0;
    uint64_t number = 0;
    int64_t seconds = 0;
    bool is_number = strspn(text, "0123456789") == strlen(text);
    int code = is_number ? cli_read_count(cli, "--before", text, 0, INT64_MAX, &number)
                         : cli_read_time(cli, "--before", text, true, &seconds);
    if (code == CLI_OK && !is_number)
        code = find_date(cli, seconds, size, &number);
    if (code != CLI_OK)
        return code;
    number = number / TILE_WIDTH * TILE_WIDTH;
    if (number > most && is_number)
        return cli_fail(cli, CLI_REFUSED, "archive-conflict",
                        "%" PRIu64 " is the most now: the newest entries under the checkpoint stay",
                        most);
    *ret_before = number > most ? most : number;
    return *ret_before > 0
               ? CLI_OK
               : cli_fail(
                     cli, CLI_NOT_FOUND, "entry-not-found",
                     "whole bundles of 256 entries are archived, and there is none before that");
}

/* ---- letting go ---- */

static int let_go(struct cli *cli, uint64_t before, const char *where, struct hub_answer *answer)
{
    uint8_t bytes[WHERE_MAX * 6 + 64];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_integer(&j, "before", (int64_t)before);
    json_field_text(&j, "where", where);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail(cli, CLI_USAGE, "usage", "--where is too long");
    struct progress progress;
    progress_start(&progress, cli, "entries", 0, before);
    int code = CLI_OK;
    for (uint64_t cleared = 0; code == CLI_OK && cleared < before;) {
        hub_answer_free(answer);
        *answer = (struct hub_answer){.status = 0};
        code = hub_call(cli, "POST", ARCHIVE_TARGET, writer_bytes(&w), answer);
        cleared = (uint64_t)json_number_of(answer->json, "cleared");
        progress_set(&progress, cleared);
    }
    progress_end(&progress);
    return code;
}

static int read_where(struct cli *cli, const char *folder, char ret_where[WHERE_MAX + 1])
{
    const char *where = cli_value(cli, "where");
    char *path = where == NULL ? realpath(folder, NULL) : NULL;
    const char *text = where != NULL ? where : path != NULL ? path : folder;
    size_t len = strlen(text);
    bool is_plain = len > 0 && len <= WHERE_MAX;
    for (size_t i = 0; is_plain && i < len; i++)
        is_plain = text[i] >= ' ' && text[i] <= '~';
    if (is_plain)
        memcpy(ret_where, text, len + 1);
    free(path);
    return is_plain ? CLI_OK
                    : cli_fail(cli, CLI_USAGE, "usage",
                               "say by --where, in up to 255 plain characters, where the copy is");
}

int ledger_archive_run(struct cli *cli)
{
    const char *folder = cli->operands[0];
    char where[WHERE_MAX + 1];
    uint64_t before = 0, first = 0, size = 0;
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = signed_size(cli, &size);
    if (code == CLI_OK)
        code = read_before(cli, size, &before);
    if (code == CLI_OK)
        code = find_date(cli, 1, size, &first); /* what is archived has no date any more */
    if (code == CLI_OK && first >= before)
        code = cli_fail(cli, CLI_REFUSED, "archive-conflict",
                        "the entries below number %" PRIu64 " are archived already", first);
    if (code == CLI_OK)
        code = ledger_export_period(cli, folder, first, before, &first);
    if (code == CLI_OK)
        code = read_where(cli, folder, where);
    if (code == CLI_OK)
        code = cli_confirm(cli,
                           "let the hub drop entries %" PRIu64 " to %" PRIu64
                           "? From then on they are in %s alone",
                           first, before - 1, folder);
    if (code == CLI_OK)
        code = let_go(cli, before, where, &answer);
    if (code != CLI_OK)
        return code;
    if (cli->json) {
        json_t *document CLEANUP(json_cleanup) =
            json_pack("{s:s, s:I, s:I, s:s}", "folder", folder, "first", (json_int_t)first, "last",
                      (json_int_t)before - 1, "where", where);
        return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
    }
    text_pair_format("entries", "%" PRIu64 " to %" PRIu64, first, before - 1);
    text_pair("are in", where, COLOUR_BOLD);
    cli_say(cli,
            "Keep a second copy of it. To check it: holdfast-verify --key KEY --range %" PRIu64
            "-%" PRIu64 " %s",
            first, before - 1, folder);
    return CLI_OK;
}
