/* HTTP/1.1 over TLS, a Unix socket or, where that is asked for, plain TCP: libevent's evhttp with
 * its gaps closed. What is closed here: two Content-Lengths, bare LF, obs-fold, an absolute
 * deadline from accept (TLS included) to the last byte of the request, caps on connections in all
 * and per address, pause on EMFILE, one write per response, and replies from elsewhere to
 * connections that have gone.
 *
 * A server has listeners; each listener has a socket on every loop (SO_REUSEPORT), so a connection
 * lives on one loop, and everything about it happens there. */
#ifndef BASE_HTTP_H
#define BASE_HTTP_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/loop.h"
#include "base/tls.h"

struct http_server;
struct http_listener;
struct http_request;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_METHOD_COUNT
};
const char *http_method_text(enum http_method m);

#define HTTP_LABEL_MAX   160               /* bytes of a connection's label, NUL included */
#define HTTP_ADDRESS_MAX 64                /* text of a peer address */
#define HTTP_ARENA_MAX   (8 * 1024 * 1024) /* memory one request may take for its answer */

struct http_limits {
    size_t header_max;              /* bytes of request line and header: 431 beyond */
    size_t body_max;                /* bytes of a body on this listener: 413 beyond */
    int64_t request_ms;             /* from accept or first byte of a request to its last byte */
    int64_t idle_ms;                /* a kept connection without a request */
    size_t connections;             /* in all, on this listener */
    size_t connections_per_address; /* IPv6 counted by /64, a Unix socket's by user */
};

typedef void http_handler_fn(struct http_request *request, void *ctx);

struct http_listener_options {
    const char *name;       /* for metrics and logs */
    int tag;                /* the caller's own; http_request_tag() gives it back */
    const char *address;    /* "127.0.0.1:8443", "[::]:8443", or "unix:/run/holdfast/hub.sock" */
    mode_t unix_mode;       /* of the socket file */
    struct tls_server *tls; /* NULL on Unix sockets, and where `plain`; not owned */
    bool plain;             /* TCP without TLS: for what is signed itself, and no secret */
    struct http_limits limits;
    http_handler_fn *handler;
    void *ctx;
};

/* Loops are the caller's and must outlive the server. */
MUST_USE enum err http_server_new(struct loop *const *loops, size_t n,
                                  struct http_server **ret_server);
/* Listens. ERR_IO with errno (EADDRINUSE and so on); ERR_SYNTAX for the address. Port 0 takes a
 * free one; http_listener_port() tells which. Call before the loops start, or on none of them. */
MUST_USE enum err http_server_listen(struct http_server *s,
                                     const struct http_listener_options *options,
                                     struct http_listener **ret_listener);
unsigned http_listener_port(const struct http_listener *l);
/* Graceful end: stops accepting, lets running requests finish ("Connection: close"), closes idle
 * connections at once and the rest after `ms`. `done` is run on loops[0]. */
void http_server_drain(struct http_server *s, int64_t ms, void (*done)(void *ctx), void *ctx);
void http_server_free(struct http_server *s); /* after the loops have ended */

/* The request. Valid until it is answered; answer each exactly once, on its own loop, at once or
 * later. A client that leaves in between is no concern of the handler: http_reply() then does
 * nothing but release the request. */
enum http_method http_request_method(const struct http_request *r);
int http_request_tag(const struct http_request *r);
const char *http_request_path(const struct http_request *r);  /* before "?", not decoded */
const char *http_request_query(const struct http_request *r); /* behind "?", or "" */
struct slice http_request_body(const struct http_request *r);
/* NULL where absent. A field that came twice gives the first. */
const char *http_request_header(const struct http_request *r, const char *name);
const char *http_request_address(const struct http_request *r); /* peer, without port; "unix" */
const struct tls_peer *http_request_peer(const struct http_request *r); /* never NULL */
/* The certificate of the peer in DER, copied into the request's arena. */
MUST_USE enum err http_request_peer_certificate(struct http_request *r, struct slice *ret_der);
/* Peer credentials of a Unix connection; ERR_NOT_FOUND on others. */
MUST_USE enum err http_request_credentials(const struct http_request *r, uid_t *ret_uid,
                                           gid_t *ret_gid, pid_t *ret_pid);
struct arena *http_request_arena(struct http_request *r);
struct loop *http_request_loop(const struct http_request *r);
int64_t http_request_started_us(const struct http_request *r); /* monotonic */
/* The router's own note on the request, for metrics; any pointer. */
void http_request_set_note(struct http_request *r, const void *note);
const void *http_request_note(const struct http_request *r);
/* Called once for every answered request, on its loop: metrics and access logs hang here. */
void http_server_on_reply(struct http_server *s,
                          void (*fn)(struct http_request *r, unsigned status, size_t bytes,
                                     void *ctx),
                          void *ctx);

/* Before http_reply(). Names and values must be clean; CR, LF and NUL abort in tests, are dropped
 * else. */
void http_reply_header(struct http_request *r, const char *name, const char *value);
/* Copies the body. Content-Length, Date-free, Cache-Control: no-store unless set. */
void http_reply(struct http_request *r, unsigned status, const char *content_type,
                struct slice body);
/* As http_reply() with status 200, with the first `size` bytes of a file that nobody changes any
 * more. They are sent as the peer takes them, so that memory is no matter; a peer that takes none
 * for as long as a request may take is left. Owns `fd`. */
void http_reply_file(struct http_request *r, const char *content_type, int fd, uint64_t size);
/* After this reply the connection is closed. */
void http_reply_close(struct http_request *r);

/* Names the party on this connection, e.g. "default/thermo-1". */
void http_connection_label(struct http_request *r, const char *label);
/* `size` bytes, zeroed at first, that stay with this connection for whoever handles its requests:
 * what was found out for one need not be for the next. NULL where it has gone, or memory is out.
 * Every caller asks for the same size. */
void *http_connection_notes(struct http_request *r, size_t size);
/* Closes every live connection with that label, on every loop, and runs `done` (may be NULL) on
 * the calling loop when all have. An answer in progress is cut off. *closed counts them. */
void http_server_close_labelled(struct http_server *s, const char *label,
                                void (*done)(void *ctx, size_t closed), void *ctx);

struct http_counters {
    uint64_t accepted, refused_total, refused_address, timed_out, malformed, requests;
    uint64_t open; /* now */
};
void http_listener_counters(const struct http_listener *l, struct http_counters *ret_counters);

#endif
