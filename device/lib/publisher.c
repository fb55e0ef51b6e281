#include "device/lib/publisher.h"

#include "core/topic.h"

#define PING_SIZE 2

static const char *const event_texts[PUBLISHER_EVENT_COUNT] = {
    [PUBLISHER_CONNECTED] = "mqtt.connected",
    [PUBLISHER_REFUSED] = "mqtt.refused",
    [PUBLISHER_CUT] = "mqtt.cut",
    [PUBLISHER_REPLACED] = "mqtt.replaced",
    [PUBLISHER_FAILED] = "mqtt.failed",
    [PUBLISHER_TALLY] = "mqtt.messages_lost",
};

const char *publisher_event_text(enum publisher_event_kind kind)
{
    return kind < PUBLISHER_EVENT_COUNT ? event_texts[kind] : "mqtt.unknown";
}

static void tell(const struct publisher *p, const struct publisher_event *event)
{
    if (p->options->event != NULL)
        p->options->event(p->options->event_ctx, event);
}

void publisher_init(struct publisher *p, const struct publisher_options *options)
{
    memset(p, 0, sizeof *p);
    p->options = options;
    p->outbox = outbox_over(options->room, options->room_len);
    p->due_ms = INT64_MAX;
    p->told_ms = INT64_MIN;
}

/* ---- when ---- */

/* Uniform in 0..max; without chance the longest wait. */
static int64_t chance(const struct publisher *p, int64_t max)
{
    uint32_t dice;
    if (p->options->random(p->options->random_ctx, &dice, sizeof dice) != ERR_NONE)
        return max;
    return (int64_t)(((uint64_t)max + 1) * dice >> 32);
}

/* Exponential back-off with full jitter, up to `cap` seconds. */
static int64_t back_off(struct publisher *p, int64_t cap)
{
    int64_t most = DEVICE_RETRY_FIRST_MS;
    for (unsigned i = 0; i < p->failures && most < cap * 1000; i++)
        most *= 2;
    most = most < cap * 1000 ? most : cap * 1000;
    if (p->failures < 32)
        p->failures++;
    int64_t delay = chance(p, most);
    return delay > DEVICE_RETRY_MIN_MS ? delay : DEVICE_RETRY_MIN_MS;
}

/* ---- the connection's end ---- */

/* Without a connection from here on; the next one in `delay_ms`. */
static void part(struct publisher *p, int64_t delay_ms, int64_t now_ms)
{
    p->state = PUBLISHER_AWAY;
    p->due_ms = p->resting || p->client_id[0] == '\0' ? INT64_MAX : now_ms + delay_ms;
    p->leaving = false;
    p->pinged = false;
    p->owed_ms = p->stuck_ms = 0;
    p->in_len = p->out_start = p->out_end = 0;
    outbox_rewind(&p->outbox);
}

/* The broker has said why: not now, not this device, or not any more. */
static void refuse(struct publisher *p, uint8_t reason, bool was_in, int64_t now_ms)
{
    struct publisher_event e = {.kind = PUBLISHER_FAILED, .reason = reason};
    int64_t refused_ms = p->options->refused_retry * 1000;
    bool expected = reason == MQTT_ADMINISTRATIVE && (p->leaving || p->changing);
    switch (expected ? 0 : reason) {
    case MQTT_ADMINISTRATIVE:
        e.kind = PUBLISHER_CUT;
        e.delay_ms = refused_ms + chance(p, refused_ms / 4);
        break;
    case MQTT_NOT_AUTHORIZED:
    case MQTT_BAD_USER_NAME:
    case MQTT_BANNED:
    case MQTT_BAD_CLIENT_ID:
        /* One that has just enrolled may be here before the broker has heard of it: so soon at
         * first, and then as rarely as at the hub. */
        e.kind = was_in ? PUBLISHER_CUT : PUBLISHER_REFUSED;
        e.delay_ms = back_off(p, p->options->refused_retry);
        break;
    case MQTT_TAKEN_OVER:
        /* Two that put each other out would go on for ever. */
        e.kind = PUBLISHER_REPLACED;
        e.delay_ms = p->options->retry_max * 1000 + chance(p, p->options->retry_max * 250);
        break;
    default:
        e.delay_ms = back_off(p, p->options->retry_max);
        break;
    }
    p->hang_up = true;
    part(p, e.delay_ms, now_ms);
    tell(p, &e);
}

