/* The machine behind telemetry, with a broker that is a few lines and a clock that is moved. */
#include "tests/unit/publisher_world.h"

static void test_life(void **state)
{
    (void)state;
    assert_int_equal(go(), PUBLISHER_REST); /* without an identity it does nothing */
    assert_true(w->at == INT64_MAX);
    put("early", 1);
    begin();
    assert_int_equal(w->events[PUBLISHER_CONNECTED], 1);
    uint16_t early = expect_publish("early", 1);
    put("zero", 0);
    put("one", 1);
    (void)go();
    (void)expect_publish("zero", 0);
    uint16_t one = expect_publish("one", 1);
    assert_int_not_equal(early, one);
    acknowledge(one, 0);
    acknowledge(early, 0x10); /* nobody listens: that is no failure */
    assert_int_equal(w->p.counts.published, 3);
    assert_int_equal(w->p.outbox.end, 0);
    (void)go();
    nothing_sent();
    /* a ping, and no more than one, while nothing else is said */
    assert_int_equal(w->at, w->now + 45000);
    w->now = w->at;
    (void)go();
    struct slice body;
    assert_int_equal(next_sent(&body), 12);
    w->now += 1000;
    (void)go();
    nothing_sent();
    hear((const uint8_t[]){0xd0, 0}, 2);
    assert_int_equal(w->p.owed_ms, 0);
    /* and it leaves in order, for good */
    publisher_leave(&w->p, w->now);
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    assert_int_equal(next_sent(&body), MQTT_DISCONNECT);
    assert_int_equal(go(), PUBLISHER_REST);
    assert_true(w->at == INT64_MAX);
    publisher_hurry(&w->p, w->now);
    assert_int_equal(go(), PUBLISHER_REST);
    assert_int_equal(w->dials, 1);
}

static void test_unanswered_comes_again(void **state)
{
    (void)state;
    begin();
    put("a", 1);
    put("b", 1);
    (void)go();
    uint16_t a = expect_publish("a", 1);
    (void)expect_publish("b", 1);
    acknowledge(a, 0);
    publisher_lost(&w->p, ERR_CLOSED, w->now);
    w->connected = false;
    assert_int_equal(w->events[PUBLISHER_FAILED], 1);
    assert_int_equal(go(), PUBLISHER_REST);
    assert_int_equal(w->at, w->now + DEVICE_RETRY_FIRST_MS);
    put("c", 1);
    w->now = w->at;
    connect_up();
    (void)expect_publish("b", 1);
    (void)expect_publish("c", 1);
    nothing_sent();
}

static void test_window(void **state)
{
    (void)state;
    begin();
    char text[8];
    uint16_t ids[PUBLISHER_WINDOW];
    for (int i = 0; i < PUBLISHER_WINDOW + 2; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        put(text, 1);
    }
    (void)go();
    for (int i = 0; i < PUBLISHER_WINDOW; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        ids[i] = expect_publish(text, 1);
    }
    nothing_sent();
    acknowledge(ids[3], 0);
    (void)go();
    (void)snprintf(text, sizeof text, "%d", PUBLISHER_WINDOW);
    (void)expect_publish(text, 1);
    nothing_sent();
    /* one that takes less at a time is given less */
    publisher_lost(&w->p, ERR_CLOSED, w->now);
    w->connected = false;
    (void)go();
    w->now = w->at;
    dial();
    hear((const uint8_t[]){0x20, 6, 0, 0, 3, 0x21, 0, 1}, 8);
    (void)go();
    (void)expect_publish("0", 1);
    nothing_sent();
}

static void test_terms(void **state)
{
    (void)state;
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    dial();
    /* quality 0, nothing retained, packets of 20 bytes, keep alive 8 */
    hear((const uint8_t[]){0x20, 15, 0, 0, 12, 0x24, 0, 0x25, 0, 0x27, 0, 0, 0, 20, 0x13, 0, 8},
         17);
    struct message m = {
        .topic = SLICE_LITERAL("a/b"), .payload = SLICE_LITERAL("r"), .retain = true};
    assert_int_equal(publisher_put(&w->p, &m), ERR_NONE);
    put("0123456789", 1);
    put("short", 1);
    (void)go();
    (void)expect_publish("short", 0);
    nothing_sent();
    assert_int_equal(w->p.counts.refused, 2);
    assert_int_equal(w->p.counts.refused_reason, MQTT_TOO_LARGE);
    assert_int_equal(w->p.counts.published, 1);
    assert_int_equal(w->events[PUBLISHER_TALLY], 1);
    assert_int_equal(w->at, w->now + 6000);
}

