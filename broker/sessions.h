/* The sessions that are connected now, each with the device that it was admitted as, and what a
 * device has used of its limits. Found by the broker's own pointer to a client, which is never
 * looked into here, and by device. Under the broker's lock; changed by the broker's thread alone.
 */
#ifndef BROKER_SESSIONS_H
#define BROKER_SESSIONS_H

#include "broker/limits.h"

struct sessions;

/* What was allowed last: most devices publish on one topic, and receive on few. It holds for as
 * long as nothing that decides has changed (broker.h's epoch). */
#define SESSION_GRANT_MAX 96 /* bytes of a topic; longer ones are decided each time */
struct session_grant {
    uint32_t epoch;
    uint16_t len;
    char topic[SESSION_GRANT_MAX];
};

/* What each message asks for stands first, in as few of a processor's cache lines as can be. */
struct session {
    const void *client;
    uint32_t device;
    uint32_t next_of_device; /* 1 + number; 0: the last */
    uint32_t chain;
    bool by_password;
    bool to_end; /* is to be ended as soon as the broker can */
    uint16_t filters_len;
    struct rules_limits limits; /* as they were when `published` was granted */
    struct session_grant published, received;
    uint64_t *filters;        /* hashes of what it has subscribed to */
    uint8_t key[SHA256_SIZE]; /* by_password: its stored key; else the certificate's digest */
    char client_id[BROKER_CLIENT_ID_MAX + 1];
};

MUST_USE enum err sessions_new(uint32_t devices_max, uint32_t max, struct sessions **ret_sessions);
void sessions_free(struct sessions *s); /* NULL is fine */

/* ERR_LIMIT: as many as there may be; ERR_NO_MEMORY. One of the same client is replaced. */
MUST_USE enum err sessions_add(struct sessions *s, const void *client, uint32_t device,
                               struct slice client_id, const uint8_t key[SHA256_SIZE],
                               bool by_password);
/* False where there is none. */
bool sessions_remove(struct sessions *s, const void *client);
/* NULL where there is none; valid until the next one is added. */
struct session *sessions_find(const struct sessions *s, const void *client);
uint32_t sessions_len(const struct sessions *s);
/* A device's, one after the other: start with *cursor 0. */
struct session *sessions_next_of(const struct sessions *s, uint32_t device, uint32_t *cursor);
/* All of them. */
struct session *sessions_next(const struct sessions *s, uint32_t *cursor);
bool sessions_has_client_id(const struct sessions *s, uint32_t device, struct slice client_id);

/* What the device has used; NULL where memory is out. It stays when its sessions end. */
struct limits_usage *sessions_usage(struct sessions *s, uint32_t device);

/* Whether a session may subscribe to one more filter; `now` is how many the broker says it has. */
bool sessions_may_subscribe(struct session *s, struct slice filter, uint32_t max, uint32_t now);
void sessions_unsubscribed(struct session *s, struct slice filter);

bool session_grant_holds(const struct session_grant *grant, uint32_t epoch, struct slice topic);
void session_grant_set(struct session_grant *grant, uint32_t epoch, struct slice topic);

#endif
