/* Enrolments one after the other, and at once: what is decided on the loop is decided again on the
 * writer, and only that counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_fixture.h"

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    return key;
}

static void settle(struct house *h)
{
    struct model_act m;
    (void)change_model(h, &m, MODEL_DELETE, "none", PROOF_MANIFEST);
}

static struct tls_peer peer_of(struct slice der)
{
    struct certificate c;
    struct tls_peer peer = {.present = true};
    assert_int_equal(certificate_read(der, &c), ERR_NONE);
    memcpy(peer.serial, c.serial.data, c.serial.len);
    peer.serial_len = c.serial.len;
    crypto_sha256_one(der, peer.certificate_sha256);
    crypto_sha256_one(c.spki.der, peer.spki_sha256);
    return peer;
}

/* As a connection does that shows it: the first time confirms it. */
static enum err use_certificate(struct house *h, struct slice der, struct problem *problem)
{
    const struct tls_peer peer = peer_of(der);
    struct device_view view;
    *problem = (struct problem){.status = 0};
    enum err err = identity_authenticate(h->identity, h->reader, h->s->loop, &peer, h->arena, NULL,
                                         &view, problem);
    settle(h);
    return err;
}

static void assert_kept(struct house *h, const char *device, const struct enrolling *x,
                        enum device_state state)
{
    const struct device_row row = read_device(h, device);
    const struct certificate_row certificate = read_certificate(h, row.certificate);
    assert_int_equal(row.state, state);
    assert_true(slice_equal(certificate.der, x->e.certificate));
    assert_string_equal(certificate.device, device);
    assert_true(knows_key(h, &x->e.spki));
}

