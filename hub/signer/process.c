#include "hub/signer/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/ipc.h"
#include "base/sandbox.h"
#include "hub/signer/handlers.h"
#include "hub/signer/requests.h"
#include "pki/public_key.h"

#define SECURE_HEAP       (64 * 1024) /* bytes of locked memory for private numbers */
#define SECURE_HEAP_PIECE 32
#define MESSAGES_IN_TURN  16 /* from one link before the next one's turn: keeps loops apart */

static enum err fail(enum err err, char explain[256], const char *what)
{
    (void)snprintf(explain, 256, "the signer can't %s: %s", what, err_text(err));
    return err;
}

/* The hub tells it to end by closing its links. Signals to the whole group (Ctrl-C, a service
 * manager) must not take it away while the hub still finishes what it has begun. */
static void take_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    for (int n = 1; n < SIGRTMIN; n++)
        (void)signal(n, SIG_DFL);
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int compare_fds(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static enum err close_others(const struct signer_sockets *sockets)
{
    int *kept = calloc(sockets->links_len + 1, sizeof *kept);
    if (kept == NULL)
        return ERR_NO_MEMORY;
    kept[0] = sockets->control;
    for (size_t i = 0; i < sockets->links_len; i++)
        kept[i + 1] = sockets->links[i];
    qsort(kept, sockets->links_len + 1, sizeof *kept, compare_fds);
    /* Standard error stays: it is where a library says why it aborts. */
    unsigned next = STDERR_FILENO + 1;
    bool ok = kept[0] > STDERR_FILENO;
    for (size_t i = 0; ok && i <= sockets->links_len; i++) {
        unsigned fd = (unsigned)kept[i];
        if (fd > next)
            ok = ok && close_range(next, fd - 1, 0) == 0;
        next = fd + 1;
    }
    ok = ok && close_range(next, ~0U, 0) == 0;
    free(kept);

    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ok = ok && null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
    if (null > STDERR_FILENO)
        (void)close(null);
    return ok ? ERR_NONE : ERR_IO;
}

static enum err shed_rights(const struct signer_options *options, uid_t uid, gid_t gid,
                            char explain[256])
{
    enum err err = ERR_NONE;
    if (geteuid() == 0) {
        err = sandbox_leave_network();
        /* Root without that capability, in a container: the filter below stands by itself. */
        if (err != ERR_NONE && err != ERR_REFUSED)
            return fail(err, explain, "leave the network");
    }
    if (options->user != NULL) {
        err = sandbox_become(uid, gid);
        if (err != ERR_NONE)
            return fail(err, explain, "become its user");
    }
    (void)umask(077);
    if (chdir("/") != 0)
        return fail(ERR_IO, explain, "leave its folder");
    err = sandbox_harden();
    if (err != ERR_NONE)
        return fail(err, explain, "give up its privileges");
    return ERR_NONE;
}

/* Whatever a library loads at its first use is loaded now: later it could not be. */
static enum err warm_up(struct signer_keys *k, const struct signer_facts *facts)
{
    struct reader chain = reader_over(slice_of(facts->chain, facts->chain_len));
    struct certificate own;
    enum err err = certificate_read(der_read_any(&chain, NULL), &own);
    if (err != ERR_NONE)
        return err;
    EVP_PKEY *key = NULL;
    const char *reason;
    err = public_key_new(&own.spki, &key, &reason);
    EVP_PKEY_free(key);
    if (err != ERR_NONE)
        return err;

    const struct slice name = SLICE_LITERAL("warm-up.invalid");
    int64_t now = clock_seconds();
    const struct issue_request request = {.profile = ISSUE_SERVER,
                                          .names = &name,
                                          .names_len = 1,
                                          .not_before = now,
                                          .not_after = now + 1,
                                          .spki = own.spki.der};
    uint8_t made[CERTIFICATE_MAX];
    size_t len;
    err = issue_certificate(k->issuers[AUTHORITY_CURRENT], &request, made, sizeof made, &len);
    mem_wipe(made, sizeof made);
    /* An issuer whose life is over signs nothing more, but the ledger goes on. */
    if (err != ERR_NONE && err != ERR_EXPIRED)
        return err;
    const struct ocsp_answer answer = {.serial_len = 1, .this_update = now, .next_update = now + 1};
    err = ocsp_respond(k->responders[AUTHORITY_CURRENT], &answer, made, sizeof made, &len);
    mem_wipe(made, sizeof made);
    if (err != ERR_NONE && err != ERR_EXPIRED)
        return err;
    struct writer w = writer_over(made, sizeof made);
    writer_text(&w, "warm-up\n");
    err = note_signer_sign(&k->ledger, &w);
    mem_wipe(made, sizeof made);
    return err;
}

enum err signer_process_setup(const struct signer_options *options,
                              const struct signer_sockets *sockets, struct signer_keys *ret_keys,
                              struct signer_facts *ret_facts, char explain[256])
{
    (void)prctl(PR_SET_NAME, "holdfast-signer", 0, 0, 0);
    take_signals();
    enum err err = close_others(sockets);
    if (err != ERR_NONE)
        return fail(err, explain, "close what it does not need");
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (options->user != NULL) {
        err = sandbox_user(options->user, &uid, &gid);
        if (err != ERR_NONE)
            return fail(err, explain, "find its user");
    }
    /* Works without the lock, too, where the limit for locked memory is low. */
    (void)CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_HEAP_PIECE);

    struct signer_keys keys;
    struct signer_facts facts;
    err = signer_keys_open(options, uid, &keys, &facts, explain);
    if (err != ERR_NONE)
        return err;
    err = shed_rights(options, uid, gid, explain);
    if (err != ERR_NONE)
        goto out;
    err = warm_up(&keys, &facts);
    if (err != ERR_NONE) {
        (void)fail(err, explain, "sign with its keys");
        goto out;
    }
    err = sandbox_compute_only();
    if (err != ERR_NONE)
        (void)fail(err, explain, "enter its sandbox");
out:
    if (err == ERR_NONE) {
        *ret_keys = keys;
        *ret_facts = facts;
    } else {
        signer_keys_close(&keys);
    }
    return err;
}

