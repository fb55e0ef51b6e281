#include "device/lib/outbox.h"

enum fate { WAITING, SENT, DONE };

/* Lies before topic and payload, at any address: so it is copied in and out. */
struct record {
    uint32_t payload_len, ticket;
    uint16_t topic_len;
    uint16_t id;
    uint8_t fate, quality, retain;
};

struct outbox outbox_over(uint8_t *bytes, size_t max)
{
    return (struct outbox){.bytes = bytes, .max = max};
}

static struct record record_at(const struct outbox *o, size_t place)
{
    struct record r;
    memcpy(&r, o->bytes + place, sizeof r);
    return r;
}

static void write_record(struct outbox *o, size_t place, const struct record *r)
{
    memcpy(o->bytes + place, r, sizeof *r);
}

static size_t size_of(const struct record *r)
{
    return sizeof *r + r->topic_len + r->payload_len;
}

static struct message message_at(const struct outbox *o, size_t place)
{
    struct record r = record_at(o, place);
    const uint8_t *topic = o->bytes + place + sizeof r;
    return (struct message){
        .topic = slice_of(topic, r.topic_len),
        .payload = slice_of(topic + r.topic_len, r.payload_len),
        .quality = r.quality,
        .retain = r.retain != 0,
        .ticket = r.ticket,
    };
}

static void uncount(struct outbox *o, const struct record *r)
{
    o->waiting -= r->fate == WAITING;
    o->sent -= r->fate == SENT;
}

/* The oldest ones that are done make room. */
static void shed(struct outbox *o)
{
    while (o->start < o->end) {
        struct record r = record_at(o, o->start);
        if (r.fate != DONE)
            return;
        o->start += size_of(&r);
    }
    o->start = o->end = 0;
}

static uint32_t drop_oldest(struct outbox *o)
{
    struct record r = record_at(o, o->start);
    uncount(o, &r);
    o->start += size_of(&r);
    shed(o);
    return r.fate == DONE ? 0 : 1;
}

enum err outbox_put(struct outbox *o, const struct message *m, uint32_t *ret_dropped)
{
    struct record r = {.payload_len = (uint32_t)m->payload.len,
                       .topic_len = (uint16_t)m->topic.len,
                       .fate = WAITING,
                       .quality = m->quality,
                       .retain = m->retain,
                       .ticket = m->ticket};
    if (m->topic.len > PUBLISHER_TOPIC_MAX || m->payload.len > PUBLISHER_PAYLOAD_MAX ||
        size_of(&r) > o->max)
        return ERR_LIMIT;
    uint32_t dropped = 0;
    while (o->max - (o->end - o->start) < size_of(&r))
        dropped += drop_oldest(o);
    if (o->max - o->end < size_of(&r)) {
        memmove(o->bytes, o->bytes + o->start, o->end - o->start);
        o->end -= o->start;
        o->start = 0;
    }
    uint8_t *to = o->bytes + o->end + sizeof r;
    write_record(o, o->end, &r);
    if (m->topic.len > 0)
        memcpy(to, m->topic.data, m->topic.len);
    if (m->payload.len > 0)
        memcpy(to + m->topic.len, m->payload.data, m->payload.len);
    o->end += size_of(&r);
    o->waiting++;
    *ret_dropped = dropped;
    return ERR_NONE;
}

/* The first of that fate (and id, where it was sent). */
static bool find(const struct outbox *o, enum fate fate, uint16_t id, struct message *ret_message,
                 size_t *ret_place)
{
    for (size_t at = o->start; at < o->end;) {
        struct record r = record_at(o, at);
        if (r.fate == fate && r.id == id) {
            *ret_message = message_at(o, at);
            *ret_place = at;
            return true;
        }
        at += size_of(&r);
    }
    return false;
}

bool outbox_next(const struct outbox *o, struct message *ret_message, size_t *ret_place)
{
    return o->waiting > 0 && find(o, WAITING, 0, ret_message, ret_place);
}

bool outbox_find(const struct outbox *o, uint16_t id, struct message *ret_message,
                 size_t *ret_place)
{
    return o->sent > 0 && find(o, SENT, id, ret_message, ret_place);
}

void outbox_sent(struct outbox *o, size_t place, uint16_t id)
{
    struct record r = record_at(o, place);
    uncount(o, &r);
    r.fate = SENT;
    r.id = id;
    o->sent++;
    write_record(o, place, &r);
}

void outbox_done(struct outbox *o, size_t place)
{
    struct record r = record_at(o, place);
    uncount(o, &r);
    r.fate = DONE;
    write_record(o, place, &r);
    shed(o);
}

void outbox_rewind(struct outbox *o)
{
    for (size_t at = o->start; at < o->end;) {
        struct record r = record_at(o, at);
        if (r.fate == SENT) {
            uncount(o, &r);
            r.fate = WAITING;
            r.id = 0;
            o->waiting++;
            write_record(o, at, &r);
        }
        at += size_of(&r);
    }
}
