/* VerneMQ's webhooks. One address serves them all: which it is stands in the header vernemq-hook.
 */
#include "hub/api/hooks.h"

#define SUBSCRIPTION_ERROR   128 /* MQTT 3.1.1 section 3.9.3: failure */
#define SUBSCRIPTION_REFUSED 135 /* MQTT 5.0 section 3.9.3: not authorized */

enum hook {
    HOOK_REGISTER,
    HOOK_PUBLISH,
    HOOK_SUBSCRIBE,
    HOOK_NONE,
};

static enum hook hook_of(const char *header, bool *ret_m5)
{
    static const char *const names[] = {
        [HOOK_REGISTER] = "auth_on_register",
        [HOOK_PUBLISH] = "auth_on_publish",
        [HOOK_SUBSCRIBE] = "auth_on_subscribe",
    };
    struct slice name = slice_of_text(header == NULL ? "" : header);
    static const struct slice m5 = SLICE_LITERAL("_m5");
    *ret_m5 = name.len > m5.len && slice_equal(slice_of(name.data + name.len - m5.len, m5.len), m5);
    if (*ret_m5)
        name.len -= m5.len;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_equal(name, slice_of_text(names[i])))
            return (enum hook)i;
    return HOOK_NONE;
}

static void reply(struct api_call *call, enum hook_verdict verdict)
{
    http_reply(call->request, 200, "application/json",
               verdict == HOOK_ALLOW ? SLICE_LITERAL("{\"result\":\"ok\"}")
                                     : SLICE_LITERAL("{\"result\":{\"error\":\"not_allowed\"}}"));
}

/* Which of the filters it gets, where it gets some: in VerneMQ's words, topics are "rewritten" to
 * themselves, or to a QoS that says no. */
static void reply_partly(struct api_call *call, const struct request_hook_vernemq *in, bool m5,
                         const enum hook_verdict *verdicts)
{
    struct writer w = arena_writer(http_request_arena(call->request),
                                   64 + 6 * http_request_body(call->request).len);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "result", "ok");
    if (m5) {
        json_key(&j, "modifiers");
        json_open_object(&j);
    }
    json_key(&j, "topics");
    json_open_array(&j);
    for (size_t i = 0; i < in->topics_len; i++) {
        int64_t refused = m5 ? SUBSCRIPTION_REFUSED : SUBSCRIPTION_ERROR;
        json_open_object(&j);
        json_field_text(&j, "topic", in->topics[i].topic);
        json_field_integer(&j, "qos", verdicts[i] == HOOK_ALLOW ? in->topics[i].qos : refused);
        json_close_object(&j);
    }
    json_close_array(&j);
    if (m5)
        json_close_object(&j);
    json_close_object(&j);
    if (w.err != ERR_NONE)
        reply(call, HOOK_DENY_FORM);
    else
        http_reply(call->request, 200, "application/json", writer_bytes(&w));
}

static void subscribe(struct api_call *call, const struct request_hook_vernemq *in,
                      const struct hook_client *client, bool m5)
{
    size_t n = in->topics_len, allowed = 0;
    struct arena *arena = http_request_arena(call->request);
    struct slice *topics = arena_alloc(arena, (n + 1) * sizeof *topics);
    enum hook_verdict *verdicts = arena_alloc(arena, (n + 1) * sizeof *verdicts);
    if (topics == NULL || verdicts == NULL) {
        reply(call, HOOK_DENY_FORM);
        return;
    }
    for (size_t i = 0; i < n; i++)
        topics[i] = slice_of_text(in->topics[i].topic);
    enum hook_verdict verdict = hook_may_all(call, client, RULES_SUBSCRIBE, topics, n, verdicts);
    for (size_t i = 0; i < n; i++)
        allowed += verdicts[i] == HOOK_ALLOW;
    if (verdict == HOOK_ALLOW || allowed == 0)
        reply(call, verdict);
    else
        reply_partly(call, in, m5, verdicts);
}

void api_hook_vernemq(struct api_call *call)
{
    bool m5;
    struct hook_device device;
    struct request_hook_vernemq in;
    if (!HOOK_READ(call, hook_vernemq, &in)) {
        reply(call, hook_unread(call));
        return;
    }
    const struct hook_client client = {
        .user_name = hook_text(in.username),
        .client_id = hook_text(in.client_id),
        .password = hook_text(in.password),
        .certificate = hook_certificate(call, in.client_cert),
    };
    switch (hook_of(http_request_header(call->request, "vernemq-hook"), &m5)) {
    case HOOK_REGISTER:
        reply(call, hook_connect(call, &client, &device));
        return;
    case HOOK_PUBLISH:
        reply(call, hook_may(call, &client, RULES_PUBLISH, hook_text(in.topic)));
        return;
    case HOOK_SUBSCRIBE:
        subscribe(call, &in, &client, m5);
        return;
    case HOOK_NONE:
        break;
    }
    reply(call, hook_unread(call));
}
