#include "cli/manifest_import.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/claims_file.h"
#include "cli/hub_link.h"
#include "cli/list.h"
#include "cli/manifest_file.h"
#include "cli/progress.h"
#include "cli/when.h"

#define PATIENCE_MS 60000 /* with a hub that says that it is busy */

/* What is known of a device that is in the manifest already. */
#define PRESENT_PROOF    3u /* enum manifest_proof, of which two say "idevid" */
#define PRESENT_EXPECTED 4u

struct chunk_row {
    char serial[MANIFEST_SERIAL_MAX + 1];
    uint64_t line;
    int64_t claim_expires_at;
};

struct importing {
    struct cli *cli;
    const char *manifest;
    struct manifest_file file;
    struct claims_file claims; /* closed where codes are shown */
    struct seen *held;         /* serials whose code is in the claims file */
    struct seen *present;      /* devices that the manifest has; NULL without --resume */
    json_t *codes;             /* with --json, and no file */
    uint8_t *bytes;            /* the body of the chunk that is being made */
    struct writer body;
    struct json_writer json;
    struct chunk_row rows[IMPORT_CHUNK_ROWS];
    size_t rows_len;
    uint64_t added, skipped, claimed;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* The first asks to end after the chunk that is on its way, so that its codes are written down; a
 * second ends it at once. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- claim codes ---- */

static int keep_codes(struct importing *im, struct slice lines)
{
    int code = claims_file_append(im->cli, &im->claims, lines);
    if (code != CLI_OK)
        cli_warn(im->cli,
                 "the codes of the last chunk are lost; with room for them, --resume makes "
                 "new ones");
    return code;
}

static int show_code(struct importing *im, const char *serial, const char *claim_code)
{
    if (im->codes == NULL) {
        (void)printf("%s,%s\n", serial, claim_code);
        return CLI_OK;
    }
    json_t *item = json_pack("{s:s, s:s}", "serial", serial, "claim_code", claim_code);
    return json_array_append_new(im->codes, item) == 0 ? CLI_OK : cli_fail_memory(im->cli);
}

/* The codes of an answer: all in the file and on the disk before the next chunk is sent. */
static int take_codes(struct importing *im, const json_t *devices)
{
    size_t size = im->rows_len * CLAIMS_LINE_MAX;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return cli_fail_memory(im->cli);
    struct writer lines = writer_over(bytes, size);
    int code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < im->rows_len; i++) {
        const json_t *device = json_array_get(devices, i);
        const char *claim_code = json_text_or_null(device, "claim_code");
        const struct chunk_row *row = &im->rows[i];
        if (strcmp(json_text_of(device, "serial"), row->serial) != 0 ||
            (claim_code == NULL) != (row->claim_expires_at == 0))
            code = cli_fail(im->cli, CLI_INTERNAL, "internal",
                            "the hub's answer does not fit the rows that were sent; look at "
                            "`holdfast device list --manifest %s`",
                            im->manifest);
        else if (claim_code != NULL && im->claims.fd >= 0)
            claims_line_write(&lines, row->serial, claim_code, row->claim_expires_at);
        else if (claim_code != NULL)
            code = show_code(im, row->serial, claim_code);
        im->claimed += claim_code != NULL ? 1 : 0;
    }
    if (lines.len > 0) /* also where the rest of the answer is not right */
        code = keep_codes(im, writer_bytes(&lines));
    mem_wipe(bytes, size);
    free(bytes);
    return code;
}

/* ---- chunks ---- */

static void chunk_start(struct importing *im)
{
    im->rows_len = 0;
    im->body = writer_over(im->bytes, IMPORT_CHUNK_BYTES);
    im->json = json_writer_over(&im->body);
    json_open_object(&im->json);
    json_key(&im->json, "rows");
    json_open_array(&im->json);
}

