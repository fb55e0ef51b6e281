/* holdfast ledger: what was done, by whom, and the proof of it. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/hub_link.h"
#include "cli/ledger.h"
#include "cli/ledger_link.h"
#include "cli/save.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "cli/when.h"
#include "core/note.h"

#define PAGE_SIZE       1000
#define TAIL_STANDARD   "10"
#define SEARCH_STANDARD "100"
#define FOLLOW_SECONDS  1
#define SEQUENCE_MAX    INT64_C(9007199254740991) /* as the hub takes numbers */

/* ---- one entry ---- */

/* "2026-11-23T04:21:38.123Z" -> seconds; 0 where it is none. */
int64_t ledger_entry_seconds(const json_t *entry)
{
    const char *t = json_text_of(entry, "t");
    char whole[24];
    int64_t seconds = 0;
    size_t n = strcspn(t, ".Z");
    (void)snprintf(whole, sizeof whole, "%.*sZ", n > 20 ? 20 : (int)n, t);
    return when_read(slice_of_text(whole), 0, false, &seconds) == ERR_NONE ? seconds : 0;
}

static enum text_colour colour_of_act(const char *act)
{
    if (strcmp(act, "device.revoke") == 0)
        return COLOUR_BAD;
    if (strcmp(act, "device.quarantine") == 0 || strncmp(act, "finding.", 8) == 0)
        return COLOUR_WARN;
    return COLOUR_NONE;
}

