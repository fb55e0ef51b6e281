#include "hub/api/hooks.h"

#include <string.h>

#include "base/metrics.h"
#include "core/base64.h"
#include "hub/api/caller.h"

static struct metric *decisions;

void api_hooks_start(void)
{
    decisions = metric_counter("holdfast_hook_decisions_total",
                               "What other brokers were answered about their clients", "verdict");
}

const struct rules *hook_rules_in_force(struct api_call *call)
{
    const struct policy_force *force = policies_now(call->hub->policies, &call->here->policy);
    return force == NULL ? NULL : &force->rules;
}

struct slice hook_text(const char *text)
{
    if (text == NULL || strcmp(text, "undefined") == 0)
        return slice_of(NULL, 0);
    return slice_of_text(text);
}

struct slice hook_certificate(struct api_call *call, const char *base64)
{
    static const struct slice none_at_all = SLICE_LITERAL("-");
    struct slice text = hook_text(base64);
    uint8_t *der = arena_alloc(http_request_arena(call->request), text.len);
    size_t len = 0;
    if (text.len == 0)
        return text;
    if (der == NULL || base64_read(text, der, text.len, &len) != ERR_NONE || len == 0)
        return none_at_all; /* there was something: not to be taken for a client without one */
    return slice_of(der, len);
}

/* A finding tells of the device, where there is one of that name; else of the broker. */
static enum hook_verdict count(struct api_call *call, enum hook_verdict verdict,
                               const struct hook_device *device)
{
    metric_add(decisions, hook_verdict_code(verdict), 1);
    if (verdict == HOOK_ALLOW)
        return verdict;
    char label[IDENTITY_LABEL_MAX];
    identity_label(label, device->tenant, device->device);
    refusals_count(call->hub->refusals, hook_verdict_code(verdict),
                   device->device[0] == '\0' ? call->actor : label);
    return verdict;
}

struct hook_context hook_context(struct api_call *call)
{
    return (struct hook_context){
        .identity = call->hub->identity,
        .reader = call->here->reader,
        .loop = call->here->loop,
        .arena = http_request_arena(call->request),
        .rules = hook_rules_in_force(call),
        .tenant = call->tenant,
    };
}

enum hook_verdict hook_connect(struct api_call *call, const struct hook_client *client,
                               struct hook_device *ret_device)
{
    enum hook_verdict verdict = HOOK_DENY_RATE;
    const struct hook_context ctx = hook_context(call);
    *ret_device = (struct hook_device){0};
    arena_mark_secret(http_request_arena(call->request)); /* the password */
    bool tries =
        client->password.len > 0 && client->certificate.len == 0 && client->common_name.len == 0;
    if (!tries || caller_password_within_rate(call) == ERR_NONE)
        if (hooks_connect(&ctx, client, ret_device, &verdict) != ERR_NONE)
            verdict = HOOK_DENY_FORM;
    return count(call, verdict, ret_device);
}

enum hook_verdict hook_may_all(struct api_call *call, const struct hook_client *client,
                               enum rules_action action, const struct slice *topics, size_t n,
                               enum hook_verdict *ret_verdicts)
{
    struct hook_device device;
    enum hook_verdict first = HOOK_DENY_FORM;
    const struct hook_context ctx = hook_context(call);
    if (hooks_find(&ctx, client, &device, &first) != ERR_NONE || n == 0)
        first = first == HOOK_ALLOW ? HOOK_DENY_FORM : first;
    enum hook_verdict who = first;
    for (size_t i = 0; i < n; i++) {
        ret_verdicts[i] = who == HOOK_ALLOW ? hooks_may(&ctx, &device, action, topics[i]) : who;
        if (first == HOOK_ALLOW)
            first = ret_verdicts[i];
    }
    return count(call, first, &device);
}

enum hook_verdict hook_may(struct api_call *call, const struct hook_client *client,
                           enum rules_action action, struct slice topic)
{
    enum hook_verdict verdict;
    return hook_may_all(call, client, action, &topic, 1, &verdict);
}

enum hook_verdict hook_unread(struct api_call *call)
{
    static const struct hook_device nobody;
    return count(call, HOOK_DENY_FORM, &nobody);
}

/* Counted already, where it was decided: so not by way of api_reply_problem(). */
static void reply_forbidden(struct api_call *call, const char *code, const char *detail)
{
    uint8_t bytes[512];
    struct problem problem = {0};
    struct writer w = writer_over(bytes, sizeof bytes);
    (void)problem_set(&problem, 403, code, "", "%s", detail);
    problem_write(&w, &problem);
    http_reply(call->request, 403, "application/problem+json",
               w.err == ERR_NONE ? writer_bytes(&w) : SLICE_LITERAL("{}"));
}

void hook_reply_denied(struct api_call *call, enum hook_verdict verdict)
{
    reply_forbidden(call, hook_verdict_code(verdict), hook_verdict_text(verdict));
}

void hook_reply_no_superuser(struct api_call *call)
{
    reply_forbidden(call, "hook-no-superuser", "nobody is above the policy");
}
