#include "pki/fleet.h"

#include "core/trust_bundle.h"

bool ca_is_fleet_name(struct slice name)
{
    return name.len <= CA_FLEET_MAX && fleet_name_ok(name);
}
