/* Passwords of devices that can hold no certificate, over the local socket. */
#include <stdio.h>

#include "base/log.h"
#include "hub/api/hooks.h"

/* May that device's model have one? A device that is not there is for the act to tell. */
static enum err check_allowed(struct api_call *call)
{
    struct rules_model model = {0};
    struct device_row device = {0};
    (void)snprintf(device.tenant, sizeof device.tenant, "%s", call->tenant);
    (void)snprintf(device.id, sizeof device.id, "%s", api_param(call, 0));
    enum err err =
        store_get(call->here->reader, &table_device, http_request_arena(call->request), &device);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_NONE : err;
    const struct rules *rules = hook_rules_in_force(call);
    bool known = rules != NULL && rules_find_model(rules, slice_of_text(device.tenant),
                                                   slice_of_text(device.model), &model);
    if (known && model.password_ok)
        return ERR_NONE;
    return problem_set(&call->problem, 409, "password-not-allowed", "device",
                       "the policy in force does not let devices of the model '%s' have passwords",
                       device.model);
}

static void password_ended(struct act *act)
{
    struct password_act *p = CONTAINER_OF(act, struct password_act, act);
    struct api_call *call = api_act_ended(act);
    if (call == NULL)
        return;
    log_event(LOG_LEVEL_NOTICE, p->removal ? "device.password_removed" : "device.password_made",
              F_TEXT("device", p->device));
    if (p->removal) {
        api_reply_nothing(call);
        return;
    }
    arena_mark_secret(http_request_arena(call->request));
    struct writer w = arena_writer(http_request_arena(call->request), 512);
    struct json_writer j = json_writer_over(&w);
    json_open_object(&j);
    json_field_text(&j, "device", p->device);
    json_field_text(&j, "password", p->password);
    json_field_time(&j, "expires_at", p->expires_at);
    if (p->previous_until != 0)
        json_field_time(&j, "previous_until", p->previous_until);
    json_close_object(&j);
    api_reply_json(call, 201, &w);
}

static void change(struct api_call *call, bool removal)
{
    struct password_act *p = API_NEW(call, struct password_act);
    if (p == NULL)
        return;
    p->removal = removal;
    (void)snprintf(p->device, sizeof p->device, "%s", api_param(call, 0));
    const struct act_origin origin = api_origin(call, password_ended);
    identity_change_password(call->hub->identity, &origin, p);
}

void api_device_password_make(struct api_call *call)
{
    if (api_read_ok(call, check_allowed(call)))
        change(call, false);
}

void api_device_password_remove(struct api_call *call)
{
    change(call, true);
}
