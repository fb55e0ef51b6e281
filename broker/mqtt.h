/* The few packets of MQTT 5.0 that the plugin's own connection to its broker is made of: written,
 * and read as foreign bytes. Sections are of the OASIS standard. */
#ifndef BROKER_MQTT_H
#define BROKER_MQTT_H

#include "core/cursor.h"

#define MQTT_PACKET_MAX 65536 /* of what we let the broker send us; said in CONNECT */

enum mqtt_type { /* section 2.1.2 */
                 MQTT_CONNACK = 2,
                 MQTT_PUBLISH = 3,
                 MQTT_PUBACK = 4,
                 MQTT_PINGRESP = 13,
                 MQTT_DISCONNECT = 14,
};

struct mqtt_packet {
    uint8_t type, flags;
    struct slice body; /* variable header and payload */
};
/* The first packet of `bytes`; *ret_used is 0 where it is not whole yet. ERR_SYNTAX
 * (section 1.5.5's length), ERR_LIMIT. */
MUST_USE enum err mqtt_packet_read(struct slice bytes, struct mqtt_packet *ret_packet,
                                   size_t *ret_used);

struct mqtt_connack { /* section 3.2 */
    bool session_present;
    uint8_t reason;
};
MUST_USE enum err mqtt_connack_read(const struct mqtt_packet *packet,
                                    struct mqtt_connack *ret_connack);
struct mqtt_puback { /* section 3.4 */
    uint16_t id;
    uint8_t reason;
};
MUST_USE enum err mqtt_puback_read(const struct mqtt_packet *packet,
                                   struct mqtt_puback *ret_puback);

struct mqtt_connect { /* section 3.1; a session expiry of 0: the session ends with the connection */
    struct slice client_id, username, password;
    bool clean_start;
    uint16_t keep_alive; /* seconds */
};
void mqtt_write_connect(struct writer *w, const struct mqtt_connect *connect);
/* With `id` 0 it is of quality 0, else of quality 1 and answered by a PUBACK. Section 3.3. */
void mqtt_write_publish(struct writer *w, struct slice topic, uint16_t id, bool retain,
                        struct slice payload);
void mqtt_write_ping(struct writer *w);
void mqtt_write_disconnect(struct writer *w);

#endif