static void enrols_and_answers_a_retry(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling first, again;
    struct problem problem;
    EVP_PKEY *key = new_key(), *other = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    uint64_t size = ledger_size(h);
    enrol_by_claim(h, &first, "a", code, key);
    assert_int_equal(enrolling_wait(h, &first), ERR_NONE);
    assert_false(first.e.repeated);
    assert_kept(h, "a", &first, DEVICE_TRUSTED);
    struct certificate c;
    assert_int_equal(certificate_read(first.e.certificate, &c), ERR_NONE);
    assert_true(slice_equal(c.uri, SLICE_LITERAL("spiffe://acme.example/default/device/a")));
    assert_in_range(c.not_after - clock_seconds(), 90 * DAY - 60, 90 * DAY);

    /* the answer was lost: the same bytes, as often as it is asked for; not for another key */
    for (unsigned i = 0; i < 2; i++) {
        enrol_by_claim(h, &again, "a", code, key);
        assert_int_equal(enrolling_wait(h, &again), ERR_NONE);
        assert_true(again.e.repeated);
        assert_true(slice_equal(again.e.certificate, first.e.certificate));
        enrolling_free(&again);
    }
    enrol_by_claim(h, &again, "a", code, other);
    (void)enrolling_wait(h, &again);
    assert_problem(&again.e.act, 403, "claim-used", "");
    enrolling_free(&again);
    assert_int_equal(ledger_size(h), size + 1);
    assert_int_equal(count_certificates(h), 1);

    /* it was used, so the answer had come: the code is worth nothing any more */
    assert_int_equal(use_certificate(h, first.e.certificate, &problem), ERR_NONE);
    assert_int_equal(read_certificate(h, first.e.issued).status, CERTIFICATE_ACTIVE);
    enrol_by_claim(h, &again, "a", code, key);
    (void)enrolling_wait(h, &again);
    assert_problem(&again.e.act, 403, "claim-used", "");
    enrolling_free(&again);
    enrolling_free(&first);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

static void gives_little_before_approval(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct certificate c;
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "approved", "a", code);
    enrol_by_claim(h, &x, "a", code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_kept(h, "a", &x, DEVICE_ENROLLED);
    assert_int_equal(certificate_read(x.e.certificate, &c), ERR_NONE);
    assert_in_range(c.not_after - clock_seconds(), 3600 - 60, 3600);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

/* ---- at once: until the loop turns, both are past its look, and neither has come to the writer */

/* A photographed label, used in the same second as by the device itself. */
static void two_keys_at_once_are_one_winner(void **state)
{
    struct house *h = *state;
    make_models(h);
    for (unsigned round = 0; round < 5; round++) {
        char code[IDENTITY_CLAIM_TEXT], device[16];
        struct enrolling x[2];
        EVP_PKEY *keys[2] = {new_key(), new_key()};
        (void)snprintf(device, sizeof device, "a%u", round);
        expect_device(h, "listed", device, code);
        uint64_t size = ledger_size(h), certificates = count_certificates(h);
        for (size_t i = 0; i < 2; i++)
            enrol_by_claim(h, &x[i], device, code, keys[i]);
        assert_int_equal(x[0].ended + x[1].ended, 0);
        (void)enrolling_wait(h, &x[0]);
        (void)enrolling_wait(h, &x[1]);
        size_t winner = x[0].e.act.write.err == ERR_NONE ? 0 : 1, loser = 1 - winner;
        assert_int_equal(x[winner].e.act.write.err, ERR_NONE);
        assert_false(x[winner].e.repeated);
        assert_problem(&x[loser].e.act, 403, "claim-used", "");
        assert_kept(h, device, &x[winner], DEVICE_TRUSTED);
        /* of the loser there is nothing: no key, no certificate, no entry */
        const struct hash keys_hashes[2] = {spki_hash(keys[0]), spki_hash(keys[1])};
        assert_true(knows_key(h, &keys_hashes[winner]));
        assert_false(knows_key(h, &keys_hashes[loser]));
        assert_int_equal(count_certificates(h), certificates + 1);
        assert_int_equal(ledger_size(h), size + 1);
        for (size_t i = 0; i < 2; i++) {
            enrolling_free(&x[i]);
            EVP_PKEY_free(keys[i]);
        }
    }
}

/* A device that did not wait for the answer. */
static void one_key_twice_is_one_certificate(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x[2];
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    uint64_t size = ledger_size(h);
    for (size_t i = 0; i < 2; i++)
        enrol_by_claim(h, &x[i], "a", code, key);
    assert_int_equal(x[0].ended + x[1].ended, 0);
    assert_int_equal(enrolling_wait(h, &x[0]), ERR_NONE);
    assert_int_equal(enrolling_wait(h, &x[1]), ERR_NONE);
    assert_int_equal(x[0].e.repeated + x[1].e.repeated, 1);
    assert_true(x[0].e.certificate.len > 0);
    assert_true(slice_equal(x[0].e.certificate, x[1].e.certificate));
    assert_kept(h, "a", &x[0], DEVICE_TRUSTED);
    assert_int_equal(count_certificates(h), 1);
    assert_int_equal(ledger_size(h), size + 1);
    enrolling_free(&x[0]);
    enrolling_free(&x[1]);
    EVP_PKEY_free(key);
}

static void one_key_for_two_devices_is_one_winner(void **state)
{
    struct house *h = *state;
    char codes[2][IDENTITY_CLAIM_TEXT];
    static const char *const devices[2] = {"a", "b"};
    struct enrolling x[2];
    EVP_PKEY *key = new_key();
    make_models(h);
    for (size_t i = 0; i < 2; i++)
        expect_device(h, "listed", devices[i], codes[i]);
    uint64_t size = ledger_size(h);
    for (size_t i = 0; i < 2; i++)
        enrol_by_claim(h, &x[i], devices[i], codes[i], key);
    assert_int_equal(x[0].ended + x[1].ended, 0);
    (void)enrolling_wait(h, &x[0]);
    (void)enrolling_wait(h, &x[1]);
    size_t winner = x[0].e.act.write.err == ERR_NONE ? 0 : 1, loser = 1 - winner;
    assert_int_equal(x[winner].e.act.write.err, ERR_NONE);
    assert_problem(&x[loser].e.act, 409, "key-in-use", "csr");
    assert_kept(h, devices[winner], &x[winner], DEVICE_TRUSTED);
    /* its code is still good, for a key of its own */
    assert_int_equal(read_device(h, devices[loser]).state, DEVICE_EXPECTED);
    assert_int_equal(read_device(h, devices[loser]).claim_used_at, 0);
    assert_int_equal(ledger_size(h), size + 1);
    enrolling_free(&x[loser]);
    EVP_PKEY *own = new_key();
    enrol_by_claim(h, &x[loser], devices[loser], codes[loser], own);
    assert_int_equal(enrolling_wait(h, &x[loser]), ERR_NONE);
    enrolling_free(&x[0]);
    enrolling_free(&x[1]);
    EVP_PKEY_free(own);
    EVP_PKEY_free(key);
}

/* ---- what comes in between ---- */

static void a_cut_overtakes_an_enrolment(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct move_act m;
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    uint64_t size = ledger_size(h);
    enrol_by_claim(h, &x, "a", code, key);
    assert_int_equal(x.ended, 0); /* with the signer, whose answer waits for the loop */
    assert_int_equal(move(h, &m, "a", MOVE_REVOKE), ERR_NONE);
    (void)enrolling_wait(h, &x);
    assert_problem(&x.e.act, 403, "device-revoked", "");
    assert_int_equal(read_device(h, "a").state, DEVICE_REVOKED);
    assert_string_equal(read_device(h, "a").certificate, "");
    assert_int_equal(count_certificates(h), 0);
    assert_int_equal(ledger_size(h), size + 1);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

/* A connection that was recognised once is not looked up again, until something is written of it.
 */
static void a_cut_is_seen_by_a_connection_that_is_known(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct move_act m;
    struct problem problem;
    struct device_memo memo = {.held = false};
    struct device_view view;
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    enrol_by_claim(h, &x, "a", code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    assert_int_equal(use_certificate(h, x.e.certificate, &problem), ERR_NONE);

    const struct tls_peer peer = peer_of(x.e.certificate);
    struct store_reader *reader = h->reader; /* and then none: there is nothing to read */
    for (unsigned i = 0; i < 3; i++, reader = NULL) {
        view = (struct device_view){.state = -1};
        assert_int_equal(identity_authenticate(h->identity, reader, h->s->loop, &peer, h->arena,
                                               &memo, &view, &problem),
                         ERR_NONE);
        assert_true(memo.held);
        assert_string_equal(view.device, "a");
        assert_int_equal(view.state, DEVICE_TRUSTED);
    }
    clock_shift(400LL * 86400); /* what is remembered runs out like what is read */
    assert_int_equal(identity_authenticate(h->identity, NULL, h->s->loop, &peer, h->arena, &memo,
                                           &view, &problem),
                     ERR_REFUSED);
    assert_string_equal(problem.code, "certificate-expired");
    clock_shift(-400LL * 86400);
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    assert_int_equal(identity_authenticate(h->identity, h->reader, h->s->loop, &peer, h->arena,
                                           &memo, &view, &problem),
                     ERR_NONE);
    assert_int_equal(view.state, DEVICE_QUARANTINED);
    assert_int_equal(move(h, &m, "a", MOVE_REVOKE), ERR_NONE);
    assert_int_equal(identity_authenticate(h->identity, h->reader, h->s->loop, &peer, h->arena,
                                           &memo, &view, &problem),
                     ERR_REFUSED);
    assert_string_equal(problem.code, "device-revoked");
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

static void a_new_code_overtakes_an_old_one(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct claim_act c = {.device = "a", .expires_at = clock_seconds() + DAY};
    unsigned ended;
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    enrol_by_claim(h, &x, "a", code, key);
    assert_int_equal(x.ended, 0);
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    identity_renew_claim(h->identity, &origin, &c);
    assert_int_equal(wait_act(h, &c.act), ERR_NONE);
    (void)enrolling_wait(h, &x);
    assert_problem(&x.e.act, 401, "enrolment-refused", "");
    assert_int_equal(read_device(h, "a").state, DEVICE_EXPECTED);
    enrolling_free(&x);
    enrol_by_claim(h, &x, "a", c.claim_code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

/* ---- renewals ---- */

static void renews_once_however_often_it_is_asked(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling first, x[2];
    struct problem problem;
    EVP_PKEY *key = new_key(), *next = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    enrol_by_claim(h, &first, "a", code, key);
    assert_int_equal(enrolling_wait(h, &first), ERR_NONE);
    assert_int_equal(use_certificate(h, first.e.certificate, &problem), ERR_NONE);
    uint64_t size = ledger_size(h);
    for (size_t i = 0; i < 2; i++)
        enrol_by_certificate(h, &x[i], "a", first.e.issued, next);
    assert_int_equal(x[0].ended + x[1].ended, 0);
    assert_int_equal(enrolling_wait(h, &x[0]), ERR_NONE);
    assert_int_equal(enrolling_wait(h, &x[1]), ERR_NONE);
    assert_int_equal(x[0].e.repeated + x[1].e.repeated, 1);
    assert_true(slice_equal(x[0].e.certificate, x[1].e.certificate));
    assert_int_equal(ledger_size(h), size + 1);

    /* the old one is good until the new one is used, and no longer */
    assert_int_equal(use_certificate(h, first.e.certificate, &problem), ERR_NONE);
    assert_int_equal(use_certificate(h, x[0].e.certificate, &problem), ERR_NONE);
    assert_int_equal(use_certificate(h, first.e.certificate, &problem), ERR_REFUSED);
    assert_string_equal(problem.code, "certificate-retired");
    enrolling_free(&x[0]);
    enrolling_free(&x[1]);
    enrol_by_certificate(h, &x[0], "a", first.e.issued, next);
    (void)enrolling_wait(h, &x[0]);
    assert_problem(&x[0].e.act, 403, "certificate-not-current", "");
    enrolling_free(&x[0]);
    enrolling_free(&first);
    EVP_PKEY_free(key);
    EVP_PKEY_free(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(enrols_and_answers_a_retry, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(gives_little_before_approval, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(two_keys_at_once_are_one_winner, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(one_key_twice_is_one_certificate, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(one_key_for_two_devices_is_one_winner, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(a_cut_overtakes_an_enrolment, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(a_cut_is_seen_by_a_connection_that_is_known, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(a_new_code_overtakes_an_old_one, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(renews_once_however_often_it_is_asked, house_set_up,
                                        house_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
