/* The agent's side of telemetry: publisher.h over a stream to the broker, fed by the programs that
 * hand messages in and by what the agent says of itself. It is served while the agent waits, for
 * its next check-in or for the hub's answer, and never waits itself: so neither holds the other up.
 */
#ifndef DEVICE_AGENT_TELEMETRY_H
#define DEVICE_AGENT_TELEMETRY_H

#include "device/agent/handover.h"
#include "device/agent/inlet.h"
#include "device/agent/settings.h"
#include "device/lib/publisher.h"
#include "device/port/posix/stream.h"

/* Messages that wait for the broker: some 1500 of a hundred bytes. Touched only where they do. */
#define TELEMETRY_ROOM (192 * 1024)

/* Programs that wait for the broker's answer; who comes after these takes the oldest one's place.
 */
#define TELEMETRY_WAITERS_MAX 16

struct telemetry {
    const struct agent_config *config;
    struct posix_port *port;
    int64_t (*time)(void *ctx); /* the device's, seconds since 1970 */
    void *time_ctx;
    char host[DEVICE_HOST_MAX + 1];
    uint16_t port_number;

    struct posix_aside aside;
    struct publisher_options options;
    struct publisher publisher;
    struct stream stream;
    struct inlet inlet;
    int64_t at_ms;     /* when it wants to be served, at the latest */
    int64_t vitals_ms; /* when it speaks of itself next; INT64_MAX: never */
    uint64_t malformed, malformed_told;
    int64_t malformed_ms;
    uint32_t ticket;
    struct {
        uint32_t ticket;
        struct inlet_sender who;
    } waiters[TELEMETRY_WAITERS_MAX];
    uint8_t datagram[HANDOVER_MAX + 1];
    uint8_t room[TELEMETRY_ROOM];
};

/* Where the configuration names no broker it stays shut, and every call does nothing. From here on
 * the port serves it while it waits. Explained: *ret_why. */
MUST_USE enum err telemetry_open(struct telemetry *t, const struct agent_config *config,
                                 struct posix_port *port, int64_t (*time)(void *ctx),
                                 void *time_ctx, const char **ret_why);
bool telemetry_is_open(const struct telemetry *t);
/* The identity from now on, and whom it believes. */
MUST_USE enum err telemetry_identify(struct telemetry *t, enum port_key key, struct slice chain,
                                     const struct slice *roots, size_t roots_len);
/* Whether another certificate is on its way. */
void telemetry_expect_change(struct telemetry *t, bool expected);
/* The hub has let the device in: so may the broker. */
void telemetry_let_in(struct telemetry *t);
/* Parts from the broker: waits for some seconds at most, and less once `wake_fd` is readable. */
void telemetry_close(struct telemetry *t);

/* How it is, as lines for people or as a JSON object. */
void telemetry_write_status(const struct telemetry *t, bool json, struct writer *w);

#endif
