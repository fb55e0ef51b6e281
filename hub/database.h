/* The database as the hub lives with it: waited for at the start, and its going and coming told to
 * the log and to systemd, once each. */
#ifndef HUB_DATABASE_H
#define HUB_DATABASE_H

#include "hub/hub.h"

/* Opens hub->store. Waits for a server that is not there or not ready yet, for as long as it takes;
 * a server that answers, and does not take us, is an error at once. ERR_CLOSED where `signals_fd`
 * (a signalfd) or the signer's end came first. */
MUST_USE enum err database_open(struct hub *hub, int signals_fd, char explain[256]);
/* Now and then, on one thread. */
void database_turn(const struct hub *hub);

#endif
