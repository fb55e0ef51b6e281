/* The plugin's own packets: as MQTT 5.0 has them, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_packets),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
