#include "device/agent/handover.h"

#include "core/topic.h"

static enum err refuse(enum err err, const char *why, const char **ret_why)
{
    *ret_why = why;
    return err;
}

enum err handover_expand(struct slice topic, struct slice device,
                         uint8_t buffer[PUBLISHER_TOPIC_MAX], struct slice *ret_topic,
                         const char **ret_why)
{
    static const char variable[] = "{device}";
    struct writer w = writer_over(buffer, PUBLISHER_TOPIC_MAX);
    for (struct slice rest = topic; rest.len > 0;) {
        size_t n = 1;
        if (slice_starts_with(rest, SLICE_LITERAL(variable))) {
            writer_put(&w, device);
            n = sizeof variable - 1;
        } else if (rest.data[0] == '{') {
            return refuse(ERR_SYNTAX, "in braces a topic has {device} and nothing else", ret_why);
        } else {
            writer_u8(&w, rest.data[0]);
        }
        rest = slice_of(rest.data + n, rest.len - n);
    }
    if (w.err != ERR_NONE)
        return refuse(ERR_LIMIT, "a topic has at most 512 bytes", ret_why);
    if (topic_name_check(writer_bytes(&w)) != ERR_NONE)
        return refuse(ERR_SYNTAX,
                      "a topic is UTF-8, not empty, without \"+\" and \"#\", in at most 200 levels",
                      ret_why);
    *ret_topic = writer_bytes(&w);
    return ERR_NONE;
}

enum err handover_read(struct slice datagram, struct slice device,
                       uint8_t topic[PUBLISHER_TOPIC_MAX], struct handover *ret_handover,
                       const char **ret_why)
{
    struct handover h = {.kind = HANDOVER_MESSAGE};
    if (slice_equal(datagram, SLICE_LITERAL("status\n")) ||
        slice_equal(datagram, SLICE_LITERAL("status json\n"))) {
        h.kind = datagram.len > 7 ? HANDOVER_STATUS_JSON : HANDOVER_STATUS;
        *ret_handover = h;
        return ERR_NONE;
    }
    struct reader r = reader_over(datagram);
    uint8_t quality = reader_u8(&r);
    if (reader_peek(&r) == 'r') {
        (void)reader_u8(&r);
        h.message.retain = true;
    }
    if (reader_peek(&r) == 'w') {
        (void)reader_u8(&r);
        h.waits = true;
    }
    reader_expect(&r, SLICE_LITERAL(" "));
    struct slice written = reader_until(&r, '\n');
    if (r.err != ERR_NONE || (quality != '0' && quality != '1'))
        return refuse(
            ERR_SYNTAX,
            "a message is \"0\" or \"1\", perhaps \"r\" and \"w\", a space, its topic, a line feed "
            "and its payload",
            ret_why);
    h.message.quality = quality == '1';
    h.message.payload = reader_rest(&r);
    if (h.message.payload.len > PUBLISHER_PAYLOAD_MAX)
        return refuse(ERR_LIMIT, "a payload has at most 16384 bytes", ret_why);
    enum err err = handover_expand(written, device, topic, &h.message.topic, ret_why);
    if (err == ERR_NONE)
        *ret_handover = h;
    return err;
}

void handover_write(struct writer *w, const struct message *m, bool waits)
{
    writer_u8(w, m->quality > 0 ? '1' : '0');
    if (m->retain)
        writer_u8(w, 'r');
    if (waits)
        writer_u8(w, 'w');
    writer_u8(w, ' ');
    writer_put(w, m->topic);
    writer_u8(w, '\n');
    writer_put(w, m->payload);
}
