#include "cli/ledger_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/http_client.h"
#include "cli/hub_link.h"
#include "cli/progress.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "cli/when.h"
#include "core/base64.h"
#include "core/log_reader.h"

#define TIMEOUT_MS  30000
#define PATIENCE_MS 120000 /* with a hub that says that it is busy */
#define TOKEN_MAX   256
#define URL_MAX     300

struct verifying {
    struct cli *cli;
    struct http_client *client;
    struct note_key key;
    struct checkpoint checkpoint, saved;
    bool has_saved;
    uint8_t note[NOTE_MAX]; /* of the checkpoint */
    size_t note_len;
    struct progress progress;
    uint64_t tiles, bytes;
    int code; /* why fetching ended, which has been told */
};

/* ---- from where ---- */

struct place {
    char host[URL_MAX], port[8];
};

/* "https://host:port", "https://[::1]:port/". There is no path: the ledger's is known. */
static int read_url(struct cli *cli, const char *url, struct place *ret_place)
{
    static const char scheme[] = "https://";
    struct place p = {.port = "443"};
    const char *host = url + sizeof scheme - 1;
    bool ok = strncmp(url, scheme, sizeof scheme - 1) == 0;
    size_t len = 0;
    if (ok && host[0] == '[') {
        host++;
        len = strcspn(host, "]");
        ok = host[len] == ']';
    } else if (ok) {
        len = strcspn(host, ":/?#@");
    }
    const char *rest = ok ? host + len + (host[len] == ']' ? 1 : 0) : "";
    if (ok && *rest == ':') {
        size_t digits = strspn(rest + 1, "0123456789");
        ok = digits >= 1 && digits <= 5;
        if (ok)
            (void)snprintf(p.port, sizeof p.port, "%.*s", (int)digits, rest + 1);
        rest += 1 + digits;
    }
    ok = ok && len > 0 && len < sizeof p.host && (*rest == '\0' || strcmp(rest, "/") == 0);
    if (!ok)
        return cli_fail(cli, CLI_USAGE, "usage", "--url must be https://HOST:PORT, not '%.100s'",
                        url);
    (void)snprintf(p.host, sizeof p.host, "%.*s", (int)len, host);
    *ret_place = p;
    return CLI_OK;
}

static int read_token(struct cli *cli, const char *path, char ret_token[TOKEN_MAX + 1])
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, TOKEN_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_FILE, "file",
                        err == ERR_LIMIT ? "%s is too long for a token" : "%s: %m", path);
    size_t n = len;
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    memcpy(ret_token, bytes, n);
    ret_token[n] = '\0';
    file_free_secret(bytes, len);
    return n > 0 && strlen(ret_token) == n
               ? CLI_OK
               : cli_fail(cli, CLI_FILE, "file", "%s holds no token", path);
}

static int connect_url(struct verifying *v, const char *url)
{
    struct cli *cli = v->cli;
    const char *token_file = cli_value(cli, "token-file");
    char token[TOKEN_MAX + 1] = "", explain[256] = "";
    struct place place;
    int code = read_url(cli, url, &place);
    if (code == CLI_OK && token_file != NULL)
        code = read_token(cli, token_file, token);
    if (code != CLI_OK)
        return code;
    const struct http_client_options options = {
        .host = place.host,
        .port = place.port,
        .roots_path = cli_value(cli, "roots"),
        .bearer = token[0] == '\0' ? NULL : token,
        .timeout_ms = TIMEOUT_MS,
        .response_max = LOG_BUNDLE_MAX,
    };
    enum err err = http_client_new(&options, &v->client, explain);
    mem_wipe(token, sizeof token);
    return err == ERR_NONE ? CLI_OK : cli_fail(cli, CLI_FILE, "file", "%s", explain);
}

