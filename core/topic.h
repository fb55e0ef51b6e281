/* MQTT topic names and filters (MQTT 5.0 section 4.7; the same in 3.1.1): UTF-8 without U+0000, at
 * most 65,535 bytes, levels between slashes; in a filter "+" stands for one whole level and a last
 * "#" for all that follow, its parent included. */
#ifndef CORE_TOPIC_H
#define CORE_TOPIC_H

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define TOPIC_MAX        65535
#define TOPIC_LEVELS_MAX 200 /* as Mosquitto has it: what has more is refused before it costs */

/* ERR_NONE; ERR_SYNTAX (empty, a wildcard where none may be, U+0000, not UTF-8), ERR_LIMIT. */
MUST_USE enum err topic_name_check(struct slice name);
MUST_USE enum err topic_filter_check(struct slice filter);

/* Both in good form. A filter that starts with a wildcard matches no name that starts with "$"
 * (section 4.7.2). */
bool topic_matches(struct slice filter, struct slice name);
/* Whether every name that `asked` matches is matched by `allowed`, too. */
bool topic_filter_covers(struct slice allowed, struct slice asked);

#endif
