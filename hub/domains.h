/* The domains of one hub, put together over its store and ledger. */
#ifndef HUB_DOMAINS_H
#define HUB_DOMAINS_H

#include "hub/hub.h"

/* How many shards of the list of revoked certificates there are; 0 where no certificate can name
 * one, and there is only the list of all. */
unsigned domains_crl_shards(const struct hub *hub);
/* hub->subjects, identity, tokens, refusals, rates and ocsp. `forget_subjects`: see
 * subjects_open(). */
MUST_USE enum err domains_open(struct hub *hub, bool forget_subjects, char explain[256]);
/* hub->crls, which has a thread of its own: freed while the store still runs. */
MUST_USE enum err domains_open_crls(struct hub *hub, char explain[256]);
/* Findings that wait for the end of their window go to the writer. */
void domains_flush(struct hub *hub);
/* After the loops' end; all but the lists. */
void domains_close(struct hub *hub);

#endif
