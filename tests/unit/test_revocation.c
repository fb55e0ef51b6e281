#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "hub/revocation/ocsp_cache.h"
#include "tests/unit/store_fixture.h"

/* ---- standing ---- */

static void device_weighs_more_than_certificate(void **state)
{
    (void)state;
    const int64_t changed = 2000, ended = 1000;
    static const struct {
        enum device_state device;
        enum certificate_status certificate;
        enum ocsp_status status;
        enum crl_reason reason;
    } cases[] = {
        {DEVICE_ENROLLED, CERTIFICATE_ISSUED, OCSP_GOOD, REASON_UNSPECIFIED},
        {DEVICE_TRUSTED, CERTIFICATE_ISSUED, OCSP_GOOD, REASON_UNSPECIFIED},
        {DEVICE_TRUSTED, CERTIFICATE_ACTIVE, OCSP_GOOD, REASON_UNSPECIFIED},
        {DEVICE_TRUSTED, CERTIFICATE_RETIRED, OCSP_REVOKED, REASON_SUPERSEDED},
        {DEVICE_TRUSTED, CERTIFICATE_REVOKED, OCSP_REVOKED, REASON_PRIVILEGE_WITHDRAWN},
        {DEVICE_QUARANTINED, CERTIFICATE_ACTIVE, OCSP_REVOKED, REASON_CERTIFICATE_HOLD},
        {DEVICE_QUARANTINED, CERTIFICATE_RETIRED, OCSP_REVOKED, REASON_SUPERSEDED},
        {DEVICE_REVOKED, CERTIFICATE_REVOKED, OCSP_REVOKED, REASON_PRIVILEGE_WITHDRAWN},
        /* one that was issued and never used, and is not named by the device's row */
        {DEVICE_REVOKED, CERTIFICATE_ISSUED, OCSP_REVOKED, REASON_PRIVILEGE_WITHDRAWN},
        {DEVICE_REVOKED, CERTIFICATE_RETIRED, OCSP_REVOKED, REASON_PRIVILEGE_WITHDRAWN},
        {DEVICE_RETIRED, CERTIFICATE_RETIRED, OCSP_REVOKED, REASON_CESSATION_OF_OPERATION},
        {DEVICE_RETIRED, CERTIFICATE_ACTIVE, OCSP_REVOKED, REASON_CESSATION_OF_OPERATION},
        /* what is not foreseen is not good */
        {DEVICE_EXPECTED, CERTIFICATE_ACTIVE, OCSP_REVOKED, REASON_UNSPECIFIED},
        {DEVICE_STATE_COUNT, CERTIFICATE_ACTIVE, OCSP_REVOKED, REASON_UNSPECIFIED},
        {DEVICE_TRUSTED, (enum certificate_status)9, OCSP_REVOKED, REASON_UNSPECIFIED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool is_ended = cases[i].certificate == CERTIFICATE_RETIRED ||
                        cases[i].certificate == CERTIFICATE_REVOKED;
        const struct device_row device = {.state = cases[i].device, .changed_at = changed};
        const struct certificate_row certificate = {.status = cases[i].certificate,
                                                    .ended_at = is_ended ? ended : 0};
        struct standing s = revocation_standing(&device, &certificate);
        assert_int_equal(s.status, cases[i].status);
        assert_int_equal(s.reason, cases[i].reason);
        if (s.status == OCSP_GOOD)
            assert_int_equal(s.since, 0);
        else
            assert_int_equal(s.since, is_ended ? ended : changed);
    }
}

/* ---- the cache ---- */

struct kept {
    struct ocsp_cache *cache;
    struct arena *arena;
};

static int set_up(void **state)
{
    static struct kept f;
    f.arena = arena_new(1 << 20);
    *state = &f;
    return ocsp_cache_new(NULL, &f.cache) == ERR_NONE && f.arena != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct kept *f = *state;
    ocsp_cache_free(f->cache);
    ocsp_cache_free(NULL);
    arena_free(f->arena);
    return 0;
}

static struct ocsp_question question(const struct kept *f, struct slice serial)
{
    return (struct ocsp_question){.arena = f->arena,
                                  .id = {.hash = OCSP_SHA1, .serial = serial},
                                  .standing = {.status = OCSP_GOOD}};
}

static void keep(const struct kept *f, struct ocsp_question q, const char *response)
{
    q.response = slice_of_text(response);
    q.this_update = 1000;
    q.next_update = 1100;
    memcpy(q.tag, "0123456789abcdef", sizeof q.tag);
    ocsp_cache_keep(f->cache, &q);
}

static void gives_what_was_kept(void **state)
{
    const struct kept *f = *state;
    struct ocsp_question q = question(f, SLICE_LITERAL("\x6a\x01"));
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1001), ERR_NOT_FOUND);
    keep(f, q, "a response");
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1001), ERR_NONE);
    assert_true(slice_equal(q.response, SLICE_LITERAL("a response")));
    assert_int_equal(q.this_update, 1000);
    assert_int_equal(q.next_update, 1100);
    assert_memory_equal(q.tag, "0123456789abcdef", sizeof q.tag);
    keep(f, q, "a newer one");
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1001), ERR_NONE);
    assert_true(slice_equal(q.response, SLICE_LITERAL("a newer one")));
    struct ocsp_question other = q;
    other.id.hash = OCSP_SHA256;
    assert_int_equal(ocsp_cache_find(f->cache, &other, 1001), ERR_NOT_FOUND);
    other = q;
    other.authority = AUTHORITY_PREVIOUS;
    assert_int_equal(ocsp_cache_find(f->cache, &other, 1001), ERR_NOT_FOUND);
    other = q;
    other.id.serial = SLICE_LITERAL("\x00\x6a\x01");
    assert_int_equal(ocsp_cache_find(f->cache, &other, 1001), ERR_NOT_FOUND);
}

