#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/ipc.h"
#include "base/sandbox.h"
#include "hub/signer/process.h"
#include "hub/signer/requests.h"
#include "tests/unit/signer_fixture.h"

#define HUB_USER "daemon"

static void outlives_signals_to_the_group(void **state)
{
    struct fixture *f = *state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    struct answer a;
    start(f, 1);
    struct certificate_request request = device_request(f);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        assert_int_equal(kill(f->facts.pid, signals[i]), 0);
        assert_int_equal(issue(f, &request, &a), ERR_NONE);
    }
}

static bool is_gone(pid_t pid)
{
    for (int i = 0; i < 500; i++) {
        if (kill(pid, 0) != 0 && errno == ESRCH)
            return true;
        (void)poll(NULL, 0, 10);
    }
    return false;
}

static void ends_with_its_hub(void **state)
{
    struct fixture *f = *state;
    start(f, 1);
    pid_t pid = f->facts.pid;
    stop(f);
    assert_true(is_gone(pid));

    /* a hub that is killed */
    int said[2];
    assert_int_equal(pipe(said), 0);
    pid_t hub = fork();
    if (hub == 0) {
        struct signer *s;
        struct signer_facts facts;
        char explain[256];
        if (signer_start(&f->options, &s, &facts, explain) != ERR_NONE ||
            write(said[1], &facts.pid, sizeof facts.pid) != sizeof facts.pid)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(said[0], &pid, sizeof pid), sizeof pid);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(kill(hub, SIGKILL), 0);
    assert_int_equal(waitpid(hub, NULL, 0), hub);
    assert_true(is_gone(pid));
    close(said[0]);
    close(said[1]);
}

/* ---- what it is told by a hub that was taken over ---- */

static size_t valid_request(const struct fixture *f, uint32_t id, uint8_t *message)
{
    struct writer w = writer_over(message, SIGNER_REQUEST_MAX);
    struct certificate_request request = device_request(f);
    signer_head_write(&w, id, SIGNER_ISSUE);
    signer_issue_write(&w, &request);
    assert_int_equal(w.err, ERR_NONE);
    return w.len;
}

