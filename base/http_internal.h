/* What the files of base/http share.
 *
 *   http_server ---- http_worker, one for each loop
 *        |               |
 *   http_listener -- http_socket, one for each listener on each loop: an evhttp and its connections
 *
 * A connection, after accept, stands in exactly one phase; all of it happens on its own loop.
 * evhttp sees a request only once the whole of it has come and has been found well (http_head.h);
 * until then its bytes are held back, and evhttp believes that nothing has arrived. */
#ifndef BASE_HTTP_INTERNAL_H
#define BASE_HTTP_INTERNAL_H

#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/http.h"
#include "base/http_head.h"

struct bufferevent;
struct evbuffer;
struct evbuffer_cb_entry;
struct evconnlistener;
struct event;
struct evhttp;
struct evhttp_connection;
struct evhttp_request;

/* Bytes held for a connection beyond the request at hand: pipelining is for small requests. */
#define HTTP_HELD_AHEAD_MAX (64 * 1024)
#define HTTP_HOLD_COPY_MAX                                                                         \
    2048 /* bytes up to which a piece is copied, not moved, when it is held */
/* A body that is too large is read and dropped up to here before it is refused, so that the client
 * gets to see the answer rather than a reset. */
#define HTTP_DISCARD_MAX (256 * 1024)

/* A peer that takes less of a long answer than this until its deadline is not waited for. */
#define HTTP_PROGRESS_MIN (256 * 1024)

/* Connections accepted in one go: then those there are served first, and the caps applied. */
#define HTTP_ACCEPT_BATCH 32

enum http_phase {
    HTTP_ACCEPTED,  /* no byte of a request yet; TLS may be under way */
    HTTP_RECEIVING, /* within a request */
    HTTP_BUSY,      /* the handler has it */
    HTTP_WRITING,   /* the answer is on its way out */
    HTTP_IDLE,      /* kept, without a request */
};

TAILQ_HEAD(http_connection_list, http_connection);

struct http_connection {
    struct http_socket *socket;
    struct evhttp_connection *evcon;
    struct bufferevent *bev;
    struct evbuffer_cb_entry *input_cb;
    struct evbuffer *held; /* NULL where nothing is held */
    int fd;
    enum http_phase phase;
    bool moving;      /* what changes in the input is our own doing */
    bool doomed;      /* to be closed once the handler has answered */
    bool closing;     /* after the answer at hand */
    bool orderly;     /* ended by us after a whole answer: say goodbye in TLS, too */
    uint16_t refusal; /* status of the answer that the glue itself gives to the request at hand */
    size_t unsent;    /* bytes of the answer, when its deadline was set */
    uint64_t discard; /* bytes of a refused body to drop before that */
    struct http_head head;
    struct http_chunks chunks;
    int64_t deadline_ms;
    TAILQ_ENTRY(http_connection) entry; /* of the phase's list, or of those just accepted */
    struct http_request *request;       /* that the handler has */
    struct http_address *address;
    char *label;
    TAILQ_ENTRY(http_connection) label_entry;
    void *notes; /* of those who handle its requests */
    bool peer_known;
    struct tls_peer peer;
};

struct http_socket {
    struct http_listener *listener;
    struct http_worker *worker;
    struct evhttp *evhttp;
    struct evconnlistener *accepting; /* NULL where this loop does not accept */
    struct event *adopt;              /* made active by accept, runs before anything is read */
    struct event *tick;               /* looks at deadlines while there are connections */
    struct http_connection_list fresh;
    size_t fresh_len;
    bool full; /* a batch has been accepted, and accepting rests until it is adopted */
    struct http_connection_list timed; /* accepted, receiving, writing: by deadline */
    struct http_connection_list idle;  /* by deadline */
    struct http_connection_list busy;
    size_t open;
    _Atomic uint64_t accepted, refused_total, refused_address, timed_out, malformed, requests;
    TAILQ_ENTRY(http_socket) entry;
};

#define HTTP_LABEL_BUCKETS 1024 /* of each loop: lists stay short up to some 10,000 connections */

