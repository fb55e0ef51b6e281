#include "hub/emqx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/http_client.h"
#include "base/json.h"
#include "core/json_write.h"

#define EMQX_HOST_MAX 48 /* it stands in the leg's name */
#define KEY_MAX       512
#define TIMEOUT_MS    3000
#define ANSWER_MAX    ((size_t)1 << 20) /* 100 clients with all that is told of them */
#define CLIENT_ID_MAX 256               /* of a device's; EMQX takes longer ones, which are none */
#define PAGE          100
#define PAGES_MAX     100

struct emqx {
    struct http_client *http;
    char host[EMQX_HOST_MAX + 1];
};

static enum err refuse(char *explain, enum err err, const char *what)
{
    (void)snprintf(explain, 256, "%s", what);
    return err;
}

/* "https://host:port" into its parts. */
static enum err read_url(struct slice url, char host[EMQX_HOST_MAX + 1], char port[8])
{
    static const struct slice https = SLICE_LITERAL("https://");
    if (!slice_starts_with(url, https))
        return ERR_SYNTAX;
    struct slice rest = slice_of(url.data + https.len, url.len - https.len);
    size_t n = 0;
    while (n < rest.len && rest.data[n] != ':')
        n++;
    struct slice digits =
        n < rest.len ? slice_of(rest.data + n + 1, rest.len - n - 1) : SLICE_LITERAL("443");
    if (n == 0 || n > EMQX_HOST_MAX || digits.len == 0 || digits.len > 5)
        return ERR_SYNTAX;
    for (size_t i = 0; i < n; i++)
        if (rest.data[i] <= ' ' || rest.data[i] >= 0x7f || strchr("/@?#[]", rest.data[i]) != NULL)
            return ERR_SYNTAX;
    for (size_t i = 0; i < digits.len; i++)
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return ERR_SYNTAX;
    memcpy(host, rest.data, n);
    host[n] = '\0';
    memcpy(port, digits.data, digits.len);
    port[digits.len] = '\0';
    return ERR_NONE;
}

static enum err read_key(const char *path, char key[KEY_MAX + 1])
{
    uint8_t *bytes;
    size_t len;
    enum err err = file_read(path, KEY_MAX, &bytes, &len);
    if (err != ERR_NONE)
        return err;
    size_t n = 0;
    while (n < len && bytes[n] > ' ' && bytes[n] < 0x7f)
        n++;
    bool rest_is_end = n == len || (n + 1 == len && bytes[n] == '\n');
    bool good = rest_is_end && memchr(bytes, ':', n) != NULL;
    memcpy(key, bytes, good ? n : 0);
    key[good ? n : 0] = '\0';
    mem_wipe(bytes, len);
    free(bytes);
    return good ? ERR_NONE : ERR_SYNTAX;
}

enum err emqx_new(const struct emqx_options *options, struct emqx **ret_emqx, char explain[256])
{
    char port[8], key[KEY_MAX + 1];
    struct emqx *e = calloc(1, sizeof *e);
    if (e == NULL)
        return refuse(explain, ERR_NO_MEMORY, "out of memory");
    enum err err = read_url(slice_of_text(options->url), e->host, port);
    if (err != ERR_NONE)
        err = refuse(explain, err, "hooks-emqx-url: say https://HOST or https://HOST:PORT");
    else
        err = read_key(options->key_path, key);
    if (err != ERR_NONE && explain[0] == '\0')
        (void)snprintf(explain, 256,
                       "%.160s: one line API-KEY:SECRET-KEY is expected, as EMQX has made it",
                       options->key_path);
    const struct http_client_options http = {
        .host = e->host,
        .port = port,
        .roots_path = options->roots[0] == '\0' ? NULL : options->roots,
        .basic = key,
        .timeout_ms = TIMEOUT_MS,
        .response_max = ANSWER_MAX,
        .cancel_fd = options->cancel_fd,
    };
    if (err == ERR_NONE)
        err = http_client_new(&http, &e->http, explain);
    mem_wipe(key, sizeof key);
    if (err != ERR_NONE) {
        emqx_free(e);
        return err;
    }
    *ret_emqx = e;
    return ERR_NONE;
}

