/* Asleep past expiry: who comes back with a certificate that has run out, and who does not. Time is
 * not slept: the certificates' rows are made older. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_fixture.h"

#define GRACE (30 * DAY)

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    return key;
}

/* ---- older certificates ---- */

struct ageing {
    struct act act;
    const char *serial;
    int64_t seconds;
};

static enum err age_apply(struct write *w, struct tx *tx)
{
    const struct ageing *a = (struct ageing *)(void *)act_of(w);
    struct certificate_row row = {0};
    (void)snprintf(row.serial, sizeof row.serial, "%s", a->serial);
    enum err err = tx_get(tx, &table_certificate, &row);
    row.not_before -= a->seconds;
    row.not_after -= a->seconds;
    row.issued_at -= a->seconds;
    return err == ERR_NONE ? tx_update(tx, &table_certificate, &row) : err;
}

static const struct write_kind age_kind = {
    .name = "age", .lane = STORE_LANE_NORMAL, .apply = age_apply, .done = act_done};

/* As if that much time had passed for this certificate. */
static void age(struct house *h, const char *serial, int64_t seconds)
{
    unsigned ended;
    struct ageing a = {.serial = serial, .seconds = seconds};
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    act_init(&a.act, &age_kind, h->ledger, &origin);
    act_submit(&a.act, h->store);
    assert_int_equal(wait_act(h, &a.act), ERR_NONE);
}

/* ---- a device ---- */

struct sleeper {
    char id[16], serial[SERIAL_TEXT_SIZE];
    EVP_PKEY *key;
};

static void use(struct house *h, struct slice der)
{
    struct model_act m;
    struct certificate c;
    struct tls_peer peer = {.present = true};
    struct device_view view;
    struct problem problem = {.status = 0};
    assert_int_equal(certificate_read(der, &c), ERR_NONE);
    memcpy(peer.serial, c.serial.data, c.serial.len);
    peer.serial_len = c.serial.len;
    crypto_sha256_one(der, peer.certificate_sha256);
    assert_int_equal(
        identity_authenticate(h->identity, h->reader, h->s->loop, &peer, h->arena, &view, &problem),
        ERR_NONE);
    (void)change_model(h, &m, MODEL_DELETE, "none", PROOF_MANIFEST); /* behind the confirmation */
}

/* Enrolled, used, and asleep since: its certificate ran out `ago` seconds ago. */
static struct sleeper fall_asleep(struct house *h, const char *model, const char *id, int64_t ago)
{
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct move_act m;
    struct sleeper s = {.key = new_key()};
    (void)snprintf(s.id, sizeof s.id, "%s", id);
    expect_device(h, model, id, code);
    enrol_by_claim(h, &x, id, code, s.key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    (void)snprintf(s.serial, sizeof s.serial, "%s", x.e.issued);
    use(h, x.e.certificate);
    if (strcmp(model, "approved") == 0)
        assert_int_equal(move(h, &m, id, MOVE_APPROVE), ERR_NONE);
    assert_int_equal(read_device(h, id).state, DEVICE_TRUSTED);
    age(h, s.serial, read_certificate(h, s.serial).not_after - clock_seconds() + ago);
    enrolling_free(&x);
    return s;
}

static void come_back(struct house *h, struct enrolling *x, const struct sleeper *s, EVP_PKEY *key)
{
    enrol_by_certificate_as(h, x, AUTHENTICATOR_EXPIRED, s->id, s->serial, key);
}

static void assert_refused(struct house *h, const struct sleeper *s, EVP_PKEY *key, unsigned status,
                           const char *code)
{
    struct enrolling x;
    uint64_t size = ledger_size(h), certificates = count_certificates(h);
    const struct device_row before = read_device(h, s->id);
    come_back(h, &x, s, key);
    (void)enrolling_wait(h, &x);
    assert_problem(&x.e.act, status, code, status == 409 ? x.e.act.write.problem.field : "");
    assert_int_equal(ledger_size(h), size);
    assert_int_equal(count_certificates(h), certificates);
    const struct device_row after = read_device(h, s->id);
    assert_int_equal(after.state, before.state);
    assert_string_equal(after.certificate, before.certificate);
    enrolling_free(&x);
}

static enum err readmit(struct house *h, struct readmit_act *r, const char *id, int64_t lasts)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *r = (struct readmit_act){.reason = "a test", .expires_at = clock_seconds() + lasts};
    (void)snprintf(r->device, sizeof r->device, "%s", id);
    identity_readmit(h->identity, &origin, r);
    return wait_act(h, &r->act);
}

