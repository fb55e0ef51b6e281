#include "policy/change.h"

#define TEXT_MAX 512 /* bytes: a fleet's longest name and a digest take less */

void policy_change_write(struct writer *w, const struct policy_change *change)
{
    writer_text(w, "holdfast-policy-change/v1\nfleet ");
    writer_text(w, change->fleet);
    writer_text(w, "\nfrom ");
    writer_decimal(w, change->from);
    writer_text(w, "\npolicy ");
    writer_hex(w, slice_of(change->sha256, sizeof change->sha256));
    writer_text(w, "\n");
}

/* There is one way to write it: so it is compared, and never parsed. */
enum err policy_change_verify(struct slice note, const struct note_key *key,
                              ed25519_verify_fn *verify, const struct policy_change *change)
{
    uint8_t bytes[TEXT_MAX];
    struct writer expected = writer_over(bytes, sizeof bytes);
    struct slice text = {NULL, 0};
    enum err err = note_verify(note, key, verify, &text);
    if (err != ERR_NONE)
        return err;
    policy_change_write(&expected, change);
    if (expected.err != ERR_NONE)
        return expected.err;
    return slice_equal(text, writer_bytes(&expected)) ? ERR_NONE : ERR_CONFLICT;
}
