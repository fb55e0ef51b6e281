/* Strict JSON from outside, on jansson: what is too large, too deep, repeated or not UTF-8 is
 * refused. Generated request decoders (api/generate.py) stand on this. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

#include "base/arena.h"
#include "base/problem.h"

#define JSON_READ_DEPTH_MAX 8 /* requests are flat; 3 would do */

/* The whole of `text` must be one JSON object. On failure *problem says why, with line and column
 * in its detail. The result is json_decref()'d by the caller. */
MUST_USE enum err json_read_object(struct slice text, json_t **ret_object, struct problem *problem);

/* Frees at the end of a scope: CLEANUP(json_cleanup) json_t *j. */
void json_cleanup(json_t **j);

#endif
