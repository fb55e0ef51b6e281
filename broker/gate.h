/* Who is admitted, and what they may do: the decisions, without the broker's interface around them.
 * Each call takes the lock itself, and none waits. */
#ifndef BROKER_GATE_H
#define BROKER_GATE_H

#include "broker/broker.h"

struct gate_peer {
    const void *client; /* the broker's pointer: a key, not looked into */
    struct slice client_id, address;
    const uint8_t *certificate;      /* digest; NULL: it has shown none */
    const char *username, *password; /* or NULL */
    bool session_may_stay;           /* the broker may keep its session when it has gone */
};

enum gate_verdict {
    GATE_ADMIT,
    GATE_OWN, /* it is the plugin's own connection */
    GATE_REFUSE,
};
#define GATE_USERNAME_SIZE (2 * RULES_NAME_MAX + 2) /* "TENANT/DEVICE" and a NUL */
/* Counts the session, where it is admitted; then the broker is to be told gate_left(). */
enum gate_verdict gate_admit(struct broker *b, const struct gate_peer *peer,
                             char ret_username[GATE_USERNAME_SIZE]);
/* A client is gone; harmless for those that were not admitted. */
void gate_left(struct broker *b, const void *client);
bool gate_is_own(struct broker *b, const void *client);

enum gate_access { GATE_PUBLISH, GATE_RECEIVE, GATE_SUBSCRIBE, GATE_UNSUBSCRIBE };
struct gate_request {
    const void *client;
    const char *username; /* as it was set: of a session that is away */
    enum gate_access access;
    struct slice topic;
    uint32_t payload_len;
    bool retain;
    uint32_t subscriptions; /* that the broker says it has */
};
bool gate_allows(struct broker *b, const struct gate_request *request);

/* A client id whose session is to be ended now, its device, and the rules_cut mask to go by. */
struct gate_ending {
    char client_id[BROKER_CLIENT_ID_MAX + 1];
    const void *client;
    uint32_t device;
    uint8_t cut;
};
/* Looks again at whoever must be looked at again; then the next session that is to be ended. `cut`
 * is the one that is being carried out, or NULL. False where there is none. */
bool gate_next_ending(struct broker *b, const struct cut *cut, struct gate_ending *ret_ending);
/* Before the broker is told to end it, and after: *ret_ended where it said that it did. */
void gate_begin_ending(struct broker *b, const struct gate_ending *ending);
bool gate_end_ending(struct broker *b, const struct gate_ending *ending);
/* Marks the sessions that would not be admitted any more: as time passes, and the hub stays away.
 */
void gate_recheck(struct broker *b);

#endif
