/* Asleep past expiry: who comes back by himself with a certificate that has run out, and who does
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sleeper.h"

/* ---- within the window ---- */

static void comes_back_enrolled_and_proves_itself(void **state)
{
    static const char *const kinds[] = {"listed", "approved"};
    struct house *h = *state;
    make_models(h);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct enrolling x;
        struct certificate c;
        struct move_act m;
        EVP_PKEY *fresh = new_key();
        struct sleeper s = fall_asleep(h, kinds[i], kinds[i], GRACE - 60);
        assert_grace(h, s.id, GRACE_STATE_OPEN);
        come_back(h, &x, &s, fresh);
        assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
        /* a short life, and nothing of the trust it had */
        assert_int_equal(certificate_read(x.e.certificate, &c), ERR_NONE);
        assert_in_range(c.not_after - clock_seconds(), 3600 - 60, 3600);
        assert_int_equal(read_device(h, s.id).state, DEVICE_ENROLLED);
        assert_int_equal(read_device(h, s.id).was_trusted, 0);
        assert_int_equal(read_certificate(h, s.serial).status, CERTIFICATE_ACTIVE);
        use(h, x.e.certificate);
        assert_int_equal(read_certificate(h, s.serial).status, CERTIFICATE_RETIRED);
        assert_no_grace(h, s.id);
        if (i == 1) {
            assert_int_equal(read_device(h, s.id).state, DEVICE_ENROLLED);
            assert_int_equal(move(h, &m, s.id, MOVE_APPROVE), ERR_NONE);
        }
        assert_int_equal(read_device(h, s.id).state, DEVICE_TRUSTED);
        assert_int_equal(read_device(h, s.id).was_trusted, 1);
        enrolling_free(&x);
        EVP_PKEY_free(fresh);
        EVP_PKEY_free(s.key);
    }
}

/* Out of a quarantine that came in between it gets back no more than it had by then. */
static void a_release_does_not_stand_for_the_proof(void **state)
{
    struct house *h = *state;
    struct enrolling x;
    struct move_act m;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "approved", "a", 60);
    come_back(h, &x, &s, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    assert_int_equal(move(h, &m, "a", MOVE_RELEASE), ERR_NONE);
    assert_int_equal(read_device(h, "a").state, DEVICE_ENROLLED);
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
}