static void lives_through_garbage(void **state)
{
    struct fixture *f = *state;
    int control[2], link[2];
    assert_int_equal(ipc_pair(control), ERR_NONE);
    assert_int_equal(ipc_pair(link), ERR_NONE);
    pid_t pid = fork();
    if (pid == 0) {
        const struct signer_sockets sockets = {
            .control = control[1], .links = &link[1], .links_len = 1};
        signer_process_run(&f->options, &sockets);
    }
    close(control[1]);
    close(link[1]);
    uint8_t message[IPC_MESSAGE_MAX], reply[IPC_MESSAGE_MAX];
    size_t len;
    assert_int_equal(ipc_wait(control[0], 30000), ERR_NONE);
    assert_int_equal(ipc_receive(control[0], reply, sizeof reply, &len), ERR_NONE);
    char explain[256] = "";
    assert_int_equal(signer_report_read(slice_of(reply, len), &f->facts, explain), ERR_NONE);
    assert_int_equal(ipc_send(control[0], SLICE_LITERAL("nobody talks here")), ERR_NONE);

    unsigned seed = 4711;
    size_t replies = 0, well_formed = 0;
    for (unsigned n = 0; n < 4000; n++) {
        size_t valid = valid_request(f, n, message);
        if (n % 4 == 0) { /* noise, sometimes longer than any request is */
            valid = 1 + (size_t)rand_r(&seed) % (n % 400 == 0 ? sizeof message : 200);
            for (size_t i = 0; i < valid; i++)
                message[i] = (uint8_t)rand_r(&seed);
        } else if (n % 4 == 1) { /* cut short */
            valid = 1 + (size_t)rand_r(&seed) % (valid - 1);
        } else if (n % 4 == 2) { /* a byte changed */
            message[(size_t)rand_r(&seed) % valid] ^= (uint8_t)(1 + rand_r(&seed) % 255);
        } else { /* bytes added */
            message[valid++] = 0;
        }
        assert_int_equal(ipc_send(link[0], slice_of(message, valid)), ERR_NONE);
        /* too long a message gets no reply; all others do */
        if (valid > SIGNER_REQUEST_MAX)
            continue;
        struct signer_reply read;
        assert_int_equal(ipc_wait(link[0], 10000), ERR_NONE);
        assert_int_equal(ipc_receive(link[0], reply, sizeof reply, &len), ERR_NONE);
        assert_int_equal(signer_reply_read(slice_of(reply, len), &read), ERR_NONE);
        replies++;
        well_formed += read.err == ERR_NONE;
        if (n % 4 != 2)
            assert_int_not_equal(read.err, ERR_NONE);
    }
    assert_in_range(replies, 3900, 4000);
    assert_in_range(well_formed, 0, 1000); /* a changed letter in a name is another name */
    /* and goes on */
    len = valid_request(f, 99, message);
    assert_int_equal(ipc_send(link[0], slice_of(message, len)), ERR_NONE);
    struct signer_reply read;
    assert_int_equal(ipc_wait(link[0], 10000), ERR_NONE);
    assert_int_equal(ipc_receive(link[0], reply, sizeof reply, &len), ERR_NONE);
    assert_int_equal(signer_reply_read(slice_of(reply, len), &read), ERR_NONE);
    assert_int_equal(read.id, 99);
    assert_int_equal(read.err, ERR_NONE);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    /* one link less does not end it; its control socket does */
    close(link[0]);
    (void)poll(NULL, 0, 50);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    close(control[0]);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void messages_read_as_written(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[IPC_MESSAGE_MAX];
    struct writer w = writer_over(bytes, sizeof bytes);
    struct certificate_request request = server_request(f), read;
    signer_issue_write(&w, &request);
    assert_int_equal(w.err, ERR_NONE);
    assert_int_equal(signer_issue_read(writer_bytes(&w), &read), ERR_NONE);
    assert_memory_equal(read.names, request.names, sizeof read.names);
    assert_true(slice_equal(read.spki, request.spki));
    assert_int_equal(read.not_after, request.not_after);

    /* the largest request fits */
    w = writer_over(bytes, SIGNER_REQUEST_MAX);
    uint8_t spki[SPKI_MAX] = {0};
    request.names_len = SERVER_NAMES_MAX;
    for (size_t i = 0; i < SERVER_NAMES_MAX; i++)
        memset(request.names[i], 'n', sizeof request.names[i] - 1);
    memset(request.tenant, 't', 64);
    memset(request.device, 'd', 64);
    request.spki = slice_of(spki, sizeof spki);
    signer_head_write(&w, UINT32_MAX, SIGNER_ISSUE);
    signer_issue_write(&w, &request);
    assert_int_equal(w.err, ERR_NONE);

    /* reports */
    struct signer_facts facts = {.issuing_not_after = 17,
                                 .chain_len = sizeof facts.chain,
                                 .previous = {1, 2},
                                 .previous_len = sizeof facts.previous,
                                 .previous_signs = true};
    struct signer_facts got;
    char explain[256] = "";
    uint8_t key[ED25519_KEY_SIZE] = {9};
    assert_int_equal(
        note_key_init(&facts.ledger_key, crypto_sha256, SLICE_LITERAL("a/ledger"), key), ERR_NONE);
    key[0] = 10;
    assert_int_equal(
        note_key_init(&facts.policy_key, crypto_sha256, SLICE_LITERAL("a/policy"), key), ERR_NONE);
    facts.rules_version = 7;
    w = writer_over(bytes, sizeof bytes);
    signer_report_write(&w, ERR_NONE, NULL, &facts);
    assert_int_equal(signer_report_read(writer_bytes(&w), &got, explain), ERR_NONE);
    assert_memory_equal(&got, &facts, sizeof got);
    w = writer_over(bytes, sizeof bytes);
    signer_report_write(&w, ERR_EXPIRED, "too late", NULL);
    assert_int_equal(signer_report_read(writer_bytes(&w), &got, explain), ERR_EXPIRED);
    assert_string_equal(explain, "too late");
    assert_int_equal(signer_report_read(SLICE_LITERAL("\xff"), &got, explain), ERR_SYNTAX);
    assert_int_equal(signer_report_read(SLICE_LITERAL("\0"), &got, explain), ERR_SYNTAX);

    struct signer_reply reply;
    assert_int_equal(signer_reply_read(SLICE_LITERAL("\0\0\0\1\1\0"), &reply), ERR_SYNTAX);
    assert_int_equal(signer_reply_read(SLICE_LITERAL("\0\0\0\1\1\1x"), &reply), ERR_SYNTAX);
    assert_int_equal(signer_reply_read(SLICE_LITERAL("\0\0\0\1\1\x7f"), &reply), ERR_SYNTAX);
    assert_int_equal(signer_reply_read(SLICE_LITERAL("\0\0\0\1\1\0x"), &reply), ERR_NONE);
}

/* ---- what it has given up ---- */

/* Runs what the signer runs up to its first request, then `act`. */
static int status_after(const struct fixture *f, void (*act)(void))
{
    int control[2];
    assert_int_equal(ipc_pair(control), ERR_NONE);
    pid_t pid = fork();
    if (pid == 0) {
        struct signer_keys keys;
        struct signer_facts facts;
        char explain[256];
        const struct signer_sockets sockets = {.control = control[1]};
        if (signer_process_setup(&f->options, &sockets, &keys, &facts, explain) != ERR_NONE)
            _exit(99);
        act();
        _exit(0);
    }
    close(control[1]);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(control[0]);
    return status;
}

static void do_nothing(void)
{
}

static void do_socket(void)
{
    (void)!socket(AF_INET, SOCK_STREAM, 0);
}

static void do_unix_socket(void)
{
    (void)!socket(AF_UNIX, SOCK_STREAM, 0);
}

static void do_open(void)
{
    (void)!open("/etc/passwd", O_RDONLY);
}

static void do_exec(void)
{
    char *const args[] = {(char *)"true", NULL};
    (void)execv("/bin/true", args);
}

static void do_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static void do_ptrace(void)
{
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void do_kill(void)
{
    (void)kill(getppid(), 0);
}

static void is_killed_for_what_it_need_not_do(void **state)
{
    const struct fixture *f = *state;
    static const struct {
        const char *name;
        void (*act)(void);
    } cases[] = {{"socket", do_socket}, {"socket(AF_UNIX)", do_unix_socket},
                 {"open", do_open},     {"execve", do_exec},
                 {"fork", do_fork},     {"ptrace", do_ptrace},
                 {"kill", do_kill}};
    int status = status_after(f, do_nothing);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        status = status_after(f, cases[i].act);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("%s: status %x", cases[i].name, (unsigned)status);
    }
}

static void read_proc(pid_t pid, const char *name, char text[4096])
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, 4095);
    assert_true(n > 0);
    text[n] = '\0';
    close(fd);
}

