/* mosquitto-go-auth's HTTP backend, for a Mosquitto that is still on it. A status below 300 is a
 * yes; in its mode `json` the field `ok` with it, in its mode `text` the word. It asks in JSON,
 * which is answered in JSON, or by a form, which is answered by the word. */
#include "hub/api/hooks.h"

static void reply(struct api_call *call, enum hook_verdict verdict)
{
    if (verdict == HOOK_ALLOW)
        http_reply(call->request, 200, "application/json",
                   SLICE_LITERAL("{\"ok\":true,\"error\":\"\"}"));
    else
        hook_reply_denied(call, verdict);
}

static void reply_form(struct api_call *call, enum hook_verdict verdict)
{
    if (verdict == HOOK_ALLOW)
        http_reply(call->request, 200, "text/plain", SLICE_LITERAL("ok"));
    else
        hook_reply_denied(call, verdict);
}

/* ---- may it connect? ---- */

static enum hook_verdict connect(struct api_call *call, const char *username, const char *client_id,
                                 const char *password)
{
    struct hook_device device;
    const struct hook_client client = {
        .user_name = hook_text(username),
        .client_id = hook_text(client_id),
        .password = hook_text(password),
    };
    return hook_connect(call, &client, &device);
}

void api_hook_go_auth_user(struct api_call *call)
{
    struct request_hook_go_auth_user in;
    bool read = HOOK_READ(call, hook_go_auth_user, &in);
    reply(call, read ? connect(call, in.username, in.clientid, in.password) : hook_unread(call));
}

void api_hook_go_auth_form_user(struct api_call *call)
{
    struct request_hook_go_auth_form_user in;
    bool read = HOOK_READ(call, hook_go_auth_form_user, &in);
    reply_form(call,
               read ? connect(call, in.username, in.clientid, in.password) : hook_unread(call));
}

void api_hook_go_auth_superuser(struct api_call *call)
{
    hook_reply_no_superuser(call);
}

void api_hook_go_auth_form_superuser(struct api_call *call)
{
    hook_reply_no_superuser(call);
}

/* ---- may it do that? ---- */

/* Mosquitto's own masks: 1 read, 2 write, 4 subscribe. */
static enum hook_verdict access_to(struct api_call *call, const char *username,
                                   const char *client_id, const char *topic, int64_t mask)
{
    static const struct {
        int64_t bit;
        enum rules_action action;
    } actions[] = {{1, RULES_RECEIVE}, {2, RULES_PUBLISH}, {4, RULES_SUBSCRIBE}};
    const struct hook_client client = {
        .user_name = hook_text(username),
        .client_id = hook_text(client_id),
    };
    enum hook_verdict verdict = HOOK_ALLOW;
    int64_t left = mask;
    for (size_t i = 0; i < ARRAY_LEN(actions) && verdict == HOOK_ALLOW; i++) {
        if ((mask & actions[i].bit) == 0)
            continue;
        left &= ~actions[i].bit;
        verdict = hook_may(call, &client, actions[i].action, slice_of_text(topic));
    }
    return verdict == HOOK_ALLOW && (mask == 0 || left != 0) ? hook_unread(call) : verdict;
}

void api_hook_go_auth_acl(struct api_call *call)
{
    struct request_hook_go_auth_acl in;
    bool read = HOOK_READ(call, hook_go_auth_acl, &in);
    reply(call,
          read ? access_to(call, in.username, in.clientid, in.topic, in.acc) : hook_unread(call));
}

void api_hook_go_auth_form_acl(struct api_call *call)
{
    struct request_hook_go_auth_form_acl in;
    bool read = HOOK_READ(call, hook_go_auth_form_acl, &in);
    reply_form(call, read ? access_to(call, in.username, in.clientid, in.topic, in.acc)
                          : hook_unread(call));
}