/* It had not proven itself when it fell asleep; and is no more than enrolled when it is back. */
static void one_that_was_only_enrolled_comes_back_so(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct sleeper s = {.id = "a", .key = new_key()};
    EVP_PKEY *fresh = new_key();
    make_models(h);
    expect_device(h, "approved", "a", code);
    enrol_by_claim(h, &x, "a", code, s.key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    (void)snprintf(s.serial, sizeof s.serial, "%s", x.e.issued);
    use(h, x.e.certificate);
    age(h, s.serial, DAY);
    enrolling_free(&x);
    come_back(h, &x, &s, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    use(h, x.e.certificate);
    assert_int_equal(read_device(h, "a").state, DEVICE_ENROLLED);
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
}

/* ---- refused ---- */

static void refuses_what_is_not_the_last_and_expired(void **state)
{
    struct house *h = *state;
    struct enrolling x;
    EVP_PKEY *fresh = new_key(), *other = new_key();
    make_models(h);

    /* in date still: it renews as any device does */
    struct sleeper s = fall_asleep(h, "listed", "a", -60);
    assert_no_grace(h, "a");
    assert_refused(h, &s, fresh, 403, "certificate-in-date");

    /* issued, but never used: not what it went to sleep with */
    struct sleeper unused = s;
    enrol_by_certificate(h, &x, "a", s.serial, other);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    (void)snprintf(unused.serial, sizeof unused.serial, "%s", x.e.issued);
    age(h, s.serial, DAY);
    age(h, unused.serial, 91 * DAY);
    assert_refused(h, &unused, fresh, 403, "certificate-not-current");
    assert_false(x.e.retired_shown);
    enrolling_free(&x);

    /* replaced: somebody went on with a newer one */
    come_back(h, &x, &s, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    use(h, x.e.certificate);
    age(h, x.e.issued, DAY);
    enrolling_free(&x);
    EVP_PKEY *third = new_key();
    come_back(h, &x, &s, third);
    (void)enrolling_wait(h, &x);
    assert_problem(&x.e.act, 403, "certificate-not-current", "");
    assert_true(x.e.retired_shown);
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(other);
    EVP_PKEY_free(third);
    EVP_PKEY_free(s.key);
}

static void refuses_every_key_that_was_seen(void **state)
{
    struct house *h = *state;
    struct enrolling x;
    EVP_PKEY *pending = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", -60), t = fall_asleep(h, "listed", "b", 60);
    /* a renewal whose answer was lost, and which has run out, too */
    enrol_by_certificate(h, &x, "a", s.serial, pending);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    age(h, s.serial, DAY);
    age(h, x.e.issued, 91 * DAY);
    assert_refused(h, &s, s.key, 409, "key-not-fresh");
    assert_refused(h, &s, pending, 409, "key-not-fresh");
    assert_refused(h, &s, t.key, 409, "key-in-use");
    enrolling_free(&x);
    EVP_PKEY_free(pending);
    EVP_PKEY_free(s.key);
    EVP_PKEY_free(t.key);
}

static void refuses_whom_somebody_has_cut_off(void **state)
{
    static const struct {
        enum device_move move;
        const char *code;
    } cases[] = {{MOVE_QUARANTINE, "device-quarantined"},
                 {MOVE_REVOKE, "device-revoked"},
                 {MOVE_RETIRE, "device-retired"}};
    struct house *h = *state;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct move_act m;
        struct readmit_act r;
        char id[16];
        (void)snprintf(id, sizeof id, "a%zu", i);
        struct sleeper s = fall_asleep(h, "listed", id, 60);
        /* also with an approval that was given before */
        assert_int_equal(readmit(h, &r, id, DAY), ERR_NONE);
        assert_int_equal(move(h, &m, id, cases[i].move), ERR_NONE);
        assert_refused(h, &s, fresh, 403, cases[i].code);
        (void)readmit(h, &r, id, DAY);
        assert_problem(&r.act, 409, "not-readmittable", "device");
        EVP_PKEY_free(s.key);
    }
    EVP_PKEY_free(fresh);
}

/* ---- the answer that got lost ---- */

static void answers_a_retry_until_it_is_used(void **state)
{
    struct house *h = *state;
    struct enrolling first, again;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", 60);
    come_back(h, &first, &s, fresh);
    assert_int_equal(enrolling_wait(h, &first), ERR_NONE);
    uint64_t size = ledger_size(h);
    come_back(h, &again, &s, fresh);
    assert_int_equal(enrolling_wait(h, &again), ERR_NONE);
    assert_true(again.e.repeated);
    assert_true(slice_equal(again.e.certificate, first.e.certificate));
    assert_int_equal(ledger_size(h), size);
    enrolling_free(&again);
    use(h, first.e.certificate);
    assert_refused(h, &s, fresh, 403, "certificate-not-current");
    enrolling_free(&first);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
}

/* ---- the model's word ---- */

static void a_model_may_have_none(void **state)
{
    struct house *h = *state;
    struct model_act m;
    unsigned ended;
    EVP_PKEY *fresh = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", 60);
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    m = (struct model_act){.change = MODEL_REPLACE,
                           .model = {.id = "listed",
                                     .maker = "acme",
                                     .proof = PROOF_MANIFEST,
                                     .key_kinds = 1 << KEY_P256,
                                     .lifetime = 90 * DAY,
                                     .enrolled_lifetime = 3600}};
    identity_change_model(h->identity, &origin, &m);
    assert_int_equal(wait_act(h, &m.act), ERR_NONE);
    assert_refused(h, &s, fresh, 403, "grace-over");
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
}

/* ---- whose certificate is it? ---- */

static void recognises_its_own_alone(void **state)
{
    struct house *h = *state;
    struct certificate_row row = {.status = -1};
    struct problem problem = {.status = 0};
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", 60);
    const struct certificate_row own = read_certificate(h, s.serial);
    struct tls_peer peer = {.present = false};
    assert_int_equal(identity_recognise(h->reader, &peer, h->arena, &row, &problem), ERR_REFUSED);
    assert_string_equal(problem.code, "certificate-required");

    peer = (struct tls_peer){.present = true, .serial_len = strlen(s.serial) / 2};
    memcpy(peer.certificate_sha256, own.certificate_sha256.bytes, SHA256_SIZE);
    for (size_t i = 0; i < peer.serial_len; i++) {
        char digits[3] = {s.serial[2 * i], s.serial[2 * i + 1], '\0'};
        peer.serial[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    assert_int_equal(identity_recognise(h->reader, &peer, h->arena, &row, &problem), ERR_NONE);
    assert_string_equal(row.device, "a");

    /* our number on another's certificate: no more than a certificate of another fleet */
    peer.certificate_sha256[0] ^= 1;
    problem = (struct problem){.status = 0};
    assert_int_equal(identity_recognise(h->reader, &peer, h->arena, &row, &problem), ERR_REFUSED);
    assert_string_equal(problem.code, "certificate-unknown");
    EVP_PKEY_free(s.key);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(comes_back_enrolled_and_proves_itself),
        TEST(a_release_does_not_stand_for_the_proof),
        TEST(one_that_was_only_enrolled_comes_back_so),
        TEST(refuses_what_is_not_the_last_and_expired),
        TEST(refuses_every_key_that_was_seen),
        TEST(refuses_whom_somebody_has_cut_off),
        TEST(answers_a_retry_until_it_is_used),
        TEST(a_model_may_have_none),
        TEST(recognises_its_own_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
