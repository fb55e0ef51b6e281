/* The one error type. Functions that can fail return it and are MUST_USE; their ret_ parameters
 * are untouched unless they return ERR_NONE. */
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

enum err {
    ERR_NONE = 0,
    ERR_SYNTAX,        /* bytes that are not what their format says */
    ERR_LIMIT,         /* larger, deeper or more than a limit allows */
    ERR_UNSUPPORTED,   /* well formed, but of a kind we do not take */
    ERR_BAD_SIGNATURE, /* a signature or MAC does not verify */
    ERR_REFUSED,       /* understood and not allowed */
    ERR_NOT_FOUND,
    ERR_EXISTS,      /* a thing of that name or key is there already */
    ERR_CONFLICT,    /* the state is no longer what the caller expected */
    ERR_EXPIRED,     /* past its end, or before its start */
    ERR_BUSY,        /* a bounded queue is full; try again */
    ERR_TIMEOUT,     /* a deadline passed */
    ERR_CLOSED,      /* the other side is gone, or we are shutting down */
    ERR_UNAVAILABLE, /* what this needs can't be reached just now; nothing was changed */
    ERR_IN_DOUBT,    /* contact was lost while it was being kept: it may be done or not */
    ERR_NO_MEMORY,   /* allocation failed */
    ERR_DISK_FULL,   /* no room to write; nothing was changed */
    ERR_IO,          /* the system refused; errno tells more where one is set */
    ERR_CRYPTO,      /* the cryptographic library failed */
    ERR_INTERNAL,    /* a bug: an invariant of ours does not hold */
    ERR_COUNT
};

/* A short phrase in lower case, for logs and messages; never NULL. */
const char *err_text(enum err err);

#endif
