#include "hub/hooks/hooks.h"

#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"

const char *hook_verdict_code(enum hook_verdict verdict)
{
    static const char *const codes[HOOK_VERDICT_COUNT] = {
        [HOOK_ALLOW] = "hook-allow",
        [HOOK_DENY_FORM] = "hook-form",
        [HOOK_DENY_DEVICE] = "hook-unknown-device",
        [HOOK_DENY_NAME] = "hook-name",
        [HOOK_DENY_CREDENTIAL] = "hook-no-credential",
        [HOOK_DENY_CERTIFICATE] = "hook-certificate",
        [HOOK_DENY_PASSWORD] = "hook-password",
        [HOOK_DENY_RATE] = "hook-password-rate",
        [HOOK_DENY_POLICY] = "hook-no-policy",
        [HOOK_DENY_MODEL] = "hook-unknown-model",
        [HOOK_DENY_STATE] = "hook-state",
        [HOOK_DENY_TOPIC] = "hook-topic",
    };
    return (unsigned)verdict < HOOK_VERDICT_COUNT ? codes[verdict] : "hook-form";
}

const char *hook_verdict_text(enum hook_verdict verdict)
{
    static const char *const texts[HOOK_VERDICT_COUNT] = {
        [HOOK_ALLOW] = "it may",
        [HOOK_DENY_FORM] = "what the broker asks is not in the form of its documents, or no topic",
        [HOOK_DENY_DEVICE] = "there is no such device",
        [HOOK_DENY_NAME] = "user name, client id and certificate do not name one device",
        [HOOK_DENY_CREDENTIAL] = "it shows neither certificate nor password",
        [HOOK_DENY_CERTIFICATE] = "its certificate is unknown, replaced or out of date",
        [HOOK_DENY_PASSWORD] = "its password is wrong, or its model may have none",
        [HOOK_DENY_RATE] = "too many passwords are being tried through this broker",
        [HOOK_DENY_POLICY] = "there is no policy in force; `holdfast policy apply` makes one",
        [HOOK_DENY_MODEL] = "the policy in force does not know its model",
        [HOOK_DENY_STATE] = "in its state it reaches no broker",
        [HOOK_DENY_TOPIC] = "the policy in force does not let it reach that topic",
    };
    return (unsigned)verdict < HOOK_VERDICT_COUNT ? texts[verdict] : texts[HOOK_DENY_FORM];
}

/* ---- names ---- */

static bool set_name(char field[NAME_MAX_BYTES + 1], struct slice name)
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES || memchr(name.data, '\0', name.len) != NULL)
        return false;
    memcpy(field, name.data, name.len);
    field[name.len] = '\0';
    return true;
}

static bool is_text(struct slice bytes, const char *text)
{
    return slice_equal(bytes, slice_of_text(text));
}

/* "tenant/device", or the device alone, of this broker's tenant. */
static bool read_user_name(const struct hook_context *ctx, struct slice name,
                           char ret_device[NAME_MAX_BYTES + 1])
{
    const uint8_t *slash = name.len == 0 ? NULL : memchr(name.data, '/', name.len);
    if (slash == NULL)
        return set_name(ret_device, name);
    size_t n = (size_t)(slash - name.data);
    return is_text(slice_of(name.data, n), ctx->tenant) &&
           set_name(ret_device, slice_of(slash + 1, name.len - n - 1));
}

/* The id, or the id with ":" and anything behind it. */
static bool client_id_is_of(struct slice id, const char *device)
{
    struct slice own = slice_of_text(device);
    return slice_starts_with(id, own) && (id.len == own.len || id.data[own.len] == ':');
}

static bool client_id_device(struct slice id, char ret_device[NAME_MAX_BYTES + 1])
{
    const uint8_t *colon = id.len == 0 ? NULL : memchr(id.data, ':', id.len);
    return set_name(ret_device, colon == NULL ? id : slice_of(id.data, (size_t)(colon - id.data)));
}

