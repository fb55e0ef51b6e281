/* What the signer does when it is asked: each request is checked as if the hub had been taken over.
 */
#ifndef HUB_SIGNER_HANDLERS_H
#define HUB_SIGNER_HANDLERS_H

#include "hub/signer/keys.h"

#define SIGNER_DEVICE_LIFETIME_MAX                                                                 \
    (3LL * 366 * 86400)                            /* seconds: longer ones outlive their reasons */
#define SIGNER_SERVER_LIFETIME_MAX (398LL * 86400) /* what TLS clients take */
#define SIGNER_BACKDATING_MAX      86400LL         /* for devices whose clocks are behind */
#define SIGNER_FUTURE_MAX          300LL           /* for a clock set back since the hub read it */

/* Answers one message; the reply has room for SIGNER_REPLY_MAX bytes. Whatever comes in, one
 * well-formed reply goes out. */
void signer_handle(struct signer_keys *k, struct slice message, struct writer *reply);

/* May it stand in a device's URI? 1..64 of [A-Za-z0-9._-], not "." or "..". */
bool signer_is_name(const char *name);

#endif
