/* A second connection, beside the one of port.h, that never waits: to an MQTT broker. The same
 * proof is asked of the server as there, and it must be a device of the fleet itself, as brokers
 * are. */
#ifndef DEVICE_PORT_POSIX_STREAM_H
#define DEVICE_PORT_POSIX_STREAM_H

#include <netinet/in.h>
#include <sys/types.h>

#include "device/lib/limits.h"
#include "device/port/posix/posix.h"

#define STREAM_ADDRESSES_MAX 8 /* of one name that are tried */

union stream_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* lookup.c: the addresses of a name, found by a process of its own, since the resolver waits for as
 * long as it likes and cannot be told to stop. */
struct lookup {
    pid_t child; /* 0: none */
    int fd;      /* readable once there is an answer; -1: none */
};
/* Addresses in text are there at once: ERR_NONE and *ret_len. ERR_BUSY: wait for fd. */
MUST_USE enum err lookup_begin(struct lookup *l, const char *host, uint16_t port,
                               union stream_address *addresses, size_t *ret_len);
/* ERR_BUSY while there is no answer; ERR_NOT_FOUND. */
MUST_USE enum err lookup_take(struct lookup *l, union stream_address *addresses, size_t *ret_len);
void lookup_end(struct lookup *l);

struct stream {
    enum { STREAM_CLOSED, STREAM_LOOKING_UP, STREAM_CONNECTING, STREAM_SHAKING, STREAM_OPEN } state;
    struct lookup lookup;
    union stream_address addresses[STREAM_ADDRESSES_MAX];
    size_t addresses_len, at; /* the one that is tried */
    int64_t deadline_ms;      /* of all */
    int64_t address_ms;       /* of this address */
    int fd;
    short events; /* of `fd` that it waits for while it connects */
    char host[DEVICE_HOST_MAX + 1];
    int64_t time; /* at which the server must be valid */
    SSL_CTX *context;
    SSL *connection;
};

#define STREAM_INITIAL ((struct stream){.lookup = {.fd = -1}, .fd = -1})

/* Who we are, and whom we believe, from the next connection on: `roots`, `chain` and `key` of
 * *tls. */
MUST_USE enum err stream_set_identity(struct stream *s, struct posix_port *port,
                                      const struct port_tls *tls);
/* Starts to connect; after that stream_go_on() whenever its descriptor is ready, or the time has
 * come. */
void stream_begin(struct stream *s, const char *host, uint16_t port, int64_t time, int64_t now_ms,
                  int64_t patience_ms);
/* ERR_BUSY while it connects, ERR_NONE once it is open. Everything else is a failure, after which
 * it is closed; as port.h's connect has them. */
MUST_USE enum err stream_go_on(struct stream *s, int64_t now_ms);
/* What it waits for: the descriptor (-1: none) and its events; and until when at most. */
int stream_waits_for(const struct stream *s, bool has_output, short *ret_events,
                     int64_t *ret_until_ms);
/* ERR_BUSY: nothing just now. ERR_CLOSED, ERR_REFUSED, ERR_IO; it is closed then. */
MUST_USE enum err stream_send(struct stream *s, struct slice bytes, size_t *ret_len);
MUST_USE enum err stream_receive(struct stream *s, uint8_t *buffer, size_t max, size_t *ret_len);
void stream_close(struct stream *s);
void stream_free(struct stream *s);

#endif
