/* The one way a request takes: find the route, see who calls, hold it against the rates, run the
 * handler, answer. Every handler is behind all of it. */
#include <stdio.h>
#include <strings.h>

#include "api/decode.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "hub/api/caller.h"
#include "hub/api/tenant.h"
#include "hub/follower.h"
#include "hub/membership.h"

#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"
#define PROBLEM_MAX  2048

static struct {
    struct metric *requests, *seconds, *problems;
} counted;

void api_start(void)
{
    counted.requests =
        metric_counter("holdfast_http_requests_total", "Requests by outcome", "outcome");
    counted.seconds =
        metric_histogram("holdfast_http_request_seconds", "Time to answer", "operation");
    counted.problems =
        metric_counter("holdfast_problems_total", "Requests refused or failed", "code");
    api_ocsp_start();
    api_hooks_start();
}

struct hub_loop *hub_loop_of(struct hub *hub, const struct http_request *request)
{
    struct loop *loop = http_request_loop(request);
    for (size_t i = 0; i < hub->loops_len; i++) {
        if (hub->loops[i].loop == loop)
            return &hub->loops[i];
    }
    return NULL;
}

/* ---- answers ---- */

void api_reply_problem(struct api_call *call, const struct problem *problem)
{
    uint8_t bytes[PROBLEM_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    problem_write(&w, problem);
    if (problem->status == 401)
        http_reply_header(call->request, "WWW-Authenticate",
                          http_request_tag(call->request) == LISTENER_BOOTSTRAP
                              ? "Basic realm=\"holdfast enrolment\""
                              : "Bearer realm=\"holdfast\"");
    if (problem->status == 503)
        http_reply_header(call->request, "Retry-After", "1");
    metric_add(counted.problems, problem->code, 1);
    bool ours = problem->status >= 500 && problem->status != 501 && problem->status != 503;
    if (!ours)
        refusals_count(call->hub->refusals, problem->code,
                       call->caller == CALLER_NOBODY ? http_request_address(call->request)
                                                     : call->actor);
    else
        log_event(LOG_LEVEL_ERROR, "request.failed", F_TEXT("operation", call->operation),
                  F_TEXT("code", problem->code), F_TEXT("detail", problem->detail));
    http_reply(call->request, problem->status, PROBLEM_TYPE,
               w.err == ERR_NONE ? writer_bytes(&w) : SLICE_LITERAL("{}"));
}

void api_reply_err(struct api_call *call, enum err err)
{
    if (call->problem.status == 0) {
        problem_from_err(&call->problem, err);
        /* What lasts is told once, by whoever sees it come and go. */
        bool told = err == ERR_BUSY || err == ERR_CLOSED || err == ERR_UNAVAILABLE;
        if (call->problem.status >= 500 && !told)
            log_event(LOG_LEVEL_ERROR, "request.error", F_TEXT("operation", call->operation),
                      F_TEXT("path", http_request_path(call->request)), F_ERR(err));
    }
    api_reply_problem(call, &call->problem);
}

void api_reply_json(struct api_call *call, unsigned status, const struct writer *w)
{
    if (w->err != ERR_NONE) {
        api_reply_err(call, w->err);
        return;
    }
    http_reply(call->request, status, JSON_TYPE, writer_bytes(w));
}

void api_reply_nothing(struct api_call *call)
{
    http_reply(call->request, 204, NULL, slice_of(NULL, 0));
}

/* ---- what handlers stand on ---- */

const char *api_param(const struct api_call *call, size_t n)
{
    return n < call->match.params_len ? call->match.params[n] : "";
}

bool api_read_ok(struct api_call *call, enum err err)
{
    if (err != ERR_NONE)
        api_reply_err(call, err);
    return err == ERR_NONE;
}

struct responder_site api_responder_site(struct api_call *call)
{
    return (struct responder_site){
        .loop = call->here->loop,
        .reader = call->here->reader,
        .force = policies_now(call->hub->policies, &call->here->policy),
        .ctx = call->here,
    };
}

void *api_alloc(struct api_call *call, size_t n)
{
    void *p = arena_alloc(http_request_arena(call->request), n);
    if (p == NULL)
        api_reply_err(call, ERR_NO_MEMORY);
    return p;
}

struct act_origin api_origin(struct api_call *call, void (*then)(struct act *act))
{
    return (struct act_origin){
        .loop = call->here->loop,
        .arena = http_request_arena(call->request),
        .tenant = call->tenant,
        .actor = call->actor,
        .then = then,
        .ctx = call,
    };
}

struct api_call *api_act_ended(struct act *act)
{
    struct api_call *call = act->ctx;
    if (act->write.err == ERR_NONE)
        return call;
    call->problem = act->write.problem;
    api_reply_err(call, act->write.err);
    return NULL;
}

/* ---- the way in ---- */

static enum err refuse_method(struct api_call *call)
{
    char text[64];
    struct writer w = writer_over(text, sizeof text - 1);
    for (unsigned m = 0; m < HTTP_METHOD_COUNT; m++) {
        if ((call->match.allowed & 1u << m) == 0)
            continue;
        if (w.len > 0)
            writer_text(&w, ", ");
        writer_text(&w, http_method_text((enum http_method)m));
    }
    text[w.len] = '\0';
    http_reply_header(call->request, "Allow", text);
    return problem_set(&call->problem, 405, "method-not-allowed", "", "this resource takes %s",
                       text);
}

/* A hub that can't tell who has been revoked elsewhere answers no device; one that is no hub of the
 * fleet any more, nobody but people on its machine. */
static enum err check_standing(struct api_call *call)
{
    int which = http_request_tag(call->request);
    if (membership_ended() && which != LISTENER_LOCAL)
        return problem_set(&call->problem, 503, "hub-removed", "",
                           "this hub has left the fleet; another one answers");
    if ((which == LISTENER_DEVICE || which == LISTENER_BOOTSTRAP) && follower_is_behind(call->hub))
        return problem_set(&call->problem, 503, "unavailable", "",
                           "this hub has not heard from its database for longer than its lease; "
                           "try again, or another hub");
    return ERR_NONE;
}

static enum err find_route(struct api_call *call)
{
    enum err err = route_find(http_request_method(call->request), http_request_path(call->request),
                              (enum listener)http_request_tag(call->request), &call->match);
    if (err == ERR_UNSUPPORTED)
        return refuse_method(call);
    if (err != ERR_NONE)
        return problem_set(
            &call->problem, 404, "route-not-found", "",
            "there is no such resource on this listener; api/openapi.yaml lists them");
    call->route = call->match.route;
    call->operation = call->route->operation;
    http_request_set_note(call->request, call->operation);
    return ERR_NONE;
}

static enum err check_body(struct api_call *call)
{
    const struct route *route = call->route;
    size_t len = http_request_body(call->request).len;
    if (len > route->body_max)
        return problem_set(&call->problem, 413, "too-large", "", "at most %zu bytes are taken here",
                           route->body_max);
    if (!route->takes_query && http_request_query(call->request)[0] != '\0')
        return decode_no_query(http_request_query(call->request), &call->problem);
    if (route->body_type == NULL)
        return ERR_NONE;
    const char *type = http_request_header(call->request, "Content-Type");
    size_t n = slice_of_text(route->body_type).len;
    bool fits = type != NULL && strncasecmp(type, route->body_type, n) == 0 &&
                (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
    if (!fits)
        return problem_set(&call->problem, 415, "media-type", "Content-Type", "send %s",
                           route->body_type);
    return ERR_NONE;
}

void api_handle(struct http_request *request, void *ctx)
{
    struct hub *hub = ctx;
    struct api_call *call = arena_alloc(http_request_arena(request), sizeof *call);
    if (call == NULL) {
        http_reply(
            request, 503, PROBLEM_TYPE,
            SLICE_LITERAL("{\"title\":\"Service Unavailable\",\"status\":503,"
                          "\"code\":\"no-memory\",\"detail\":\"The hub is out of memory.\"}"));
        return;
    }
    *call = (struct api_call){
        .hub = hub,
        .here = hub_loop_of(hub, request),
        .request = request,
        .operation = "none",
        .tenant = HUB_TENANT,
    };
    http_request_set_note(request, call->operation);
    enum err err = check_standing(call);
    if (err == ERR_NONE)
        err = find_route(call);
    if (err != ERR_NONE && call->problem.status != 503 && caller_lost_within_rate(call) != ERR_NONE)
        err = ERR_REFUSED; /* the problem is another now: 429 */
    if (err == ERR_NONE)
        err = caller_identify(call);
    if (err == ERR_NONE)
        err = caller_within_rate(call);
    if (err == ERR_NONE)
        err = tenant_choose(call);
    if (err == ERR_NONE)
        err = check_body(call);
    if (err == ERR_NONE)
        call->route->handler(call);
    else
        api_reply_err(call, err);
}

void api_replied(struct http_request *request, unsigned status, size_t bytes, void *ctx)
{
    (void)ctx;
    (void)bytes;
    const char *operation = http_request_note(request);
    char outcome[96];
    (void)snprintf(outcome, sizeof outcome, "%s %u", operation != NULL ? operation : "none",
                   status);
    metric_add(counted.requests, outcome, 1);
    metric_observe_us(counted.seconds, operation != NULL ? operation : "none",
                      clock_monotonic_us() - http_request_started_us(request));
}