static void test_refused_messages_are_told_in_one(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 5; i++) {
        put("x", 1);
        (void)go();
        acknowledge(expect_publish("x", 1), MQTT_NOT_AUTHORIZED);
        (void)go();
    }
    assert_int_equal(w->events[PUBLISHER_TALLY], 1);
    assert_int_equal(w->last.refused, 1);
    assert_true(slice_equal(w->last.topic, SLICE_LITERAL("a/b")));
    w->now += PUBLISHER_TELL_MS;
    (void)go();
    assert_int_equal(w->events[PUBLISHER_TALLY], 2);
    assert_int_equal(w->last.refused, 4);
    assert_int_equal(w->last.reason, MQTT_NOT_AUTHORIZED);
    /* none of them comes again */
    assert_int_equal(w->p.outbox.end, 0);
}

/* Whoever waits for it is told once, whichever way it went. */
static void test_tickets(void **state)
{
    (void)state;
    begin();
    put("a", 1);
    put("b", 1);
    put("c", 0);
    (void)go();
    uint16_t a = expect_publish("a", 1), b = expect_publish("b", 1);
    assert_int_equal(w->settled, 1); /* of quality 0: sent */
    assert_int_equal(w->ticket, 'c');
    acknowledge(b, MQTT_NOT_AUTHORIZED);
    assert_int_equal(w->ticket, 'b');
    assert_int_equal(w->reason, MQTT_NOT_AUTHORIZED);
    acknowledge(b, 0); /* once more: nobody's */
    assert_int_equal(w->settled, 2);
    publisher_lost(&w->p, ERR_CLOSED, w->now);
    w->connected = false;
    acknowledge(a, 0); /* too late: it is sent again, and settled then */
    assert_int_equal(w->settled, 2);
    (void)go();
    w->now = w->at;
    connect_up();
    acknowledge(expect_publish("a", 1), 0x10);
    assert_int_equal(w->ticket, 'a');
    assert_int_equal(w->settled, 3);
}

/* A broker that asks for a sign each second, and takes nothing: we do not spin. */
static void test_no_room_for_a_ping(void **state)
{
    (void)state;
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    dial();
    hear((const uint8_t[]){0x20, 6, 0, 0, 3, 0x13, 0, 1}, 8);
    w->take_max = 0;
    /* so that one byte is left behind the two of them */
    static uint8_t payload[PUBLISHER_PAYLOAD_MAX];
    struct message m = {.topic = SLICE_LITERAL("a/b"), .payload = slice_of(payload, 508)};
    assert_int_equal(publisher_put(&w->p, &m), ERR_NONE);
    m.payload.len = sizeof payload;
    m.quality = 1;
    assert_int_equal(publisher_put(&w->p, &m), ERR_NONE);
    (void)go();
    assert_int_equal(sizeof w->p.out - w->p.out_end, 1);
    for (int64_t end = w->now + PUBLISHER_PATIENCE_MS; w->now < end;) {
        assert_int_equal(go(), PUBLISHER_REST);
        assert_true(w->at > w->now);
        w->now = w->at;
    }
    assert_int_equal(go(), PUBLISHER_HANG_UP);
}

static void test_full(void **state)
{
    (void)state;
    static uint8_t payload[1000];
    const struct message m = {.topic = SLICE_LITERAL("a/b"),
                              .payload = slice_of(payload, sizeof payload)};
    for (int i = 0; i < 100; i++)
        assert_int_equal(publisher_put(&w->p, &m), ERR_NONE);
    (void)go();
    assert_int_equal(w->last.kind, PUBLISHER_TALLY);
    assert_int_equal(w->last.dropped + w->p.outbox.waiting, 100);
    assert_true(w->p.outbox.waiting >= 18);
    const struct message wrong[] = {{.topic = SLICE_LITERAL("a/#")},
                                    {.topic = SLICE_LITERAL("")},
                                    {.topic = SLICE_LITERAL("a\0b")}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(publisher_put(&w->p, &wrong[i]), ERR_SYNTAX);
}

static void test_rate(void **state)
{
    (void)state;
    w->options.per_minute = 60;
    begin();
    for (int i = 0; i < 100; i++)
        put("x", 0);
    (void)go();
    unsigned n = 0;
    struct slice body;
    for (; next_sent(&body) == MQTT_PUBLISH; n++)
        continue;
    assert_int_equal(n, 31); /* half a minute's, and the one that is due */
    assert_int_equal(w->at, w->now + 1000);
    int64_t start = w->now;
    while (w->now < start + 30000) {
        w->now = w->at;
        (void)go();
        while (next_sent(&body) == MQTT_PUBLISH)
            n++;
    }
    assert_int_equal(n, 61); /* never more than a broker with this limit lets through */
}

static void test_not_let_in(void **state)
{
    (void)state;
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    int64_t waits[16];
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        dial();
        hear((const uint8_t[]){0x20, 3, 0, MQTT_NOT_AUTHORIZED, 0}, 5);
        assert_int_equal(go(), PUBLISHER_HANG_UP);
        (void)go();
        waits[i] = w->at - w->now;
        w->now = w->at;
    }
    assert_int_equal(w->events[PUBLISHER_REFUSED], 16);
    assert_int_equal(waits[0], 2000); /* it may have enrolled a moment ago */
    assert_int_equal(waits[1], 4000);
    assert_int_equal(waits[15], 3600 * 1000);
    /* the hub has let it in */
    assert_int_equal(go(), PUBLISHER_DIAL);
    publisher_lost(&w->p, ERR_REFUSED, w->now);
    assert_int_equal(w->events[PUBLISHER_REFUSED], 17);
    assert_int_equal(go(), PUBLISHER_REST);
    publisher_hurry(&w->p, w->now);
    connect_up();
}

