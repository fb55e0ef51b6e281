#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/store/database.h"
#include "hub/store/sql.h"
#include "store_fixture.h"

/* ---- a small fleet ---- */

#define DEVICES 240

static const char *const tenants[] = {"alpha", "beta", "default"};
static const char *const models[] = {"", "m1", "m2", "m\xc3\xa9"};

static struct device_row devices[DEVICES];
static struct certificate_row certificates[DEVICES];

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % n;
}

static void make_fleet(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        struct device_row *d = &devices[i];
        struct certificate_row *c = &certificates[i];
        *d = (struct device_row){.state = random_below(DEVICE_STATE_COUNT), .created_at = i};
        (void)snprintf(d->tenant, sizeof d->tenant, "%s", tenants[random_below(3)]);
        (void)snprintf(d->id, sizeof d->id, "d%03u", i * 7 % DEVICES);
        (void)snprintf(d->model, sizeof d->model, "%s", models[random_below(4)]);
        (void)snprintf(d->owner, sizeof d->owner, "o%u", random_below(3));
        (void)snprintf(d->manifest, sizeof d->manifest, "f%u", random_below(5));
        if (random_below(3) == 0)
            (void)snprintf(d->grp, sizeof d->grp, "g%u", random_below(3));
        *c = (struct certificate_row){.status = CERTIFICATE_ISSUED, .issued_at = i};
        (void)snprintf(c->serial, sizeof c->serial, "%08x%04u", random_below(1 << 24), i);
        (void)snprintf(c->tenant, sizeof c->tenant, "%s", tenants[random_below(3)]);
        (void)snprintf(c->device, sizeof c->device, "d%03u", random_below(9));
    }
}

static enum err run_make_fleet(struct step *step, struct tx *tx)
{
    (void)step;
    enum err err = ERR_NONE;
    for (unsigned i = 0; i < DEVICES && err == ERR_NONE; i++) {
        err = tx_insert(tx, &table_device, &devices[i]);
        if (err == ERR_NONE)
            err = tx_insert(tx, &table_certificate, &certificates[i]);
    }
    return err;
}

static void fleet_open(struct fixture *f)
{
    make_fleet();
    fixture_make(f);
    fixture_open(f);
    assert_int_equal(store_start(f->store), ERR_NONE);
    assert_int_equal(fixture_write(f, run_make_fleet, NULL), ERR_NONE);
}

/* ---- the naive way ---- */

static int compare_field(const struct column *column, const void *a, const void *b)
{
    if (column->kind == COLUMN_INTEGER) {
        int64_t x;
        int64_t y;
        memcpy(&x, (const char *)a + column->offset, sizeof x);
        memcpy(&y, (const char *)b + column->offset, sizeof y);
        return (x > y) - (x < y);
    }
    const char *x = (const char *)a + column->offset;
    const char *y = (const char *)b + column->offset;
    if (column->kind == COLUMN_TENANT) { /* the one that most have comes first */
        x = strcmp(x, STORE_TENANT) == 0 ? "" : x;
        y = strcmp(y, STORE_TENANT) == 0 ? "" : y;
    }
    return strcmp(x, y);
}

static int compare_keys(const struct table *table, const void *a, const void *b)
{
    int order = 0;
    for (size_t i = 0; i < table->key_len && order == 0; i++)
        order = compare_field(&table->columns[i], a, b);
    return order;
}

static bool passes(const struct store_query *q, const void *row)
{
    for (size_t i = 0; i < q->filters_len; i++) {
        const struct store_filter *filter = &q->filters[i];
        for (size_t c = 0; c < q->table->columns_len; c++) {
            const struct column *column = &q->table->columns[c];
            const char *field = (const char *)row + column->offset;
            if (strcmp(column->name, filter->column) != 0)
                continue;
            int64_t v = 0;
            memcpy(&v, field, sizeof v);
            if (column->kind == COLUMN_INTEGER ? v != filter->integer
                                               : !slice_equal(slice_of_text(field), filter->text))
                return false;
        }
    }
    int sign = q->descending ? -1 : 1;
    if (q->after != NULL && sign * compare_keys(q->table, row, q->after) <= 0)
        return false;
    return q->until == NULL || sign * compare_keys(q->table, row, q->until) <= 0;
}

