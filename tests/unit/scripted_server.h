/* A server that follows a script, and what its clients heard. */
#ifndef TESTS_UNIT_SCRIPTED_SERVER_H
#define TESTS_UNIT_SCRIPTED_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/http_client.h"

/* For each connection, what it answers to each request, in turn. */
#define SILENCE   "silence" /* instead of an answer: nothing, until the client leaves */
#define CUT       "cut"     /* instead of an answer: the connection ends without TLS's goodbye */
#define REPLY_MAX 4
#define EARLY     1 /* answers when the head has come, and closes */

struct connection {
    const char *replies[REPLY_MAX]; /* NULL: end the connection */
    int flags;
};

struct server {
    const struct connection *script;
    size_t connections;
    SSL_CTX *tls; /* or NULL */
    int listener;
    char unix_path[64];
    char port[8];
    pthread_t thread;
    _Atomic size_t accepted, ended;
    char last_request[8192];
};

static char folder[] = "/tmp/holdfast-client-XXXXXX"; /* made by the test's set_up() */

static inline ssize_t server_read(SSL *ssl, int fd, char *bytes, size_t n)
{
    return ssl == NULL ? recv(fd, bytes, n, 0) : SSL_read(ssl, bytes, (int)n);
}

/* One request with its body; false at the end of the connection. */
static inline bool take_request(struct server *s, SSL *ssl, int fd, bool head_only)
{
    size_t len = 0, wanted = SIZE_MAX;
    while (len < wanted) {
        char bytes[16384];
        ssize_t n = server_read(ssl, fd, bytes, sizeof bytes);
        if (n <= 0)
            return false;
        for (ssize_t i = 0; i < n; i++)
            if (len + (size_t)i < sizeof s->last_request - 1)
                s->last_request[len + (size_t)i] = bytes[i];
        len += (size_t)n;
        s->last_request[len < sizeof s->last_request - 1 ? len : sizeof s->last_request - 1] = '\0';
        const char *end = strstr(s->last_request, "\r\n\r\n");
        const char *length = strstr(s->last_request, "Content-Length: ");
        if (end != NULL && wanted == SIZE_MAX)
            wanted = (size_t)(end - s->last_request) + 4 +
                     (length == NULL ? 0 : strtoul(length + 16, NULL, 10));
        if (end != NULL && head_only)
            return true;
    }
    return true;
}

static inline void serve(struct server *s, const struct connection *c, int fd)
{
    SSL *ssl = NULL;
    char byte;
    if (s->tls != NULL) {
        ssl = SSL_new(s->tls);
        (void)SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) != 1) {
            SSL_free(ssl);
            return;
        }
    }
    bool polite = true;
    for (size_t i = 0; i < REPLY_MAX && c->replies[i] != NULL; i++) {
        const char *reply = c->replies[i];
        if (!take_request(s, ssl, fd, c->flags & EARLY))
            break;
        if (strcmp(reply, CUT) == 0) {
            polite = false;
            break;
        }
        if (strcmp(reply, SILENCE) == 0) {
            while (server_read(ssl, fd, &byte, 1) > 0)
                ;
            break;
        }
        if (ssl == NULL)
            (void)send(fd, reply, strlen(reply), MSG_NOSIGNAL);
        else
            (void)SSL_write(ssl, reply, (int)strlen(reply));
        polite = strstr(reply, "cut off") == NULL;
    }
    if (ssl != NULL && polite)
        (void)SSL_shutdown(ssl);
    SSL_free(ssl);
}

static inline void *run_server(void *server)
{
    struct server *s = server;
    for (size_t i = 0; i < s->connections; i++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            break;
        s->accepted++;
        serve(s, &s->script[i], fd);
        (void)close(fd);
        s->ended++;
    }
    return NULL;
}

static inline void start(struct server *s, const struct connection *script, size_t n, SSL_CTX *tls)
{
    memset(s, 0, sizeof *s);
    s->script = script;
    s->connections = n;
    s->tls = tls;
    s->listener = socket(tls == NULL ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (tls == NULL) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        (void)snprintf(s->unix_path, sizeof s->unix_path, "%s/socket", folder);
        memcpy(at.sun_path, s->unix_path, sizeof s->unix_path);
        (void)unlink(s->unix_path);
        assert_int_equal(bind(s->listener, (const struct sockaddr *)&at, sizeof at), 0);
    } else {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        assert_int_equal(bind(s->listener, (const struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
        (void)snprintf(s->port, sizeof s->port, "%u", ntohs(at.sin_port));
    }
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, run_server, s), 0);
}

static inline void stop(struct server *s)
{
    (void)shutdown(s->listener, SHUT_RDWR);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->listener);
    (void)unlink(s->unix_path);
}

static char explain[256];
static unsigned status;
static struct slice body;

static inline enum err get(struct http_client *c)
{
    return http_client_request(c, "GET", "/v1/x", NULL, slice_of(NULL, 0), &status, &body, explain);
}

#define HEAD  "HTTP/1.1 200 OK\r\n"
#define OK    HEAD "Content-Length: 2\r\n\r\nok"
#define AGAIN "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nagain"
#define LAST  HEAD "Connection: close\r\nContent-Length: 4\r\n\r\nlast"

#define START(s, script, tls) start(s, script, ARRAY_LEN(script), tls)

#endif
