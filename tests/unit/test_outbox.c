/* Messages that wait: in order, bounded, the oldest dropped first, none damaged; against a model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/lib/outbox.h"

#define ROOM 1000

static struct message message_of(const char *topic, const char *payload)
{
    return (struct message){
        .topic = slice_of_text(topic), .payload = slice_of_text(payload), .quality = 1};
}

static void put(struct outbox *o, const char *payload, uint32_t dropped)
{
    const struct message m = message_of("t", payload);
    uint32_t found = 99;
    assert_int_equal(outbox_put(o, &m, &found), ERR_NONE);
    assert_int_equal(found, dropped);
}

static size_t expect_next(const struct outbox *o, const char *payload)
{
    struct message m;
    size_t place = 0;
    assert_true(outbox_next(o, &m, &place));
    assert_true(slice_equal(m.payload, slice_of_text(payload)));
    return place;
}

static void test_order(void **state)
{
    (void)state;
    uint8_t room[ROOM];
    struct outbox o = outbox_over(room, sizeof room);
    struct message m;
    size_t place;
    assert_false(outbox_next(&o, &m, &place));
    put(&o, "one", 0);
    put(&o, "two", 0);
    put(&o, "three", 0);
    outbox_sent(&o, expect_next(&o, "one"), 1);
    outbox_sent(&o, expect_next(&o, "two"), 2);
    assert_int_equal(o.waiting, 1);
    assert_int_equal(o.sent, 2);
    /* answered out of order, and what was never sent */
    assert_false(outbox_find(&o, 3, &m, &place));
    assert_true(outbox_find(&o, 2, &m, &place));
    outbox_done(&o, place);
    assert_false(outbox_find(&o, 2, &m, &place));
    (void)expect_next(&o, "three");
    /* the connection is gone: "one" comes again, before "three", and "two" does not */
    outbox_rewind(&o);
    assert_int_equal(o.waiting, 2);
    assert_int_equal(o.sent, 0);
    outbox_done(&o, expect_next(&o, "one"));
    outbox_done(&o, expect_next(&o, "three"));
    assert_false(outbox_next(&o, &m, &place));
    assert_int_equal(o.end, 0);
}

static void test_dropping(void **state)
{
    (void)state;
    uint8_t room[ROOM];
    char text[301];
    struct outbox o = outbox_over(room, sizeof room);
    memset(text, 'x', 300);
    text[300] = '\0';
    for (int i = 0; i < 3; i++) {
        text[0] = "abc"[i];
        put(&o, text, 0);
    }
    text[0] = 'a';
    outbox_sent(&o, expect_next(&o, text), 7);
    text[0] = 'd';
    put(&o, text, 1); /* one that is on its way, too */
    assert_int_equal(o.sent, 0);
    assert_int_equal(o.waiting, 3);
    struct message m;
    size_t place;
    assert_false(outbox_find(&o, 7, &m, &place));
    text[0] = 'b';
    (void)expect_next(&o, text);
    /* larger than all the room, or than the limits: nothing is dropped for it */
    static uint8_t large[PUBLISHER_PAYLOAD_MAX + 1];
    uint32_t dropped = 99;
    const struct message wrong[] = {
        {.topic = SLICE_LITERAL("t"), .payload = slice_of(large, ROOM)},
        {.topic = SLICE_LITERAL("t"), .payload = slice_of(large, sizeof large)},
        {.topic = slice_of(large, PUBLISHER_TOPIC_MAX + 1)},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(outbox_put(&o, &wrong[i], &dropped), ERR_LIMIT);
    assert_int_equal(dropped, 99);
    assert_int_equal(o.waiting, 3);
}

/* ---- against a model ---- */

#define MODEL_MAX 200

struct model {
    struct {
        unsigned number;
        uint16_t id; /* 0: waits */
        bool done;
    } all[MODEL_MAX];
    size_t n;
};

static unsigned number_in(const struct message *m)
{
    unsigned number;
    memcpy(&number, m->payload.data, sizeof number);
    for (size_t i = sizeof number; i < m->payload.len; i++)
        assert_int_equal(m->payload.data[i], number % 251); /* none of it is another's */
    return number;
}

static size_t first_waiting(const struct model *model)
{
    size_t i = 0;
    while (i < model->n && (model->all[i].done || model->all[i].id != 0))
        i++;
    return i;
}

static void model_put(struct model *model, struct outbox *o, unsigned number, size_t len)
{
    uint8_t payload[400];
    memset(payload, (int)(number % 251), sizeof payload);
    memcpy(payload, &number, sizeof number);
    const struct message m = {.topic = SLICE_LITERAL("a/b"), .payload = slice_of(payload, len)};
    uint32_t dropped;
    assert_int_equal(outbox_put(o, &m, &dropped), ERR_NONE);
    /* from the oldest on, and such as are done are no loss */
    size_t from = 0;
    while (dropped > 0) {
        dropped -= !model->all[from].done;
        model->all[from++].done = true;
    }
    while (model->n == MODEL_MAX || (model->n > 0 && model->all[0].done)) {
        memmove(&model->all[0], &model->all[1], (--model->n) * sizeof model->all[0]);
    }
    model->all[model->n].number = number;
    model->all[model->n].id = 0;
    model->all[model->n++].done = false;
}

static void test_against_model(void **state)
{
    (void)state;
    uint8_t room[ROOM];
    static struct model model;
    struct outbox o = outbox_over(room, sizeof room);
    unsigned dice = 1;
    uint16_t id = 0;
    for (unsigned number = 1; number <= 20000; number++) {
        dice = dice * 1103515245 + 12345;
        unsigned what = dice >> 16 & 15, arg = dice >> 20;
        struct message m;
        size_t place, at = first_waiting(&model);
        assert_int_equal(outbox_next(&o, &m, &place), at < model.n);
        if (at < model.n)
            assert_int_equal(number_in(&m), model.all[at].number);
        if (what < 7) {
            model_put(&model, &o, number, sizeof number + arg % 300);
        } else if (what < 11 && at < model.n) {
            outbox_sent(&o, place, ++id);
            model.all[at].id = id;
        } else if (what < 14 && model.n > 0) {
            size_t i = arg % model.n;
            bool sent = model.all[i].id != 0 && !model.all[i].done;
            uint16_t asked = model.all[i].id == 0 ? 65535 : model.all[i].id;
            assert_int_equal(outbox_find(&o, asked, &m, &place), sent);
            if (sent) {
                assert_int_equal(number_in(&m), model.all[i].number);
                outbox_done(&o, place);
                model.all[i].done = true;
            }
        } else if (what == 15) {
            outbox_rewind(&o);
            for (size_t i = 0; i < model.n; i++)
                if (!model.all[i].done)
                    model.all[i].id = 0;
        }
        uint32_t waiting = 0, sent = 0;
        for (size_t i = 0; i < model.n; i++) {
            waiting += !model.all[i].done && model.all[i].id == 0;
            sent += !model.all[i].done && model.all[i].id != 0;
        }
        assert_int_equal(o.waiting, waiting);
        assert_int_equal(o.sent, sent);
        assert_true(o.end <= sizeof room && o.start <= o.end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_dropping),
        cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
