/* A ledger as files: "checkpoint", "tile/0/000", "tile/entries/000.p/12", as they are served. */
#ifndef VERIFY_FOLDER_H
#define VERIFY_FOLDER_H

#include "core/log_reader.h"

struct folder {
    int fd;                /* the folder's */
    uint64_t tiles, bytes; /* read so far */
};

/* Reads a whole regular file below `dir_fd` (or AT_FDCWD). ERR_NOT_FOUND, ERR_LIMIT where it is
 * longer than `max`, ERR_UNSUPPORTED where it is no regular file, ERR_IO with errno set. */
MUST_USE enum err folder_read(int dir_fd, const char *path, uint8_t *buffer, size_t max,
                              size_t *ret_len);
/* A log_fetch_fn; ctx is the folder. */
enum err folder_fetch(void *ctx, struct slice path, uint8_t *buffer, size_t max, size_t *ret_len);

#endif