struct found {
    const struct table *table;
    struct device_row devices[DEVICES];
    size_t len;
    size_t stop_at;
    struct arena *arena;
};

static enum err keep_row(void *ctx, const void *row)
{
    struct found *found = ctx;
    if (found->stop_at > 0 && found->len == found->stop_at)
        return ERR_CLOSED;
    memcpy(&found->devices[found->len++], row, found->table->row_size);
    if (found->arena != NULL)
        arena_reset(found->arena);
    return ERR_NONE;
}

static void expect_naive(struct fixture *f, const struct store_query *q)
{
    static struct found found;
    found = (struct found){.table = q->table, .arena = f->arena};
    assert_int_equal(store_list(f->reader, q, f->arena, keep_row, &found), ERR_NONE);
    size_t expected = 0;
    for (unsigned i = 0; i < DEVICES; i++)
        expected += passes(q, q->table == &table_device ? (const void *)&devices[i]
                                                        : (const void *)&certificates[i]);
    expected = expected < q->limit ? expected : q->limit;
    assert_int_equal(found.len, expected);
    for (size_t i = 0; i < found.len; i++) {
        assert_true(passes(q, &found.devices[i]));
        if (i > 0) {
            int order = compare_keys(q->table, &found.devices[i - 1], &found.devices[i]);
            assert_true(q->descending ? order > 0 : order < 0);
        }
    }
    uint64_t count = 0;
    assert_int_equal(store_count(f->reader, q, &count), ERR_NONE);
    assert_int_equal(count, expected);
}

/* Whatever is asked, an index answers it in order. */
static void expect_index(sqlite3 *db, const struct store_query *q)
{
    struct sql_query sql;
    char explain[SQL_TEXT_MAX + 32];
    assert_int_equal(sql_query_write(&sql, q, false), ERR_NONE);
    if (sql.nothing || fixture_postgres() != NULL) /* which plans by what is in its tables */
        return;
    (void)snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %.*s", (int)sql.len, sql.text);
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &statement, NULL), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(statement, 3);
        if (strstr(detail, "B-TREE") != NULL ||
            (strstr(detail, "SCAN") != NULL && q->filters_len > 0))
            fail_msg("%.*s: %s", (int)sql.len, sql.text, detail);
    }
    (void)sqlite3_finalize(statement);
}

static const void *random_key(const struct table *table, void *space)
{
    uint32_t what = random_below(4);
    if (what == 0)
        return NULL;
    const void *row = table == &table_device ? (const void *)&devices[random_below(DEVICES)]
                                             : (const void *)&certificates[random_below(DEVICES)];
    memcpy(space, row, table->row_size);
    if (what == 1) /* a key that nothing has */
        memset((char *)space + table->columns[table->key_len - 1].offset, 0, 4);
    return space;
}

static size_t random_filters(const struct table *table, struct store_filter *filters)
{
    size_t n = 0;
    if (table == &table_certificate || random_below(5) == 0)
        return 0;
    filters[n++] =
        (struct store_filter){.column = "tenant", .text = slice_of_text(tenants[random_below(3)])};
    if (random_below(2) == 0)
        filters[n++] = (struct store_filter){.column = "model",
                                             .text = slice_of_text(models[random_below(4)])};
    if (random_below(3) == 0)
        filters[n++] =
            (struct store_filter){.column = "state", .integer = random_below(DEVICE_STATE_COUNT)};
    if (random_below(4) == 0)
        filters[n++] = (struct store_filter){
            .column = "owner", .text = slice_of_text(random_below(10) == 0 ? "nobody" : "o1")};
    if (random_below(4) == 0)
        filters[n++] = (struct store_filter){.column = "manifest", .text = slice_of_text("f2")};
    if (random_below(4) == 0)
        filters[n++] = (struct store_filter){.column = "grp", .text = SLICE_LITERAL("g1")};
    if (random_below(6) == 0)
        filters[n++] = (struct store_filter){
            .column = "id", .text = slice_of_text(devices[random_below(DEVICES)].id)};
    return n;
}

