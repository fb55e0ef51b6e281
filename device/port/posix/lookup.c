#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/port/posix/stream.h"

static size_t take_list(const struct addrinfo *list, union stream_address *addresses)
{
    size_t n = 0;
    for (const struct addrinfo *a = list; a != NULL && n < STREAM_ADDRESSES_MAX; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) ||
            a->ai_addrlen > sizeof addresses[n])
            continue;
        memset(&addresses[n], 0, sizeof addresses[n]);
        memcpy(&addresses[n], a->ai_addr, a->ai_addrlen);
        n++;
    }
    return n;
}

static size_t resolve(const char *host, uint16_t port, int flags, union stream_address *addresses)
{
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list;
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return 0;
    size_t n = take_list(list, addresses);
    freeaddrinfo(list);
    return n;
}

/* Has nothing of its parent's open but the pipe: neither its lock nor what would wake it. */
static _Noreturn void answer(int pipe_fd, const char *host, uint16_t port, pid_t parent)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
    union stream_address addresses[STREAM_ADDRESSES_MAX];
    sigset_t none;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        (void)signal(signals[i], SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(pipe_fd, STDIN_FILENO) < 0 ||
        close_range(STDIN_FILENO + 1, ~0U, 0) != 0)
        _exit(1);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    size_t n = resolve(host, port, 0, addresses) * sizeof addresses[0];
    _exit(n > 0 && write(STDIN_FILENO, addresses, n) == (ssize_t)n ? 0 : 1);
}

enum err lookup_begin(struct lookup *l, const char *host, uint16_t port,
                      union stream_address *addresses, size_t *ret_len)
{
    *l = (struct lookup){.fd = -1};
    size_t n = resolve(host, port, AI_NUMERICHOST, addresses);
    if (n > 0) {
        *ret_len = n;
        return ERR_NONE;
    }
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return ERR_IO;
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before); /* our handlers are not the child's */
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        answer(fds[1], host, port, parent);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(fds[1]);
    if (child < 0) {
        (void)close(fds[0]);
        return ERR_IO;
    }
    *l = (struct lookup){.child = child, .fd = fds[0]};
    return ERR_BUSY;
}

void lookup_end(struct lookup *l)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->child > 0) {
        (void)kill(l->child, SIGKILL);
        while (waitpid(l->child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    *l = (struct lookup){.fd = -1};
}

enum err lookup_take(struct lookup *l, union stream_address *addresses, size_t *ret_len)
{
    union stream_address found[STREAM_ADDRESSES_MAX];
    ssize_t n = read(l->fd, found, sizeof found); /* one write, so whole: it is below PIPE_BUF */
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return ERR_BUSY;
    lookup_end(l);
    if (n <= 0 || (size_t)n % sizeof found[0] != 0)
        return ERR_NOT_FOUND;
    memcpy(addresses, found, (size_t)n);
    *ret_len = (size_t)n / sizeof found[0];
    return ERR_NONE;
}
