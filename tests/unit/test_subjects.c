/* Persons' names: sealed, found, forgotten; and what becomes of the file with the keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "hub/subjects/internal.h"
#include "tests/unit/temporary_folder.h"

#define TENANT "default"

struct world {
    char folder[PATH_MAX], url[PATH_MAX + 32], keys[PATH_MAX + 32], copy[PATH_MAX + 32];
    struct loop *loop;
    struct store *store;
    struct ledger *ledger;
    struct subjects *subjects;
    struct store_reader *reader;
    struct arena *arena;
    char explain[256];
    bool shared;
};

static enum err open_world(struct world *w, bool forget)
{
    enum err err = store_open(w->url, &w->store, w->explain);
    if (err == ERR_NONE)
        err = ledger_new(w->store, "ledger.example", &w->ledger, w->explain);
    if (err == ERR_NONE)
        err = subjects_open(w->keys, w->store, w->ledger, forget, w->shared, &w->subjects,
                            w->explain);
    if (err == ERR_NONE)
        err = store_reader_new(w->store, &w->reader);
    if (err == ERR_NONE)
        err = store_start(w->store);
    return err;
}

static void close_world(struct world *w)
{
    store_drain(w->store);
    store_reader_free(w->reader);
    subjects_free(w->subjects);
    ledger_free(w->ledger);
    store_close(w->store);
    w->reader = NULL;
    w->subjects = NULL;
    w->ledger = NULL;
    w->store = NULL;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    temporary_folder_make(w->folder);
    (void)snprintf(w->url, sizeof w->url, "sqlite:%s/hub.db", w->folder);
    (void)snprintf(w->keys, sizeof w->keys, "%s/subjects.keys", w->folder);
    (void)snprintf(w->copy, sizeof w->copy, "%s/copy", w->folder);
    w->arena = arena_new((size_t)1 << 20);
    assert_int_equal(loop_new("test", &w->loop), ERR_NONE);
    if (open_world(w, false) != ERR_NONE)
        fail_msg("%s", w->explain);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    close_world(w);
    loop_free(w->loop);
    arena_free(w->arena);
    temporary_folder_remove(w->folder);
    free(w);
    return 0;
}

/* ---- acts ---- */

struct naming {
    struct act act;
    struct subjects *subjects;
    const char *name;
    char id[SUBJECT_ID_SIZE];
    bool refused; /* by what comes after it in the same write */
};

static void naming_reads(const struct write *w, struct keyset *keys)
{
    const struct naming *n = (const struct naming *)(const void *)w;
    subjects_reads(n->subjects, keys, n->act.tenant, n->name);
}

static enum err naming_apply(struct write *w, struct tx *tx)
{
    struct naming *n = (struct naming *)(void *)act_of(w);
    enum err err = subjects_named(n->subjects, &n->act, tx, n->name, n->id);
    return err == ERR_NONE && n->refused ? ERR_CONFLICT : err;
}

static const struct write_kind naming_kind = {
    .name = "test.name",
    .lane = STORE_LANE_NORMAL,
    .reads = naming_reads,
    .apply = naming_apply,
    .done = act_done,
};

static void ended(struct act *act)
{
    *(bool *)act->ctx = true;
}

static struct act_origin origin_of(struct world *w, bool *done)
{
    *done = false;
    return (struct act_origin){.loop = w->loop,
                               .arena = w->arena,
                               .tenant = TENANT,
                               .actor = "local:0",
                               .then = ended,
                               .ctx = done};
}

static void wait_until(struct world *w, const bool *done)
{
    while (!*done)
        assert_int_equal(event_base_loop(loop_event_base(w->loop), EVLOOP_ONCE), 0);
}

static enum err name(struct world *w, const char *text, bool refused, char ret_id[SUBJECT_ID_SIZE])
{
    bool done;
    struct naming n = {.subjects = w->subjects, .name = text, .refused = refused};
    const struct act_origin origin = origin_of(w, &done);
    act_init(&n.act, &naming_kind, w->ledger, &origin);
    act_submit(&n.act, w->store);
    wait_until(w, &done);
    memcpy(ret_id, n.id, SUBJECT_ID_SIZE);
    return n.act.write.err;
}