/* "rows[17].serial" -> the line of the file. */
static int fail_row(struct importing *im, const struct problem *problem)
{
    static const struct slice prefix = SLICE_LITERAL("rows[");
    struct slice field = slice_of_text(problem->field);
    if (!slice_starts_with(field, prefix))
        return cli_fail_problem(im->cli, problem);
    struct reader r = reader_over(slice_of(field.data + prefix.len, field.len - prefix.len));
    struct slice digits = reader_until(&r, ']');
    struct slice rest = reader_rest(&r);
    struct reader number = reader_over(digits);
    uint64_t row = reader_decimal(&number, IMPORT_CHUNK_ROWS);
    if (reader_finish(&number) != ERR_NONE || row >= im->rows_len)
        return cli_fail_problem(im->cli, problem);
    bool exists = strcmp(problem->code, "device-exists") == 0;
    if (rest.len > 0 && rest.data[0] == '.')
        rest = slice_of(rest.data + 1, rest.len - 1);
    return cli_fail(im->cli, cli_exit_of(problem), problem->code,
                    "%s: line %" PRIu64 ": %s: %.*s: %s%s", im->file.path, im->rows[row].line,
                    im->rows[row].serial, (int)rest.len, (const char *)rest.data, problem->detail,
                    exists ? " (--resume passes over what this manifest has already)" : "");
}

static bool is_passing(const struct hub_answer *a)
{
    return a->status == 503 || a->status == 429;
}

