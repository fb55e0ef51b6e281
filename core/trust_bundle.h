/* The trust bundle: what a device is born with and follows. A signed note (core/note.h), signed
 * with the bundle key, which is kept off the hub. Its text:
 *
 *   holdfast-trust-bundle/v1
 *   fleet FLEET                       one; the trust domain in device names
 *   version 3                         one; a newer bundle replaces an older, never the reverse
 *   time-floor 2026-11-23T04:21:38Z   one; the device's clock is never earlier than this
 *   bundle-key VKEY                   one; signs this bundle and the next
 *   ledger-key VKEY                   one or more
 *   policy-key VKEY                   as many as there are: each signs rules (core/rules.h)
 *   server-root BASE64(DER)           one or more: what the hub's TLS certificate must chain to
 *
 * Keys come in this order, each line ended by LF. Unknown keys are refused: a device that does not
 * understand its bundle must not follow it. */
#ifndef CORE_TRUST_BUNDLE_H
#define CORE_TRUST_BUNDLE_H

#include "core/note.h"
#include "core/x509.h"

#define TRUST_BUNDLE_MAX  NOTE_MAX
#define TRUST_ROOTS_MAX   4
#define TRUST_LEDGERS_MAX 8
#define TRUST_POLICY_MAX  8
#define FLEET_NAME_MAX    63 /* a DNS label sequence, as SPIFFE trust domains are */

/* Labels of lower-case letters, digits and inner hyphens, joined by dots. */
bool fleet_name_ok(struct slice name);
/* The line "fleet FLEET" of a note's text. */
void fleet_name_read_line(struct reader *r, char fleet[FLEET_NAME_MAX + 1]);

struct trust_bundle {
    char fleet[FLEET_NAME_MAX + 1];
    uint64_t version;
    int64_t time_floor; /* seconds since 1970 */
    struct note_key bundle_key;
    struct note_key ledger_keys[TRUST_LEDGERS_MAX];
    size_t ledger_keys_len;
    struct note_key policy_keys[TRUST_POLICY_MAX];
    size_t policy_keys_len;
    struct slice server_roots[TRUST_ROOTS_MAX]; /* DER, in the storage given to the reader */
    size_t server_roots_len;
};

/* Reads a bundle and checks its signature: against `held`'s bundle key where a bundle is held (and
 * then its version must be higher: ERR_CONFLICT otherwise; and its fleet the same: ERR_REFUSED),
 * else against the key in the bundle itself (the first bundle is trusted because of how it reached
 * the device). Decoded roots go to `storage`, which must not be the one that held's lie in.
 * ERR_SYNTAX, ERR_LIMIT, ERR_UNSUPPORTED, ERR_BAD_SIGNATURE, ERR_NOT_FOUND (not signed by that
 * key). */
MUST_USE enum err trust_bundle_read(struct slice note, const struct trust_bundle *held,
                                    sha256_fn *sha256, ed25519_verify_fn *verify, uint8_t *storage,
                                    size_t storage_max, struct trust_bundle *ret_bundle);
/* The text to be signed; ends in LF. Where the bundle key changes, old and new key both sign it:
 * the one for devices that follow, the other for those that start with it. */
void trust_bundle_write(struct writer *w, const struct trust_bundle *bundle);

#endif
