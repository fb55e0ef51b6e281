#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <sys/socket.h>

#include "base/http_internal.h"

static const struct slice continue_line = SLICE_LITERAL("HTTP/1.1 100 Continue\r\n\r\n");

/* Appends the input to what is held. Small pieces are copied: each came in a buffer of 4 KiB, and
 * a body sent byte by byte must not take four thousand times its size. */
static bool append_to_held(struct http_connection *c, struct evbuffer *input)
{
    uint8_t small[HTTP_HOLD_COPY_MAX];
    size_t len = evbuffer_get_length(input);
    if (len > sizeof small)
        return evbuffer_add_buffer(c->held, input) == 0;
    return evbuffer_remove(input, small, len) == (int)len && evbuffer_add(c->held, small, len) == 0;
}

/* Moves what is in the input behind what is held; its first `keep` bytes stay: a request that has
 * been released and that evhttp has not taken yet. */
static bool hold(struct http_connection *c, struct evbuffer *input, size_t keep)
{
    if (c->held == NULL)
        c->held = evbuffer_new();
    struct evbuffer *kept = keep > 0 ? evbuffer_new() : NULL;
    c->moving = true;
    bool moved = c->held != NULL && (keep == 0 || kept != NULL);
    if (moved && kept != NULL)
        moved = evbuffer_remove_buffer(input, kept, keep) == (int)keep;
    moved = moved && append_to_held(c, input);
    if (moved && kept != NULL)
        moved = evbuffer_add_buffer(input, kept) == 0;
    c->moving = false;
    if (kept != NULL)
        evbuffer_free(kept);
    return moved;
}

static void drop_held(struct http_connection *c)
{
    if (c->held != NULL)
        evbuffer_free(c->held);
    c->held = NULL;
}

/* A plain bufferevent freezes the end of its input except while it reads. */
static void put_into_input(struct http_connection *c, struct evbuffer *input, size_t n)
{
    c->moving = true;
    (void)evbuffer_unfreeze(input, 0);
    (void)evbuffer_remove_buffer(c->held, input, n);
    c->moving = false;
    if (evbuffer_get_length(c->held) == 0)
        drop_held(c);
}

/* The connection can't go on; evhttp learns it by the end of its stream. */
static void cut(struct http_connection *c)
{
    drop_held(c);
    c->doomed = true;
    (void)shutdown(c->fd, SHUT_RDWR);
}

/* Hands the first n bytes of `source` to evhttp: a whole request. */
static void release(struct http_connection *c, struct evbuffer *source, size_t n)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    if (source == input && evbuffer_get_length(input) > n) {
        if (!hold(c, input, 0)) {
            cut(c);
            return;
        }
        source = c->held;
    }
    http_connection_set_phase(c, HTTP_BUSY);
    if (source != input)
        put_into_input(c, input, n);
}

/* evhttp gets a small sound request in place of the bad one, and http_request_deliver() answers it
 * with the status: so a refusal takes the same way out as any answer. */
static void refuse(struct http_connection *c, uint16_t status)
{
    struct evbuffer *input = bufferevent_get_input(c->bev);
    drop_held(c);
    c->refusal = status;
    c->closing = true;
    atomic_fetch_add_explicit(&c->socket->malformed, 1, memory_order_relaxed);
    c->moving = true;
    (void)evbuffer_unfreeze(input, 0);
    (void)evbuffer_drain(input, evbuffer_get_length(input));
    bool put = evbuffer_add(input, "GET / HTTP/1.1\r\n\r\n", 18) == 0;
    c->moving = false;
    http_connection_set_phase(c, HTTP_BUSY);
    if (!put)
        cut(c);
}

static void discard(struct http_connection *c, struct evbuffer *source)
{
    size_t len = evbuffer_get_length(source);
    size_t n = len < c->discard ? len : (size_t)c->discard;
    c->moving = true;
    (void)evbuffer_drain(source, len);
    c->moving = false;
    c->discard -= n;
    if (c->discard == 0)
        refuse(c, 413);
}

/* A body that is too large: refused once the client has sent it, where that is bearable. */
static void refuse_body(struct http_connection *c, struct evbuffer *source)
{
    if (c->head.expect || c->head.length > HTTP_DISCARD_MAX) {
        refuse(c, 413);
        return;
    }
    c->discard = c->head.len + c->head.length;
    discard(c, source);
}

