#include "device/agent/telemetry.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/json_write.h"
#include "device/agent/journal.h"
#include "device/agent/vitals.h"
#include "device/lib/internal.h"

/* At a time, before what else there is has its turn. */
#define DATAGRAMS_MAX 32
#define READS_MAX     16
#define ROUNDS_MAX    64
#define PIECE         512
#define CLOSE_MS      1000
#define ANSWER_MAX    4096 /* a topic of control characters alone, in JSON */

static int64_t now_of(const struct telemetry *t)
{
    return t->port->port.monotonic_ms(t->port->port.ctx);
}

bool telemetry_is_open(const struct telemetry *t)
{
    return t->config != NULL;
}

/* ---- the broker ---- */

static void on_event(void *ctx, const struct publisher_event *e)
{
    const struct telemetry *t = ctx;
    journal_publisher_event(e, t->config->mqtt, t->config->serial);
}

static void outcome(struct telemetry *t, enum err err, int64_t now)
{
    if (err == ERR_NONE)
        publisher_opened(&t->publisher, now);
    else if (err != ERR_BUSY)
        publisher_lost(&t->publisher, err, now);
}

/* What has come; true where there may be more. */
static bool receive(struct telemetry *t, int64_t now)
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        uint8_t piece[PIECE];
        size_t len = 0;
        enum err err = stream_receive(&t->stream, piece, sizeof piece, &len);
        if (err == ERR_BUSY)
            return false;
        if (err != ERR_NONE) {
            publisher_lost(&t->publisher, err, now);
            return false;
        }
        publisher_take(&t->publisher, slice_of(piece, len), now);
    }
    return true;
}

/* True where something was sent, so that there may be more to do. */
static bool flush(struct telemetry *t, int64_t now)
{
    struct slice out = publisher_output(&t->publisher);
    size_t n = 0;
    if (out.len == 0 || t->stream.state != STREAM_OPEN)
        return false;
    enum err err = stream_send(&t->stream, out, &n);
    if (err == ERR_NONE)
        publisher_flushed(&t->publisher, n, now);
    else if (err != ERR_BUSY)
        publisher_lost(&t->publisher, err, now);
    return err != ERR_BUSY;
}

/* What the publisher wants next; false: nothing for now, and t->at_ms says when. */
static bool turn(struct telemetry *t, int64_t now)
{
    switch (publisher_turn(&t->publisher, now, &t->at_ms)) {
    case PUBLISHER_DIAL:
        stream_begin(&t->stream, t->host, t->port_number, t->time(t->time_ctx), now,
                     PUBLISHER_DIAL_MS);
        outcome(t, stream_go_on(&t->stream, now), now);
        return true;
    case PUBLISHER_HANG_UP:
        stream_close(&t->stream);
        return true;
    case PUBLISHER_REST:
        break;
    }
    return flush(t, now);
}

static void serve_broker(struct telemetry *t, int64_t now)
{
    bool more = false;
    if (t->stream.state == STREAM_OPEN)
        more = receive(t, now);
    else if (t->stream.state != STREAM_CLOSED)
        outcome(t, stream_go_on(&t->stream, now), now);
    unsigned rounds = 0;
    while (rounds < ROUNDS_MAX && turn(t, now))
        rounds++;
    if (more || rounds == ROUNDS_MAX)
        t->at_ms = now;
}

/* ---- the device ---- */

