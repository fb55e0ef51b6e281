/* Times and durations for people. */
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/compiler.h"
#include "core/error.h"
#include "core/slice.h"

#define WHEN_TEXT_MAX 64

/* "3 min ago", "in 29 days", "now". */
void when_relative(int64_t seconds, int64_t now, char ret_text[WHEN_TEXT_MAX]);
/* "2026-11-23 04:21:38 UTC (3 min ago)" */
void when_full(int64_t seconds, int64_t now, char ret_text[WHEN_TEXT_MAX]);
/* "90 s", "15 min", "36 h", "30 days": the largest unit that says it exactly. */
void when_duration(int64_t seconds, char ret_text[WHEN_TEXT_MAX]);
/* The same, rounded: "3 days". */
void when_about(int64_t seconds, char ret_text[WHEN_TEXT_MAX]);
/* "12,345,678" */
void when_count(uint64_t n, char ret_text[WHEN_TEXT_MAX]);

/* A duration from now ("30d"), a date ("2026-11-23", its first second) or a time in RFC 3339, in
 * UTC -> seconds since 1970, before the year 10000. `past`: durations count backwards. ERR_SYNTAX,
 * ERR_LIMIT. */
MUST_USE enum err when_read(struct slice text, int64_t now, bool past, int64_t *ret_seconds);

#endif
