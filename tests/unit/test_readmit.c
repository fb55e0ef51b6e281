/* Asleep past expiry, by a person's word: what an approval is good for, and what an incident or a
 * clock that was set back closes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sleeper.h"

/* ---- a person's word ---- */

static void an_approval_serves_once(void **state)
{
    struct house *h = *state;
    struct enrolling x, again;
    struct readmit_act r;
    EVP_PKEY *fresh = new_key(), *other = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", GRACE + 60);
    assert_grace(h, "a", GRACE_STATE_OVER);
    assert_refused(h, &s, fresh, 403, "grace-over");
    uint64_t size = ledger_size(h);
    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    assert_int_equal(ledger_size(h), size + 1);
    assert_grace(h, "a", GRACE_STATE_READMITTED);
    come_back(h, &x, &s, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(read_device(h, "a").state, DEVICE_ENROLLED);
    /* used up; but whoever lost the answer may have it again */
    assert_refused(h, &s, other, 403, "grace-over");
    assert_grace(h, "a", GRACE_STATE_OVER);
    come_back(h, &again, &s, fresh);
    assert_int_equal(enrolling_wait(h, &again), ERR_NONE);
    assert_true(slice_equal(again.e.certificate, x.e.certificate));
    use(h, x.e.certificate);
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);
    enrolling_free(&again);

    /* and grace is what it was, for what it has now */
    clock_shift(2 * 3600);
    assert_grace(h, "a", GRACE_STATE_OPEN);
    clock_shift(-2 * 3600);
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(other);
    EVP_PKEY_free(s.key);
}

static void two_at_once_share_no_approval(void **state)
{
    struct house *h = *state;
    struct enrolling x[2];
    struct readmit_act r;
    EVP_PKEY *keys[2] = {new_key(), new_key()};
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", GRACE + 60);
    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    uint64_t size = ledger_size(h);
    for (size_t i = 0; i < 2; i++)
        come_back(h, &x[i], &s, keys[i]);
    assert_int_equal(x[0].ended + x[1].ended, 0); /* both are past their first look */
    (void)enrolling_wait(h, &x[0]);
    (void)enrolling_wait(h, &x[1]);
    size_t winner = x[0].e.act.write.err == ERR_NONE ? 0 : 1;
    assert_int_equal(x[winner].e.act.write.err, ERR_NONE);
    assert_problem(&x[1 - winner].e.act, 403, "grace-over", "");
    assert_int_equal(ledger_size(h), size + 1);
    for (size_t i = 0; i < 2; i++) {
        enrolling_free(&x[i]);
        EVP_PKEY_free(keys[i]);
    }
    EVP_PKEY_free(s.key);
}

static void an_approval_has_bounds(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct readmit_act r;
    struct move_act m;
    struct enrolling x;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", GRACE + 60);
    static const int64_t wrong[] = {-1, 0, IDENTITY_READMIT_MAX + 60};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        (void)readmit(h, &r, "a", wrong[i]);
        assert_problem(&r.act, 400, "field-value", "expires_at");
    }
    (void)readmit(h, &r, "nobody", DAY);
    assert_problem(&r.act, 404, "device-not-found", "device");
    expect_device(h, "listed", "new", code);
    (void)readmit(h, &r, "new", DAY);
    assert_problem(&r.act, 409, "not-readmittable", "device");
    enrol_by_claim(h, &x, "new", code, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    (void)readmit(h, &r, "new", DAY); /* has a certificate, and never used one */
    assert_problem(&r.act, 409, "not-readmittable", "device");
    enrolling_free(&x);
    EVP_PKEY_free(fresh);

    /* it ends, and a clock that is set back does not revive it */
    fresh = new_key();
    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    clock_shift(DAY + 60);
    assert_refused(h, &s, fresh, 403, "grace-over");
    assert_int_equal(move(h, &m, "new", MOVE_QUARANTINE), ERR_NONE); /* an entry of that time */
    clock_shift(-DAY - 60);
    assert_refused(h, &s, fresh, 403, "grace-over");
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
}

/* ---- keys that somebody may have touched ---- */

static void assert_not_released(struct house *h, const char *device)
{
    struct move_act m;
    uint64_t size = ledger_size(h);
    (void)move(h, &m, device, MOVE_RELEASE);
    assert_problem(&m.act, 409, "key-not-new", "device");
    assert_int_equal(read_device(h, device).state, DEVICE_QUARANTINED);
    assert_int_equal(ledger_size(h), size);
}