/* The heart of it: an answer is for one standing alone. */
static void gives_nothing_that_says_something_else(void **state)
{
    const struct kept *f = *state;
    struct ocsp_question q = question(f, SLICE_LITERAL("\x6a\x01"));
    keep(f, q, "good");
    const struct standing others[] = {
        {.status = OCSP_REVOKED},
        {.status = OCSP_REVOKED, .reason = REASON_CERTIFICATE_HOLD, .since = 999},
        {.status = OCSP_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        q.standing = others[i];
        assert_int_equal(ocsp_cache_find(f->cache, &q, 1001), ERR_NOT_FOUND);
    }
    q.standing = others[1];
    keep(f, q, "on hold");
    q.standing.since++; /* on hold once more */
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1001), ERR_NOT_FOUND);
    q.standing = (struct standing){.status = OCSP_GOOD};
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1001), ERR_NOT_FOUND);
}

static void asks_for_a_new_one_at_half_its_life_once(void **state)
{
    const struct kept *f = *state;
    struct ocsp_question q = question(f, SLICE_LITERAL("\x6a\x01"));
    keep(f, q, "a response");
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1049), ERR_NONE);
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1050), ERR_NOT_FOUND);
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1050), ERR_NONE);
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1059), ERR_NONE);
    /* nothing has come of it: somebody else's turn */
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1060), ERR_NOT_FOUND);
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1061), ERR_NONE);
}

static void gives_nothing_that_does_not_hold(void **state)
{
    const struct kept *f = *state;
    struct ocsp_question q = question(f, SLICE_LITERAL("\x6a\x01"));
    keep(f, q, "a response");
    assert_int_equal(ocsp_cache_find(f->cache, &q, 1100), ERR_NOT_FOUND);
    assert_int_equal(ocsp_cache_find(f->cache, &q, 999), ERR_NOT_FOUND);
    assert_int_equal(ocsp_cache_find(f->cache, &q, INT64_MAX), ERR_NOT_FOUND);
}

