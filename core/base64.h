/* Base64 (RFC 4648 section 4). */
#ifndef CORE_BASE64_H
#define CORE_BASE64_H

#include "core/cursor.h"

/* Bytes of text for n bytes, without line ends. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* One line, with padding. */
void base64_write(struct writer *w, struct slice bytes);
/* Lines of 64 characters, each ended by LF, as PEM (RFC 7468) and EST bodies use it. */
void base64_write_lines(struct writer *w, struct slice bytes);

/* Strict: one line, canonical padding, no white space, unused bits zero. ERR_SYNTAX, or ERR_LIMIT
 * where it does not fit into `max` bytes. */
MUST_USE enum err base64_read(struct slice text, uint8_t *buffer, size_t max, size_t *ret_len);
/* As above, but line ends, blanks and tabs anywhere are skipped (RFC 8951 section 3.1 lets EST
 * clients send wrapped and unwrapped bodies). */
MUST_USE enum err base64_read_wrapped(struct slice text, uint8_t *buffer, size_t max,
                                      size_t *ret_len);

#endif
