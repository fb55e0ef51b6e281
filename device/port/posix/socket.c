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

enum err posix_socket_wait(struct posix_port *p, int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - posix_monotonic_ms(NULL);
        if (left <= 0)
            return ERR_TIMEOUT;
        /* poll() passes over a descriptor that is negative */
        struct pollfd fds[2] = {{.fd = fd, .events = events},
                                {.fd = p->options.wake_fd, .events = POLLIN}};
        int n = poll(fds, 2, left > INT_MAX ? INT_MAX : (int)left);
        if (n < 0 && errno != EINTR)
            return ERR_IO;
        if (n <= 0)
            continue;
        if (fds[1].revents != 0)
            return ERR_CLOSED;
        return ERR_NONE; /* an error of the socket shows at the next call on it */
    }
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
