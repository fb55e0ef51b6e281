/* mosquitto-go-auth's HTTP backend, for a Mosquitto that is still on it. A status below 300 is a
 * yes, and in its mode `json` the field `ok` with it. */
#include "hub/api/hooks.h"

static void reply(struct api_call *call, enum hook_verdict verdict)
{
    if (verdict == HOOK_ALLOW)
        http_reply(call->request, 200, "application/json",
                   SLICE_LITERAL("{\"ok\":true,\"error\":\"\"}"));
    else
        hook_reply_denied(call, verdict);
}

void api_hook_go_auth_user(struct api_call *call)
{
    struct hook_device device;
    struct request_hook_go_auth_user in;
    if (request_hook_go_auth_user_read(http_request_body(call->request),
                                       http_request_arena(call->request), &in,
                                       &call->problem) != ERR_NONE) {
        reply(call, hook_unread(call));
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.clientid),
        .password = hook_text(in.password),
    };
    reply(call, hook_connect(call, &client, &device));
}

void api_hook_go_auth_superuser(struct api_call *call)
{
    hook_reply_no_superuser(call);
}

/* Mosquitto's own masks: 1 read, 2 write, 4 subscribe. */
void api_hook_go_auth_acl(struct api_call *call)
{
    static const struct {
        int64_t bit;
        enum rules_action action;
    } actions[] = {{1, RULES_RECEIVE}, {2, RULES_PUBLISH}, {4, RULES_SUBSCRIBE}};
    struct request_hook_go_auth_acl in;
    if (request_hook_go_auth_acl_read(http_request_body(call->request),
                                      http_request_arena(call->request), &in,
                                      &call->problem) != ERR_NONE) {
        reply(call, hook_unread(call));
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.clientid),
    };
    enum hook_verdict verdict = HOOK_ALLOW;
    int64_t left = in.acc;
    for (size_t i = 0; i < ARRAY_LEN(actions) && verdict == HOOK_ALLOW; i++) {
        if ((in.acc & actions[i].bit) == 0)
            continue;
        left &= ~actions[i].bit;
        verdict = hook_may(call, &client, actions[i].action, slice_of_text(in.topic));
    }
    if (verdict == HOOK_ALLOW && (in.acc == 0 || left != 0))
        verdict = hook_unread(call);
    reply(call, verdict);
}
