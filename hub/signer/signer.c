#include "hub/signer/signer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/ipc.h"
#include "hub/signer/process.h"
#include "hub/signer/requests.h"

#define LINKS_MAX       256   /* two for each of 128 cores */
#define START_TIMEOUT   30000 /* ms; reading keys takes a few, valgrind makes it seconds */
#define STOP_TIMEOUT    5000  /* ms; then it is ended */
#define STOP_PAUSE      5     /* ms between looks */
#define REPLIES_IN_TURN 64    /* before the loop's other work has its turn */

struct signer {
    pid_t pid;
    int control;
    int *fds; /* the hub's ends: the control socket's, then the links'; -1 where a link owns it */
    size_t links_len, links_taken;
};

/* ---- the process ---- */

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

/* `fds` gets n pairs: the hub's ends first, then the signer's. */
static enum err make_pairs(int *fds, size_t n)
{
    for (size_t i = 0; i < 2 * n; i++)
        fds[i] = -1;
    for (size_t i = 0; i < n; i++) {
        int pair[2];
        enum err err = ipc_pair(pair);
        if (err != ERR_NONE) {
            close_all(fds, 2 * n);
            return err;
        }
        fds[i] = pair[0];
        fds[n + i] = pair[1];
    }
    return ERR_NONE;
}

static enum err wait_for_report(int control, struct signer_facts *ret_facts, char explain[256])
{
    uint8_t message[IPC_MESSAGE_MAX];
    size_t len = 0;
    enum err err = ipc_wait(control, START_TIMEOUT);
    if (err == ERR_NONE)
        err = ipc_receive(control, message, sizeof message, &len);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "the signer did not start: %s", err_text(err));
        return err;
    }
    return signer_report_read(slice_of(message, len), ret_facts, explain);
}

/* It ends by itself when its control socket closes. */
static void wait_for_end(pid_t pid)
{
    const struct timespec pause = {.tv_nsec = STOP_PAUSE * 1000000L};
    for (int waited = 0; waited < STOP_TIMEOUT; waited += STOP_PAUSE) {
        pid_t ended = waitpid(pid, NULL, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR))
            return;
        (void)nanosleep(&pause, NULL);
    }
    /* A hub that has changed its user may not do that; its own end will. */
    if (kill(pid, SIGKILL) != 0)
        return;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

enum err signer_start(const struct signer_options *options, struct signer **ret_signer,
                      struct signer_facts *ret_facts, char explain[256])
{
    size_t n = options->links + 1; /* the control socket is pair 0 */
    if (options->links > LINKS_MAX) {
        (void)snprintf(explain, 256, "the signer serves at most %d loops", LINKS_MAX);
        return ERR_LIMIT;
    }
    struct signer *s = calloc(1, sizeof *s);
    int *fds = calloc(2 * n, sizeof *fds);
    enum err err = ERR_NO_MEMORY;
    if (s != NULL && fds != NULL)
        err = make_pairs(fds, n);
    if (err != ERR_NONE) {
        (void)snprintf(explain, 256, "the signer has no sockets: %s", err_text(err));
        goto out;
    }
    pid_t pid = fork();
    if (pid == 0) {
        const struct signer_sockets sockets = {
            .control = fds[n], .links = fds + n + 1, .links_len = options->links};
        signer_process_run(options, &sockets);
    }
    close_all(fds + n, n);
    if (pid < 0) {
        err = ERR_IO;
        (void)snprintf(explain, 256, "the signer can't be forked: %s", err_text(err));
    } else {
        err = wait_for_report(fds[0], ret_facts, explain);
    }
    if (err != ERR_NONE) {
        close_all(fds, n);
        if (pid > 0)
            wait_for_end(pid);
        goto out;
    }
    ret_facts->pid = pid;
    *s = (struct signer){.pid = pid, .control = fds[0], .fds = fds, .links_len = options->links};
    *ret_signer = s;
    return ERR_NONE;
out:
    free(fds);
    free(s);
    return err;
}

void signer_stop(struct signer *s)
{
    if (s == NULL)
        return;
    close_all(s->fds, s->links_len + 1);
    wait_for_end(s->pid);
    free(s->fds);
    free(s);
}

int signer_death_fd(const struct signer *s)
{
    return s->control;
}

/* ---- links ---- */

/* A request that was made and has no reply yet. Its id is its generation and its place. */
struct slot {
    uint32_t id; /* 0: free */
    uint8_t kind;
    union {
        signer_certificate_fn *certificate;
        signer_note_fn *note;
        signer_crl_fn *crl;
        signer_ocsp_fn *ocsp;
    } done;
    void *ctx;
    uint8_t *message; /* malloc'd, where the socket was full */
    size_t message_len;
    size_t next; /* in the list of free ones, or in the queue */
};

#define NO_SLOT SIZE_MAX

struct signer_link {
    int fd;
    bool closed;
    struct event *readable, *writable;
    size_t free_first;
    size_t queue_first, queue_last; /* not sent yet */
    uint32_t generation;
    struct slot slots[SIGNER_IN_FLIGHT_MAX];
};