static int connect_local(struct verifying *v)
{
    char path[CONFIG_TEXT_MAX], explain[256] = "";
    int code = settings_socket(v->cli, path);
    if (code != CLI_OK)
        return code;
    const struct http_client_options options = {
        .unix_path = path, .timeout_ms = TIMEOUT_MS, .response_max = LOG_BUNDLE_MAX};
    enum err err = http_client_new(&options, &v->client, explain);
    return err == ERR_NONE ? CLI_OK
                           : cli_fail(v->cli, CLI_UNREACHABLE, "unreachable", "%s", explain);
}

/* ---- fetching ---- */

/* A reader's rate is limited, so a large ledger is read with pauses. */
static int get(struct verifying *v, const char *target, struct slice *ret_body)
{
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    for (;;) {
        struct hub_answer a = {.status = 0};
        char explain[256] = "";
        enum err err = http_client_request(v->client, "GET", target, NULL, slice_of(NULL, 0),
                                           &a.status, &a.bytes, explain);
        if (err != ERR_NONE)
            return cli_fail(v->cli, err == ERR_BAD_SIGNATURE ? CLI_UNVERIFIED : CLI_UNREACHABLE,
                            err == ERR_BAD_SIGNATURE ? "server-certificate" : "unreachable", "%s",
                            explain);
        if (a.status == 200) {
            *ret_body = a.bytes;
            return CLI_OK;
        }
        bool passing = a.status == 429 || a.status == 503;
        if (!passing || clock_monotonic_ms() >= until) {
            hub_answer_read(&a);
            hub_answer_free(&a);
            if (a.status < 400)
                return cli_fail(v->cli, CLI_UNREACHABLE, "unreachable",
                                "%s was answered with status %u: that is no hub", target, a.status);
            return cli_fail_problem(v->cli, &a.problem);
        }
        (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
}

static enum err fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len)
{
    struct verifying *v = ctx;
    char target[TILE_PATH_MAX + 32];
    struct slice body;
    (void)snprintf(target, sizeof target, "/v1/ledger/%.*s", (int)path.len,
                   (const char *)path.data);
    v->code = get(v, target, &body);
    if (v->code != CLI_OK)
        return v->code == CLI_NOT_FOUND ? ERR_NOT_FOUND : ERR_IO;
    if (body.len > max)
        return ERR_LIMIT;
    if (body.len > 0)
        memcpy(buffer, body.data, body.len);
    *ret_len = body.len;
    v->tiles++;
    v->bytes += body.len;
    return ERR_NONE;
}

static enum err count_entry(void *ctx, uint64_t number, struct slice data, const struct hash *leaf)
{
    struct verifying *v = ctx;
    (void)data;
    (void)leaf;
    progress_set(&v->progress, number + 1);
    return ERR_NONE;
}

/* ---- keys and checkpoints ---- */

int ledger_key_read(struct cli *cli, const char *text_or_path, struct note_key *ret_key)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct slice text = slice_of_text(text_or_path);
    bool is_text = strchr(text_or_path, '+') != NULL && strlen(text_or_path) <= NOTE_KEY_TEXT_MAX &&
                   note_key_read(text, crypto_sha256, ret_key) == ERR_NONE;
    if (is_text)
        return CLI_OK;
    enum err err = file_read(text_or_path, NOTE_KEY_TEXT_MAX + 2, &bytes, &len);
    if (err == ERR_NOT_FOUND)
        return cli_fail(cli, CLI_FILE, "file",
                        "'%.200s' is neither a verifier key (NAME+HASH+KEY) nor a file with one",
                        text_or_path);
    if (err != ERR_NONE && err != ERR_LIMIT)
        return cli_fail(cli, CLI_FILE, "file", "%s: %m", text_or_path);
    size_t n = err == ERR_NONE ? len : 0;
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    if (err == ERR_NONE)
        err = note_key_read(slice_of(bytes, n), crypto_sha256, ret_key);
    free(bytes);
    return err == ERR_NONE ? CLI_OK
                           : cli_fail(cli, CLI_FILE, "file",
                                      "%s holds no verifier key (NAME+HASH+KEY)", text_or_path);
}

