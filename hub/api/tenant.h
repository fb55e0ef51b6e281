/* In which tenant does a call act, and may it there? */
#ifndef HUB_API_TENANT_H
#define HUB_API_TENANT_H

#include "hub/api/call.h"

/* The field by which people on the hub's machine say so; nobody else may. */
#define TENANT_FIELD "Holdfast-Tenant"

/* After caller_identify(). ERR_REFUSED with the problem: tenant-refused, tenant-unknown,
 * fleet-wide. */
MUST_USE enum err tenant_choose(struct api_call *call);

#endif