static void call(uint8_t kind, const struct slot *slot, enum err err, struct slice body)
{
    if (kind == SIGNER_ISSUE)
        slot->done.certificate(slot->ctx, err, body);
    else if (kind == SIGNER_OCSP)
        slot->done.ocsp(slot->ctx, err, body);
    else if (kind == SIGNER_CHECKPOINT || kind == SIGNER_RULES)
        slot->done.note(slot->ctx, err, body);
    else
        slot->done.crl(slot->ctx, err, body);
}

static struct slot *take_slot(struct signer_link *l)
{
    if (l->free_first == NO_SLOT)
        return NULL;
    size_t place = l->free_first;
    struct slot *slot = &l->slots[place];
    l->free_first = slot->next;
    if (++l->generation > UINT32_MAX / SIGNER_IN_FLIGHT_MAX - 1)
        l->generation = 1;
    slot->id = l->generation * SIGNER_IN_FLIGHT_MAX + (uint32_t)place;
    slot->message = NULL;
    slot->next = NO_SLOT;
    return slot;
}

/* Gives back what it was, for the callback: that may ask for the next thing at once. */
static struct slot free_slot(struct signer_link *l, struct slot *slot)
{
    struct slot was = *slot;
    free(slot->message);
    *slot = (struct slot){.next = l->free_first};
    l->free_first = (size_t)(slot - l->slots);
    return was;
}

/* The signer is gone: everything that waits hears of it. */
static void close_link(struct signer_link *l)
{
    if (l->closed)
        return;
    l->closed = true;
    (void)event_del(l->readable);
    (void)event_del(l->writable);
    l->queue_first = l->queue_last = NO_SLOT;
    for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++) {
        if (l->slots[i].id == 0)
            continue;
        struct slot was = free_slot(l, &l->slots[i]);
        call(was.kind, &was, ERR_CLOSED, slice_of(NULL, 0));
    }
}

