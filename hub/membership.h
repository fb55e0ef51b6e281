/* This hub among the hubs over its database (hub/identity): may it serve, and whose certificates
 * does it take? Each hub certifies with its own issuing CA, and all take what any of them did. */
#ifndef HUB_MEMBERSHIP_H
#define HUB_MEMBERSHIP_H

#include "hub/hub.h"

/* Before anything listens, with the store open: ERR_REFUSED, with what to do, unless this hub's
 * keys are those of a hub that joined and has not left. In a database without any hub it is the
 * first. */
MUST_USE enum err membership_check(struct hub *hub, char explain[256]);
/* The device listener takes certificates that chain to the fleet's root over the issuing CA of any
 * hub that joined, also of one that has left: what it certified is in use, and each certificate is
 * looked up besides. Called before the listeners open and, on loop 0, when a hub joins or leaves.
 */
MUST_USE enum err membership_trust(struct hub *hub, struct store_reader *reader, char explain[256]);
/* Once the writer runs, before the loops do: writes that this is the first hub, or that its issuing
 * certificate is a new one. */
MUST_USE enum err membership_start(struct hub *hub, char explain[256]);

/* Whether there are or were other hubs over the database, as of the last look. Any thread. */
bool membership_is_shared(void);
/* The number and the name that it has in the database. */
int64_t membership_id(void);
const char *membership_name(void);
/* Whether it has been removed: it answers nobody any more, and ends. */
bool membership_ended(void);

/* What an EST client is to know (RFC 7030 section 4.1.3): issuing certificates and what is between
 * them and the root, this hub's first. From any thread. */
MUST_USE enum err membership_certificates(struct arena *arena, struct slice *ret_ders, size_t max,
                                          size_t *ret_n);

#endif