static void shows_that_it_is_confined(void **state)
{
    struct fixture *f = *state;
    start(f, 3);
    char text[4096];
    read_proc(f->facts.pid, "status", text);
    assert_non_null(strstr(text, "\nSeccomp:\t2\n"));
    assert_non_null(strstr(text, "\nNoNewPrivs:\t1\n"));
    assert_non_null(strstr(text, "Name:\tholdfast-signer\n"));
    if (!is_root()) {
        print_message("SKIPPED: not root, so the signer has no user of its own\n");
        return;
    }
    uid_t uid;
    gid_t gid;
    char line[128];
    assert_int_equal(sandbox_user(SIGNER_USER, &uid, &gid), ERR_NONE);
    (void)snprintf(line, sizeof line, "\nUid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
    assert_non_null(strstr(text, line));
    (void)snprintf(line, sizeof line, "\nGid:\t%u\t%u\t%u\t%u\n", gid, gid, gid, gid);
    assert_non_null(strstr(text, line));
    assert_non_null(strstr(text, "\nCapPrm:\t0000000000000000\n"));
    assert_non_null(strstr(text, "\nCapEff:\t0000000000000000\n"));
    assert_true(strstr(text, "\nGroups:\t\n") != NULL || strstr(text, "\nGroups:\t \n") != NULL);
    /* three standard ones, control, three links, ledger.state, policy.state */
    unsigned open_fds = 0;
    for (int fd = 0; fd < 256; fd++) {
        char path[64], target[256];
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)f->facts.pid, fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        open_fds += n > 0;
    }
    assert_int_equal(open_fds, 9);
}

/* As `user`, or as ourselves: 0 where every way to the keys is shut, else the number of the one
 * that was open. */