void emqx_free(struct emqx *e)
{
    if (e == NULL)
        return;
    http_client_free(e->http);
    free(e);
}

const char *emqx_host(const struct emqx *e)
{
    return e->host;
}

/* ---- requests ---- */

static enum err ask(struct emqx *e, const char *method, const char *target, struct slice body,
                    unsigned *ret_status, struct slice *ret_body, char explain[256])
{
    char detail[256] = "";
    enum err err =
        http_client_request(e->http, method, target, body.len > 0 ? "application/json" : NULL, body,
                            ret_status, ret_body, detail);
    if (err != ERR_NONE)
        (void)snprintf(explain, 256, "%s %.60s: %s", method, target, err_text(err));
    return err;
}

static enum err unexpected(const char *method, const char *target, unsigned status, char *explain)
{
    (void)snprintf(explain, 256, "%s %.100s was answered %u%s", method, target, status,
                   status == 401 ? ": is the API key still there?" : "");
    return ERR_REFUSED;
}

/* Whatever could mean something in a path is encoded (RFC 3986 section 2.3). */
static void write_encoded(struct writer *w, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || strchr("-._~", *c) != NULL;
        const uint8_t byte = (uint8_t)*c;
        if (!plain)
            writer_u8(w, '%');
        if (plain)
            writer_u8(w, byte);
        else
            writer_hex(w, slice_of(&byte, 1));
    }
}

static enum err write_target(char *target, size_t size, const char *path, const char *name)
{
    struct writer w = writer_over(target, size - 1);
    writer_text(&w, path);
    write_encoded(&w, name);
    target[w.len] = '\0';
    return w.err;
}

static bool says_exists(struct slice body)
{
    struct problem problem = {0};
    CLEANUP(json_cleanup) json_t *answer = NULL;
    if (json_read_object(body, &answer, &problem) != ERR_NONE)
        return false;
    const char *code = json_string_value(json_object_get(answer, "code"));
    return code != NULL && strcmp(code, "ALREADY_EXISTS") == 0;
}

enum err emqx_ban(struct emqx *e, const char *device, int64_t until, char explain[256])
{
    static const char target[] = "/api/v5/banned";
    uint8_t bytes[512];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "as", "clientid");
    json_field_text(&j, "who", device);
    json_field_text(&j, "by", "holdfast");
    json_field_text(&j, "reason", "cut off");
    json_field_time(&j, "until", until);
    json_close_object(&j);
    unsigned status = 0;
    struct slice body;
    enum err err = w.err != ERR_NONE
                       ? w.err
                       : ask(e, "POST", target, writer_bytes(&w), &status, &body, explain);
    if (err != ERR_NONE || status == 200 || (status == 400 && says_exists(body)))
        return err;
    return unexpected("POST", target, status, explain);
}

enum err emqx_unban(struct emqx *e, const char *device, char explain[256])
{
    char target[512];
    unsigned status = 0;
    struct slice body;
    enum err err = write_target(target, sizeof target, "/api/v5/banned/clientid/", device);
    if (err == ERR_NONE)
        err = ask(e, "DELETE", target, slice_of(NULL, 0), &status, &body, explain);
    if (err != ERR_NONE || status == 204 || status == 404)
        return err;
    return unexpected("DELETE", target, status, explain);
}

/* ---- sessions ---- */

static enum err end_session(struct emqx *e, const char *client_id, unsigned *ended, char *explain)
{
    char target[4 * CLIENT_ID_MAX];
    unsigned status = 0;
    struct slice body;
    enum err err = write_target(target, sizeof target, "/api/v5/clients/", client_id);
    if (err == ERR_NONE)
        err = ask(e, "DELETE", target, slice_of(NULL, 0), &status, &body, explain);
    if (err != ERR_NONE || status == 404)
        return err;
    if (status != 204)
        return unexpected("DELETE", target, status, explain);
    (*ended)++;
    return ERR_NONE;
}

static bool is_of(const char *client_id, const char *device)
{
    size_t n = strlen(device);
    return client_id != NULL && strncmp(client_id, device, n) == 0 &&
           (client_id[n] == '\0' || client_id[n] == ':');
}

/* One page of the clients whose id has the device's in it; those that are the device's are copied,
 * since the answer goes with the next request. */
