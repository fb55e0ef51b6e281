#include "cli/ledger_link.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "cli/hub_link.h"
#include "cli/secret.h"
#include "cli/settings.h"
#include "core/log_reader.h"

#define TIMEOUT_MS  30000
#define PATIENCE_MS 120000 /* with a hub that says that it is busy */
#define TOKEN_MAX   256
#define URL_MAX     300

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

static int connect_url(struct ledger_link *l, const char *url)
{
    struct cli *cli = l->cli;
    const char *token_file = cli_value(cli, "token-file");
    char token[TOKEN_MAX + 2] = "", explain[256] = "";
    struct place place;
    int code = read_url(cli, url, &place);
    if (code == CLI_OK && token_file != NULL)
        code = secret_read(cli, token_file, "token", token, sizeof token);
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
    enum err err = http_client_new(&options, &l->client, explain);
    mem_wipe(token, sizeof token);
    return err == ERR_NONE ? CLI_OK : cli_fail(cli, CLI_FILE, "file", "%s", explain);
}

static int connect_local(struct ledger_link *l)
{
    char path[CONFIG_TEXT_MAX], explain[256] = "";
    int code = settings_socket(l->cli, path);
    if (code != CLI_OK)
        return code;
    const struct http_client_options options = {
        .unix_path = path, .timeout_ms = TIMEOUT_MS, .response_max = LOG_BUNDLE_MAX};
    enum err err = http_client_new(&options, &l->client, explain);
    return err == ERR_NONE ? CLI_OK
                           : cli_fail(l->cli, CLI_UNREACHABLE, "unreachable", "%s", explain);
}

bool ledger_link_is_local(const struct ledger_link *l)
{
    return l->local_only || cli_has(l->cli, "local");
}

int ledger_link_check(const struct ledger_link *l)
{
    if (!l->local_only && ledger_link_is_local(l) == cli_has(l->cli, "url"))
        return cli_fail(l->cli, CLI_USAGE, "usage",
                        "say either --url https://HOST:PORT or --local");
    return CLI_OK;
}

int ledger_link_open(struct ledger_link *l)
{
    return ledger_link_is_local(l) ? connect_local(l) : connect_url(l, cli_value(l->cli, "url"));
}

/* ---- fetching ---- */

/* A reader's rate is limited, so a large ledger is read with pauses. */
static int get(struct ledger_link *l, const char *target, struct slice *ret_body)
{
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    for (;;) {
        struct hub_answer a = {.status = 0};
        char explain[256] = "";
        enum err err = http_client_request(l->client, "GET", target, NULL, slice_of(NULL, 0),
                                           &a.status, &a.bytes, explain);
        if (err != ERR_NONE)
            return cli_fail(l->cli, err == ERR_BAD_SIGNATURE ? CLI_UNVERIFIED : CLI_UNREACHABLE,
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
                return cli_fail(l->cli, CLI_UNREACHABLE, "unreachable",
                                "%s was answered with status %u: that is no hub", target, a.status);
            return cli_fail_problem(l->cli, &a.problem);
        }
        (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
}

enum err ledger_link_fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max,
                           size_t *ret_len)
{
    struct ledger_link *l = ctx;
    char target[TILE_PATH_MAX + 32];
    struct slice body;
    (void)snprintf(target, sizeof target, "/v1/ledger/%.*s", (int)path.len,
                   (const char *)path.data);
    l->code = get(l, target, &body);
    if (l->code != CLI_OK)
        return l->code == CLI_NOT_FOUND ? ERR_NOT_FOUND : ERR_IO;
    if (body.len > max)
        return ERR_LIMIT;
    if (body.len > 0)
        memcpy(buffer, body.data, body.len);
    *ret_len = body.len;
    l->tiles++;
    l->bytes += body.len;
    return ERR_NONE;
}

int ledger_link_checkpoint(struct ledger_link *l, struct ledger_judge *judge)
{
    struct slice note;
    int code = get(l, "/v1/ledger/checkpoint", &note);
    return code == CLI_OK ? ledger_judge_take_checkpoint(judge, note) : code;
}

void ledger_link_close(struct ledger_link *l)
{
    http_client_free(l->client);
    l->client = NULL;
}