static void answer(struct telemetry *t, const struct inlet_sender *to, char sign, const char *text)
{
    uint8_t bytes[ANSWER_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_u8(&w, (uint8_t)sign);
    writer_text(&w, text);
    inlet_answer(&t->inlet, to, writer_bytes(&w));
}

/* Who waits for a second answer gets a ticket for it, and 0 is nobody's. */
static uint32_t give_ticket(struct telemetry *t, const struct inlet_sender *to)
{
    if (to->len == 0)
        return 0;
    t->ticket = t->ticket == UINT32_MAX ? 1 : t->ticket + 1;
    t->waiters[t->ticket % TELEMETRY_WAITERS_MAX].ticket = t->ticket;
    t->waiters[t->ticket % TELEMETRY_WAITERS_MAX].who = *to;
    return t->ticket;
}

static void on_settled(void *ctx, uint32_t ticket, uint8_t reason)
{
    struct telemetry *t = ctx;
    char why[96];
    if (t->waiters[ticket % TELEMETRY_WAITERS_MAX].ticket != ticket)
        return;
    (void)snprintf(why, sizeof why, "the broker refuses it with reason %u%s", reason,
                   reason == MQTT_NOT_AUTHORIZED ? ": the policy does not allow it" : "");
    answer(t, &t->waiters[ticket % TELEMETRY_WAITERS_MAX].who, reason < MQTT_FAILED ? '+' : '-',
           reason < MQTT_FAILED ? "published" : why);
}

static void answer_status(struct telemetry *t, const struct inlet_sender *to, bool json)
{
    uint8_t bytes[ANSWER_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    writer_u8(&w, '+');
    telemetry_write_status(t, json, &w);
    if (w.err == ERR_NONE)
        inlet_answer(&t->inlet, to, writer_bytes(&w));
}

/* Who sends what cannot be sent need not listen to the answer; so it is told here, too, but not for
 * each. */
static void note_malformed(struct telemetry *t, const char *why, int64_t now)
{
    t->malformed++;
    if (now < t->malformed_ms)
        return;
    log_event(LOG_LEVEL_WARNING, "mqtt.message_malformed",
              F_INTEGER("count", (int64_t)(t->malformed - t->malformed_told)),
              F_TEXT("reason", why));
    t->malformed_told = t->malformed;
    t->malformed_ms = now + PUBLISHER_TELL_MS;
}

static void take_datagram(struct telemetry *t, size_t len, const struct inlet_sender *from,
                          int64_t now)
{
    uint8_t topic[PUBLISHER_TOPIC_MAX];
    struct handover h;
    const char *why = "it is too large";
    enum err err = handover_read(slice_of(t->datagram, len), slice_of_text(t->config->serial),
                                 topic, &h, &why);
    if (err == ERR_NONE && h.kind != HANDOVER_MESSAGE) {
        answer_status(t, from, h.kind == HANDOVER_STATUS_JSON);
        return;
    }
    if (err == ERR_NONE && h.waits)
        h.message.ticket = give_ticket(t, from);
    if (err == ERR_NONE)
        err = publisher_put(&t->publisher, &h.message);
    if (err != ERR_NONE)
        note_malformed(t, why, now);
    answer(t, from, err == ERR_NONE ? '+' : '-', err == ERR_NONE ? "queued" : why);
}

static void take_datagrams(struct telemetry *t, int64_t now)
{
    for (unsigned i = 0; i < DATAGRAMS_MAX; i++) {
        struct inlet_sender from;
        size_t len = 0;
        if (inlet_receive(&t->inlet, t->datagram, sizeof t->datagram, &len, &from) != ERR_NONE)
            return;
        take_datagram(t, len, &from, now);
    }
}

static void speak_of_oneself(struct telemetry *t, int64_t now)
{
    uint8_t topic[PUBLISHER_TOPIC_MAX], payload[VITALS_MAX];
    struct message m = {.quality = 1};
    const char *why;
    if (now < t->vitals_ms)
        return;
    t->vitals_ms = now + t->config->telemetry_interval * 1000;
    struct writer w = writer_over(payload, sizeof payload);
    vitals_write(&w, t->time(t->time_ctx), now / 1000);
    m.payload = writer_bytes(&w);
    if (w.err == ERR_NONE &&
        handover_expand(slice_of_text(t->config->telemetry_topic), slice_of_text(t->config->serial),
                        topic, &m.topic, &why) == ERR_NONE)
        (void)!publisher_put(&t->publisher, &m);
}

/* ---- while the agent waits ---- */

static size_t prepare(void *ctx, struct pollfd fds[POSIX_ASIDE_MAX], int64_t *ret_at_ms)
{
    struct telemetry *t = ctx;
    int64_t until = INT64_MAX;
    size_t n = 0;
    short events = 0;
    int fd = stream_waits_for(&t->stream, publisher_output(&t->publisher).len > 0, &events, &until);
    if (fd >= 0)
        fds[n++] = (struct pollfd){.fd = fd, .events = events};
    if (t->inlet.fd >= 0)
        fds[n++] = (struct pollfd){.fd = t->inlet.fd, .events = POLLIN};
    int64_t at = t->at_ms < t->vitals_ms ? t->at_ms : t->vitals_ms;
    *ret_at_ms = at < until ? at : until;
    return n;
}

static void serve(void *ctx)
{
    struct telemetry *t = ctx;
    int64_t now = now_of(t);
    take_datagrams(t, now);
    speak_of_oneself(t, now);
    serve_broker(t, now);
}

/* ---- from start to end ---- */

static const char *why_no_inlet(enum err err)
{
    switch (err) {
    case ERR_EXISTS:
        return "something else is there, or another agent listens";
    case ERR_IO:
        return strerror(errno);
    default:
        return err_text(err);
    }
}

enum err telemetry_open(struct telemetry *t, const struct agent_config *config,
                        struct posix_port *port, int64_t (*time)(void *ctx), void *time_ctx,
                        const char **ret_why)
{
    t->config = NULL;
    t->stream = STREAM_INITIAL;
    t->inlet = INLET_INITIAL;
    if (config->mqtt[0] == '\0')
        return ERR_NONE;
    enum err err = endpoint_read(config->mqtt, t->host, &t->port_number);
    if (err == ERR_NONE && config->telemetry_socket[0] != '\0')
        err = inlet_open(&t->inlet, config->telemetry_socket, settings_socket_mode(config));
    if (err != ERR_NONE) {
        *ret_why = why_no_inlet(err);
        return err;
    }
    t->config = config;
    t->port = port;
    t->time = time;
    t->time_ctx = time_ctx;
    t->options = (struct publisher_options){
        .room = t->room,
        .room_len = sizeof t->room,
        .retry_max = config->retry_max,
        .refused_retry = config->refused_retry,
        .per_minute = (uint32_t)config->telemetry_rate,
        .random = port->port.random,
        .random_ctx = port->port.ctx,
        .event = on_event,
        .event_ctx = t,
        .settled = on_settled,
        .settled_ctx = t,
    };
    publisher_init(&t->publisher, &t->options);
    t->at_ms = INT64_MAX;
    t->vitals_ms = config->telemetry_topic[0] == '\0' ? INT64_MAX : now_of(t);
    t->aside = (struct posix_aside){.prepare = prepare, .serve = serve, .ctx = t};
    port->options.aside = &t->aside;
    return ERR_NONE;
}

enum err telemetry_identify(struct telemetry *t, enum port_key key, struct slice chain,
                            const struct slice *roots, size_t roots_len)
{
    if (!telemetry_is_open(t))
        return ERR_NONE;
    const struct port_tls tls = {
        .roots = roots, .roots_len = roots_len, .chain = chain, .key = key};
    enum err err = stream_set_identity(&t->stream, t->port, &tls);
    if (err != ERR_NONE)
        return err;
    publisher_identify(&t->publisher, slice_of_text(t->config->serial), now_of(t));
    t->at_ms = now_of(t);
    return ERR_NONE;
}

void telemetry_expect_change(struct telemetry *t, bool expected)
{
    if (telemetry_is_open(t))
        publisher_expect_change(&t->publisher, expected);
}

void telemetry_let_in(struct telemetry *t)
{
    if (!telemetry_is_open(t))
        return;
    publisher_hurry(&t->publisher, now_of(t));
    t->at_ms = now_of(t);
}

void telemetry_close(struct telemetry *t)
{
    if (!telemetry_is_open(t))
        return;
    int64_t now = now_of(t), end = now + CLOSE_MS;
    inlet_close(&t->inlet);
    t->vitals_ms = INT64_MAX;
    publisher_leave(&t->publisher, now);
    serve(t);
    while (t->stream.state != STREAM_CLOSED && now < end) {
        struct pollfd fds[POSIX_ASIDE_MAX];
        int64_t at;
        size_t n = prepare(t, fds, &at);
        at = at < end ? at : end;
        (void)poll(fds, n, at > now ? (int)(at - now) : 0);
        serve(t);
        now = now_of(t);
    }
    uint32_t lost = t->publisher.outbox.waiting + t->publisher.outbox.sent;
    if (lost > 0)
        log_event(LOG_LEVEL_WARNING, "mqtt.messages_lost", F_INTEGER("unsent", lost));
    t->port->options.aside = NULL;
    stream_free(&t->stream);
    t->config = NULL;
}

/* ---- how it is ---- */

static void write_json(const struct telemetry *t, struct writer *w)
{
    const struct publisher *p = &t->publisher;
    struct json_writer j = json_writer_over(w);
    json_open_object(&j);
    json_field_text(&j, "broker", t->config->mqtt);
    json_field_bool(&j, "connected", p->state == PUBLISHER_UP);
    json_field_integer(&j, "waiting", (int64_t)p->outbox.waiting + p->outbox.sent);
    json_field_integer(&j, "published", (int64_t)p->counts.published);
    json_field_integer(&j, "dropped", (int64_t)p->counts.dropped);
    json_field_integer(&j, "malformed", (int64_t)t->malformed);
    json_field_integer(&j, "refused", (int64_t)p->counts.refused);
    if (p->counts.refused > 0) {
        json_key(&j, "last_refused");
        json_open_object(&j);
        json_field_slice(&j, "topic",
                         slice_of(p->counts.refused_topic, p->counts.refused_topic_len));
        json_field_integer(&j, "reason", p->counts.refused_reason);
        json_close_object(&j);
    }
    json_close_object(&j);
}

/* For a terminal, whoever chose the topic. */
static void write_plain(struct writer *w, const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        writer_u8(w, text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?');
}

static void write_count(struct writer *w, const char *before, uint64_t n)
{
    writer_text(w, before);
    writer_decimal(w, n);
}

static void write_lines(const struct telemetry *t, struct writer *w)
{
    const struct publisher *p = &t->publisher;
    writer_text(w, p->state == PUBLISHER_UP ? "connected to " : "not connected to ");
    writer_text(w, t->config->mqtt);
    write_count(w, "; messages: waiting ", (uint64_t)p->outbox.waiting + p->outbox.sent);
    write_count(w, ", published ", p->counts.published);
    write_count(w, ", dropped ", p->counts.dropped);
    write_count(w, ", malformed ", t->malformed);
    write_count(w, ", refused ", p->counts.refused);
    if (p->counts.refused > 0) {
        write_count(w, ", the last with reason ", p->counts.refused_reason);
        writer_text(w, " at ");
        write_plain(w, p->counts.refused_topic, p->counts.refused_topic_len);
    }
}

void telemetry_write_status(const struct telemetry *t, bool json, struct writer *w)
{
    if (json)
        write_json(t, w);
    else
        write_lines(t, w);
}
