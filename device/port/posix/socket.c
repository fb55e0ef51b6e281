/* TCP connections that never block for longer than they may. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device/port/posix/internal.h"

volatile sig_atomic_t posix_resolving;

/* One wait for `fd` (negative: for none) and for what is aside, which is served. ERR_BUSY: nothing
 * of ours happened yet. */
static enum err wait_once(struct posix_port *p, int fd, short events, int64_t deadline_ms,
                          const sigset_t *mask)
{
    const struct posix_aside *aside = p->options.aside;
    int64_t now = posix_monotonic_ms(NULL), until = deadline_ms, at = INT64_MAX;
    if (deadline_ms <= now)
        return ERR_TIMEOUT;
    /* poll() passes over a descriptor that is negative */
    struct pollfd fds[2 + POSIX_ASIDE_MAX] = {{.fd = fd, .events = events},
                                              {.fd = p->options.wake_fd, .events = POLLIN}};
    size_t n = 2;
    if (aside != NULL)
        n += aside->prepare(aside->ctx, fds + n, &at);
    until = at < until ? at : until;
    int64_t ms = until > now ? until - now : 0;
    ms = ms > INT_MAX ? INT_MAX : ms;
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int ready = ppoll(fds, n, &time, mask);
    if (ready < 0)
        return errno == EINTR && mask != NULL ? ERR_CONFLICT : errno == EINTR ? ERR_BUSY : ERR_IO;
    int ours = (fds[0].revents != 0) + (fds[1].revents != 0);
    if (aside != NULL && (ready > ours || posix_monotonic_ms(NULL) >= at))
        aside->serve(aside->ctx);
    if (fds[1].revents != 0)
        return ERR_CLOSED;
    return fds[0].revents != 0 ? ERR_NONE : ERR_BUSY;
}

/* An error of the socket shows at the next call on it. */
enum err posix_socket_wait(struct posix_port *p, int fd, short events, int64_t deadline_ms)
{
    enum err err;
    do
        err = wait_once(p, fd, events, deadline_ms, NULL);
    while (err == ERR_BUSY);
    return err;
}

enum err posix_rest(struct posix_port *p, int64_t until_ms, const sigset_t *mask)
{
    enum err err;
    do
        err = wait_once(p, -1, 0, until_ms, mask);
    while (err == ERR_BUSY);
    return err == ERR_CONFLICT ? ERR_BUSY : err;
}

static enum err resolve(const char *host, uint16_t port, struct addrinfo **ret_list)
{
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    /* Without a name to look up, the resolver's machinery need not even be loaded. */
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(host, service, &hints, ret_list) == 0)
        return ERR_NONE;
    hints.ai_flags = AI_NUMERICSERV;
    posix_resolving = 1;
    int result = getaddrinfo(host, service, &hints, ret_list);
    posix_resolving = 0;
    return result == 0 ? ERR_NONE : result == EAI_MEMORY ? ERR_NO_MEMORY : ERR_NOT_FOUND;
}

static enum err connect_to(struct posix_port *p, const struct addrinfo *a, int64_t deadline_ms,
                           int *ret_fd)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return ERR_IO;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    enum err err = ERR_NONE;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        int failure = errno;
        socklen_t len = sizeof failure;
        err = failure == EINPROGRESS ? posix_socket_wait(p, fd, POLLOUT, deadline_ms) : ERR_IO;
        if (err == ERR_NONE &&
            (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0 || failure != 0))
            err = ERR_IO;
    }
    if (err != ERR_NONE) {
        (void)close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERR_NONE;
}

/* Each address gets its share of the time that is left, so that one that swallows packets does not
 * keep us from the others. */
enum err posix_socket_connect(struct posix_port *p, const char *host, uint16_t port,
                              int64_t deadline_ms, int *ret_fd)
{
    struct addrinfo *list;
    enum err err = resolve(host, port, &list);
    if (err != ERR_NONE)
        return err;
    int64_t left = 0;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
        left++;
    err = ERR_NOT_FOUND;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next, left--) {
        int64_t now = posix_monotonic_ms(NULL);
        err = connect_to(p, a, now + (deadline_ms - now) / left, ret_fd);
        if (err == ERR_NONE || err == ERR_CLOSED)
            break;
    }
    freeaddrinfo(list);
    return err;
}