static void queries_give_what_the_naive_way_gives(void **state)
{
    (void)state;
    struct fixture f;
    sqlite3 *db = NULL;
    fleet_open(&f);
    assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
    for (unsigned i = 0; i < 4000; i++) {
        static const size_t limits[] = {0, 1, 2, 7, 50, SIZE_MAX};
        struct store_filter filters[8];
        struct device_row after;
        struct device_row until;
        struct store_query q = {
            .table = random_below(4) == 0 ? &table_certificate : &table_device,
            .filters = filters,
            .descending = random_below(2) == 0,
            .limit = limits[random_below(ARRAY_LEN(limits))],
        };
        q.filters_len = random_filters(q.table, filters);
        q.after = random_key(q.table, &after);
        q.until = random_key(q.table, &until);
        expect_naive(&f, &q);
        expect_index(db, &q);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    fixture_remove(&f);
}

static void pages_give_every_row_once(void **state)
{
    (void)state;
    struct fixture f;
    fleet_open(&f);
    for (int descending = 0; descending < 2; descending++) {
        const struct store_filter filters[] = {
            {.column = "tenant", .text = SLICE_LITERAL("default")},
            {.column = "model", .text = SLICE_LITERAL("m1")},
        };
        struct device_row after = {.tenant = "default"};
        if (descending)
            memset(after.id, 0x7f, sizeof after.id - 1);
        size_t seen = 0;
        for (;;) {
            static struct found found;
            found = (struct found){.table = &table_device};
            const struct store_query q = {
                .table = &table_device,
                .filters = filters,
                .filters_len = ARRAY_LEN(filters),
                .after = &after,
                .descending = descending,
                .limit = 3,
            };
            assert_int_equal(store_list(f.reader, &q, f.arena, keep_row, &found), ERR_NONE);
            seen += found.len;
            if (found.len < 3)
                break;
            after = found.devices[2];
        }
        size_t expected = 0;
        for (unsigned i = 0; i < DEVICES; i++)
            expected +=
                strcmp(devices[i].tenant, "default") == 0 && strcmp(devices[i].model, "m1") == 0;
        assert_true(expected > 6);
        assert_int_equal(seen, expected);
    }
    fixture_remove(&f);
}

static void what_no_index_serves_is_not_asked(void **state)
{
    (void)state;
    static const struct store_filter model = {.column = "model", .text = SLICE_LITERAL("m1")};
    static const struct store_filter maker[] = {
        {.column = "tenant", .text = SLICE_LITERAL("default")},
        {.column = "maker", .text = SLICE_LITERAL("x")},
    };
    static const struct store_filter id = {.column = "id", .text = SLICE_LITERAL("d001")};
    static const struct store_filter none = {.column = "nosuch"};
    static const struct store_filter blob = {.column = "report"};
    static const struct store_filter tenant = {.column = "tenant",
                                               .text = SLICE_LITERAL("default")};
    static const struct device_row first = {.tenant = "default"};
    static const struct device_row last = {.tenant = "default", .id = "\x7f"};
    static const struct device_row other = {.tenant = "e"};
    static const struct {
        const struct table *table;
        const struct store_filter *filters;
        size_t len;
        const void *after, *until;
        enum err err;
    } cases[] = {
        {&table_device, &model, 1, NULL, NULL, ERR_UNSUPPORTED},
        {&table_device, maker, 2, NULL, NULL, ERR_UNSUPPORTED},
        {&table_device, &id, 1, NULL, NULL, ERR_UNSUPPORTED},
        {&table_device, &none, 1, NULL, NULL, ERR_UNSUPPORTED},
        {&table_device, &blob, 1, NULL, NULL, ERR_UNSUPPORTED},
        {&table_certificate, &tenant, 1, NULL, NULL, ERR_UNSUPPORTED},
        {&table_device, &model, 1, &first, NULL, ERR_UNSUPPORTED},
        {&table_device, &model, 1, &first, &other, ERR_UNSUPPORTED},
        {&table_device, &model, 1, &first, &last, ERR_NONE},
        {&table_device, &id, 1, &first, &last, ERR_NONE},
        {&table_device, &tenant, 1, NULL, NULL, ERR_NONE},
        {&table_device, NULL, 0, NULL, NULL, ERR_NONE},
    };
    struct fixture f;
    fleet_open(&f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static struct found found;
        found = (struct found){.table = cases[i].table};
        const struct store_query q = {
            .table = cases[i].table,
            .filters = cases[i].filters,
            .filters_len = cases[i].len,
            .after = cases[i].after,
            .until = cases[i].until,
            .limit = 10,
        };
        uint64_t count = 77;
        assert_int_equal(store_list(f.reader, &q, f.arena, keep_row, &found), cases[i].err);
        assert_int_equal(store_count(f.reader, &q, &count), cases[i].err);
        assert_int_equal(count == 77, cases[i].err != ERR_NONE);
        if (cases[i].err == ERR_NONE)
            expect_naive(&f, &q);
    }
    fixture_remove(&f);
}

struct nesting {
    struct fixture *f;
    unsigned depth;
    unsigned rows;
};

static enum err list_again(void *ctx, const void *row)
{
    struct nesting *n = ctx;
    const struct device_row *d = row;
    char id[sizeof d->id];
    memcpy(id, d->id, sizeof id);
    n->rows++;
    if (n->depth == 3)
        return ERR_NONE;
    const struct store_query q = {.table = &table_device, .limit = 3};
    n->depth++;
    enum err err = store_list(n->f->reader, &q, n->f->arena, list_again, n);
    n->depth--;
    assert_string_equal(d->id, id);
    return err;
}

static void callbacks_may_ask_again_and_may_stop(void **state)
{
    (void)state;
    struct fixture f;
    fleet_open(&f);
    struct nesting n = {.f = &f};
    const struct store_query q = {.table = &table_device, .limit = 3};
    assert_int_equal(store_list(f.reader, &q, f.arena, list_again, &n), ERR_NONE);
    assert_int_equal(n.rows, 3 + 9 + 27 + 81);
    static struct found found;
    found = (struct found){.table = &table_device, .stop_at = 2};
    assert_int_equal(store_list(f.reader, &q, f.arena, keep_row, &found), ERR_CLOSED);
    assert_int_equal(found.len, 2);
    expect_naive(&f, &q);
    fixture_remove(&f);
}

/* ---- keys for prefetching ---- */

static void keysets_keep_copies_of_keys(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1 << 20);
    struct keyset keys = {.arena = arena};
    for (unsigned i = 0; i < 200; i++) {
        struct device_row row = devices[i % DEVICES];
        row.state = 5;
        keyset_add(&keys, &table_device, &row);
    }
    assert_int_equal(keys.len, 200);
    for (unsigned i = 0; i < 200; i++) {
        const struct device_row *row = keys.keys[i].row;
        assert_ptr_equal(keys.keys[i].table, &table_device);
        assert_string_equal(row->tenant, devices[i].tenant);
        assert_string_equal(row->id, devices[i].id);
        assert_int_equal(row->state, 0);
    }
    keyset_free(&keys);
    arena_free(arena);
    /* What does not fit is left out. */
    arena = arena_new(sizeof(struct device_row) * 2 + 64);
    keys = (struct keyset){.arena = arena};
    for (unsigned i = 0; i < 5; i++)
        keyset_add(&keys, &table_device, &devices[i]);
    assert_in_range(keys.len, 1, 2);
    keyset_free(&keys);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_give_what_the_naive_way_gives),
        cmocka_unit_test(pages_give_every_row_once),
        cmocka_unit_test(what_no_index_serves_is_not_asked),
        cmocka_unit_test(callbacks_may_ask_again_and_may_stop),
        cmocka_unit_test(keysets_keep_copies_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