static enum err list_page(struct emqx *e, const char *device, unsigned page,
                          char (*ids)[CLIENT_ID_MAX], size_t *ret_n, bool *ret_more, char *explain)
{
    char target[512];
    unsigned status = 0;
    struct slice body;
    struct problem problem = {0};
    struct writer w = writer_over(target, sizeof target - 1);
    writer_text(&w, "/api/v5/clients?page=");
    writer_decimal(&w, page);
    writer_text(&w, "&limit=");
    writer_decimal(&w, PAGE);
    writer_text(&w, "&like_clientid=");
    write_encoded(&w, device);
    target[w.len] = '\0';
    enum err err = w.err != ERR_NONE
                       ? w.err
                       : ask(e, "GET", target, slice_of(NULL, 0), &status, &body, explain);
    if (err != ERR_NONE)
        return err;
    if (status != 200)
        return unexpected("GET", target, status, explain);
    CLEANUP(json_cleanup) json_t *answer = NULL;
    if (json_read_object(body, &answer, &problem) != ERR_NONE)
        return refuse(explain, ERR_SYNTAX, "EMQX's list of clients can't be read");
    const json_t *data = json_object_get(answer, "data");
    const json_t *more = json_object_get(json_object_get(answer, "meta"), "hasnext");
    if (!json_is_array(data) || json_array_size(data) > PAGE)
        return refuse(explain, ERR_SYNTAX, "EMQX's list of clients is no list");
    *ret_more = more == NULL ? json_array_size(data) == PAGE : json_is_true(more);
    *ret_n = 0;
    for (size_t i = 0; i < json_array_size(data); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(data, i), "clientid"));
        if (is_of(id, device) && strlen(id) < CLIENT_ID_MAX)
            (void)snprintf(ids[(*ret_n)++], CLIENT_ID_MAX, "%s", id);
        else if (is_of(id, device))
            return refuse(explain, ERR_LIMIT, "a client id of the device is far too long");
    }
    return ERR_NONE;
}

/* Is there still one of exactly that id? That is asked for by itself: a list may be behind. */
static enum err check_gone(struct emqx *e, const char *device, char *explain)
{
    char target[512];
    unsigned status = 0;
    struct slice body;
    enum err err = write_target(target, sizeof target, "/api/v5/clients/", device);
    if (err == ERR_NONE)
        err = ask(e, "GET", target, slice_of(NULL, 0), &status, &body, explain);
    if (err != ERR_NONE || status == 404)
        return err;
    return status == 200 ? refuse(explain, ERR_BUSY, "its session is still there")
                         : unexpected("GET", target, status, explain);
}

/* Lists all of them, and ends them where `ended` is given. */
static enum err go_through(struct emqx *e, const char *device, unsigned *ended, size_t *ret_found,
                           char *explain)
{
    static _Thread_local char ids[PAGE][CLIENT_ID_MAX];
    bool more = true;
    *ret_found = 0;
    for (unsigned page = 1; more; page++) {
        size_t n = 0;
        enum err err = page > PAGES_MAX ? refuse(explain, ERR_LIMIT,
                                                 "far too many clients have its id in theirs")
                                        : list_page(e, device, page, ids, &n, &more, explain);
        for (size_t i = 0; err == ERR_NONE && ended != NULL && i < n; i++)
            err = end_session(e, ids[i], ended, explain);
        if (err != ERR_NONE)
            return err;
        *ret_found += n;
    }
    return ERR_NONE;
}

enum err emqx_end_sessions(struct emqx *e, const char *device, unsigned *ret_ended,
                           char explain[256])
{
    size_t found = 0;
    unsigned ended = 0;
    enum err err = end_session(e, device, &ended, explain);
    if (err == ERR_NONE)
        err = go_through(e, device, &ended, &found, explain);
    if (err == ERR_NONE && found > 0) /* ended while the pages were read: look again */
        err = go_through(e, device, NULL, &found, explain);
    if (err == ERR_NONE && found > 0)
        err = refuse(explain, ERR_BUSY, "a session of it is still there");
    if (err == ERR_NONE)
        err = check_gone(e, device, explain);
    if (err == ERR_NONE)
        *ret_ended = ended;
    return err;
}