/* Whatever the client says of itself must be the same. */
static bool agrees(const struct hook_context *ctx, const struct hook_client *client,
                   const char *device)
{
    char named[NAME_MAX_BYTES + 1];
    if (client->user_name.len > 0 &&
        (!read_user_name(ctx, client->user_name, named) || !is_text(slice_of_text(named), device)))
        return false;
    return client->client_id.len == 0 || client_id_is_of(client->client_id, device);
}

/* ---- who ---- */

static enum err read_device(const struct hook_context *ctx, const char *name,
                            struct hook_device *device, struct device_row *ret_row,
                            enum hook_verdict *verdict)
{
    struct device_row row = {0};
    (void)set_name(row.tenant, slice_of_text(ctx->tenant));
    (void)set_name(row.id, slice_of_text(name));
    enum err err = store_get(ctx->reader, &table_device, ctx->arena, &row);
    if (err == ERR_NOT_FOUND) {
        *verdict = HOOK_DENY_DEVICE;
        return ERR_NONE;
    }
    if (err != ERR_NONE)
        return err;
    memcpy(device->tenant, row.tenant, sizeof device->tenant);
    memcpy(device->device, row.id, sizeof device->device);
    memcpy(device->model, row.model, sizeof device->model);
    memcpy(device->group, row.grp, sizeof device->group);
    device->state = row.state;
    *ret_row = row;
    *verdict = HOOK_ALLOW;
    return ERR_NONE;
}

/* By the certificate itself: the digest decides, never a name in it. */
static enum err find_certificate(const struct hook_context *ctx, struct slice der,
                                 char ret_device[NAME_MAX_BYTES + 1], int64_t *ret_until,
                                 enum hook_verdict *verdict)
{
    static const struct slice device_problem = SLICE_LITERAL("device-");
    struct certificate c;
    struct tls_peer peer = {.present = true};
    struct device_view view = {0};
    struct problem problem = {0};
    *verdict = HOOK_DENY_CERTIFICATE;
    if (certificate_read(der, &c) != ERR_NONE || c.serial.len > sizeof peer.serial)
        return ERR_NONE;
    crypto_sha256_one(der, peer.certificate_sha256);
    memcpy(peer.serial, c.serial.data, c.serial.len);
    peer.serial_len = c.serial.len;
    peer.not_before = c.not_before;
    peer.not_after = c.not_after;
    enum err err = identity_authenticate(ctx->identity, ctx->reader, ctx->loop, &peer, ctx->arena,
                                         NULL, &view, &problem);
    bool ours = is_text(slice_of_text(view.tenant), ctx->tenant);
    if (view.device[0] != '\0' && ours)
        memcpy(ret_device, view.device, sizeof view.device);
    if (err == ERR_REFUSED && ours &&
        slice_starts_with(slice_of_text(problem.code), device_problem))
        *verdict = HOOK_DENY_STATE; /* revoked or retired, and its certificate with it */
    if (err == ERR_REFUSED || (err == ERR_NONE && !ours))
        return ERR_NONE;
    if (err != ERR_NONE)
        return err;
    *ret_until = view.certificate.not_after;
    *verdict = HOOK_ALLOW;
    return ERR_NONE;
}

/* All that is known of the certificate is whose it says it is: one of that device's must be good.
 */
static enum err check_any_certificate(const struct hook_context *ctx, const struct device_row *row,
                                      int64_t *ret_until, enum hook_verdict *verdict)
{
    const char *const serials[] = {row->certificate, row->confirmed};
    int64_t now = clock_seconds();
    *verdict = HOOK_DENY_CERTIFICATE;
    for (size_t i = 0; i < ARRAY_LEN(serials); i++) {
        struct certificate_row c = {0};
        if (serials[i][0] == '\0')
            continue;
        memcpy(c.serial, serials[i], sizeof c.serial);
        enum err err = store_get(ctx->reader, &table_certificate, ctx->arena, &c);
        if (err != ERR_NONE)
            return err == ERR_NOT_FOUND ? ERR_INTERNAL : err;
        bool live = c.status == CERTIFICATE_ISSUED || c.status == CERTIFICATE_ACTIVE;
        if (!live || c.not_after <= now)
            continue;
        if (c.not_after > *ret_until)
            *ret_until = c.not_after;
        *verdict = HOOK_ALLOW;
    }
    return ERR_NONE;
}

