/* Rotations: who is taken in, who is asked and when, what counts as renewed, and who is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_fixture.h"

static EVP_PKEY *new_key(enum key_kind kind)
{
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(kind, &key), ERR_NONE);
    return key;
}

/* Whatever was queued before this is done when it returns. */
static void settle(struct house *h)
{
    struct model_act m;
    (void)change_model(h, &m, MODEL_DELETE, "none", PROOF_MANIFEST);
}

/* A connection with this certificate checks in: is it asked to renew? */
static bool asked(struct house *h, struct slice der)
{
    struct certificate c;
    struct tls_peer peer = {.present = true};
    struct device_view view;
    struct problem problem = {.status = 0};
    bool answer = false;
    assert_int_equal(certificate_read(der, &c), ERR_NONE);
    memcpy(peer.serial, c.serial.data, c.serial.len);
    peer.serial_len = c.serial.len;
    crypto_sha256_one(der, peer.certificate_sha256);
    crypto_sha256_one(c.spki.der, peer.spki_sha256);
    assert_int_equal(identity_authenticate(h->identity, h->reader, h->s->loop, &peer, h->arena,
                                           NULL, &view, &problem),
                     ERR_NONE);
    assert_int_equal(identity_renewal_asked(h->reader, &view, h->arena, &answer), ERR_NONE);
    settle(h);
    return answer;
}

/* An enrolled device, its certificate used once. */
struct thing {
    const char *id;
    EVP_PKEY *key;
    struct enrolling now, next;
};

static struct thing new_thing(struct house *h, const char *manifest, const char *id)
{
    char code[IDENTITY_CLAIM_TEXT];
    struct thing t = {.id = id, .key = new_key(KEY_P256)};
    expect_device(h, manifest, id, code);
    enrol_by_claim(h, &t.now, id, code, t.key);
    assert_int_equal(enrolling_wait(h, &t.now), ERR_NONE);
    assert_false(asked(h, t.now.e.certificate));
    return t;
}

static enum err renew(struct house *h, struct thing *t, EVP_PKEY *key)
{
    enrolling_free(&t->next);
    enrol_by_certificate(h, &t->next, t->id, t->now.e.issued, key);
    return enrolling_wait(h, &t->next);
}

/* The new certificate is shown: it is the one from now on. */
static bool use_next(struct house *h, struct thing *t)
{
    bool answer = asked(h, t->next.e.certificate);
    enrolling_free(&t->now);
    t->now = t->next;
    t->next = (struct enrolling){.arena = NULL};
    return answer;
}

static void thing_free(struct thing *t)
{
    enrolling_free(&t->now);
    enrolling_free(&t->next);
    EVP_PKEY_free(t->key);
}

static enum err rotate(struct house *h, struct rotation_act *r, const char *const *devices,
                       size_t n, int64_t spread)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    r->devices = devices;
    r->devices_len = n;
    r->rotation.spread = spread;
    (void)snprintf(r->rotation.reason, sizeof r->rotation.reason, "a test");
    identity_rotate(h->identity, &origin, r);
    return wait_act(h, &r->act);
}

static struct rotation_act rotate_one(struct house *h, const char *id)
{
    struct rotation_act r = {.rotation = {.state = ROTATION_ANY_STATE}};
    assert_int_equal(rotate(h, &r, &id, 1, 0), ERR_NONE);
    return r;
}

static enum err cancel(struct house *h, struct rotation_cancel_act *c, const char *id)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *c = (struct rotation_cancel_act){.reason = "a test"};
    (void)snprintf(c->rotation.id, sizeof c->rotation.id, "%s", id);
    identity_cancel_rotation(h->identity, &origin, c);
    return wait_act(h, &c->act);
}

static struct rotation_row read_rotation(struct house *h, const char *id)
{
    struct rotation_row row = {.tenant = TENANT};
    (void)snprintf(row.id, sizeof row.id, "%s", id);
    assert_int_equal(store_get(h->reader, &table_rotation, h->arena, &row), ERR_NONE);
    return row;
}

