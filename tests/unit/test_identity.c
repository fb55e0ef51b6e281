#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_fixture.h"

/* ---- models ---- */

static void models_come_and_go(void **state)
{
    struct house *h = *state;
    struct model_act m;
    assert_int_equal(change_model(h, &m, MODEL_CREATE, "a", PROOF_MANIFEST), ERR_NONE);
    assert_int_equal(ledger_size(h), 1);
    int64_t created_at = m.model.created_at;
    assert_in_range(created_at, clock_seconds() - 60, clock_seconds());
    (void)change_model(h, &m, MODEL_CREATE, "a", PROOF_MANIFEST);
    assert_problem(&m.act, 409, "model-exists", "id");
    (void)change_model(h, &m, MODEL_REPLACE, "b", PROOF_MANIFEST);
    assert_problem(&m.act, 404, "model-not-found", "model");
    (void)change_model(h, &m, MODEL_DELETE, "b", PROOF_MANIFEST);
    assert_problem(&m.act, 404, "model-not-found", "model");
    assert_int_equal(ledger_size(h), 1);

    clock_shift(1000);
    assert_int_equal(change_model(h, &m, MODEL_REPLACE, "a", PROOF_APPROVAL), ERR_NONE);
    clock_shift(-1000);
    struct model_row row = {.tenant = TENANT, .id = "a"};
    assert_int_equal(store_get(h->reader, &table_model, h->arena, &row), ERR_NONE);
    assert_int_equal(row.proof, PROOF_APPROVAL);
    assert_int_equal(row.created_at, created_at);
    assert_in_range(row.changed_at - created_at, 1000, 1060);
    assert_int_equal(change_model(h, &m, MODEL_DELETE, "a", PROOF_MANIFEST), ERR_NONE);
    assert_int_equal(store_get(h->reader, &table_model, h->arena, &row), ERR_NOT_FOUND);
    assert_int_equal(change_model(h, &m, MODEL_CREATE, "a", PROOF_MANIFEST), ERR_NONE);
    assert_int_equal(ledger_size(h), 4);
}

static void models_in_use_stay(void **state)
{
    struct house *h = *state;
    struct model_act m;
    struct manifest_act manifest;
    assert_int_equal(change_model(h, &m, MODEL_CREATE, "a", PROOF_MANIFEST), ERR_NONE);
    assert_int_equal(change_model(h, &m, MODEL_CREATE, "b", PROOF_MANIFEST), ERR_NONE);
    (void)create_manifest(h, &manifest, "batch", "c");
    assert_problem(&manifest.act, 404, "model-not-found", "model");
    assert_int_equal(create_manifest(h, &manifest, "batch", "a"), ERR_NONE);
    uint64_t size = ledger_size(h);
    (void)change_model(h, &m, MODEL_DELETE, "a", PROOF_MANIFEST);
    assert_problem(&m.act, 409, "model-in-use", "model");
    /* a manifest that came to nothing uses no model */
    (void)create_manifest(h, &manifest, "batch", "b");
    assert_problem(&manifest.act, 409, "manifest-exists", "id");
    assert_int_equal(ledger_size(h), size);
    assert_int_equal(change_model(h, &m, MODEL_DELETE, "b", PROOF_MANIFEST), ERR_NONE);
    /* and changing one does not make it free */
    assert_int_equal(change_model(h, &m, MODEL_REPLACE, "a", PROOF_APPROVAL), ERR_NONE);
    (void)change_model(h, &m, MODEL_DELETE, "a", PROOF_MANIFEST);
    assert_problem(&m.act, 409, "model-in-use", "model");
}

/* ---- manifests ---- */

static struct hash hash_of(const char *text)
{
    struct hash hash;
    crypto_sha256_one(slice_of_text(text), hash.bytes);
    return hash;
}

static struct manifest_line key_line(const char *serial, const char *key)
{
    return (struct manifest_line){
        .serial = serial, .credential = CREDENTIAL_KEY, .credential_hash = hash_of(key)};
}

static struct manifest_line idevid_line(const char *serial, const char *certificate,
                                        const char *key)
{
    return (struct manifest_line){.serial = serial,
                                  .credential = CREDENTIAL_IDEVID,
                                  .credential_hash = hash_of(certificate),
                                  .idevid_spki = hash_of(key)};
}

static struct manifest_line claim_line(const char *serial)
{
    return (struct manifest_line){.serial = serial,
                                  .credential = CREDENTIAL_CLAIM,
                                  .claim_expires_at = clock_seconds() + DAY};
}

static int64_t devices_in(struct house *h, const char *manifest)
{
    struct manifest_row row = {.tenant = TENANT};
    (void)snprintf(row.id, sizeof row.id, "%s", manifest);
    assert_int_equal(store_get(h->reader, &table_manifest, h->arena, &row), ERR_NONE);
    return row.devices;
}

