/* Passwords of devices that can hold no certificate: made once, rotated with an overlap, gone with
 * the device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base64.h"
#include "tests/unit/sleeper.h"

static enum err change(struct house *h, struct password_act *p, const char *device, bool removal)
{
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    *p = (struct password_act){.removal = removal};
    (void)snprintf(p->device, sizeof p->device, "%s", device);
    identity_change_password(h->identity, &origin, p);
    return wait_act(h, &p->act);
}

static void make(struct house *h, const char *device, char ret_password[IDENTITY_CLAIM_TEXT])
{
    struct password_act p;
    assert_int_equal(change(h, &p, device, false), ERR_NONE);
    assert_int_equal(strlen(p.password), IDENTITY_PASSWORD_LEN);
    assert_in_range(p.expires_at, clock_seconds() + 90 * DAY - 60, clock_seconds() + 90 * DAY);
    memcpy(ret_password, p.password, IDENTITY_CLAIM_TEXT);
}

static bool fits(struct house *h, const char *device, const char *password)
{
    int64_t until = 0;
    const struct device_row row = read_device(h, device);
    enum err err = identity_check_password(h->identity, h->reader, h->s->loop, h->arena, &row,
                                           slice_of_text(password), &until);
    assert_true(err == ERR_NONE || err == ERR_REFUSED);
    assert_true(err == ERR_REFUSED || until > clock_seconds());
    struct model_act m;
    (void)change_model(h, &m, MODEL_DELETE, "none", PROOF_MANIFEST); /* behind what notes its use */
    return err == ERR_NONE;
}

static struct device_password_row read_row(struct house *h, const char *device)
{
    struct device_password_row row = {.tenant = TENANT};
    (void)snprintf(row.device, sizeof row.device, "%s", device);
    if (store_get(h->reader, &table_device_password, h->arena, &row) != ERR_NONE)
        row.made_at = 0;
    return row;
}

struct change_row {
    struct act act;
    struct device_password_row row;
};
static enum err put_apply(struct write *w, struct tx *tx)
{
    const struct change_row *c = (struct change_row *)(void *)act_of(w);
    return tx_update(tx, &table_device_password, &c->row);
}
static const struct write_kind put_kind = {
    .name = "put", .lane = STORE_LANE_NORMAL, .apply = put_apply, .done = act_done};
static void put_row(struct house *h, const struct device_password_row *row)
{
    unsigned ended;
    struct change_row c = {.row = *row};
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    act_init(&c.act, &put_kind, h->ledger, &origin);
    act_submit(&c.act, h->store);
    assert_int_equal(wait_act(h, &c.act), ERR_NONE);
}

/* ---- what is kept ---- */

/* RFC 7677 section 3: its example's client proof is what the StoredKey verifies. */
static void stored_keys_are_scrams(void **state)
{
    (void)state;
    static const char message[] =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    uint8_t salt[16], proof[SHA256_SIZE], stored[SHA256_SIZE], signature[SHA256_SIZE];
    size_t len = 0;
    assert_int_equal(
        base64_read(SLICE_LITERAL("W22ZaJ0SNY7soEsUEjb6gQ=="), salt, sizeof salt, &len), ERR_NONE);
    assert_int_equal(len, sizeof salt);
    assert_int_equal(base64_read(SLICE_LITERAL("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
                                 proof, sizeof proof, &len),
                     ERR_NONE);
    assert_int_equal(len, sizeof proof);
    assert_int_equal(
        crypto_scram_stored_key(SLICE_LITERAL("pencil"), slice_of(salt, sizeof salt), 4096, stored),
        ERR_NONE);
    /* ClientKey = ClientProof XOR ClientSignature; StoredKey = H(ClientKey) (RFC 5802 section 3) */
    crypto_hmac_sha256(stored, slice_of(message, sizeof message - 1), signature);
    for (size_t i = 0; i < sizeof proof; i++)
        proof[i] ^= signature[i];
    uint8_t expected[SHA256_SIZE];
    crypto_sha256_one(slice_of(proof, sizeof proof), expected);
    assert_memory_equal(stored, expected, sizeof expected);
    assert_int_equal(
        crypto_scram_stored_key(SLICE_LITERAL("pencil"), slice_of(salt, sizeof salt), 0, stored),
        ERR_CRYPTO);
}

static void only_the_key_is_kept(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT], one[IDENTITY_CLAIM_TEXT], other[IDENTITY_CLAIM_TEXT];
    make_models(h);
    expect_device(h, "listed", "a", code);
    expect_device(h, "listed", "b", code);
    make(h, "a", one);
    make(h, "b", other);
    assert_string_not_equal(one, other);
    const struct device_password_row row = read_row(h, "a");
    assert_int_equal(row.salt.len, 16);
    assert_int_equal(row.iterations, 4096);
    uint8_t key[SHA256_SIZE];
    assert_int_equal(crypto_scram_stored_key(slice_of_text(one), row.salt, 4096, key), ERR_NONE);
    assert_memory_equal(key, row.stored_key.bytes, sizeof key);
    assert_memory_not_equal(read_row(h, "b").salt.data, row.salt.data, 16);
    assert_true(fits(h, "a", one));
    assert_false(fits(h, "a", other));
    assert_false(fits(h, "b", one));
    assert_false(fits(h, "a", ""));
    assert_false(fits(h, "a", code));
}