static void assert_counts(struct house *h, const char *id, enum rotation_phase phase,
                          int64_t renewed, int64_t moved, int64_t gone, int64_t waiting)
{
    const struct rotation_row row = read_rotation(h, id);
    assert_int_equal(row.phase, phase);
    assert_int_equal(row.renewed, renewed);
    assert_int_equal(row.moved, moved);
    assert_int_equal(row.gone, gone);
    assert_int_equal(identity_rotation_waiting(&row), waiting);
    assert_true((row.ended_at != 0) == (phase == ROTATION_COMPLETE || phase == ROTATION_CANCELLED));
}

static bool find_waiting(struct house *h, const char *rotation, const char *device,
                         struct rotation_device_row *ret_row)
{
    struct rotation_device_row row = {.tenant = TENANT};
    (void)snprintf(row.rotation, sizeof row.rotation, "%s", rotation);
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    enum err err = store_get(h->reader, &table_rotation_device, h->arena, &row);
    assert_true(err == ERR_NONE || err == ERR_NOT_FOUND);
    *ret_row = row;
    return err == ERR_NONE;
}

static void assert_why(struct house *h, const char *rotation, const char *device, const char *why)
{
    struct rotation_device_row row;
    struct straggler s;
    const struct rotation_row r = read_rotation(h, rotation);
    assert_true(find_waiting(h, rotation, device, &row));
    assert_int_equal(identity_straggler(h->reader, h->arena, &r, &row, &s), ERR_NONE);
    assert_string_equal(s.why, why);
}

/* ---- what counts ---- */

static void a_fresh_key_that_was_used_counts(void **state)
{
    struct house *h = *state;
    make_models(h);
    struct thing t = new_thing(h, "listed", "a");
    EVP_PKEY *fresh = new_key(KEY_P256);
    struct rotation_device_row row;
    uint64_t size = ledger_size(h);
    const struct rotation_act r = rotate_one(h, "a");
    const char *id = r.rotation.id;
    assert_int_equal(ledger_size(h), size + 2); /* rotation.create, device.rotate */
    assert_counts(h, id, ROTATION_RUNNING, 0, 0, 0, 1);
    assert_why(h, id, "a", "not-seen");

    /* as often as it comes, until it has done it */
    assert_true(asked(h, t.now.e.certificate));
    assert_true(asked(h, t.now.e.certificate));
    assert_int_equal(renew(h, &t, fresh), ERR_NONE);
    assert_true(asked(h, t.now.e.certificate)); /* our answer may be lost */
    assert_why(h, id, "a", "not-confirmed");
    assert_counts(h, id, ROTATION_RUNNING, 0, 0, 0, 1);
    size = ledger_size(h);
    assert_false(use_next(h, &t)); /* not even in the answer to its first use */
    assert_int_equal(ledger_size(h), size + 1);
    assert_counts(h, id, ROTATION_COMPLETE, 1, 0, 0, 0);
    assert_false(find_waiting(h, id, "a", &row));
    assert_false(asked(h, t.now.e.certificate));
    const struct device_row device = read_device(h, "a");
    assert_string_equal(device.rotation, "");
    assert_int_equal(device.renew_at, 0);
    EVP_PKEY_free(fresh);
    thing_free(&t);
}

/* A client that renews with the key it has lives on, and is not taken for rotated. */
static void the_old_key_does_not_count(void **state)
{
    struct house *h = *state;
    make_models(h);
    struct thing t = new_thing(h, "listed", "a");
    EVP_PKEY *fresh = new_key(KEY_P256);
    struct rotation_device_row row;
    const struct rotation_act r = rotate_one(h, "a");
    assert_int_equal(renew(h, &t, t.key), ERR_NONE);
    assert_false(t.next.e.repeated);
    assert_true(use_next(h, &t));
    assert_counts(h, r.rotation.id, ROTATION_RUNNING, 0, 0, 0, 1);
    assert_why(h, r.rotation.id, "a", "refused");
    assert_true(find_waiting(h, r.rotation.id, "a", &row));
    assert_string_equal(row.problem, "key-not-fresh");
    assert_true(asked(h, t.now.e.certificate));

    assert_int_equal(renew(h, &t, fresh), ERR_NONE);
    assert_why(h, r.rotation.id, "a", "not-confirmed");
    assert_false(use_next(h, &t));
    assert_counts(h, r.rotation.id, ROTATION_COMPLETE, 1, 0, 0, 0);
    EVP_PKEY_free(fresh);
    thing_free(&t);
}

