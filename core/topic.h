/* MQTT topic names and filters (MQTT 5.0 section 4.7; the same in 3.1.1): UTF-8 without U+0000, at
 * most 65,535 bytes, levels between slashes; in a filter "+" stands for one whole level and a last
 * "#" for all that follow, its parent included. */
#ifndef CORE_TOPIC_H
#define CORE_TOPIC_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define TOPIC_MAX        65535
#define TOPIC_LEVELS_MAX 200 /* what has more is refused before it costs, as in Mosquitto */

/* ERR_NONE; ERR_SYNTAX (empty, a wildcard where none may be, U+0000, not UTF-8), ERR_LIMIT. */
MUST_USE enum err topic_name_check(struct slice name);
MUST_USE enum err topic_filter_check(struct slice filter);

/* Both in good form. A filter that starts with a wildcard matches no name that starts with "$"
 * (section 4.7.2). */
bool topic_matches(struct slice filter, struct slice name);
/* Whether every name that `asked` matches is matched by `allowed`, too; no more and no less, but
 * for the limits of names. */
bool topic_filter_covers(struct slice allowed, struct slice asked);

/* ---- patterns: filters in which variables stand ---- */

/* In a pattern the bytes from TOPIC_VARIABLE on, which UTF-8 never has, stand for the value of the
 * first, second, ... variable: a whole level or part of one. At most one in a level: two could run
 * together, so that other values make the same level. */
#define TOPIC_VARIABLE      0xf8U
#define TOPIC_VARIABLES_MAX 4

/* Gives a mask of 1 << variable for those that it has. Errors as of a filter. */
MUST_USE enum err topic_pattern_check(struct slice pattern, unsigned *ret_variables);
/* Whether a value may stand for a variable: with it no pattern comes to match more than one level
 * there, nor a name that starts with "$". Not empty, and without "/", "+", "#" or U+0000. */
bool topic_value_ok(struct slice value);
/* The pattern, once its values are put in, as `allowed` above; `asked` is a filter or a name. All
 * in good form; values of variables that it doesn't have are not looked at. */
bool topic_pattern_covers(struct slice pattern, const struct slice values[TOPIC_VARIABLES_MAX],
                          struct slice asked);

#endif