/* A hub that is busy is asked again for a while; what it refused so it did not do. */
static int send_patiently(struct importing *im, const char *target, struct slice body,
                          struct hub_answer *answer)
{
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    for (;;) {
        int code = hub_ask(im->cli, "POST", target, "application/json", body, answer);
        if (code != CLI_OK || !is_passing(answer) || interrupted || clock_monotonic_ms() >= until)
            return code;
        hub_answer_free(answer);
        (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
}

static int chunk_send(struct importing *im)
{
    if (im->rows_len == 0)
        return CLI_OK;
    json_close_array(&im->json);
    json_close_object(&im->json);
    if (im->body.err != ERR_NONE)
        return cli_fail(im->cli, CLI_INTERNAL, "internal", "a chunk: %s", err_text(im->body.err));
    char target[HUB_TARGET_MAX];
    (void)snprintf(target, sizeof target, "/v1/manifests/%s/devices", im->manifest);
    struct hub_answer answer CLEANUP(hub_answer_wipe) = {.status = 0};
    int code = send_patiently(im, target, writer_bytes(&im->body), &answer);
    if (code != CLI_OK)
        return code;
    if (answer.status >= 400)
        return fail_row(im, &answer.problem);
    im->added += im->rows_len;
    code = take_codes(im, json_object_get(answer.json, "devices"));
    chunk_start(im);
    return code;
}

static int chunk_add(struct importing *im, const struct manifest_row *row)
{
    int code = CLI_OK;
    if (im->rows_len == IMPORT_CHUNK_ROWS ||
        im->body.max - im->body.len < MANIFEST_ROW_JSON_MAX + 16)
        code = chunk_send(im);
    if (code != CLI_OK)
        return code;
    manifest_row_write(&im->json, row);
    struct chunk_row *kept = &im->rows[im->rows_len++];
    memcpy(kept->serial, row->serial, sizeof kept->serial);
    kept->line = row->line;
    kept->claim_expires_at = row->proof == MANIFEST_CLAIM ? row->claim_expires_at : 0;
    return CLI_OK;
}

/* ---- what an earlier run brought in ---- */

static uint64_t present_value(const json_t *device)
{
    const char *credential = json_text_of(device, "credential");
    uint64_t value = strcmp(credential, "claim") == 0 ? MANIFEST_CLAIM
                     : strcmp(credential, "key") == 0 ? MANIFEST_KEY
                                                      : MANIFEST_IDEVID;
    return value | (strcmp(json_text_of(device, "state"), "expected") == 0 ? PRESENT_EXPECTED : 0);
}

static int add_present(void *ctx, const json_t *device)
{
    struct importing *im = ctx;
    uint64_t before;
    enum err err = seen_add(im->present, slice_of_text(json_text_of(device, "id")),
                            present_value(device), &before);
    return err == ERR_NONE || err == ERR_EXISTS ? CLI_OK : cli_fail_memory(im->cli);
}

static int load_present(struct importing *im)
{
    char query[128], next[65];
    bool more;
    (void)snprintf(query, sizeof query, "manifest=%s&", im->manifest);
    const struct list list = {.path = "/v1/devices", .query = query, .array = "devices"};
    if (seen_new(&im->present) != ERR_NONE)
        return cli_fail_memory(im->cli);
    return list_walk(im->cli, &list, NULL, UINT64_MAX, add_present, NULL, im, &more, next);
}

/* Its code was made, and did not come to be written down: a new one takes its place. */
static int claim_again(struct importing *im, const struct manifest_row *row)
{
    uint8_t bytes[128];
    char target[HUB_TARGET_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_time(&j, "expires_at", row->claim_expires_at);
    json_close_object(&j);
    (void)snprintf(target, sizeof target, "/v1/devices/%s/claim", row->serial);
    struct hub_answer answer CLEANUP(hub_answer_wipe) = {.status = 0};
    int code = send_patiently(im, target, writer_bytes(&w), &answer);
    if (code != CLI_OK)
        return code;
    if (answer.status == 409)
        return CLI_OK; /* it has used its code since */
    if (answer.status >= 400)
        return cli_fail_problem(im->cli, &answer.problem);
    const char *claim_code = json_text_of(answer.json, "claim_code");
    im->claimed++;
    if (im->claims.fd < 0)
        return show_code(im, row->serial, claim_code);
    uint8_t line[CLAIMS_LINE_MAX];
    struct writer lines = writer_over(line, sizeof line);
    claims_line_write(&lines, row->serial, claim_code, row->claim_expires_at);
    code = keep_codes(im, writer_bytes(&lines));
    mem_wipe(line, sizeof line);
    return code;
}

static int skip_present(struct importing *im, const struct manifest_row *row, uint64_t value)
{
    uint64_t ignored;
    im->skipped++;
    if ((value & PRESENT_PROOF) != row->proof)
        return cli_fail(im->cli, CLI_REFUSED, "manifest",
                        "%s: line %" PRIu64 ": %s is in the manifest already, and proves itself in "
                        "another way than the file says",
                        im->file.path, row->line, row->serial);
    if (row->proof != MANIFEST_CLAIM || (value & PRESENT_EXPECTED) == 0)
        return CLI_OK;
    /* Without a file of codes nobody knows which were given away: those stay good. */
    if (im->held == NULL || seen_find(im->held, slice_of_text(row->serial), &ignored) == ERR_NONE)
        return CLI_OK;
    return claim_again(im, row);
}

/* ---- the whole ---- */

static int import_rows(struct importing *im)
{
    struct progress progress;
    int code;
    progress_start(&progress, im->cli, "rows", 0, im->file.rows);
    chunk_start(im);
    for (;;) {
        struct manifest_row row;
        bool end = false;
        uint64_t value = 0;
        code = manifest_file_next(im->cli, &im->file, &row, &end);
        if (code != CLI_OK || end || interrupted)
            break;
        if (im->present != NULL &&
            seen_find(im->present, slice_of_text(row.serial), &value) == ERR_NONE)
            code = skip_present(im, &row, value);
        else
            code = chunk_add(im, &row);
        if (code != CLI_OK)
            break;
        progress_set(&progress, im->added + im->skipped);
    }
    if (code == CLI_OK && !interrupted)
        code = chunk_send(im);
    progress_end(&progress);
    return code;
}

static int create_manifest(struct importing *im)
{
    const char *model = cli_value(im->cli, "model"), *owner = cli_value(im->cli, "owner");
    if (model == NULL || owner == NULL)
        return cli_fail(im->cli, CLI_USAGE, "usage", "--create needs --model and --owner");
    uint8_t bytes[1024];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "id", im->manifest);
    json_field_text(&j, "model", model);
    json_field_text(&j, "owner", owner);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        return cli_fail(im->cli, CLI_USAGE, "usage", "--model or --owner is far too long");
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code =
        hub_ask(im->cli, "POST", "/v1/manifests", "application/json", writer_bytes(&w), &answer);
    bool there = answer.status == 409 && strcmp(answer.code, "manifest-exists") == 0;
    if (code != CLI_OK || answer.status < 400 || (there && cli_has(im->cli, "resume")))
        return code;
    return cli_fail_problem(im->cli, &answer.problem);
}

static int find_manifest(struct importing *im)
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    (void)snprintf(target, sizeof target, "/v1/manifests/%s", im->manifest);
    int code = hub_ask(im->cli, "GET", target, NULL, slice_of(NULL, 0), &answer);
    if (code != CLI_OK || answer.status < 400)
        return code;
    if (answer.status == 404)
        return cli_fail(im->cli, CLI_NOT_FOUND, "manifest-not-found",
                        "there is no manifest '%s'; --create makes it", im->manifest);
    return cli_fail_problem(im->cli, &answer.problem);
}

static int prepare_codes(struct importing *im)
{
    const char *path = cli_value(im->cli, "claims-out");
    if (path == NULL && im->file.claims > IMPORT_CLAIMS_SHOWN)
        return cli_fail(im->cli, CLI_USAGE, "usage",
                        "%s asks for %" PRIu64 " claim codes, which are shown once: say "
                        "--claims-out FILE",
                        im->file.path, im->file.claims);
    if (path == NULL) {
        im->codes = im->cli->json ? json_array() : NULL;
        return im->cli->json && im->codes == NULL ? cli_fail_memory(im->cli) : CLI_OK;
    }
    if (seen_new(&im->held) != ERR_NONE)
        return cli_fail_memory(im->cli);
    return claims_file_open(im->cli, &im->claims, path, cli_has(im->cli, "resume"), im->file.claims,
                            im->held);
}

static int report_json(const struct importing *im, bool complete)
{
    json_t *document CLEANUP(json_cleanup) =
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:s*, s:O*}", "manifest", im->manifest,
                  "complete", complete, "rows", (json_int_t)im->file.rows, "added",
                  (json_int_t)im->added, "present", (json_int_t)im->skipped, "claim_codes",
                  (json_int_t)im->claimed, "claims_file", im->claims.path, "codes", im->codes);
    return document == NULL ? cli_fail_memory(im->cli) : json_print(im->cli, document);
}