/* What was issued before, and first used after, has a key that is as old as the suspicion. */
static void what_was_issued_before_does_not_count(void **state)
{
    struct house *h = *state;
    make_models(h);
    struct thing t = new_thing(h, "listed", "a");
    EVP_PKEY *second = new_key(KEY_P256), *third = new_key(KEY_P256);
    assert_int_equal(renew(h, &t, second), ERR_NONE);
    const struct rotation_act r = rotate_one(h, "a");
    assert_true(use_next(h, &t));
    assert_counts(h, r.rotation.id, ROTATION_RUNNING, 0, 0, 0, 1);
    assert_int_equal(renew(h, &t, third), ERR_NONE);
    assert_false(use_next(h, &t));
    assert_counts(h, r.rotation.id, ROTATION_COMPLETE, 1, 0, 0, 0);
    EVP_PKEY_free(second);
    EVP_PKEY_free(third);
    thing_free(&t);
}

/* ---- why not ---- */

static void a_refusal_is_noted_and_grows_no_log(void **state)
{
    struct house *h = *state;
    make_models(h);
    struct thing t = new_thing(h, "listed", "a");
    EVP_PKEY *wrong = new_key(KEY_P384), *fresh = new_key(KEY_P256);
    struct rotation_device_row row;
    (void)renew(h, &t, wrong); /* nobody has asked for it: nothing to note */
    settle(h);
    const struct rotation_act r = rotate_one(h, "a");
    uint64_t size = ledger_size(h);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(renew(h, &t, wrong), ERR_REFUSED);
        settle(h);
        assert_true(find_waiting(h, r.rotation.id, "a", &row));
        assert_string_equal(row.problem, "csr-key-not-allowed");
        assert_why(h, r.rotation.id, "a", "refused");
    }
    assert_int_equal(ledger_size(h), size);
    assert_int_equal(renew(h, &t, fresh), ERR_NONE);
    assert_why(h, r.rotation.id, "a", "not-confirmed");
    assert_false(use_next(h, &t));
    assert_counts(h, r.rotation.id, ROTATION_COMPLETE, 1, 0, 0, 0);
    EVP_PKEY_free(wrong);
    EVP_PKEY_free(fresh);
    thing_free(&t);
}

static void see(struct house *h, const char *device)
{
    struct sightings *s = NULL;
    assert_int_equal(sightings_new(h->identity, h->s->loop, &s), ERR_NONE);
    sightings_note(s, TENANT, device);
    sightings_flush(s);
    settle(h);
    sightings_free(s);
    struct device_seen_row row = {.tenant = TENANT};
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    while (store_get(h->reader, &table_device_seen, h->arena, &row) != ERR_NONE)
        settle(h); /* it goes by a lane of its own */
}

static void says_what_can_be_seen(void **state)
{
    struct house *h = *state;
    struct move_act m;
    make_models(h);
    struct thing t = new_thing(h, "approved", "a");
    const struct rotation_act r = rotate_one(h, "a");
    const char *id = r.rotation.id;
    assert_why(h, id, "a", "not-trusted");
    assert_int_equal(move(h, &m, "a", MOVE_APPROVE), ERR_NONE);
    assert_why(h, id, "a", "not-seen");
    see(h, "a");
    assert_why(h, id, "a", "not-renewed");
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    assert_why(h, id, "a", "quarantined");
    assert_int_equal(move(h, &m, "a", MOVE_RELEASE), ERR_NONE);
    clock_shift(7200); /* its first certificate was for an hour */
    assert_why(h, id, "a", "expired");
    clock_shift(-7200);
    struct rotation_cancel_act c;
    assert_int_equal(cancel(h, &c, id), ERR_NONE);
    assert_why(h, id, "a", "cancelled");
    thing_free(&t);
}

/* ---- an incident ---- */

static struct device_grace_row read_grace(struct house *h, const char *device, enum err expected)
{
    struct device_grace_row row = {.tenant = TENANT};
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    assert_int_equal(store_get(h->reader, &table_device_grace, h->arena, &row), expected);
    return row;
}

