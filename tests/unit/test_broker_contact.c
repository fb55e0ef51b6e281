/* How stale a broker's knowledge is, whatever happens to its clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/contact.h"

#define DAY 86400

static struct contact_now at(int64_t wall, int64_t boot_seconds, uint8_t boot)
{
    return (struct contact_now){.wall = wall, .boot_seconds = boot_seconds, .boot = {boot}};
}

static struct contact kept(const struct contact *c, struct contact_now then, struct contact_now now)
{
    uint8_t bytes[64];
    struct writer w = writer_over(bytes, sizeof bytes);
    contact_write(&w, c, &then);
    assert_int_equal(w.err, ERR_NONE);
    struct contact again;
    assert_int_equal(contact_read(writer_bytes(&w), &now, &again), ERR_NONE);
    for (size_t len = 0; len < w.len; len++) {
        struct contact none;
        assert_int_equal(contact_read(slice_of(bytes, len), &now, &none), ERR_SYNTAX);
    }
    return again;
}

static void test_while_it_runs(void **state)
{
    (void)state;
    struct contact c;
    contact_init(&c);
    struct contact_now now = at(1000 * DAY, 50, 1);
    assert_int_equal(contact_stale(&c, &now), CONTACT_STALE_EVER);
    contact_answered(&c, &now);
    now.boot_seconds += 10;
    assert_int_equal(contact_stale(&c, &now), 0); /* in touch */
    contact_lost(&c);
    assert_int_equal(contact_stale(&c, &now), 10);
    now.wall = 1; /* set back: no matter */
    now.boot_seconds += 100;
    assert_int_equal(contact_stale(&c, &now), 110);
    assert_int_equal(contact_date(&c, &now), 1000 * DAY + 110);
    contact_answered(&c, &now); /* and the hub's certificate says that this is the date */
    assert_int_equal(contact_date(&c, &now), 1);
}

static void test_over_restarts(void **state)
{
    (void)state;
    static const struct {
        int64_t wall, boot_seconds;
        uint8_t boot;
        int64_t stale;
    } cases[] = {
        {1000 * DAY + 60, 160, 1, 60},              /* the same boot */
        {1, 160, 1, 60},                            /* its clock was set back */
        {1000 * DAY + 9999, 160, 1, 60},            /* or forward */
        {1000 * DAY + 60, 5, 2, 60},                /* another boot: by the wall clock */
        {1000 * DAY - 1, 5, 2, CONTACT_STALE_EVER}, /* which was set back */
        {1000 * DAY + 60, 40, 1, 60},               /* the same boot with less of it: no */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct contact c;
        contact_init(&c);
        struct contact_now then = at(1000 * DAY, 100, 1);
        contact_answered(&c, &then);
        struct contact_now now = at(cases[i].wall, cases[i].boot_seconds, cases[i].boot);
        struct contact again = kept(&c, then, now);
        assert_false(again.in_touch);
        assert_int_equal(contact_stale(&again, &now), cases[i].stale);
        assert_true(contact_date(&again, &now) >= 1000 * DAY);
    }
}

/* Staleness adds up over many restarts without a hub. */
static void test_adds_up(void **state)
{
    (void)state;
    struct contact c;
    contact_init(&c);
    struct contact_now now = at(1000 * DAY, 100, 1);
    contact_answered(&c, &now);
    contact_lost(&c);
    for (uint8_t boot = 2; boot < 12; boot++) {
        now.boot_seconds += 30;
        now.wall += 30;
        struct contact_now later = at(now.wall + 70, 1, boot);
        c = kept(&c, now, later);
        now = later;
    }
    assert_int_equal(contact_stale(&c, &now), 1000);
    /* Once it is not known, only a hub's answer helps. */
    struct contact_now back = at(1, 1, 99);
    c = kept(&c, now, back);
    back.wall = 2000 * DAY;
    c = kept(&c, back, back);
    assert_int_equal(contact_stale(&c, &back), CONTACT_STALE_EVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_while_it_runs),
        cmocka_unit_test(test_over_restarts),
        cmocka_unit_test(test_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
