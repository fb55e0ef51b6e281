/* Copies of a store: written, read, filled into another one, in one go and with interruptions. The
 * same tests run over SQLite and PostgreSQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "hub/store/copy.h"
#include "hub/store/copy_format.h"
#include "store_fixture.h"

#define COPY_MAX ((size_t)4 << 20)

struct bytes {
    uint8_t *data;
    size_t len, at;
};

static enum err put(void *ctx, struct slice bytes)
{
    struct bytes *to = ctx;
    if (bytes.len > COPY_MAX - to->len)
        return ERR_LIMIT;
    memcpy(to->data + to->len, bytes.data, bytes.len);
    to->len += bytes.len;
    return ERR_NONE;
}

/* In pieces of odd sizes. */
static enum err get(void *ctx, void *buffer, size_t size, size_t *ret_len)
{
    struct bytes *from = ctx;
    size_t n = from->len - from->at < size ? from->len - from->at : size;
    n = n > 1013 ? 1013 : n;
    memcpy(buffer, from->data + from->at, n);
    from->at += n;
    *ret_len = n;
    return ERR_NONE;
}

/* ---- a store with something in each kind of column ---- */

static enum err run_fill(struct step *step, struct tx *tx)
{
    size_t n = *(size_t *)step->ctx;
    static const char blob[] = "{\"a\":1}";
    enum err err = ERR_NONE;
    for (size_t i = 0; i < n && err == ERR_NONE; i++) {
        struct device_row device = {.tenant = "default", .model = "m", .state = DEVICE_TRUSTED};
        struct device_seen_row seen = {.tenant = "default", .checkins = (int64_t)i};
        (void)snprintf(device.id, sizeof device.id, "d\xc3\xa9-%zu", i);
        (void)snprintf(seen.device, sizeof seen.device, "%s", device.id);
        if (i % 2 == 0)
            device.report = SLICE_LITERAL(blob);
        if (i % 3 == 0)
            device.report_hash.bytes[i % SHA256_SIZE] = 1;
        err = tx_insert(tx, &table_device, &device);
        if (err == ERR_NONE)
            err = tx_insert(tx, &table_device_seen, &seen);
    }
    static uint8_t large[SETTING_VALUE_MAX];
    memset(large, 0xa5, sizeof large);
    const struct setting_row setting = {
        .name = "large", .value = slice_of(large, sizeof large), .changed_at = -1};
    return err == ERR_NONE ? tx_insert(tx, &table_setting, &setting) : err;
}

struct copying {
    struct fixture from, to;
    char to_url[256];
    struct bytes copy;
    struct copy_header header;
    struct copy_summary summary;
};

/* The second one is always SQLite: two databases of the cluster would say no more. */
static void set_up(struct copying *c, size_t rows)
{
    memset(c, 0, sizeof *c);
    fixture_make(&c->from);
    (void)snprintf(c->to_url, sizeof c->to_url, "sqlite:%.63s/copy.db", c->from.folder);
    fixture_open(&c->from);
    assert_int_equal(store_start(c->from.store), ERR_NONE);
    assert_int_equal(fixture_write(&c->from, run_fill, &rows), ERR_NONE);
    fixture_close(&c->from);
    c->copy.data = malloc(COPY_MAX);
    assert_non_null(c->copy.data);
}

static void tear_down(struct copying *c)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%.63s/copy.db%s", c->from.folder, ends[i]);
        (void)unlink(path);
    }
    free(c->copy.data);
    fixture_remove(&c->from);
}

static void write_copy(struct copying *c)
{
    struct store_reader *snapshot = NULL;
    char explain[256] = "";
    assert_int_equal(store_snapshot_new(c->from.url, &snapshot, explain), ERR_NONE);
    assert_int_equal(copy_describe(snapshot, "fleet.example", &c->header), ERR_NONE);
    assert_int_equal(copy_write(snapshot, &c->header, put, &c->copy, NULL, &c->summary), ERR_NONE);
    store_reader_free(snapshot);
}

