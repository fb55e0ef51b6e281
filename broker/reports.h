/* What the hub is told: first connects, and refusals counted by kind and source. Both bounded: a
 * connect that finds no room is told at the next one, a refusal counts for "other". Under the
 * broker's lock. */
#ifndef BROKER_REPORTS_H
#define BROKER_REPORTS_H

#include "broker/limits.h"

enum refusal {
    REFUSAL_TOPIC,
    REFUSAL_PAYLOAD,
    REFUSAL_RATE,
    REFUSAL_CONNECTS,
    REFUSAL_SUBSCRIPTIONS,
    REFUSAL_CLIENT_ID,
    REFUSAL_UNKNOWN_CERTIFICATE,
    REFUSAL_STATE,
    REFUSAL_FORM,
    REFUSAL_PASSWORD,
    REFUSAL_KINDS
};
const char *refusal_text(enum refusal kind);

#define REPORTS_SOURCE_MAX RULES_NAME_MAX /* a device's name, or an address */

struct report_connect {
    uint32_t device;
    int64_t at; /* seconds since 1970 */
    bool by_password;
    uint8_t certificate[SHA256_SIZE]; /* or the salt of its password, and zeros */
};
struct report_refusal {
    uint8_t kind, source_len;
    char source[REPORTS_SOURCE_MAX];
    uint64_t count;
};

struct reports {
    struct report_connect *connects;
    uint32_t connects_first, connects_len; /* a ring */
    struct report_refusal *refusals;
    uint32_t refusals_len;
    uint64_t other[REFUSAL_KINDS]; /* of sources that found no room */
    uint64_t total[REFUSAL_KINDS]; /* since the start */
};

MUST_USE enum err reports_init(struct reports *r);
void reports_destroy(struct reports *r);
/* False where there is no room now. */
bool reports_connect(struct reports *r, const struct report_connect *connect);
void reports_refusal(struct reports *r, enum refusal kind, struct slice source);
/* Takes out up to `max`; they come back by the calls above where they could not be told. */
uint32_t reports_take_connects(struct reports *r, struct report_connect *connects, uint32_t max);
uint32_t reports_take_refusals(struct reports *r, struct report_refusal *refusals, uint32_t max);
void reports_put_refusal(struct reports *r, const struct report_refusal *refusal);

#endif