/* What the policy in force says of a device in its state. */
static enum hook_verdict check_reach(const struct hook_context *ctx, struct hook_device *device)
{
    if (ctx->rules == NULL)
        return HOOK_DENY_POLICY;
    if (!rules_find_model(ctx->rules, slice_of_text(device->tenant), slice_of_text(device->model),
                          &device->rules))
        return HOOK_DENY_MODEL;
    bool known = device->state >= 0 && device->state < DEVICE_STATE_COUNT;
    return known && (device->rules.reach[device->state] & RULES_REACH_MQTT) != 0 ? HOOK_ALLOW
                                                                                 : HOOK_DENY_STATE;
}

static enum err check_password(const struct hook_context *ctx, const struct hook_client *client,
                               const struct device_row *row, struct hook_device *device,
                               enum hook_verdict *verdict)
{
    *verdict = HOOK_DENY_PASSWORD;
    if (!device->rules.password_ok)
        return ERR_NONE;
    enum err err = identity_check_password(ctx->identity, ctx->reader, ctx->loop, ctx->arena, row,
                                           client->password, &device->until);
    if (err == ERR_NONE)
        *verdict = HOOK_ALLOW;
    return err == ERR_REFUSED ? ERR_NONE : err;
}

/* Which device do they name, by the strongest of what there is? */
static enum err name_device(const struct hook_context *ctx, const struct hook_client *client,
                            char ret_device[NAME_MAX_BYTES + 1], int64_t *ret_until,
                            enum hook_verdict *verdict)
{
    if (client->certificate.len > 0)
        return find_certificate(ctx, client->certificate, ret_device, ret_until, verdict);
    bool named;
    if (client->common_name.len > 0)
        named = set_name(ret_device, client->common_name);
    else if (client->user_name.len > 0)
        named = read_user_name(ctx, client->user_name, ret_device);
    else
        named = client_id_device(client->client_id, ret_device);
    *verdict = named ? HOOK_ALLOW : HOOK_DENY_DEVICE;
    return ERR_NONE;
}

static enum err find(const struct hook_context *ctx, const struct hook_client *client,
                     struct hook_device *device, struct device_row *ret_row,
                     enum hook_verdict *verdict)
{
    char name[NAME_MAX_BYTES + 1] = "";
    enum hook_verdict shown = HOOK_DENY_DEVICE;
    enum err err = name_device(ctx, client, name, &device->until, &shown);
    *verdict = shown;
    if (err != ERR_NONE || name[0] == '\0')
        return err;
    err = read_device(ctx, name, device, ret_row, verdict);
    if (err != ERR_NONE || *verdict != HOOK_ALLOW)
        return err;
    *verdict = shown;
    if (shown == HOOK_ALLOW && client->certificate.len == 0 && client->common_name.len > 0)
        err = check_any_certificate(ctx, ret_row, &device->until, verdict);
    if (err != ERR_NONE || *verdict != HOOK_ALLOW)
        return err;
    *verdict = agrees(ctx, client, device->device) ? check_reach(ctx, device) : HOOK_DENY_NAME;
    return ERR_NONE;
}