static void give_up(struct publisher *p, enum err err, int64_t now_ms)
{
    p->hang_up = true;
    publisher_lost(p, err, now_ms);
}

void publisher_lost(struct publisher *p, enum err err, int64_t now_ms)
{
    if (p->state == PUBLISHER_AWAY)
        return;
    if (p->state == PUBLISHER_PARTING) { /* as it should be */
        part(p, 0, now_ms);
        return;
    }
    bool refused = err == ERR_REFUSED;
    int64_t delay = back_off(p, refused ? p->options->refused_retry : p->options->retry_max);
    part(p, delay, now_ms);
    tell(p, &(struct publisher_event){.kind = refused ? PUBLISHER_REFUSED : PUBLISHER_FAILED,
                                      .err = err,
                                      .delay_ms = delay});
}

/* ---- what we say ---- */

/* Space for a packet of at most `most` bytes behind what waits to be sent. */
static bool begin_packet(struct publisher *p, size_t most, struct writer *ret_writer)
{
    if (p->out_start == p->out_end)
        p->out_start = p->out_end = 0;
    if (most > sizeof p->out - p->out_end)
        return false;
    *ret_writer = writer_over(p->out + p->out_end, sizeof p->out - p->out_end);
    return true;
}

static void end_packet(struct publisher *p, const struct writer *w, bool owed, int64_t now_ms)
{
    p->out_end += w->len;
    p->spoken_ms = now_ms;
    if (p->stuck_ms == 0)
        p->stuck_ms = now_ms;
    if (owed && p->owed_ms == 0)
        p->owed_ms = now_ms;
}

void publisher_opened(struct publisher *p, int64_t now_ms)
{
    if (p->state != PUBLISHER_DIALLING)
        return;
    const struct mqtt_connect connect = {
        .client_id = slice_of_text(p->client_id),
        .clean_start = true,
        .keep_alive = PUBLISHER_KEEP_ALIVE,
        .packet_max = PUBLISHER_ANSWER_MAX,
    };
    struct writer w = writer_over(p->out, sizeof p->out);
    p->out_start = p->out_end = 0;
    mqtt_write_connect(&w, &connect);
    p->state = PUBLISHER_GREETING;
    end_packet(p, &w, true, now_ms);
}

struct slice publisher_output(const struct publisher *p)
{
    return slice_of(p->out + p->out_start, p->out_end - p->out_start);
}

void publisher_flushed(struct publisher *p, size_t n, int64_t now_ms)
{
    p->out_start += n;
    p->stuck_ms = p->out_start == p->out_end ? 0 : now_ms;
}

/* ---- messages ---- */

enum err publisher_put(struct publisher *p, const struct message *m)
{
    enum err err = topic_name_check(m->topic);
    uint32_t dropped = 0;
    if (err == ERR_NONE)
        err = outbox_put(&p->outbox, m, &dropped);
    if (err == ERR_NONE)
        p->counts.dropped += dropped;
    return err;
}

static void count_refused(struct publisher *p, const struct message *m, uint8_t reason)
{
    struct publisher_counts *c = &p->counts;
    c->refused++;
    c->refused_reason = reason;
    c->refused_topic_len = m->topic.len;
    memcpy(c->refused_topic, m->topic.data, m->topic.len);
}

/* Nothing more becomes of it. */
static void settle(struct publisher *p, const struct message *m, size_t place, uint8_t reason)
{
    if (reason >= MQTT_FAILED)
        count_refused(p, m, reason);
    else
        p->counts.published++;
    if (m->ticket != 0 && p->options->settled != NULL)
        p->options->settled(p->options->settled_ctx, m->ticket, reason);
    outbox_done(&p->outbox, place);
}