/* Certificates with the keys that may be in other hands have no grace; the next ones do. */
static void touched_keys_have_no_grace(void **state)
{
    struct house *h = *state;
    struct move_act m;
    make_models(h);
    struct thing a = new_thing(h, "listed", "a"), b = new_thing(h, "listed", "b");
    (void)rotate_one(h, "a");
    (void)read_grace(h, "a", ERR_NOT_FOUND);
    m = (struct move_act){.move = MOVE_QUARANTINE, .keys_touched = true, .reason = "a test"};
    (void)snprintf(m.device, sizeof m.device, "b");
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    identity_move(h->identity, &origin, &m);
    assert_int_equal(wait_act(h, &m.act), ERR_NONE);

    const char *const both[] = {"a", "b"};
    struct rotation_act r = {.rotation = {.state = ROTATION_ANY_STATE, .keys_touched = 1}};
    assert_int_equal(rotate(h, &r, both, 2, 0), ERR_NONE);
    int64_t moment = read_grace(h, "a", ERR_NONE).closed_before;
    assert_true(moment > read_certificate(h, a.now.e.issued).issued_at);
    assert_true(moment <= clock_seconds() + 1);
    assert_int_equal(read_grace(h, "b", ERR_NONE).closed_before, GRACE_CLOSED);
    thing_free(&a);
    thing_free(&b);
}

/* ---- who leaves otherwise ---- */

static void moves_to_a_later_one_or_goes(void **state)
{
    struct house *h = *state;
    struct move_act m;
    struct rotation_device_row row;
    make_models(h);
    struct thing a = new_thing(h, "listed", "a"), b = new_thing(h, "listed", "b");
    const char *const both[] = {"a", "b", "a"};
    struct rotation_act first = {.rotation = {.state = ROTATION_ANY_STATE}};
    assert_int_equal(rotate(h, &first, both, 3, 0), ERR_NONE);
    assert_counts(h, first.rotation.id, ROTATION_RUNNING, 0, 0, 0, 2); /* one is named twice */
    const struct rotation_act second = rotate_one(h, "a");
    assert_counts(h, first.rotation.id, ROTATION_RUNNING, 0, 1, 0, 1);
    assert_false(find_waiting(h, first.rotation.id, "a", &row));
    assert_true(find_waiting(h, second.rotation.id, "a", &row));
    assert_int_equal(move(h, &m, "b", MOVE_REVOKE), ERR_NONE);
    assert_counts(h, first.rotation.id, ROTATION_COMPLETE, 0, 1, 1, 0);
    assert_int_equal(move(h, &m, "a", MOVE_QUARANTINE), ERR_NONE);
    assert_counts(h, second.rotation.id, ROTATION_RUNNING, 0, 0, 0, 1);
    assert_int_equal(move(h, &m, "a", MOVE_RETIRE), ERR_NONE);
    assert_counts(h, second.rotation.id, ROTATION_COMPLETE, 0, 0, 1, 0);
    thing_free(&a);
    thing_free(&b);
}

static void nobody_is_asked_after_a_cancel(void **state)
{
    struct house *h = *state;
    struct rotation_cancel_act c;
    make_models(h);
    struct thing t = new_thing(h, "listed", "a");
    EVP_PKEY *fresh = new_key(KEY_P256);
    const struct rotation_act r = rotate_one(h, "a");
    assert_true(asked(h, t.now.e.certificate));
    assert_int_equal(cancel(h, &c, r.rotation.id), ERR_NONE);
    assert_int_equal(c.rotation.phase, ROTATION_CANCELLED);
    assert_false(asked(h, t.now.e.certificate));
    uint64_t size = ledger_size(h);
    (void)cancel(h, &c, r.rotation.id);
    assert_problem(&c.act, 409, "rotation-ended", "rotation");
    (void)cancel(h, &c, "none");
    assert_problem(&c.act, 404, "rotation-not-found", "rotation");
    assert_int_equal(ledger_size(h), size);

    /* a renewal all the same does not count, and takes the mark away */
    assert_int_equal(renew(h, &t, fresh), ERR_NONE);
    assert_false(use_next(h, &t));
    assert_counts(h, r.rotation.id, ROTATION_CANCELLED, 0, 0, 0, 1);
    assert_string_equal(read_device(h, "a").rotation, "");
    const struct rotation_act again = rotate_one(h, "a");
    assert_true(asked(h, t.now.e.certificate));
    assert_counts(h, again.rotation.id, ROTATION_RUNNING, 0, 0, 0, 1);
    assert_counts(h, r.rotation.id, ROTATION_CANCELLED, 0, 0, 0, 1);
    EVP_PKEY_free(fresh);
    thing_free(&t);
}