/* A reply waits here while the hub is slow to take it; until then its link is not read. */
struct link {
    int fd; /* -1: closed by the hub */
    size_t reply_len;
    uint8_t reply[SIGNER_REPLY_MAX];
};

static void close_link(struct link *l)
{
    (void)close(l->fd);
    l->fd = -1;
    l->reply_len = 0;
}

/* False where the reply has to wait, or there is nobody left to take it. */
static bool send_reply(struct link *l)
{
    enum err err = ipc_send(l->fd, slice_of(l->reply, l->reply_len));
    if (err == ERR_BUSY)
        return false;
    l->reply_len = 0;
    if (err == ERR_CLOSED)
        close_link(l);
    return err != ERR_CLOSED;
}

static void serve_link(struct signer_keys *k, struct link *l)
{
    if (l->reply_len > 0 && !send_reply(l))
        return;
    for (unsigned n = 0; n < MESSAGES_IN_TURN; n++) {
        uint8_t message[SIGNER_REQUEST_MAX];
        size_t len = 0;
        enum err err = ipc_receive(l->fd, message, sizeof message, &len);
        if (err == ERR_CLOSED) {
            close_link(l);
            return;
        }
        if (err == ERR_LIMIT) /* longer than any request is, and gone */
            continue;
        if (err != ERR_NONE)
            return;
        struct writer reply = writer_over(l->reply, sizeof l->reply);
        signer_handle(k, slice_of(message, len), &reply);
        l->reply_len = reply.len;
        if (!send_reply(l))
            return;
    }
}

/* Nothing is ever said on the control socket; what is is dropped. */
static bool is_closed(int control)
{
    uint8_t message[1];
    size_t len;
    enum err err = ipc_receive(control, message, sizeof message, &len);
    return err != ERR_NONE && err != ERR_LIMIT && err != ERR_BUSY;
}

/* Until the control socket closes. */
static void serve(struct signer_keys *k, int control, struct link *links, struct pollfd *polls,
                  size_t n)
{
    for (;;) {
        polls[n] = (struct pollfd){.fd = control, .events = POLLIN};
        for (size_t i = 0; i < n; i++)
            polls[i] = (struct pollfd){.fd = links[i].fd,
                                       .events = links[i].reply_len > 0 ? POLLOUT : POLLIN};
        if (poll(polls, n + 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        if (polls[n].revents != 0 && is_closed(control))
            return;
        for (size_t i = 0; i < n; i++)
            if (polls[i].revents != 0)
                serve_link(k, &links[i]);
    }
}

static void report(int control, enum err err, const char *explain, const struct signer_facts *facts)
{
    uint8_t message[IPC_MESSAGE_MAX];
    struct writer w = writer_over(message, sizeof message);
    signer_report_write(&w, err, explain, facts);
    if (w.err != ERR_NONE || ipc_send(control, writer_bytes(&w)) != ERR_NONE)
        _exit(EXIT_FAILURE);
}

void signer_process_run(const struct signer_options *options, const struct signer_sockets *sockets)
{
    struct signer_keys keys;
    struct signer_facts facts;
    char explain[256] = "the signer has no memory";
    size_t n = sockets->links_len;
    struct link *links = calloc(n + 1, sizeof *links);
    struct pollfd *polls = calloc(n + 1, sizeof *polls);
    enum err err = ERR_NO_MEMORY;
    if (links != NULL && polls != NULL)
        err = signer_process_setup(options, sockets, &keys, &facts, explain);
    report(sockets->control, err, explain, &facts);
    if (err != ERR_NONE)
        _exit(EXIT_FAILURE);
    for (size_t i = 0; i < n; i++)
        links[i].fd = sockets->links[i];
    serve(&keys, sockets->control, links, polls, n);
    signer_keys_close(&keys);
    /* No atexit handlers: they are the hub's. */
    _exit(EXIT_SUCCESS);
}