static enum err touch_keys(struct house *h, struct move_act *m, const char *id)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct move_act){.move = MOVE_QUARANTINE, .reason = "a test", .keys_touched = true};
    (void)snprintf(m->device, sizeof m->device, "%s", id);
    identity_move(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

static void assert_grace(struct house *h, const char *id, enum grace_state state)
{
    struct identity_grace grace;
    const struct device_row device = read_device(h, id);
    assert_int_equal(identity_grace(h->reader, h->arena, &device, &grace), ERR_NONE);
    assert_int_equal(grace.state, state);
    assert_true((grace.until == 0) == (state == GRACE_STATE_CLOSED));
}

static void assert_no_grace(struct house *h, const char *id)
{
    struct identity_grace grace;
    const struct device_row device = read_device(h, id);
    assert_int_equal(identity_grace(h->reader, h->arena, &device, &grace), ERR_NOT_FOUND);
}

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

static void an_incident_closes_grace_until_readmitted(void **state)
{
    struct house *h = *state;
    struct enrolling x;
    struct move_act m;
    struct readmit_act r;
    EVP_PKEY *fresh = new_key(), *thief = new_key();
    make_models(h);
    struct sleeper s = fall_asleep(h, "listed", "a", 60);
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    /* that keys were touched comes out later; an ordinary quarantine can't be said twice */
    (void)move(h, &m, "a", MOVE_QUARANTINE);
    assert_problem(&m.act, 409, "move-not-possible", "device");
    assert_int_equal(touch_keys(h, &m, "a"), ERR_NONE);
    assert_int_equal(move(h, &m, "a", MOVE_RELEASE), ERR_NONE);
    assert_grace(h, "a", GRACE_STATE_CLOSED);
    assert_refused(h, &s, fresh, 403, "grace-closed");

    assert_int_equal(readmit(h, &r, "a", DAY), ERR_NONE);
    come_back(h, &x, &s, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    /* the touched key brings nobody back, not even before the fresh one was used */
    assert_refused(h, &s, thief, 403, "grace-over");
    use(h, x.e.certificate);
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);

    /* the next long sleep is one like any other */
    (void)snprintf(s.serial, sizeof s.serial, "%s", x.e.issued);
    clock_shift(2 * 3600);
    assert_grace(h, "a", GRACE_STATE_OPEN);
    clock_shift(-2 * 3600);
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
    assert_int_equal(move(h, &m, "a", MOVE_RELEASE), ERR_NONE);
    assert_refused(h, &s, fresh, 403, "grace-closed");

    come_back(h, &x, &t, fresh);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(touch_keys(h, &m, "b"), ERR_NONE);
    assert_int_equal(move(h, &m, "b", MOVE_RELEASE), ERR_NONE);
    assert_refused(h, &t, fresh, 409, "key-not-fresh");
    enrolling_free(&x);
    EVP_PKEY_free(fresh);
    EVP_PKEY_free(s.key);
    EVP_PKEY_free(t.key);
}

/* ---- clocks and models ---- */

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
        TEST(an_approval_serves_once),
        TEST(two_at_once_share_no_approval),
        TEST(an_approval_has_bounds),
        TEST(an_incident_closes_grace_until_readmitted),
        TEST(a_second_incident_closes_it_again),
        TEST(a_clock_set_back_opens_nothing),
        TEST(a_model_may_have_none),
        TEST(recognises_its_own_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
