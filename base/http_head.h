/* Looks at a request before evhttp does (RFC 9112): what evhttp would read leniently, or otherwise
 * than the next server in a chain might, is refused here, and how long a request is, is known
 * before the first byte of it is handed on. Pure functions over bytes. */
#ifndef BASE_HTTP_HEAD_H
#define BASE_HTTP_HEAD_H

#include "base/http.h"

#define HTTP_TARGET_MAX                                                                            \
    2048                   /* bytes of a request target: our longest paths have 300; 414 beyond    \
                            */
#define HTTP_FIELDS_MAX 64 /* header fields of a request: clients send 20; 431 beyond */

enum http_verdict {
    HTTP_MORE,   /* well so far, and not whole */
    HTTP_WHOLE,  /* well, and complete */
    HTTP_REFUSE, /* answer with .status and close */
};

/* Zero it before the first byte of each request. */
struct http_head {
    uint32_t len;    /* of the head, once HTTP_WHOLE */
    uint32_t at;     /* where the next line begins */
    uint16_t status; /* why refused: 400, 405, 413, 414, 417, 431, 501, 505 */
    uint16_t fields; /* seen so far */
    uint8_t method;  /* enum http_method */
    bool line_seen;  /* the request line */
    bool http_1_0;   /* "HTTP/1.0" */
    bool absolute;   /* the target was in absolute-form */
    bool host_seen;
    bool chunked;     /* Transfer-Encoding: chunked */
    bool length_seen; /* Content-Length was there */
    bool close;       /* Connection: close */
    bool expect;      /* Expect: 100-continue */
    uint64_t length;  /* Content-Length, else 0 */
};

/* `so_far` is the request from its first byte, as much of it as is there; on each call all of it
 * again, longer. Lines that have been looked at are not looked at again. */
enum http_verdict http_head_read(struct http_head *h, struct slice so_far, size_t header_max);

/* The chunked coding of a body (RFC 9112 section 7.1), without extensions or trailers. Zero it
 * before the first byte. */
struct http_chunks {
    uint64_t left;  /* bytes of the chunk at hand */
    uint64_t total; /* bytes of the body */
    uint64_t used;  /* bytes taken, framing included */
    uint8_t state;
    uint8_t digits;
};

/* Takes the next bytes; stops behind the last one of the body. Refused: framing (400, *ret_status)
 * or a body of more than `body_max` (413). */
enum http_verdict http_chunks_read(struct http_chunks *c, struct slice bytes, uint64_t body_max,
                                   size_t *ret_used, uint16_t *ret_status);

#endif
