/* EMQX 5: the HTTP authenticator and authorizer of its documents. A status other than 200 and 204
 * is `ignore` there, and what nobody denies may be allowed: so every answer is 200, and says so. */
#include "base/clock.h"
#include "hub/api/hooks.h"

#define ANSWER_MAX      1024
#define RULE_JSON_MAX   (6U * 1024) /* of one filter with all of it escaped: more than there are */
#define RULES_MAX_BYTES (64U * 1024)

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

struct rule_writer {
    struct json_writer *j;
    const char *action;
};

/* What has no room is asked for one by one. */
static void write_rule(void *out, struct slice filter)
{
    const struct rule_writer *rule = out;
    struct json_writer *j = rule->j;
    if (j->w->max - j->w->len < RULE_JSON_MAX + ANSWER_MAX)
        return;
    json_open_object(j);
    json_field_text(j, "permission", "allow");
    json_field_text(j, "action", rule->action);
    json_field_slice(j, "topic", filter);
    json_close_object(j);
}

/* Its rules with the answer, so that EMQX asks no more. They are what it knows of the policy until
 * the session ends: no longer than the model lets a broker go by what it knows. */
static void write_rules(struct api_call *call, struct json_writer *j,
                        const struct hook_device *device)
{
    const struct hook_context ctx = hook_context(call);
    struct rule_writer publish = {j, "publish"}, subscribe = {j, "subscribe"};
    json_key(j, "acl");
    json_open_array(j);
    hooks_list_rules(&ctx, device, RULES_PUBLISH, write_rule, &publish);
    hooks_list_rules(&ctx, device, RULES_SUBSCRIBE, write_rule, &subscribe);
    json_close_array(j);
}

static void reply_authn(struct api_call *call, enum hook_verdict verdict,
                        const struct hook_device *device, bool preset)
{
    struct writer w = arena_writer(http_request_arena(call->request), RULES_MAX_BYTES);
    struct json_writer j = json_writer_over(&w);
    int64_t until = device->until, stale = clock_seconds() + device->rules.limits.stale_seconds;
    preset = preset && device->rules.limits.stale_seconds > 0;
    if (preset && stale < until)
        until = stale;
    json_open_object(&j);
    json_field_text(&j, "result", verdict == HOOK_ALLOW ? "allow" : "deny");
    json_field_bool(&j, "is_superuser", false);
    if (verdict == HOOK_ALLOW) {
        write_attributes(&j, device);
        json_field_integer(&j, "expire_at", until);
        if (preset)
            write_rules(call, &j, device);
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
    if (!HOOK_READ(call, hook_emqx_authn, &in)) {
        reply_authn(call, hook_unread(call), &device, false);
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
    bool preset = slice_equal(hook_text(in.acl), SLICE_LITERAL("preset"));
    reply_authn(call, verdict, &device, preset);
}

void api_hook_emqx_authz(struct api_call *call)
{
    struct request_hook_emqx_authz in;
    if (!HOOK_READ(call, hook_emqx_authz, &in)) {
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
