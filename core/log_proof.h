/* One entry with the proof that it is in a log, in one small text (C2SP tlog-proof, version
 * "c2sp.org/tlog-proof@v1"): the entry in the line for extra data, its number, the inclusion proof,
 * and the checkpoint with all its signatures.
 *
 *   c2sp.org/tlog-proof@v1
 *   extra <base64 of the entry>
 *   index 73894
 *   <base64 of a hash>, a line for each, from the leaf's sibling up
 *
 *   <the checkpoint's note> */
#ifndef CORE_LOG_PROOF_H
#define CORE_LOG_PROOF_H

#include "core/base64.h"
#include "core/note.h"
#include "core/tile.h"

/* Bytes of the longest text: an entry, the hashes, the note, and the words around them. */
#define LOG_PROOF_MAX                                                                              \
    (BASE64_SIZE((size_t)ENTRY_MAX) + MERKLE_PROOF_MAX * (BASE64_SIZE(SHA256_SIZE) + 1) +          \
     NOTE_MAX + 128)

struct log_proof {
    struct slice entry;
    uint64_t number;
    struct hash hashes[MERKLE_PROOF_MAX];
    size_t hashes_len;
    struct slice checkpoint; /* the note */
};

void log_proof_write(struct writer *w, const struct log_proof *p);

/* Reads its form alone: what it says is the caller's to check, first the note (core/note.h), then
 * log_proof_verify(). The entry is put into `entry`, the checkpoint stays in the text. ERR_SYNTAX,
 * ERR_LIMIT, ERR_UNSUPPORTED where it is another version or carries no entry. */
MUST_USE enum err log_proof_read(struct slice text, uint8_t *entry, size_t max,
                                 struct log_proof *ret_proof);
/* Does the entry belong to that root? ERR_BAD_SIGNATURE where it does not. */
MUST_USE enum err log_proof_verify(const struct log_proof *p, sha256_fn *sha256,
                                   const struct checkpoint *checkpoint);

#endif
