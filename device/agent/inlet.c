#include "device/agent/inlet.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_S 5 /* of one who asks the agent */

static enum err address_of(const char *path, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof ret_address->sun_path)
        return ERR_LIMIT;
    memcpy(ret_address->sun_path, path, len + 1);
    return ERR_NONE;
}

static int new_socket(int flags)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0);
}

/* A socket that an agent left behind when the power went; nothing else is removed. */
static enum err remove_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0)
        return errno == ENOENT ? ERR_NONE : ERR_IO;
    if (!S_ISSOCK(st.st_mode))
        return ERR_EXISTS;
    int fd = new_socket(0);
    if (fd < 0)
        return ERR_IO;
    bool listens = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    (void)close(fd);
    if (listens)
        return ERR_EXISTS;
    return unlink(address->sun_path) == 0 ? ERR_NONE : ERR_IO;
}

enum err inlet_open(struct inlet *i, const char *path, mode_t mode)
{
    struct inlet new = {.fd = -1};
    enum err err = address_of(path, &new.address);
    if (err == ERR_NONE)
        err = remove_stale(&new.address);
    if (err != ERR_NONE)
        return err;
    new.fd = new_socket(SOCK_NONBLOCK);
    if (new.fd < 0)
        return ERR_IO;
    /* Until the mode is set, the umask lets nobody in but us. */
    if (bind(new.fd, (const struct sockaddr *)&new.address, sizeof new.address) != 0 ||
        chmod(path, mode) != 0) {
        int why = errno;
        (void)close(new.fd);
        errno = why;
        return ERR_IO;
    }
    *i = new;
    return ERR_NONE;
}

void inlet_close(struct inlet *i)
{
    if (i->fd < 0)
        return;
    (void)close(i->fd);
    (void)unlink(i->address.sun_path);
    *i = INLET_INITIAL;
}

/* An address with a path is not answered: what lies there by now may be anybody's socket. */
static bool can_be_answered(const struct sockaddr_un *address, socklen_t len)
{
    return address->sun_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path) &&
           len <= sizeof *address && address->sun_path[0] == '\0';
}

enum err inlet_receive(struct inlet *i, uint8_t *buffer, size_t max, size_t *ret_len,
                       struct inlet_sender *ret_sender)
{
    struct inlet_sender sender = {.len = sizeof sender.address};
    if (i->fd < 0)
        return ERR_BUSY;
    ssize_t n = recvfrom(i->fd, buffer, max, 0, (struct sockaddr *)&sender.address, &sender.len);
    if (n < 0)
        return ERR_BUSY;
    if (!can_be_answered(&sender.address, sender.len))
        sender.len = 0;
    *ret_len = (size_t)n;
    *ret_sender = sender;
    return ERR_NONE;
}

void inlet_answer(struct inlet *i, const struct inlet_sender *to, struct slice text)
{
    if (to->len > 0)
        (void)!sendto(i->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                      (const struct sockaddr *)&to->address, to->len);
}

/* ---- the other side ---- */

static enum err of_errno(int why)
{
    switch (why) {
    case ENOENT:
    case ECONNREFUSED:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERR_REFUSED;
    case EAGAIN:
        return ERR_TIMEOUT;
    case EMSGSIZE:
        return ERR_LIMIT;
    default:
        return ERR_IO;
    }
}

static enum err receive_within(int fd, unsigned seconds, uint8_t *answer, size_t max,
                               size_t *ret_len)
{
    const struct timeval patience = {.tv_sec = seconds};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return ERR_IO;
    ssize_t n = recv(fd, answer, max, 0);
    if (n < 0)
        return of_errno(errno);
    *ret_len = (size_t)n;
    return ERR_NONE;
}

static enum err ask(int fd, const struct sockaddr_un *address, struct slice datagram,
                    unsigned wait_s, uint8_t *answer, size_t max, size_t *ret_len)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    const struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        bind(fd, (const struct sockaddr *)&unnamed, sizeof unnamed.sun_family) != 0 ||
        connect(fd, (const struct sockaddr *)address, sizeof *address) != 0)
        return of_errno(errno);
    if (send(fd, datagram.data, datagram.len, MSG_NOSIGNAL) < 0)
        return of_errno(errno);
    size_t len = 0;
    enum err err = receive_within(fd, PATIENCE_S, answer, max, &len);
    if (err == ERR_NONE && wait_s > 0 && len > 0 && answer[0] == '+')
        err = receive_within(fd, wait_s, answer, max, &len);
    if (err == ERR_NONE)
        *ret_len = len;
    return err;
}

enum err inlet_ask(const char *path, struct slice datagram, unsigned wait_s, uint8_t *answer,
                   size_t max, size_t *ret_len)
{
    struct sockaddr_un address;
    enum err err = address_of(path, &address);
    if (err != ERR_NONE)
        return err;
    int fd = new_socket(0);
    if (fd < 0)
        return ERR_IO;
    err = ask(fd, &address, datagram, wait_s, answer, max, ret_len);
    (void)close(fd);
    return err;
}