/* More than there is room for: the newest are there, and memory does not grow. */
static void forgets_the_oldest(void **state)
{
    const struct kept *f = *state;
    enum { MANY = 40000 };
    size_t found = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        const uint8_t serial[] = {0x6a, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        keep(f, question(f, slice_of(serial, sizeof serial)), "a response");
    }
    for (uint32_t i = 0; i < MANY; i++) {
        const uint8_t serial[] = {0x6a, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        struct ocsp_question q = question(f, slice_of(serial, sizeof serial));
        found += ocsp_cache_find(f->cache, &q, 1001) == ERR_NONE;
    }
    assert_in_range(found, 10000, 16384);
}

/* ---- what is spared ---- */

static const char *const serial_text = "6a0b0c0d0102";
#define SERIAL SLICE_LITERAL("\x6a\x0b\x0c\x0d\x01\x02")
#define OURS   0x01020304

static struct device_row device_named(const char *id, enum device_state state)
{
    struct device_row row = {.tenant = "default", .state = state, .changed_at = 50};
    (void)snprintf(row.id, sizeof row.id, "%s", id);
    return row;
}

static struct certificate_row certificate_in(enum certificate_status status)
{
    struct certificate_row row = {
        .tenant = "default", .device = "thermo-1", .status = status, .not_after = 2000};
    (void)snprintf(row.serial, sizeof row.serial, "%s", serial_text);
    return row;
}

static enum err run_insert_both(struct step *step, struct tx *tx)
{
    const struct device_row device = device_named("thermo-1", DEVICE_TRUSTED);
    const struct device_row other = device_named("thermo-2", DEVICE_TRUSTED);
    const struct certificate_row certificate = certificate_in(CERTIFICATE_ACTIVE);
    (void)step;
    assert_int_equal(tx_insert(tx, &table_device, &device), ERR_NONE);
    assert_int_equal(tx_insert(tx, &table_device, &other), ERR_NONE);
    return tx_insert(tx, &table_certificate, &certificate);
}

static enum err run_change_other(struct step *step, struct tx *tx)
{
    const struct device_row other = device_named("thermo-2", DEVICE_REVOKED);
    (void)step;
    return tx_update(tx, &table_device, &other);
}

static enum err run_quarantine(struct step *step, struct tx *tx)
{
    const struct device_row device = device_named("thermo-1", DEVICE_QUARANTINED);
    (void)step;
    return tx_update(tx, &table_device, &device);
}

static enum err run_release(struct step *step, struct tx *tx)
{
    const struct device_row device = device_named("thermo-1", DEVICE_TRUSTED);
    (void)step;
    return tx_update(tx, &table_device, &device);
}

static enum err run_supersede(struct step *step, struct tx *tx)
{
    const struct certificate_row certificate = certificate_in(CERTIFICATE_RETIRED);
    (void)step;
    return tx_update(tx, &table_certificate, &certificate);
}

static enum err run_set_authority(struct step *step, struct tx *tx)
{
    struct certificate_row certificate = certificate_in(CERTIFICATE_ACTIVE);
    certificate.authority = *(const int64_t *)step->ctx;
    return tx_update(tx, &table_certificate, &certificate);
}

static enum err find_unchanged(struct ocsp_cache *cache, struct fixture *f, int64_t now)
{
    struct ocsp_question q = {.arena = f->arena, .id = {.hash = OCSP_SHA1, .serial = SERIAL}};
    q.standing.status = OCSP_UNKNOWN;
    enum err err = ocsp_cache_find_unchanged(cache, &q, now);
    if (err == ERR_NONE)
        assert_int_equal(q.standing.status, OCSP_GOOD);
    return err;
}

/* Looks it up, and has what it says kept or found again. */
static struct standing look(struct ocsp_cache *cache, struct fixture *f, bool keep_it)
{
    struct ocsp_question q = {.arena = f->arena, .id = {.hash = OCSP_SHA1, .serial = SERIAL}};
    assert_int_equal(
        revocation_look_up(f->store, f->reader, f->arena, SERIAL, OURS, &q.standing, &q.stamps),
        ERR_NONE);
    if (keep_it) {
        q.response = SLICE_LITERAL("a response");
        q.this_update = 1000;
        q.next_update = 1100;
        ocsp_cache_keep(cache, &q);
    } else {
        enum err err = ocsp_cache_find(cache, &q, 1001);
        assert_true(err == ERR_NONE || err == ERR_NOT_FOUND);
    }
    return q.standing;
}

static void reads_nothing_while_nothing_has_changed(void **state)
{
    (void)state;
    struct fixture f;
    struct ocsp_cache *cache;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(ocsp_cache_new(f.store, &cache), ERR_NONE);
    assert_int_equal(look(cache, &f, false).status, OCSP_UNKNOWN);
    assert_int_equal(fixture_write(&f, run_insert_both, NULL), ERR_NONE);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NOT_FOUND);
    assert_int_equal(look(cache, &f, true).status, OCSP_GOOD);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_change_other, NULL), ERR_NONE);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NONE);

    /* Nor at the end of its life; and whoever only looked has not taken anybody's turn. */
    assert_int_equal(find_unchanged(cache, &f, 1050), ERR_NOT_FOUND);
    assert_int_equal(find_unchanged(cache, &f, 1100), ERR_NOT_FOUND);
    struct ocsp_question q = {.arena = f.arena, .id = {.hash = OCSP_SHA1, .serial = SERIAL}};
    assert_int_equal(ocsp_cache_find(cache, &q, 1050), ERR_NOT_FOUND);
    assert_int_equal(ocsp_cache_find(cache, &q, 1050), ERR_NONE);

    /* The answer to the write is there: nothing from before is found. */
    look(cache, &f, true);
    assert_int_equal(fixture_write(&f, run_quarantine, NULL), ERR_NONE);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NOT_FOUND);
    assert_int_equal(look(cache, &f, false).reason, REASON_CERTIFICATE_HOLD);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NOT_FOUND);
    assert_int_equal(fixture_write(&f, run_release, NULL), ERR_NONE);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NOT_FOUND);
    assert_int_equal(look(cache, &f, false).status, OCSP_GOOD); /* finds it: it holds again */
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_supersede, NULL), ERR_NONE);
    assert_int_equal(find_unchanged(cache, &f, 1001), ERR_NOT_FOUND);
    assert_int_equal(look(cache, &f, false).reason, REASON_SUPERSEDED);
    ocsp_cache_free(cache);
    fixture_remove(&f);
}

