#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "core/calendar.h"
#include "ledger_fixture.h"

/* ---- entries ---- */

struct act_case {
    const char *name;
    struct ledger_act act;
    enum err err;
};

struct act_call {
    struct ledger *ledger;
    const struct ledger_act *act;
};

static enum err run_act(struct step *step, struct tx *tx)
{
    struct act_call *call = step->ctx;
    return ledger_append(call->ledger, tx, call->act);
}

static uint8_t large_data[LEDGER_DATA_MAX + 1];

static struct slice data_of(size_t len)
{
    memset(large_data, ' ', sizeof large_data);
    large_data[0] = '{';
    large_data[len - 1] = '}';
    return slice_of(large_data, len);
}

static const char escapes[] = "\"\\\x01\xc3\xa9\xff\n";

static void entries_are_bounded(void **state)
{
    (void)state;
    static char long_text[2000];
    memset(long_text, 1, sizeof long_text - 1); /* each is six bytes in JSON */
    char actor[LEDGER_ACTOR_MAX + 1];
    char name[NAME_MAX_BYTES + 1];
    memset(actor, 1, sizeof actor - 1);
    actor[sizeof actor - 1] = '\0';
    memset(name, 1, sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const struct act_case cases[] = {
        {"smallest", {"a.b", "t", "hub", "x/y", SLICE_LITERAL("{}")}, ERR_NONE},
        {"largest", {name, name, actor, actor, data_of(LEDGER_DATA_MAX)}, ERR_NONE},
        {"escaped", {"a.b", escapes, escapes, escapes, SLICE_LITERAL("{}")}, ERR_NONE},
        {"no data", {"a.b", "t", "hub", "x/y", {NULL, 0}}, ERR_INTERNAL},
        {"an array", {"a.b", "t", "hub", "x/y", SLICE_LITERAL("[]")}, ERR_INTERNAL},
        {"cut short", {"a.b", "t", "hub", "x/y", SLICE_LITERAL("{")}, ERR_INTERNAL},
        {"too much data",
         {"a.b", "t", "hub", "x/y", slice_of(large_data, sizeof large_data)},
         ERR_LIMIT},
        {"too long a subject", {"a.b", "t", "hub", long_text, SLICE_LITERAL("{}")}, ERR_LIMIT},
    };
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    uint64_t size = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct act_call call = {.ledger = lf.ledger, .act = &cases[i].act};
        enum err err = fixture_write(&lf.f, run_act, &call);
        if (err != cases[i].err)
            fail_msg("%s: %s", cases[i].name, err_text(err));
        size += err == ERR_NONE;
        assert_int_equal(ledger_head(lf.ledger).size, size);
    }
    struct tree t = {0};
    tree_follow(&t, &lf);
    assert_int_equal(t.len, size);
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

struct text {
    char bytes[16384];
    size_t len;
};

static enum err keep_text(void *ctx, uint64_t number, struct slice data)
{
    struct text *text = ctx;
    (void)number;
    memcpy(text->bytes, data.data, data.len);
    text->len = data.len;
    return ERR_NONE;
}

static void read_entry(struct ledger_fixture *lf, uint64_t number, struct text *text)
{
    assert_int_equal(ledger_read_entries(lf->ledger, lf->f.reader, number, false, 1, lf->f.arena,
                                         keep_text, text),
                     ERR_NONE);
}

static void an_entry_has_the_form_the_header_lays_down(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    const struct ledger_act act = {
        .act = "device.revoke",
        .tenant = "default",
        .actor = "device:default/\"x\"",
        .subject = "device/thermo-1",
        .data = SLICE_LITERAL("{\"from\":\"trusted\",\"to\":[1,2]}"),
    };
    struct act_call call = {.ledger = lf.ledger, .act = &act};
    struct step step = step_of(&lf.f, STORE_LANE_NORMAL, run_act, &call);
    for (size_t i = 0; i < STORE_REQUEST_ID; i++)
        step.write.request_id[i] = (uint8_t)(0xf0 + i);
    int64_t before = clock_milliseconds();
    assert_int_equal(store_submit(lf.f.store, &step.write), ERR_NONE);
    assert_int_equal(step_wait(&step), ERR_NONE);
    int64_t after = clock_milliseconds();

    struct text text;
    read_entry(&lf, 0, &text);
    json_error_t error;
    json_t *j = json_loadb(text.bytes, text.len, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(j);
    static const char *const order[] = {"v",     "n",       "t",       "act", "tenant",
                                        "actor", "subject", "request", "data"};
    const char *key;
    json_t *value;
    size_t at = 0;
    json_object_foreach(j, key, value) assert_string_equal(key, order[at++]);
    assert_int_equal(at, ARRAY_LEN(order));
    assert_int_equal(json_integer_value(json_object_get(j, "v")), 1);
    const char *nonce = json_string_value(json_object_get(j, "n"));
    assert_int_equal(strlen(nonce), 22);
    assert_int_equal(
        strspn(nonce, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 22);
    assert_string_equal(json_string_value(json_object_get(j, "act")), "device.revoke");
    assert_string_equal(json_string_value(json_object_get(j, "actor")), "device:default/\"x\"");
    assert_string_equal(json_string_value(json_object_get(j, "request")),
                        "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    assert_int_equal(json_array_size(json_object_get(json_object_get(j, "data"), "to")), 2);

    const char *time = json_string_value(json_object_get(j, "t"));
    char seconds_text[] = "0000-00-00T00:00:00Z";
    int64_t seconds = 0;
    assert_int_equal(strlen(time), 24);
    memcpy(seconds_text, time, 19);
    assert_int_equal(calendar_read_rfc3339(slice_of_text(seconds_text), &seconds), ERR_NONE);
    assert_int_equal(time[19], '.');
    assert_int_equal(time[23], 'Z');
    int64_t ms = (time[20] - '0') * 100 + (time[21] - '0') * 10 + (time[22] - '0');
    assert_in_range(seconds * 1000 + ms, before, after);
    json_decref(j);

    /* The same act twice is two leaves that tell nothing of each other. */
    struct tree t = {0};
    assert_int_equal(fixture_write(&lf.f, run_act, &call), ERR_NONE);
    tree_follow(&t, &lf);
    assert_memory_not_equal(t.leaves[0].bytes, t.leaves[1].bytes, SHA256_SIZE);
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

/* ---- tiles ---- */

static void check_tile(struct ledger_fixture *lf, const struct tree *t, int level, uint64_t index,
                       unsigned width)
{
    const struct tile tile = {.level = level, .index = index, .width = width};
    struct slice bytes;
    assert_int_equal(ledger_read_tile(lf->ledger, lf->f.reader, &tile, lf->f.arena, &bytes),
                     ERR_NONE);
    if (level == TILE_ENTRIES) {
        struct reader r = reader_over(bytes);
        for (unsigned i = 0; i < width; i++) {
            struct hash leaf = merkle_leaf_hash(crypto_sha256, tile_read_entry(&r));
            assert_hashes_equal(&leaf, &t->leaves[index * TILE_WIDTH + i]);
        }
        assert_int_equal(reader_finish(&r), ERR_NONE);
    } else {
        size_t leaves = (size_t)1 << (8 * level);
        assert_int_equal(bytes.len, width * SHA256_SIZE);
        for (unsigned i = 0; i < width; i++) {
            struct hash node = tree_root(t->leaves + (index * TILE_WIDTH + i) * leaves, leaves);
            assert_memory_equal(node.bytes, bytes.data + i * SHA256_SIZE, SHA256_SIZE);
        }
    }
    arena_reset(lf->f.arena);
}

static void expect_no_tile(struct ledger_fixture *lf, int level, uint64_t index, unsigned width)
{
    const struct tile tile = {.level = level, .index = index, .width = width};
    struct slice bytes = SLICE_LITERAL("untouched");
    assert_int_equal(ledger_read_tile(lf->ledger, lf->f.reader, &tile, lf->f.arena, &bytes),
                     ERR_NOT_FOUND);
    assert_int_equal(bytes.len, 9);
}

static void check_edge_tiles(struct ledger_fixture *lf, const struct tree *t)
{
    for (int level = TILE_ENTRIES; level <= TILE_LEVEL_MAX; level++) {
        unsigned shift = level == TILE_ENTRIES ? 0 : 8 * (unsigned)level;
        uint64_t hashes = t->len >> shift;
        uint64_t last = hashes == 0 ? 0 : (hashes - 1) / TILE_WIDTH;
        unsigned width = tile_width(level, last, t->len);
        if (width > 0) {
            check_tile(lf, t, level, last, width);
            check_tile(lf, t, level, last, 1);
            check_tile(lf, t, level, 0, width / 2 + 1);
        }
        if (width < TILE_WIDTH)
            expect_no_tile(lf, level, last, width + 1);
        expect_no_tile(lf, level, last + 1, 1);
        expect_no_tile(lf, level, last, 0);
        expect_no_tile(lf, level, last, TILE_WIDTH + 1);
        expect_no_tile(lf, level, UINT64_MAX, 1);
    }
    expect_no_tile(lf, TILE_LEVEL_MAX + 1, 0, 1);
    expect_no_tile(lf, TILE_ENTRIES - 1, 0, 1);
}

static void check_proofs(const struct tree *t, const struct hash *root, size_t old_size)
{
    struct hash proof[MERKLE_PROOF_MAX];
    const size_t indexes[] = {0, t->len / 2, t->len - 1};
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        size_t len = tree_path(t->leaves, indexes[i], t->len, proof);
        assert_int_equal(merkle_verify_inclusion(crypto_sha256, &t->leaves[indexes[i]], indexes[i],
                                                 t->len, proof, len, root),
                         ERR_NONE);
    }
    if (old_size == 0 || old_size == t->len)
        return;
    struct hash old_root = tree_root(t->leaves, old_size);
    size_t len = tree_subproof(t->leaves, old_size, t->len, true, proof);
    assert_int_equal(
        merkle_verify_consistency(crypto_sha256, old_size, &old_root, t->len, root, proof, len),
        ERR_NONE);
}

static void check_consistency(struct ledger_fixture *lf, const struct tree *t, size_t old_size,
                              size_t new_size)
{
    struct hash proof[MERKLE_PROOF_MAX], expected[MERKLE_PROOF_MAX];
    size_t len = 77;
    assert_int_equal(
        ledger_read_consistency(lf->ledger, lf->f.reader, old_size, new_size, proof, &len),
        ERR_NONE);
    size_t expected_len = old_size == 0 || old_size == new_size
                              ? 0
                              : tree_subproof(t->leaves, old_size, new_size, true, expected);
    assert_int_equal(len, expected_len);
    for (size_t i = 0; i < len; i++)
        assert_hashes_equal(&proof[i], &expected[i]);
}

static void consistency_proofs_are_those_of_the_naive_tree(void **state)
{
    (void)state;
    enum { ALL = 40, MANY = 300, LARGE = 66000 };
    static const size_t large[] = {1,    2,     255,   256,   257,   511,   512,   513,
                                   4096, 32768, 40000, 65535, 65536, 65537, 65792, LARGE - 1};
    struct ledger_fixture lf;
    struct tree t = {0};
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, MANY), ERR_NONE);
    tree_follow(&t, &lf);
    for (size_t n = 0; n <= MANY; n += n < ALL || (n >= 254 && n < 260) ? 1 : 23)
        for (size_t m = 0; m <= n; m++)
            check_consistency(&lf, &t, m, n);
    assert_int_equal(ledger_fixture_append(&lf, LARGE - MANY), ERR_NONE);
    tree_follow(&t, &lf);
    for (size_t i = 0; i < ARRAY_LEN(large); i++)
        for (size_t j = i; j < ARRAY_LEN(large); j++)
            check_consistency(&lf, &t, large[i], large[j]);

    struct hash proof[MERKLE_PROOF_MAX];
    size_t len = 77;
    assert_int_equal(ledger_read_consistency(lf.ledger, lf.f.reader, 1, LARGE + 1, proof, &len),
                     ERR_NOT_FOUND);
    assert_int_equal(ledger_read_consistency(lf.ledger, lf.f.reader, 3, 2, proof, &len),
                     ERR_NOT_FOUND);
    assert_int_equal(
        ledger_read_consistency(lf.ledger, lf.f.reader, UINT64_MAX, UINT64_MAX, proof, &len),
        ERR_NOT_FOUND);
    assert_int_equal(len, 77);
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

static void tiles_and_roots_are_those_of_the_naive_tree(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,   1,   2,    3,    255,   256,   257,   511,   512,
                                   513, 767, 1024, 4095, 10000, 65535, 65536, 65537, 70000};
    struct ledger_fixture lf;
    struct tree t = {0};
    ledger_fixture_make(&lf);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t old_size = t.len;
        if (sizes[i] > old_size)
            assert_int_equal(ledger_fixture_append(&lf, (unsigned)(sizes[i] - old_size)), ERR_NONE);
        tree_follow(&t, &lf);
        assert_int_equal(t.len, sizes[i]);
        struct checkpoint head = ledger_head(lf.ledger);
        struct hash root = tree_root(t.leaves, t.len);
        assert_string_equal(head.origin, "ledger.example/test");
        assert_int_equal(head.size, sizes[i]);
        assert_hashes_equal(&head.root, &root);
        if (t.len > 0)
            check_proofs(&t, &root, old_size);
        check_edge_tiles(&lf, &t);
        if (i % 4 == 0) {
            ledger_fixture_close(&lf);
            ledger_fixture_open(&lf);
            assert_int_equal(ledger_head(lf.ledger).size, sizes[i]);
        }
    }
    for (uint64_t index = 0; index < sizes[ARRAY_LEN(sizes) - 1] / TILE_WIDTH; index++) {
        check_tile(&lf, &t, 0, index, TILE_WIDTH);
        if (index % 16 == 0)
            check_tile(&lf, &t, TILE_ENTRIES, index, TILE_WIDTH);
    }
    check_tile(&lf, &t, 1, 0, TILE_WIDTH);
    check_tile(&lf, &t, 2, 0, 1);
    free(t.leaves);
    ledger_fixture_remove(&lf);
}

/* ---- walking entries ---- */

struct numbers {
    uint64_t seen[64];
    size_t len;
    size_t stop_at;
};

static enum err keep_number(void *ctx, uint64_t number, struct slice data)
{
    struct numbers *n = ctx;
    (void)data;
    n->seen[n->len++] = number;
    return n->len == n->stop_at ? ERR_CLOSED : ERR_NONE;
}

static void entries_are_walked_in_both_directions(void **state)
{
    (void)state;
    static const struct {
        uint64_t first;
        bool descending;
        size_t limit;
        size_t len;
        uint64_t start;
    } cases[] = {
        {0, false, 100, 20, 0}, {5, false, 3, 3, 5},           {19, false, 10, 1, 19},
        {20, false, 10, 0, 0},  {UINT64_MAX, false, 10, 0, 0}, {19, true, 100, 20, 19},
        {5, true, 3, 3, 5},     {0, true, 10, 1, 0},           {UINT64_MAX, true, 10, 10, 19},
        {3, false, 0, 0, 0},
    };
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    struct numbers none = {.len = 0};
    assert_int_equal(
        ledger_read_entries(lf.ledger, lf.f.reader, 0, true, 10, lf.f.arena, keep_number, &none),
        ERR_NONE);
    assert_int_equal(none.len, 0);
    assert_int_equal(ledger_fixture_append(&lf, 20), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct numbers n = {.len = 0};
        assert_int_equal(ledger_read_entries(lf.ledger, lf.f.reader, cases[i].first,
                                             cases[i].descending, cases[i].limit, lf.f.arena,
                                             keep_number, &n),
                         ERR_NONE);
        assert_int_equal(n.len, cases[i].len);
        for (size_t at = 0; at < n.len; at++)
            assert_int_equal(n.seen[at],
                             cases[i].descending ? cases[i].start - at : cases[i].start + at);
    }
    struct numbers n = {.stop_at = 2};
    assert_int_equal(
        ledger_read_entries(lf.ledger, lf.f.reader, 0, false, 10, lf.f.arena, keep_number, &n),
        ERR_CLOSED);
    assert_int_equal(n.len, 2);
    ledger_fixture_remove(&lf);
}

/* ---- checkpoints and those who follow ---- */

static void the_served_checkpoint_never_shrinks(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 10), ERR_NONE);
    struct slice note = SLICE_LITERAL("untouched");
    uint64_t size = 99;
    assert_int_equal(ledger_checkpoint(lf.ledger, lf.f.arena, &note, &size), ERR_NOT_FOUND);
    assert_int_equal(size, 99);
    static uint8_t large[NOTE_MAX + 1];
    static const struct {
        uint64_t size;
        size_t len;
        enum err err;
        uint64_t served;
    } cases[] = {
        {5, 10, ERR_NONE, 5},
        {5, 11, ERR_NONE, 5},
        {4, 10, ERR_REFUSED, 5},
        {10, NOTE_MAX, ERR_NONE, 10},
        {10, NOTE_MAX + 1, ERR_LIMIT, 10},
        {10, 0, ERR_LIMIT, 10},
        {11, 10, ERR_REFUSED, 10},
        {9, 10, ERR_REFUSED, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(
            ledger_set_checkpoint(lf.ledger, cases[i].size, slice_of(large, cases[i].len)),
            cases[i].err);
        assert_int_equal(ledger_checkpoint(lf.ledger, lf.f.arena, &note, &size), ERR_NONE);
        assert_int_equal(size, cases[i].served);
        if (cases[i].err == ERR_NONE)
            assert_int_equal(note.len, cases[i].len);
    }
    assert_int_equal(ledger_checkpoint(lf.ledger, lf.f.arena, &note, NULL), ERR_NONE);
    ledger_fixture_remove(&lf);
}

