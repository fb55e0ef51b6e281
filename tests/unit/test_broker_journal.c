/* The broker's journal: cut off at every byte, it is what it was before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "broker/journal.h"
#include "tests/unit/temporary_folder.h"

struct seen {
    unsigned n;
    uint8_t kinds[64];
    size_t lens[64];
    uint64_t sum; /* of all bytes, each weighted by its place */
    enum err answer;
};

static enum err see(void *context, uint8_t kind, struct slice payload)
{
    struct seen *s = context;
    assert_true(s->n < ARRAY_LEN(s->kinds));
    s->kinds[s->n] = kind;
    s->lens[s->n++] = payload.len;
    for (size_t i = 0; i < payload.len; i++)
        s->sum += (i + 1) * payload.data[i];
    return s->answer;
}

static struct journal *open_seen(const char *folder, struct seen *s, uint64_t *ret_dropped)
{
    struct journal *j = NULL;
    char explain[256];
    *s = (struct seen){.answer = ERR_NONE};
    assert_int_equal(journal_open(folder, see, s, &j, ret_dropped, explain), ERR_NONE);
    return j;
}

static void add(struct journal *j, uint8_t kind, const char *text)
{
    assert_int_equal(journal_add(j, kind, slice_of_text(text), false), ERR_NONE);
}

static void path_in(char path[PATH_MAX], const char *folder, const char *name)
{
    (void)snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 32, folder, name);
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    static const char *const texts[] = {"one", "", "three is longer", "four"};
    char folder[PATH_MAX], path[PATH_MAX];
    temporary_folder_make(folder);
    path_in(path, folder, "journal");
    struct seen s;
    uint64_t dropped = 1;
    struct journal *j = open_seen(folder, &s, &dropped);
    assert_int_equal(s.n, 0);
    assert_int_equal(dropped, 0);
    size_t ends[ARRAY_LEN(texts) + 1];
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    ends[0] = (size_t)st.st_size;
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        add(j, (uint8_t)(i + 1), texts[i]);
        assert_int_equal(stat(path, &st), 0);
        ends[i + 1] = (size_t)st.st_size;
    }
    journal_close(j);
    uint8_t *whole = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, 65536, &whole, &len), ERR_NONE);
    for (size_t cut = 0; cut <= len; cut++) {
        assert_int_equal(file_replace(path, slice_of(whole, cut), 0600), ERR_NONE);
        j = open_seen(folder, &s, &dropped);
        unsigned frames = 0;
        while (frames < ARRAY_LEN(texts) && ends[frames + 1] <= cut)
            frames++;
        assert_int_equal(s.n, frames);
        assert_int_equal(dropped, cut < ends[0] ? cut : cut - ends[frames]);
        add(j, 9, "after"); /* and it goes on from there */
        journal_close(j);
        j = open_seen(folder, &s, &dropped);
        assert_int_equal(s.n, frames + 1);
        assert_int_equal(s.kinds[frames], 9);
        assert_int_equal(dropped, 0);
        journal_close(j);
    }
    free(whole);
    temporary_folder_remove(folder);
}

static void test_every_flipped_byte(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX];
    temporary_folder_make(folder);
    path_in(path, folder, "journal");
    struct seen s;
    uint64_t dropped = 0;
    struct journal *j = open_seen(folder, &s, &dropped);
    add(j, 1, "first");
    add(j, 2, "second");
    journal_close(j);
    uint8_t *whole = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, 65536, &whole, &len), ERR_NONE);
    for (size_t i = 0; i < len; i++) {
        whole[i] ^= 0x40;
        assert_int_equal(file_replace(path, slice_of(whole, len), 0600), ERR_NONE);
        whole[i] ^= 0x40;
        j = open_seen(folder, &s, &dropped);
        assert_true(s.n < 2);
        assert_true(dropped > 0);
        journal_close(j);
    }
    free(whole);
    temporary_folder_remove(folder);
}

static enum err write_two(void *context, struct journal *j)
{
    enum err *answer = context;
    enum err err = journal_put(j, 7, SLICE_LITERAL("seven"));
    if (err == ERR_NONE)
        err = journal_put(j, 8, SLICE_LITERAL(""));
    return err == ERR_NONE ? *answer : err;
}

static void test_renewal(void **state)
{
    (void)state;
    char folder[PATH_MAX], path[PATH_MAX];
    temporary_folder_make(folder);
    struct seen s;
    uint64_t dropped = 0;
    struct journal *j = open_seen(folder, &s, &dropped);
    add(j, 1, "first");
    enum err answer = ERR_LIMIT; /* fails in the middle: the old one stays */
    assert_int_equal(journal_renew(j, write_two, &answer), ERR_LIMIT);
    add(j, 2, "second");
    journal_close(j);
    j = open_seen(folder, &s, &dropped);
    assert_int_equal(s.n, 2);
    answer = ERR_NONE;
    assert_int_equal(journal_renew(j, write_two, &answer), ERR_NONE);
    add(j, 3, "third");
    journal_close(j);
    /* Killed before the rename: what is half written is nothing. */
    path_in(path, folder, "journal.new");
    assert_int_equal(file_replace(path, SLICE_LITERAL("HFJOURN1half"), 0600), ERR_NONE);
    j = open_seen(folder, &s, &dropped);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.kinds[0], 7);
    assert_int_equal(s.kinds[2], 3);
    assert_int_equal(access(path, F_OK), -1);
    struct journal *other = NULL;
    char explain[256];
    assert_int_equal(journal_open(folder, see, &s, &other, &dropped, explain), ERR_BUSY);
    assert_non_null(strstr(explain, "another broker"));
    journal_close(j);
    temporary_folder_remove(folder);
}

static void test_bad_folder(void **state)
{
    (void)state;
    struct journal *j = NULL;
    struct seen s = {.n = 0};
    uint64_t dropped = 0;
    char explain[256] = "";
    assert_int_equal(journal_open("/nonexistent/folder", see, &s, &j, &dropped, explain), ERR_IO);
    assert_non_null(strstr(explain, "/nonexistent/folder/journal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_every_flipped_byte),
        cmocka_unit_test(test_renewal),
        cmocka_unit_test(test_bad_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
