#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/http_internal.h"

#define BACKLOG  1024 /* a storm of handshakes waits here rather than be refused by the kernel */
#define PAUSE_MS 100  /* of accepting, when file descriptors or memory are out */

static const struct timeval pause_time = {.tv_usec = PAUSE_MS * 1000};

static void close_keeping_errno(int fd)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
}

static void on_resume(evutil_socket_t fd, short what, void *accepting)
{
    (void)fd;
    (void)what;
    (void)evconnlistener_enable(accepting);
}

/* Without the pause the loop would spin: the connection that can't be accepted stays in line. */
static void on_accept_error(struct evconnlistener *accepting, void *evhttp)
{
    (void)evhttp;
    int error = errno;
    (void)evconnlistener_disable(accepting);
    if (error != EINVAL && /* shut down by http_socket_stop_accepting() */
        event_base_once(evconnlistener_get_base(accepting), -1, EV_TIMEOUT, on_resume, accepting,
                        &pause_time) != 0)
        (void)evconnlistener_enable(accepting);
}

/* What a client that does not read can make the kernel hold for it, and for how long. */
#define SEND_BUFFER (128 * 1024)
#define UNREAD_MS   30000

static int tcp_socket(const struct addrinfo *ai, bool shared)
{
    int on = 1;
    int off = 0;
    int send_buffer = SEND_BUFFER;
    unsigned unread_ms = UNREAD_MS;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        /* Inherited by what is accepted: an answer goes out at once. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof unread_ms) == 0 &&
        (ai->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, ai->ai_addr, ai->ai_addrlen) == 0)
        return fd;
    close_keeping_errno(fd);
    return -1;
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
        return 0;
    return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                          : ((struct sockaddr_in *)&sa)->sin_port);
}

static void set_port(struct addrinfo *ai, unsigned port)
{
    if (ai->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)ai->ai_addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)ai->ai_addr)->sin_port = htons((uint16_t)port);
}

/* "127.0.0.1:8443" or "[::1]:8443" */
static enum err resolve(const char *address, struct addrinfo **ret_ai)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    bool bracketed = address[0] == '[';
    size_t len = colon != NULL ? (size_t)(colon - address) : 0;
    if (bracketed && len >= 3 && address[len - 1] == ']') {
        address++;
        len -= 2;
    } else if (bracketed || memchr(address, ':', len) != NULL) {
        return ERR_SYNTAX;
    }
    if (len == 0 || len >= sizeof host || colon[1] < '0' || colon[1] > '9' || strlen(colon) > 6)
        return ERR_SYNTAX;
    memcpy(host, address, len);
    host[len] = '\0';
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > 65535)
        return ERR_SYNTAX;
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_family = bracketed ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM};
    return getaddrinfo(host, colon + 1, &hints, ret_ai) == 0 ? ERR_NONE : ERR_SYNTAX;
}

/* Takes over the file descriptor, also where it fails. */
static enum err accept_on(struct http_socket *socket, int fd)
{
    struct evconnlistener *accepting =
        evconnlistener_new(loop_event_base(socket->worker->loop), NULL, NULL,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    if (accepting == NULL) {
        close_keeping_errno(fd);
        return ERR_IO;
    }
    if (evhttp_bind_listener(socket->evhttp, accepting) == NULL) {
        evconnlistener_free(accepting);
        return ERR_NO_MEMORY;
    }
    evconnlistener_set_error_cb(accepting, on_accept_error);
    socket->accepting = accepting; /* evhttp frees it */
    return ERR_NONE;
}

/* SO_REUSEPORT would let a second program of ours share the port unnoticed. */
static enum err probe(const struct addrinfo *ai)
{
    int fd = tcp_socket(ai, false);
    if (fd < 0)
        return ERR_IO;
    close(fd);
    return ERR_NONE;
}

static enum err open_tcp(struct http_listener *l, const char *address)
{
    struct addrinfo *ai;
    enum err err = resolve(address, &ai);
    if (err != ERR_NONE)
        return err;
    err = probe(ai);
    for (size_t i = 0; err == ERR_NONE && i < l->server->workers_len; i++) {
        int fd = tcp_socket(ai, true);
        if (fd < 0) {
            err = ERR_IO;
            break;
        }
        if (i == 0)
            l->port = port_of(fd);
        set_port(ai, l->port);
        err = accept_on(&l->sockets[i], fd);
    }
    freeaddrinfo(ai);
    return err;
}

/* A socket file that nobody answers on is left from a program that died. */
static enum err remove_stale(const struct sockaddr_un *sun)
{
    struct stat st;
    if (lstat(sun->sun_path, &st) != 0)
        return errno == ENOENT ? ERR_NONE : ERR_IO;
    int fd = S_ISSOCK(st.st_mode) ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)sun, sizeof *sun) != 0 &&
                 errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (stale && unlink(sun->sun_path) == 0)
        return ERR_NONE;
    errno = EADDRINUSE;
    return ERR_IO;
}

/* On the first loop only: what comes here is people and their tools, not devices. */
static enum err open_unix(struct http_listener *l, const char *path, mode_t mode)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof sun.sun_path)
        return ERR_SYNTAX;
    memcpy(sun.sun_path, path, len + 1);
    enum err err = remove_stale(&sun);
    if (err != ERR_NONE)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_IO;
    if (bind(fd, (const struct sockaddr *)&sun, sizeof sun) != 0) {
        close_keeping_errno(fd);
        return ERR_IO;
    }
    /* Nobody can connect before listen(), so nobody meets the wrong mode. */
    if (chmod(path, mode) != 0) {
        (void)unlink(path);
        close_keeping_errno(fd);
        return ERR_IO;
    }
    l->unix_path = strdup(path);
    err = l->unix_path != NULL ? accept_on(&l->sockets[0], fd) : ERR_NO_MEMORY;
    if (l->unix_path == NULL)
        close(fd);
    if (err != ERR_NONE)
        (void)unlink(path);
    return err;
}

enum err http_listener_open(struct http_listener *l, const struct http_listener_options *options)
{
    const char *address = options->address;
    bool encrypted = options->tls != NULL;
    if (strncmp(address, "unix:", 5) == 0)
        return encrypted || options->plain ? ERR_UNSUPPORTED
                                           : open_unix(l, address + 5, options->unix_mode);
    /* Without TLS only where somebody has said so: it is not what a forgotten pointer gives. */
    return encrypted != options->plain ? open_tcp(l, address) : ERR_UNSUPPORTED;
}

void http_socket_stop_accepting(struct http_socket *socket)
{
    struct http_listener *l = socket->listener;
    if (socket->accepting == NULL)
        return;
    /* Not freed yet: a pause may still refer to it. Who connects is refused from now on. */
    (void)evconnlistener_disable(socket->accepting);
    (void)shutdown(evconnlistener_get_fd(socket->accepting), SHUT_RDWR);
    socket->accepting = NULL;
    if (l->unix_path != NULL)
        (void)unlink(l->unix_path);
}