static enum err read_copy(struct copying *c, const struct copy_watch *watch,
                          struct copy_summary *ret_summary)
{
    struct copy_reader *reader = NULL;
    uint32_t schema = 0;
    const struct copy_source source = {.read = get, .ctx = &c->copy};
    c->copy.at = 0;
    enum err err = copy_reader_new(&source, &reader, &schema);
    if (err == ERR_NONE)
        err = copy_read(reader, watch, ret_summary);
    copy_reader_free(reader);
    return err;
}

/* ---- the format ---- */

static void test_round_trip(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    set_up(&c, 700); /* more than a page */
    write_copy(&c);
    assert_int_equal(c.header.rows, 1401);
    assert_int_equal(c.summary.tables[table_device.id].rows, 700);
    assert_int_equal(read_copy(&c, NULL, &found), ERR_NONE);
    assert_int_equal(found.rows, 1401);
    assert_memory_equal(found.digest.bytes, c.summary.digest.bytes, SHA256_SIZE);
    tear_down(&c);
}

static void test_cut_short(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    set_up(&c, 2);
    write_copy(&c);
    size_t whole = c.copy.len;
    for (size_t len = 0; len < whole; len += len < 400 || len > whole - 900 ? 1 : 97) {
        c.copy.len = len;
        assert_int_equal(read_copy(&c, NULL, &found), ERR_SYNTAX);
    }
    c.copy.data[whole] = 0; /* and one byte too many */
    c.copy.len = whole + 1;
    assert_int_equal(read_copy(&c, NULL, &found), ERR_SYNTAX);
    tear_down(&c);
}

static void test_altered(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    set_up(&c, 2);
    write_copy(&c);
    for (size_t at = 0; at < c.copy.len; at += at < 900 || at > c.copy.len - 900 ? 1 : 89) {
        c.copy.data[at] ^= 0x01;
        assert_int_not_equal(read_copy(&c, NULL, &found), ERR_NONE);
        c.copy.data[at] ^= 0x01;
    }
    assert_int_equal(read_copy(&c, NULL, &found), ERR_NONE);
    c.copy.data[5 + 16 + 3] ^= 0x40; /* the schema */
    assert_int_equal(read_copy(&c, NULL, &found), ERR_UNSUPPORTED);
    tear_down(&c);
}

static enum err refuse_row(void *ctx, const struct table *table, const void *row)
{
    (void)table;
    (void)row;
    size_t *left = ctx;
    return (*left)-- == 0 ? ERR_CLOSED : ERR_NONE;
}

/* Of a certificate's row, which starts with its serial number and tenant. */
static enum err read_certificate_of(const char *serial, const char *tenant)
{
    struct certificate_row row = {.serial = "0a1b", .tenant = "t"};
    struct certificate_row found = {0};
    uint8_t whole[1024];
    uint8_t changed[1024];
    struct writer w = writer_over(whole, sizeof whole);
    copy_row_write(&w, &table_certificate, &row);
    assert_int_equal(w.err, ERR_NONE);
    struct writer c = writer_over(changed, sizeof changed);
    writer_be32(&c, (uint32_t)strlen(serial));
    writer_text(&c, serial);
    writer_be32(&c, (uint32_t)strlen(tenant));
    writer_text(&c, tenant);
    size_t skip = 4 + 4 + 4 + 1;
    writer_put(&c, slice_of(whole + skip, w.len - skip));
    return copy_row_read(writer_bytes(&c), &table_certificate, &found);
}

static void test_rows_that_no_store_takes(void **state)
{
    (void)state;
    assert_int_equal(read_certificate_of("0a1b", "t"), ERR_NONE);
    assert_int_equal(read_certificate_of("", STORE_TENANT), ERR_NONE);
    static const char *const no_hex[] = {"0A1B", "0a1", "0g", " 0a1b", "0x0a"};
    for (size_t i = 0; i < ARRAY_LEN(no_hex); i++)
        assert_int_equal(read_certificate_of(no_hex[i], "t"), ERR_SYNTAX);
    assert_int_equal(read_certificate_of("0a1b", ""), ERR_SYNTAX);
}

