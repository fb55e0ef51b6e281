#include "cli/cut_ocsp.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/http_client.h"
#include "core/est.h"
#include "pki/ocsp_check.h"

#define TIMEOUT_MS  5000
#define NEWEST      2 /* certificates of a device: the one in use, and its successor */
#define DETAIL_SIZE 128

struct cut_ocsp {
    struct cli *cli;
    struct http_client *client; /* NULL: nobody answers there */
    uint8_t storage[EST_RESPONSE_MAX];
    struct slice issuers[EST_CERTIFICATES_MAX]; /* in `storage` */
    size_t issuers_len;
};

/* ---- where, and under whom ---- */

/* "127.0.0.1:8081", "[::]:8081", as the hub says that it listens. */
static int open_client(struct cut_ocsp *o, const char *address)
{
    char host[128], explain[256] = "";
    const char *colon = strrchr(address, ':');
    size_t n = colon == NULL ? 0 : (size_t)(colon - address);
    bool bracketed = n > 2 && address[0] == '[' && address[n - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(bracketed ? n - 2 : n), address + bracketed);
    /* Whoever listens on all addresses answers on this machine's own. */
    const char *to = strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1"
                     : strcmp(host, "::") == 0    ? "::1"
                                                  : host;
    if (n == 0)
        return CLI_OK;
    const struct http_client_options options = {.host = to,
                                                .port = colon + 1,
                                                .plain = true,
                                                .timeout_ms = TIMEOUT_MS,
                                                .response_max = OCSP_ANSWER_MAX};
    if (http_client_new(&options, &o->client, explain) != ERR_NONE)
        return cli_fail_memory(o->cli);
    return CLI_OK;
}

static int find_listener(struct cut_ocsp *o)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(o->cli, "/v1/hub", &answer);
    size_t i;
    const json_t *listener;
    json_array_foreach(json_object_get(answer.json, "listeners"), i, listener)
    {
        if (code == CLI_OK && strcmp(json_text_of(listener, "name"), "status") == 0)
            code = open_client(o, json_text_of(listener, "address"));
    }
    return code;
}

static int read_issuers(struct cut_ocsp *o)
{
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    int code = hub_get(o->cli, "/.well-known/est/cacerts", &answer);
    if (code == CLI_OK && est_read_certificates(answer.bytes, o->storage, sizeof o->storage,
                                                o->issuers, &o->issuers_len) != ERR_NONE)
        return cli_fail(o->cli, CLI_UNREACHABLE, "unreachable",
                        "the hub's certificates can't be read");
    return code;
}

int cut_ocsp_new(struct cli *cli, struct cut_ocsp **ret_ocsp)
{
    struct cut_ocsp *o = calloc(1, sizeof *o);
    if (o == NULL)
        return cli_fail_memory(cli);
    o->cli = cli;
    int code = find_listener(o);
    if (code == CLI_OK && o->client != NULL)
        code = read_issuers(o);
    if (code == CLI_OK)
        *ret_ocsp = o;
    else
        cut_ocsp_free(o);
    return code;
}

void cut_ocsp_free(struct cut_ocsp *o)
{
    if (o == NULL)
        return;
    http_client_free(o->client);
    free(o);
}

bool cut_ocsp_is_served(const struct cut_ocsp *o)
{
    return o->client != NULL;
}

/* ---- one certificate ---- */

/* ERR_UNSUPPORTED: this hub does not speak for certificates of that issuer. */
static enum err ask_issuer(struct cut_ocsp *o, struct slice issuer, struct slice serial,
                           struct ocsp_said *said, char explain[256])
{
    uint8_t bytes[512];
    unsigned status = 0;
    struct slice answer;
    struct writer w = writer_over(bytes, sizeof bytes);
    enum err err = ocsp_ask_write(&w, issuer, serial);
    if (err == ERR_NONE)
        err = http_client_request(o->client, "POST", "/ocsp", "application/ocsp-request",
                                  writer_bytes(&w), &status, &answer, explain);
    if (err == ERR_NONE && status != 200)
        err = ERR_REFUSED;
    if (err == ERR_NONE)
        err = ocsp_answer_check(answer, issuer, serial, said);
    if (err == ERR_NONE && said->response_status == OCSP_UNAUTHORIZED)
        return ERR_UNSUPPORTED;
    if (err == ERR_NONE && said->response_status != OCSP_SUCCESSFUL)
        return ERR_BUSY;
    return err == ERR_NONE && said->status == OCSP_UNKNOWN ? ERR_UNSUPPORTED : err;
}

static const char *reason_text(enum crl_reason reason)
{
    switch (reason) {
    case REASON_CERTIFICATE_HOLD:
        return "certificateHold";
    case REASON_PRIVILEGE_WITHDRAWN:
        return "privilegeWithdrawn";
    case REASON_CESSATION_OF_OPERATION:
        return "cessationOfOperation";
    case REASON_SUPERSEDED:
        return "superseded";
    default:
        return "no reason given";
    }
}

static enum cut_ocsp_outcome ask_serial(struct cut_ocsp *o, const char *text,
                                        char detail[DETAIL_SIZE])
{
    uint8_t bytes[SERIAL_MAX];
    char explain[256] = "";
    struct ocsp_said said;
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_unhex(&w, slice_of_text(text));
    enum err err = w.err != ERR_NONE ? w.err : ERR_UNSUPPORTED;
    for (size_t i = 0; err == ERR_UNSUPPORTED && i < o->issuers_len; i++)
        err = ask_issuer(o, o->issuers[i], writer_bytes(&w), &said, explain);
    if (err == ERR_UNSUPPORTED)
        return CUT_OCSP_NO_NEED;
    if (err != ERR_NONE) {
        (void)snprintf(detail, DETAIL_SIZE, "%.120s", explain[0] != '\0' ? explain : err_text(err));
        return CUT_OCSP_NOT_YET;
    }
    (void)snprintf(detail, DETAIL_SIZE, "%s",
                   said.status == OCSP_REVOKED ? reason_text(said.reason) : "it says good");
    return said.status == OCSP_REVOKED ? CUT_OCSP_REVOKED : CUT_OCSP_NOT_YET;
}

int cut_ocsp_ask(struct cut_ocsp *o, const char *device, enum cut_ocsp_outcome *ret_outcome,
                 char detail[DETAIL_SIZE])
{
    char target[HUB_TARGET_MAX];
    struct hub_answer answer CLEANUP(hub_answer_free) = {.status = 0};
    detail[0] = '\0';
    *ret_outcome = CUT_OCSP_NOT_YET;
    (void)snprintf(target, sizeof target, "/v1/devices/%s/certificates?limit=%d", device, NEWEST);
    int code = hub_get(o->cli, target, &answer);
    if (code != CLI_OK)
        return code;
    *ret_outcome = CUT_OCSP_NO_NEED;
    const json_t *certificates = json_object_get(answer.json, "certificates");
    for (size_t i = json_array_size(certificates); i-- > 0;) { /* the newest has the last word */
        const json_t *certificate = json_array_get(certificates, i);
        char said[DETAIL_SIZE] = "";
        if (json_time_of(certificate, "not_after") <= clock_seconds())
            continue;
        enum cut_ocsp_outcome one = ask_serial(o, json_text_of(certificate, "serial"), said);
        if (one == CUT_OCSP_NO_NEED || *ret_outcome == CUT_OCSP_NOT_YET)
            continue;
        *ret_outcome = one;
        (void)snprintf(detail, DETAIL_SIZE, "%s", said);
    }
    return CLI_OK;
}