static void one_key_is_one_device(void **state)
{
    struct house *h = *state;
    struct manifest_devices_act m;
    make_models(h);
    struct manifest_line known[] = {key_line("k1", "key 1"), idevid_line("i1", "idevid 1", "key 2"),
                                    claim_line("c1")};
    assert_int_equal(add_devices(h, &m, "listed", known, ARRAY_LEN(known)), ERR_NONE);
    assert_int_equal(devices_in(h, "listed"), 3);
    uint64_t size = ledger_size(h);

    /* the last line is what is wrong; what stands before it is not taken either */
    const struct {
        struct manifest_line line;
        const char *code, *field;
    } cases[] = {
        {key_line("x", "key 1"), "key-in-use", "rows[1].key"},
        {key_line("x", "key 2"), "key-in-use", "rows[1].key"},
        {idevid_line("x", "idevid 2", "key 1"), "key-in-use", "rows[1].key"},
        {idevid_line("x", "idevid 2", "key 2"), "key-in-use", "rows[1].key"},
        {idevid_line("x", "idevid 1", "key 2"), "key-in-use", "rows[1].key"},
        {key_line("x", "fresh"), "key-in-use", "rows[1].key"}, /* as in the line before */
        {idevid_line("x", "idevid 2", "fresh"), "key-in-use", "rows[1].key"},
        {key_line("k1", "key 3"), "device-exists", "rows[1].serial"},
        {key_line("k1", "key 1"), "device-exists", "rows[1].serial"},
        {claim_line("i1"), "device-exists", "rows[1].serial"},
        {claim_line("c1"), "device-exists", "rows[1].serial"},
        {claim_line("before"), "device-exists", "rows[1].serial"},
    };
    static const char *const manifests[] = {"listed", "approved"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t j = 0; j < ARRAY_LEN(manifests); j++) {
            struct manifest_line lines[] = {key_line("before", "fresh"), cases[i].line};
            arena_reset(h->arena);
            (void)add_devices(h, &m, manifests[j], lines, ARRAY_LEN(lines));
            assert_problem(&m.act, 409, cases[i].code, cases[i].field);
            assert_false(knows_device(h, "before"));
            const struct hash fresh = hash_of("fresh");
            assert_false(knows_key(h, &fresh));
        }
    }
    assert_int_equal(devices_in(h, "listed"), 3);
    assert_int_equal(devices_in(h, "approved"), 0);
    assert_int_equal(ledger_size(h), size);
}

static void manifests_take_chunks(void **state)
{
    struct house *h = *state;
    struct manifest_devices_act m;
    make_models(h);
    static struct manifest_line lines[IDENTITY_MANIFEST_CHUNK + 1];
    static char serials[IDENTITY_MANIFEST_CHUNK + 1][16];
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        (void)snprintf(serials[i], sizeof serials[i], "d%zu", i);
        lines[i] = claim_line(serials[i]);
    }
    assert_int_equal(add_devices(h, &m, "listed", lines, 0), ERR_LIMIT);
    assert_int_equal(add_devices(h, &m, "listed", lines, ARRAY_LEN(lines)), ERR_LIMIT);
    (void)add_devices(h, &m, "none", lines, 1);
    assert_problem(&m.act, 404, "manifest-not-found", "manifest");
    uint64_t size = ledger_size(h);
    assert_int_equal(add_devices(h, &m, "listed", lines, IDENTITY_MANIFEST_CHUNK), ERR_NONE);
    assert_int_equal(ledger_size(h), size + 1);
    assert_int_equal(devices_in(h, "listed"), IDENTITY_MANIFEST_CHUNK);
    for (size_t i = 0; i < IDENTITY_MANIFEST_CHUNK; i += 99) {
        struct hash hash;
        arena_reset(h->arena);
        const struct device_row row = read_device(h, serials[i]);
        assert_int_equal(identity_claim_hash(slice_of_text(lines[i].claim_code), &hash), ERR_NONE);
        assert_memory_equal(&row.credential_hash, &hash, sizeof hash); /* and the code nowhere */
        assert_int_equal(row.state, DEVICE_EXPECTED);
        assert_string_equal(row.owner, "~1");
        assert_string_equal(row.maker, "acme");
    }
}

/* ---- moves ---- */

/* Brings a device into a state, the way devices come into it. */
static void make_device(struct house *h, const char *serial, enum device_state to)
{
    static const struct {
        const char *manifest;
        bool enrols, moves;
        enum device_move move;
    } ways[DEVICE_STATE_COUNT] = {
        [DEVICE_EXPECTED] = {"listed", false, false, 0},
        [DEVICE_ENROLLED] = {"approved", true, false, 0},
        [DEVICE_TRUSTED] = {"listed", true, false, 0},
        [DEVICE_QUARANTINED] = {"listed", true, true, MOVE_QUARANTINE},
        [DEVICE_REVOKED] = {"listed", true, true, MOVE_REVOKE},
        [DEVICE_RETIRED] = {"listed", true, true, MOVE_RETIRE},
    };
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    struct move_act m;
    arena_reset(h->arena);
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    expect_device(h, ways[to].manifest, serial, code);
    if (ways[to].enrols) {
        enrol_by_claim(h, &x, serial, code, key);
        assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
        enrolling_free(&x);
    }
    if (ways[to].moves)
        assert_int_equal(move(h, &m, serial, ways[to].move), ERR_NONE);
    assert_int_equal(read_device(h, serial).state, to);
    EVP_PKEY_free(key);
}

