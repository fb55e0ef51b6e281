/* UTF-8 (RFC 3629). */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include "core/slice.h"

/* Bytes of the well-formed sequence at the start of s: 1 to 4, or 0 where none stands there
 * (overlong forms, surrogates and values above U+10FFFF are not well formed). */
static inline size_t utf8_sequence(struct slice s)
{
    if (s.len == 0)
        return 0;
    uint8_t lead = s.data[0];
    if (lead < 0x80)
        return 1;
    size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || s.len < n)
        return 0;
    /* RFC 3629 section 4: only the second byte has a range that depends on the first. */
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (s.data[1] < low || s.data[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s.data[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

#endif