static enum err erase(struct world *w, const char *id, char ret_problem[64])
{
    bool done;
    struct subject_act e = {0};
    const struct act_origin origin = origin_of(w, &done);
    (void)snprintf(e.id, sizeof e.id, "%s", id);
    subjects_erase(w->subjects, &origin, w->reader, &e);
    wait_until(w, &done);
    (void)snprintf(ret_problem, 64, "%s", e.act.write.problem.code);
    return e.act.write.err;
}

static struct subject_row read_row(struct world *w, const char *id)
{
    struct subject_row row = subject_row_of(TENANT, id);
    assert_int_equal(store_get(w->reader, &table_subject, w->arena, &row), ERR_NONE);
    return row;
}

static enum err read_name(struct world *w, const char *id, char ret_name[NAME_MAX_BYTES + 1])
{
    const struct subject_row row = read_row(w, id);
    return subjects_name(w->subjects, &row, ret_name);
}

static enum err find(struct world *w, const char *text, char ret_id[SUBJECT_ID_SIZE])
{
    return subjects_find(w->subjects, w->reader, w->arena, TENANT, text, ret_id);
}

/* ---- the tests ---- */

static void test_names(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], b[SUBJECT_ID_SIZE], again[SUBJECT_ID_SIZE], text[NAME_MAX_BYTES + 1];
    char longest[NAME_MAX_BYTES + 1];
    memset(longest, 'm', NAME_MAX_BYTES);
    longest[NAME_MAX_BYTES] = '\0';
    assert_int_equal(find(w, "ada", a), ERR_NOT_FOUND);
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    assert_int_equal(name(w, longest, false, b), ERR_NONE);
    assert_int_equal(name(w, "ada", false, again), ERR_NONE);
    assert_string_equal(a, "~1");
    assert_string_equal(b, "~2");
    assert_string_equal(again, a);
    assert_int_equal(find(w, "ada", again), ERR_NONE);
    assert_string_equal(again, a);
    assert_int_equal(read_name(w, a, text), ERR_NONE);
    assert_string_equal(text, "ada");
    assert_int_equal(read_name(w, b, text), ERR_NONE);
    assert_string_equal(text, longest);
    /* a name opens in its own row alone */
    struct subject_row moved = read_row(w, a);
    (void)snprintf(moved.id, sizeof moved.id, "%s", b);
    assert_int_equal(subjects_name(w->subjects, &moved, text), ERR_NOT_FOUND);
}

/* What was refused leaves neither a subject nor a hole. */
static void test_refused(void **state)
{
    struct world *w = *state;
    char id[SUBJECT_ID_SIZE];
    assert_int_equal(name(w, "ada", true, id), ERR_CONFLICT);
    assert_int_equal(find(w, "ada", id), ERR_NOT_FOUND);
    assert_int_equal(name(w, "bob", false, id), ERR_NONE);
    assert_string_equal(id, "~1");
}

static void test_erase(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], b[SUBJECT_ID_SIZE], text[NAME_MAX_BYTES + 1], problem[64];
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    assert_int_equal(name(w, "bob", false, b), ERR_NONE);
    struct subject_row before = read_row(w, a); /* as a backup has it */
    assert_int_equal(erase(w, "~3", problem), ERR_REFUSED);
    assert_string_equal(problem, "subject-not-found");
    assert_int_equal(erase(w, a, problem), ERR_NONE);
    assert_int_equal(subjects_name(w->subjects, &before, text), ERR_NOT_FOUND);
    assert_int_equal(read_row(w, a).state, SUBJECT_ERASED);
    assert_int_equal(read_row(w, a).name.len, 0);
    assert_int_equal(find(w, "ada", a), ERR_NOT_FOUND);
    assert_int_equal(read_name(w, b, text), ERR_NONE);
    assert_string_equal(text, "bob");
    assert_int_equal(erase(w, "~1", problem), ERR_REFUSED);
    assert_string_equal(problem, "subject-erased");
    /* the same name comes back as somebody else; the number that nobody had is good */
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    assert_string_equal(a, "~3");
    assert_int_equal(read_name(w, a, text), ERR_NONE);
    before = read_row(w, b);
    close_world(w);
    assert_int_equal(open_world(w, false), ERR_NONE);
    assert_int_equal(read_name(w, b, text), ERR_NONE);
    assert_int_equal(read_name(w, "~1", text), ERR_NOT_FOUND);
}