/* Generic cell rate algorithm: how long until one more may go. */
static int64_t pace(struct publisher *p, int64_t now_ms)
{
    if (p->options->per_minute == 0)
        return 0;
    int64_t now_us = now_ms * 1000;
    int64_t arrival = p->arrival_us > now_us ? p->arrival_us : now_us;
    int64_t ahead = arrival - now_us - PUBLISHER_BURST_MS * INT64_C(1000);
    if (ahead > 0)
        return (ahead + 999) / 1000;
    p->arrival_us = arrival + INT64_C(60000000) / p->options->per_minute;
    return 0;
}

/* What the broker has said it does not take is not sent: section 3.2.2.3. */
static uint8_t refused_beforehand(const struct publisher *p, const struct message *m, size_t size)
{
    if (m->retain && p->terms.retain_refused)
        return MQTT_NO_RETAIN;
    return size > p->terms.packet_max ? MQTT_TOO_LARGE : 0;
}

static uint16_t next_id(struct publisher *p)
{
    p->last_id = p->last_id == UINT16_MAX ? 1 : (uint16_t)(p->last_id + 1);
    return p->last_id;
}

/* One message on its way; false where there is none, or not now: *ret_wait_ms. */
static bool publish_one(struct publisher *p, int64_t now_ms, int64_t *ret_wait_ms)
{
    struct message m;
    size_t place;
    struct writer w;
    if (p->outbox.sent >= PUBLISHER_WINDOW || p->outbox.sent >= p->terms.receive_max ||
        !outbox_next(&p->outbox, &m, &place))
        return false;
    size_t size = PUBLISHER_PACKET_MAX - PUBLISHER_TOPIC_MAX - PUBLISHER_PAYLOAD_MAX + m.topic.len +
                  m.payload.len;
    uint8_t reason = refused_beforehand(p, &m, size);
    if (reason != 0) {
        settle(p, &m, place, reason);
        return true;
    }
    if (!begin_packet(p, size, &w))
        return false;
    *ret_wait_ms = pace(p, now_ms);
    if (*ret_wait_ms > 0)
        return false;
    bool answered = m.quality > 0 && p->terms.quality_max > 0;
    uint16_t id = answered ? next_id(p) : 0;
    mqtt_write_publish(&w, m.topic, id, m.retain, m.payload);
    end_packet(p, &w, answered, now_ms);
    if (answered)
        outbox_sent(&p->outbox, place, id);
    else
        settle(p, &m, place, 0);
    return true;
}

/* ---- what the broker says ---- */

/* It works: what failed before is over. */
static void answered(struct publisher *p, int64_t now_ms)
{
    p->failures = 0;
    p->owed_ms = p->outbox.sent > 0 || p->pinged ? now_ms : 0;
}

static enum err take_connack(struct publisher *p, const struct mqtt_packet *packet, int64_t now_ms)
{
    struct mqtt_connack connack;
    enum err err = mqtt_connack_read(packet, &connack);
    if (err != ERR_NONE || connack.session_present) /* we asked for none */
        return err != ERR_NONE ? err : ERR_SYNTAX;
    if (connack.reason != 0) {
        refuse(p, connack.reason, false, now_ms);
        return ERR_NONE;
    }
    p->terms = connack;
    p->state = PUBLISHER_UP;
    p->owed_ms = 0;
    tell(p, &(struct publisher_event){.kind = PUBLISHER_CONNECTED});
    return ERR_NONE;
}

static enum err take_puback(struct publisher *p, const struct mqtt_packet *packet, int64_t now_ms)
{
    struct mqtt_puback puback;
    struct message m;
    size_t place;
    enum err err = mqtt_puback_read(packet, &puback);
    if (err != ERR_NONE)
        return err;
    /* One that was dropped meanwhile may still be answered. */
    if (outbox_find(&p->outbox, puback.id, &m, &place))
        settle(p, &m, place, puback.reason);
    answered(p, now_ms);
    return ERR_NONE;
}

