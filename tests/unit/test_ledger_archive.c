/* Archived entries, over both databases: what goes, what stays, and what is told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "hub/ledger/archive.h"
#include "ledger_fixture.h"

#define SIZE 900

static void wake(struct act *act)
{
    assert_int_equal(sem_post(act->ctx), 0);
}

/* One write; `cleared` is what the caller believes. */
static enum err archive(struct ledger_fixture *lf, uint64_t before, uint64_t cleared,
                        const char *where, struct ledger_archive_act *ret_act)
{
    sem_t done;
    struct arena *arena = arena_new((size_t)4 << 20);
    assert_non_null(arena);
    assert_int_equal(sem_init(&done, 0, 0), 0);
    *ret_act = (struct ledger_archive_act){.wanted = {.before = before, .cleared = cleared}};
    (void)snprintf(ret_act->wanted.where, sizeof ret_act->wanted.where, "%s", where);
    const struct act_origin origin = {
        .arena = arena, .tenant = "default", .actor = "local:0", .then = wake, .ctx = &done};
    ledger_archive(lf->f.store, lf->ledger, &origin, ret_act);
    while (sem_wait(&done) != 0)
        continue;
    (void)sem_destroy(&done);
    arena_free(arena);
    return ret_act->act.write.err;
}

static enum err count(void *ctx, uint64_t number, struct slice data)
{
    (void)number;
    assert_true(data.len > 0);
    (*(unsigned *)ctx)++;
    return ERR_NONE;
}

struct reading {
    struct store_reader *reader;
    struct arena *arena;
};

static struct reading start_reading(struct ledger_fixture *lf)
{
    struct reading r = {.arena = arena_new((size_t)8 << 20)};
    assert_non_null(r.arena);
    assert_int_equal(store_reader_new(lf->f.store, &r.reader), ERR_NONE);
    return r;
}

static void end_reading(struct reading *r)
{
    store_reader_free(r->reader);
    arena_free(r->arena);
}

static enum err walk(struct ledger_fixture *lf, uint64_t first, bool descending, unsigned *ret_told)
{
    struct reading r = start_reading(lf);
    *ret_told = 0;
    enum err err = ledger_read_entries(lf->ledger, r.reader, first, descending, SIZE, r.arena,
                                       count, ret_told);
    end_reading(&r);
    return err;
}

static enum err read_tile(struct ledger_fixture *lf, int level, uint64_t index,
                          uint8_t ret_hash[SHA256_SIZE])
{
    struct reading r = start_reading(lf);
    struct slice bytes = {NULL, 0};
    const struct tile tile = {.level = level, .index = index, .width = TILE_WIDTH};
    enum err err = ledger_read_tile(lf->ledger, r.reader, &tile, r.arena, &bytes);
    if (err == ERR_NONE)
        crypto_sha256_one(bytes, ret_hash);
    end_reading(&r);
    return err;
}

static struct ledger_archive state_of(struct ledger_fixture *lf)
{
    struct reading r = start_reading(lf);
    struct ledger_archive a;
    assert_int_equal(ledger_archive_read(r.reader, r.arena, &a), ERR_NONE);
    end_reading(&r);
    return a;
}

