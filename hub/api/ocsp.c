/* OCSP over HTTP (RFC 6960 appendix A, RFC 5019 sections 5 and 6). */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/calendar.h"
#include "hub/api/call.h"

#define RESPONSE_TYPE "application/ocsp-response"

static struct metric *responses;

void api_ocsp_start(void)
{
    responses = metric_counter("holdfast_ocsp_responses_total",
                               "OCSP responses by what they say of the certificate", "status");
}

/* As a metric has it: the certificate's status, or why there is none. */
static const char *outcome_text(const struct ocsp_question *q)
{
    static const char *const statuses[OCSP_STATUS_COUNT] = {
        [OCSP_GOOD] = "good", [OCSP_REVOKED] = "revoked", [OCSP_UNKNOWN] = "unknown"};
    switch (q->response_status) {
    case OCSP_SUCCESSFUL:
        return statuses[q->status];
    case OCSP_MALFORMED_REQUEST:
        return "malformed";
    case OCSP_UNAUTHORIZED:
        return "unauthorized";
    case OCSP_TRY_LATER:
        return "try-later";
    case OCSP_INTERNAL_ERROR:
    default:
        return "internal";
    }
}

static void write_entity_tag(const struct ocsp_question *q, char tag[2 * OCSP_TAG_SIZE + 3])
{
    struct writer w = writer_over(tag, 2 * OCSP_TAG_SIZE + 2);
    writer_text(&w, "\"");
    writer_hex(&w, slice_of(q->tag, sizeof q->tag));
    writer_text(&w, "\"");
    tag[w.len] = '\0';
}

static void add_date(struct http_request *request, const char *name, int64_t seconds)
{
    char text[CALENDAR_HTTP_SIZE + 1];
    struct writer w = writer_over(text, CALENDAR_HTTP_SIZE);
    calendar_write_http(&w, seconds);
    text[w.len] = '\0';
    http_reply_header(request, name, text);
}

/* RFC 5019 section 6.2. Gives true where the client has this very response already. */
static bool add_cache_fields(struct http_request *request, const struct ocsp_question *q)
{
    char tag[2 * OCSP_TAG_SIZE + 3];
    char control[96];
    int64_t now = clock_seconds();
    int64_t left = q->next_update - now;
    (void)snprintf(control, sizeof control, "max-age=%lld, public, no-transform, must-revalidate",
                   (long long)(left > 0 ? left : 0));
    write_entity_tag(q, tag);
    add_date(request, "Date", now); /* what max-age counts from */
    add_date(request, "Last-Modified", q->this_update);
    add_date(request, "Expires", q->next_update);
    http_reply_header(request, "ETag", tag);
    http_reply_header(request, "Cache-Control", control);
    const char *held = http_request_header(request, "If-None-Match");
    return held != NULL && strcmp(held, tag) == 0 && http_request_method(request) == HTTP_GET;
}

static void answered(struct ocsp_question *q)
{
    struct api_call *call = q->ctx;
    metric_add(responses, outcome_text(q), 1);
    if (q->response_status == OCSP_INTERNAL_ERROR)
        log_event(LOG_LEVEL_ERROR, "ocsp.failed", F_ERR(q->err));
    if (q->is_kept && add_cache_fields(call->request, q))
        http_reply(call->request, 304, NULL, slice_of(NULL, 0));
    else
        http_reply(call->request, 200, RESPONSE_TYPE, q->response);
}

static void ask(struct api_call *call, struct slice request)
{
    struct ocsp_question *q = API_NEW(call, struct ocsp_question);
    if (q == NULL)
        return;
    q->request = request;
    q->reader = call->here->reader;
    q->signer = call->here->signer;
    q->arena = http_request_arena(call->request);
    q->done = answered;
    q->ctx = call;
    ocsp_ask(call->hub->ocsp, q);
}

void api_ocsp_ask(struct api_call *call)
{
    ask(call, http_request_body(call->request));
}

/* What can't be read is handed on as an empty request, which is malformed, too. */
void api_ocsp_get(struct api_call *call)
{
    uint8_t *buffer = api_alloc(call, OCSP_GET_MAX);
    if (buffer == NULL)
        return;
    struct slice request = {NULL, 0};
    if (ocsp_path_read(slice_of_text(api_param(call, 0)), buffer, &request) != ERR_NONE)
        request = slice_of(NULL, 0);
    ask(call, request);
}