static void test_cut(void **state)
{
    (void)state;
    begin();
    put("x", 1);
    (void)go();
    disconnect_with(MQTT_ADMINISTRATIVE);
    assert_int_equal(w->events[PUBLISHER_CUT], 1);
    assert_int_equal(w->last.reason, MQTT_ADMINISTRATIVE);
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    assert_int_equal(go(), PUBLISHER_REST);
    assert_int_equal(w->at, w->now + 4500 * INT64_C(1000)); /* an hour, and a quarter by chance */
    put("y", 1);
    w->now = w->at - 1;
    assert_int_equal(go(), PUBLISHER_REST);
    publisher_lost(&w->p, ERR_CLOSED, w->now); /* closed by us: nothing more is said of it */
    assert_int_equal(w->events[PUBLISHER_FAILED], 0);
    w->now++;
    connect_up();
    (void)expect_publish("x", 1);
    /* put out by who came with the same identity: not in a hurry to do the same */
    disconnect_with(MQTT_TAKEN_OVER);
    assert_int_equal(w->events[PUBLISHER_REPLACED], 1);
    (void)go();
    assert_int_equal(go(), PUBLISHER_REST);
    assert_int_equal(w->at, w->now + 1125 * INT64_C(1000));
}

/* The hub ends the old certificate the moment the new one is used, and the broker hears of it
 * before we have changed over: that is no cut. */
static void test_renewal(void **state)
{
    (void)state;
    begin();
    publisher_expect_change(&w->p, true);
    disconnect_with(MQTT_ADMINISTRATIVE);
    assert_int_equal(w->events[PUBLISHER_CUT], 0);
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    publisher_expect_change(&w->p, false);
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    connect_up();
    /* in order: what is on its way is answered first, and nothing new is sent meanwhile */
    put("a", 1);
    (void)go();
    uint16_t a = expect_publish("a", 1);
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    put("b", 1);
    (void)go();
    nothing_sent();
    acknowledge(a, 0);
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    struct slice body;
    assert_int_equal(next_sent(&body), MQTT_DISCONNECT);
    connect_up();
    uint16_t b = expect_publish("b", 1);
    /* put out while leaving, or unanswered for too long: it comes again all the same */
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    disconnect_with(MQTT_ADMINISTRATIVE);
    assert_int_equal(w->events[PUBLISHER_CUT], 0);
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    assert_int_equal(go(), PUBLISHER_REST);
    w->now = w->at;
    connect_up();
    assert_int_not_equal(expect_publish("b", 1), b);
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    (void)go();
    assert_int_equal(w->at, w->now + PUBLISHER_LEAVE_MS);
    w->now = w->at;
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    connect_up();
    (void)expect_publish("b", 1);
    assert_int_equal(w->events[PUBLISHER_CUT], 0);
}

