/* The passwords of devices that can hold no certificate: at most two work, the one that was made
 * last, and the one before it until that was used or its time is over. */
#ifndef BROKER_PASSWORDS_H
#define BROKER_PASSWORDS_H

#include "broker/broker.h"

/* Which of the device's passwords this is, at that date (seconds since 1970). Under the lock, which
 * is given up meanwhile: trying one costs milliseconds, so how often is bounded for a device, for
 * an address and in all. What was right once costs a hash from then on. *ret_is_new: it is the one
 * that was made last. */
bool passwords_try(struct broker *b, uint32_t device, struct slice password, struct slice address,
                   int64_t date, struct device_password *ret_password, bool *ret_is_new);
/* Whether a session that came by the password with this stored key may stay. Under the lock. */
bool passwords_hold(const struct broker *b, uint32_t device, const uint8_t stored_key[SHA256_SIZE],
                    int64_t date);

#endif
