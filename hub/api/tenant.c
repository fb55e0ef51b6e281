#include "hub/api/tenant.h"

#include <string.h>

static bool is_known(struct api_call *call, const char *tenant)
{
    const struct policy_force *force = policies_now(call->hub->policies, &call->here->policy);
    return policy_has_tenant(force, slice_of_text(tenant));
}

/* Whoever reaches the local socket may act in any tenant; elsewhere, what shows who calls shows
 * also whose that is, and a word beside it would only invite to try others'. */
static enum err take_field(struct api_call *call, const char *named)
{
    if (http_request_tag(call->request) != LISTENER_LOCAL)
        return problem_set(&call->problem, 403, "tenant-refused", TENANT_FIELD,
                           "here the token or certificate says the tenant; the hub's local socket "
                           "alone takes this field");
    call->tenant = named;
    return ERR_NONE;
}

/* Devices are not asked: what is left to them of a tenant that is gone, the rules say. */
static bool must_be_known(const struct api_call *call)
{
    switch (call->caller) {
    case CALLER_LOCAL:
    case CALLER_TOKEN_LEDGER: /* tokens of whatever scope */
        return true;
    default:
        return false;
    }
}

enum err tenant_choose(struct api_call *call)
{
    const char *named = http_request_header(call->request, TENANT_FIELD);
    enum err err = named == NULL ? ERR_NONE : take_field(call, named);
    if (err != ERR_NONE)
        return err;
    if (must_be_known(call) && !is_known(call, call->tenant))
        return problem_set(
            &call->problem, call->caller == CALLER_LOCAL ? 404 : 403, "tenant-unknown", "",
            "the policy in force has no tenant '%.64s'; policy.yaml names tenants", call->tenant);
    if (call->route->fleet_wide && strcmp(call->tenant, HUB_TENANT) != 0)
        return problem_set(&call->problem, 403, "fleet-wide", "",
                           "this is of the whole fleet: the tenant '" HUB_TENANT
                           "' alone may do or see it, and not '%.64s'",
                           call->tenant);
    return ERR_NONE;
}
