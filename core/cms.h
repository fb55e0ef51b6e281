/* CMS AuthEnvelopedData (RFC 5083, over RFC 5652) in the form that a streaming writer gives it:
 * every level around the content has an indefinite length (X.690 section 8.1.3.6), the content is a
 * row of OCTET STRINGs, the MAC comes last. So a file of any size is walked with small reads, and
 * what stands around its content is put together again as one short message without content, which
 * any CMS library takes.
 *
 * Nothing is decrypted here: what these functions take may still be a forgery. */
#ifndef CORE_CMS_H
#define CORE_CMS_H

#include "core/der.h"

#define CMS_HEAD_MAX     16384 /* bytes up to the content: some dozen recipients */
#define CMS_CHUNK_HEAD   6     /* bytes of the longest tag and length of a chunk */
#define CMS_TAIL_MAX     64    /* bytes after the content */
#define CMS_MAC_SIZE     16    /* AES-GCM, RFC 5084 */
#define CMS_DETACHED_MAX (CMS_HEAD_MAX + CMS_TAIL_MAX)

struct cms_head {
    struct slice recipients; /* the SET of RecipientInfo, tag and length included */
    struct slice algorithm;  /* of the content's encryption, the same way */
    size_t len;              /* bytes up to the first chunk */
};

/* The start of a message, as much of it as there is up to CMS_HEAD_MAX. ERR_SYNTAX, also where it
 * is cut short; ERR_UNSUPPORTED where it is CMS of another kind. */
MUST_USE enum err cms_head_read(struct slice bytes, struct cms_head *ret_head);

/* What comes next in the content: a chunk of *ret_len bytes behind *ret_head_len bytes of tag and
 * length, or its end (*ret_len 0, and the end's own bytes as head). `bytes`: as many as there are,
 * up to CMS_CHUNK_HEAD. */
MUST_USE enum err cms_chunk_read(struct slice bytes, size_t *ret_head_len, uint32_t *ret_len,
                                 bool *ret_end);

/* Everything after the content. The MAC must have CMS_MAC_SIZE bytes. */
MUST_USE enum err cms_tail_read(struct slice bytes, struct slice *ret_mac);

/* The same message without its content (RFC 5652 section 6.1 allows that), in DER. */
void cms_write_detached(struct der_writer *w, const struct cms_head *head, struct slice mac);

#endif