/* On a line of its own: number, time, act, subject, actor, and what more there is. */
static void print_line(const json_t *item)
{
    const json_t *entry = json_object_get(item, "entry");
    const char *act = json_text_of(entry, "act"), *subject = json_text_of(entry, "subject");
    char head[64];
    size_t columns = text_columns(stdout), used;
    (void)snprintf(head, sizeof head, "%8" PRIu64 "  ", (uint64_t)json_number_of(item, "number"));
    used = text_show(stdout, head, SIZE_MAX, COLOUR_DIM);
    (void)snprintf(head, sizeof head, "%.10s %.8s  ", json_text_of(entry, "t"),
                   strlen(json_text_of(entry, "t")) > 19 ? json_text_of(entry, "t") + 11 : "");
    used += text_show(stdout, head, SIZE_MAX, COLOUR_NONE);
    used += text_show(stdout, act, SIZE_MAX, colour_of_act(act));
    for (size_t n = text_width(act); n < 18; n++, used++)
        (void)fputc(' ', stdout);
    (void)fputs("  ", stdout);
    used += 2 + text_show(stdout, subject, SIZE_MAX, COLOUR_NONE);
    (void)fputs("  ", stdout);
    used += 2 + text_show(stdout, json_text_of(entry, "actor"), SIZE_MAX, COLOUR_DIM);
    json_t *data = json_object_get(entry, "data");
    json_t *reason = json_object_get(item, "reason"); /* in clear, where it is sealed there */
    if (reason != NULL)
        (void)json_object_set(data, "reason", reason);
    char *more =
        json_object_size(data) > 0 ? json_dumps(data, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    if (more != NULL && (columns == 0 || columns > used + 12)) {
        (void)fputs("  ", stdout);
        (void)text_show(stdout, more, columns == 0 ? SIZE_MAX : columns - used - 2, COLOUR_DIM);
    }
    free(more);
    (void)fputc('\n', stdout);
}

/* With --json, an entry a line: these may be many, and --follow never ends. */
static int print_entry(struct cli *cli, const json_t *item)
{
    if (!cli->json) {
        print_line(item);
        return CLI_OK;
    }
    if (json_dumpf(item, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0)
        return cli_fail(cli, CLI_FILE, "file", "standard output: %m");
    (void)fputc('\n', stdout);
    return CLI_OK;
}

/* ---- pages ---- */

struct page {
    struct hub_answer answer;
    const json_t *entries;
    size_t entries_len;
    uint64_t size; /* of the ledger */
};

static void page_free(struct page *p)
{
    hub_answer_free(&p->answer);
}

/* `first` NULL: from the end that the order starts at. */
static int get_page(struct cli *cli, const uint64_t *first, uint64_t limit, bool descending,
                    struct page *ret_page)
{
    char target[HUB_TARGET_MAX], from[48] = "";
    if (first != NULL)
        (void)snprintf(from, sizeof from, "first=%" PRIu64 "&", *first);
    (void)snprintf(target, sizeof target, "/v1/ledger/entries?%slimit=%" PRIu64 "&order=%s", from,
                   limit < PAGE_SIZE ? limit : PAGE_SIZE, descending ? "desc" : "asc");
    int code = hub_get(cli, target, &ret_page->answer);
    if (code != CLI_OK)
        return code;
    ret_page->entries = json_object_get(ret_page->answer.json, "entries");
    ret_page->entries_len = json_array_size(ret_page->entries);
    ret_page->size = (uint64_t)json_number_of(ret_page->answer.json, "size");
    return CLI_OK;
}

static const json_t *page_item(const struct page *p, size_t i)
{
    return json_array_get(p->entries, i);
}

/* ---- tail ---- */

/* Prints from *next on, and moves it. */
static int print_from(struct cli *cli, uint64_t *next, uint64_t *ret_size)
{
    struct page page CLEANUP(page_free) = {.entries = NULL};
    int code = get_page(cli, next, PAGE_SIZE, false, &page);
    for (size_t i = 0; code == CLI_OK && i < page.entries_len; i++) {
        code = print_entry(cli, page_item(&page, i));
        (*next)++;
    }
    *ret_size = page.size;
    return code;
}

static int ledger_size(struct cli *cli, uint64_t *ret_size)
{
    struct page page CLEANUP(page_free) = {.entries = NULL};
    int code = get_page(cli, NULL, 1, true, &page);
    if (code == CLI_OK)
        *ret_size = page.size;
    return code;
}

static int run_tail(struct cli *cli)
{
    const char *lines = cli_value(cli, "lines");
    bool follow = cli_has(cli, "follow");
    uint64_t n = 0, size = 0;
    int code =
        cli_read_count(cli, "--lines", lines == NULL ? TAIL_STANDARD : lines, 0, SEQUENCE_MAX, &n);
    if (code == CLI_OK)
        code = ledger_size(cli, &size);
    uint64_t next = size > n ? size - n : 0;
    while (code == CLI_OK) {
        if (next < size) {
            code = print_from(cli, &next, &size);
            continue;
        }
        if (!follow || fflush(stdout) != 0)
            break;
        (void)nanosleep(&(struct timespec){.tv_sec = FOLLOW_SECONDS}, NULL);
        code = ledger_size(cli, &size);
    }
    return code;
}

/* ---- search ---- */

struct search {
    const char *act, *subject, *actor, *text;
    int64_t since, until; /* seconds; until is INT64_MAX where not given */
    uint64_t limit;
};

/* "device" and "device/" find "device/thermo-1", "device.revoke" finds itself. */
static bool begins(const char *value, const char *wanted)
{
    return wanted == NULL || strncmp(value, wanted, strlen(wanted)) == 0;
}

static bool contains(const json_t *entry, const char *text)
{
    if (text == NULL)
        return true;
    char *all = json_dumps(entry, JSON_COMPACT | JSON_PRESERVE_ORDER);
    bool found = all != NULL && strcasestr(all, text) != NULL;
    free(all);
    return found;
}

static bool matches(const struct search *s, const json_t *entry, int64_t seconds)
{
    return seconds >= s->since && seconds <= s->until &&
           begins(json_text_of(entry, "act"), s->act) &&
           begins(json_text_of(entry, "subject"), s->subject) &&
           begins(json_text_of(entry, "actor"), s->actor) && contains(entry, s->text);
}

static int search_page(struct cli *cli, const struct search *s, const struct page *page,
                       uint64_t *found, bool *ret_done)
{
    for (size_t i = 0; i < page->entries_len; i++) {
        const json_t *item = page_item(page, i), *entry = json_object_get(item, "entry");
        int64_t seconds = ledger_entry_seconds(entry);
        if (seconds < s->since || *found == s->limit) {
            *ret_done = true; /* time does not go backwards in a ledger */
            return CLI_OK;
        }
        if (!matches(s, entry, seconds))
            continue;
        int code = print_entry(cli, item);
        if (code != CLI_OK)
            return code;
        (*found)++;
    }
    return CLI_OK;
}

/* From the newest entry back. */
static int search(struct cli *cli, const struct search *s)
{
    uint64_t found = 0, size = 0;
    int code = ledger_size(cli, &size);
    bool done = size == 0;
    for (uint64_t first = size - 1; code == CLI_OK && !done;) {
        struct page page CLEANUP(page_free) = {.entries = NULL};
        code = get_page(cli, &first, PAGE_SIZE, true, &page);
        if (code == CLI_OK)
            code = search_page(cli, s, &page, &found, &done);
        done = done || page.entries_len == 0 || page.entries_len > first;
        first -= page.entries_len;
    }
    if (code == CLI_OK && found == 0)
        cli_say(cli, "Nothing was found.");
    return code;
}

static int run_search(struct cli *cli)
{
    struct search s = {
        .act = cli_value(cli, "act"),
        .subject = cli_value(cli, "subject"),
        .actor = cli_value(cli, "actor"),
        .text = cli->operands_len > 0 ? cli->operands[0] : NULL,
        .until = INT64_MAX,
    };
    const char *since = cli_value(cli, "since"), *until = cli_value(cli, "until");
    const char *limit = cli_value(cli, "limit");
    int code = cli_read_count(cli, "--limit", limit == NULL ? SEARCH_STANDARD : limit, 1,
                              SEQUENCE_MAX, &s.limit);
    if (code == CLI_OK && since != NULL)
        code = cli_read_time(cli, "--since", since, true, &s.since);
    if (code == CLI_OK && until != NULL)
        code = cli_read_time(cli, "--until", until, true, &s.until);
    return code == CLI_OK ? search(cli, &s) : code;
}

/* ---- show ---- */

static void show_entry(uint64_t number, const json_t *entry)
{
    static const char *const names[] = {"act", "subject", "actor", "tenant", "request"};
    char text[WHEN_TEXT_MAX];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    text_pair("entry", text, COLOUR_BOLD);
    when_full(ledger_entry_seconds(entry), clock_seconds(), text);
    text_pair("time", text, COLOUR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        text_pair(names[i], json_text_or_null(entry, names[i]), COLOUR_NONE);
    const char *name;
    json_t *value, *data = json_object_get(entry, "data");
    json_object_foreach(data, name, value)
    {
        char label[80];
        char *other = json_is_string(value)
                          ? NULL
                          : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
        (void)snprintf(label, sizeof label, "  %.64s", name);
        text_pair(label, json_is_string(value) ? json_string_value(value) : other, COLOUR_NONE);
        free(other);
    }
}

static int run_show(struct cli *cli)
{
    uint64_t number = 0;
    struct page page CLEANUP(page_free) = {.entries = NULL};
    int code =
        cli_read_count(cli, "the number of an entry", cli->operands[0], 0, SEQUENCE_MAX, &number);
    if (code == CLI_OK)
        code = get_page(cli, &number, 1, false, &page);
    if (code != CLI_OK)
        return code;
    const json_t *item = page_item(&page, 0);
    if (item == NULL || (uint64_t)json_number_of(item, "number") != number)
        return cli_fail(cli, CLI_NOT_FOUND, "entry-not-found",
                        "the ledger has %" PRIu64 " entries, the first is number 0", page.size);
    if (cli->json)
        return json_print(cli, item);
    show_entry(number, json_object_get(item, "entry"));
    return CLI_OK;
}

/* ---- checkpoint and key ---- */

static int run_checkpoint(struct cli *cli)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(cli, "/v1/ledger/checkpoint", &answer);
    return code == CLI_OK
               ? save_note(cli, cli_value(cli, "output"), answer.bytes, "checkpoint", "checkpoint")
               : code;
}

static int run_key(struct cli *cli)
{
    char state[CONFIG_TEXT_MAX], path[CONFIG_TEXT_MAX + 16], text[NOTE_KEY_TEXT_MAX + 1];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    struct note_key key;
    const char *shown = NULL;
    int code = CLI_OK;
    if (hub_get_quietly(cli, "/v1/hub", &answer))
        shown = json_text_or_null(json_object_get(answer.json, "ledger"), "key");
    if (shown == NULL) {
        code = settings_state(cli, state);
        (void)snprintf(path, sizeof path, "%s/ledger.vkey", state);
        if (code == CLI_OK)
            code = ledger_key_read(cli, path, &key);
        if (code != CLI_OK)
            return code;
        struct writer w = writer_over(text, sizeof text - 1);
        note_key_write(&w, &key);
        text[w.len] = '\0';
        shown = text;
    }
    if (cli->json) {
        json_t *document CLEANUP(json_cleanup) = json_pack("{s:s}", "key", shown);
        return document == NULL ? cli_fail_memory(cli) : json_print(cli, document);
    }
    text_put(stdout, shown);
    (void)fputc('\n', stdout);
    return CLI_OK;
}

/* ---- table ---- */

static const struct cli_option tail_options[] = {
    {.name = "lines",
     .letter = 'n',
     .value = "N",
     .help = "show the last N entries; standard: " TAIL_STANDARD},
    {.name = "follow", .letter = 'f', .help = "go on with those that come, until interrupted"},
};

static const struct cli_option search_options[] = {
    {.name = "act", .value = "ACT", .help = "only acts that begin so: device., device.revoke"},
    {.name = "subject", .value = "SUBJECT", .help = "only subjects that begin so: device/thermo-1"},
    {.name = "actor", .value = "ACTOR", .help = "only actors that begin so: local:, device:"},
    {.name = "since",
     .value = "TIME",
     .help = "not before: a duration ago (2h), a date or a time in UTC"},
    {.name = "until", .value = "TIME", .help = "not after"},
    {.name = "limit",
     .letter = 'n',
     .value = "N",
     .help = "show at most N; standard: " SEARCH_STANDARD},
};

static const struct cli_option output_options[] = {
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it there; standard: to standard output"},
};

static const struct cli_option verify_options[] = {
    LEDGER_LINK_OPTIONS,
    {.name = "saved",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "a checkpoint that was saved earlier: the ledger must continue it"},
    {.name = "save",
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "where everything holds, save the checkpoint there"},
};

static const struct cli_option export_options[] = {
    LEDGER_LINK_OPTIONS,
    {.name = "from", .value = "NUMBER", .help = "only the entries from that one on"},
    {.name = "to", .value = "NUMBER", .help = "only those up to that one"},
};

static const struct cli_option prove_options[] = {
    LEDGER_LINK_OPTIONS,
    {.name = "folder",
     .value = "FOLDER",
     .complete = COMPLETE_FOLDER,
     .help = "from a copy that export has made, instead of a hub"},
    {.name = "output",
     .letter = 'o',
     .value = "FILE",
     .complete = COMPLETE_FILE,
     .help = "write it there; standard: to standard output"},
};

static const struct cli_option archive_options[] = {
    {.name = "before",
     .value = "WHEN",
     .required = true,
     .help = "only entries before that number, date, or duration ago"},
    {.name = "key",
     .value = "KEY",
     .complete = COMPLETE_FILE,
     .help = "the ledger's verifier key, or the file it is in"},
    {.name = "where",
     .value = "TEXT",
     .help = "where the copy will be, for people; standard: the folder's path"},
};

static const struct cli_command commands[] = {
    {.verb = "tail",
     CLI_OPTIONS(tail_options),
     .summary = "the newest entries",
     .help = "With --json, an entry a line.\n",
     .run = run_tail},
    {.verb = "search",
     .operands = {{.name = "TEXT", .optional = true}},
     CLI_OPTIONS(search_options),
     .summary = "entries that fit, the newest first",
     .help =
         "TEXT is sought in all of an entry, whatever its case. With --json, an entry a line.\n",
     .run = run_search},
    {.verb = "show", .operands = {{.name = "NUMBER"}}, .summary = "one entry", .run = run_show},
    {.verb = "checkpoint",
     CLI_OPTIONS(output_options),
     .summary = "the newest signed checkpoint; keep it elsewhere, and verify against it",
     .run = run_checkpoint},
    {.verb = "key", .summary = "the ledger's verifier key; keep it elsewhere", .run = run_key},
    {.verb = "verify",
     CLI_OPTIONS(verify_options),
     .summary = "read the whole ledger, and check that nothing was changed or removed",
     .help = "Exits 5 where signatures or hashes do not hold, 9 where the ledger is not the\n"
             "continuation of the saved checkpoint. Only a key and a checkpoint that were kept\n"
             "elsewhere show that the hub itself did not replace its history.\n",
     .run = ledger_verify_run},
    {.verb = "export",
     .operands = {{.name = "FOLDER", .complete = COMPLETE_FOLDER}},
     CLI_OPTIONS(export_options),
     .summary = "copy the ledger, or a part, into a folder that holdfast-verify judges",
     .help = "All that is written has been verified. Run again, it goes on where it was\n"
             "interrupted, or fetches what is new; the ledger must then continue the\n"
             "checkpoint that the folder has.\n",
     .run = ledger_export_run},
    {.verb = "prove",
     .operands = {{.name = "NUMBER"}},
     CLI_OPTIONS(prove_options),
     .summary = "one entry with the proof that it is in the ledger",
     .help = "For somebody who sees nothing else of the ledger: `holdfast-verify --bundle` checks\n"
             "it offline. The form is C2SP's tlog-proof.\n",
     .run = ledger_prove_run},
    {.verb = "archive",
     .operands = {{.name = "FOLDER", .complete = COMPLETE_FOLDER}},
     CLI_OPTIONS(archive_options),
     .summary = "copy old entries into a folder, and have the hub let their data go",
     .help = "The hub keeps the hashes: all proofs hold as before. The copy is verified first. A\n"
             "folder with earlier periods is gone on with; a run that was interrupted, too.\n",
     .run = ledger_archive_run},
};

const struct cli_noun noun_ledger = {
    .name = "ledger",
    .summary = "what was done, by whom, and the proof of it",
    .commands = commands,
    .commands_len = ARRAY_LEN(commands),
};