static int intrude(const struct fixture *f, const char *user, pid_t signer)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (user != NULL)
        assert_int_equal(sandbox_user(user, &uid, &gid), ERR_NONE);
    pid_t pid = fork();
    if (pid == 0) {
        static const char *const names[] = {"issuing.key", "ledger.key",   "policy.key",
                                            "issuing.pem", "ledger.state", "policy.state"};
        if (user != NULL && sandbox_become(uid, gid) != ERR_NONE)
            _exit(100);
        /* may read its own files and signal its own processes, but not trace this one */
        bool owner = user == NULL || strcmp(user, SIGNER_USER) == 0;
        for (size_t i = 0; !owner && i < ARRAY_LEN(names); i++) {
            char path[PATH_MAX + 32];
            (void)snprintf(path, sizeof path, "%s/%s", f->signer_folder, names[i]);
            if (open(path, O_RDONLY) >= 0 || errno != EACCES)
                _exit(1 + (int)i);
        }
        if (ptrace(PTRACE_ATTACH, signer, NULL, NULL) == 0 || errno != EPERM)
            _exit(10);
        if (ptrace(PTRACE_SEIZE, signer, NULL, NULL) == 0 || errno != EPERM)
            _exit(11);
        char byte;
        struct iovec here = {&byte, 1}, there = {(void *)f, 1};
        if (process_vm_readv(signer, &here, 1, &there, 1, 0) >= 0 || errno != EPERM)
            _exit(12);
        static const char *const proc[] = {"mem", "maps", "environ", "fd/3"};
        for (size_t i = 0; i < ARRAY_LEN(proc); i++) {
            char path[64];
            (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)signer, proc[i]);
            int fd = open(path, O_RDONLY);
            if (fd >= 0 && read(fd, &byte, 1) >= 0)
                _exit(13 + (int)i);
        }
        if (!owner && (kill(signer, SIGKILL) == 0 || errno != EPERM))
            _exit(20);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

static void keeps_others_out(void **state)
{
    struct fixture *f = *state;
    start(f, 1);
    if (!is_root()) {
        assert_int_equal(intrude(f, NULL, f->facts.pid), 0);
        print_message("SKIPPED in part: not root, so there is only one user here\n");
        return;
    }
    struct answer a;
    assert_int_equal(checkpoint(f, 0, 1, 1, &a), ERR_NONE);
    /* the way to the folder is open: it is the folder itself that is shut */
    assert_int_equal(chmod(f->folder, 0755), 0);
    assert_int_equal(intrude(f, HUB_USER, f->facts.pid), 0);
    assert_int_equal(intrude(f, SIGNER_USER, f->facts.pid), 0);
    struct certificate_request request = device_request(f);
    assert_int_equal(issue(f, &request, &a), ERR_NONE);
}

/* ---- what it does not start with ---- */

static void path_of(const struct fixture *f, const char *name, char path[PATH_MAX + 32])
{
    (void)snprintf(path, PATH_MAX + 32, "%s/%s", f->signer_folder, name);
}

static void assert_does_not_start(const struct fixture *f, const char *because)
{
    struct signer *s = NULL;
    struct signer_facts facts;
    char explain[256] = "";
    enum err err = signer_start(&f->options, &s, &facts, explain);
    if (err == ERR_NONE || strstr(explain, because) == NULL)
        fail_msg("%s: '%s' instead of '%s'", err_text(err), explain, because);
    assert_null(s);
}

static void replace(const struct fixture *f, const char *name, struct slice bytes)
{
    char path[PATH_MAX + 32];
    path_of(f, name, path);
    assert_int_equal(file_replace(path, bytes, 0400), ERR_NONE);
}

