/* A fleet's authority is rolled over in three acts, so that no device loses contact:
 *
 *   prepare   a new root and issuing authority beside the old:
 *             offline/next-root.key, next-root.pem; signer/next-issuing.key, next-issuing.pem;
 *             <state>/next-root.pem. The next trust bundle names both roots.
 *   switch    the hub issues under the new one from its next start on, and goes on taking what the
 *             old one issued: signer/previous-issuing.key, previous-issuing.pem.
 *   finish    the old one is given up, and its keys are deleted.
 *
 * The new root is certified by the old one, too (RFC 4210 section 4.4, NewWithOld; under the same
 * name, so that it takes nothing from the old one's pathlen). The hub sends that along: a device
 * that slept through the new bundle still believes it, and follows then.
 *
 * Each act may be cut short anywhere and is then done again. The hub reads the files when it
 * starts. */
#ifndef PKI_CA_ROLL_H
#define PKI_CA_ROLL_H

#include "pki/ca.h"

/* Needs offline/root.key. `keep_root`: a new issuing authority under the root that is there.
 * ERR_EXISTS: prepared already, or the last roll-over is not finished. ERR_NOT_FOUND: no root key.
 */
MUST_USE enum err ca_roll_prepare(const char *state, const char *fleet, bool keep_root,
                                  char explain[256]);
/* ERR_NOT_FOUND where nothing is prepared. */
MUST_USE enum err ca_roll_switch(const char *state, char explain[256]);
/* Where the root is another: needs the offline folder, whose next-root.key becomes root.key.
 * ERR_NOT_FOUND where there is no previous authority. */
MUST_USE enum err ca_roll_finish(const char *state, char explain[256]);

#endif
