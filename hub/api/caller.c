#include "hub/api/caller.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/base64.h"

/* ---- who ---- */

static enum err check_trusted(struct api_call *call)
{
    if (call->device.state == DEVICE_TRUSTED)
        return ERR_NONE;
    return problem_set(&call->problem, 403, "device-not-trusted", "",
                       "this device is %s and may only prove itself",
                       device_state_text(call->device.state));
}

/* By the policy in force; without one, whoever is trusted reaches all, and others their own
 * enrolment. Brokers are the hub's own: no policy says what they are, or could lock them out. */
static enum err check_reach(struct api_call *call, enum rules_reach need)
{
    const struct device_view *view = &call->device;
    const struct policy_force *force = policies_now(call->hub->policies, &call->here->policy);
    uint8_t reach = view->state == DEVICE_TRUSTED ? RULES_REACH_ENROLMENT | RULES_REACH_API
                                                  : RULES_REACH_ENROLMENT;
    if (force != NULL && strcmp(view->model, IDENTITY_BROKER_MODEL) != 0)
        reach = policy_reach(force, slice_of_text(view->tenant), slice_of_text(view->model),
                             view->state);
    if ((reach & need) != 0)
        return ERR_NONE;
    if (view->state != DEVICE_TRUSTED && need == RULES_REACH_API)
        return check_trusted(call);
    return problem_set(&call->problem, 403, "out-of-reach", "",
                       "the policy in force does not let a %s '%s' reach this",
                       device_state_text(view->state), view->model);
}

static enum err recognise_device(struct api_call *call)
{
    enum err err =
        identity_authenticate(call->hub->identity, call->here->reader, call->here->loop,
                              http_request_peer(call->request), http_request_arena(call->request),
                              http_connection_notes(call->request, sizeof(struct device_memo)),
                              &call->device, &call->problem);
    char label[IDENTITY_LABEL_MAX];
    identity_label(label, call->device.tenant, call->device.device);
    if (call->device.device[0] != '\0') {
        call->caller = CALLER_DEVICE_ENROLLED;
        (void)snprintf(call->actor, sizeof call->actor, "device:%s", label);
    }
    if (err == ERR_REFUSED)
        http_reply_close(call->request); /* nothing that is refused here keeps its connection */
    if (err != ERR_NONE)
        return err;
    http_connection_label(call->request, label);
    call->tenant = call->device.tenant;
    return ERR_NONE;
}

static enum err identify_device(struct api_call *call, enum rules_reach need)
{
    enum err err = recognise_device(call);
    return err == ERR_NONE ? check_reach(call, need) : err;
}

static enum err identify_broker(struct api_call *call)
{
    enum err err = recognise_device(call);
    if (err == ERR_NONE)
        err = check_trusted(call);
    if (err == ERR_NONE)
        err = brokers_check(call->here->reader, http_request_arena(call->request),
                            call->device.tenant, call->device.device, &call->problem);
    return err;
}

/* A device that slept past its certificate's end: the handshake has shown that it has the key, and
 * what the certificate is still worth is for the handler to decide. */
static enum err identify_expired(struct api_call *call)
{
    struct device_view *view = &call->device;
    enum err err = caller_may_try(call);
    if (err != ERR_NONE)
        return err;
    err = identity_recognise(call->here->reader, http_request_peer(call->request),
                             http_request_arena(call->request), &view->certificate, &call->problem);
    if (err == ERR_REFUSED)
        caller_count_failure(call);
    if (err != ERR_NONE)
        return err;
    (void)snprintf(view->tenant, sizeof view->tenant, "%s", view->certificate.tenant);
    (void)snprintf(view->device, sizeof view->device, "%s", view->certificate.device);
    char label[IDENTITY_LABEL_MAX];
    identity_label(label, view->tenant, view->device);
    call->caller = CALLER_DEVICE_EXPIRED;
    call->tenant = view->tenant;
    (void)snprintf(call->actor, sizeof call->actor, "device:%s", label);
    return ERR_NONE;
}

#define BASIC_TOKEN_MAX (NAME_MAX_BYTES + TOKEN_TEXT_SIZE) /* bytes of "anything:token" */

/* "Basic BASE64(anything:token)": some brokers can say who they are in a URL alone, and their HTTP
 * clients make this of it. */
