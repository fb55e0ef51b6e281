/* What brokers tell of what they have seen. */
#include <stdio.h>

#include "api/requests.h"
#include "hub/api/call.h"

/* Other sources of a report that are told apart: a broker that is flooded by many strangers says so
 * in a line. */
#define REFUSALS_TOLD 32

struct report {
    struct api_call *call;
    struct request_broker_report in;
    struct broker_connects_act connects;
    struct cut_confirm_act ended;
};

static void count_refusals(struct api_call *call, const struct request_broker_report *in)
{
    for (size_t i = 0; i < in->refusals_len; i++) {
        const struct request_broker_refusal *refusal = &in->refusals[i];
        char kind[48], source[160];
        (void)snprintf(kind, sizeof kind, "broker-%s",
                       api_broker_refusal_kind_words.texts[refusal->kind]);
        (void)snprintf(source, sizeof source, "%s: %s", call->device.device,
                       i < REFUSALS_TOLD ? refusal->source : "others");
        refusals_add(call->hub->broker_refusals, kind, source, (uint64_t)refusal->count);
    }
}

/* Last: what was answered with an error is told again. */
static void finish(struct report *r)
{
    struct api_call *call = r->call;
    struct broker_seen_row seen = {
        .position = r->in.position, .rules = r->in.rules, .sessions = r->in.sessions};
    (void)snprintf(seen.tenant, sizeof seen.tenant, "%s", call->device.tenant);
    (void)snprintf(seen.broker, sizeof seen.broker, "%s", call->device.device);
    (void)snprintf(seen.software, sizeof seen.software, "%s", r->in.software);
    brokers_seen_reported(call->hub->brokers, &seen, r->in.stale_seconds);
    count_refusals(call, &r->in);
    api_reply_nothing(call);
}

/* ---- sessions that were ended: the word of this leg of the cuts ---- */

static void ended_told(struct act *act)
{
    if (api_act_ended(act) != NULL)
        finish(CONTAINER_OF(act, struct report, ended.act));
}

static const char *ended_detail(struct arena *arena, const struct request_broker_ended *ended)
{
    char text[REASON_MAX_BYTES + 1];
    if (ended->sessions == 0)
        (void)snprintf(
            text, sizeof text,
            "no session; %lld subscriptions and %lld queued messages left, %lld retained "
            "taken back",
            (long long)ended->subscriptions, (long long)ended->queued,
            (long long)ended->retained_cleared);
    else
        (void)snprintf(text, sizeof text,
                       "session ended with %lld within %lld ms; %lld subscriptions and %lld queued "
                       "messages left, %lld retained taken back",
                       (long long)ended->reason_code, (long long)ended->latency_ms,
                       (long long)ended->subscriptions, (long long)ended->queued,
                       (long long)ended->retained_cleared);
    return arena_text(arena, slice_of_text(text));
}

/* What is left of a session is not gone. */
static bool is_gone(const struct request_broker_ended *ended)
{
    return ended->subscriptions == 0 && ended->queued == 0;
}

static void tell_ended(struct report *r)
{
    struct api_call *call = r->call;
    struct arena *arena = http_request_arena(call->request);
    if (r->in.ended_len == 0) {
        finish(r);
        return;
    }
    r->ended.seen = api_alloc(call, r->in.ended_len * sizeof *r->ended.seen);
    if (r->ended.seen == NULL)
        return;
    for (size_t i = 0; i < r->in.ended_len; i++) {
        const struct request_broker_ended *ended = &r->in.ended[i];
        if (!is_gone(ended))
            continue;
        struct cut_seen *seen = &r->ended.seen[r->ended.seen_len++];
        *seen = (struct cut_seen){.device = ended->device,
                                  .position = ended->entry,
                                  .detail = ended_detail(arena, ended)};
        if (!api_read_ok(call, seen->detail == NULL ? ERR_NO_MEMORY : ERR_NONE))
            return;
    }
    cut_leg_of_broker(r->ended.leg, call->device.device);
    const struct act_origin origin = api_origin(call, ended_told);
    identity_cut_confirm(call->hub->identity, &origin, call->here->reader, &r->ended);
}

/* ---- devices that connected ---- */

static void connects_told(struct act *act)
{
    struct api_call *call = api_act_ended(act);
    if (call != NULL)
        tell_ended(CONTAINER_OF(act, struct report, connects.act));
}

static void tell_connects(struct report *r)
{
    struct api_call *call = r->call;
    if (r->in.connects_len == 0) {
        tell_ended(r);
        return;
    }
    struct broker_connects_act *c = &r->connects;
    c->connects = api_alloc(call, r->in.connects_len * sizeof *c->connects);
    if (c->connects == NULL)
        return;
    for (size_t i = 0; i < r->in.connects_len; i++) {
        const struct request_broker_connect *told = &r->in.connects[i];
        struct writer salt = arena_writer(http_request_arena(call->request), DEVICE_SALT_SIZE);
        if (told->password != NULL)
            writer_unhex(&salt, slice_of_text(told->password));
        if (!api_read_ok(call, salt.err))
            return;
        c->connects[i] = (struct broker_connect){.device = told->device,
                                                 .at = told->at,
                                                 .first = told->first,
                                                 .salt = writer_bytes(&salt)};
    }
    c->connects_len = r->in.connects_len;
    (void)snprintf(c->broker, sizeof c->broker, "%s", call->device.device);
    const struct act_origin origin = api_origin(call, connects_told);
    brokers_connected(call->hub->brokers, &origin, c);
}

void api_broker_report(struct api_call *call)
{
    struct report *r = API_NEW(call, struct report);
    if (r == NULL)
        return;
    r->call = call;
    if (api_read_ok(call, request_broker_report_read(http_request_body(call->request),
                                                     http_request_arena(call->request), &r->in,
                                                     &call->problem)))
        tell_connects(r);
}
