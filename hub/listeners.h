/* Where the hub can be reached: its TLS servers, whom each of them trusts, and its listeners. */
#ifndef HUB_LISTENERS_H
#define HUB_LISTENERS_H

#include "hub/hub.h"

/* The TLS servers of the device, bootstrap and operator listeners, with the hub's certificate. */
MUST_USE enum err listeners_make_tls(struct hub *hub, char explain[256]);
/* The HTTP server, listening everywhere. */
MUST_USE enum err listeners_open(struct hub *hub, char explain[256]);
/* The ports listened on, into the file that the configuration names, if any. */
MUST_USE enum err listeners_write_ports(const struct hub *hub);

#endif
