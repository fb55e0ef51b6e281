#include "core/error.h"

static const char *const texts[ERR_COUNT] = {
    [ERR_NONE] = "success",
    [ERR_SYNTAX] = "malformed",
    [ERR_LIMIT] = "over the limit",
    [ERR_UNSUPPORTED] = "not supported",
    [ERR_BAD_SIGNATURE] = "signature does not verify",
    [ERR_REFUSED] = "refused",
    [ERR_NOT_FOUND] = "not found",
    [ERR_EXISTS] = "exists already",
    [ERR_CONFLICT] = "state has changed",
    [ERR_EXPIRED] = "expired or not yet valid",
    [ERR_BUSY] = "busy",
    [ERR_TIMEOUT] = "timed out",
    [ERR_CLOSED] = "closed",
    [ERR_UNAVAILABLE] = "can't be reached",
    [ERR_IN_DOUBT] = "done or not, it can't be told",
    [ERR_NO_MEMORY] = "out of memory",
    [ERR_DISK_FULL] = "disk full",
    [ERR_IO] = "input/output error",
    [ERR_CRYPTO] = "cryptographic library error",
    [ERR_INTERNAL] = "internal error",
};

const char *err_text(enum err err)
{
    if ((unsigned)err >= ERR_COUNT)
        return "unknown error";
    return texts[err];
}
