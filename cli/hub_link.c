#include "cli/hub_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/http_client.h"
#include "cli/settings.h"
#include "core/calendar.h"

#define TIMEOUT_MS 60000              /* a full disk or a busy hub is answered much earlier */
#define ANSWER_MAX (32 * 1024 * 1024) /* a page of 1,000 devices with reports, or a tile */

void hub_answer_free(struct hub_answer *answer)
{
    json_decref(answer->json);
    answer->json = NULL;
}

/* Depth is bounded by json_read_object(). */
static void wipe(json_t *value)
{
    const char *name;
    size_t i;
    json_t *member;
    if (json_is_string(value))
        mem_wipe((char *)(uintptr_t)json_string_value(value), json_string_length(value));
    json_object_foreach(value, name, member) wipe(member);
    json_array_foreach(value, i, member) wipe(member);
}

void hub_answer_wipe(struct hub_answer *answer)
{
    wipe(answer->json);
    hub_answer_free(answer);
}

static int open_link(struct cli *cli, char explain[256])
{
    char path[CONFIG_TEXT_MAX], tenant[128];
    int code = settings_socket(cli, path);
    if (code != CLI_OK)
        return code;
    (void)snprintf(tenant, sizeof tenant, "Holdfast-Tenant: %.64s",
                   cli->tenant == NULL ? "" : cli->tenant);
    const struct http_client_options options = {.unix_path = path,
                                                .field = cli->tenant == NULL ? NULL : tenant,
                                                .timeout_ms = TIMEOUT_MS,
                                                .response_max = ANSWER_MAX};
    if (http_client_new(&options, &cli->hub, explain) != ERR_NONE)
        return CLI_UNREACHABLE;
    return CLI_OK;
}

void hub_link_close(struct cli *cli)
{
    http_client_free(cli->hub);
    cli->hub = NULL;
}

static void copy_code(const char *code, char ret_code[65])
{
    (void)snprintf(ret_code, 65, "%s", *code == '\0' ? "refused" : code);
}

/* What answers may be another program, or the answer be cut: then its status is what is known. */
static void read_problem(struct hub_answer *a)
{
    const json_t *j = a->json;
    copy_code(json_text_of(j, "code"), a->code);
    const char *detail = json_text_of(j, "detail");
    if (*detail != '\0')
        (void)problem_set(&a->problem, a->status, a->code, json_text_of(j, "field"), "%s", detail);
    else
        (void)problem_set(&a->problem, a->status, a->code, "", "the hub answered with status %u",
                          a->status);
}

void hub_answer_read(struct hub_answer *answer)
{
    struct problem ignored = {0};
    answer->json = NULL;
    bool may_be_json = answer->bytes.len > 0 && answer->bytes.data[0] == '{';
    if (may_be_json && json_read_object(answer->bytes, &answer->json, &ignored) != ERR_NONE)
        answer->json = NULL;
    if (answer->status >= 400)
        read_problem(answer);
}

static int ask(struct cli *cli, const char *method, const char *target, const char *content_type,
               struct slice body, struct hub_answer *a, char explain[256])
{
    int code = cli->hub == NULL ? open_link(cli, explain) : CLI_OK;
    if (code != CLI_OK)
        return code;
    enum err err = http_client_request(cli->hub, method, target, content_type, body, &a->status,
                                       &a->bytes, explain);
    if (err != ERR_NONE)
        return err == ERR_NO_MEMORY ? CLI_INTERNAL : CLI_UNREACHABLE;
    hub_answer_read(a);
    return CLI_OK;
}

int hub_ask(struct cli *cli, const char *method, const char *target, const char *content_type,
            struct slice body, struct hub_answer *ret_answer)
{
    char explain[256] = "";
    *ret_answer = (struct hub_answer){.status = 0};
    int code = ask(cli, method, target, content_type, body, ret_answer, explain);
    if (code != CLI_OK && explain[0] != '\0')
        return cli_fail(cli, code, "unreachable", "%s", explain);
    return code;
}

int hub_call(struct cli *cli, const char *method, const char *target, struct slice body,
             struct hub_answer *ret_answer)
{
    int code = hub_ask(cli, method, target, body.data == NULL ? NULL : "application/json", body,
                       ret_answer);
    if (code == CLI_OK && ret_answer->status >= 400)
        return cli_fail_problem(cli, &ret_answer->problem);
    return code;
}

bool hub_get_quietly(struct cli *cli, const char *target, struct hub_answer *ret_answer)
{
    char explain[256] = "";
    *ret_answer = (struct hub_answer){.status = 0};
    int code = ask(cli, "GET", target, NULL, slice_of(NULL, 0), ret_answer, explain);
    return code == CLI_OK && ret_answer->status < 400;
}

/* ---- members ---- */

const char *json_text_or_null(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

const char *json_text_of(const json_t *object, const char *name)
{
    const char *text = json_text_or_null(object, name);
    return text == NULL ? "" : text;
}

const char *json_owner_of(const json_t *object, char buffer[32])
{
    const char *owner = json_text_or_null(object, "owner");
    if (owner != NULL)
        return owner;
    (void)snprintf(buffer, 32, "(%.20s)", json_text_of(object, "subject"));
    return buffer;
}

int64_t json_number_of(const json_t *object, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(object, name));
}

int64_t json_time_of(const json_t *object, const char *name)
{
    int64_t seconds = 0;
    const char *text = json_text_of(object, name);
    return calendar_read_rfc3339(slice_of_text(text), &seconds) == ERR_NONE ? seconds : 0;
}

int json_print(struct cli *cli, const json_t *document)
{
    if (json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) != 0)
        return cli_fail(cli, CLI_FILE, "file", "standard output: %m");
    (void)fputc('\n', stdout);
    return CLI_OK;
}

int json_print_nothing(struct cli *cli)
{
    if (cli->json)
        (void)fputs("{}\n", stdout);
    return CLI_OK;
}
