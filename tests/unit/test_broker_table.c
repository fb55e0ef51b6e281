/* The broker's table of devices: against a plain list that is right by being simple. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "broker/table.h"

static void digest_of(uint32_t n, uint8_t sha256[SHA256_SIZE])
{
    for (unsigned i = 0; i < SHA256_SIZE; i++)
        sha256[i] = (uint8_t)(n >> (8 * (i % 4)) ^ (i * 37U));
}

static struct device_record record_of(const char *tenant, const char *device)
{
    return (struct device_record){.tenant = slice_of_text(tenant),
                                  .device = slice_of_text(device),
                                  .model = SLICE_LITERAL("thermo"),
                                  .state = DEVICE_TRUSTED};
}

static void give_certificate(struct device_record *r, uint32_t n, int64_t not_after)
{
    struct device_certificate *c = &r->certificates[r->certificates_len++];
    digest_of(n, c->sha256);
    c->not_after = not_after;
}

static uint32_t take(struct table *t, const struct device_record *r, bool expect_changed)
{
    uint32_t device = TABLE_NONE;
    bool changed = false;
    assert_int_equal(table_prepare(t, 1), ERR_NONE);
    table_adopt(t);
    assert_int_equal(table_take(t, r, &device, &changed), ERR_NONE);
    assert_int_equal(changed, expect_changed);
    return device;
}

static uint32_t find(const struct table *t, uint32_t n)
{
    uint8_t sha256[SHA256_SIZE];
    int64_t not_after = 0;
    digest_of(n, sha256);
    return table_find_certificate(t, sha256, &not_after);
}

static void test_names_and_certificates(void **state)
{
    (void)state;
    struct table *t = NULL;
    assert_int_equal(table_new(100, &t), ERR_NONE);
    struct device_record a = record_of("default", "t-1"), b = record_of("other", "t-1");
    give_certificate(&a, 1, 1000);
    give_certificate(&a, 2, 2000);
    give_certificate(&b, 3, 3000);
    uint32_t first = take(t, &a, true), second = take(t, &b, true);
    assert_int_not_equal(first, second);
    assert_int_equal(take(t, &a, false), first);
    assert_int_equal(table_find(t, SLICE_LITERAL("other"), SLICE_LITERAL("t-1")), second);
    assert_int_equal(table_find(t, SLICE_LITERAL("othe"), SLICE_LITERAL("rt-1")), TABLE_NONE);
    assert_int_equal(find(t, 1), first);
    assert_int_equal(find(t, 2), first);
    assert_int_equal(find(t, 3), second);
    assert_int_equal(find(t, 4), TABLE_NONE);
    uint8_t sha256[SHA256_SIZE];
    int64_t not_after = 0;
    digest_of(2, sha256);
    assert_int_equal(table_find_certificate(t, sha256, &not_after), first);
    assert_int_equal(not_after, 2000);
    struct device_record again;
    table_record(t, first, &again);
    assert_int_equal(again.certificates_len, 2);
    assert_memory_equal(again.certificates[1].sha256, sha256, SHA256_SIZE);
    table_free(t);
}

static void test_rotation_and_cut(void **state)
{
    (void)state;
    struct table *t = NULL;
    assert_int_equal(table_new(100, &t), ERR_NONE);
    struct device_record a = record_of("default", "t-1");
    give_certificate(&a, 1, 1000);
    give_certificate(&a, 2, 2000);
    uint32_t device = take(t, &a, true);
    uint8_t sha256[SHA256_SIZE];
    digest_of(2, sha256);
    assert_true(table_note_seen(t, sha256));
    a.certificates_len = 0;
    give_certificate(&a, 2, 2000);
    assert_int_equal(take(t, &a, true), device);
    assert_int_equal(find(t, 1), TABLE_NONE);
    assert_true(table_seen(t, sha256)); /* what was seen stays, at its new place */
    a.certificates_len = 0;
    a.state = DEVICE_REVOKED;
    a.cut = true;
    assert_int_equal(take(t, &a, true), device);
    assert_int_equal(find(t, 2), TABLE_NONE);
    assert_false(table_note_seen(t, sha256));
    assert_true(table_is_cut(t, device));
    table_free(t);
}

/* Names of every length, some of which stand in their entries and some beside; many models. */
static void test_names_of_all_lengths(void **state)
{
    (void)state;
    enum { MODELS = 3000 };
    struct table *t = NULL;
    char name[RULES_NAME_MAX + 1], model[16];
    assert_int_equal(table_new(MODELS, &t), ERR_NONE);
    for (unsigned i = 0; i < MODELS; i++) {
        int len = snprintf(name, sizeof name, "%0*u", (int)(4 + i % (RULES_NAME_MAX - 3)), i);
        (void)snprintf(model, sizeof model, "model-%u", i);
        struct device_record r = record_of("default", name);
        r.model = slice_of_text(model);
        assert_int_equal(take(t, &r, true), i);
        assert_int_equal(take(t, &r, false), i);
        name[len - 1] = 'x';
        assert_int_equal(table_find(t, r.tenant, slice_of(name, (size_t)len)), TABLE_NONE);
    }
    for (unsigned i = 0; i < MODELS; i++) {
        (void)snprintf(name, sizeof name, "%0*u", (int)(4 + i % (RULES_NAME_MAX - 3)), i);
        (void)snprintf(model, sizeof model, "model-%u", i);
        struct rules_subject s;
        assert_int_equal(table_find(t, SLICE_LITERAL("default"), slice_of_text(name)), i);
        assert_true(table_subject(t, i, &s));
        assert_true(slice_equal(s.device, slice_of_text(name)));
        assert_true(slice_equal(s.model, slice_of_text(model)));
    }
    table_free(t);
}

