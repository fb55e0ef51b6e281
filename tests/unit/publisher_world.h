/* A device that publishes, a line to its broker and a clock that is moved, for the tests of
 * publisher.h. */
#ifndef TESTS_UNIT_PUBLISHER_WORLD_H
#define TESTS_UNIT_PUBLISHER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/lib/publisher.h"

struct world {
    struct publisher p;
    struct publisher_options options;
    uint8_t room[4096 + PUBLISHER_PACKET_MAX];
    int64_t now, at;
    unsigned events[PUBLISHER_EVENT_COUNT];
    struct publisher_event last;
    unsigned settled; /* tickets that were */
    uint32_t ticket;  /* the last of them */
    uint8_t reason;
    bool connected; /* as the machine has been told */
    unsigned dials;
    uint8_t sent[64 * 1024]; /* by the device, since the connection began */
    size_t sent_len, read_len;
    size_t take_max; /* bytes that the line takes at a time; 0: none */
};

static struct world *w;

static inline enum err random_bytes(void *ctx, void *bytes, size_t n)
{
    (void)ctx;
    memset(bytes, 0xff, n); /* the longest wait there is */
    return ERR_NONE;
}

static inline void on_event(void *ctx, const struct publisher_event *e)
{
    (void)ctx;
    w->events[e->kind]++;
    w->last = *e;
}

static inline void on_settled(void *ctx, uint32_t ticket, uint8_t reason)
{
    (void)ctx;
    w->settled++;
    w->ticket = ticket;
    w->reason = reason;
}

static inline int set_up(void **state)
{
    (void)state;
    w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->options = (struct publisher_options){
        .room = w->room,
        .room_len = sizeof w->room,
        .retry_max = 900,
        .refused_retry = 3600,
        .random = random_bytes,
        .event = on_event,
        .settled = on_settled,
    };
    w->now = 1000;
    w->take_max = SIZE_MAX;
    publisher_init(&w->p, &w->options);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    free(w);
    return 0;
}

/* As the agent does it, with a line that takes what it is told to. */
static inline enum publisher_wish go(void)
{
    for (;;) {
        enum publisher_wish wish = publisher_turn(&w->p, w->now, &w->at);
        if (wish == PUBLISHER_DIAL) {
            assert_false(w->connected);
            w->dials++;
            return wish;
        }
        if (wish == PUBLISHER_HANG_UP) {
            w->connected = false;
            return wish;
        }
        struct slice out = publisher_output(&w->p);
        size_t n = out.len < w->take_max ? out.len : w->take_max;
        if (!w->connected || n == 0)
            return wish;
        assert_true(w->sent_len + n <= sizeof w->sent);
        memcpy(w->sent + w->sent_len, out.data, n);
        w->sent_len += n;
        publisher_flushed(&w->p, n, w->now);
    }
}

static inline void hear(const void *bytes, size_t len)
{
    publisher_take(&w->p, slice_of(bytes, len), w->now);
}

/* The next packet that the device has sent; its body at *ret_body. */
static inline uint8_t next_sent(struct slice *ret_body)
{
    struct mqtt_packet packet;
    size_t used = 0;
    assert_int_equal(mqtt_packet_read(slice_of(w->sent + w->read_len, w->sent_len - w->read_len),
                                      PUBLISHER_PACKET_MAX, &packet, &used),
                     ERR_NONE);
    if (used == 0)
        return 0;
    w->read_len += used;
    *ret_body = packet.body;
    return packet.type;
}

#define nothing_sent() assert_int_equal(w->sent_len, w->read_len)
static inline void dial(void)
{
    assert_int_equal(go(), PUBLISHER_DIAL);
    w->connected = true;
    w->sent_len = w->read_len = 0;
    publisher_opened(&w->p, w->now);
    assert_int_equal(go(), PUBLISHER_REST);
    struct slice body;
    assert_int_equal(next_sent(&body), 1);
}

static inline void connect_up(void)
{
    dial();
    hear((const uint8_t[]){0x20, 3, 0, 0, 0}, 5);
    (void)go();
    assert_int_equal(w->p.state, PUBLISHER_UP);
}

static inline void begin(void)
{
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    connect_up();
}

static inline void put(const char *payload, uint8_t quality)
{
    const struct message m = {.topic = SLICE_LITERAL("a/b"),
                              .payload = slice_of_text(payload),
                              .quality = quality,
                              .ticket = (uint8_t)payload[0]};
    assert_int_equal(publisher_put(&w->p, &m), ERR_NONE);
}

/* The PUBLISH that comes next; its packet's number. */
static inline uint16_t expect_publish(const char *payload, uint8_t quality)
{
    struct slice body;
    assert_int_equal(next_sent(&body), MQTT_PUBLISH);
    struct reader r = reader_over(body);
    assert_true(slice_equal(reader_take(&r, reader_be16(&r)), SLICE_LITERAL("a/b")));
    uint16_t id = quality > 0 ? reader_be16(&r) : 0;
    assert_int_equal(reader_u8(&r), 0);
    assert_true(slice_equal(reader_rest(&r), slice_of_text(payload)));
    return id;
}

static inline void acknowledge(uint16_t id, uint8_t reason)
{
    hear((const uint8_t[]){0x40, 4, (uint8_t)(id >> 8), (uint8_t)id, reason, 0}, 6);
}

static inline void disconnect_with(uint8_t reason)
{
    hear((const uint8_t[]){0xe0, 2, reason, 0}, 4);
}

#endif