struct http_worker {
    struct http_server *server;
    struct loop *loop;
    TAILQ_HEAD(, http_socket) sockets;
    struct http_connection **by_fd;
    size_t by_fd_len;
    struct http_connection_list labels[HTTP_LABEL_BUCKETS];
    TAILQ_HEAD(, http_request) requests; /* that handlers have */
    struct http_request *spare;          /* for reuse, with their arenas */
    size_t spare_len;
    size_t open;
    bool draining;
    bool drained;      /* told the server so */
    bool unused_ended; /* of draining: the first of its two steps is done */
    struct loop_task drain_task;
    struct event *drain_timer;
};

struct http_listener {
    struct http_server *server;
    int tag;
    struct tls_server *tls;
    struct http_limits limits;
    http_handler_fn *handler;
    void *ctx;
    unsigned port;
    char *unix_path; /* NULL on TCP */
    struct http_address_table *addresses;
    _Atomic size_t open;
    struct http_socket *sockets; /* one for each loop */
    TAILQ_ENTRY(http_listener) entry;
};

struct http_server {
    struct http_worker *workers;
    size_t workers_len;
    TAILQ_HEAD(, http_listener) listeners;
    void (*on_reply)(struct http_request *r, unsigned status, size_t bytes, void *ctx);
    void *on_reply_ctx;
    int64_t drain_ms;
    _Atomic size_t drain_left;
    void (*drain_done)(void *ctx);
    void *drain_ctx;
    struct loop_task drain_done_task;
};

struct http_request {
    struct http_worker *worker;
    struct http_connection *connection; /* NULL once that is gone */
    struct http_listener *listener;
    struct evhttp_request *evreq;
    struct arena *arena;
    enum http_method method;
    bool close;
    bool cache_control_set;
    const char *path;
    const char *query;
    struct slice body;
    struct writer fields; /* of the answer */
    int64_t started_us;
    const void *note;
    TAILQ_ENTRY(http_request) entry;
    struct http_request *next_spare;
};

/* http_address.c: connections of each peer address, over all loops. */
struct http_address_table;
struct http_address_table *http_address_table_new(void);
void http_address_table_free(struct http_address_table *t);
/* Counts one more from this address; NULL where there are `max` already or memory is out. */
struct http_address *http_address_enter(struct http_address_table *t, const struct sockaddr *sa,
                                        size_t max);
void http_address_leave(struct http_address_table *t, struct http_address *a); /* NULL is fine */

/* http_listener.c: sockets that accept. */
MUST_USE enum err http_listener_open(struct http_listener *l,
                                     const struct http_listener_options *options);
void http_socket_stop_accepting(struct http_socket *socket);

/* http_connection.c: a connection from accept to its end. */
struct bufferevent *http_connection_begin(struct http_socket *socket);
void http_connection_adopt_fresh(struct http_socket *socket);
void http_connection_tick(struct http_socket *socket);
/* Ends it now, or as soon as the handler has answered. Not from within evhttp's callbacks. */
void http_connection_end(struct http_connection *c);
size_t http_connection_end_labelled(struct http_worker *w, const char *label);
void http_connection_set_phase(struct http_connection *c, enum http_phase phase);
/* The answer is written; evhttp goes on to the next request or closes. */
void http_connection_answered(struct http_connection *c);

/* http_input.c: holds bytes back until they are a whole request. */
bool http_input_attach(struct http_connection *c);
void http_input_detach(struct http_connection *c);
/* After an answer: there may be a whole request already. */
void http_input_continue(struct http_connection *c);

/* http_request.c */
void http_request_deliver(struct evhttp_request *evreq, void *socket);
void http_request_discard(struct http_request *r);
void http_request_free_spare(struct http_worker *w);

/* http_end.c: no connection of a draining loop is left. */
void http_worker_drained(struct http_worker *w);

/* http_tls.c */
struct bufferevent *http_tls_bufferevent(struct tls_server *tls, struct event_base *base);
void http_tls_ending(struct tls_server *tls, struct bufferevent *bev, bool orderly);
/* Writes at once, around the buffers. False where that fails. */
bool http_tls_write_now(struct bufferevent *bev, struct slice bytes);
bool http_tls_handshake_done(struct bufferevent *bev);
void http_tls_peer(struct bufferevent *bev, struct tls_peer *ret_peer);
MUST_USE enum err http_tls_peer_certificate(struct bufferevent *bev, struct arena *arena,
                                            struct slice *ret_der);

#endif
