#include "base/ipc.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"

enum err ipc_pair(int ret_fds[2])
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return ERR_IO;
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return ERR_NONE;
}

static enum err err_from_errno(void)
{
    switch (errno) {
    case EAGAIN:
    case ENOBUFS:
        return ERR_BUSY;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return ERR_CLOSED;
    case EMSGSIZE:
        return ERR_LIMIT;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

enum err ipc_send(int fd, struct slice message)
{
    /* an empty one could not be told from the end */
    if (message.len == 0 || message.len > IPC_MESSAGE_MAX)
        return ERR_LIMIT;
    ssize_t n;
    do {
        n = send(fd, message.data, message.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_from_errno();
    return (size_t)n == message.len ? ERR_NONE : ERR_INTERNAL;
}

enum err ipc_receive(int fd, uint8_t *buffer, size_t max, size_t *ret_len)
{
    ssize_t n;
    do {
        n = recv(fd, buffer, max, MSG_TRUNC | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_from_errno();
    if (n == 0)
        return ERR_CLOSED;
    if ((size_t)n > max)
        return ERR_LIMIT;
    *ret_len = (size_t)n;
    return ERR_NONE;
}

enum err ipc_wait(int fd, int64_t ms)
{
    int64_t deadline = ms < 0 ? INT64_MAX : clock_monotonic_ms() + ms;
    int64_t left = ms;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int timeout = ms < 0 ? -1 : left > INT_MAX ? INT_MAX : (int)left;
        int n = poll(&p, 1, timeout);
        if (n < 0 && errno != EINTR)
            return ERR_IO;
        /* the end counts as something to receive: ipc_receive() says ERR_CLOSED */
        if (n > 0)
            return p.revents & (POLLIN | POLLHUP) ? ERR_NONE : ERR_IO;
        if (ms < 0)
            continue;
        left = deadline - clock_monotonic_ms();
        if (left <= 0)
            return ERR_TIMEOUT;
    }
}