static void take_reply(struct signer_link *l, struct slice message)
{
    struct signer_reply reply;
    if (signer_reply_read(message, &reply) != ERR_NONE)
        return;
    struct slot *slot = &l->slots[reply.id % SIGNER_IN_FLIGHT_MAX];
    if (slot->id != reply.id || reply.id == 0 || slot->kind != reply.kind)
        return;
    struct slot was = free_slot(l, slot);
    call(was.kind, &was, reply.err, reply.body);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct signer_link *l = arg;
    (void)what;
    for (unsigned n = 0; n < REPLIES_IN_TURN; n++) {
        uint8_t message[SIGNER_REPLY_MAX];
        size_t len = 0;
        enum err err = ipc_receive(fd, message, sizeof message, &len);
        if (err == ERR_BUSY)
            return;
        if (err != ERR_NONE) {
            close_link(l);
            return;
        }
        take_reply(l, slice_of(message, len));
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct signer_link *l = arg;
    (void)what;
    while (l->queue_first != NO_SLOT) {
        struct slot *slot = &l->slots[l->queue_first];
        enum err err = ipc_send(fd, slice_of(slot->message, slot->message_len));
        if (err == ERR_BUSY)
            return;
        if (err != ERR_NONE) {
            close_link(l);
            return;
        }
        free(slot->message);
        slot->message = NULL;
        l->queue_first = slot->next;
    }
    l->queue_last = NO_SLOT;
    (void)event_del(l->writable);
}

static enum err queue(struct signer_link *l, struct slot *slot, struct slice message)
{
    slot->message = malloc(message.len);
    if (slot->message == NULL)
        return ERR_NO_MEMORY;
    memcpy(slot->message, message.data, message.len);
    slot->message_len = message.len;
    size_t place = (size_t)(slot - l->slots);
    if (l->queue_first != NO_SLOT) {
        l->slots[l->queue_last].next = place;
    } else {
        if (event_add(l->writable, NULL) != 0)
            return ERR_NO_MEMORY;
        l->queue_first = place;
    }
    l->queue_last = place;
    return ERR_NONE;
}

static enum err send_or_queue(struct signer_link *l, struct slot *slot, struct slice message)
{
    enum err err = ERR_BUSY;
    if (l->queue_first == NO_SLOT)
        err = ipc_send(l->fd, message);
    return err == ERR_BUSY ? queue(l, slot, message) : err;
}

/* Sends head and body as one message, and remembers who waits for the reply. */
static enum err submit(struct signer_link *l, const struct slot *waiting, const struct writer *body)
{
    if (body->err != ERR_NONE)
        return body->err;
    if (l->closed)
        return ERR_CLOSED;
    struct slot *slot = take_slot(l);
    if (slot == NULL)
        return ERR_BUSY;
    slot->kind = waiting->kind;
    slot->done = waiting->done;
    slot->ctx = waiting->ctx;
    uint8_t message[SIGNER_REQUEST_MAX];
    struct writer w = writer_over(message, sizeof message);
    signer_head_write(&w, slot->id, (enum signer_request_kind)slot->kind);
    writer_put(&w, writer_bytes(body));
    enum err err = w.err != ERR_NONE ? w.err : send_or_queue(l, slot, writer_bytes(&w));
    if (err != ERR_NONE)
        (void)free_slot(l, slot);
    return err;
}

void signer_issue(struct signer_link *l, const struct certificate_request *request,
                  signer_certificate_fn *done, void *ctx)
{
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer body = writer_over(bytes, sizeof bytes);
    signer_issue_write(&body, request);
    const struct slot waiting = {.kind = SIGNER_ISSUE, .done.certificate = done, .ctx = ctx};
    enum err err = submit(l, &waiting, &body);
    if (err != ERR_NONE)
        done(ctx, err, slice_of(NULL, 0));
}

void signer_sign_checkpoint(struct signer_link *l, const struct checkpoint_request *request,
                            signer_note_fn *done, void *ctx)
{
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer body = writer_over(bytes, sizeof bytes);
    signer_checkpoint_write(&body, request);
    const struct slot waiting = {.kind = SIGNER_CHECKPOINT, .done.note = done, .ctx = ctx};
    enum err err = submit(l, &waiting, &body);
    if (err != ERR_NONE)
        done(ctx, err, slice_of(NULL, 0));
}

void signer_sign_rules(struct signer_link *l, const struct rules_request *request,
                       signer_note_fn *done, void *ctx)
{
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer body = writer_over(bytes, sizeof bytes);
    signer_rules_write(&body, request);
    const struct slot waiting = {.kind = SIGNER_RULES, .done.note = done, .ctx = ctx};
    enum err err = submit(l, &waiting, &body);
    if (err != ERR_NONE)
        done(ctx, err, slice_of(NULL, 0));
}

void signer_ocsp(struct signer_link *l, const struct ocsp_answer *answer, signer_ocsp_fn *done,
                 void *ctx)
{
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer body = writer_over(bytes, sizeof bytes);
    signer_ocsp_write(&body, answer);
    const struct slot waiting = {.kind = SIGNER_OCSP, .done.ocsp = done, .ctx = ctx};
    enum err err = submit(l, &waiting, &body);
    if (err != ERR_NONE)
        done(ctx, err, slice_of(NULL, 0));
}

static void submit_crl(struct signer_link *l, enum signer_request_kind kind, struct writer *body,
                       signer_crl_fn *done, void *ctx)
{
    const struct slot waiting = {.kind = (uint8_t)kind, .done.crl = done, .ctx = ctx};
    enum err err = submit(l, &waiting, body);
    if (err != ERR_NONE)
        done(ctx, err, slice_of(NULL, 0));
}

void signer_crl_begin(struct signer_link *l, const struct crl_request *request, signer_crl_fn *done,
                      void *ctx)
{
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer body = writer_over(bytes, sizeof bytes);
    signer_crl_begin_write(&body, request);
    submit_crl(l, SIGNER_CRL_BEGIN, &body, done, ctx);
}

void signer_crl_add(struct signer_link *l, const struct crl_entry *entries, size_t n,
                    signer_crl_fn *done, void *ctx)
{
    uint8_t bytes[SIGNER_REQUEST_MAX];
    struct writer body = writer_over(bytes, sizeof bytes);
    signer_crl_add_write(&body, entries, n);
    submit_crl(l, SIGNER_CRL_ADD, &body, done, ctx);
}

void signer_crl_finish(struct signer_link *l, signer_crl_fn *done, void *ctx)
{
    uint8_t byte;
    struct writer body = writer_over(&byte, 0);
    submit_crl(l, SIGNER_CRL_FINISH, &body, done, ctx);
}

enum err signer_link_new(struct signer *s, struct loop *loop, struct signer_link **ret_link)
{
    if (s->links_taken == s->links_len)
        return ERR_LIMIT;
    struct signer_link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NO_MEMORY;
    int *fd = &s->fds[1 + s->links_taken];
    struct event_base *base = loop_event_base(loop);
    l->readable = event_new(base, *fd, EV_READ | EV_PERSIST, on_readable, l);
    l->writable = event_new(base, *fd, EV_WRITE | EV_PERSIST, on_writable, l);
    if (l->readable == NULL || l->writable == NULL || event_add(l->readable, NULL) != 0) {
        if (l->readable != NULL)
            event_free(l->readable);
        if (l->writable != NULL)
            event_free(l->writable);
        free(l);
        return ERR_NO_MEMORY;
    }
    l->queue_first = l->queue_last = NO_SLOT;
    for (size_t i = 0; i < SIGNER_IN_FLIGHT_MAX; i++)
        l->slots[i].next = i + 1 < SIGNER_IN_FLIGHT_MAX ? i + 1 : NO_SLOT;
    l->fd = *fd;
    *fd = -1;
    s->links_taken++;
    *ret_link = l;
    return ERR_NONE;
}

void signer_link_free(struct signer_link *l)
{
    if (l == NULL)
        return;
    close_link(l);
    event_free(l->readable);
    event_free(l->writable);
    (void)close(l->fd);
    free(l);
}
