#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdalign.h>

#include "store_fixture.h"

#define ROW_MAX 4096

/* ---- tables ---- */

static size_t field_size(const struct column *column)
{
    return column->kind == COLUMN_BLOB ? sizeof(struct slice) : column->size;
}

/* A field that was added to a struct and forgotten in its descriptor would silently be lost. */
static void descriptors_cover_their_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        const struct table *table = store_tables[i];
        size_t end = 0;
        assert_int_equal(table->id, i);
        assert_true(table->row_size <= ROW_MAX);
        for (size_t c = 0; c < table->columns_len; c++) {
            const struct column *column = &table->columns[c];
            assert_true(column->offset >= end);
            assert_true(column->offset - end < sizeof(int64_t));
            end = column->offset + field_size(column);
        }
        assert_true(table->row_size - end < sizeof(int64_t));
    }
}

static void words_are_stable(void **state)
{
    (void)state;
    assert_string_equal(device_state_text(DEVICE_EXPECTED), "expected");
    assert_string_equal(device_state_text(DEVICE_RETIRED), "retired");
    assert_string_equal(device_state_text(DEVICE_STATE_COUNT), "unknown");
    assert_string_equal(device_state_text(-1), "unknown");
    assert_string_equal(credential_kind_text(CREDENTIAL_IDEVID), "idevid");
    assert_string_equal(certificate_status_text(CERTIFICATE_REVOKED), "revoked");
    assert_string_equal(certificate_status_text(INT64_MAX), "unknown");
    assert_string_equal(model_proof_text(PROOF_APPROVAL), "approval");
    assert_string_equal(hub_status_text(HUB_LEFT), "left");
}

/* ---- rows at their bounds ---- */

static uint8_t large_blob[1 << 19];

enum filling { FILL_LOW, FILL_HIGH, FILL_OTHER };

static void fill_field(const struct table *table, size_t number, enum filling filling, void *row)
{
    const struct column *column = &table->columns[number];
    uint8_t *field = (uint8_t *)row + column->offset;
    bool is_head = table == &table_ledger_head && number == 0; /* its only key is 1 */
    switch (column->kind) {
    case COLUMN_TEXT:
        memset(field, 0, column->size);
        if (filling == FILL_HIGH)
            memset(field, 'z', column->size - 1);
        else if (filling == FILL_OTHER)
            memcpy(field, "\xc3\xa9'\"%", 5);
        break;
    case COLUMN_TENANT:
        memset(field, 0, column->size);
        (void)snprintf((char *)field, column->size, "%s",
                       filling == FILL_LOW    ? STORE_TENANT
                       : filling == FILL_HIGH ? "zz"
                                              : "a");
        break;
    case COLUMN_HEX:
        memset(field, 0, column->size);
        if (filling != FILL_LOW)
            memset(field, filling == FILL_HIGH ? 'f' : '7',
                   filling == FILL_HIGH ? column->size - 1 : 6);
        break;
    case COLUMN_INTEGER: {
        int64_t v = filling == FILL_LOW ? INT64_MIN : filling == FILL_HIGH ? INT64_MAX : -7;
        v = is_head ? 1 : v;
        memcpy(field, &v, sizeof v);
        break;
    }
    case COLUMN_HASH:
        memset(field, filling == FILL_LOW ? 0 : filling == FILL_HIGH ? 0xff : 0x5a, SHA256_SIZE);
        break;
    case COLUMN_BLOB: {
        size_t len = filling == FILL_LOW ? 0 : filling == FILL_HIGH ? column->size : 3;
        struct slice blob = slice_of(large_blob, len);
        memcpy(field, &blob, sizeof blob);
        break;
    }
    }
}

static void fill_row(const struct table *table, enum filling key, enum filling rest, void *row)
{
    memset(row, 0, ROW_MAX);
    for (size_t i = 0; i < table->columns_len; i++)
        fill_field(table, i, i < table->key_len ? key : rest, row);
    /* The ledger's own hashes are never absent. */
    if (table == &table_ledger_entry || table == &table_ledger_node ||
        table == &table_ledger_head || table == &table_token)
        for (size_t i = table->key_len; i < table->columns_len; i++)
            if (table->columns[i].kind == COLUMN_HASH && rest == FILL_LOW)
                fill_field(table, i, FILL_OTHER, row);
}

static void assert_rows_equal(const struct table *table, const void *a, const void *b)
{
    for (size_t i = 0; i < table->columns_len; i++) {
        const struct column *column = &table->columns[i];
        const uint8_t *x = (const uint8_t *)a + column->offset;
        const uint8_t *y = (const uint8_t *)b + column->offset;
        if (column->kind != COLUMN_BLOB) {
            assert_memory_equal(x, y, column->size);
            continue;
        }
        struct slice p;
        struct slice q;
        memcpy(&p, x, sizeof p);
        memcpy(&q, y, sizeof q);
        assert_int_equal(p.len, q.len);
        assert_true(slice_equal(p, q));
    }
}

struct change {
    const struct table *table;
    enum { INSERT, UPDATE, DELETE, GET } what;
    void *row;
};

static enum err run_change(struct step *step, struct tx *tx)
{
    struct change *c = step->ctx;
    switch (c->what) {
    case INSERT:
        return tx_insert(tx, c->table, c->row);
    case UPDATE:
        return tx_update(tx, c->table, c->row);
    case DELETE:
        return tx_delete(tx, c->table, c->row);
    default:
        return tx_get(tx, c->table, c->row);
    }
}