/* ---- what it makes of a device ---- */

static void proves_what_the_model_asks_for(void **state)
{
    struct house *h = *state;
    struct move_act m;
    char code[IDENTITY_CLAIM_TEXT], password[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    make(h, "a", password);
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);
    assert_int_equal(read_device(h, "a").credential, CREDENTIAL_PASSWORD);
    /* The claim code on its label opens nothing any more, nor does one of no form. */
    enrol_by_claim(h, &x, "a", code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_REFUSED);
    assert_string_equal(x.e.act.write.problem.code, "enrolment-refused");
    enrolling_free(&x);
    x = (struct enrolling){.arena = arena_new(256 * 1024), .e.authenticator = AUTHENTICATOR_CLAIM};
    (void)snprintf(x.e.device, sizeof x.e.device, "a");
    enrolling_start(h, &x, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_REFUSED);
    enrolling_free(&x);

    expect_device(h, "approved", "b", code);
    make(h, "b", password);
    assert_int_equal(read_device(h, "b").state, DEVICE_ENROLLED);
    assert_int_equal(move(h, &m, "b", MOVE_APPROVE), ERR_NONE);
    make(h, "b", password);
    assert_int_equal(read_device(h, "b").state, DEVICE_TRUSTED);
    EVP_PKEY_free(key);
}

static void is_not_for_those_that_have_better(void **state)
{
    struct house *h = *state;
    struct password_act p;
    struct manifest_devices_act add;
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    EVP_PKEY *key = new_key();
    struct manifest_line line = {
        .serial = "keyed", .credential = CREDENTIAL_KEY, .credential_hash = spki_hash(key)};
    make_models(h);
    assert_int_equal(add_devices(h, &add, "listed", &line, 1), ERR_NONE);
    expect_device(h, "listed", "a", code);
    EVP_PKEY *other = new_key();
    enrol_by_claim(h, &x, "a", code, other);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    enrolling_free(&x);
    uint64_t size = ledger_size(h);
    static const char *const refused[] = {"keyed", "a"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_equal(change(h, &p, refused[i], false), ERR_REFUSED);
        assert_problem(&p.act, 409, "password-not-possible", "device");
    }
    assert_int_equal(change(h, &p, "nobody", false), ERR_REFUSED);
    assert_problem(&p.act, 404, "device-not-found", "device");
    assert_int_equal(change(h, &p, "a", true), ERR_REFUSED);
    assert_problem(&p.act, 404, "password-not-found", "device");
    assert_int_equal(ledger_size(h), size);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

/* ---- rotation ---- */

static void the_one_before_works_until_the_new_one_is_used(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT], first[IDENTITY_CLAIM_TEXT], second[IDENTITY_CLAIM_TEXT],
        third[IDENTITY_CLAIM_TEXT];
    make_models(h);
    expect_device(h, "listed", "a", code);
    make(h, "a", first);
    assert_int_equal(read_row(h, "a").previous_until, 0);
    assert_true(fits(h, "a", first));
    assert_int_not_equal(read_row(h, "a").used_at, 0);
    make(h, "a", second);
    assert_true(fits(h, "a", first));
    /* One that was told to nobody, or lost on the way, takes nothing from the device. */
    make(h, "a", third);
    assert_true(fits(h, "a", first));
    assert_false(fits(h, "a", second));
    assert_in_range(read_row(h, "a").previous_until, clock_seconds() + DAY - 60,
                    clock_seconds() + DAY);
    uint64_t size = ledger_size(h);
    assert_true(fits(h, "a", third));
    assert_int_not_equal(read_row(h, "a").used_at, 0);
    assert_false(fits(h, "a", first));
    assert_true(fits(h, "a", third));
    assert_int_equal(ledger_size(h), size + 1);
}

static void everything_ends(void **state)
{
    struct house *h = *state;
    char code[IDENTITY_CLAIM_TEXT], first[IDENTITY_CLAIM_TEXT], second[IDENTITY_CLAIM_TEXT];
    make_models(h);
    expect_device(h, "listed", "a", code);
    make(h, "a", first);
    assert_true(fits(h, "a", first));
    assert_int_not_equal(read_row(h, "a").used_at, 0);
    make(h, "a", second);
    struct device_password_row row = read_row(h, "a");
    row.previous_until = clock_seconds() - 1; /* a day has passed */
    put_row(h, &row);
    assert_false(fits(h, "a", first));
    assert_true(fits(h, "a", second));
    assert_int_not_equal(read_row(h, "a").used_at, 0);
    row = read_row(h, "a");
    row.expires_at = clock_seconds() - 1;
    put_row(h, &row);
    assert_false(fits(h, "a", second));
    make(h, "a", first); /* what has ended is not kept alive by a new one */
    assert_int_equal(read_row(h, "a").previous_until, 0);
    assert_false(fits(h, "a", second));
}

