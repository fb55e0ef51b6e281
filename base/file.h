/* Whole small files: read with a limit, replaced in one step that survives a power cut. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <sys/types.h>

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

/* Reads a file of at most `max` bytes into fresh memory (free() it; wiped by file_free_secret()).
 * ERR_NOT_FOUND, ERR_LIMIT, ERR_IO, ERR_NO_MEMORY. A NUL stands behind the bytes. */
MUST_USE enum err file_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_len);
void file_free_secret(uint8_t *bytes, size_t len);

/* Writes path.new, flushes it, renames it over `path`, flushes the folder: afterwards the old or
 * the new bytes are there, whatever happens. ERR_DISK_FULL or ERR_IO leave the old; only where the
 * last step, the folder's flush, fails with ERR_IO may the new be there. `mode` holds whatever the
 * umask. One writer of a path at a time: two would share path.new. */
MUST_USE enum err file_replace(const char *path, struct slice bytes, mode_t mode);
/* All of them, to where `fd` stands. ERR_DISK_FULL, ERR_IO. */
MUST_USE enum err file_write(int fd, struct slice bytes);
/* What errno says after a call on a file failed: ERR_NOT_FOUND, ERR_EXISTS, ERR_DISK_FULL,
 * ERR_NO_MEMORY, ERR_IO. */
MUST_USE enum err file_error(void);
/* Makes the names in the folder that `path` lies in durable. ERR_NOT_FOUND, ERR_IO. */
MUST_USE enum err file_flush_folder(const char *path);

#endif
