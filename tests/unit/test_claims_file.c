#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/claims_file.h"
#include "tests/unit/temporary_folder.h"

#define HEADING "serial,claim_code,expires_at\n"
#define LINE_A  "a,7K3MP-9QZTX-4HWC8-RVN2D-EJ5Y6B,2027-01-01T00:00:00Z\n"
#define LINE_B  "b,8K3MP-9QZTX-4HWC8-RVN2D-EJ5Y6B,2027-01-01T00:00:00Z\n"

static char folder[PATH_MAX], path[PATH_MAX + 16];
static struct cli cli = {.json = true};
static struct claims_file file;
static struct seen *held;

static int start(void **state)
{
    (void)state;
    temporary_folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/codes.csv", folder);
    return seen_new(&held) == ERR_NONE ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    claims_file_close(&file, false);
    seen_free(held);
    temporary_folder_remove(folder);
    return 0;
}

static int open_file(bool resume)
{
    return claims_file_open(&cli, &file, path, resume, 10, held);
}

static void put(const char *text, mode_t mode)
{
    assert_int_equal(file_replace(path, slice_of_text(text), mode), ERR_NONE);
}

static void check_content(const char *expected)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, 4096, &bytes, &len), ERR_NONE);
    assert_string_equal((const char *)bytes, expected);
    free(bytes);
}

static bool holds(const char *serial)
{
    uint64_t value;
    return seen_find(held, slice_of_text(serial), &value) == ERR_NONE;
}

static void keeps_codes(void **state)
{
    (void)state;
    struct stat st;
    uint8_t bytes[CLAIMS_LINE_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    (void)umask(0);
    assert_int_equal(open_file(false), CLI_OK);
    claims_line_write(&w, "a", "7K3MP-9QZTX-4HWC8-RVN2D-EJ5Y6B", 1798761600);
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(claims_file_append(&cli, &file, writer_bytes(&w)), CLI_OK);
    claims_file_close(&file, true);
    assert_int_equal(stat(path, &st), -1); /* nobody wanted what was in it */
    assert_int_equal(open_file(false), CLI_OK);
    assert_int_equal(claims_file_append(&cli, &file, writer_bytes(&w)), CLI_OK);
    claims_file_close(&file, false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    check_content(HEADING LINE_A);
}

static void a_line_fits_its_limit(void **state)
{
    (void)state;
    uint8_t bytes[CLAIMS_LINE_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    claims_line_write(&w, "s234567890123456789012345678901234567890123456789012345678901234",
                      "0123456789ABCDEFGHJKMNPQRSTVWXYZ", INT64_C(253402300799));
    assert_int_equal(w.err, ERR_NONE);
}

static void never_overwrites(void **state)
{
    (void)state;
    put("mine", 0600);
    assert_int_equal(open_file(false), CLI_FILE);
    check_content("mine");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(open_file(false), CLI_FILE);
    assert_int_equal(open_file(true), CLI_FILE);
}

static void goes_on_where_it_was_cut(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
        bool a, b;
    } cases[] = {
        {HEADING LINE_A, HEADING LINE_A LINE_B, true, false},
        {HEADING LINE_A "b,8K3MP-9Q", HEADING LINE_A LINE_B, true, false},
        {HEADING LINE_A "b", HEADING LINE_A LINE_B, true, false},
        {HEADING, HEADING LINE_B, false, false},
        {"serial,cl", HEADING LINE_B, false, false},
        {"", HEADING LINE_B, false, false},
        {HEADING LINE_A LINE_A LINE_B, HEADING LINE_A LINE_A LINE_B LINE_B, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        seen_free(held);
        assert_int_equal(seen_new(&held), ERR_NONE);
        put(cases[i].before, 0600);
        assert_int_equal(open_file(true), CLI_OK);
        assert_int_equal(holds("a"), cases[i].a);
        assert_int_equal(holds("b"), cases[i].b);
        assert_int_equal(claims_file_append(&cli, &file, slice_of_text(LINE_B)), CLI_OK);
        claims_file_close(&file, true); /* not made by this run: it stays */
        check_content(cases[i].after);
    }
}

static void makes_what_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(open_file(true), CLI_OK);
    claims_file_close(&file, false);
    check_content(HEADING);
}

static void goes_on_with_its_own_kind_only(void **state)
{
    (void)state;
    char long_line[512] = HEADING;
    memset(long_line + sizeof HEADING - 1, 'x', 400);
    const char *const texts[] = {"serial,code\n" LINE_A, LINE_A, HEADING "abc\n", HEADING "\n",
                                 long_line};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        put(texts[i], 0600);
        assert_int_equal(open_file(true), CLI_FILE);
        check_content(texts[i]);
    }
    put(HEADING LINE_A, 0640);
    assert_int_equal(open_file(true), CLI_FILE);
    put(HEADING LINE_A, 0604);
    assert_int_equal(open_file(true), CLI_FILE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(open_file(true), CLI_FILE);
}

static void tells_where_there_is_no_room(void **state)
{
    (void)state;
    struct rlimit before, small = {.rlim_cur = 64, .rlim_max = RLIM_INFINITY};
    assert_int_equal(open_file(false), CLI_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int code = claims_file_append(&cli, &file, slice_of_text(LINE_A LINE_B));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(code, CLI_FILE);
}

int main(void)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_codes, start, end),
        cmocka_unit_test_setup_teardown(a_line_fits_its_limit, start, end),
        cmocka_unit_test_setup_teardown(never_overwrites, start, end),
        cmocka_unit_test_setup_teardown(goes_on_where_it_was_cut, start, end),
        cmocka_unit_test_setup_teardown(makes_what_is_not_there, start, end),
        cmocka_unit_test_setup_teardown(goes_on_with_its_own_kind_only, start, end),
        cmocka_unit_test_setup_teardown(tells_where_there_is_no_room, start, end),
    };
    file.fd = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