static bool write_now(struct http_connection *c, struct slice bytes)
{
    if (c->socket->listener->tls != NULL)
        return http_tls_write_now(c->bev, bytes);
    return send(c->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes.len;
}

static enum http_verdict read_head(struct http_connection *c, struct evbuffer *source)
{
    size_t header_max = c->socket->listener->limits.header_max;
    size_t len = evbuffer_get_length(source);
    size_t n = len < header_max ? len : header_max;
    const uint8_t *bytes = evbuffer_pullup(source, (ev_ssize_t)n);
    if (bytes == NULL) {
        c->head.status = 503;
        return HTTP_REFUSE;
    }
    return http_head_read(&c->head, slice_of(bytes, n), header_max);
}

/* Looks at the part of a chunked body that has not been looked at. */
static enum http_verdict read_chunks(struct http_connection *c, struct evbuffer *source,
                                     uint16_t *ret_status)
{
    enum http_verdict verdict = HTTP_MORE;
    uint64_t body_max = c->socket->listener->limits.body_max;
    while (verdict == HTTP_MORE) {
        size_t seen = c->head.len + (size_t)c->chunks.used;
        struct evbuffer_ptr at;
        struct evbuffer_iovec piece;
        size_t used = 0;
        if (evbuffer_get_length(source) <= seen ||
            evbuffer_ptr_set(source, &at, seen, EVBUFFER_PTR_SET) != 0 ||
            evbuffer_peek(source, -1, &at, &piece, 1) < 1)
            break;
        verdict = http_chunks_read(&c->chunks, slice_of(piece.iov_base, piece.iov_len), body_max,
                                   &used, ret_status);
    }
    return verdict;
}

/* The request goes on; what of it is in the input is held until it is whole. */
static void wait_for_more(struct http_connection *c, struct evbuffer *source)
{
    size_t len = evbuffer_get_length(source);
    if (source == bufferevent_get_input(c->bev) && !hold(c, source, 0)) {
        cut(c);
        return;
    }
    if (c->head.len > 0 && c->head.expect) {
        c->head.expect = false;
        /* evhttp would say so itself, but its own sending of it and of an early answer can cross;
         * nothing is being written now, so a blocked write here means a hostile window. */
        if (len == c->head.len && !write_now(c, continue_line))
            cut(c);
    }
}

static void receive(struct http_connection *c, struct evbuffer *source)
{
    if (c->discard > 0) {
        discard(c, source);
        return;
    }
    if (c->head.len == 0) {
        enum http_verdict verdict = read_head(c, source);
        if (verdict == HTTP_REFUSE) {
            refuse(c, c->head.status);
            return;
        }
        if (verdict == HTTP_WHOLE && c->head.length > c->socket->listener->limits.body_max) {
            refuse_body(c, source);
            return;
        }
        if (verdict == HTTP_MORE) {
            wait_for_more(c, source);
            return;
        }
    }
    uint64_t needed = c->head.len + c->head.length;
    if (c->head.chunked) {
        uint16_t status = 0;
        enum http_verdict verdict = read_chunks(c, source, &status);
        if (verdict == HTTP_REFUSE) {
            refuse(c, status);
            return;
        }
        needed = verdict == HTTP_WHOLE ? c->head.len + c->chunks.used : UINT64_MAX;
    }
    if (evbuffer_get_length(source) < needed)
        wait_for_more(c, source);
    else
        release(c, source, (size_t)needed);
}

/* Called by the input buffer before evhttp hears of new bytes. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct http_connection *c = arg;
    if (info->n_added == 0 || c->moving)
        return;
    if (c->doomed || c->refusal != 0) {
        (void)hold(c, input, info->orig_size);
        drop_held(c);
        return;
    }
    switch (c->phase) {
    case HTTP_BUSY:
    case HTTP_WRITING:
        if (!hold(c, input, info->orig_size) || evbuffer_get_length(c->held) > HTTP_HELD_AHEAD_MAX)
            cut(c);
        return;
    case HTTP_IDLE:
    case HTTP_ACCEPTED:
        http_connection_set_phase(c, HTTP_RECEIVING);
        break;
    case HTTP_RECEIVING:
        break;
    }
    if (c->held != NULL && !hold(c, input, 0)) {
        cut(c);
        return;
    }
    receive(c, c->held != NULL ? c->held : input);
}

void http_input_continue(struct http_connection *c)
{
    c->head = (struct http_head){0};
    c->chunks = (struct http_chunks){0};
    if (c->held == NULL) {
        http_connection_set_phase(c, HTTP_IDLE);
        return;
    }
    http_connection_set_phase(c, HTTP_RECEIVING);
    receive(c, c->held);
}

bool http_input_attach(struct http_connection *c)
{
    c->input_cb = evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
    return c->input_cb != NULL;
}

void http_input_detach(struct http_connection *c)
{
    /* The buffer may be in the middle of being filled: nothing may come here any more. */
    if (c->input_cb != NULL)
        (void)evbuffer_remove_cb_entry(bufferevent_get_input(c->bev), c->input_cb);
    c->input_cb = NULL;
    drop_held(c);
}
