/* The ledger: every act is an entry in a Merkle tree (RFC 6962), committed with the change itself.
 *
 * An entry is one JSON object, in this order of fields:
 *   {"v":1,"n":"<22 base64url characters: 16 random bytes>","t":"2026-11-23T04:21:38.123Z",
 *    "act":"device.revoke","tenant":"default","actor":"local:0","subject":"device/thermo-1",
 *    "request":"<32 hex>","data":{...}}
 * The random bytes keep a leaf hash from telling what an entry says. */
#ifndef HUB_LEDGER_LEDGER_H
#define HUB_LEDGER_LEDGER_H

#include "core/note.h"
#include "core/tile.h"
#include "hub/store/store.h"

struct ledger;

#define LEDGER_DATA_MAX  4096 /* bytes of "data" in one entry */
#define LEDGER_ACT_MAX   64
#define LEDGER_ACTOR_MAX 160

struct ledger_act {
    const char *act; /* a constant: "device.revoke"; every one stands in docs/reference/acts.md */
    const char *tenant;
    const char *actor;   /* "local:uid" (Unix socket), "device:tenant/id", "hub", "policy" */
    const char *subject; /* "device/ID", "model/ID", "manifest/ID", "ca/issuing" */
    struct slice data;   /* a JSON object */
};

/* Hooks itself into the store's writer; loads the head. `origin` names the log in checkpoints. */
MUST_USE enum err ledger_new(struct store *store, const char *origin, struct ledger **ret_ledger,
                             char explain[256]);
void ledger_free(struct ledger *l);

/* Is this log a continuation of the tree of that size and root? Reads its right edge alone, so it
 * takes no longer for a large log. ERR_CONFLICT, with an explanation, for one that was set back or
 * edited since, also where it has grown again. Call before the writer starts. */
MUST_USE enum err ledger_check_continues(struct ledger *l, struct store *store, uint64_t size,
                                         const struct hash *root, char explain[256]);

/* Inside a write's apply(): the number that the next entry will have. */
uint64_t ledger_next(const struct ledger *l);
/* Inside a write's apply(): appends the entry of what has just been decided. */
MUST_USE enum err ledger_append(struct ledger *l, struct tx *tx, const struct ledger_act *act);

/* Over a database of several hubs, where another may have committed: reads the head that is stored.
 * From then on ledger_head() is no older. ERR_CONFLICT where it is smaller than one seen before, or
 * not of one piece: the database was set back, and nobody may be served from it. */
MUST_USE enum err ledger_follow(struct ledger *l, struct store_reader *reader, struct arena *arena);

/* The newest durable head. From any thread. */
struct checkpoint ledger_head(struct ledger *l);
/* Runs `fn` on `loop` after commits that moved the head; several commits may share one call. */
void ledger_on_commit(struct ledger *l, struct loop *loop, void (*fn)(void *ctx), void *ctx);

/* The signed checkpoint that is served: set by whoever had the signer sign it. Refuses one that is
 * smaller than what is there. The text is copied. */
MUST_USE enum err ledger_set_checkpoint(struct ledger *l, uint64_t size, struct slice note);
/* Copies the newest into `arena`. ERR_NOT_FOUND before the first. *ret_size may be NULL. */
MUST_USE enum err ledger_checkpoint(struct ledger *l, struct arena *arena, struct slice *ret_note,
                                    uint64_t *ret_size);

/* The bytes of a tile or entry bundle (C2SP tlog-tiles), as far as the newest durable head has it.
 * ERR_NOT_FOUND where the log is not that long, ERR_EXPIRED for entries that are archived
 * (archive.h). */
MUST_USE enum err ledger_read_tile(struct ledger *l, struct store_reader *reader,
                                   const struct tile *tile, struct arena *arena,
                                   struct slice *ret_bytes);

/* The proof that the log of `new_size` entries continues the one of `old_size` (RFC 6962 section
 * 2.1.2); empty where one of them is. ERR_NOT_FOUND where the log is not that long, or the old one
 * is the longer. Reads two tiles of each level at most. */
MUST_USE enum err ledger_read_consistency(struct ledger *l, struct store_reader *reader,
                                          uint64_t old_size, uint64_t new_size,
                                          struct hash ret_proof[MERKLE_PROOF_MAX], size_t *ret_len);

/* Walks entries from number `first` (descending: towards 0), at most `limit`, and ends before one
 * that is archived; ERR_EXPIRED where that is the first. */
MUST_USE enum err
ledger_read_entries(struct ledger *l, struct store_reader *reader, uint64_t first, bool descending,
                    size_t limit, struct arena *arena,
                    enum err (*entry)(void *ctx, uint64_t number, struct slice data), void *ctx);

/* What an entry is about, for who follows the ledger: as it was written by ledger_append(). The
 * texts are JSON's, escapes and all. ERR_SYNTAX. */
struct ledger_entry {
    struct slice act, tenant, actor, subject;
};
MUST_USE enum err ledger_entry_read(struct slice data, struct ledger_entry *ret_entry);

/* What devices are shown of the ledger: a checkpoint, with the proof that it continues the one they
 * know. Each loop has its own. Devices come often and by the thousand: so the checkpoint moves on
 * every few seconds only, those that know the same tree share a proof, and one that knows the
 * newest costs a comparison. */
struct ledger_shown;

MUST_USE enum err ledger_shown_new(struct ledger *l, struct store_reader *reader,
                                   struct ledger_shown **ret_shown);
void ledger_shown_free(struct ledger_shown *s); /* NULL is fine */

/* The answer to a device that knows the first `size` entries: an update (core/checkpoint_update.h),
 * or no bytes where there is nothing newer to show. One that `doubts` is shown the same tree once
 * more. One that knows more entries than there are is shown what there is, without a proof: the
 * ledger was set back, and it must hear of that. */
MUST_USE enum err ledger_shown_to(struct ledger_shown *s, uint64_t size, bool doubts,
                                  struct arena *arena, struct slice *ret_update);

/* A whole ledger judged by its rows, as a copy of the store hands them out: all entries, then all
 * nodes, then the head, each in the order of their keys. Rows of other tables are passed over. */
/* Of archived entries the leaf hash alone is there, and looked at. */
struct ledger_audit;
MUST_USE enum err ledger_audit_new(struct ledger_audit **ret_audit);
/* ERR_CONFLICT, with an explanation, where the row is not what those before it demand. */
MUST_USE enum err ledger_audit_row(struct ledger_audit *a, const struct table *table,
                                   const void *row, char explain[256]);
/* Was that all, and the tree of that size and root? */
MUST_USE enum err ledger_audit_end(const struct ledger_audit *a, uint64_t size,
                                   const struct hash *root, char explain[256]);
void ledger_audit_free(struct ledger_audit *a); /* NULL is fine */

#endif
