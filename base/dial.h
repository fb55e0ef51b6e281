/* Opens connections for blocking clients: bounded in time, non-blocking from then on. */
#ifndef BASE_DIAL_H
#define BASE_DIAL_H

#include <stdint.h>
#include <sys/socket.h>

#include "core/compiler.h"
#include "core/error.h"
#include "core/mem.h"

/* Waits until a descriptor is ready for `events` of poll(). ERR_TIMEOUT; ERR_CLOSED as soon as
 * `cancel_fd`, if it is one (> 0), has something to read. Deadlines are of clock_monotonic_ms(). */
MUST_USE enum err dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd);
/* A socket connected to `to`; -1 and errno (ETIMEDOUT, ECANCELED). */
int dial(const struct sockaddr *to, socklen_t size, int64_t deadline_ms, int cancel_fd);
/* The same over TCP, to the first address of `host` that answers; -1, and *ret_fault says why:
 * "connection refused", or why there is no address. errno is 0 for the latter. */
int dial_host(const char *host, const char *port, int64_t deadline_ms, int cancel_fd,
              const char **ret_fault);

#endif