/* Brokers know no former password without its successor, so it ends no later than that. */
static void the_one_before_never_outlives_the_new_one(void **state)
{
    struct house *h = *state;
    struct password_act p;
    char code[IDENTITY_CLAIM_TEXT], first[IDENTITY_CLAIM_TEXT];
    unsigned ended;
    make_models(h);
    expect_device(h, "listed", "a", code);
    make(h, "a", first);
    assert_true(fits(h, "a", first));
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    struct model_act m = {.change = MODEL_REPLACE,
                          .model = {.id = "listed",
                                    .maker = "acme",
                                    .proof = PROOF_MANIFEST,
                                    .key_kinds = 1 << KEY_P256,
                                    .lifetime = 3600,
                                    .enrolled_lifetime = 3600}};
    identity_change_model(h->identity, &origin, &m);
    assert_int_equal(wait_act(h, &m.act), ERR_NONE);
    assert_int_equal(change(h, &p, "a", false), ERR_NONE);
    const struct device_password_row row = read_row(h, "a");
    assert_int_equal(row.previous_until, row.expires_at);
    assert_int_equal(p.previous_until, row.expires_at);
    assert_true(fits(h, "a", first));
}

/* ---- its end ---- */

static void goes_with_the_device(void **state)
{
    static const enum device_move final[] = {MOVE_REVOKE, MOVE_RETIRE};
    struct house *h = *state;
    struct move_act m;
    struct password_act p;
    char id[2] = "a", code[IDENTITY_CLAIM_TEXT], password[IDENTITY_CLAIM_TEXT];
    make_models(h);
    for (size_t i = 0; i < ARRAY_LEN(final); i++, id[0]++) {
        expect_device(h, "listed", id, code);
        make(h, id, password);
        assert_int_equal(move(h, &m, id, final[i]), ERR_NONE);
        assert_int_equal(read_row(h, id).made_at, 0);
        assert_false(fits(h, id, password));
        assert_int_equal(change(h, &p, id, false), ERR_REFUSED);
        assert_problem(&p.act, 409, "password-not-possible", "device");
    }
    /* A quarantine alone leaves it to the policy; one after which it may be known does not. */
    expect_device(h, "listed", "q", code);
    make(h, "q", password);
    assert_int_equal(move(h, &m, "q", MOVE_QUARANTINE), ERR_NONE);
    assert_true(fits(h, "q", password));
    unsigned ended;
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    m = (struct move_act){.move = MOVE_QUARANTINE, .keys_touched = true, .reason = "heard it"};
    (void)snprintf(m.device, sizeof m.device, "q");
    identity_move(h->identity, &origin, &m);
    assert_int_equal(wait_act(h, &m.act), ERR_NONE);
    assert_false(fits(h, "q", password));
    assert_int_equal(move(h, &m, "q", MOVE_RELEASE), ERR_REFUSED);
    assert_problem(&m.act, 409, "key-not-new", "device");
    make(h, "q", password);
    assert_int_equal(read_device(h, "q").state, DEVICE_QUARANTINED);
    assert_int_equal(move(h, &m, "q", MOVE_RELEASE), ERR_NONE);
    assert_true(fits(h, "q", password));
}

static void is_removed_and_the_device_starts_anew(void **state)
{
    struct house *h = *state;
    struct password_act p;
    struct claim_act c;
    struct enrolling x;
    unsigned ended;
    char code[IDENTITY_CLAIM_TEXT], password[IDENTITY_CLAIM_TEXT];
    EVP_PKEY *key = new_key();
    make_models(h);
    expect_device(h, "listed", "a", code);
    make(h, "a", password);
    assert_int_equal(change(h, &p, "a", true), ERR_NONE);
    assert_false(fits(h, "a", password));
    assert_int_equal(read_device(h, "a").state, DEVICE_EXPECTED);
    const struct act_origin origin = origin_of(h, h->arena, &ended);
    c = (struct claim_act){.device = "a", .expires_at = clock_seconds() + DAY};
    identity_renew_claim(h->identity, &origin, &c);
    assert_int_equal(wait_act(h, &c.act), ERR_NONE);
    enrol_by_claim(h, &x, "a", c.claim_code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    enrolling_free(&x);
    assert_int_equal(read_device(h, "a").state, DEVICE_TRUSTED);
    EVP_PKEY_free(key);
}

#define WITH_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_set_up, house_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_keys_are_scrams),
        WITH_HOUSE(only_the_key_is_kept),
        WITH_HOUSE(proves_what_the_model_asks_for),
        WITH_HOUSE(is_not_for_those_that_have_better),
        WITH_HOUSE(the_one_before_works_until_the_new_one_is_used),
        WITH_HOUSE(the_one_before_never_outlives_the_new_one),
        WITH_HOUSE(everything_ends),
        WITH_HOUSE(goes_with_the_device),
        WITH_HOUSE(is_removed_and_the_device_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
