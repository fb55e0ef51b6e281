#include "core/mqtt.h"

#define LENGTH_BYTES_MAX 4 /* section 1.5.5 */

/* A variable byte integer; *ret_whole false where more bytes are to come. */
static uint32_t read_length(struct reader *r, bool *ret_whole)
{
    uint32_t value = 0;
    *ret_whole = false;
    for (unsigned i = 0; i < LENGTH_BYTES_MAX && reader_left(r) > 0; i++) {
        uint8_t byte = reader_u8(r);
        value |= (uint32_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) != 0)
            continue;
        if (i > 0 && byte == 0)
            reader_fail(r, ERR_SYNTAX); /* more bytes than it takes */
        *ret_whole = true;
        return value;
    }
    return value;
}

enum err mqtt_packet_read(struct slice bytes, size_t body_max, struct mqtt_packet *ret_packet,
                          size_t *ret_used)
{
    struct reader r = reader_over(bytes);
    *ret_used = 0;
    if (bytes.len < 2)
        return ERR_NONE;
    uint8_t first = reader_u8(&r);
    bool whole = false;
    uint32_t len = read_length(&r, &whole);
    if (r.err != ERR_NONE || (!whole && bytes.len > LENGTH_BYTES_MAX))
        return ERR_SYNTAX;
    if (!whole)
        return ERR_NONE;
    if (len > body_max)
        return ERR_LIMIT;
    if (reader_left(&r) < len)
        return ERR_NONE;
    ret_packet->type = first >> 4;
    ret_packet->flags = first & 0x0f;
    ret_packet->body = reader_take(&r, len);
    *ret_used = bytes.len - reader_left(&r);
    return ERR_NONE;
}

/* The properties of a packet: a length, and as many bytes. */
static struct reader take_properties(struct reader *r)
{
    bool whole = false;
    uint32_t len = read_length(r, &whole);
    if (!whole)
        reader_fail(r, ERR_SYNTAX);
    return reader_over(reader_take(r, len));
}

static void skip_text(struct reader *r)
{
    (void)reader_take(r, reader_be16(r));
}

/* Section 3.2.2.3. One that comes twice is an error (but for user properties), as one is that does
 * not belong here. */
static void read_connack_properties(struct reader *r, struct mqtt_connack *c)
{
    uint64_t seen = 0;
    while (reader_left(r) > 0) {
        uint8_t id = reader_u8(r);
        if (id >= 64 || (id != 0x26 && (seen & UINT64_C(1) << id) != 0)) {
            reader_fail(r, ERR_SYNTAX);
            return;
        }
        seen |= UINT64_C(1) << id;
        switch (id) {
        case 0x11: /* session expiry */
            (void)reader_be32(r);
            break;
        case 0x13:
            c->keep_alive = reader_be16(r);
            c->has_keep_alive = true;
            break;
        case 0x21:
            c->receive_max = reader_be16(r);
            if (c->receive_max == 0)
                reader_fail(r, ERR_SYNTAX);
            break;
        case 0x22: /* topic aliases */
            (void)reader_be16(r);
            break;
        case 0x24:
            c->quality_max = reader_u8(r);
            if (c->quality_max > 1)
                reader_fail(r, ERR_SYNTAX);
            break;
        case 0x25:
            c->retain_refused = reader_u8(r) == 0;
            break;
        case 0x26: /* user property: name and value */
            skip_text(r);
            skip_text(r);
            break;
        case 0x27:
            c->packet_max = reader_be32(r);
            if (c->packet_max == 0)
                reader_fail(r, ERR_SYNTAX);
            break;
        case 0x12: /* the client id we were given, */
        case 0x15: /* authentication method */
        case 0x16: /* and data, */
        case 0x1a: /* response information, */
        case 0x1c: /* another server, */
        case 0x1f: /* a reason in words */
            skip_text(r);
            break;
        case 0x28: /* whether subscriptions may have wildcards, */
        case 0x29: /* numbers, */
        case 0x2a: /* and be shared */
            (void)reader_u8(r);
            break;
        default:
            reader_fail(r, ERR_SYNTAX);
            return;
        }
    }
}