static void needs_its_files_in_order(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX + 32];
    path_of(f, "issuing.key", path);
    assert_int_equal(chmod(path, 0440), 0);
    assert_does_not_start(f, "open to others");
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(chmod(f->signer_folder, 0750), 0);
    assert_does_not_start(f, "open to others");
    assert_int_equal(chmod(f->signer_folder, 0700), 0);
    if (is_root()) {
        uid_t uid;
        gid_t gid;
        assert_int_equal(sandbox_user(HUB_USER, &uid, &gid), ERR_NONE);
        assert_int_equal(chown(path, uid, gid), 0);
        assert_does_not_start(f, "belongs to user");
        assert_int_equal(chown(path, 0, 0), 0); /* root's is as good as its own */
        start(f, 1);
        stop(f);
    }

    f->options.fleet = "Not A Fleet";
    assert_does_not_start(f, "fleet's name");
    f->options.fleet = FLEET;
    f->options.origin = "a b";
    assert_does_not_start(f, "origin");
    f->options.origin = ORIGIN;
    char long_name[SERVER_NAME_SIZE + 1] = "";
    memset(long_name, 'x', SERVER_NAME_SIZE);
    const char *const unfit[] = {long_name, ""};
    for (size_t i = 0; i < ARRAY_LEN(unfit); i++) {
        f->options.server_names = &unfit[i];
        f->options.server_names_len = 1;
        assert_does_not_start(f, "server's name");
    }
    f->options.server_names_len = SERVER_NAMES_MAX + 1;
    assert_does_not_start(f, "server names");
    f->options.server_names = server_names;
    f->options.server_names_len = ARRAY_LEN(server_names);
    f->options.links = 100000;
    assert_does_not_start(f, "loops");
    f->options.links = 1;
    const char *user = f->options.user;
    f->options.user = "no-such-user";
    assert_does_not_start(f, "user");
    f->options.user = user;

    uint8_t *key, *issuing;
    size_t key_len, issuing_len;
    assert_int_equal(file_read(path, 10000, &key, &key_len), ERR_NONE);
    path_of(f, "issuing.pem", path);
    assert_int_equal(file_read(path, 10000, &issuing, &issuing_len), ERR_NONE);
    uint8_t *ledger;
    size_t ledger_len;
    path_of(f, "ledger.key", path);
    assert_int_equal(file_read(path, 10000, &ledger, &ledger_len), ERR_NONE);
    /* another key than the certificate's; not an Ed25519 key */
    EVP_PKEY *other = NULL;
    assert_int_equal(ca_key_new(KEY_P256, &other), ERR_NONE);
    path_of(f, "other.key", path);
    assert_int_equal(ca_key_write(path, other, 0400), ERR_NONE);
    EVP_PKEY_free(other);
    uint8_t *foreign;
    size_t foreign_len;
    assert_int_equal(file_read(path, 10000, &foreign, &foreign_len), ERR_NONE);
    replace(f, "issuing.key", slice_of(foreign, foreign_len));
    assert_does_not_start(f, "not the key of the certificate");
    replace(f, "issuing.key", slice_of(key, key_len));
    replace(f, "issuing.pem", SLICE_LITERAL("no certificate"));
    assert_does_not_start(f, "issuing.pem");
    replace(f, "issuing.pem", slice_of(issuing, issuing_len));
    /* a chain that is none */
    uint8_t twice[8192];
    memcpy(twice, issuing, issuing_len);
    memcpy(twice + issuing_len, issuing, issuing_len);
    replace(f, "issuing.pem", slice_of(twice, 2 * issuing_len));
    assert_does_not_start(f, "do not follow");
    replace(f, "issuing.pem", slice_of(issuing, issuing_len));
    replace(f, "ledger.key", slice_of(key, key_len));
    assert_does_not_start(f, "Ed25519");
    path_of(f, "ledger.key", path);
    assert_int_equal(unlink(path), 0);
    assert_does_not_start(f, "ledger.key");
    replace(f, "ledger.key", slice_of(ledger, ledger_len));
    path_of(f, "policy.key", path);
    assert_int_equal(unlink(path), 0);
    assert_does_not_start(f, "policy.key");
    file_free_secret(ledger, ledger_len);
    file_free_secret(key, key_len);
    file_free_secret(issuing, issuing_len);
    file_free_secret(foreign, foreign_len);
}

static void does_not_start_with_a_damaged_state(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    start(f, 1);
    assert_int_equal(checkpoint(f, 0, 1, 1, &a), ERR_NONE);
    assert_int_equal(checkpoint(f, 1, 2, 2, &a), ERR_NONE);
    stop(f);
    char path[PATH_MAX + 32];
    path_of(f, "ledger.state", path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 20), 1);
    assert_int_equal(pwrite(fd, "x", 1, 4096 + 20), 1);
    close(fd);
    assert_does_not_start(f, "damaged");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outlives_signals_to_the_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_with_its_hub, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lives_through_garbage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_read_as_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_killed_for_what_it_need_not_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shows_that_it_is_confined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_others_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(needs_its_files_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(does_not_start_with_a_damaged_state, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
