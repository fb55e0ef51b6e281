#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/ipc.h"
#include "base/sandbox.h"

#define SKIPPED 77

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

/* Runs `fn` in a child; how that ended, as waitpid() says it. */
static int run_child(int (*fn)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fn());
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return status;
}

static void check_exit(int (*fn)(void), int line)
{
    int status = run_child(fn);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    if (WIFSIGNALED(status))
        fail_msg("line %d: killed by signal %d", line, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        fail_msg("line %d: exit code %d", line, WEXITSTATUS(status));
}
#define CHECK_EXIT(fn) check_exit(fn, __LINE__)

/* What a compute-only process must not do. Raw calls: what counts is the kernel's view. */
static long do_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}
static long do_socketpair(void)
{
    int fds[2];
    return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
}
static long do_connect(void)
{
    return syscall(SYS_connect, 0, "", 0);
}
static long do_openat(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}
#ifdef SYS_open
static long do_open(void)
{
    return syscall(SYS_open, "/etc/passwd", O_RDONLY);
}
#endif
static long do_openat2(void)
{
    return syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0);
}
static long do_execve(void)
{
    char *const nothing[] = {NULL};
    return execve("/bin/true", nothing, nothing);
}
static long do_execveat(void)
{
    return syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0);
}
static long do_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}
static long do_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}
static long do_kill(void)
{
    return kill(getppid(), 0);
}
static long do_tgkill_another(void)
{
    return syscall(SYS_tgkill, 1, 1, 0);
}
static long do_process_vm_readv(void)
{
    return syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0);
}
static long do_unlink(void)
{
    return unlink("/tmp/holdfast-no-such-file");
}
static long do_stat(void)
{
    return syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &(struct stat){0}, 0);
}
static long do_ioctl(void)
{
    return syscall(SYS_ioctl, 0, 0, 0);
}
static long do_prctl(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
static long do_mmap_exec(void)
{
    return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static long do_mprotect_exec(void)
{
    static uint8_t page[8192];
    uint8_t *at = page + (4096 - (uintptr_t)page % 4096);
    return syscall(SYS_mprotect, at, 4096, PROT_READ | PROT_EXEC);
}
static long do_unshare(void)
{
    return unshare(CLONE_NEWUSER);
}
static long do_clone_user(void)
{
    return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
}
static long do_mount(void)
{
    return syscall(SYS_mount, "a", "b", "c", 0, NULL);
}
static long do_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}
static long do_keyctl(void)
{
    return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}
static long do_module(void)
{
    return syscall(SYS_init_module, NULL, 0, "");
}
static long do_pidfd_getfd(void)
{
    return syscall(SYS_pidfd_getfd, -1, 0, 0);
}

struct forbidden {
    const char *name;
    long (*call)(void);
};
#define FORBIDDEN(name)                                                                            \
    {                                                                                              \
#name, do_##name                                                                           \
    }

static enum err (*enter)(void);
static long (*forbidden_call)(void);

static int make_forbidden_call(void)
{
    if (enter() != ERR_NONE)
        return 1;
    (void)forbidden_call();
    return 2;
}

static void check_all_kill(enum err (*sandbox)(void), const struct forbidden *calls, size_t n)
{
    enter = sandbox;
    for (size_t i = 0; i < n; i++) {
        forbidden_call = calls[i].call;
        int status = run_child(make_forbidden_call);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("%s does not kill with SIGSYS: status %#x", calls[i].name, (unsigned)status);
    }
}

static void compute_only_kills(void **state)
{
    (void)state;
    static const struct forbidden calls[] = {
        FORBIDDEN(socket),
        FORBIDDEN(socketpair),
        FORBIDDEN(connect),
        FORBIDDEN(openat),
#ifdef SYS_open
        FORBIDDEN(open),
#endif
        FORBIDDEN(openat2),
        FORBIDDEN(execve),
        FORBIDDEN(execveat),
        FORBIDDEN(ptrace),
        FORBIDDEN(fork),
        FORBIDDEN(kill),
        FORBIDDEN(tgkill_another),
        FORBIDDEN(process_vm_readv),
        FORBIDDEN(unlink),
        FORBIDDEN(stat),
        FORBIDDEN(ioctl),
        FORBIDDEN(prctl),
        FORBIDDEN(mmap_exec),
        FORBIDDEN(mprotect_exec),
        FORBIDDEN(unshare),
        FORBIDDEN(mount),
        FORBIDDEN(bpf),
        FORBIDDEN(keyctl),
    };
    check_all_kill(sandbox_compute_only, calls, ARRAY_LEN(calls));
}

static void server_kills(void **state)
{
    (void)state;
    static const struct forbidden calls[] = {
        FORBIDDEN(execve),      FORBIDDEN(execveat), FORBIDDEN(process_vm_readv),
        FORBIDDEN(unshare),     FORBIDDEN(mount),    FORBIDDEN(bpf),
        FORBIDDEN(keyctl),      FORBIDDEN(module),   FORBIDDEN(clone_user),
        FORBIDDEN(pidfd_getfd),
#ifndef SANITIZED /* whose leak checker traces */
        FORBIDDEN(ptrace),
#endif
    };
    check_all_kill(sandbox_server, calls, ARRAY_LEN(calls));
}

static EVP_PKEY *p256, *ed25519;

static bool sign_and_verify(EVP_PKEY *key, const EVP_MD *digest)
{
    static const uint8_t message[] = "to be signed";
    uint8_t signature[128];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit(ctx, NULL, digest, NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &len, message, sizeof message) == 1;
    EVP_MD_CTX_free(ctx);
    ctx = EVP_MD_CTX_new();
    ok = ok && EVP_DigestVerifyInit(ctx, NULL, digest, NULL, key) == 1 &&
         EVP_DigestVerify(ctx, signature, len, message, sizeof message) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* As the signer does it: keys loaded and each used once, the sandbox, then requests. */
static int sign_inside(void)
{
    uint8_t random[32], hash[SHA256_SIZE];
    if (crypto_random(random, sizeof random) != ERR_NONE || !sign_and_verify(p256, EVP_sha256()) ||
        !sign_and_verify(ed25519, NULL))
        return 1;
    crypto_sha256_one(SLICE_LITERAL("x"), hash);
    if (sandbox_harden() != ERR_NONE || sandbox_compute_only() != ERR_NONE)
        return 2;
    for (int i = 0; i < 200; i++) {
        if (!sign_and_verify(p256, EVP_sha256()) || !sign_and_verify(ed25519, NULL))
            return 3;
        if (crypto_random(random, sizeof random) != ERR_NONE)
            return 4;
        crypto_sha256_one(slice_of(random, sizeof random), hash);
    }
    /* a large allocation, which maps memory, and its end */
    uint8_t *large = malloc(8 << 20);
    if (large == NULL)
        return 5;
    memset(large, 1, 8 << 20);
    uint8_t *larger = realloc(large, 32 << 20);
    free(larger == NULL ? large : larger);
    return 0;
}

/* A key is first used inside: nothing is left that OpenSSL would have to open. */
static int sign_first_time_inside(void)
{
    if (sandbox_compute_only() != ERR_NONE)
        return 1;
    return sign_and_verify(p256, EVP_sha256()) && sign_and_verify(ed25519, NULL) ? 0 : 2;
}

static void compute_only_signs(void **state)
{
    (void)state;
    p256 = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(p256);
    assert_non_null(ed25519);
    CHECK_EXIT(sign_inside);
    CHECK_EXIT(sign_first_time_inside);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(ed25519);
}

static int use_what_is_open(void)
{
    int pair[2];
    uint8_t got[16];
    size_t len = 0;
    struct stat st;
    struct epoll_event event = {.events = EPOLLIN};
    int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    int epoll = epoll_create1(0);
    if (file < 0 || epoll < 0 || ipc_pair(pair) != ERR_NONE ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event) != 0)
        return 1;
    if (sandbox_compute_only() != ERR_NONE)
        return 2;
    if (ipc_send(pair[0], SLICE_LITERAL("sign")) != ERR_NONE || ipc_wait(pair[1], 10) != ERR_NONE ||
        epoll_wait(epoll, &event, 1, 10) != 1 ||
        ipc_receive(pair[1], got, sizeof got, &len) != ERR_NONE || len != 4)
        return 3;
    if (write(file, "12", 2) != 2 || pwrite(file, "3456", 4, 2) != 4 || fdatasync(file) != 0 ||
        fsync(file) != 0 || lseek(file, 0, SEEK_SET) != 0 || read(file, got, 3) != 3 ||
        pread(file, got, 6, 0) != 6 || memcmp(got, "123456", 6) != 0)
        return 4;
    if (fstat(file, &st) != 0 || st.st_size != 6 || close(file) != 0)
        return 5;
    return ipc_wait(pair[1], 5) == ERR_TIMEOUT ? 0 : 6;
}

static void compute_only_uses_what_is_open(void **state)
{
    (void)state;
    CHECK_EXIT(use_what_is_open);
}

static int abort_inside(void)
{
    (void)signal(SIGABRT, SIG_DFL); /* the test framework has its own handler */
    if (sandbox_compute_only() != ERR_NONE)
        return 1;
    abort();
}

static int exit_inside(void)
{
    if (sandbox_compute_only() != ERR_NONE)
        return 1;
    exit(0); /* with everything that runs at exit */
}

static void compute_only_ends_properly(void **state)
{
    (void)state;
    CHECK_EXIT(exit_inside);
    int status = run_child(abort_inside);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void *touch(void *nothing)
{
    return nothing;
}

static int serve_inside(void)
{
    pthread_t thread;
    char name[] = "/tmp/holdfast-sandbox-XXXXXX";
    if (sandbox_harden() != ERR_NONE || sandbox_server() != ERR_NONE)
        return 1;
    int fd = mkstemp(name);
    if (fd < 0 || unlink(name) != 0 || close(fd) != 0)
        return 2;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || listen(fd, 1) != 0 || close(fd) != 0)
        return 3;
    if (pthread_create(&thread, NULL, touch, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 4;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    if (child < 0 || waitpid(child, NULL, 0) != child)
        return 5;
    return syscall(SYS_io_uring_setup, 0, NULL) == -1 && errno == ENOSYS ? 0 : 6;
}

static void server_serves(void **state)
{
    (void)state;
    CHECK_EXIT(serve_inside);
}

static int check_hardened(void)
{
    struct rlimit core;
    int signal_number = 0;
    if (sandbox_harden() != ERR_NONE)
        return 1;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return 2;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0)
        return 3;
    return prctl(PR_GET_PDEATHSIG, &signal_number, 0, 0, 0) == 0 && signal_number == SIGKILL ? 0
                                                                                             : 4;
}

static void hardens(void **state)
{
    (void)state;
    CHECK_EXIT(check_hardened);
}

/* Two processes of one user: without the hardening the one may trace the other, with it not. */
static int trace_sibling_hardened(bool hardened)
{
    int ready[2];
    char byte;
    if (geteuid() == 0 && sandbox_become(65534, 65534) != ERR_NONE)
        return 1;
    /* a change of user takes dumpability away; give it back to see the hardening alone */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || pipe(ready) != 0)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        bool ok = !hardened || sandbox_harden() == ERR_NONE;
        if (!ok || write(ready[1], "x", 1) != 1)
            _exit(1);
        (void)pause();
        _exit(0);
    }
    if (child < 0 || read(ready[0], &byte, 1) != 1)
        return 3;
    /* a parent may attach to its child under any Yama setting but the strictest */
    bool traced = ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0;
    int error = errno;
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    if (!hardened)
        return traced ? 0 : SKIPPED;
    return !traced && error == EPERM ? 0 : 4;
}

