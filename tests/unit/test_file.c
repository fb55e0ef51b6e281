#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/failing_malloc.h"

static char folder[] = "/tmp/holdfast-file-XXXXXX";
static char path[64], fresh[64];
static const uint8_t large[200000];

static void check_content(struct slice expected)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, sizeof large, &bytes, &len), ERR_NONE);
    assert_true(slice_equal(slice_of(bytes, len), expected));
    assert_int_equal(bytes[len], 0);
    file_free_secret(bytes, len);
    assert_int_equal(access(fresh, F_OK), -1);
}

static void replaces_and_reads(void **state)
{
    (void)state;
    struct stat st;
    mode_t mask = umask(077);
    assert_int_equal(file_replace(path, SLICE_LITERAL("first"), 0644), ERR_NONE);
    (void)umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* as asked for, whatever the mask */
    check_content(SLICE_LITERAL("first"));
    assert_int_equal(file_replace(path, slice_of(large, sizeof large), 0600), ERR_NONE);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    check_content(slice_of(large, sizeof large));
    assert_int_equal(file_replace(path, slice_of(NULL, 0), 0600), ERR_NONE);
    check_content(slice_of(NULL, 0));
    file_free_secret(NULL, 0);
}

static void works_in_the_current_folder(void **state)
{
    (void)state;
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(file_replace("file", SLICE_LITERAL("relative"), 0600), ERR_NONE);
    check_content(SLICE_LITERAL("relative"));
}

static void does_not_write_into_what_a_crash_left(void **state)
{
    (void)state;
    char target[96], old[16] = "";
    /* left behind, readable by all; and a link that somebody laid */
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(fresh, 0666), 0);
    int fd = open(fresh, O_RDONLY);
    assert_int_equal(file_replace(path, SLICE_LITERAL("secret"), 0600), ERR_NONE);
    assert_int_equal(read(fd, old, sizeof old), 0);
    (void)close(fd);
    check_content(SLICE_LITERAL("secret"));

    (void)snprintf(target, sizeof target, "%s/target", folder);
    assert_int_equal(symlink(target, fresh), 0);
    assert_int_equal(file_replace(path, SLICE_LITERAL("second"), 0600), ERR_NONE);
    assert_int_equal(access(target, F_OK), -1);
    check_content(SLICE_LITERAL("second"));
}

static void refuses(void **state)
{
    (void)state;
    uint8_t *bytes = NULL;
    size_t len = 7;
    char missing[96];
    static char endless[PATH_MAX + 10];
    (void)snprintf(missing, sizeof missing, "%s/no/file", folder);
    assert_int_equal(file_replace(path, SLICE_LITERAL("12345678"), 0600), ERR_NONE);
    assert_int_equal(file_read(path, 7, &bytes, &len), ERR_LIMIT);
    assert_int_equal(file_read(missing, 100, &bytes, &len), ERR_NOT_FOUND);
    assert_int_equal(file_read(folder, 100, &bytes, &len), ERR_IO);
    assert_int_equal(file_read("/dev/zero", 100000, &bytes, &len), ERR_LIMIT);
    assert_int_equal(file_read(path, SIZE_MAX, &bytes, &len), ERR_LIMIT);
    assert_null(bytes);
    assert_int_equal(len, 7);
    assert_int_equal(file_read(path, 8, &bytes, &len), ERR_NONE);
    assert_int_equal(len, 8);
    file_free_secret(bytes, len);
    assert_int_equal(file_read("/dev/null", 0, &bytes, &len), ERR_NONE);
    assert_int_equal(len, 0);
    file_free_secret(bytes, len);
    assert_int_equal(file_replace(missing, SLICE_LITERAL("x"), 0600), ERR_NOT_FOUND);
    assert_int_equal(file_replace(folder, SLICE_LITERAL("x"), 0600), ERR_IO); /* a folder */
    assert_int_equal(access("/tmp/holdfast-file.new", F_OK), -1);
    memset(endless, 'x', sizeof endless - 1);
    assert_int_equal(file_replace(endless, SLICE_LITERAL("x"), 0600), ERR_IO);
}

static void a_full_disk_leaves_the_old(void **state)
{
    (void)state;
    struct rlimit before, tiny;
    assert_int_equal(file_replace(path, SLICE_LITERAL("the old"), 0600), ERR_NONE);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tiny = before;
    tiny.rlim_cur = 1000; /* the first write is short, the second fails */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    enum err err = file_replace(path, slice_of(large, sizeof large), 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, ERR_DISK_FULL);
    check_content(SLICE_LITERAL("the old"));
}

/* A file system of 64 KiB of its own, in a child: 0 where it held, 77 where that is not allowed. */
static int try_small_file_system(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", folder, "tmpfs", 0, "size=64k") != 0)
        return 77;
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (file_replace(path, SLICE_LITERAL("the old"), 0600) != ERR_NONE)
        return 1;
    if (file_replace(path, slice_of(large, sizeof large), 0600) != ERR_DISK_FULL)
        return 2;
    if (access(fresh, F_OK) == 0)
        return 3;
    if (file_read(path, 100, &bytes, &len) != ERR_NONE ||
        !slice_equal(slice_of(bytes, len), SLICE_LITERAL("the old")))
        return 4;
    file_free_secret(bytes, len);
    /* and there is room again for a small one */
    return file_replace(path, SLICE_LITERAL("the new"), 0600) == ERR_NONE ? 0 : 5;
}

static void a_full_file_system_leaves_the_old(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(try_small_file_system());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void reads_pipes(void **state)
{
    (void)state;
    int fds[2];
    char name[32];
    uint8_t *bytes = NULL;
    size_t len = 0;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], large, 9000), 9000);
    (void)close(fds[1]);
    (void)snprintf(name, sizeof name, "/dev/fd/%d", fds[0]);
    assert_int_equal(file_read(name, 9000, &bytes, &len), ERR_NONE);
    assert_int_equal(len, 9000);
    file_free_secret(bytes, len);
    (void)close(fds[0]);
}

static void survives_every_failing_allocation(void **state)
{
    (void)state;
    long n = 0;
    enum err err = ERR_NO_MEMORY;
    for (; err != ERR_NONE; n++) {
        uint8_t *bytes = NULL;
        size_t len = 0;
        allocations_left = n;
        err = file_read("/proc/self/smaps", 1 << 24, &bytes, &len); /* grows: it has no size */
        allocations_left = -1;
        if (err != ERR_NONE) {
            assert_int_equal(err, ERR_NO_MEMORY);
            assert_null(bytes);
        }
        file_free_secret(bytes, len);
        assert_in_range(n, 0, 100);
    }
    assert_in_range(n, 2, 100);
}

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/file", folder);
    (void)snprintf(fresh, sizeof fresh, "%s/file.new", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_and_reads),
        cmocka_unit_test(works_in_the_current_folder),
        cmocka_unit_test(does_not_write_into_what_a_crash_left),
        cmocka_unit_test(refuses),
        cmocka_unit_test(a_full_disk_leaves_the_old),
        cmocka_unit_test(a_full_file_system_leaves_the_old),
        cmocka_unit_test(reads_pipes),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