static enum err take_packet(struct publisher *p, const struct mqtt_packet *packet, int64_t now_ms)
{
    if (p->state == PUBLISHER_GREETING)
        return packet->type == MQTT_CONNACK ? take_connack(p, packet, now_ms) : ERR_SYNTAX;
    if (packet->type == MQTT_PUBACK)
        return take_puback(p, packet, now_ms);
    if (packet->type == MQTT_PINGRESP) {
        if (packet->flags != 0 || packet->body.len > 0)
            return ERR_SYNTAX;
        p->pinged = false;
        answered(p, now_ms);
        return ERR_NONE;
    }
    uint8_t reason;
    enum err err = mqtt_disconnect_read(packet, &reason);
    if (err == ERR_NONE)
        refuse(p, reason, true, now_ms);
    return err;
}

static void take_whole_packets(struct publisher *p, int64_t now_ms)
{
    size_t at = 0;
    while (p->state != PUBLISHER_AWAY) {
        struct mqtt_packet packet;
        size_t used = 0;
        enum err err = mqtt_packet_read(slice_of(p->in + at, p->in_len - at), PUBLISHER_ANSWER_MAX,
                                        &packet, &used);
        if (err == ERR_NONE && used == 0)
            break;
        at += used;
        if (err == ERR_NONE)
            err = take_packet(p, &packet, now_ms);
        if (err != ERR_NONE) {
            give_up(p, err, now_ms);
            return;
        }
    }
    if (p->state == PUBLISHER_AWAY)
        return;
    memmove(p->in, p->in + at, p->in_len - at);
    p->in_len -= at;
}

void publisher_take(struct publisher *p, struct slice bytes, int64_t now_ms)
{
    while (bytes.len > 0 && p->state >= PUBLISHER_GREETING) {
        size_t room = sizeof p->in - p->in_len;
        size_t n = bytes.len < room ? bytes.len : room;
        memcpy(p->in + p->in_len, bytes.data, n);
        p->in_len += n;
        bytes = slice_of(bytes.data + n, bytes.len - n);
        take_whole_packets(p, now_ms);
    }
}

/* ---- who we are, and leaving ---- */

static void begin_leaving(struct publisher *p, int64_t now_ms)
{
    if (p->state == PUBLISHER_AWAY || p->leaving)
        return;
    p->leaving = true;
    p->leave_ms = now_ms + PUBLISHER_LEAVE_MS;
}

void publisher_hurry(struct publisher *p, int64_t now_ms)
{
    if (p->state != PUBLISHER_AWAY || p->client_id[0] == '\0' || p->resting)
        return;
    p->failures = 0;
    p->due_ms = now_ms;
}

void publisher_identify(struct publisher *p, struct slice device, int64_t now_ms)
{
    size_t len = device.len < DEVICE_SERIAL_MAX ? device.len : DEVICE_SERIAL_MAX;
    memcpy(p->client_id, device.data, len);
    p->client_id[len] = '\0';
    begin_leaving(p, now_ms);
    publisher_hurry(p, now_ms);
}

void publisher_expect_change(struct publisher *p, bool expected)
{
    p->changing = expected;
}

void publisher_leave(struct publisher *p, int64_t now_ms)
{
    p->resting = true;
    p->due_ms = INT64_MAX;
    begin_leaving(p, now_ms);
}

/* Where it has come as far as a session: a DISCONNECT, once nothing is on its way any more. */
static void go_on_leaving(struct publisher *p, int64_t now_ms)
{
    struct writer w;
    bool late = now_ms >= p->leave_ms;
    if (p->state == PUBLISHER_UP && (p->outbox.sent == 0 || late) && begin_packet(p, 2, &w)) {
        mqtt_write_disconnect(&w);
        end_packet(p, &w, false, now_ms);
        p->state = PUBLISHER_PARTING;
    }
    bool said = p->state == PUBLISHER_PARTING && p->out_start == p->out_end;
    if (p->state == PUBLISHER_DIALLING || p->state == PUBLISHER_GREETING || said || late) {
        p->hang_up = true;
        part(p, 0, now_ms);
    }
}

