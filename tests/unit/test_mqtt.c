/* Packets of clients that publish: as MQTT 5.0 has them, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/mqtt.h"

static void test_written(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct writer w = writer_over(bytes, sizeof bytes);
    const struct mqtt_connect connect = {.client_id = SLICE_LITERAL("a"),
                                         .username = SLICE_LITERAL("u"),
                                         .password = SLICE_LITERAL("p"),
                                         .clean_start = true,
                                         .keep_alive = 60,
                                         .packet_max = 65536};
    mqtt_write_connect(&w, &connect);
    static const uint8_t expected[] = {0x10, 28, 0, 4,    'M', 'Q', 'T',  'T', 5, 0xc2,
                                       0,    60, 8, 0x21, 0,   1,   0x27, 0,   1, 0,
                                       0,    0,  1, 'a',  0,   1,   'u',  0,   1, 'p'};
    assert_int_equal(w.len, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
    w = writer_over(bytes, sizeof bytes);
    mqtt_write_publish(&w, SLICE_LITERAL("t"), 258, true, SLICE_LITERAL(""));
    static const uint8_t published[] = {0x33, 6, 0, 1, 't', 1, 2, 0};
    assert_int_equal(w.len, sizeof published);
    assert_memory_equal(bytes, published, sizeof published);
    w = writer_over(bytes, sizeof bytes);
    mqtt_write_publish(&w, SLICE_LITERAL("t"), 0, false, SLICE_LITERAL("x"));
    mqtt_write_ping(&w);
    mqtt_write_disconnect(&w);
    static const uint8_t others[] = {0x30, 5, 0, 1, 't', 0, 'x', 0xc0, 0, 0xe0, 0};
    assert_int_equal(w.len, sizeof others);
    assert_memory_equal(bytes, others, sizeof others);
    static const uint8_t long_id[UINT16_MAX + 1];
    static uint8_t room[UINT16_MAX + 256];
    w = writer_over(room, sizeof room);
    mqtt_write_publish(&w, slice_of(long_id, sizeof long_id), 0, false, SLICE_LITERAL(""));
    assert_int_equal(w.err, ERR_LIMIT);
}

static void test_packets(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[8];
        size_t len;
        enum err err;
        size_t used;
    } cases[] = {
        {{0x20}, 1, ERR_NONE, 0},
        {{0xd0, 0}, 2, ERR_NONE, 2},
        {{0xd0, 0, 0x20}, 3, ERR_NONE, 2},
        {{0x20, 3, 0, 0}, 4, ERR_NONE, 0},
        {{0x20, 3, 0, 0, 0}, 5, ERR_NONE, 5},
        {{0x30, 0x80, 1}, 3, ERR_NONE, 0},   /* 128 bytes, not there yet */
        {{0x30, 0x80, 0}, 3, ERR_SYNTAX, 0}, /* 0 in two bytes */
        {{0x30, 0xff, 0xff, 0xff, 0xff, 1}, 6, ERR_SYNTAX, 0},
        {{0x30, 0xff, 0xff, 0xff}, 4, ERR_NONE, 0},
        {{0x30, 0x81, 0x80, 0x04}, 4, ERR_LIMIT, 0}, /* 65,537 */
        {{0x30, 0xff, 0xff, 0xff, 0x7f}, 5, ERR_LIMIT, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mqtt_packet packet;
        size_t used = 99;
        enum err err =
            mqtt_packet_read(slice_of(cases[i].bytes, cases[i].len), 65536, &packet, &used);
        if (err != cases[i].err || used != cases[i].used)
            fail_msg("case %zu: %s, %zu", i, err_text(err), used);
    }
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        uint8_t type, flags, body[8];
        size_t len;
        enum err err;
    } connacks[] = {
        {2, 0, {0, 0, 0}, 3, ERR_NONE},      {2, 0, {1, 0, 3, 0x21, 0, 20}, 6, ERR_NONE},
        {2, 0, {0, 1}, 2, ERR_NONE}, /* version 3: unacceptable protocol version */
        {2, 0, {2, 0, 0}, 3, ERR_SYNTAX},    {2, 1, {0, 0, 0}, 3, ERR_SYNTAX},
        {4, 0, {0, 0, 0}, 3, ERR_SYNTAX},    {2, 0, {0, 0, 1}, 3, ERR_SYNTAX},
        {2, 0, {0, 0, 0, 0}, 4, ERR_SYNTAX}, {2, 0, {0}, 1, ERR_SYNTAX},
        {2, 0, {0, 0, 0x80}, 3, ERR_SYNTAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(connacks); i++) {
        struct mqtt_packet packet = {connacks[i].type, connacks[i].flags,
                                     slice_of(connacks[i].body, connacks[i].len)};
        struct mqtt_connack connack = {0};
        enum err err = mqtt_connack_read(&packet, &connack);
        if (err != connacks[i].err)
            fail_msg("connack %zu: %s", i, err_text(err));
        if (err == ERR_NONE) {
            assert_int_equal(connack.session_present, connacks[i].body[0]);
            assert_int_equal(connack.reason, connacks[i].body[1]);
        }
    }
    static const struct {
        uint8_t body[8];
        size_t len;
        enum err err;
        uint8_t reason;
    } pubacks[] = {
        {{1, 2}, 2, ERR_NONE, 0},
        {{1, 2, 0x10}, 3, ERR_NONE, 0x10},
        {{1, 2, 0x87, 0}, 4, ERR_NONE, 0x87},
        {{1, 2, 0x87, 2, 0, 0}, 6, ERR_NONE, 0x87},
        {{1, 2, 0x87, 2, 0}, 5, ERR_SYNTAX, 0},
        {{1}, 1, ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(pubacks); i++) {
        struct mqtt_packet packet = {MQTT_PUBACK, 0, slice_of(pubacks[i].body, pubacks[i].len)};
        struct mqtt_puback puback = {0};
        enum err err = mqtt_puback_read(&packet, &puback);
        if (err != pubacks[i].err)
            fail_msg("puback %zu: %s", i, err_text(err));
        if (err == ERR_NONE) {
            assert_int_equal(puback.id, 258);
            assert_int_equal(puback.reason, pubacks[i].reason);
        }
    }
}

/* A client without a name and a password says so: its certificate is who it is. */
static void test_connect_by_certificate(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct writer w = writer_over(bytes, sizeof bytes);
    const struct mqtt_connect connect = {.client_id = SLICE_LITERAL("t-1"),
                                         .clean_start = true,
                                         .keep_alive = 60,
                                         .packet_max = 1024};
    mqtt_write_connect(&w, &connect);
    static const uint8_t expected[] = {0x10, 24, 0,  4, 'M',  'Q', 'T', 'T',  5,
                                       0x02, 0,  60, 8, 0x21, 0,   1,   0x27, 0,
                                       0,    4,  0,  0, 3,    't', '-', '1'};
    assert_int_equal(w.len, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static enum err read_connack(const uint8_t *body, size_t len, struct mqtt_connack *ret_connack)
{
    const struct mqtt_packet packet = {MQTT_CONNACK, 0, slice_of(body, len)};
    return mqtt_connack_read(&packet, ret_connack);
}

static void test_terms(void **state)
{
    (void)state;
    /* every property that a CONNACK may have */
    static uint8_t all[] = {
        0,    0, 0,                  /* */
        0x11, 0, 0,    0,   9,       /* session expiry */
        0x12, 0, 2,    'i', 'd',     /* client id */
        0x13, 0, 30,                 /* keep alive */
        0x15, 0, 0,                  /* authentication */
        0x16, 0, 0,                  /* */
        0x1a, 0, 1,    'r',          /* response information */
        0x1c, 0, 0,                  /* another server */
        0x1f, 0, 1,    '?',          /* reason */
        0x21, 0, 7,                  /* receive maximum */
        0x22, 0, 1,                  /* aliases */
        0x24, 0,                     /* quality */
        0x25, 0,                     /* retain */
        0x26, 0, 1,    'a', 0,    0, /* user properties, any number */
        0x26, 0, 0,    0,   0,       /* */
        0x27, 0, 0,    8,   0,       /* packet size */
        0x28, 1, 0x29, 1,   0x2a, 1,
    };
    struct mqtt_connack c;
    all[2] = (uint8_t)(sizeof all - 3);
    assert_int_equal(read_connack(all, sizeof all, &c), ERR_NONE);
    assert_true(c.has_keep_alive && c.retain_refused);
    assert_int_equal(c.keep_alive, 30);
    assert_int_equal(c.receive_max, 7);
    assert_int_equal(c.quality_max, 0);
    assert_int_equal(c.packet_max, 2048);
    for (size_t cut = 0; cut < sizeof all; cut++) {
        /* at its exact size, so that a byte read too far is seen */
        uint8_t *copy = malloc(cut + (cut == 0));
        assert_non_null(copy);
        memcpy(copy, all, cut);
        enum err err = read_connack(copy, cut, &c);
        if (cut != 2) /* flags and reason alone: of version 3 */
            assert_int_equal(err, ERR_SYNTAX);
        if (cut > 2) { /* and where the length of the properties fits again */
            copy[2] = (uint8_t)(cut - 3);
            err = read_connack(copy, cut, &c);
            assert_true(err == ERR_NONE || err == ERR_SYNTAX);
        }
        free(copy);
    }
    assert_int_equal(read_connack((const uint8_t[]){0, 0, 0}, 3, &c), ERR_NONE);
    assert_int_equal(c.receive_max, 65535);
    assert_int_equal(c.quality_max, 2);
    assert_int_equal(c.packet_max, UINT32_MAX);
    static const struct {
        uint8_t body[16];
        size_t len;
    } wrong[] = {
        {{0, 0, 6, 0x21, 0, 1, 0x21, 0, 1}, 9}, /* twice */
        {{0, 0, 3, 0x21, 0, 0}, 6},             /* none at a time */
        {{0, 0, 2, 0x24, 2}, 5},                /* no such quality */
        {{0, 0, 5, 0x27, 0, 0, 0, 0}, 8},       /* no packet at all */
        {{0, 0, 2, 0x01, 0}, 5},                /* of a message */
        {{0, 0, 2, 0xff, 0}, 5},
        {{0, 0, 4, 0x12, 0xff, 0xff, 'x'}, 7}, /* a text longer than all there is */
        {{0, 0, 1, 0x21, 0, 1}, 6},            /* cut by its own length */
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (read_connack(wrong[i].body, wrong[i].len, &c) != ERR_SYNTAX)
            fail_msg("case %zu is taken", i);
}

static void test_disconnect(void **state)
{
    (void)state;
    static const struct {
        uint8_t type, flags, body[6];
        size_t len;
        enum err err;
        uint8_t reason;
    } cases[] = {
        {14, 0, {0}, 0, ERR_NONE, 0},
        {14, 0, {0x98}, 1, ERR_NONE, 0x98},
        {14, 0, {0x8e, 0}, 2, ERR_NONE, 0x8e},
        {14, 0, {0x98, 3, 0x1f, 0, 0}, 5, ERR_NONE, 0x98},
        {14, 0, {0x98, 3, 0x1f, 0}, 4, ERR_SYNTAX, 0},
        {14, 0, {0x98, 0, 0}, 3, ERR_SYNTAX, 0},
        {14, 1, {0x98}, 1, ERR_SYNTAX, 0},
        {3, 0, {0x98}, 1, ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct mqtt_packet packet = {cases[i].type, cases[i].flags,
                                           slice_of(cases[i].body, cases[i].len)};
        uint8_t reason = 0;
        enum err err = mqtt_disconnect_read(&packet, &reason);
        if (err != cases[i].err || reason != cases[i].reason)
            fail_msg("case %zu: %s, %u", i, err_text(err), reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written), cmocka_unit_test(test_packets),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_connect_by_certificate),
        cmocka_unit_test(test_terms),   cmocka_unit_test(test_disconnect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
