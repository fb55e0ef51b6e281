/* `holdfast-agent publish`: hands one message to the running agent, for people and scripts; and
 * asking it how telemetry is. */
#ifndef DEVICE_AGENT_PUBLISH_H
#define DEVICE_AGENT_PUBLISH_H

#include "core/cursor.h"

struct publish_request {
    const char *socket; /* path */
    const char *topic;
    const char *file; /* with the payload; NULL or "-": standard input */
    unsigned quality;
    bool retain;
    unsigned wait_s; /* for the broker's answer; 0: not */
};
/* 0; or 1, after a line to standard error that says why. */
int publish(const struct publish_request *request);

/* What the running agent says of telemetry. */
MUST_USE enum err publish_ask_status(const char *socket, bool json, uint8_t *buffer, size_t max,
                                     struct slice *ret_status);

#endif
