/* The few packets of MQTT 5.0 that a client is made of which publishes and never subscribes: an
 * agent on a device, and the plugin's own connection to its broker. What is read is foreign bytes.
 * Sections are of the OASIS standard. */
#ifndef CORE_MQTT_H
#define CORE_MQTT_H

#include "core/cursor.h"

enum mqtt_type { /* section 2.1.2 */
                 MQTT_CONNACK = 2,
                 MQTT_PUBLISH = 3,
                 MQTT_PUBACK = 4,
                 MQTT_PINGRESP = 13,
                 MQTT_DISCONNECT = 14,
};

enum mqtt_reason { /* section 2.4; from MQTT_FAILED on it is a failure */
                   MQTT_FAILED = 0x80,
                   MQTT_BAD_CLIENT_ID = 0x85,
                   MQTT_BAD_USER_NAME = 0x86,
                   MQTT_NOT_AUTHORIZED = 0x87,
                   MQTT_BANNED = 0x8a,
                   MQTT_TAKEN_OVER = 0x8e,
                   MQTT_TOO_LARGE = 0x95,
                   MQTT_ADMINISTRATIVE = 0x98,
                   MQTT_NO_RETAIN = 0x9a,
};

struct mqtt_packet {
    uint8_t type, flags;
    struct slice body; /* variable header and payload */
};
/* The first packet of `bytes`; *ret_used is 0 where it is not whole yet. ERR_SYNTAX
 * (section 1.5.5's length); ERR_LIMIT where its body is longer than `body_max`. */
MUST_USE enum err mqtt_packet_read(struct slice bytes, size_t body_max,
                                   struct mqtt_packet *ret_packet, size_t *ret_used);

struct mqtt_connack { /* section 3.2; where the broker is silent, what the standard says holds */
    bool session_present;
    uint8_t reason;
    uint8_t quality_max;
    bool retain_refused;
    uint16_t receive_max; /* messages of quality 1 that may be unanswered */
    uint32_t packet_max;
    bool has_keep_alive;
    uint16_t keep_alive; /* seconds, instead of ours; 0: none */
};
MUST_USE enum err mqtt_connack_read(const struct mqtt_packet *packet,
                                    struct mqtt_connack *ret_connack);
struct mqtt_puback { /* section 3.4 */
    uint16_t id;
    uint8_t reason;
};
MUST_USE enum err mqtt_puback_read(const struct mqtt_packet *packet,
                                   struct mqtt_puback *ret_puback);
/* Section 3.14. */
MUST_USE enum err mqtt_disconnect_read(const struct mqtt_packet *packet, uint8_t *ret_reason);

struct mqtt_connect { /* section 3.1; a session expiry of 0: the session ends with the connection */
    struct slice client_id, username, password; /* both of the latter, or neither */
    bool clean_start;
    uint16_t keep_alive; /* seconds */
    uint32_t packet_max; /* what we let the broker send us: its whole packets, in bytes */
};
void mqtt_write_connect(struct writer *w, const struct mqtt_connect *connect);
/* With `id` 0 it is of quality 0, else of quality 1 and answered by a PUBACK. Section 3.3. */
void mqtt_write_publish(struct writer *w, struct slice topic, uint16_t id, bool retain,
                        struct slice payload);
void mqtt_write_ping(struct writer *w);
void mqtt_write_disconnect(struct writer *w);

#endif