static void an_incident_closes_grace_until_readmitted(void **state)
{
    struct house *h = *state;
    struct enrolling x, again;
    struct move_act m;
    struct readmit_act r;
    EVP_PKEY *fresh = new_key(), *thief = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", 60);
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    /* that keys were touched comes out later; an ordinary quarantine can't be said twice */
    (void)move(h, &m, "a", MOVE_QUARANTINE);
    assert_problem(&m.act, 409, "move-not-possible", "device");
    (void)readmit(h, &r, "a", DAY);
    assert_problem(&r.act, 409, "not-readmittable", "device");
    assert_int_equal(touch_keys(h, &m, "a"), ERR_NONE);
    assert_not_released(h, "a");
    assert_grace(h, "a", GRACE_STATE_CLOSED);
    assert_refused(h, &s, fresh, 403, "grace-closed");

    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    assert_refused(h, &s, s.key, 409, "key-not-fresh");
    come_back(h, &x, &s, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(read_device(h, "a").state, DEVICE_QUARANTINED);
    /* the touched key brings nobody back, not even before the fresh one was used */
    assert_refused(h, &s, thief, 403, "device-quarantined");
    come_back(h, &again, &s, fresh);
    assert_int_equal(enrolling_wait(h, &again), ERR_NONE);
    assert_true(slice_equal(again.e.certificate, x.e.certificate));
    enrolling_free(&again);
    assert_not_released(h, "a");
    use(h, x.e.certificate);
    assert_int_equal(move(h, &m, "a", MOVE_RELEASE), ERR_NONE);
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);

    /* the next long sleep is one like any other */
    (void)snprintf(s.serial, sizeof s.serial, "%s", x.e.issued);
    clock_shift(91 * DAY);
    assert_grace(h, "a", GRACE_STATE_OPEN);
    clock_shift(-91 * DAY);
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(thief);
    EVP_PKEY_free(s.key);
}

/* The approval was for the incident before; and an answer that got lost is lost. */
static void a_second_incident_closes_it_again(void **state)
{
    struct house *h = *state;
    struct enrolling x;
    struct move_act m;
    struct readmit_act r;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", 60), t = fall_asleep(h, "listed", "b", 60);
    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    assert_int_equal(touch_keys(h, &m, "a"), ERR_NONE);
    assert_refused(h, &s, fresh, 403, "grace-closed");

    come_back(h, &x, &t, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(touch_keys(h, &m, "b"), ERR_NONE);
    assert_refused(h, &t, fresh, 403, "grace-closed");
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
    EVP_PKEY_free(t.key);
}

/* A device that is awake. Whoever stole its key can renew as well, before and after; what counts is
 * the one renewal that a person allowed, and that it is used. */
static void a_thief_does_not_lead_it_out_of_quarantine(void **state)
{
    struct house *h = *state;
    struct enrolling stolen, x, late, again;
    struct move_act m;
    struct readmit_act r;
    EVP_PKEY *fresh = new_key(), *thief = new_key(), *other = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", -10 * DAY);
    age(h, s.serial, DAY);
    assert_int_equal(touch_keys(h, &m, "a"), ERR_NONE);
    enrol_by_certificate(h, &stolen, "a", s.serial, thief);
    assert_int_equal(enrolling_wait(h, &stolen), ERR_NONE);
    assert_not_released(h, "a");

    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    enrol_by_certificate(h, &x, "a", s.serial, s.key); /* renewed, and no new key */
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    enrolling_free(&x);
    assert_not_released(h, "a");
    enrol_by_certificate(h, &x, "a", s.serial, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_not_released(h, "a");
    enrol_by_certificate(h, &late, "a", s.serial, other);
    (void)enrolling_wait(h, &late);
    assert_problem(&late.e.act, 403, "certificate-not-current", "");
    enrol_by_certificate(h, &again, "a", s.serial, fresh); /* it lost the answer */
    assert_int_equal(enrolling_wait(h, &again), ERR_NONE);
    assert_true(slice_equal(again.e.certificate, x.e.certificate));

    use(h, x.e.certificate);
    assert_int_equal(move(h, &m, "a", MOVE_RELEASE), ERR_NONE);
    assert_int_equal(read_certificate(h, stolen.e.issued).status, CERTIFICATE_RETIRED);
    assert_int_equal(read_certificate(h, s.serial).status, CERTIFICATE_RETIRED);
    enrolling_free(&stolen);
    enrolling_free(&x);
    enrolling_free(&late);
    enrolling_free(&again);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(thief);
    EVP_PKEY_free(other);
    EVP_PKEY_free(s.key);
}

/* ---- clocks ---- */

static void a_clock_set_back_opens_nothing(void **state)
{
    struct house *h = *state;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", GRACE + 60);
    assert_refused(h, &s, fresh, 403, "grace-over");
    clock_shift(-DAY);
    assert_refused(h, &s, fresh, 403, "grace-over");
    clock_shift(-GRACE);
    assert_refused(h, &s, fresh, 403, "certificate-in-date");
    clock_shift(GRACE + DAY);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_approval_serves_once),
        TEST(two_at_once_share_no_approval),
        TEST(an_approval_has_bounds),
        TEST(an_incident_closes_grace_until_readmitted),
        TEST(a_second_incident_closes_it_again),
        TEST(a_thief_does_not_lead_it_out_of_quarantine),
        TEST(a_clock_set_back_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