/* Whoever is asked about another's certificate under an own name has issued no such thing. */
static void speaks_for_what_an_authority_has_issued(void **state)
{
    (void)state;
    static const struct {
        int64_t authority;
        enum ocsp_status status;
    } cases[] = {
        {OURS, OCSP_GOOD}, {OURS + 1, OCSP_UNKNOWN}, {0, OCSP_GOOD}, /* from before it was noted */
    };
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    assert_int_equal(fixture_write(&f, run_insert_both, NULL), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct standing standing;
        struct standing_stamps stamps;
        int64_t authority = cases[i].authority;
        assert_int_equal(fixture_write(&f, run_set_authority, &authority), ERR_NONE);
        assert_int_equal(
            revocation_look_up(f.store, f.reader, f.arena, SERIAL, OURS, &standing, &stamps),
            ERR_NONE);
        assert_int_equal(standing.status, cases[i].status);
    }
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_weighs_more_than_certificate),
        cmocka_unit_test_setup_teardown(gives_what_was_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gives_nothing_that_says_something_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asks_for_a_new_one_at_half_its_life_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(gives_nothing_that_does_not_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets_the_oldest, set_up, tear_down),
        cmocka_unit_test(reads_nothing_while_nothing_has_changed),
        cmocka_unit_test(speaks_for_what_an_authority_has_issued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