static enum err check_basic(struct api_call *call, const char *value, int64_t scope,
                            struct token_row *ret_token)
{
    uint8_t text[BASIC_TOKEN_MAX];
    size_t len = 0;
    if (base64_read(slice_of_text(value), text, sizeof text, &len) != ERR_NONE)
        return ERR_REFUSED;
    struct reader r = reader_over(slice_of(text, len));
    (void)reader_until(&r, ':');
    struct slice token = reader_rest(&r);
    enum err err = reader_finish(&r) != ERR_NONE
                       ? ERR_REFUSED
                       : tokens_check(call->here->reader, token, scope,
                                      http_request_arena(call->request), ret_token);
    mem_wipe(text, sizeof text);
    return err;
}

static enum err identify_token(struct api_call *call, int64_t scope)
{
    const char *value = http_request_header(call->request, "Authorization");
    struct token_row token;
    enum err err = ERR_REFUSED;
    if (value != NULL && strncasecmp(value, "Bearer ", 7) == 0)
        err = tokens_check(call->here->reader, slice_of_text(value + 7), scope,
                           http_request_arena(call->request), &token);
    else if (value != NULL && strncasecmp(value, "Basic ", 6) == 0 && scope == READER_SCOPE_HOOKS)
        err = check_basic(call, value + 6, scope, &token);
    if (err == ERR_REFUSED)
        return problem_set(&call->problem, 401, "token-refused", "",
                           "send a token that `holdfast token create` made for this, and that has "
                           "not expired");
    if (err != ERR_NONE)
        return err;
    call->caller = CALLER_TOKEN_LEDGER;
    char *tenant = arena_text(http_request_arena(call->request), slice_of_text(token.tenant));
    if (tenant == NULL)
        return ERR_NO_MEMORY;
    call->tenant = tenant;
    (void)snprintf(call->actor, sizeof call->actor, "token:%s/%s", token.tenant, token.name);
    return ERR_NONE;
}

static enum err identify_local(struct api_call *call)
{
    uid_t uid;
    gid_t gid;
    pid_t pid;
    enum err err = http_request_credentials(call->request, &uid, &gid, &pid);
    bool allowed = err == ERR_NONE && (uid == 0 || uid == geteuid());
    for (size_t i = 0; err == ERR_NONE && i < call->hub->operator_uids_len; i++)
        allowed = allowed || call->hub->operator_uids[i] == uid;
    if (!allowed)
        return problem_set(&call->problem, 403, "operator-refused", "",
                           "only root, the hub's own user and those named under `operators` in its "
                           "configuration may use this socket");
    call->caller = CALLER_LOCAL;
    (void)snprintf(call->actor, sizeof call->actor, "local:%lu", (unsigned long)uid);
    return ERR_NONE;
}

enum err caller_identify(struct api_call *call)
{
    switch (call->route->caller[http_request_tag(call->request)]) {
    case CALLER_PUBLIC:
    case CALLER_ENROLMENT: /* its handler looks at the credentials */
        return ERR_NONE;
    case CALLER_DEVICE:
        return identify_device(call, RULES_REACH_API);
    case CALLER_DEVICE_ENROLLED:
        return identify_device(call, RULES_REACH_ENROLMENT);
    case CALLER_DEVICE_EXPIRED:
        return identify_expired(call);
    case CALLER_BROKER:
        return identify_broker(call);
    case CALLER_TOKEN_LEDGER:
        return identify_token(call, READER_SCOPE_LEDGER);
    case CALLER_TOKEN_METRICS:
        return identify_token(call, READER_SCOPE_METRICS);
    case CALLER_TOKEN_HOOKS:
        return identify_token(call, READER_SCOPE_HOOKS);
    case CALLER_LOCAL:
        return identify_local(call);
    case CALLER_NOBODY:
    case CALLER_COUNT:
        break;
    }
    return ERR_INTERNAL;
}

/* ---- how often ---- */

static enum err within(struct api_call *call, const char *class, const char *who,
                       int64_t per_minute)
{
    if (per_minute == 0)
        return ERR_NONE;
    char key[LEDGER_ACTOR_MAX + 32];
    int n = snprintf(key, sizeof key, "%s %s", class, who);
    struct slice slice = slice_of(key, n < 0                    ? 0
                                       : (size_t)n < sizeof key ? (size_t)n
                                                                : sizeof key - 1);
    /* A quarter of a minute's worth may come at once. */
    const struct rate rate = {.per_minute = (unsigned)per_minute,
                              .burst = (unsigned)(per_minute / 4 + 1)};
    int64_t wait_ms = 0;
    if (rate_allow(call->hub->rates, slice, &rate, clock_monotonic_ms(), &wait_ms))
        return ERR_NONE;
    char seconds[24];
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)(wait_ms + 999) / 1000);
    http_reply_header(call->request, "Retry-After", seconds);
    return problem_set(&call->problem, 429, "rate-limited", "",
                       "too many requests; try again in %s s", seconds);
}

