/* What brokers ask over their own certificates: the table, and what changes. */
#include <stdio.h>

#include "api/requests.h"
#include "hub/api/caller.h"

#define FEED_TYPE  "application/vnd.holdfast.feed"
#define RULES_TYPE "application/vnd.holdfast.rules"

/* It may have waited: who it is has to hold now, too. */
static void feed_ended(struct broker_ask *ask, enum err err)
{
    struct api_call *call = ask->ctx;
    if (err == ERR_NONE)
        err = caller_identify(call);
    else
        call->problem = ask->problem;
    if (err != ERR_NONE)
        api_reply_err(call, err);
    else
        http_reply(call->request, 200, FEED_TYPE, ask->page);
}

static struct broker_ask *ask_new(struct api_call *call)
{
    struct broker_ask *ask = API_NEW(call, struct broker_ask);
    if (ask == NULL)
        return NULL;
    (void)snprintf(ask->tenant, sizeof ask->tenant, "%s", call->device.tenant);
    (void)snprintf(ask->broker, sizeof ask->broker, "%s", call->device.device);
    ask->arena = http_request_arena(call->request);
    ask->then = feed_ended;
    ask->ctx = call;
    return ask;
}

void api_broker_table(struct api_call *call)
{
    struct query_broker_table in;
    if (!api_read_ok(call, query_broker_table_read(http_request_query(call->request),
                                                   http_request_arena(call->request), &in,
                                                   &call->problem)))
        return;
    struct broker_ask *ask = ask_new(call);
    if (ask == NULL)
        return;
    (void)snprintf(ask->after_device, sizeof ask->after_device, "%s", in.has_after ? in.after : "");
    ask->limit = (size_t)in.limit;
    brokers_seen(call->hub->brokers, ask->tenant, ask->broker, -1, -1);
    broker_table(call->here->brokers, ask);
}

void api_broker_changes(struct api_call *call)
{
    struct query_broker_changes in;
    if (!api_read_ok(call, query_broker_changes_read(http_request_query(call->request),
                                                     http_request_arena(call->request), &in,
                                                     &call->problem)))
        return;
    struct broker_ask *ask = ask_new(call);
    if (ask == NULL)
        return;
    ask->after = (uint64_t)in.after;
    ask->wait = in.wait;
    ask->rules = (uint64_t)in.rules;
    brokers_seen(call->hub->brokers, ask->tenant, ask->broker, in.after, in.rules);
    broker_changes(call->here->brokers, ask);
}

/* Whoever was told of them by the feed may ask before this loop has heard of the commit. */
static void reply_rules(struct api_call *call, uint64_t version)
{
    char explain[256] = "";
    const struct policy_force *force = policies_now(call->hub->policies, &call->here->policy);
    if (force == NULL || force->number <= version) {
        enum err err = policies_reload(call->hub->policies, call->here->reader, explain);
        if (!api_read_ok(call, err))
            return;
        force = policies_now(call->hub->policies, &call->here->policy);
    }
    if (force == NULL || force->number <= version)
        api_reply_nothing(call);
    else
        http_reply(call->request, 200, RULES_TYPE, force->file);
}

void api_broker_rules(struct api_call *call)
{
    struct query_broker_rules in;
    if (api_read_ok(call, query_broker_rules_read(http_request_query(call->request),
                                                  http_request_arena(call->request), &in,
                                                  &call->problem)))
        reply_rules(call, (uint64_t)in.version);
}
