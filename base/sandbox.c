#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/cursor.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

#ifdef SANITIZED
/* At exit the leak checker clones a tracer and opens /proc, which a compute-only process must not.
 * The checker asks this function, by this name, whether it is wanted. */
static int leak_check_is_off;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return leak_check_is_off;
}
#endif

enum err sandbox_user(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
    struct reader digits = reader_over(slice_of_text(name));
    /* the highest number means "unchanged" to the system calls */
    uid_t uid = (uid_t)reader_decimal(&digits, UINT32_MAX - 1);
    bool is_number = reader_finish(&digits) == ERR_NONE;
    struct passwd entry, *found = NULL;
    char text[4096];
    int failed = is_number ? getpwuid_r(uid, &entry, text, sizeof text, &found)
                           : getpwnam_r(name, &entry, text, sizeof text, &found);
    if (failed == 0 && found != NULL) {
        *ret_uid = found->pw_uid;
        *ret_gid = found->pw_gid;
        return ERR_NONE;
    }
    if (!is_number)
        return ERR_NOT_FOUND;
    /* a number that no table knows, as in a container, comes with the group of that number */
    *ret_uid = uid;
    *ret_gid = (gid_t)uid;
    return ERR_NONE;
}

static bool is_wholly(uid_t uid, gid_t gid)
{
    uid_t real_uid, effective_uid, saved_uid;
    gid_t real_gid, effective_gid, saved_gid;
    return getresuid(&real_uid, &effective_uid, &saved_uid) == 0 &&
           getresgid(&real_gid, &effective_gid, &saved_gid) == 0 && real_uid == uid &&
           effective_uid == uid && saved_uid == uid && real_gid == gid && effective_gid == gid &&
           saved_gid == gid;
}

enum err sandbox_become(uid_t uid, gid_t gid)
{
    if (uid == 0 || gid == 0)
        return ERR_REFUSED;
    if (geteuid() == 0) {
        if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
            prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0 ||
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
            setresuid(uid, uid, uid) != 0)
            return ERR_IO;
    }
    if (!is_wholly(uid, gid))
        return ERR_REFUSED;
    /* not one of these may work any more */
    if (setuid(0) == 0 || setgid(0) == 0 || seteuid(0) == 0)
        return ERR_INTERNAL;
    return ERR_NONE;
}

enum err sandbox_harden(void)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return ERR_IO;
    return ERR_NONE;
}

enum err sandbox_leave_network(void)
{
    if (unshare(CLONE_NEWNET) == 0)
        return ERR_NONE;
    return errno == EPERM ? ERR_REFUSED : ERR_IO;
}

/* Adds rules to a filter until one fails. */
struct filter {
    scmp_filter_ctx ctx;
    bool failed;
};

static void add_all(struct filter *f, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (seccomp_rule_add(f->ctx, action, calls[i], 0) != 0)
            f->failed = true;
}

static void add_where(struct filter *f, uint32_t action, int call, struct scmp_arg_cmp where)
{
    if (seccomp_rule_add_array(f->ctx, action, call, 1, &where) != 0)
        f->failed = true;
}

static enum err load(struct filter *f)
{
    /* TSYNC: threads that are there already come under it, too */
    if (f->ctx == NULL || f->failed ||
        seccomp_attr_set(f->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) != 0 ||
        seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_NNP, 1) != 0 ||
        seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_TSYNC, 1) != 0) {
        seccomp_release(f->ctx);
        return ERR_INTERNAL;
    }
    int failed = seccomp_load(f->ctx);
    seccomp_release(f->ctx);
    return failed == 0 ? ERR_NONE : ERR_IO;
}

/* What needs no look at its arguments: using what is open, memory, time, waiting, ending. */
static const int compute_calls[] = {
    SCMP_SYS(read),         SCMP_SYS(write),           SCMP_SYS(writev),
    SCMP_SYS(pread64),      SCMP_SYS(pwrite64),        SCMP_SYS(lseek),
    SCMP_SYS(fstat),        SCMP_SYS(fsync),           SCMP_SYS(fdatasync),
    SCMP_SYS(close),        SCMP_SYS(sendmsg),         SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),       SCMP_SYS(recvfrom),        SCMP_SYS(poll),
    SCMP_SYS(ppoll),        SCMP_SYS(epoll_wait),      SCMP_SYS(epoll_pwait),
    SCMP_SYS(brk),          SCMP_SYS(munmap),          SCMP_SYS(mremap),
    SCMP_SYS(madvise),      SCMP_SYS(futex),           SCMP_SYS(sched_yield),
    SCMP_SYS(getrandom),    SCMP_SYS(clock_gettime),   SCMP_SYS(gettimeofday),
    SCMP_SYS(time),         SCMP_SYS(getpid),          SCMP_SYS(gettid),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),  SCMP_SYS(rt_sigaction),
    SCMP_SYS(exit),         SCMP_SYS(restart_syscall), SCMP_SYS(exit_group),
};

#ifdef SANITIZED
/* What AddressSanitizer does besides: a signal stack of its own, and a look at whether its report
 * goes to a terminal. The report says what and where, and ends, with the process, where symbols
 * would be looked up in files. */
static void add_sanitizer_calls(struct filter *f)
{
    leak_check_is_off = 1;
    add_all(f, SCMP_ACT_ALLOW, (const int[]){SCMP_SYS(sigaltstack)}, 1);
    add_where(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), SCMP_A1_32(SCMP_CMP_EQ, TCGETS));
}
#endif

enum err sandbox_compute_only(void)
{
    struct filter f = {.ctx = seccomp_init(SCMP_ACT_KILL_PROCESS)};
    if (f.ctx == NULL)
        return ERR_NO_MEMORY;
    add_all(&f, SCMP_ACT_ALLOW, compute_calls, ARRAY_LEN(compute_calls));
    /* memory, but no new code */
    add_where(&f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    add_where(&f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* abort(): a signal to itself */
    add_where(&f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)getpid()));
    /* how glibc spells fstat() */
    add_where(&f, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat),
              SCMP_A3_32(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
#ifdef SANITIZED
    add_sanitizer_calls(&f);
#endif
    return load(&f);
}

/* A server has no use for these; whoever took it over would. */
static const int server_killers[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
#ifndef SANITIZED /* the leak checker traces at exit */
    SCMP_SYS(ptrace),
#endif
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
};

enum err sandbox_server(void)
{
    struct filter f = {.ctx = seccomp_init(SCMP_ACT_ALLOW)};
    if (f.ctx == NULL)
        return ERR_NO_MEMORY;
    add_all(&f, SCMP_ACT_KILL_PROCESS, server_killers, ARRAY_LEN(server_killers));
    add_where(&f, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone),
              SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    /* its flags lie in memory, where no filter sees them: the C library falls back to clone() */
    static const int unfiltered[] = {SCMP_SYS(clone3), SCMP_SYS(io_uring_setup)};
    add_all(&f, SCMP_ACT_ERRNO(ENOSYS), unfiltered, ARRAY_LEN(unfiltered));
    return load(&f);
}