enum err mqtt_connack_read(const struct mqtt_packet *packet, struct mqtt_connack *ret_connack)
{
    struct reader r = reader_over(packet->body);
    uint8_t flags = reader_u8(&r);
    struct mqtt_connack connack = {.session_present = (flags & 1) != 0,
                                   .reason = reader_u8(&r),
                                   .quality_max = 2,
                                   .receive_max = UINT16_MAX,
                                   .packet_max = UINT32_MAX};
    /* A broker that does not take version 5 says so in a CONNACK of version 3, without properties.
     */
    if (reader_left(&r) > 0) {
        struct reader properties = take_properties(&r);
        read_connack_properties(&properties, &connack);
        if (properties.err != ERR_NONE)
            reader_fail(&r, properties.err);
    }
    if (packet->type != MQTT_CONNACK || packet->flags != 0 || flags > 1)
        return ERR_SYNTAX;
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_connack = connack;
    return err;
}

enum err mqtt_puback_read(const struct mqtt_packet *packet, struct mqtt_puback *ret_puback)
{
    struct reader r = reader_over(packet->body);
    struct mqtt_puback puback = {.id = reader_be16(&r)};
    if (reader_left(&r) > 0)
        puback.reason = reader_u8(&r);
    if (reader_left(&r) > 0)
        (void)take_properties(&r);
    if (packet->type != MQTT_PUBACK || packet->flags != 0)
        return ERR_SYNTAX;
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_puback = puback;
    return err;
}

enum err mqtt_disconnect_read(const struct mqtt_packet *packet, uint8_t *ret_reason)
{
    struct reader r = reader_over(packet->body);
    uint8_t reason = 0; /* where it is left out: section 3.14.2.1 */
    if (reader_left(&r) > 0)
        reason = reader_u8(&r);
    if (reader_left(&r) > 0)
        (void)take_properties(&r);
    if (packet->type != MQTT_DISCONNECT || packet->flags != 0)
        return ERR_SYNTAX;
    enum err err = reader_finish(&r);
    if (err == ERR_NONE)
        *ret_reason = reason;
    return err;
}

static void write_length(struct writer *w, size_t len)
{
    do {
        uint8_t byte = len & 0x7f;
        len >>= 7;
        writer_u8(w, len > 0 ? byte | 0x80 : byte);
    } while (len > 0);
}

static void write_text(struct writer *w, struct slice text)
{
    if (text.len > UINT16_MAX)
        writer_fail(w, ERR_LIMIT);
    writer_be16(w, (uint16_t)text.len);
    writer_put(w, text);
}

void mqtt_write_connect(struct writer *w, const struct mqtt_connect *connect)
{
    /* section 3.1.2.11: receive maximum (0x21) 1, maximum packet size (0x27) */
    enum { PROPERTIES = 3 + 5 };
    bool named = connect->username.len > 0;
    size_t len = 6 + 1 + 1 + 2 + 1 + PROPERTIES + 2 + connect->client_id.len;
    if (named)
        len += 2 + connect->username.len + 2 + connect->password.len;
    writer_u8(w, 1 << 4);
    write_length(w, len);
    write_text(w, SLICE_LITERAL("MQTT"));
    writer_u8(w, 5);
    /* username and password, clean start: section 3.1.2.3 */
    writer_u8(w, (uint8_t)((named ? 0xc0 : 0) | (connect->clean_start ? 2 : 0)));
    writer_be16(w, connect->keep_alive);
    write_length(w, PROPERTIES);
    writer_u8(w, 0x21);
    writer_be16(w, 1);
    writer_u8(w, 0x27);
    writer_be32(w, connect->packet_max);
    write_text(w, connect->client_id);
    if (!named)
        return;
    write_text(w, connect->username);
    write_text(w, connect->password);
}

void mqtt_write_publish(struct writer *w, struct slice topic, uint16_t id, bool retain,
                        struct slice payload)
{
    size_t len = 2 + topic.len + (id == 0 ? 0 : 2) + 1 + payload.len;
    writer_u8(w, (uint8_t)(MQTT_PUBLISH << 4 | (id == 0 ? 0 : 2) | (retain ? 1 : 0)));
    write_length(w, len);
    write_text(w, topic);
    if (id != 0)
        writer_be16(w, id);
    writer_u8(w, 0); /* no properties */
    writer_put(w, payload);
}

void mqtt_write_ping(struct writer *w)
{
    writer_be16(w, 12 << 12);
}

void mqtt_write_disconnect(struct writer *w)
{
    writer_be16(w, MQTT_DISCONNECT << 12); /* reason 0: section 3.14.2.1 */
}
