/* What a move or a renewal does to the table that revocation lists are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_fixture.h"

#define ROWS_MAX 16

struct listed {
    struct crl_entry_row rows[ROWS_MAX];
    size_t n;
};

static enum err keep_row(void *ctx, const void *row)
{
    struct listed *l = ctx;
    assert_true(l->n < ROWS_MAX);
    memcpy(&l->rows[l->n++], row, sizeof l->rows[0]);
    return ERR_NONE;
}

/* All of it, in order: each later than the one before. */
static struct listed read_listed(struct house *h)
{
    struct listed l = {.n = 0};
    const struct store_query query = {.table = &table_crl_entry, .limit = ROWS_MAX};
    assert_int_equal(store_list(h->reader, &query, h->arena, keep_row, &l), ERR_NONE);
    for (size_t i = 0; i < l.n; i++) {
        const struct certificate_row certificate = read_certificate(h, l.rows[i].serial);
        assert_int_equal(certificate.listed, l.rows[i].entry);
        assert_int_equal(certificate.authority, l.rows[i].authority);
        assert_int_not_equal(certificate.authority, 0);
        assert_int_equal(certificate.not_after, l.rows[i].not_after);
        assert_in_range(l.rows[i].date, clock_seconds() - 60, clock_seconds());
        assert_true(i == 0 || l.rows[i].entry >= l.rows[i - 1].entry);
    }
    return l;
}

static void assert_only(struct house *h, const char *serial, enum crl_reason reason)
{
    struct listed l = read_listed(h);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.rows[0].serial, serial);
    assert_int_equal(l.rows[0].reason, reason);
    /* the entry of the act that did it, which is the newest */
    assert_int_equal(l.rows[0].entry, ledger_size(h) - 1);
}

static void enrol(struct house *h, const char *device, char serial[SERIAL_TEXT_SIZE])
{
    char code[IDENTITY_CLAIM_TEXT];
    struct enrolling x;
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    expect_device(h, "listed", device, code);
    enrol_by_claim(h, &x, device, code, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    memcpy(serial, x.e.issued, SERIAL_TEXT_SIZE);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

static void renew(struct house *h, const char *device, const char *with,
                  char serial[SERIAL_TEXT_SIZE])
{
    struct enrolling x;
    EVP_PKEY *key = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &key), ERR_NONE);
    enrol_by_certificate(h, &x, device, with, key);
    assert_int_equal(enrolling_wait(h, &x), ERR_NONE);
    memcpy(serial, x.e.issued, SERIAL_TEXT_SIZE);
    enrolling_free(&x);
    EVP_PKEY_free(key);
}

static void must_move(struct house *h, const char *device, enum device_move to)
{
    struct move_act m;
    assert_int_equal(move(h, &m, device, to), ERR_NONE);
}

static void lists_each_move_in_its_place(void **state)
{
    struct house *h = *state;
    char serial[SERIAL_TEXT_SIZE];
    make_models(h);
    enrol(h, "a", serial);
    assert_int_equal(read_listed(h).n, 0);
    assert_int_equal(read_certificate(h, serial).listed, 0);
    for (unsigned i = 0; i < 2; i++) {
        must_move(h, "a", MOVE_QUARANTINE);
        assert_only(h, serial, REASON_CERTIFICATE_HOLD);
        must_move(h, "a", MOVE_RELEASE);
        assert_only(h, serial, REASON_REMOVE_FROM_CRL);
    }
    must_move(h, "a", MOVE_QUARANTINE);
    must_move(h, "a", MOVE_REVOKE);
    assert_only(h, serial, REASON_PRIVILEGE_WITHDRAWN);
    assert_int_equal(read_certificate(h, serial).status, CERTIFICATE_REVOKED);
}

static void tells_what_was_retired(void **state)
{
    struct house *h = *state;
    char serial[SERIAL_TEXT_SIZE];
    make_models(h);
    enrol(h, "a", serial);
    must_move(h, "a", MOVE_RETIRE);
    assert_only(h, serial, REASON_CESSATION_OF_OPERATION);
}

/* One that was never used is replaced at once, not when the newer one is used. */
static void lists_what_was_replaced(void **state)
{
    struct house *h = *state;
    char first[SERIAL_TEXT_SIZE], second[SERIAL_TEXT_SIZE], third[SERIAL_TEXT_SIZE];
    make_models(h);
    enrol(h, "a", first);
    renew(h, "a", first, second);
    assert_int_equal(read_listed(h).n, 0);
    renew(h, "a", first, third);
    assert_only(h, second, REASON_SUPERSEDED);
    must_move(h, "a", MOVE_QUARANTINE);
    struct listed l = read_listed(h);
    assert_int_equal(l.n, 2); /* the newest; of the first it was never seen that it was used */
    assert_string_equal(l.rows[0].serial, second);
    assert_string_equal(l.rows[1].serial, third);
}

static void holds_what_is_issued_in_quarantine(void **state)
{
    struct house *h = *state;
    char first[SERIAL_TEXT_SIZE], second[SERIAL_TEXT_SIZE];
    make_models(h);
    enrol(h, "a", first);
    must_move(h, "a", MOVE_QUARANTINE);
    renew(h, "a", first, second);
    struct listed l = read_listed(h);
    assert_int_equal(l.n, 2);
    assert_string_equal(l.rows[0].serial, first);
    assert_string_equal(l.rows[1].serial, second);
    assert_int_equal(l.rows[1].reason, REASON_CERTIFICATE_HOLD);
}

/* An expired certificate is refused anyway. */
static void leaves_expired_ones_out(void **state)
{
    struct house *h = *state;
    char serial[SERIAL_TEXT_SIZE];
    make_models(h);
    enrol(h, "a", serial);
    must_move(h, "a", MOVE_QUARANTINE);
    clock_shift(91 * DAY);
    must_move(h, "a", MOVE_REVOKE);
    clock_shift(-91 * DAY);
    assert_int_equal(read_listed(h).n, 0);
    assert_int_equal(read_certificate(h, serial).listed, 0);
    assert_int_equal(read_certificate(h, serial).status, CERTIFICATE_REVOKED);
}

/* A move that is refused lists nothing. */
static void refused_moves_list_nothing(void **state)
{
    struct house *h = *state;
    struct move_act m;
    char serial[SERIAL_TEXT_SIZE];
    make_models(h);
    enrol(h, "a", serial);
    (void)move(h, &m, "a", MOVE_RELEASE);
    assert_problem(&m.act, 409, "move-not-possible", "device");
    assert_int_equal(read_listed(h).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_each_move_in_its_place, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(tells_what_was_retired, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(lists_what_was_replaced, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(holds_what_is_issued_in_quarantine, house_set_up,
                                        house_tear_down),
        cmocka_unit_test_setup_teardown(leaves_expired_ones_out, house_set_up, house_tear_down),
        cmocka_unit_test_setup_teardown(refused_moves_list_nothing, house_set_up, house_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