enum err hooks_connect(const struct hook_context *ctx, const struct hook_client *client,
                       struct hook_device *ret_device, enum hook_verdict *ret_verdict)
{
    struct device_row row;
    enum hook_verdict verdict = HOOK_DENY_FORM;
    struct hook_device device = {0};
    bool certificate = client->certificate.len > 0 || client->common_name.len > 0;
    enum err err = find(ctx, client, &device, &row, &verdict);
    if (err == ERR_NONE && verdict == HOOK_ALLOW && client->client_id.len == 0)
        verdict = HOOK_DENY_NAME;
    if (err == ERR_NONE && verdict == HOOK_ALLOW && !certificate) {
        verdict = HOOK_DENY_CREDENTIAL;
        /* Its own name is part of it: an id that anybody may choose is not. */
        if (client->password.len > 0 && client->user_name.len > 0)
            err = check_password(ctx, client, &row, &device, &verdict);
    }
    *ret_device = device;
    *ret_verdict = err == ERR_NONE ? verdict : HOOK_DENY_FORM;
    return err;
}

enum err hooks_find(const struct hook_context *ctx, const struct hook_client *client,
                    struct hook_device *ret_device, enum hook_verdict *ret_verdict)
{
    struct device_row row;
    enum hook_verdict verdict = HOOK_DENY_FORM;
    struct hook_device device = {0};
    enum err err = find(ctx, client, &device, &row, &verdict);
    *ret_device = device;
    *ret_verdict = err == ERR_NONE ? verdict : HOOK_DENY_FORM;
    return err;
}

static struct rules_subject subject_of(const struct hook_device *device)
{
    return (struct rules_subject){
        .tenant = slice_of_text(device->tenant),
        .device = slice_of_text(device->device),
        .model = slice_of_text(device->model),
        .group = slice_of_text(device->group),
        .state = (enum device_state)device->state,
    };
}

/* ---- rules in another's words ---- */

struct rule_list {
    enum rules_action action;
    void (*rule)(void *out, struct slice filter);
    void *out;
};

static bool ends_in(struct slice text, const char *end)
{
    size_t n = strlen(end);
    return text.len >= n && memcmp(text.data + text.len - n, end, n) == 0;
}

/* Means the same there: no "eq " in front, nothing that would be filled in, and of those to be
 * subscribed to, none whose end a wider filter would pass for. */
static bool means_the_same(enum rules_action action, struct slice filter)
{
    static const struct slice exact = SLICE_LITERAL("eq "), system = SLICE_LITERAL("$");
    bool filled = memchr(filter.data, '%', filter.len) != NULL ||
                  memchr(filter.data, '{', filter.len) != NULL;
    if (filled || slice_starts_with(filter, exact))
        return false;
    return action == RULES_PUBLISH ||
           (!ends_in(filter, "+") && !ends_in(filter, "+/#") && !slice_starts_with(filter, system));
}

static void take_filter(void *ctx, struct slice filter)
{
    const struct rule_list *list = ctx;
    if (means_the_same(list->action, filter))
        list->rule(list->out, filter);
}

void hooks_list_rules(const struct hook_context *ctx, const struct hook_device *device,
                      enum rules_action action, void (*rule)(void *out, struct slice filter),
                      void *out)
{
    uint8_t buffer[1024];
    struct rule_list list = {action, rule, out};
    const struct rules_subject subject = subject_of(device);
    if (ctx->rules != NULL)
        rules_list_filters(ctx->rules, &subject, action, buffer, sizeof buffer, take_filter, &list);
}

enum hook_verdict hooks_may(const struct hook_context *ctx, const struct hook_device *device,
                            enum rules_action action, struct slice topic)
{
    if (ctx->rules == NULL)
        return HOOK_DENY_POLICY;
    const struct rules_subject subject = subject_of(device);
    switch (rules_decide(ctx->rules, &subject, action, topic)) {
    case RULES_ALLOW:
        return HOOK_ALLOW;
    case RULES_DENY_MODEL:
        return HOOK_DENY_MODEL;
    case RULES_DENY_STATE:
        return HOOK_DENY_STATE;
    case RULES_DENY_TOPIC:
        return HOOK_DENY_TOPIC;
    case RULES_DENY_FORM:
    case RULES_DECISION_COUNT:
        break;
    }
    return HOOK_DENY_FORM;
}