static int report(struct importing *im, int code)
{
    char rows[WHEN_TEXT_MAX], added[WHEN_TEXT_MAX], skipped[WHEN_TEXT_MAX], claimed[WHEN_TEXT_MAX];
    bool complete = code == CLI_OK && !interrupted;
    when_count(im->file.rows, rows);
    when_count(im->added, added);
    when_count(im->skipped, skipped);
    when_count(im->claimed, claimed);
    if (im->cli->json && (complete || im->added + im->claimed > 0))
        (void)report_json(im, complete);
    cli_say(im->cli, "%s: %s rows, %s added, %s there already, %s claim codes%s%s.", im->manifest,
            rows, added, skipped, claimed, im->claims.path == NULL ? "" : " in ",
            im->claims.path == NULL ? "" : im->claims.path);
    if (complete)
        return CLI_OK;
    if (code == CLI_OK)
        return cli_fail(im->cli, CLI_INTERRUPTED, "interrupted",
                        "interrupted; the same command with --resume goes on");
    if (im->added > 0 || code == CLI_UNREACHABLE)
        cli_say(im->cli, "What was added stays; the same command with --resume goes on.");
    return code;
}

static int import(struct importing *im, int64_t standard)
{
    struct cli *cli = im->cli;
    int code =
        manifest_file_open(cli, &im->file, cli->operands[1], cli_value(cli, "format"), standard);
    if (code == CLI_OK)
        code = manifest_file_check(cli, &im->file);
    if (code == CLI_OK)
        code = cli_has(cli, "create") ? create_manifest(im) : find_manifest(im);
    if (code == CLI_OK)
        code = prepare_codes(im);
    if (code == CLI_OK && cli_has(cli, "resume"))
        code = load_present(im);
    if (code != CLI_OK)
        return code;
    catch_signals();
    return report(im, import_rows(im));
}

int manifest_import_run(struct cli *cli)
{
    const char *valid = cli_value(cli, "claim-valid");
    int64_t standard = 0;
    int code = cli_check_name(cli, "manifest", cli->operands[0]);
    if (code == CLI_OK)
        code = cli_read_time(cli, "--claim-valid", valid == NULL ? IMPORT_CLAIM_VALID : valid,
                             false, &standard);
    if (code != CLI_OK)
        return code;
    struct importing *im = calloc(1, sizeof *im);
    uint8_t *bytes = malloc(IMPORT_CHUNK_BYTES);
    if (im == NULL || bytes == NULL) {
        free(im);
        free(bytes);
        return cli_fail_memory(cli);
    }
    im->cli = cli;
    im->manifest = cli->operands[0];
    im->bytes = bytes;
    im->claims.fd = im->file.fd = im->file.folder_fd = -1;
    code = import(im, standard);
    manifest_file_close(&im->file);
    claims_file_close(&im->claims, code != CLI_OK && im->claimed == 0);
    seen_free(im->held);
    seen_free(im->present);
    json_decref(im->codes);
    free(bytes);
    free(im);
    return code;
}