static void test_silence(void **state)
{
    (void)state;
    /* no CONNACK */
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    dial();
    assert_int_equal(w->at, w->now + PUBLISHER_PATIENCE_MS);
    w->now = w->at;
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    assert_int_equal(w->last.err, ERR_TIMEOUT);
    /* no PUBACK, though others come */
    (void)go();
    w->now = w->at;
    connect_up();
    put("x", 1);
    put("y", 1);
    (void)go();
    uint16_t x = expect_publish("x", 1);
    w->now += PUBLISHER_PATIENCE_MS - 1;
    acknowledge(x, 0);
    (void)go();
    assert_int_equal(w->p.state, PUBLISHER_UP);
    w->now += PUBLISHER_PATIENCE_MS;
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    /* a line that takes nothing */
    (void)go();
    w->now = w->at;
    connect_up();
    w->take_max = 0;
    put("z", 0);
    (void)go();
    w->now += PUBLISHER_PATIENCE_MS;
    assert_int_equal(go(), PUBLISHER_HANG_UP);
    /* an answer that lay there while we were held up is not late */
    w->take_max = SIZE_MAX;
    (void)go();
    w->now = w->at;
    connect_up();
    put("q", 1);
    (void)go();
    struct slice body;
    while (next_sent(&body) != 0)
        continue;
    w->now += 10 * PUBLISHER_PATIENCE_MS;
    for (uint16_t id = 1; id <= w->p.last_id; id++)
        acknowledge(id, 0);
    (void)go();
    assert_int_equal(w->p.state, PUBLISHER_UP);
}

/* Whatever is no answer of a broker ends the connection, and nothing is lost by it. */
static void test_nonsense(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[8];
        size_t len;
        bool greeting;
    } cases[] = {
        {{0x30, 5, 0, 1, 'a', 0, 'x'}, 7, false}, /* we subscribe to nothing */
        {{0x20, 3, 0, 0, 0}, 5, false},           /* once more */
        {{0x40, 1, 0}, 3, false},
        {{0x42, 2, 0, 1}, 4, false},
        {{0xd0, 1, 0}, 3, false},
        {{0xd1, 0}, 2, false},
        {{0x10, 0}, 2, false},
        {{0x00, 0}, 2, false},
        {{0xf0, 0}, 2, false},
        {{0x30, 0xff, 0xff, 0xff, 0xff}, 5, false},
        {{0x40, 0x81, 0x08}, 3, false}, /* 1025 bytes, before they come */
        {{0x40, 0xff, 0xff, 0xff, 0x7f}, 5, false},
        {{0xd0, 0}, 2, true},
        {{0xe0, 2, 0x98, 0}, 4, true},
        {{0x20, 3, 1, 0, 0}, 5, true}, /* a session that we never had */
        {{0x20, 2, 0}, 3, true},
    };
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    put("x", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned failed = w->events[PUBLISHER_FAILED];
        w->p.failures = 0;
        if (cases[i].greeting)
            dial();
        else
            connect_up();
        hear(cases[i].bytes, cases[i].len);
        bool whole = i + 1 < ARRAY_LEN(cases);
        if (whole && (go() != PUBLISHER_HANG_UP || w->events[PUBLISHER_FAILED] != failed + 1))
            fail_msg("case %zu is taken", i);
        if (!whole)
            continue; /* a piece of one, which is waited for */
        assert_int_equal(go(), PUBLISHER_REST);
        w->now = w->at;
        assert_int_equal(w->p.outbox.waiting, 1);
    }
    assert_int_equal(w->p.state, PUBLISHER_GREETING);
}

/* Byte by byte, and with a line that takes one at a time: the same comes of it. */
static void test_pieces(void **state)
{
    (void)state;
    publisher_identify(&w->p, SLICE_LITERAL("t-1"), w->now);
    w->take_max = 1;
    dial();
    static const uint8_t connack[] = {0x20, 6, 0, 0, 3, 0x21, 0, 2};
    for (size_t i = 0; i < sizeof connack; i++)
        hear(connack + i, 1);
    put("a", 1);
    put("b", 1);
    (void)go();
    uint16_t a = expect_publish("a", 1), b = expect_publish("b", 1);
    const uint8_t answers[] = {0x40, 2, 0, (uint8_t)a, 0x40, 3, 0, (uint8_t)b, 0, 0xd0, 0};
    for (size_t i = 0; i < sizeof answers; i++)
        hear(answers + i, 1);
    assert_int_equal(w->p.counts.published, 2);
    assert_int_equal(w->p.state, PUBLISHER_UP);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_life),
        CASE(test_unanswered_comes_again),
        CASE(test_window),
        CASE(test_terms),
        CASE(test_refused_messages_are_told_in_one),
        CASE(test_tickets),
        CASE(test_no_room_for_a_ping),
        CASE(test_full),
        CASE(test_rate),
        CASE(test_not_let_in),
        CASE(test_cut),
        CASE(test_renewal),
        CASE(test_silence),
        CASE(test_nonsense),
        CASE(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