static void test_watch_ends_it(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    set_up(&c, 3);
    write_copy(&c);
    size_t left = 4;
    const struct copy_watch watch = {.row = refuse_row, .ctx = &left};
    assert_int_equal(read_copy(&c, &watch, &found), ERR_CLOSED);
    tear_down(&c);
}

/* ---- filling ---- */

struct filling {
    struct store_load *load;
    size_t left; /* rows until the power fails */
};

static enum err load_row(void *ctx, const struct table *table, const void *row)
{
    struct filling *f = ctx;
    return f->left-- == 0 ? ERR_CLOSED : store_load_row(f->load, table, row);
}

static enum err fill(struct copying *c, size_t rows, struct copy_summary *ret_found)
{
    struct filling f = {.left = rows};
    struct copy_summary again;
    struct store_reader *reader = NULL;
    const struct copy_watch watch = {.row = load_row, .ctx = &f};
    char explain[256] = "";
    enum err err = store_load_new(c->to_url, &c->summary.digest, &f.load, explain);
    if (err == ERR_NONE)
        err = read_copy(c, &watch, &again);
    if (err == ERR_NONE)
        err = store_load_flush(f.load, &reader);
    if (err == ERR_NONE)
        err = copy_walk(reader, &c->header, NULL, ret_found);
    store_reader_free(reader);
    if (err == ERR_NONE)
        err = store_load_end(f.load);
    store_load_free(f.load);
    return err;
}

static void test_fill(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    set_up(&c, 700);
    write_copy(&c);
    assert_int_equal(fill(&c, SIZE_MAX, &found), ERR_NONE);
    assert_memory_equal(found.digest.bytes, c.summary.digest.bytes, SHA256_SIZE);
    assert_int_equal(fill(&c, SIZE_MAX, &found), ERR_EXISTS); /* it is a store like any now */
    struct store *store = NULL;
    char explain[256] = "";
    assert_int_equal(store_open(c.to_url, &store, explain), ERR_NONE);
    store_close(store);
    tear_down(&c);
}

static void test_fill_goes_on(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    struct store *store = NULL;
    char explain[256] = "";
    set_up(&c, 1500);
    write_copy(&c);
    static const size_t stops[] = {0, 1, 999, 1000, 1001, 2500, 3000};
    for (size_t i = 0; i < ARRAY_LEN(stops); i++) {
        assert_int_equal(fill(&c, stops[i], &found), ERR_CLOSED);
        assert_int_equal(store_open(c.to_url, &store, explain), ERR_REFUSED);
        assert_non_null(strstr(explain, "cut short"));
    }
    c.summary.digest.bytes[0] ^= 1; /* another copy must not go on where this one stopped */
    assert_int_equal(fill(&c, SIZE_MAX, &found), ERR_EXISTS);
    c.summary.digest.bytes[0] ^= 1;
    assert_int_equal(fill(&c, SIZE_MAX, &found), ERR_NONE);
    assert_memory_equal(found.digest.bytes, c.summary.digest.bytes, SHA256_SIZE);
    assert_int_equal(store_open(c.to_url, &store, explain), ERR_NONE);
    store_close(store);
    tear_down(&c);
}

static void test_snapshot_of_half_a_store(void **state)
{
    (void)state;
    struct copying c;
    struct copy_summary found;
    struct store_reader *snapshot = NULL;
    char explain[256] = "";
    set_up(&c, 3);
    write_copy(&c);
    assert_int_equal(fill(&c, 2, &found), ERR_CLOSED);
    assert_int_equal(store_snapshot_new(c.to_url, &snapshot, explain), ERR_REFUSED);
    tear_down(&c);
}

