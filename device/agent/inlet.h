/* The socket through which programs on the device hand in their messages (handover.h): a Unix
 * datagram socket, so that each is whole or not there, and nobody holds anything open. Who may, its
 * file mode says. */
#ifndef DEVICE_AGENT_INLET_H
#define DEVICE_AGENT_INLET_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

struct inlet {
    int fd; /* -1: there is none */
    struct sockaddr_un address;
};
#define INLET_INITIAL ((struct inlet){.fd = -1})

/* Whoever sent a datagram, where it can be answered. */
struct inlet_sender {
    struct sockaddr_un address;
    socklen_t len; /* 0: nobody waits for an answer */
};

/* ERR_LIMIT: the path is too long for a socket; ERR_EXISTS: something else is there, or another
 * agent listens; ERR_IO: errno says why. */
MUST_USE enum err inlet_open(struct inlet *i, const char *path, mode_t mode);
void inlet_close(struct inlet *i);
/* The next datagram; one that is longer than `max` is given as that long, cut. ERR_BUSY: there is
 * none. */
MUST_USE enum err inlet_receive(struct inlet *i, uint8_t *buffer, size_t max, size_t *ret_len,
                                struct inlet_sender *ret_sender);
/* It is not waited for where it does not listen. */
void inlet_answer(struct inlet *i, const struct inlet_sender *to, struct slice text);

/* The other side: hands `datagram` in and waits for the answer, up to some seconds; and where that
 * is good and `wait_s` is not 0, up to so many seconds for a second one, which is given then.
 * ERR_NOT_FOUND: no agent listens there; ERR_REFUSED: the file mode does not let us; ERR_TIMEOUT;
 * ERR_LIMIT; ERR_IO. */
MUST_USE enum err inlet_ask(const char *path, struct slice datagram, unsigned wait_s,
                            uint8_t *answer, size_t max, size_t *ret_len);

#endif
