/* What a broker could answer to a device or its own plugin: any bytes. What is taken stays within
 * them. */
#include <stdlib.h>

#include "core/mqtt.h"

#define BODY_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    for (;;) {
        struct mqtt_packet packet = {0};
        size_t used = 0;
        if (mqtt_packet_read(rest, BODY_MAX, &packet, &used) != ERR_NONE || used == 0)
            return 0;
        if (used > rest.len || packet.body.len > used || packet.body.len > BODY_MAX)
            abort();
        struct mqtt_connack connack;
        struct mqtt_puback puback;
        if (mqtt_connack_read(&packet, &connack) == ERR_NONE &&
            (packet.type != MQTT_CONNACK || connack.receive_max == 0 || connack.packet_max == 0))
            abort();
        if (mqtt_puback_read(&packet, &puback) == ERR_NONE && packet.type != MQTT_PUBACK)
            abort();
        uint8_t reason;
        if (mqtt_disconnect_read(&packet, &reason) == ERR_NONE && packet.type != MQTT_DISCONNECT)
            abort();
        rest = slice_of(rest.data + used, rest.len - used);
    }
}
