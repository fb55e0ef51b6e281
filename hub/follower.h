/* Reads the ledger by its own cursor, and does on this hub what entries of the other hubs over the
 * database ask for: closes the live connections of a device that was cut off, destroys the key of
 * a person that was erased, serves a newer trust bundle, takes in a hub that joined. It runs on
 * loop 0 whenever another hub has committed.
 *
 * Requests need it not: each looks its certificate and device up. What it is for are connections
 * that are open and silent. */
#ifndef HUB_FOLLOWER_H
#define HUB_FOLLOWER_H

#include "hub/hub.h"

/* Before the store starts. It follows from the newest entry on: this hub has no connections yet. */
void follower_init(struct hub *hub);
/* From any thread: there is something to read. */
void follower_wake(void);
/* On loop 0, now and then: tries again what failed. */
void follower_turn(void);

/* How far this hub may be behind what the others commit is its lease (`lease` in the
 * configuration): past it, it can't tell who has been revoked, and serves no device. */
bool follower_is_behind(const struct hub *hub);
/* The ledger that it reads went back: the database was set back under it. The hub ends. */
bool follower_is_lost(void);

#endif
