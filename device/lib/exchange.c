/* One HTTP request over TLS, and what its answer means. */
#include "device/lib/internal.h"

#define PIECE 512 /* bytes taken from the connection at a time; they pass over the stack */

enum err endpoint_read(const char *text, char host[DEVICE_HOST_MAX + 1], uint16_t *ret_port)
{
    struct reader r = reader_over(slice_of_text(text));
    struct slice name;
    if (reader_peek(&r) == '[') {
        reader_expect(&r, SLICE_LITERAL("["));
        name = reader_until(&r, ']');
        reader_expect(&r, SLICE_LITERAL(":"));
    } else {
        name = reader_until(&r, ':');
    }
    uint64_t number = reader_decimal(&r, UINT16_MAX);
    enum err err = reader_finish(&r);
    if (err != ERR_NONE)
        return err;
    if (number == 0 || name.len == 0)
        return ERR_SYNTAX;
    if (name.len > DEVICE_HOST_MAX)
        return ERR_LIMIT;
    memcpy(host, name.data, name.len);
    host[name.len] = '\0';
    *ret_port = (uint16_t)number;
    return ERR_NONE;
}

void exchange_close(struct device *d)
{
    if (d->connected)
        d->port->close(d->port->ctx);
    d->connected = false;
}

/* What is said of storage stays apart from what a port may say of its network. */
static enum err of_network(enum err err)
{
    return err == ERR_IO || err == ERR_DISK_FULL ? ERR_CLOSED : err;
}

static enum err open_connection(struct device *d, const struct request *q, int64_t deadline)
{
    struct slice chain = {NULL, 0};
    if (q->client == CLIENT_MANUFACTURER) {
        chain = d->options->manufacturer_chain;
    } else if (q->client != CLIENT_NONE) {
        enum err err = identity_load_chain(d, (int)q->client);
        if (err != ERR_NONE)
            return err;
        chain = slice_of(d->chain, d->chain_len);
    }
    const struct port_tls tls = {
        .host = d->endpoints[q->endpoint].host,
        .port = d->endpoints[q->endpoint].port,
        .roots = d->bundle.server_roots,
        .roots_len = d->bundle.server_roots_len,
        .time = device_time(d),
        .chain = chain,
        .key = q->client == CLIENT_NONE ? PORT_KEY_A : (enum port_key)q->client,
        .deadline_ms = deadline,
    };
    enum err err = d->port->connect(d->port->ctx, &tls, &d->server);
    if (err != ERR_NONE) {
        d->port->close(d->port->ctx);
        return of_network(err);
    }
    d->connected = true;
    d->connected_to = q->endpoint;
    d->connected_as = q->client;
    return ERR_NONE;
}

static enum err send_request(struct device *d, const struct request *q, int64_t deadline)
{
    struct writer w = writer_over(d->message, sizeof d->message);
    enum err err = http1_write_request(&w, q->method, slice_of_text(q->target),
                                       slice_of_text(d->endpoints[q->endpoint].text), q->extra,
                                       q->content_type, q->body);
    if (err == ERR_NONE)
        err = d->port->send(d->port->ctx, writer_bytes(&w), deadline);
    mem_wipe(d->message, w.len); /* it may hold the claim code */
    return err;
}

static enum err receive_answer(struct device *d, int64_t deadline)
{
    http1_response_init(&d->answer, d->message, sizeof d->message);
    while (!http1_response_done(&d->answer)) {
        uint8_t piece[PIECE];
        size_t len = 0, used = 0;
        enum err err = d->port->receive(d->port->ctx, piece, sizeof piece, deadline, &len);
        if (err == ERR_CLOSED)
            return http1_response_end(&d->answer);
        if (err != ERR_NONE)
            return err;
        err = http1_response_feed(&d->answer, slice_of(piece, len), &used);
        if (err != ERR_NONE)
            return err;
        if (used < len)
            d->answer.keep_alive = false; /* it said more than it was asked */
    }
    return ERR_NONE;
}

/* The member `code` of the hub's problem. Nothing but its own alphabet is taken over, so it needs
 * no more than to be found: it decides how long we wait, never whom we trust. */
static void read_code(struct device *d)
{
    static const char key[] = "\"code\":\"";
    struct slice body = http1_response_body(&d->answer);
    d->code[0] = '\0';
    for (size_t i = 0; i + sizeof key - 1 <= body.len; i++) {
        if (memcmp(body.data + i, key, sizeof key - 1) != 0)
            continue;
        size_t n = 0;
        for (size_t at = i + sizeof key - 1; at < body.len && n < DEVICE_CODE_MAX; at++, n++) {
            uint8_t c = body.data[at];
            if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
                break;
            d->code[n] = (char)c;
        }
        d->code[n] = '\0';
        return;
    }
}

/* RFC 9110 section 10.2.3; a date instead of seconds is passed over. */
static void read_retry_after(struct device *d)
{
    struct slice value;
    if (!http1_response_header(&d->answer, "Retry-After", &value))
        return;
    struct reader r = reader_over(value);
    uint64_t seconds = reader_decimal(&r, UINT64_MAX);
    if (reader_finish(&r) == ERR_NONE)
        d->retry_after =
            seconds > DEVICE_RETRY_AFTER_MAX ? DEVICE_RETRY_AFTER_MAX : (int64_t)seconds;
}

void exchange_raise_time(struct device *d, int64_t seconds)
{
    int64_t credible = timeline_credible(d->server.not_before, d->server.not_after);
    timeline_raise(&d->timeline, seconds < credible ? seconds : credible, device_monotonic(d));
}

enum err exchange(struct device *d, const struct request *q)
{
    int64_t deadline = device_monotonic(d) + DEVICE_EXCHANGE_MS;
    d->status = 0;
    d->code[0] = '\0';
    d->retry_after = 0;
    d->waiting = false;
    for (;;) {
        bool kept = d->connected && d->connected_to == q->endpoint && d->connected_as == q->client;
        enum err err = ERR_NONE;
        if (!kept) {
            exchange_close(d);
            err = open_connection(d, q, deadline);
            if (err != ERR_NONE)
                return err;
        }
        d->answer.len = 0;
        err = send_request(d, q, deadline);
        if (err == ERR_NONE)
            err = receive_answer(d, deadline);
        if (err == ERR_NONE)
            break;
        exchange_close(d);
        /* A kept connection may have been closed meanwhile. All our requests may come twice. */
        if (!kept || d->answer.len > 0 || err == ERR_TIMEOUT || err == ERR_REFUSED)
            return of_network(err);
    }
    if (!d->answer.keep_alive)
        exchange_close(d);
    d->status = d->answer.status;
    if (d->status >= 400)
        read_code(d);
    read_retry_after(d);
    /* A server that proved itself by a certificate that is valid now: so this is about now. */
    exchange_raise_time(d, device_time(d));
    return ERR_NONE;
}

enum err exchange_outcome(struct device *d, unsigned expected)
{
    if (d->status == expected)
        return ERR_NONE;
    if (d->status == 403 &&
        slice_equal(slice_of_text(d->code), SLICE_LITERAL("device-not-trusted"))) {
        d->waiting = true;
        return ERR_BUSY;
    }
    switch (d->status) {
    case 401:
    case 403:
        return ERR_REFUSED;
    case 202: /* RFC 7030 section 4.2.3: somebody has to look at it first */
    case 408:
    case 425:
    case 429:
    case 503:
        return ERR_BUSY;
    default:
        return ERR_UNSUPPORTED;
    }
}