/* ---- a turn ---- */

static bool is_late(const struct publisher *p, int64_t now_ms)
{
    return (p->owed_ms != 0 && now_ms - p->owed_ms >= PUBLISHER_PATIENCE_MS) ||
           (p->stuck_ms != 0 && now_ms - p->stuck_ms >= PUBLISHER_PATIENCE_MS);
}

/* Sent in time even where the caller was held up for some seconds. */
static int64_t ping_at(const struct publisher *p)
{
    int64_t keep_alive = PUBLISHER_KEEP_ALIVE;
    if (p->terms.has_keep_alive && p->terms.keep_alive != 0)
        keep_alive = p->terms.keep_alive;
    return p->spoken_ms + keep_alive * 750;
}

static void ping(struct publisher *p, int64_t now_ms)
{
    struct writer w;
    if (p->pinged || now_ms < ping_at(p) || !begin_packet(p, PING_SIZE, &w))
        return;
    mqtt_write_ping(&w);
    p->pinged = true;
    end_packet(p, &w, true, now_ms);
}

static void tell_tally(struct publisher *p, int64_t now_ms)
{
    const struct publisher_counts *c = &p->counts;
    if (c->refused == p->told_refused && c->dropped == p->told_dropped)
        return;
    if (p->told_ms != INT64_MIN && now_ms - p->told_ms < PUBLISHER_TELL_MS)
        return;
    bool refused = c->refused != p->told_refused;
    tell(p, &(struct publisher_event){
                .kind = PUBLISHER_TALLY,
                .reason = refused ? c->refused_reason : 0,
                .refused = c->refused - p->told_refused,
                .dropped = c->dropped - p->told_dropped,
                .topic = slice_of(c->refused_topic, refused ? c->refused_topic_len : 0)});
    p->told_refused = c->refused;
    p->told_dropped = c->dropped;
    p->told_ms = now_ms;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_turn(const struct publisher *p, int64_t wait_ms, int64_t now_ms)
{
    int64_t at = p->state == PUBLISHER_AWAY ? p->due_ms : INT64_MAX;
    if (p->owed_ms != 0)
        at = earlier(at, p->owed_ms + PUBLISHER_PATIENCE_MS);
    if (p->stuck_ms != 0)
        at = earlier(at, p->stuck_ms + PUBLISHER_PATIENCE_MS);
    if (p->leaving)
        at = earlier(at, p->leave_ms);
    if (p->state == PUBLISHER_UP && !p->pinged && sizeof p->out - p->out_end >= PING_SIZE)
        at = earlier(at, ping_at(p));
    if (wait_ms > 0)
        at = earlier(at, now_ms + wait_ms);
    if (p->counts.refused != p->told_refused || p->counts.dropped != p->told_dropped)
        at = earlier(at, p->told_ms + PUBLISHER_TELL_MS);
    return at;
}

enum publisher_wish publisher_turn(struct publisher *p, int64_t now_ms, int64_t *ret_at_ms)
{
    int64_t wait_ms = 0;
    if (is_late(p, now_ms))
        give_up(p, ERR_TIMEOUT, now_ms);
    if (p->leaving)
        go_on_leaving(p, now_ms);
    if (p->state == PUBLISHER_UP && !p->leaving) {
        while (publish_one(p, now_ms, &wait_ms))
            continue;
        ping(p, now_ms);
    }
    tell_tally(p, now_ms);
    *ret_at_ms = now_ms;
    if (p->hang_up) {
        p->hang_up = false;
        return PUBLISHER_HANG_UP;
    }
    if (p->state == PUBLISHER_AWAY && now_ms >= p->due_ms) {
        p->state = PUBLISHER_DIALLING;
        return PUBLISHER_DIAL;
    }
    *ret_at_ms = next_turn(p, wait_ms, now_ms);
    return PUBLISHER_REST;
}
