/* A ledger's tiles as files of a folder, named as they are served (C2SP tlog-tiles): what
 * holdfast-verify reads. One process writes at a time. */
#ifndef CLI_LEDGER_FOLDER_H
#define CLI_LEDGER_FOLDER_H

#include "core/tile.h"

struct ledger_folder {
    const char *path; /* the caller's */
    int fd;           /* -1 where it is not open */
};

/* Makes the folder where it is not there, for its owner alone: a ledger is not for everybody.
 * ERR_BUSY where another process writes there, ERR_IO with errno set. */
MUST_USE enum err ledger_folder_open(const char *path, struct ledger_folder *ret_folder);
/* Opens one that is there, to read from it. ERR_IO with errno set. */
MUST_USE enum err ledger_folder_look(const char *path, struct ledger_folder *ret_folder);
void ledger_folder_close(struct ledger_folder *f); /* one that is not open is fine */

/* Is there a file of that name? */
bool ledger_folder_has(const struct ledger_folder *f, const char *name);
/* The file at `path` ("tile/0/000"), where it is there and no longer than `max`. */
bool ledger_folder_read(const struct ledger_folder *f, struct slice path, uint8_t *buffer,
                        size_t max, size_t *ret_len);
/* Puts a file there in one step, and makes the folders above it. Durable only after
 * ledger_folder_flush(). ERR_DISK_FULL, ERR_IO with errno set. */
MUST_USE enum err ledger_folder_write(const struct ledger_folder *f, struct slice path,
                                      struct slice bytes);
MUST_USE enum err ledger_folder_flush(const struct ledger_folder *f);
/* Removes what a log of that size has no use for: partial tiles that have grown since, and what a
 * write that was cut short has left. */
void ledger_folder_tidy(const struct ledger_folder *f, uint64_t size);

#endif
