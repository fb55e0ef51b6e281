/* The hub's own TLS certificate: its key is made at each start and lives in memory alone; the
 * fleet's issuing CA certifies it, and again when two thirds of its life are over, or when the
 * clock was set to before it. */
#ifndef HUB_SERVER_CERTIFICATE_H
#define HUB_SERVER_CERTIFICATE_H

#include "hub/hub.h"

#define SERVER_CERTIFICATE_DAYS 90

/* At the start, before the loops run: makes the key, has it certified, and hands it to every TLS
 * listener (the operators' own certificate where one is configured). */
MUST_USE enum err server_certificate_start(struct hub *hub, char explain[256]);
/* On loop 0, every second or so: renews where it is time. */
void server_certificate_turn(struct hub *hub);
/* SIGHUP: reads the operators' own certificate again. What is wrong with it is logged, and the old
 * one stays. */
void server_certificate_reload(struct hub *hub);
void server_certificate_wipe(void);

#endif