/* A hub that gives one certificate to two devices: the later word counts, and the first device's
 * next record does not take it away from the second. */
static void test_certificate_that_moves(void **state)
{
    (void)state;
    struct table *t = NULL;
    assert_int_equal(table_new(100, &t), ERR_NONE);
    struct device_record a = record_of("default", "a"), b = record_of("default", "b");
    give_certificate(&a, 1, 1000);
    give_certificate(&b, 1, 1000);
    (void)take(t, &a, true);
    uint32_t second = take(t, &b, true);
    assert_int_equal(find(t, 1), second);
    a.certificates_len = 0;
    (void)take(t, &a, true);
    assert_int_equal(find(t, 1), second);
    table_free(t);
}

static void test_whole_table(void **state)
{
    (void)state;
    struct table *t = NULL;
    assert_int_equal(table_new(100, &t), ERR_NONE);
    struct device_record a = record_of("default", "a"), b = record_of("default", "b");
    give_certificate(&a, 1, 1000);
    give_certificate(&b, 2, 1000);
    uint32_t gone = take(t, &a, true), stays = take(t, &b, true);
    table_begin_anew(t);
    (void)take(t, &b, false);
    assert_true(table_sweep(t, gone));
    assert_false(table_sweep(t, stays));
    assert_int_equal(table_known(t), 1);
    assert_int_equal(find(t, 1), TABLE_NONE);
    struct rules_subject subject;
    assert_false(table_subject(t, gone, &subject));
    assert_true(table_subject(t, stays, &subject));
    assert_int_equal(take(t, &a, true), gone); /* the same number when it comes back */
    assert_int_equal(table_known(t), 2);
    table_free(t);
}

static void test_limits(void **state)
{
    (void)state;
    struct table *t = NULL;
    assert_int_equal(table_new(2, &t), ERR_NONE);
    struct device_record r = record_of("default", "a");
    (void)take(t, &r, true);
    r.device = SLICE_LITERAL("b");
    (void)take(t, &r, true);
    r.device = SLICE_LITERAL("c");
    uint32_t device = 0;
    bool changed = false;
    assert_int_equal(table_take(t, &r, &device, &changed), ERR_LIMIT);
    assert_int_equal(table_find(t, r.tenant, r.device), TABLE_NONE);
    r.device = SLICE_LITERAL("b");
    assert_int_equal(table_take(t, &r, &device, &changed), ERR_NONE);
    table_free(t);
}

/* Ten thousand changes of three hundred devices, against a list. */
static void test_against_a_list(void **state)
{
    (void)state;
    enum { DEVICES = 300, CERTIFICATES = 900 };
    struct table *t = NULL;
    assert_int_equal(table_new(DEVICES, &t), ERR_NONE);
    uint32_t owner[CERTIFICATES], held[DEVICES][DEVICE_CERTIFICATES_MAX], held_len[DEVICES] = {0};
    for (unsigned i = 0; i < CERTIFICATES; i++)
        owner[i] = TABLE_NONE;
    uint32_t numbers[DEVICES];
    for (unsigned i = 0; i < DEVICES; i++)
        numbers[i] = TABLE_NONE;
    srandom(1);
    for (unsigned step = 0; step < 10000; step++) {
        unsigned d = (unsigned)random() % DEVICES;
        char name[16];
        (void)snprintf(name, sizeof name, "d-%u", d);
        struct device_record r = record_of("default", name);
        for (unsigned i = 0; i < held_len[d]; i++)
            if (owner[held[d][i]] == d)
                owner[held[d][i]] = TABLE_NONE;
        held_len[d] = (unsigned)random() % (DEVICE_CERTIFICATES_MAX + 1);
        for (unsigned i = 0; i < held_len[d]; i++) {
            unsigned c = (unsigned)random() % CERTIFICATES;
            if (owner[c] != TABLE_NONE) {
                held_len[d] = i;
                break;
            }
            owner[c] = d;
            held[d][i] = c;
            give_certificate(&r, c, c);
        }
        bool changed = false;
        uint32_t device = TABLE_NONE;
        assert_int_equal(table_prepare(t, 1), ERR_NONE);
        table_adopt(t);
        assert_int_equal(table_take(t, &r, &device, &changed), ERR_NONE);
        assert_true(numbers[d] == TABLE_NONE || numbers[d] == device);
        numbers[d] = device;
    }
    for (unsigned c = 0; c < CERTIFICATES; c++)
        assert_int_equal(find(t, c), owner[c] == TABLE_NONE ? TABLE_NONE : numbers[owner[c]]);
    table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_certificates),
        cmocka_unit_test(test_rotation_and_cut),
        cmocka_unit_test(test_names_of_all_lengths),
        cmocka_unit_test(test_certificate_that_moves),
        cmocka_unit_test(test_whole_table),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_against_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