struct follower {
    struct ledger *ledger;
    atomic_uint calls;
    atomic_ullong size;
    atomic_bool hold;
};

static void follow(void *ctx)
{
    struct follower *f = ctx;
    while (atomic_load(&f->hold))
        usleep(100);
    atomic_store(&f->size, ledger_head(f->ledger).size);
    atomic_fetch_add(&f->calls, 1);
}

static void followers_hear_of_every_head_and_calls_are_shared(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    struct loop *loop = NULL;
    ledger_fixture_make(&lf);
    assert_int_equal(loop_new("test", &loop), ERR_NONE);
    struct follower follower = {.ledger = lf.ledger};
    atomic_store(&follower.hold, true);
    ledger_on_commit(lf.ledger, loop, follow, &follower);
    assert_int_equal(loop_start(loop), ERR_NONE);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(ledger_fixture_append(&lf, 1), ERR_NONE);
    atomic_store(&follower.hold, false);
    assert_int_equal(ledger_fixture_append(&lf, 1), ERR_NONE);
    store_drain(lf.f.store);
    loop_stop(loop);
    loop_join(loop);
    assert_int_equal(atomic_load(&follower.size), 51);
    assert_in_range(atomic_load(&follower.calls), 1, 3);
    loop_free(loop);
    ledger_fixture_remove(&lf);
}