static void test_snapshot_stays(void **state)
{
    (void)state;
    struct copying c;
    struct store_reader *snapshot = NULL;
    struct device_seen_row row = seen_row("later");
    char explain[256] = "";
    set_up(&c, 3);
    assert_int_equal(store_snapshot_new(c.from.url, &snapshot, explain), ERR_NONE);
    fixture_open(&c.from);
    assert_int_equal(store_start(c.from.store), ERR_NONE);
    assert_int_equal(fixture_write(&c.from, run_insert, (char[]){"later"}), ERR_NONE);
    assert_int_equal(get_seen(&c.from, "later"), ERR_NONE);
    assert_int_equal(store_get(snapshot, &table_device_seen, c.from.arena, &row), ERR_NOT_FOUND);
    store_reader_free(snapshot);
    tear_down(&c);
}

static void test_snapshot_of_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct store_reader *snapshot = NULL;
    char explain[256] = "";
    fixture_make(&f);
    assert_int_not_equal(store_snapshot_new(f.url, &snapshot, explain), ERR_NONE);
    assert_string_not_equal(explain, "");
    assert_int_equal(store_snapshot_new("file:x", &snapshot, explain), ERR_UNSUPPORTED);
    fixture_remove(&f);
}

/* ---- leaving ---- */

static void test_leave(void **state)
{
    (void)state;
    struct copying c;
    struct copy_header header;
    struct copy_summary found;
    struct store *store = NULL;
    struct store_hold *hold = NULL;
    struct store_reader *snapshot = NULL;
    char explain[256] = "";
    set_up(&c, 10);
    write_copy(&c);
    assert_int_equal(store_hold_new(c.to_url, &hold, &snapshot, explain), ERR_NOT_FOUND);
    assert_int_equal(fill(&c, 2, &found), ERR_CLOSED);
    assert_int_equal(store_hold_new(c.to_url, &hold, &snapshot, explain), ERR_REFUSED);
    assert_non_null(strstr(explain, "not whole"));
    assert_int_equal(fill(&c, SIZE_MAX, &found), ERR_NONE);
    for (int i = 0; i < 2; i++) { /* what was left is left again after an interruption */
        assert_int_equal(store_hold_new(c.to_url, &hold, &snapshot, explain), ERR_NONE);
        assert_int_equal(store_open(c.to_url, &store, explain), ERR_BUSY);
        assert_int_equal(copy_describe(snapshot, "fleet.example", &header), ERR_NONE);
        assert_int_equal(header.rows, c.header.rows); /* a mark is no row of it */
        header.taken_at = c.header.taken_at;
        assert_int_equal(copy_walk(snapshot, &header, NULL, &found), ERR_NONE);
        assert_memory_equal(&found.digest, &c.summary.digest, sizeof found.digest);
        store_reader_free(snapshot);
        assert_int_equal(store_hold_leave(hold), ERR_NONE);
        store_hold_free(hold);
        assert_int_equal(store_open(c.to_url, &store, explain), ERR_REFUSED);
        assert_non_null(strstr(explain, "moved"));
    }
    tear_down(&c);
}

static void test_hold_what_others_share(void **state)
{
    (void)state;
    struct store_hold *hold = NULL;
    struct store_reader *snapshot = NULL;
    char explain[256] = "";
    assert_int_equal(store_hold_new("postgresql:///x", &hold, &snapshot, explain), ERR_UNSUPPORTED);
    assert_non_null(strstr(explain, "backup"));
    assert_int_equal(store_hold_new("file:x", &hold, &snapshot, explain), ERR_UNSUPPORTED);
}

static void test_tables_by_id(void **state)
{
    (void)state;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        assert_non_null(store_tables[i]);
        assert_int_equal(store_tables[i]->id, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_by_id),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_altered),
        cmocka_unit_test(test_rows_that_no_store_takes),
        cmocka_unit_test(test_watch_ends_it),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_fill_goes_on),
        cmocka_unit_test(test_snapshot_of_half_a_store),
        cmocka_unit_test(test_snapshot_stays),
        cmocka_unit_test(test_snapshot_of_nothing),
        cmocka_unit_test(test_leave),
        cmocka_unit_test(test_hold_what_others_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
