/* The name of a fleet, as it stands in every certificate: for those, too, who hold no keys. */
#ifndef PKI_FLEET_H
#define PKI_FLEET_H

#include "core/slice.h"

#define CA_FLEET_MAX 56 /* "FLEET issuing" is a common name, and those have 64 */

/* Lower-case DNS labels, at most CA_FLEET_MAX bytes together. */
bool ca_is_fleet_name(struct slice name);

#endif