static void an_origin_has_bounds(void **state)
{
    (void)state;
    struct ledger_fixture lf = {0};
    fixture_make(&lf.f);
    fixture_open(&lf.f);
    char name[NOTE_NAME_MAX + 2];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    char explain[256] = "";
    assert_int_equal(ledger_new(lf.f.store, name, &lf.ledger, explain), ERR_LIMIT);
    assert_int_equal(ledger_new(lf.f.store, "", &lf.ledger, explain), ERR_LIMIT);
    assert_int_not_equal(explain[0], '\0');
    name[NOTE_NAME_MAX] = '\0';
    assert_int_equal(ledger_new(lf.f.store, name, &lf.ledger, explain), ERR_NONE);
    assert_string_equal(ledger_head(lf.ledger).origin, name);
    ledger_fixture_remove(&lf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_bounded),
        cmocka_unit_test(an_entry_has_the_form_the_header_lays_down),
        cmocka_unit_test(tiles_and_roots_are_those_of_the_naive_tree),
        cmocka_unit_test(consistency_proofs_are_those_of_the_naive_tree),
        cmocka_unit_test(entries_are_walked_in_both_directions),
        cmocka_unit_test(the_served_checkpoint_never_shrinks),
        cmocka_unit_test(followers_hear_of_every_head_and_calls_are_shared),
        cmocka_unit_test(an_origin_has_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
