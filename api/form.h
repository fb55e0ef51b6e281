/* The form of a text: how long it may be and which characters stand where. Made from `pattern`,
 * `minLength` and `maxLength` of the contract by api/generate.py. */
#ifndef API_FORM_H
#define API_FORM_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

/* A run of characters out of one set. generate.py refuses patterns in which a run could end at more
 * than one place, so taking as many as fit is right, and no step is ever taken back. */
struct text_step {
    uint64_t low, high; /* bit masks of the characters 0..63 and 64..127 */
    bool other;         /* all beyond ASCII, too */
    uint32_t min, max;  /* how many */
};

struct text_form {
    uint32_t characters_min, characters_max; /* code points */
    uint32_t bytes_max;                      /* in UTF-8 */
    const struct text_step *steps;
    size_t steps_len;
    const char *pattern; /* as the contract has it, for messages */
};

/* ERR_SYNTAX: not UTF-8, or not of the pattern; ERR_LIMIT: too short or too long. */
MUST_USE enum err text_form_check(const struct text_form *form, struct slice text);

#endif
