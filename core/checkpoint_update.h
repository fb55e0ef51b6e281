/* A checkpoint with the proof that it continues an earlier one: what C2SP tlog-witness has as the
 * body of add-checkpoint, and what a device gets of the hub's ledger. Text:
 *
 *   old 20852163
 *   PROOF           Base64, one hash a line (RFC 6962 section 2.1.2); none where old is 0
 *                   an empty line
 *   CHECKPOINT      a signed note (core/note.h) */
#ifndef CORE_CHECKPOINT_UPDATE_H
#define CORE_CHECKPOINT_UPDATE_H

#include "core/note.h"

#define UPDATE_PROOF_MAX  63 /* hashes; as C2SP has it */
#define UPDATE_PROOF_TEXT (UPDATE_PROOF_MAX * 45)
#define UPDATE_MAX        (26 + UPDATE_PROOF_TEXT + NOTE_MAX) /* bytes of the whole */

struct checkpoint_update {
    uint64_t old_size;
    const struct hash *proof;
    size_t proof_len;
    struct slice note; /* in the text that was read; NOT verified */
};

/* ERR_LIMIT where the proof is too long. */
void checkpoint_update_write(struct writer *w, const struct checkpoint_update *update);
/* The hashes are decoded to `proof`. Checks the form of all but the note. ERR_SYNTAX, ERR_LIMIT. */
MUST_USE enum err checkpoint_update_read(struct slice text, struct hash proof[UPDATE_PROOF_MAX],
                                         struct checkpoint_update *ret_update);

#endif