/* ---- who is taken in, and when they are asked ---- */

static void only_who_can_renew_is_taken(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT];
    struct move_act m;
    make_models(h);
    struct thing a = new_thing(h, "listed", "a"), b = new_thing(h, "listed", "b");
    expect_device(h, "listed", "waiting", code);
    assert_int_equal(move(h, &m, "b", MOVE_REVOKE), ERR_NONE);
    static const struct {
        const char *second;
        unsigned status;
        const char *problem;
    } cases[] = {{"nobody", 404, "device-not-found"},
                 {"waiting", 409, "device-not-renewable"},
                 {"b", 409, "device-not-renewable"}};
    uint64_t size = ledger_size(h);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *const two[] = {"a", cases[i].second};
        struct rotation_act r = {.rotation = {.state = ROTATION_ANY_STATE}};
        (void)rotate(h, &r, two, 2, 0);
        assert_problem(&r.act, cases[i].status, cases[i].problem, "devices[1].id");
        assert_string_equal(read_device(h, "a").rotation, "");
        assert_false(asked(h, a.now.e.certificate));
    }
    assert_int_equal(ledger_size(h), size);
    thing_free(&a);
    thing_free(&b);
}

static void asks_each_at_its_own_time(void **state)
{
    struct house *h = *state;
    struct rotation_device_row a_row, b_row;
    make_models(h);
    struct thing a = new_thing(h, "listed", "a"), b = new_thing(h, "listed", "b");
    const char *const both[] = {"a", "b"};
    struct rotation_act r = {.rotation = {.state = ROTATION_ANY_STATE}};
    assert_int_equal(rotate(h, &r, both, 2, 10 * DAY), ERR_NONE);
    assert_true(find_waiting(h, r.rotation.id, "a", &a_row));
    assert_true(find_waiting(h, r.rotation.id, "b", &b_row));
    assert_in_range(a_row.due_at - r.rotation.created_at, 0, 10 * DAY);
    assert_in_range(b_row.due_at - r.rotation.created_at, 0, 10 * DAY);
    assert_int_not_equal(a_row.due_at, b_row.due_at);
    struct thing *first = a_row.due_at < b_row.due_at ? &a : &b, *last = first == &a ? &b : &a;
    int64_t early = a_row.due_at < b_row.due_at ? a_row.due_at : b_row.due_at;
    int64_t passed = early - clock_seconds();
    assert_why(h, r.rotation.id, last->id, "not-due");
    assert_false(asked(h, last->now.e.certificate));
    clock_shift(passed);
    assert_true(asked(h, first->now.e.certificate));
    clock_shift(11 * DAY - passed);
    assert_true(asked(h, last->now.e.certificate));
    clock_shift(-11 * DAY);
    thing_free(&a);
    thing_free(&b);
}

static void turn_until_selected(struct house *h, const char *id)
{
    while (read_rotation(h, id).phase == ROTATION_SELECTING) {
        identity_select_turn(h->identity, h->reader, h->s->loop);
        settle(h);
        arena_reset(h->arena);
    }
}

