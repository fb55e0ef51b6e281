/* What the broker keeps on disk: one file of frames that grows at its end, and is written anew from
 * time to time. Killed at any byte, what was there before is there again: a frame that is not whole
 * is dropped, with all behind it.
 *
 *   journal = "HFJOURN1" frame*
 *   frame   = kind{8} length{32} check{8B} payload    check: SHA-256 of kind, length and payload,
 * cut
 *
 * What the kinds mean stands in broker/keeper.h; here they are bytes. Each call is one
 * step for any thread. */
#ifndef BROKER_JOURNAL_H
#define BROKER_JOURNAL_H

#include "core/device_feed.h"

#define JOURNAL_FRAME_MAX DEVICE_FEED_MAX

struct journal;

/* Gets each frame in turn; an error ends the reading, and is journal_open()'s. */
typedef enum err journal_frame_fn(void *context, uint8_t kind, struct slice payload);

/* Opens or makes FOLDER/journal. *ret_dropped: bytes at its end that were no whole frames. ERR_IO,
 * ERR_NO_MEMORY, ERR_BUSY (another program has it), explained. */
MUST_USE enum err journal_open(const char *folder, journal_frame_fn *frame, void *context,
                               struct journal **ret_journal, uint64_t *ret_dropped,
                               char explain[256]);
void journal_close(struct journal *j); /* NULL is fine */

/* Adds a frame; with `durable`, it survives a power cut once this returns. After an error nothing
 * more is taken until the file was written anew: what comes later must not stand there without what
 * came before. ERR_IO, ERR_DISK_FULL. */
MUST_USE enum err journal_add(struct journal *j, uint8_t kind, struct slice payload, bool durable);

/* Writes it anew: `write` calls journal_put() for each frame. The old file stays until the new one
 * is whole and durable. */
typedef enum err journal_write_fn(void *context, struct journal *j);
MUST_USE enum err journal_renew(struct journal *j, journal_write_fn *write, void *context);
MUST_USE enum err journal_put(struct journal *j, uint8_t kind, struct slice payload);

/* Whether writing it anew is worth it: more was added than there was. */
bool journal_is_long(struct journal *j);

#endif
