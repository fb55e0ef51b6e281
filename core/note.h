/* Signed notes (C2SP signed-note) and checkpoints (C2SP tlog-checkpoint): text that is signed, and
 * that a person can read. Holdfast's trust bundles are signed notes, too. Ed25519 keys only. */
#ifndef CORE_NOTE_H
#define CORE_NOTE_H

#include "core/cursor.h"
#include "core/merkle.h"

#define NOTE_MAX            16384 /* bytes of a note, signatures included */
#define NOTE_SIGNATURES_MAX 16
#define NOTE_NAME_MAX       128
#define NOTE_KEY_TEXT_MAX   200 /* "name+hash+base64" */
#define NOTE_SIGNATURE_KEPT 72  /* bytes of the longest signature that is understood */

/* What a key signs, as the first byte of a verifier key says (C2SP signed-note). */
enum note_key_type {
    NOTE_KEY_ED25519 = 0x01, /* the note's text */
    NOTE_KEY_WITNESS = 0x04, /* the text and a time: core/cosignature.h */
};

/* A verifier key: "NAME+HASH+BASE64(0x01 | Ed25519 key)". */
struct note_key {
    char name[NOTE_NAME_MAX + 1]; /* no spaces, no plus */
    uint32_t id;
    uint8_t key[ED25519_KEY_SIZE];
};

/* Fills in the id: the first four bytes of H(name | "\n" | 0x01 | key). */
MUST_USE enum err note_key_init(struct note_key *k, sha256_fn *sha256, struct slice name,
                                const uint8_t key[ED25519_KEY_SIZE]);
/* ERR_SYNTAX where the hash does not belong to name and key, ERR_UNSUPPORTED for a key that is not
 * Ed25519. */
MUST_USE enum err note_key_read(struct slice text, sha256_fn *sha256, struct note_key *ret_key);
void note_key_write(struct writer *w, const struct note_key *k);
/* The same key under the same name. */
static inline bool note_key_equal(const struct note_key *a, const struct note_key *b)
{
    return slice_equal(slice_of_text(a->name), slice_of_text(b->name)) &&
           slice_equal(slice_of(a->key, sizeof a->key), slice_of(b->key, sizeof b->key));
}

/* The text of a note, in good form but NOT verified: for notes that name their own key. */
MUST_USE enum err note_text_unverified(struct slice note, struct slice *ret_text);
/* Checks that `note` is well formed and carries a signature by `key`, and gives its text (with the
 * final line end). Signatures by others are skipped, as the format asks. ERR_SYNTAX, ERR_LIMIT,
 * ERR_NOT_FOUND (no signature by that key), ERR_BAD_SIGNATURE. */
MUST_USE enum err note_verify(struct slice note, const struct note_key *key,
                              ed25519_verify_fn *verify, struct slice *ret_text);
/* The value of the next line of a text, "KEY VALUE", which must have this key. */
struct slice note_read_line(struct reader *r, const char *key);
/* Appends the signature lines' separator and one signature line to a text that ends in LF. */
void note_write_signature(struct writer *w, const struct note_key *key,
                          const uint8_t signature[ED25519_SIGNATURE_SIZE]);
/* Appends one more signature line to a note that has one. */
void note_write_further_signature(struct writer *w, const struct note_key *key,
                                  const uint8_t signature[ED25519_SIGNATURE_SIZE]);

/* ---- for other types of signatures ---- */

/* As note_key_init(), note_key_read() and note_key_write(), which are those of NOTE_KEY_ED25519. */
MUST_USE enum err note_typed_key_init(struct note_key *k, sha256_fn *sha256,
                                      enum note_key_type type, struct slice name,
                                      const uint8_t key[ED25519_KEY_SIZE]);
MUST_USE enum err note_typed_key_read(struct slice text, sha256_fn *sha256, enum note_key_type type,
                                      struct note_key *ret_key);
void note_typed_key_write(struct writer *w, enum note_key_type type, const struct note_key *k);

struct note_signature {
    struct slice name;
    uint32_t key_id;
    size_t len;
    uint8_t bytes[NOTE_SIGNATURE_KEPT]; /* its first ones, where it is longer */
};

/* The next signature line, for a reader over what follows the empty line after the text. */
struct note_signature note_read_signature(struct reader *r);
bool note_signature_is_by(const struct note_signature *s, const struct note_key *key);
void note_write_signature_line(struct writer *w, const struct note_key *key,
                               struct slice signature);

struct checkpoint {
    char origin[NOTE_NAME_MAX + 1];
    uint64_t size;
    struct hash root;
};

/* The text of a checkpoint, without signatures. */
void checkpoint_write(struct writer *w, const struct checkpoint *c);
/* From a note's text. Extension lines are allowed and skipped. */
MUST_USE enum err checkpoint_read(struct slice text, struct checkpoint *ret_checkpoint);

#endif
