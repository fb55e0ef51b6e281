/* What a process gives up once it is set up. Linux: seccomp by libseccomp, capabilities, users. */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <sys/types.h>

#include "core/compiler.h"
#include "core/error.h"

/* "name" or a number; ERR_NOT_FOUND. */
MUST_USE enum err sandbox_user(const char *name, uid_t *ret_uid, gid_t *ret_gid);
/* Becomes that user for good: no further groups, gid, uid; checks that there is no way back.
 * Without root only checks that this is who we are. ERR_REFUSED: it is not, or it is root. */
MUST_USE enum err sandbox_become(uid_t uid, gid_t gid);
/* No new privileges, not dumpable (so not traceable by others of the same user), no core files,
 * and SIGKILL at the end of the thread that forked it. After sandbox_become(), which takes part of
 * this away again. */
MUST_USE enum err sandbox_harden(void);
/* Leaves the network by a namespace of its own; needs root, ERR_REFUSED without. */
MUST_USE enum err sandbox_leave_network(void);
/* A process that from now on may compute, and read and write what it has open. Everything else,
 * socket(), open() and execve() first among them, kills it with SIGSYS. Whatever OpenSSL loads
 * lazily (its configuration file first) has to have been loaded: sign and draw random bytes once
 * before. */
MUST_USE enum err sandbox_compute_only(void);
/* The hub's own filter: no execve, ptrace, process_vm_*, bpf, mount, module or keyring calls. */
MUST_USE enum err sandbox_server(void);

#endif