static int trace_soft(void)
{
    return trace_sibling_hardened(false);
}

static int trace_hard(void)
{
    return trace_sibling_hardened(true);
}

static void hardened_cannot_be_traced_by_its_own_user(void **state)
{
    (void)state;
    CHECK_EXIT(trace_hard);
    CHECK_EXIT(trace_soft);
}

static void finds_users(void **state)
{
    (void)state;
    uid_t uid = 7;
    gid_t gid = 7;
    assert_int_equal(sandbox_user("root", &uid, &gid), ERR_NONE);
    assert_int_equal(uid, 0);
    assert_int_equal(gid, 0);
    assert_int_equal(sandbox_user("54321", &uid, &gid), ERR_NONE);
    assert_int_equal(uid, 54321);
    assert_int_equal(gid, 54321);
    static const char *const unknown[] = {"no-such-user", "", "-1", "4294967295", "1x", "+1"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_int_equal(sandbox_user(unknown[i], &uid, &gid), ERR_NOT_FOUND);
    assert_int_equal(uid, 54321);
}

static int become_another(void)
{
    gid_t groups[8];
    if (geteuid() != 0)
        return SKIPPED;
    if (sandbox_become(0, 0) != ERR_REFUSED || sandbox_become(54321, 0) != ERR_REFUSED)
        return 1;
    if (sandbox_become(54321, 54322) != ERR_NONE)
        return 2;
    if (getuid() != 54321 || geteuid() != 54321 || getgid() != 54322 || getegid() != 54322 ||
        getgroups(8, groups) != 0)
        return 3;
    if (setuid(0) == 0 || open("/etc/shadow", O_RDONLY) >= 0)
        return 4;
    /* the same again is no change; another is refused */
    if (sandbox_become(54321, 54322) != ERR_NONE || sandbox_become(54323, 54322) != ERR_REFUSED)
        return 5;
    return sandbox_leave_network() == ERR_REFUSED ? 0 : 6;
}

static void becomes_another_for_good(void **state)
{
    (void)state;
    CHECK_EXIT(become_another);
}

static int leave_network(void)
{
    enum err err = sandbox_leave_network();
    if (err == ERR_REFUSED)
        return SKIPPED;
    if (err != ERR_NONE)
        return 1;
    /* not even loopback is up there */
    const uint8_t loopback[16] = {AF_INET, 0, 0, 9, 127, 0, 0, 1};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return connect(fd, (const struct sockaddr *)(const void *)loopback, sizeof loopback) != 0 &&
                   errno == ENETUNREACH
               ? 0
               : 2;
}

static void leaves_the_network(void **state)
{
    (void)state;
    CHECK_EXIT(leave_network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compute_only_kills),
        cmocka_unit_test(compute_only_signs),
        cmocka_unit_test(compute_only_uses_what_is_open),
        cmocka_unit_test(compute_only_ends_properly),
        cmocka_unit_test(server_kills),
        cmocka_unit_test(server_serves),
        cmocka_unit_test(hardens),
        cmocka_unit_test(hardened_cannot_be_traced_by_its_own_user),
        cmocka_unit_test(finds_users),
        cmocka_unit_test(becomes_another_for_good),
        cmocka_unit_test(leaves_the_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
