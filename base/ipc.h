/* Messages over a SOCK_SEQPACKET pair: the kernel keeps their bounds. */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define IPC_MESSAGE_MAX 16384 /* bytes: a certificate chain and its request fit with room */

/* Both ends close-on-exec and non-blocking. */
MUST_USE enum err ipc_pair(int ret_fds[2]);
/* 1 to IPC_MESSAGE_MAX bytes. ERR_BUSY where the socket's buffer is full, ERR_CLOSED where the
 * other side is gone, ERR_LIMIT. */
MUST_USE enum err ipc_send(int fd, struct slice message);
/* One message. ERR_BUSY: none there; ERR_CLOSED; ERR_LIMIT: longer than `max`, and lost. */
MUST_USE enum err ipc_receive(int fd, uint8_t *buffer, size_t max, size_t *ret_len);
/* Waits until there is one, or the other side is gone, at most `ms` (-1: for ever): ERR_TIMEOUT. */
MUST_USE enum err ipc_wait(int fd, int64_t ms);

#endif