/* The peer's address as limits count it: of IPv6 the /64, for nobody has a single address of it. */
static const char *counted_address(const struct api_call *call, char buffer[HTTP_ADDRESS_MAX])
{
    const char *text = http_request_address(call->request);
    struct in6_addr a;
    if (inet_pton(AF_INET6, text, &a) != 1)
        return text;
    memset(a.s6_addr + 8, 0, 8);
    const char *net = inet_ntop(AF_INET6, &a, buffer, HTTP_ADDRESS_MAX);
    return net != NULL ? net : text;
}

enum err caller_password_within_rate(struct api_call *call)
{
    return within(call, "hook-password", call->actor, HOOK_PASSWORDS_PER_MINUTE);
}

enum err caller_lost_within_rate(struct api_call *call)
{
    char buffer[HTTP_ADDRESS_MAX];
    if (http_request_tag(call->request) == LISTENER_LOCAL)
        return ERR_NONE;
    return within(call, "public", counted_address(call, buffer),
                  call->hub->config.public_per_minute);
}

enum err caller_key_within_rate(struct api_call *call, const struct hash *spki)
{
    char text[2 * SHA256_SIZE + 1];
    struct writer w = writer_over(text, sizeof text - 1);
    writer_hex(&w, slice_of(spki->bytes, sizeof spki->bytes));
    text[w.len] = '\0';
    return within(call, "enrolment-key", text, call->hub->config.device_writes_per_minute);
}

enum err caller_within_rate(struct api_call *call)
{
    const struct hub_config *config = &call->hub->config;
    char buffer[HTTP_ADDRESS_MAX];
    const char *address = counted_address(call, buffer);
    switch (call->route->rate) {
    case RATE_PUBLIC:
        return call->caller == CALLER_LOCAL
                   ? ERR_NONE
                   : within(call, "public", address, config->public_per_minute);
    case RATE_DEVICE_READ:
        return within(call, "device-read", call->actor, config->device_reads_per_minute);
    case RATE_DEVICE_WRITE:
        return within(call, "device-write", call->actor, config->device_writes_per_minute);
    case RATE_LEDGER:
        return call->caller == CALLER_LOCAL
                   ? ERR_NONE
                   : within(call, "reader", call->actor, config->reader_per_minute);
    case RATE_HOOKS:
        return within(call, "hooks", call->actor, config->hooks_per_minute);
    case RATE_STATUS:
        return within(call, "status", address, config->status_per_minute);
    case RATE_BROKER:
        return within(call, "broker", call->actor, BROKER_REQUESTS_PER_MINUTE);
    case RATE_ENROLMENT: /* failures are what counts: caller_count_failure() */
        return ERR_NONE;
    case RATE_OPERATOR: /* people on this machine; elsewhere, tokens */
        return call->caller == CALLER_LOCAL
                   ? ERR_NONE
                   : within(call, "operator", call->actor, config->reader_per_minute);
    case RATE_CLASS_COUNT:
        break;
    }
    return ERR_INTERNAL;
}

static struct rate failure_rate(const struct api_call *call)
{
    unsigned n = (unsigned)call->hub->config.enrolment_per_minute;
    return (struct rate){.per_minute = n, .burst = n};
}

static struct slice failure_key(struct api_call *call, char *buffer, size_t size)
{
    char address[HTTP_ADDRESS_MAX];
    int n = snprintf(buffer, size, "enrolment %s", counted_address(call, address));
    return slice_of(buffer, n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1);
}

void caller_count_failure(struct api_call *call)
{
    char key[HTTP_ADDRESS_MAX + 16];
    const struct rate rate = failure_rate(call);
    int64_t wait_ms;
    (void)rate_allow(call->hub->rates, failure_key(call, key, sizeof key), &rate,
                     clock_monotonic_ms(), &wait_ms);
}

enum err caller_may_try(struct api_call *call)
{
    char key[HTTP_ADDRESS_MAX + 16];
    const struct rate rate = failure_rate(call);
    int64_t wait_ms = 0;
    if (rate_would_allow(call->hub->rates, failure_key(call, key, sizeof key), &rate,
                         clock_monotonic_ms(), &wait_ms))
        return ERR_NONE;
    char seconds[24];
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)(wait_ms + 999) / 1000);
    http_reply_header(call->request, "Retry-After", seconds);
    return problem_set(&call->problem, 429, "enrolment-limited", "",
                       "too many failed enrolments from this address; try again in %s s", seconds);
}