static enum err change(struct fixture *f, const struct table *table, int what, void *row)
{
    struct change c = {.table = table, .row = row};
    c.what = what;
    return fixture_write(f, run_change, &c);
}

/* By a reader and inside a write. */
static void assert_stored(struct fixture *f, const struct table *table, const uint8_t *row)
{
    uint8_t got[ROW_MAX] = {0};
    memcpy(got, row, table->row_size);
    for (size_t i = table->key_len; i < table->columns_len; i++)
        memset(got + table->columns[i].offset, 0xee, field_size(&table->columns[i]));
    assert_int_equal(store_get(f->reader, table, f->arena, got), ERR_NONE);
    assert_rows_equal(table, got, row);
    for (size_t i = table->key_len; i < table->columns_len; i++)
        memset(got + table->columns[i].offset, 0xee, field_size(&table->columns[i]));
    assert_int_equal(change(f, table, GET, got), ERR_NONE);
    assert_rows_equal(table, got, row);
}

static void every_table_keeps_every_column_at_its_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof large_blob; i++)
        large_blob[i] = (uint8_t)(i * 31 + i / 256);
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        const struct table *table = store_tables[i];
        static const enum filling fillings[] = {FILL_LOW, FILL_HIGH, FILL_OTHER};
        size_t keys = table == &table_ledger_head ? 1 : ARRAY_LEN(fillings);
        for (size_t key = 0; key < keys; key++) {
            alignas(max_align_t) uint8_t row[ROW_MAX];
            fill_row(table, fillings[key], FILL_LOW, row);
            assert_int_equal(store_get(f.reader, table, f.arena, row), ERR_NOT_FOUND);
            assert_int_equal(change(&f, table, GET, row), ERR_NOT_FOUND);
            assert_int_equal(change(&f, table, UPDATE, row), ERR_NOT_FOUND);
            assert_int_equal(change(&f, table, DELETE, row), ERR_NOT_FOUND);
            assert_int_equal(change(&f, table, INSERT, row), ERR_NONE);
            assert_stored(&f, table, row);
            fill_row(table, fillings[key], FILL_OTHER, row);
            assert_int_equal(change(&f, table, INSERT, row), ERR_EXISTS);
            for (size_t rest = ARRAY_LEN(fillings); rest-- > 0;) {
                fill_row(table, fillings[key], fillings[rest], row);
                assert_int_equal(change(&f, table, UPDATE, row), ERR_NONE);
                assert_stored(&f, table, row);
            }
            arena_reset(f.arena);
        }
        /* The rows are apart: deleting one leaves the others. */
        for (size_t key = 0; key < keys; key++) {
            alignas(max_align_t) uint8_t row[ROW_MAX];
            fill_row(table, fillings[key], FILL_LOW, row);
            assert_int_equal(change(&f, table, DELETE, row), ERR_NONE);
            assert_int_equal(store_get(f.reader, table, f.arena, row), ERR_NOT_FOUND);
            for (size_t later = key + 1; later < keys; later++) {
                fill_row(table, fillings[later], FILL_LOW, row);
                assert_stored(&f, table, row);
            }
        }
    }
    fixture_remove(&f);
}

static void rows_beyond_their_bounds_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    fixture_open(&f);
    assert_int_equal(store_start(f.store), ERR_NONE);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        const struct table *table = store_tables[i];
        for (size_t c = 0; c < table->columns_len; c++) {
            const struct column *column = &table->columns[c];
            alignas(max_align_t) uint8_t row[ROW_MAX];
            fill_row(table, FILL_OTHER, FILL_OTHER, row);
            if (column->kind == COLUMN_TEXT) {
                memset(row + column->offset, 'a', column->size);
                assert_int_equal(change(&f, table, INSERT, row), ERR_INTERNAL);
            } else if (column->kind == COLUMN_TENANT) {
                memset(row + column->offset, 0, column->size);
                assert_int_equal(change(&f, table, INSERT, row), ERR_INTERNAL);
                memset(row + column->offset, 'a', column->size);
                assert_int_equal(change(&f, table, INSERT, row), ERR_INTERNAL);
            } else if (column->kind == COLUMN_HEX) {
                const char *const wrong[] = {"abc", "0g", "AB", " a"};
                for (size_t k = 0; k < ARRAY_LEN(wrong); k++) {
                    memset(row + column->offset, 0, column->size);
                    memcpy(row + column->offset, wrong[k], strlen(wrong[k]));
                    assert_int_equal(change(&f, table, INSERT, row), ERR_INTERNAL);
                }
                memset(row + column->offset, 'a', column->size);
                assert_int_equal(change(&f, table, INSERT, row), ERR_INTERNAL);
            } else if (column->kind == COLUMN_BLOB) {
                struct slice blob = slice_of(large_blob, column->size + 1);
                memcpy(row + column->offset, &blob, sizeof blob);
                assert_int_equal(change(&f, table, INSERT, row), ERR_LIMIT);
            }
        }
    }
    /* Blobs need an arena to go to. */
    struct setting_row setting = {.name = "a", .value = slice_of(large_blob, 10)};
    assert_int_equal(change(&f, &table_setting, INSERT, &setting), ERR_NONE);
    assert_int_equal(store_get(f.reader, &table_setting, NULL, &setting), ERR_INTERNAL);
    struct arena *small = arena_new(4);
    assert_int_equal(store_get(f.reader, &table_setting, small, &setting), ERR_NO_MEMORY);
    arena_free(small);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_cover_their_rows),
        cmocka_unit_test(words_are_stable),
        cmocka_unit_test(every_table_keeps_every_column_at_its_bounds),
        cmocka_unit_test(rows_beyond_their_bounds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
