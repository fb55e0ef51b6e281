/* Every limit of the broker's plugin with its reason, and the rates a device is held to. */
#ifndef BROKER_LIMITS_H
#define BROKER_LIMITS_H

#include "core/rules.h"

#define BROKER_DEVICES_MAX  (1U << 21) /* of the table: twice the million it is made for */
#define BROKER_SESSIONS_MAX (1U << 17) /* at a time: more than one loop of a broker serves */
/* A device's id, a colon, and as much again for what the application puts behind it. */
#define BROKER_CLIENT_ID_MAX (2U * RULES_NAME_MAX + 1)
#define BROKER_CLIENT_IDS_MAX                                                                      \
    8 /* of one device that are remembered: older ones are cleaned first */
#define BROKER_TOPIC_MAX    512        /* bytes of a topic that is remembered as retained */
#define BROKER_RETAINED_MAX 64         /* topics of one device */
#define BROKER_TRACES_MAX   (1U << 19) /* of all: some 64 MiB */
#define BROKER_CUTS_MAX     4096       /* at a time; the others wait in the table */
#define BROKER_CONNECTS_MAX 16384      /* first connects not reported yet */
#define BROKER_REFUSALS_MAX                                                                        \
    4096 /* kinds and sources told apart; what is beyond counts as "other" */
#define BROKER_REPORT_MAX              256 /* of each in one report, as the hub takes them */
#define BROKER_FILTERS_MAX             256 /* subscriptions of a session that are told apart */
#define BROKER_FLOOD                   10 /* times its limit within a minute, and the session is ended */
#define BROKER_PASSWORD_ITERATIONS_MAX 20000U /* some 10 ms of the broker's one loop */
#define BROKER_PASSWORD_MAX            128    /* bytes; longer ones were not made here */
#define BROKER_PASSWORDS_PER_SECOND    10     /* tried in all: a tenth of the loop's time at most */
#define BROKER_PASSWORDS_PER_MINUTE    6      /* tried for one device, or from one address */

/* Rates by the generic cell rate algorithm, as in base/rate.h, but weighted, and where the device's
 * other figures are: so there is nothing to look up for each message. */
struct limits_usage {
    int64_t messages_us, bytes_us, connects_us, passwords_us; /* theoretical arrival times */
    int64_t minute;                                           /* that `asked` counts in */
    uint32_t asked; /* messages in this minute, refused ones too */
    uint64_t asked_bytes;
    uint8_t password_known[SHA256_SIZE]; /* a seal of the password that was right last */
};

/* `n` events at once under `per_minute`, a burst of which is fine; 0: no limit. Counts where it is
 * allowed. */
bool limits_take(int64_t *arrival_us, uint32_t per_minute, uint32_t n, int64_t now_us);

enum limits_verdict { LIMITS_FINE, LIMITS_RATE, LIMITS_FLOOD };
/* A message of `bytes` that a device would publish. */
enum limits_verdict limits_message(struct limits_usage *usage, const struct rules_limits *limits,
                                   uint32_t bytes, int64_t now_us);
bool limits_connect(struct limits_usage *usage, const struct rules_limits *limits, int64_t now_us);

#endif