/* Cut short between the key's end and the row's: done at the second try. */
static void test_erase_again(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], text[NAME_MAX_BYTES + 1], problem[64];
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    assert_int_equal(subject_key_destroy(w->subjects, 1), ERR_NONE);
    assert_int_equal(read_name(w, a, text), ERR_NOT_FOUND);
    assert_int_equal(read_row(w, a).state, SUBJECT_KNOWN);
    assert_int_equal(erase(w, a, problem), ERR_NONE);
    assert_int_equal(read_row(w, a).state, SUBJECT_ERASED);
}

static void copy_file(const char *from, const char *to)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    assert_int_equal(file_read(from, (size_t)1 << 20, &bytes, &len), ERR_NONE);
    assert_int_equal(file_replace(to, slice_of(bytes, len), 0600), ERR_NONE);
    file_free_secret(bytes, len);
}

/* An older file is brought back: the erased stay erased, and the file says so again. */
static void test_older_file(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], text[NAME_MAX_BYTES + 1], problem[64];
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    const struct subject_row before = read_row(w, a);
    uint8_t sealed[SUBJECT_NAME_SEALED_MAX];
    memcpy(sealed, before.name.data, before.name.len);
    struct subject_row backup = before;
    backup.name = slice_of(sealed, before.name.len);
    copy_file(w->keys, w->copy);
    assert_int_equal(erase(w, a, problem), ERR_NONE);
    close_world(w);
    copy_file(w->copy, w->keys);
    assert_int_equal(open_world(w, false), ERR_NONE);
    assert_int_equal(subjects_name(w->subjects, &backup, text), ERR_NOT_FOUND);
    close_world(w);
    assert_int_equal(open_world(w, false), ERR_NONE);
    assert_int_equal(subjects_name(w->subjects, &backup, text), ERR_NOT_FOUND);
}

static void test_file_is_gone(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], text[NAME_MAX_BYTES + 1];
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    close_world(w);
    copy_file(w->keys, w->copy);
    assert_int_equal(unlink(w->keys), 0);
    assert_int_equal(open_world(w, false), ERR_REFUSED);
    assert_non_null(strstr(w->explain, "--forget-subjects"));
    assert_int_equal(access(w->keys, F_OK), -1);
    close_world(w);
    assert_int_equal(truncate(w->copy, 80), 0);
    copy_file(w->copy, w->keys);
    assert_int_equal(open_world(w, true), ERR_SYNTAX); /* what is broken is not what is gone */
    assert_non_null(strstr(w->explain, "not whole"));
    close_world(w);
    assert_int_equal(unlink(w->keys), 0);
    assert_int_equal(open_world(w, true), ERR_NONE);
    assert_int_equal(read_name(w, a, text), ERR_NOT_FOUND);
    assert_int_equal(name(w, "ada", false, a), ERR_NONE); /* the new file has another name key */
    assert_string_equal(a, "~2");
}

/* Other hubs over the database have copies of the file: none is made anew, another is refused, and
 * what one of them erases goes from this copy, too. */
static void test_shared(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], b[SUBJECT_ID_SIZE], text[NAME_MAX_BYTES + 1];
    copy_file(w->keys, w->copy);
    close_world(w);
    assert_int_equal(unlink(w->keys), 0);
    w->shared = true;
    assert_int_equal(open_world(w, true), ERR_REFUSED); /* nobody is known, and still */
    assert_non_null(strstr(w->explain, "copy it from another hub"));
    assert_int_equal(access(w->keys, F_OK), -1);
    close_world(w);
    copy_file(w->copy, w->keys);
    assert_int_equal(open_world(w, false), ERR_NONE);
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    assert_int_equal(name(w, "bob", false, b), ERR_NONE);
    assert_int_equal(subjects_erased_elsewhere(w->subjects, "7"), ERR_SYNTAX);
    assert_int_equal(subjects_erased_elsewhere(w->subjects, a), ERR_NONE);
    assert_int_equal(subjects_erased_elsewhere(w->subjects, a), ERR_NONE);
    assert_int_equal(read_name(w, a, text), ERR_NOT_FOUND);
    assert_int_equal(read_name(w, b, text), ERR_NONE);
    close_world(w);

    /* a file of this hub's own making */
    assert_int_equal(unlink(w->keys), 0);
    w->shared = false;
    assert_int_equal(open_world(w, true), ERR_NONE);
    subjects_share(w->subjects); /* another hub joined meanwhile */
    assert_int_equal(name(w, "eve", false, a), ERR_REFUSED);
    assert_int_equal(find(w, "eve", a), ERR_NOT_FOUND);
    close_world(w);
    w->shared = true;
    assert_int_equal(open_world(w, false), ERR_REFUSED);
    assert_non_null(strstr(w->explain, "is not the one that the other hubs have"));
    close_world(w);
    copy_file(w->copy, w->keys);
    assert_int_equal(open_world(w, false), ERR_NONE);
    assert_int_equal(name(w, "eve", false, a), ERR_NONE);
    assert_string_equal(a, "~3");
}

