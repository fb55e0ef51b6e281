/* What programs on the device hand to the agent, one datagram each:
 *
 *   QUALITY ["r"] ["w"] SP TOPIC LF PAYLOAD     QUALITY is "0" or "1"; "r": to be retained;
 *                                               "w": a second answer once it is known what became
 *                                               of it
 *   "status" LF, "status json" LF               how telemetry is
 *
 * "{device}" in a topic stands for the device's own id. What has an address in the abstract
 * namespace (unix(7); an unnamed socket gets one by autobind) is answered: "+" and text, or "-" and
 * what to do about it. */
#ifndef DEVICE_AGENT_HANDOVER_H
#define DEVICE_AGENT_HANDOVER_H

#include "core/cursor.h"
#include "device/lib/outbox.h"

#define HANDOVER_MAX (4 + PUBLISHER_TOPIC_MAX + 1 + PUBLISHER_PAYLOAD_MAX)

struct handover {
    enum { HANDOVER_MESSAGE, HANDOVER_STATUS, HANDOVER_STATUS_JSON } kind;
    bool waits;
    struct message message; /* its topic lies in the caller's buffer, its payload in the datagram */
};
/* *ret_why is a sentence for whoever sent it, on failure. */
MUST_USE enum err handover_read(struct slice datagram, struct slice device,
                                uint8_t topic[PUBLISHER_TOPIC_MAX], struct handover *ret_handover,
                                const char **ret_why);
/* The same way round; topics are not looked into. */
void handover_write(struct writer *w, const struct message *m, bool waits);
/* A topic as people write it, as it goes to the broker. ERR_SYNTAX (another word in braces, or no
 * topic's form), ERR_LIMIT; *ret_why as above. */
MUST_USE enum err handover_expand(struct slice topic, struct slice device,
                                  uint8_t buffer[PUBLISHER_TOPIC_MAX], struct slice *ret_topic,
                                  const char **ret_why);

#endif