#define REFUSED -1

static const char *const move_names[] = {"approve", "quarantine", "release", "revoke", "retire"};

static void moves_lead_where_they_should(void **state)
{
    struct house *h = *state;
    static const int ends[DEVICE_STATE_COUNT][ARRAY_LEN(move_names)] = {
        /* approve, quarantine, release, revoke, retire */
        [DEVICE_EXPECTED] = {REFUSED, REFUSED, REFUSED, DEVICE_REVOKED, DEVICE_RETIRED},
        [DEVICE_ENROLLED] = {DEVICE_TRUSTED, DEVICE_QUARANTINED, REFUSED, DEVICE_REVOKED,
                             DEVICE_RETIRED},
        [DEVICE_TRUSTED] = {REFUSED, DEVICE_QUARANTINED, REFUSED, DEVICE_REVOKED, DEVICE_RETIRED},
        [DEVICE_QUARANTINED] = {REFUSED, REFUSED, DEVICE_TRUSTED, DEVICE_REVOKED, DEVICE_RETIRED},
        [DEVICE_REVOKED] = {REFUSED, REFUSED, REFUSED, REFUSED, REFUSED},
        [DEVICE_RETIRED] = {REFUSED, REFUSED, REFUSED, REFUSED, REFUSED},
    };
    make_models(h);
    for (int from = 0; from < DEVICE_STATE_COUNT; from++) {
        for (size_t i = 0; i < ARRAY_LEN(move_names); i++) {
            char serial[32];
            (void)snprintf(serial, sizeof serial, "%s-%s", device_state_text(from), move_names[i]);
            make_device(h, serial, (enum device_state)from);
            const struct device_row before = read_device(h, serial);
            uint64_t size = ledger_size(h);
            struct move_act m;
            enum err err = move(h, &m, serial, (enum device_move)i);
            const struct device_row after = read_device(h, serial);
            if (ends[from][i] == REFUSED) {
                assert_problem(&m.act, 409, "move-not-possible", "device");
                assert_int_equal(after.state, before.state);
                assert_string_equal(after.reason, before.reason);
                assert_int_equal(ledger_size(h), size);
                continue;
            }
            if (err != ERR_NONE || after.state != ends[from][i])
                fail_msg("%s: %s, %s", serial, err_text(err), device_state_text(after.state));
            assert_int_equal(m.state, after.state);
            char reason[REASON_MAX_BYTES + 1];
            assert_int_equal(
                subjects_unseal(h->subjects, TENANT, serial, slice_of_text(after.reason), reason),
                ERR_NONE);
            assert_string_equal(reason, "a test");
            assert_int_equal(ledger_size(h), size + 1);
            if (after.certificate[0] == '\0')
                continue;
            /* what ends a device ends its certificate; nothing else does */
            int64_t status = CERTIFICATE_ISSUED;
            if (after.state == DEVICE_REVOKED)
                status = CERTIFICATE_REVOKED;
            if (after.state == DEVICE_RETIRED)
                status = CERTIFICATE_RETIRED;
            assert_int_equal(read_certificate(h, after.certificate).status, status);
        }
    }
    struct move_act m;
    (void)move(h, &m, "nobody", MOVE_REVOKE);
    assert_problem(&m.act, 404, "device-not-found", "device");
}

/* Out of quarantine comes what went in. */
static void release_gives_no_trust(void **state)
{
    struct house *h = *state;
    struct move_act m;
    make_models(h);
    make_device(h, "never", DEVICE_ENROLLED);
    make_device(h, "once", DEVICE_ENROLLED);
    assert_int_equal(move(h, &m, "never", MOVE_QUARANTINE), ERR_NONE);
    assert_int_equal(move(h, &m, "never", MOVE_RELEASE), ERR_NONE);
    assert_int_equal(m.state, DEVICE_ENROLLED);
    assert_int_equal(read_device(h, "never").state, DEVICE_ENROLLED);
    assert_int_equal(read_device(h, "never").was_trusted, 0);

    assert_int_equal(move(h, &m, "once", MOVE_APPROVE), ERR_NONE);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(move(h, &m, "once", MOVE_QUARANTINE), ERR_NONE);
        assert_int_equal(move(h, &m, "once", MOVE_RELEASE), ERR_NONE);
        assert_int_equal(m.state, DEVICE_TRUSTED);
        assert_int_equal(read_device(h, "once").state, DEVICE_TRUSTED);
    }
    /* a second round changes nothing for the other one */
    assert_int_equal(move(h, &m, "never", MOVE_QUARANTINE), ERR_NONE);
    assert_int_equal(move(h, &m, "never", MOVE_RELEASE), ERR_NONE);
    assert_int_equal(m.state, DEVICE_ENROLLED);
    assert_int_equal(move(h, &m, "never", MOVE_APPROVE), ERR_NONE);
    assert_int_equal(m.state, DEVICE_TRUSTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(models_come_and_go, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(models_in_use_stay, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(one_key_is_one_device, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(manifests_take_chunks, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(moves_lead_where_they_should, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(release_gives_no_trust, house_set_up, house_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