static void data_goes_and_proofs_stay(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    struct ledger_archive_act a;
    uint8_t hashes[2][SHA256_SIZE], hash[SHA256_SIZE];
    unsigned told = 0;
    char explain[256] = "";
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, 300), ERR_NONE);
    const struct checkpoint old = ledger_head(lf.ledger);
    assert_int_equal(ledger_fixture_append(&lf, SIZE - 300), ERR_NONE);
    for (uint64_t i = 0; i < 2; i++)
        assert_int_equal(read_tile(&lf, 0, i, hashes[i]), ERR_NONE);
    assert_int_equal(state_of(&lf).before, 0);

    /* the first write appends the entry; data goes chunk by chunk */
    assert_int_equal(archive(&lf, 512, 0, "shelf 7, left", &a), ERR_NONE);
    assert_int_equal(a.now.before, 512);
    assert_int_equal(a.now.cleared, ARCHIVE_CHUNK);
    assert_int_equal(ledger_head(lf.ledger).size, SIZE + 1);
    assert_int_equal(read_tile(&lf, TILE_ENTRIES, 0, hash), ERR_EXPIRED);
    assert_int_equal(read_tile(&lf, TILE_ENTRIES, 1, hash), ERR_NONE);
    /* also by one who does not know how far it has come, and after a restart */
    ledger_fixture_close(&lf);
    ledger_fixture_open(&lf);
    assert_int_equal(archive(&lf, 512, 0, "another shelf", &a), ERR_NONE);
    assert_int_equal(a.now.cleared, 512);
    assert_string_equal(a.now.where, "shelf 7, left");
    assert_int_equal(archive(&lf, 512, 512, "another shelf", &a), ERR_NONE);
    assert_int_equal(ledger_head(lf.ledger).size, SIZE + 1);
    assert_string_equal(state_of(&lf).where, "shelf 7, left");

    assert_int_equal(walk(&lf, 0, false, &told), ERR_EXPIRED);
    assert_int_equal(walk(&lf, 511, true, &told), ERR_EXPIRED);
    assert_int_equal(walk(&lf, 520, true, &told), ERR_NONE);
    assert_int_equal(told, 9);
    assert_int_equal(walk(&lf, 512, false, &told), ERR_NONE);
    assert_int_equal(told, SIZE + 1 - 512);
    for (uint64_t i = 0; i < 2; i++) {
        assert_int_equal(read_tile(&lf, 0, i, hash), ERR_NONE);
        assert_memory_equal(hash, hashes[i], SHA256_SIZE);
    }

    /* a hub starts on it, also where its signer last signed a tree that is archived by now */
    ledger_fixture_close(&lf);
    ledger_fixture_open(&lf);
    assert_int_equal(ledger_check_continues(lf.ledger, lf.f.store, 300, &old.root, explain),
                     ERR_NONE);
    struct hash other = old.root;
    other.bytes[0] ^= 1;
    assert_int_equal(ledger_check_continues(lf.ledger, lf.f.store, 300, &other, explain),
                     ERR_CONFLICT);
    assert_int_equal(ledger_fixture_append(&lf, 300), ERR_NONE);
    ledger_fixture_remove(&lf);
}

static void less_is_refused(void **state)
{
    (void)state;
    struct ledger_fixture lf;
    struct ledger_archive_act a;
    ledger_fixture_make(&lf);
    assert_int_equal(ledger_fixture_append(&lf, SIZE), ERR_NONE);
    assert_int_equal(archive(&lf, 512, 0, "x", &a), ERR_NONE);
    assert_int_equal(archive(&lf, 256, 256, "x", &a), ERR_REFUSED);
    assert_string_equal(a.act.write.problem.code, "archive-conflict");
    assert_int_equal(ledger_head(lf.ledger).size, SIZE + 1);
    assert_int_equal(state_of(&lf).before, 512);
    ledger_fixture_remove(&lf);
}

static void only_its_own_form_is_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",           "256",     "256 256",    "256 512 x",
                                        "255 255 x",  "256 1 x", " 256 256 x", "-256 0 x",
                                        "0256 256 x", "256  0 x"};
    struct ledger_archive a = {.before = 7};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (ledger_archive_parse(slice_of_text(wrong[i]), &a) != ERR_SYNTAX)
            print_error("%s\n", wrong[i]);
        assert_int_equal(ledger_archive_parse(slice_of_text(wrong[i]), &a), ERR_SYNTAX);
    }
    assert_int_equal(a.before, 7);
    char longest[8 + ARCHIVE_WHERE_MAX + 2] = "256 256 ";
    memset(longest + 8, 'x', ARCHIVE_WHERE_MAX);
    assert_int_equal(ledger_archive_parse(slice_of_text(longest), &a), ERR_NONE);
    assert_int_equal(strlen(a.where), ARCHIVE_WHERE_MAX);
    longest[8 + ARCHIVE_WHERE_MAX] = 'x';
    assert_int_equal(ledger_archive_parse(slice_of_text(longest), &a), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_goes_and_proofs_stay),
        cmocka_unit_test(less_is_refused),
        cmocka_unit_test(only_its_own_form_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