/* What stood in the file that was replaced is overwritten. */
static void test_old_bytes(void **state)
{
    struct world *w = *state;
    char a[SUBJECT_ID_SIZE], problem[64];
    uint8_t bytes[4096];
    struct stat st;
    assert_int_equal(name(w, "ada", false, a), ERR_NONE);
    assert_int_equal(stat(w->keys, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = open(w->keys, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(erase(w, a, problem), ERR_NONE);
    ssize_t n = read(fd, bytes, sizeof bytes);
    assert_true(n > 0);
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], 0);
    (void)close(fd);
}

static void test_said(void **state)
{
    struct world *w = *state;
    char id[SUBJECT_ID_SIZE], sealed[SEALED_TEXT_SIZE], again[SEALED_TEXT_SIZE], problem[64];
    char longest[REASON_MAX_BYTES + 2], text[REASON_MAX_BYTES + 1];
    memset(longest, 'r', sizeof longest);
    longest[REASON_MAX_BYTES] = '\0';
    assert_int_equal(name(w, "ada", false, id), ERR_NONE);
    const char *const texts[] = {"", "lost", longest};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(subjects_seal(w->subjects, TENANT, id, "lamp", texts[i], sealed),
                         ERR_NONE);
        assert_int_equal(subjects_seal(w->subjects, TENANT, id, "lamp", texts[i], again), ERR_NONE);
        assert_string_not_equal(sealed, again);
        assert_memory_equal(sealed, "~1:", 3);
        assert_int_equal(subjects_unseal(w->subjects, TENANT, "lamp", slice_of_text(sealed), text),
                         ERR_NONE);
        assert_string_equal(text, texts[i]);
        assert_int_equal(subjects_unseal(w->subjects, TENANT, "lump", slice_of_text(sealed), text),
                         ERR_NOT_FOUND);
    }
    longest[REASON_MAX_BYTES] = 'r';
    longest[REASON_MAX_BYTES + 1] = '\0';
    assert_int_equal(subjects_seal(w->subjects, TENANT, id, "lamp", longest, again), ERR_LIMIT);
    assert_int_equal(subjects_seal(w->subjects, TENANT, "acme", "lamp", "x", again), ERR_NOT_FOUND);
    static const char *const bad[] = {
        "", "lost", "~1", "~1:", "~1:00", "~1:0g", "~12345678901234567:00"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(subjects_unseal(w->subjects, TENANT, "lamp", slice_of_text(bad[i]), text),
                         ERR_NOT_FOUND);
    for (size_t i = 0; sealed[i] != '\0'; i++)
        assert_int_equal(subjects_unseal(w->subjects, TENANT, "lamp", slice_of(sealed, i), text),
                         ERR_NOT_FOUND);
    assert_int_equal(erase(w, id, problem), ERR_NONE);
    assert_int_equal(subjects_unseal(w->subjects, TENANT, "lamp", slice_of_text(sealed), text),
                     ERR_NOT_FOUND);
    assert_int_equal(subjects_seal(w->subjects, TENANT, id, "lamp", "x", again), ERR_NOT_FOUND);
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "~",   "1",           "~01",
                                      "~-1", "~1x", "~4294967295", "~9999999999"};
    uint32_t number = 0;
    assert_int_equal(subject_number("~4294967294", &number), ERR_NONE);
    assert_int_equal(number, 4294967294u);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_not_equal(subject_number(bad[i], &number), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_erase, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_erase_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_older_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_said, set_up, tear_down),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
