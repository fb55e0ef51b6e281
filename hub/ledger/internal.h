/* What ledger.c, entry.c, verify.c and read.c share. */
#ifndef HUB_LEDGER_INTERNAL_H
#define HUB_LEDGER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hub/ledger/ledger.h"

/* "data", six texts that may be escaped to six times their length, and the fixed parts. */
#define LEDGER_ENTRY_MAX 8192

/* Two for each loop of the largest hub. */
#define LEDGER_LISTENERS_MAX 512

/* The setting that says what is archived: "BEFORE CLEARED WHERE". */
#define LEDGER_ARCHIVE_NAME "ledger.archive"

/* The key of the head's one row. */
#define LEDGER_HEAD_ID 1

struct listener {
    struct loop_task task;
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
    atomic_bool pending; /* posted, not run yet: the commits in between share the call */
};

struct ledger {
    char origin[NOTE_NAME_MAX + 1];

    /* The writer's. */
    struct merkle_frontier durable; /* as of the last commit */
    struct merkle_frontier current; /* with what this batch appended */
    struct merkle_frontier saved;   /* before this write appended */
    bool is_saved;
    bool has_row; /* the head's row is there */

    /* Everybody's, under the lock. */
    pthread_mutex_t lock;
    struct checkpoint head;
    uint8_t note[NOTE_MAX];
    size_t note_len; /* 0: none yet */
    uint64_t note_size;
    struct listener listeners[LEDGER_LISTENERS_MAX];
    size_t listeners_len;
};

/* Writes an entry as ledger.h lays it down. ERR_LIMIT, ERR_INTERNAL (not a JSON object),
 * ERR_CRYPTO. */
MUST_USE enum err ledger_entry_write(struct writer *w, const struct ledger_act *act,
                                     const uint8_t request_id[STORE_REQUEST_ID], int64_t now_ms);

struct slice ledger_frontier_bytes(const struct merkle_frontier *f);
/* ERR_SYNTAX where there are not as many nodes as the size has bits set. */
MUST_USE enum err ledger_frontier_read(uint64_t size, struct slice bytes,
                                       struct merkle_frontier *ret_frontier);

/* Checks at start that head, frontier, nodes and the newest entries agree. ERR_CONFLICT, with an
 * explanation, where they do not. */
MUST_USE enum err ledger_verify(struct store_reader *reader, const struct ledger_head_row *head,
                                struct merkle_frontier *ret_frontier, char explain[256]);
/* The root that the first `size` entries have, from stored entries and nodes. */
MUST_USE enum err ledger_root_at(struct store_reader *reader, uint64_t size, struct hash *ret_root,
                                 char explain[256]);
/* The same for a ledger without a head: there must not be any entry. */
MUST_USE enum err ledger_verify_empty(struct store_reader *reader, char explain[256]);

#endif
