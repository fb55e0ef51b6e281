/* What devices are shown of the ledger. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/checkpoint_update.h"
#include "hub/ledger/internal.h"

#define SHOWN_PAUSE_MS  5000
#define SHOWN_PROOFS    256 /* different trees that devices know, meanwhile; more are made anew */
#define SHOWN_ARENA_MAX 65536

struct shown_proof {
    uint64_t old_size;
    uint8_t *update; /* malloc'd */
    size_t len;
};

struct ledger_shown {
    struct ledger *ledger;
    struct store_reader *reader;
    struct arena *scratch;
    int64_t taken_ms; /* monotonic */
    uint64_t size;
    uint8_t note[NOTE_MAX];
    size_t note_len; /* 0: none yet */
    struct shown_proof proofs[SHOWN_PROOFS];
    size_t proofs_len;
};

enum err ledger_shown_new(struct ledger *l, struct store_reader *reader,
                          struct ledger_shown **ret_shown)
{
    struct ledger_shown *s = calloc(1, sizeof *s);
    struct arena *scratch = arena_new(SHOWN_ARENA_MAX);
    if (s == NULL || scratch == NULL) {
        arena_free(scratch);
        free(s);
        return ERR_NO_MEMORY;
    }
    s->ledger = l;
    s->reader = reader;
    s->scratch = scratch;
    *ret_shown = s;
    return ERR_NONE;
}

static void drop_proofs(struct ledger_shown *s)
{
    for (size_t i = 0; i < s->proofs_len; i++)
        free(s->proofs[i].update);
    s->proofs_len = 0;
}

void ledger_shown_free(struct ledger_shown *s)
{
    if (s == NULL)
        return;
    drop_proofs(s);
    arena_free(s->scratch);
    free(s);
}

/* Moves on to the newest checkpoint, where the pause is over. */
static enum err move_on(struct ledger_shown *s)
{
    int64_t now = clock_monotonic_ms();
    if (s->note_len > 0 && now - s->taken_ms < SHOWN_PAUSE_MS)
        return ERR_NONE;
    struct slice note;
    uint64_t size;
    arena_reset(s->scratch);
    enum err err = ledger_checkpoint(s->ledger, s->scratch, &note, &size);
    if (err != ERR_NONE)
        return err == ERR_NOT_FOUND ? ERR_NONE : err;
    s->taken_ms = now;
    if (s->note_len > 0 && size == s->size)
        return ERR_NONE;
    drop_proofs(s);
    memcpy(s->note, note.data, note.len);
    s->note_len = note.len;
    s->size = size;
    return ERR_NONE;
}

static enum err write_update(struct ledger_shown *s, uint64_t old_size, const struct hash *proof,
                             size_t proof_len, struct arena *arena, struct slice *ret_update)
{
    const struct checkpoint_update update = {.old_size = old_size,
                                             .proof = proof,
                                             .proof_len = proof_len,
                                             .note = slice_of(s->note, s->note_len)};
    struct writer w = arena_writer(arena, UPDATE_MAX);
    checkpoint_update_write(&w, &update);
    if (w.err == ERR_NONE)
        *ret_update = writer_bytes(&w);
    return w.err;
}

/* Where there is no room or memory to keep it, the next one works it out again. */
static void keep(struct ledger_shown *s, uint64_t old_size, struct slice update)
{
    if (s->proofs_len == SHOWN_PROOFS)
        return;
    uint8_t *bytes = malloc(update.len);
    if (bytes == NULL)
        return;
    memcpy(bytes, update.data, update.len);
    s->proofs[s->proofs_len++] =
        (struct shown_proof){.old_size = old_size, .update = bytes, .len = update.len};
}

static enum err prove(struct ledger_shown *s, uint64_t old_size, struct arena *arena,
                      struct slice *ret_update)
{
    for (size_t i = 0; i < s->proofs_len; i++)
        if (s->proofs[i].old_size == old_size)
            return arena_copy(arena, slice_of(s->proofs[i].update, s->proofs[i].len), ret_update);
    struct hash proof[MERKLE_PROOF_MAX];
    size_t len = 0;
    enum err err = ledger_read_consistency(s->ledger, s->reader, old_size, s->size, proof, &len);
    if (err == ERR_NONE)
        err = write_update(s, old_size, proof, len, arena, ret_update);
    if (err == ERR_NONE)
        keep(s, old_size, *ret_update);
    return err;
}

/* As the database has it: the ledger's own memory is behind where another hub has written. */
static enum err read_size(struct ledger_shown *s, uint64_t *ret_size)
{
    struct ledger_head_row row = {.id = LEDGER_HEAD_ID};
    arena_reset(s->scratch);
    enum err err = store_get(s->reader, &table_ledger_head, s->scratch, &row);
    if (err == ERR_NONE)
        *ret_size = (uint64_t)row.size;
    return err;
}

enum err ledger_shown_to(struct ledger_shown *s, uint64_t size, bool doubts, struct arena *arena,
                         struct slice *ret_update)
{
    enum err err = move_on(s);
    if (err != ERR_NONE)
        return err;
    *ret_update = slice_of(NULL, 0);
    if (s->note_len == 0 || (size == s->size && !doubts))
        return ERR_NONE;
    if (size <= s->size)
        return prove(s, size, arena, ret_update);
    /* It has seen a newer checkpoint than this loop shows, or one that cannot be. */
    uint64_t whole = ledger_head(s->ledger).size;
    if (size > whole)
        err = read_size(s, &whole);
    if (err != ERR_NONE || size <= whole)
        return err;
    return write_update(s, size, NULL, 0, arena, ret_update);
}
