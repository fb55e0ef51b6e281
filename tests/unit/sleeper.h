/* Devices that slept past the end of their certificates, and their ways back. Time is not slept:
 * the certificates' rows are made older. */
#ifndef TESTS_UNIT_SLEEPER_H
#define TESTS_UNIT_SLEEPER_H

#include "tests/unit/identity_fixture.h"

#define GRACE (30 * DAY)

static inline EVP_PKEY *new_key(void)
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

static inline enum err age_apply(struct write *w, struct tx *tx)
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
static inline void age(struct house *h, const char *serial, int64_t seconds)
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

static inline void use(struct house *h, struct slice der)
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
    assert_int_equal(identity_authenticate(h->identity, h->reader, h->s->loop, &peer, h->arena,
                                           NULL, &view, &problem),
                     ERR_NONE);
    (void)change_model(h, &m, MODEL_DELETE, "none", PROOF_MANIFEST); /* behind the confirmation */
}

/* Enrolled, used, and asleep since: its certificate ran out `ago` seconds ago. */
static inline struct sleeper fall_asleep(struct house *h, const char *model, const char *id,
                                         int64_t ago)
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

static inline void come_back(struct house *h, struct enrolling *x, const struct sleeper *s,
                             EVP_PKEY *key)
{
    enrol_by_certificate_as(h, x, AUTHENTICATOR_EXPIRED, s->id, s->serial, key);
}

static inline void assert_refused(struct house *h, const struct sleeper *s, EVP_PKEY *key,
                                  unsigned status, const char *code)
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

static inline enum err readmit(struct house *h, struct readmit_act *r, const char *id,
                               int64_t lasts)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *r = (struct readmit_act){.reason = "a test", .expires_at = clock_seconds() + lasts};
    (void)snprintf(r->device, sizeof r->device, "%s", id);
    identity_readmit(h->identity, &origin, r);
    return wait_act(h, &r->act);
}

static inline enum err touch_keys(struct house *h, struct move_act *m, const char *id)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *m = (struct move_act){.move = MOVE_QUARANTINE, .reason = "a test", .keys_touched = true};
    (void)snprintf(m->device, sizeof m->device, "%s", id);
    identity_move(h->identity, &origin, m);
    return wait_act(h, &m->act);
}

static inline void assert_grace(struct house *h, const char *id, enum grace_state state)
{
    struct identity_grace grace;
    const struct device_row device = read_device(h, id);
    assert_int_equal(identity_grace(h->reader, h->arena, &device, &grace), ERR_NONE);
    assert_int_equal(grace.state, state);
    assert_true((grace.until == 0) == (state == GRACE_STATE_CLOSED));
}

static inline void assert_no_grace(struct house *h, const char *id)
{
    struct identity_grace grace;
    const struct device_row device = read_device(h, id);
    assert_int_equal(identity_grace(h->reader, h->arena, &device, &grace), ERR_NOT_FOUND);
}

#endif
