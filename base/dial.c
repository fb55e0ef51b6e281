#include "base/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"

enum err dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd)
{
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (left <= 0)
            return ERR_TIMEOUT;
        struct pollfd p[] = {{.fd = fd, .events = events}, {.fd = cancel_fd, .events = POLLIN}};
        nfds_t n = cancel_fd > 0 ? 2 : 1;
        if (poll(p, n, left > INT_MAX ? INT_MAX : (int)left) <= 0)
            continue;
        return p[1].revents != 0 ? ERR_CLOSED : ERR_NONE;
    }
}

/* SO_SNDTIMEO bounds connect() on Unix sockets, which poll() would not where the backlog is full.
 */
static bool connect_unix(int fd, const struct sockaddr *to, socklen_t size, int64_t left_ms)
{
    struct timeval patience = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
    bool ok = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
              connect(fd, to, size) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    if (!ok && (errno == EAGAIN || errno == EINPROGRESS))
        errno = ETIMEDOUT;
    return ok;
}

static bool connect_tcp(int fd, const struct sockaddr *to, socklen_t size, int64_t deadline_ms,
                        int cancel_fd)
{
    int on = 1, fault = 0;
    socklen_t fault_size = sizeof fault;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        return false;
    if (connect(fd, to, size) == 0)
        return true;
    if (errno != EINPROGRESS)
        return false;
    enum err err = dial_wait(fd, POLLOUT, deadline_ms, cancel_fd);
    if (err != ERR_NONE)
        errno = err == ERR_TIMEOUT ? ETIMEDOUT : ECANCELED;
    else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &fault_size) == 0)
        errno = fault;
    return err == ERR_NONE && errno == 0;
}

int dial(const struct sockaddr *to, socklen_t size, int64_t deadline_ms, int cancel_fd)
{
    int64_t left_ms = deadline_ms - clock_monotonic_ms();
    if (left_ms <= 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (to->sa_family == AF_UNIX ? connect_unix(fd, to, size, left_ms)
                                 : connect_tcp(fd, to, size, deadline_ms, cancel_fd))
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

int dial_host(const char *host, const char *port, int64_t deadline_ms, int cancel_fd,
              const char **ret_fault)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int failed = getaddrinfo(host, port, &hints, &addresses), fd = -1;
    if (failed != 0) {
        *ret_fault = gai_strerror(failed);
        errno = 0;
        return -1;
    }
    for (const struct addrinfo *a = addresses; a != NULL && fd < 0; a = a->ai_next)
        fd = dial(a->ai_addr, a->ai_addrlen, deadline_ms, cancel_fd);
    int saved = errno;
    freeaddrinfo(addresses);
    if (fd < 0)
        *ret_fault = strerror(saved);
    errno = saved;
    return fd;
}
