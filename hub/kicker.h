/* Cuts at another broker: where the configuration names EMQX's management API, the sessions of
 * devices that were cut off are ended there, and that is the leg "emqx/HOST" of the cut. On a
 * thread of its own, for it waits for answers. What is open is looked up in the cuts themselves,
 * whenever the ledger has grown, and again until it is done: so a hub that was killed in between
 * goes on. */
#ifndef HUB_KICKER_H
#define HUB_KICKER_H

#include "hub/hub.h"

/* Before the hub shuts itself off: reads the key. Does nothing where none is configured. */
MUST_USE enum err kicker_open(struct hub *hub, char explain[256]);
/* Once the store runs: says which legs this hub looks after, and starts. */
MUST_USE enum err kicker_start(struct hub *hub);
/* Before the store is drained. */
void kicker_stop(void);

#endif
