/* Who calls, and may he call this often? */
#ifndef HUB_API_CALLER_H
#define HUB_API_CALLER_H

#include "hub/api/call.h"

/* Fills in the call's caller as its route on this listener asks for. ERR_REFUSED with the problem.
 */
MUST_USE enum err caller_identify(struct api_call *call);
/* Counts the call against its route's rate class. ERR_REFUSED with 429 and Retry-After. */
MUST_USE enum err caller_within_rate(struct api_call *call);

/* Failed enrolments are counted apart, by address: counts one failure, or asks whether more are
 * allowed before any credential is looked at. */
void caller_count_failure(struct api_call *call);
MUST_USE enum err caller_may_try(struct api_call *call);

/* A device that shows its own key may enrol anew: as often as it may write, and no more. */
MUST_USE enum err caller_key_within_rate(struct api_call *call, const struct hash *spki);
/* Passwords that one broker has tried: each costs two milliseconds of a loop, so that this is a
 * fifth of one at most. */
#define HOOK_PASSWORDS_PER_MINUTE 6000
MUST_USE enum err caller_password_within_rate(struct api_call *call);
/* What fits no route counts like a public request of its address. */
MUST_USE enum err caller_lost_within_rate(struct api_call *call);

#endif
