/* The client's half of HTTP/1.1 (RFC 9112): writes a request head, reads a response. For the agent
 * and the CLI; the hub serves through base/http.h. */
#ifndef CORE_HTTP1_H
#define CORE_HTTP1_H

#include "core/cursor.h"

#define HTTP1_HEAD_MAX 8192 /* bytes of a response's status line and header */

/* Method, target and Host are the caller's, and are checked for bytes that would end a line:
 * ERR_SYNTAX. `extra` is further header lines, each ended by CRLF, or empty; it is checked too.
 * content_type may be NULL. Content-Length is written for a body, a content type, and for every
 * method but GET, HEAD and DELETE. */
MUST_USE enum err http1_write_request(struct writer *w, const char *method, struct slice target,
                                      struct slice host, struct slice extra,
                                      const char *content_type, struct slice body);

/* A response is fed in pieces, as they come, until http1_done(). It never holds more than its
 * buffer: a longer head or body is ERR_LIMIT. Content-Length, chunked coding and "until close" are
 * understood; both framings at once, two lengths, bare LF and obs-fold are ERR_SYNTAX. Interim
 * answers (1xx) are skipped. */
struct http1_response {
    uint8_t *buffer; /* head, then body */
    size_t max;
    size_t len;      /* bytes kept */
    size_t head_len; /* 0 until the head is whole */
    unsigned status;
    bool keep_alive; /* the connection may carry another request */
    bool to_head;    /* set by the caller after init: this answers a HEAD request */
    enum err err;    /* the first error; it stays */
    int phase;       /* private to http1.c, as are the next three */
    uint64_t left;
    size_t line_len;
    bool until_close;
};

void http1_response_init(struct http1_response *r, uint8_t *buffer, size_t max);
/* Takes bytes; *ret_used says how many belonged to this response. For an answer to HEAD, 204 and
 * 304 the body is empty whatever the header says. */
MUST_USE enum err http1_response_feed(struct http1_response *r, struct slice bytes,
                                      size_t *ret_used);
/* The connection ended: ERR_CLOSED unless that is how this response ends. */
MUST_USE enum err http1_response_end(struct http1_response *r);
bool http1_response_done(const struct http1_response *r);
struct slice http1_response_body(const struct http1_response *r);
/* The value of a header field, name compared without case; false where absent. */
bool http1_response_header(const struct http1_response *r, const char *name,
                           struct slice *ret_value);

#endif
