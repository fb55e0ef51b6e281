/* EMQX 5: the HTTP authenticator and authorizer of its documents. A status other than 200 and 204
 * is `ignore` there, and what nobody denies may be allowed: so every answer is 200, and says so. */
#include "hub/api/hooks.h"

#define ANSWER_MAX 1024

static void reply_result(struct api_call *call, enum hook_verdict verdict)
{
    http_reply(call->request, 200, "application/json",
               verdict == HOOK_ALLOW ? SLICE_LITERAL("{\"result\":\"allow\"}")
                                     : SLICE_LITERAL("{\"result\":\"deny\"}"));
}

static void write_attributes(struct json_writer *j, const struct hook_device *device)
{
    char label[IDENTITY_LABEL_MAX];
    identity_label(label, device->tenant, device->device);
    json_key(j, "client_attrs");
    json_open_object(j);
    json_field_text(j, "device", label);
    json_field_text(j, "model", device->model);
    if (device->group[0] != '\0')
        json_field_text(j, "group", device->group);
    json_close_object(j);
}

static void reply_authn(struct api_call *call, enum hook_verdict verdict,
                        const struct hook_device *device)
{
    struct writer w = arena_writer(http_request_arena(call->request), ANSWER_MAX);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "result", verdict == HOOK_ALLOW ? "allow" : "deny");
    json_field_bool(&j, "is_superuser", false);
    if (verdict == HOOK_ALLOW) {
        write_attributes(&j, device);
        json_field_integer(&j, "expire_at", device->until);
    }
    json_close_object(&j);
    if (w.err != ERR_NONE) /* never `ignore` */
        reply_result(call, HOOK_DENY_FORM);
    else
        http_reply(call->request, 200, "application/json", writer_bytes(&w));
}

void api_hook_emqx_authn(struct api_call *call)
{
    struct hook_device device = {0};
    struct request_hook_emqx_authn in;
    if (request_hook_emqx_authn_read(http_request_body(call->request),
                                     http_request_arena(call->request), &in,
                                     &call->problem) != ERR_NONE) {
        reply_authn(call, hook_unread(call), &device);
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.clientid),
        .password = hook_text(in.password),
        .certificate = hook_certificate(call, in.cert_pem),
        .common_name = hook_text(in.cert_common_name),
    };
    enum hook_verdict verdict = hook_connect(call, &client, &device);
    reply_authn(call, verdict, &device);
}

void api_hook_emqx_authz(struct api_call *call)
{
    struct request_hook_emqx_authz in;
    if (request_hook_emqx_authz_read(http_request_body(call->request),
                                     http_request_arena(call->request), &in,
                                     &call->problem) != ERR_NONE) {
        reply_result(call, hook_unread(call));
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.clientid),
        .certificate = hook_certificate(call, in.cert_pem),
        .common_name = hook_text(in.cert_common_name),
    };
    struct slice topic = slice_of_text(in.topic), action = slice_of_text(in.action);
    if (slice_equal(action, SLICE_LITERAL("publish")))
        reply_result(call, hook_may(call, &client, RULES_PUBLISH, topic));
    else if (slice_equal(action, SLICE_LITERAL("subscribe")))
        reply_result(call, hook_may(call, &client, RULES_SUBSCRIBE, topic));
    else
        reply_result(call, hook_unread(call));
}