/* More than a chunk that cannot renew stands before those that can. */
static void filters_find_theirs_chunk_by_chunk(void **state)
{
    struct house *h = *state;
    struct rotation_device_row row;
    struct manifest_devices_act m;
    make_models(h);
    static struct manifest_line lines[2 * IDENTITY_ROTATION_CHUNK + 10];
    static char names[ARRAY_LEN(lines)][16];
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        (void)snprintf(names[i], sizeof names[i], "m%04zu", i);
        lines[i] = (struct manifest_line){.serial = names[i],
                                          .credential = CREDENTIAL_CLAIM,
                                          .claim_expires_at = clock_seconds() + DAY};
    }
    for (size_t i = 0, n = 0; i < ARRAY_LEN(lines); i += n) {
        n = ARRAY_LEN(lines) - i;
        n = n < IDENTITY_MANIFEST_CHUNK ? n : IDENTITY_MANIFEST_CHUNK;
        assert_int_equal(add_devices(h, &m, "listed", &lines[i], n), ERR_NONE);
    }
    struct thing a = new_thing(h, "listed", "a"), o = new_thing(h, "approved", "o"),
                 z = new_thing(h, "listed", "z");
    struct rotation_act all = {.rotation = {.state = ROTATION_ANY_STATE}};
    struct rotation_act listed = {.rotation = {.state = DEVICE_TRUSTED, .model = "listed"}};
    uint64_t size = ledger_size(h);
    assert_int_equal(rotate(h, &listed, NULL, 0, 0), ERR_NONE);
    assert_int_equal(listed.rotation.phase, ROTATION_SELECTING);
    assert_int_equal(ledger_size(h), size + 1);

    /* the hub is started anew before it has looked */
    identity_free(h->identity);
    assert_int_equal(identity_new(h->store, h->ledger, h->subjects, &h->identity), ERR_NONE);
    turn_until_selected(h, listed.rotation.id);
    assert_counts(h, listed.rotation.id, ROTATION_RUNNING, 0, 0, 0, 2);
    assert_true(find_waiting(h, listed.rotation.id, "a", &row));
    assert_true(find_waiting(h, listed.rotation.id, "z", &row));
    assert_false(find_waiting(h, listed.rotation.id, "o", &row));
    assert_true(asked(h, z.now.e.certificate));

    /* chunks in which nobody was taken leave no entry */
    size = ledger_size(h);
    assert_int_equal(rotate(h, &all, NULL, 0, 0), ERR_NONE);
    turn_until_selected(h, all.rotation.id);
    assert_counts(h, all.rotation.id, ROTATION_RUNNING, 0, 0, 0, 3);
    assert_counts(h, listed.rotation.id, ROTATION_COMPLETE, 0, 2, 0, 0);
    assert_int_equal(ledger_size(h), size + 3);

    struct rotation_act none = {.rotation = {.state = DEVICE_QUARANTINED}};
    assert_int_equal(rotate(h, &none, NULL, 0, 0), ERR_NONE);
    turn_until_selected(h, none.rotation.id);
    assert_counts(h, none.rotation.id, ROTATION_COMPLETE, 0, 0, 0, 0);
    thing_free(&a);
    thing_free(&o);
    thing_free(&z);
}

static void a_cancel_ends_the_search(void **state)
{
    struct house *h = *state;
    struct rotation_cancel_act c;
    make_models(h);
    struct thing a = new_thing(h, "listed", "a");
    struct rotation_act all = {.rotation = {.state = ROTATION_ANY_STATE}};
    assert_int_equal(rotate(h, &all, NULL, 0, 0), ERR_NONE);
    assert_int_equal(cancel(h, &c, all.rotation.id), ERR_NONE);
    for (unsigned i = 0; i < 3; i++) {
        identity_select_turn(h->identity, h->reader, h->s->loop);
        settle(h);
    }
    assert_counts(h, all.rotation.id, ROTATION_CANCELLED, 0, 0, 0, 0);
    assert_false(asked(h, a.now.e.certificate));
    thing_free(&a);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, house_set_up, house_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_key_that_was_used_counts),
        TEST(the_old_key_does_not_count),
        TEST(what_was_issued_before_does_not_count),
        TEST(a_refusal_is_noted_and_grows_no_log),
        TEST(says_what_can_be_seen),
        TEST(touched_keys_have_no_grace),
        TEST(moves_to_a_later_one_or_goes),
        TEST(nobody_is_asked_after_a_cancel),
        TEST(only_who_can_renew_is_taken),
        TEST(asks_each_at_its_own_time),
        TEST(filters_find_theirs_chunk_by_chunk),
        TEST(a_cancel_ends_the_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
