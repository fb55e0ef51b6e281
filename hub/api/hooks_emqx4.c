/* EMQX 4's HTTP plugin, and NanoMQ, which took over its questions: forms, answered by the status.
 */
#include "hub/api/hooks.h"

#define FILTERS_MAX 1024 /* in one subscription of NanoMQ */

static void reply(struct api_call *call, enum hook_verdict verdict)
{
    if (verdict == HOOK_ALLOW) /* any word but "ignore" */
        http_reply(call->request, 200, "text/plain", SLICE_LITERAL("allow"));
    else
        hook_reply_denied(call, verdict);
}

void api_hook_emqx4_auth(struct api_call *call)
{
    struct hook_device device;
    struct request_hook_emqx4_auth in;
    if (!HOOK_READ(call, hook_emqx4_auth, &in)) {
        reply(call, hook_unread(call));
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.clientid),
        .password = hook_text(in.password),
        .common_name = hook_text(in.cert_common_name),
    };
    reply(call, hook_connect(call, &client, &device));
}

void api_hook_emqx4_superuser(struct api_call *call)
{
    hook_reply_no_superuser(call);
}

/* NanoMQ asks for all filters of a subscription at once, with commas between them. A comma may
 * stand in a filter, too; read as two, it is at most refused. */
static size_t split(struct slice text, struct slice topics[FILTERS_MAX])
{
    size_t n = 0, start = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != ',')
            continue;
        if (n == FILTERS_MAX)
            return 0;
        topics[n++] = slice_of(text.data + start, i - start);
        start = i + 1;
    }
    return n;
}

void api_hook_emqx4_acl(struct api_call *call)
{
    struct slice topics[FILTERS_MAX];
    enum hook_verdict verdicts[FILTERS_MAX];
    struct request_hook_emqx4_acl in;
    if (!HOOK_READ(call, hook_emqx4_acl, &in)) {
        reply(call, hook_unread(call));
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.clientid),
    };
    struct slice topic = slice_of_text(in.topic), access = slice_of_text(in.access);
    if (slice_equal(access, SLICE_LITERAL("1")))
        reply(call,
              hook_may_all(call, &client, RULES_SUBSCRIBE, topics, split(topic, topics), verdicts));
    else if (slice_equal(access, SLICE_LITERAL("2")))
        reply(call, hook_may(call, &client, RULES_PUBLISH, topic));
    else
        reply(call, hook_unread(call));
}
