/* A device's telemetry over MQTT 5.0, as a machine without sockets: it is told what happened to its
 * connection, gives the bytes to send, takes those that came, and says when it wants to be asked
 * again. The caller brings TLS: the broker is checked against the trust bundle, and the device
 * shows its certificate, which is all that says who it is. It publishes and never subscribes, so
 * what a broker in the wrong hands can do to it ends with the few answers that are read here.
 *
 *   for (;;) {
 *       what has come: publisher_take()
 *       switch (publisher_turn(&p, now, &at)) {
 *       case PUBLISHER_DIAL:    connect; then publisher_opened() or publisher_lost()
 *       case PUBLISHER_HANG_UP: close the connection
 *       case PUBLISHER_REST:    send publisher_output(), publisher_flushed(); wait until `at`
 *       }
 *   }
 *
 * It allocates nothing. Nothing in device.h needs it: what is not called is not linked. */
#ifndef DEVICE_LIB_PUBLISHER_H
#define DEVICE_LIB_PUBLISHER_H

#include "core/mqtt.h"
#include "device/lib/outbox.h"

enum publisher_event_kind {
    PUBLISHER_CONNECTED,
    PUBLISHER_REFUSED,  /* the broker does not let this device in: reason, or by the handshake */
    PUBLISHER_CUT,      /* it was in, and was put out by an operator: reason */
    PUBLISHER_REPLACED, /* somebody else is in with this identity: reason */
    PUBLISHER_FAILED,   /* could not connect, or lost the connection: err or reason */
    PUBLISHER_TALLY,    /* messages refused and dropped since the last one of these */
    PUBLISHER_EVENT_COUNT
};
struct publisher_event {
    enum publisher_event_kind kind;
    enum err err;
    uint8_t reason;   /* MQTT 5.0 section 2.4; 0: none */
    int64_t delay_ms; /* until the next attempt */
    uint64_t refused, dropped;
    struct slice topic; /* of the last one that was refused */
};
/* "mqtt.connected" and so on; never NULL. */
const char *publisher_event_text(enum publisher_event_kind kind);

/* All of it must outlive the publisher. */
struct publisher_options {
    uint8_t *room; /* for messages that wait; at least PUBLISHER_PACKET_MAX */
    size_t room_len;
    int64_t retry_max, refused_retry; /* seconds */
    uint32_t per_minute;              /* messages; 0: no limit */
    enum err (*random)(void *ctx, void *bytes, size_t n);
    void *random_ctx;
    void (*event)(void *ctx, const struct publisher_event *event);
    void *event_ctx;
    /* What became of a message with a ticket: `reason` below MQTT_FAILED, the broker has it (of
     * quality 0: it is sent). Not of one that was dropped. May be NULL. */
    void (*settled)(void *ctx, uint32_t ticket, uint8_t reason);
    void *settled_ctx;
};

enum publisher_wish { PUBLISHER_REST, PUBLISHER_DIAL, PUBLISHER_HANG_UP };

struct publisher_counts {
    uint64_t published; /* the broker has them; of quality 0: they are sent */
    uint64_t refused, dropped;
    uint8_t refused_reason; /* of the last one that was refused */
    size_t refused_topic_len;
    uint8_t refused_topic[PUBLISHER_TOPIC_MAX];
};

struct publisher {
    const struct publisher_options *options;
    char client_id[DEVICE_SERIAL_MAX + 1];
    struct outbox outbox;
    struct publisher_counts counts;

    enum publisher_state {
        PUBLISHER_AWAY,     /* until due_ms; INT64_MAX: until it has an identity */
        PUBLISHER_DIALLING, /* the caller connects */
        PUBLISHER_GREETING, /* CONNECT is sent */
        PUBLISHER_UP,
        PUBLISHER_PARTING, /* DISCONNECT is sent */
    } state;
    bool hang_up; /* there is a connection that has no use any more */
    bool leaving; /* once nothing is on its way */
    bool resting; /* not again after that */
    bool changing;
    int64_t due_ms, leave_ms;
    int64_t owed_ms;   /* since when an answer is owed to us; 0: none is */
    int64_t stuck_ms;  /* since when the line has taken nothing of `out`; 0: it is empty */
    int64_t spoken_ms; /* when the last packet was written */
    bool pinged;
    unsigned failures;
    struct mqtt_connack terms; /* what the broker said it takes */
    uint16_t last_id;
    int64_t arrival_us; /* generic cell rate algorithm, as in base/rate.h */
    int64_t told_ms;    /* INT64_MIN: never */
    uint64_t told_refused, told_dropped;

    size_t in_len, out_start, out_end;
    uint8_t in[PUBLISHER_ANSWER_MAX + 8];
    uint8_t out[PUBLISHER_PACKET_MAX + 8]; /* a ping fits behind the largest */
};

void publisher_init(struct publisher *p, const struct publisher_options *options);
/* Who it is from now on: the device's id, which is its client id, as brokers' plugins want it.
 * Where it is connected, it comes again once what is on its way is answered. */
void publisher_identify(struct publisher *p, struct slice device, int64_t now_ms);
/* Another certificate is issued, and the one that is shown may end any moment: so a broker that
 * puts us out means it, and not the device. */
void publisher_expect_change(struct publisher *p, bool expected);
/* Is there an attempt that waits? Then now: the hub has let the device in. */
void publisher_hurry(struct publisher *p, int64_t now_ms);
/* Parts from the broker, and stays away. */
void publisher_leave(struct publisher *p, int64_t now_ms);

/* Copies it in; older ones are dropped where there is no room. ERR_SYNTAX: its topic is not in the
 * form of a topic's name; ERR_LIMIT: larger than the limits. */
MUST_USE enum err publisher_put(struct publisher *p, const struct message *m);

/* What there is to do, and when to ask again, at the latest (INT64_MAX: once something happens).
 * First all bytes that have come must have been taken: else an answer could be found to be late
 * that lay there all the time. */
enum publisher_wish publisher_turn(struct publisher *p, int64_t now_ms, int64_t *ret_at_ms);
/* The connection stands; or it does not, or no longer, and is closed. ERR_REFUSED: the broker did
 * not take our certificate. */
void publisher_opened(struct publisher *p, int64_t now_ms);
void publisher_lost(struct publisher *p, enum err err, int64_t now_ms);
/* What came over it. */
void publisher_take(struct publisher *p, struct slice bytes, int64_t now_ms);
/* What is to be sent; the first n bytes of it are. */
struct slice publisher_output(const struct publisher *p);
void publisher_flushed(struct publisher *p, size_t n, int64_t now_ms);

#endif
