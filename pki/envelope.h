/* Files that are encrypted to the holder of a key: CMS AuthEnvelopedData (RFC 5083) with
 * AES-256-GCM (RFC 5084), the content's key agreed by ECDH (RFC 5753) with a certificate's key on
 * P-256 or P-384. `openssl cms -decrypt -inform DER -binary` opens them, too.
 *
 * Written and read as streams of any length up to ENVELOPE_CONTENT_MAX. */
#ifndef PKI_ENVELOPE_H
#define PKI_ENVELOPE_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define ENVELOPE_CONTENT_MAX ((uint64_t)60 << 30) /* GCM takes 64 GiB under one key and nonce */

struct envelope_writer;
/* Writes to `fd`, which stays the caller's. `certificate`: path of a PEM file with the recipient's.
 * ERR_UNSUPPORTED for a key that is not on P-256 or P-384. */
MUST_USE enum err envelope_writer_new(int fd, const char *certificate,
                                      struct envelope_writer **ret_writer, char explain[256]);
/* ERR_DISK_FULL, ERR_IO, ERR_LIMIT, ERR_CRYPTO. */
MUST_USE enum err envelope_write(struct envelope_writer *w, struct slice bytes);
/* The end of the message, which must not be empty; without it nothing that was written can be
 * opened. */
MUST_USE enum err envelope_finish(struct envelope_writer *w);
void envelope_writer_free(struct envelope_writer *w); /* NULL is fine */

struct envelope_reader;
/* Reads from `fd`, a regular file that stays the caller's and at any position. Walks through the
 * whole message: one that is cut short is refused here, before anything is decrypted. `key`: path
 * of the recipient's private key (PEM). */
MUST_USE enum err envelope_reader_new(int fd, const char *key, struct envelope_reader **ret_reader,
                                      char explain[256]);
/* The next bytes; *ret_len is 0 at the end. What comes is *not yet known to be genuine*: it is,
 * when the end has come with ERR_NONE. ERR_BAD_SIGNATURE: it is not, or the key is another's. */
MUST_USE enum err envelope_read(struct envelope_reader *r, void *buffer, size_t size,
                                size_t *ret_len);
void envelope_reader_free(struct envelope_reader *r); /* NULL is fine */

#endif
