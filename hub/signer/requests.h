/* What hub and signer say to each other, one message each (base/ipc.h); this is all of it. The
 * writer of each message and its reader stand side by side in requests.c. Numbers are big-endian;
 * a text is its length in one byte and its bytes, without a NUL.
 *
 *   request   id u32 | kind u8 | body
 *   issue       profile u8 | tenant text | device text | n u8 | n names, text each
 *               | not_before i64 | not_after i64 | SPKI: the rest
 *   checkpoint  size u64 | root [32] | proof that it continues the last tree signed, [32] each: the
 *               rest
 *   ocsp        authority u8 | hash u8 | serial text | status u8 | reason u8 | revoked_at i64
 *               | this_update i64 | next_update i64
 *   crl-begin   authority u8 | shard u16 | number u64 | base u64 | this_update i64
 *               | next_update i64 | bytes of all entries u64
 *   crl-add     entries: n u8 | serial [n] | date i64 | reason u8, one after the other
 *   crl-finish  nothing
 *   rules       version u64 | made_at i64 | length of the body u32 | SHA-256 of it [32]
 *   reply     id u32 | kind u8 | error u8 | the certificate, note or response that was signed, the
 *             list's prefix, the bytes of entries still to come (u64), or its suffix: the rest
 *   report    error u8 | explanation: the rest; or, where the error is 0,
 *             | ledger key's name text, key [32] | SHA-256 of the issuing certificate [32]
 *             | not_after i64 | size u64 and root [32] of the last tree signed
 *             | policy key's name text, key [32] | version u64 of the last rules signed
 *             | length u32 and certificates of the previous authority | 1 where it signs, else 0:
 * u8 | chain: the rest
 *
 * The readers take what was written by a process that may have been taken over: bounded, strict,
 * no trailing bytes. They check form; whether to do it is for handlers.c. */
#ifndef HUB_SIGNER_REQUESTS_H
#define HUB_SIGNER_REQUESTS_H

#include "core/cursor.h"
#include "hub/signer/signer.h"

#define SIGNER_REQUEST_MAX                                                                         \
    8192 /* SIGNER_CRL_ENTRIES of the largest; all names at full length and a key take less */
#define SIGNER_REPLY_MAX                                                                           \
    (CERTIFICATE_MAX + 16) /* one certificate, or a checkpoint, which is less */

enum signer_request_kind {
    SIGNER_ISSUE = 1,
    SIGNER_CHECKPOINT = 2,
    SIGNER_OCSP = 3,
    SIGNER_CRL_BEGIN = 4,
    SIGNER_CRL_ADD = 5,
    SIGNER_CRL_FINISH = 6,
    SIGNER_RULES = 7,
};

struct signer_request_head {
    uint32_t id; /* the hub's own; 0 in replies to what could not be read */
    uint8_t kind;
};

void signer_head_write(struct writer *w, uint32_t id, enum signer_request_kind kind);
/* What follows is the body. */
struct signer_request_head signer_head_read(struct reader *r);

void signer_issue_write(struct writer *w, const struct certificate_request *request);
/* ERR_SYNTAX, ERR_LIMIT. The spki points into the message. */
MUST_USE enum err signer_issue_read(struct slice body, struct certificate_request *ret_request);

void signer_checkpoint_write(struct writer *w, const struct checkpoint_request *request);
/* The proof is copied to `proof`. */
MUST_USE enum err signer_checkpoint_read(struct slice body, struct hash proof[MERKLE_PROOF_MAX],
                                         struct checkpoint_request *ret_request);

void signer_crl_begin_write(struct writer *w, const struct crl_request *request);
MUST_USE enum err signer_crl_begin_read(struct slice body, struct crl_request *ret_request);

void signer_crl_add_write(struct writer *w, const struct crl_entry *entries, size_t n);
/* ERR_SYNTAX; ERR_LIMIT for more than SIGNER_CRL_ENTRIES. */
MUST_USE enum err signer_crl_add_read(struct slice body,
                                      struct crl_entry ret_entries[SIGNER_CRL_ENTRIES],
                                      size_t *ret_n);
MUST_USE enum err signer_crl_finish_read(struct slice body);

void signer_rules_write(struct writer *w, const struct rules_request *request);
MUST_USE enum err signer_rules_read(struct slice body, struct rules_request *ret_request);

void signer_ocsp_write(struct writer *w, const struct ocsp_answer *answer);
MUST_USE enum err signer_ocsp_read(struct slice body, struct ocsp_answer *ret_answer);

struct signer_reply {
    uint32_t id;
    uint8_t kind;
    enum err err;
    struct slice body;
};
/* The body is appended by the caller. */
void signer_reply_write(struct writer *w, uint32_t id, uint8_t kind, enum err err);
MUST_USE enum err signer_reply_read(struct slice message, struct signer_reply *ret_reply);

/* `facts` may be NULL where err is not ERR_NONE, `explain` where it is. */
void signer_report_write(struct writer *w, enum err err, const char *explain,
                         const struct signer_facts *facts);
/* The error of the report, with its explanation; or that of reading it. */
MUST_USE enum err signer_report_read(struct slice message, struct signer_facts *ret_facts,
                                     char explain[256]);

#endif
