/* Cosignatures (C2SP tlog-cosignature, "cosignature/v1"): a witness says of a checkpoint that, at
 * that time, it was the newest it had seen of that log, and continued all it had seen before. A
 * log that shows different people different histories needs its witnesses to lie, too. */
#ifndef CORE_COSIGNATURE_H
#define CORE_COSIGNATURE_H

#include "core/note.h"

#define COSIGNATURE_SIZE (8 + ED25519_SIGNATURE_SIZE) /* time, signature */
#define COSIGNED_TEXT_MAX                                                                          \
    2048 /* bytes of a checkpoint's text: a name, a number, a hash, some lines */
#define COSIGNED_MESSAGE_MAX (COSIGNED_TEXT_MAX + 48)
#define WITNESSES_MAX        NOTE_SIGNATURES_MAX

/* A type of its own, so that no log's key is taken for a witness's. */
struct witness_key {
    struct note_key note;
};

/* As note_key_init(), note_key_read() and note_key_write(), with the type byte 0x04. */
MUST_USE enum err witness_key_init(struct witness_key *k, sha256_fn *sha256, struct slice name,
                                   const uint8_t key[ED25519_KEY_SIZE]);
MUST_USE enum err witness_key_read(struct slice text, sha256_fn *sha256,
                                   struct witness_key *ret_key);
void witness_key_write(struct writer *w, const struct witness_key *k);

/* What a witness signs: the time in seconds since 1970, and the checkpoint's text. ERR_LIMIT where
 * the time is over INT64_MAX or the text over COSIGNED_TEXT_MAX. */
void cosignature_write_message(struct writer *w, uint64_t time, struct slice text);
/* Appends the witness's line to a note that has a signature. */
void cosignature_write(struct writer *w, const struct witness_key *key, uint64_t time,
                       const uint8_t signature[ED25519_SIGNATURE_SIZE]);

/* Checks that a well-formed note carries a cosignature by `key`; where there are several, all must
 * verify, and the latest time counts. The log's own signature is note_verify()'s to check.
 * ERR_SYNTAX, ERR_LIMIT, ERR_NOT_FOUND (none by that key), ERR_BAD_SIGNATURE. */
MUST_USE enum err cosignature_verify(struct slice note, const struct witness_key *key,
                                     ed25519_verify_fn *verify, uint64_t *ret_time);

struct cosignature_verdict {
    enum err err;  /* as cosignature_verify() */
    uint64_t time; /* seconds since 1970, where err is ERR_NONE */
};

/* Checks the note against all `n` keys, a verdict for each, and returns how many different public
 * keys vouch for it: one that was given twice, or under two names, counts once. */
size_t cosignatures_count(struct slice note, const struct witness_key *keys, size_t n,
                          ed25519_verify_fn *verify, struct cosignature_verdict *ret_verdicts);

#endif