static int read_key(struct verifying *v, bool local)
{
    struct cli *cli = v->cli;
    const char *key = cli_value(cli, "key");
    if (key != NULL)
        return ledger_key_read(cli, key, &v->key);
    if (!local)
        return cli_fail(
            cli, CLI_USAGE, "usage",
            "--key is missing: the ledger's verifier key, kept since the hub was set up");
    char state[CONFIG_TEXT_MAX], path[CONFIG_TEXT_MAX + 16];
    int code = settings_state(cli, state);
    if (code != CLI_OK)
        return code;
    (void)snprintf(path, sizeof path, "%s/ledger.vkey", state);
    return ledger_key_read(cli, path, &v->key);
}

/* `where` is for messages. */
static int read_checkpoint(struct verifying *v, struct slice note, const char *where,
                           struct checkpoint *ret_checkpoint)
{
    struct slice text;
    struct cli *cli = v->cli;
    enum err err = note_verify(note, &v->key, crypto_ed25519_verify, &text);
    if (err == ERR_NOT_FOUND)
        return cli_fail(
            cli, CLI_UNVERIFIED, "signature",
            "%s carries no signature by the key %s: it is another ledger's, or not to be "
            "trusted",
            where, v->key.name);
    if (err == ERR_BAD_SIGNATURE)
        return cli_fail(cli, CLI_UNVERIFIED, "signature",
                        "%s: the signature by the key %s does not verify: it was changed after it "
                        "was signed",
                        where, v->key.name);
    if (err == ERR_NONE)
        err = checkpoint_read(text, ret_checkpoint);
    if (err != ERR_NONE)
        return cli_fail(cli, CLI_UNVERIFIED, "checkpoint", "%s is not a checkpoint: %s", where,
                        err_text(err));
    if (strcmp(ret_checkpoint->origin, v->key.name) != 0)
        return cli_fail(cli, CLI_UNVERIFIED, "checkpoint",
                        "%s is of the log '%s', and the key is for '%s'", where,
                        ret_checkpoint->origin, v->key.name);
    return CLI_OK;
}

