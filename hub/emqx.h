/* EMQX 5's management API, as far as a cut needs it: a client that is banned does not come back by
 * itself, and sessions are ended. Blocking; for a thread of its own. */
#ifndef HUB_EMQX_H
#define HUB_EMQX_H

#include "core/slice.h"
#include "hub/store/rows.h"

struct emqx;

struct emqx_options {
    const char *url;      /* "https://host" or "https://host:port"; there is no other way */
    const char *key_path; /* a file with "API-KEY:SECRET-KEY" */
    const char *roots;    /* PEM; empty: the system's */
    int cancel_fd;        /* once there is something to read from it, nothing is waited for */
};
/* ERR_SYNTAX, ERR_IO; `explain` says which option and why. */
MUST_USE enum err emqx_new(const struct emqx_options *options, struct emqx **ret_emqx,
                           char explain[256]);
void emqx_free(struct emqx *e); /* NULL is fine */
const char *emqx_host(const struct emqx *e);

/* Whatever is not done is an error with an explanation, and is to be tried again. */
MUST_USE enum err emqx_ban(struct emqx *e, const char *device, int64_t until, char explain[256]);
MUST_USE enum err emqx_unban(struct emqx *e, const char *device, char explain[256]);
/* Ends the sessions whose client id is the device's, or the device's with ":" and more behind it,
 * and looks whether they are gone: ERR_NONE where none is left, ERR_BUSY where one is. */
MUST_USE enum err emqx_end_sessions(struct emqx *e, const char *device, unsigned *ret_ended,
                                    char explain[256]);

#endif