static int read_saved(struct verifying *v)
{
    const char *path = cli_value(v->cli, "saved");
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (path == NULL)
        return CLI_OK;
    enum err err = file_read(path, NOTE_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return cli_fail(v->cli, CLI_FILE, "file", "%s: %m", path);
    int code = read_checkpoint(v, slice_of(bytes, len), path, &v->saved);
    free(bytes);
    v->has_saved = code == CLI_OK;
    return code;
}

static int fetch_checkpoint(struct verifying *v)
{
    struct slice note;
    int code = get(v, "/v1/ledger/checkpoint", &note);
    if (code != CLI_OK)
        return code;
    if (note.len > sizeof v->note)
        return cli_fail(v->cli, CLI_UNVERIFIED, "checkpoint",
                        "the checkpoint is too long to be one");
    memcpy(v->note, note.data, note.len);
    v->note_len = note.len;
    return read_checkpoint(v, slice_of(v->note, v->note_len), "the checkpoint", &v->checkpoint);
}

/* ---- what was found ---- */

#define HASH_TEXT_MAX (BASE64_SIZE(SHA256_SIZE) + 1)

/* As it stands in a checkpoint. */
static void hash_text(const struct hash *hash, char ret_text[HASH_TEXT_MAX])
{
    struct writer w = writer_over(ret_text, HASH_TEXT_MAX - 1);
    base64_write(&w, slice_of(hash->bytes, sizeof hash->bytes));
    ret_text[w.len] = '\0';
}

static int fail_contradiction(const struct verifying *v, const struct log_report *report)
{
    struct cli *cli = v->cli;
    const struct checkpoint *now = &v->checkpoint, *saved = &v->saved;
    char root[HASH_TEXT_MAX], saved_root[HASH_TEXT_MAX];
    hash_text(&now->root, root);
    hash_text(&saved->root, saved_root);
    switch (report->fault) {
    case LOG_FAULT_ORIGIN:
        return cli_fail(cli, CLI_CONTRADICTED, "ledger-origin",
                        "the saved checkpoint is of '%s', this one of '%s'", saved->origin,
                        now->origin);
    case LOG_FAULT_SHRUNK:
        return cli_fail(cli, CLI_CONTRADICTED, "ledger-shrunk",
                        "the ledger has %" PRIu64 " entries, and had %" PRIu64
                        " when the checkpoint was saved: entries were removed, or an old copy is "
                        "shown",
                        now->size, saved->size);
    case LOG_FAULT_FORKED:
        return cli_fail(cli, CLI_CONTRADICTED, "ledger-forked",
                        "both checkpoints are of %" PRIu64
                        " entries, but of different ones (root %s, "
                        "saved %s): the hub signed two histories; keep both, they prove it",
                        now->size, root, saved_root);
    default:
        return cli_fail(
            cli, CLI_CONTRADICTED, "ledger-rewritten",
            "the entries agree with this checkpoint, and the first %" PRIu64
            " of them not with the saved one (root %s): history was replaced and signed "
            "anew; keep both checkpoints, they prove it",
            saved->size, saved_root);
    }
}

static int fail_damage(const struct verifying *v, const struct log_report *report, enum err err)
{
    char path[TILE_PATH_MAX + 1];
    struct writer w = writer_over(path, sizeof path - 1);
    tile_write_path(&w, &report->tile);
    path[w.err == ERR_NONE ? w.len : 0] = '\0';
    if (report->fault == LOG_FAULT_ROOT)
        return cli_fail(v->cli, CLI_UNVERIFIED, "ledger-root",
                        "the %" PRIu64
                        " entries do not hash to the root that was signed: one of them "
                        "was changed, and the tiles with it",
                        report->entries);
    if (report->fault == LOG_FAULT_SIZE)
        return cli_fail(v->cli, CLI_UNVERIFIED, "ledger-size",
                        "the checkpoint says %" PRIu64 " entries, more than a ledger can have",
                        v->checkpoint.size);
    if (report->end == report->first + 1)
        return cli_fail(v->cli, CLI_UNVERIFIED, "ledger-damaged",
                        "%s: %s: entry %" PRIu64 " is not as it was logged", path,
                        log_fault_text(report->fault), report->first);
    if (report->end > report->first)
        return cli_fail(v->cli, CLI_UNVERIFIED, "ledger-damaged",
                        "%s: %s: entries %" PRIu64 " to %" PRIu64 " cannot be trusted", path,
                        log_fault_text(report->fault), report->first, report->end - 1);
    return cli_fail(v->cli, CLI_UNVERIFIED, "ledger-damaged", "%s: %s (%s)", path,
                    log_fault_text(report->fault), err_text(err));
}

static int judge(const struct verifying *v, const struct log_report *report, enum err err)
{
    switch (report->fault) {
    case LOG_SOUND:
        return err == ERR_NONE ? CLI_OK
                               : cli_fail(v->cli, CLI_INTERNAL, "internal", "%s", err_text(err));
    case LOG_FAULT_ORIGIN:
    case LOG_FAULT_SHRUNK:
    case LOG_FAULT_FORKED:
    case LOG_FAULT_REWRITTEN:
        return fail_contradiction(v, report);
    case LOG_FAULT_FETCH:
        if (v->code == CLI_NOT_FOUND)
            return cli_fail(v->cli, CLI_UNVERIFIED, "ledger-incomplete",
                            "entries %" PRIu64 " to %" PRIu64 " were signed for and cannot be had",
                            report->first, report->end > 0 ? report->end - 1 : 0);
        if (v->code != CLI_OK)
            return v->code; /* told already */
        return fail_damage(v, report, err);
    default:
        return fail_damage(v, report, err);
    }
}

static int save(const struct verifying *v)
{
    const char *path = cli_value(v->cli, "save");
    if (path == NULL)
        return CLI_OK;
    enum err err = file_replace(path, slice_of(v->note, v->note_len), 0644);
    return err == ERR_NONE ? CLI_OK : cli_fail(v->cli, CLI_FILE, "file", "%s: %m", path);
}

static int report_sound(const struct verifying *v)
{
    char count[WHEN_TEXT_MAX], root[HASH_TEXT_MAX], saved[WHEN_TEXT_MAX];
    hash_text(&v->checkpoint.root, root);
    if (v->cli->json) {
        json_t *document CLEANUP(json_cleanup) =
            json_pack("{s:b, s:s, s:I, s:s, s:I, s:I}", "sound", 1, "origin", v->checkpoint.origin,
                      "size", (json_int_t)v->checkpoint.size, "root", root, "tiles",
                      (json_int_t)v->tiles, "bytes", (json_int_t)v->bytes);
        if (document != NULL && v->has_saved)
            (void)json_object_set_new(document, "saved_size",
                                      json_integer((json_int_t)v->saved.size));
        return document == NULL ? cli_fail_memory(v->cli) : json_print(v->cli, document);
    }
    when_count(v->checkpoint.size, count);
    text_pair("ledger", v->checkpoint.origin, COLOUR_BOLD);
    text_pair("entries", count, COLOUR_NONE);
    text_pair("root", root, COLOUR_NONE);
    text_pair("signature", "by the key that was given", COLOUR_GOOD);
    text_pair("hashes", "all entries belong to the signed root", COLOUR_GOOD);
    if (v->has_saved) {
        when_count(v->saved.size, saved);
        text_pair_format("history", "continues the saved checkpoint of %s entries", saved);
    } else {
        text_pair("history", "not compared: no --saved checkpoint was given", COLOUR_WARN);
    }
    return CLI_OK;
}

/* ---- the whole ---- */

static int check(struct verifying *v)
{
    struct log_reader *reader = malloc(sizeof *reader);
    uint8_t *bundle = malloc(LOG_BUNDLE_MAX);
    struct log_report report = {.fault = LOG_SOUND};
    int code = CLI_OK;
    if (reader == NULL || bundle == NULL) {
        code = cli_fail_memory(v->cli);
    } else {
        log_reader_init(reader, crypto_sha256, fetch, v, bundle, LOG_BUNDLE_MAX);
        progress_start(&v->progress, v->cli, "entries", 0, v->checkpoint.size);
        enum err err = log_reader_check(reader, &v->checkpoint, v->has_saved ? &v->saved : NULL,
                                        count_entry, v, &report);
        progress_end(&v->progress);
        code = judge(v, &report, err);
    }
    free(reader);
    free(bundle);
    return code;
}

static int verify(struct verifying *v)
{
    const char *url = cli_value(v->cli, "url");
    bool local = cli_has(v->cli, "local");
    if (local == (url != NULL))
        return cli_fail(v->cli, CLI_USAGE, "usage",
                        "say either --url https://HOST:PORT or --local");
    int code = read_key(v, local);
    if (code == CLI_OK)
        code = read_saved(v);
    if (code == CLI_OK)
        code = local ? connect_local(v) : connect_url(v, url);
    if (code == CLI_OK)
        code = fetch_checkpoint(v);
    if (code == CLI_OK)
        code = check(v);
    if (code == CLI_OK)
        code = save(v);
    return code == CLI_OK ? report_sound(v) : code;
}

int ledger_verify_run(struct cli *cli)
{
    struct verifying *v = calloc(1, sizeof *v);
    if (v == NULL)
        return cli_fail_memory(cli);
    v->cli = cli;
    int code = verify(v);
    http_client_free(v->client);
    free(v);
    return code;
}
